//! What a network's dnsmasq is told, and what it tells of leases.

use crate::error::{Error, Result};
use crate::linux::{files, tool};
use gantry_core::networks::{Network, Places};
use nix::unistd::User;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// As whom it runs: the first of these that there is, as with LXC.
const USERS: [&str; 3] = ["lxc-dnsmasq", "dnsmasq", "nobody"];
/// Where leases are kept.
const LEASES: &str = "/var/lib/misc";
/// The longest file of leases that is read.
const LONGEST: u64 = 16 * 1024 * 1024;

/// An address that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// To which interface.
    pub(crate) mac: String,
    /// The address.
    pub(crate) address: String,
    /// What its host calls itself; empty if it does not say.
    pub(crate) name: String,
    /// Until when, in seconds since 1970; 0 for ever.
    pub(crate) expires: i64,
}

/// Refuses where the host lacks what the network needs.
pub(crate) fn check(network: &Network) -> Result<()> {
    if network.has_server() && tool::find("dnsmasq").is_none() {
        return Err(Error::Unsupported(format!(
            "dnsmasq is missing, which is to give out addresses and names in the network {}; install it (Debian: dnsmasq-base)",
            network.name.as_str()
        )));
    }
    Ok(())
}

/// Writes the file of the network's dnsmasq. Gives back whether it is another than
/// before.
pub(crate) fn write(network: &Network) -> Result<bool> {
    let places = network.places();
    let (path, leases) = (places.server(), Path::new(LEASES));
    let path = Path::new(&path);
    if !network.has_server() {
        return match std::fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::path("removing", path, &error)),
        };
    }
    files::create_dirs(leases, 0o755).map_err(|error| Error::path("making", leases, &error))?;
    let text = config(network, user()?);
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    files::replace(path, text.as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", path, &error))?;
    Ok(true)
}

fn user() -> Result<&'static str> {
    let exists = |name: &&str| matches!(User::from_name(name), Ok(Some(_)));
    USERS.into_iter().find(exists).ok_or_else(|| {
        Error::Unsupported(
            "the host has no user 'dnsmasq' or 'nobody' to run dnsmasq as; make one".to_owned(),
        )
    })
}

/// dnsmasq.conf(5), with the options of LXC's service. Every value has been checked to
/// be of one word.
fn config(network: &Network, user: &str) -> String {
    let places = network.places();
    let mut lines = vec![
        format!("user={user}"),
        format!("pid-file={}", places.server_pid()),
        format!("interface={}", network.name.as_str()),
        "except-interface=lo".to_owned(),
        "bind-interfaces".to_owned(),
        "strict-order".to_owned(),
    ];
    lines.extend(
        network
            .addresses()
            .map(|home| format!("listen-address={}", home.address)),
    );
    if let Some((first, last)) = network.range() {
        lines.extend([
            match network.lease_time.as_str() {
                "" => format!("dhcp-range={first},{last}"),
                time => format!("dhcp-range={first},{last},{time}"),
            },
            format!("dhcp-lease-max={}", network.leases()),
            format!("dhcp-leasefile={}", places.leases()),
            "dhcp-no-override".to_owned(),
            "dhcp-authoritative".to_owned(),
        ]);
        if !network.dhcp_ping {
            lines.push("no-ping".to_owned());
        }
        if network.isolated {
            // The host is no way out.
            lines.push("dhcp-option=option:router".to_owned());
        }
    }
    if let Some(home) = network.ipv6 {
        // Advertisements: hosts choose their addresses themselves.
        lines.push(format!(
            "dhcp-range={},ra-only,{}",
            home.address, home.prefix
        ));
    }
    if network.isolated {
        // Names of elsewhere are not asked for either, nor is the host advertised as a
        // router.
        lines.push("no-resolv".to_owned());
        lines.push(format!("ra-param={},0,0", network.name.as_str()));
    }
    if !network.domain.is_empty() {
        lines.push(format!("domain={}", network.domain));
        lines.push(format!("local=/{}/", network.domain));
    }
    for reservation in &network.reservations {
        let mut line = format!("dhcp-host={},{}", reservation.mac, reservation.address);
        if !reservation.name.is_empty() {
            line += ",";
            line += &reservation.name;
        }
        lines.push(line);
    }
    if !network.dnsmasq_file.is_empty() {
        lines.push(format!("conf-file={}", network.dnsmasq_file));
    }
    let mut text = format!(
        "# Written by gantry-helper for the network {}; what is changed here is lost.\n",
        network.name.as_str()
    );
    for line in lines {
        // Writing to a String cannot fail.
        writeln!(text, "{line}").unwrap_or_default();
    }
    text
}

/// The leases of a network, in the order in which dnsmasq has them.
pub(crate) fn leases(places: &Places) -> Result<Vec<Lease>> {
    let path = places.leases();
    let path = Path::new(&path);
    let bytes = files::read_if_there(path, LONGEST)
        .map_err(|error| Error::path("reading", path, &error))?
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(lease).collect())
}

/// `EXPIRES MAC ADDRESS NAME CLIENT-ID`; a name that is not known is `*`.
fn lease(line: &str) -> Option<Lease> {
    let mut words = line.split_whitespace();
    let expires = words.next()?.parse().ok()?;
    let (mac, address) = (words.next()?, words.next()?);
    address.parse::<std::net::IpAddr>().ok()?;
    let name = words.next().filter(|name| *name != "*").unwrap_or_default();
    Some(Lease {
        mac: mac.to_owned(),
        address: address.to_owned(),
        name: name.to_owned(),
        expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_read_line_by_line() {
        let found = lease("1764400000 00:16:3e:00:00:01 10.0.3.7 web 01:00:16:3e").unwrap();
        assert_eq!(
            (found.address.as_str(), found.name.as_str(), found.expires),
            ("10.0.3.7", "web", 1_764_400_000)
        );
        assert_eq!(lease("0 00:16:3e:00:00:02 10.0.3.8 * *").unwrap().name, "");
        assert_eq!(lease("duid 00:01:00:01"), None);
        assert_eq!(lease(""), None);
    }

    #[test]
    fn the_file_says_what_lxc_says_on_the_command_line() {
        let mut network = gantry_core::networks::lxc_net::read(&["LXC_DOMAIN=lxc"])
            .unwrap()
            .network;
        network.dnsmasq_file = "/etc/lxc/dnsmasq.conf".to_owned();
        let text = config(&network, "dnsmasq");
        for line in [
            "interface=lxcbr0",
            "listen-address=10.0.3.1",
            "dhcp-range=10.0.3.2,10.0.3.254",
            "dhcp-lease-max=253",
            "dhcp-leasefile=/var/lib/misc/dnsmasq.lxcbr0.leases",
            "local=/lxc/",
            "conf-file=/etc/lxc/dnsmasq.conf",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
