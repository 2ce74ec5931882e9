//! The host's interfaces as what containers can be wired to.

use super::{ContainerId, Engine, Error, HostInterface, Result, disk};
use gantry_core::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const CLASS: &str = "/sys/class/net";

/// Why one cannot be bridged, and what does instead.
const WIRELESS: &str = "a wireless card cannot be a bridge's port: its access point takes frames of one address only; use a network with NAT, or type ipvlan";

/// An interface of the host, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outlet {
    /// The interface.
    pub(crate) interface: HostInterface,
    /// Whether it carries packets, in the kernel's words (RFC 2863): up, down,
    /// lowerlayerdown, dormant, unknown, …
    pub(crate) state: String,
    /// Whether it is a wireless card.
    pub(crate) is_wireless: bool,
    /// Whether the host reaches others by it.
    pub(crate) is_way_out: bool,
    /// The containers whose configs name it.
    pub(crate) used_by: Vec<String>,
    /// The types of a container's interface that it can be the link of, and `port` if a
    /// bridge can have it.
    pub(crate) serves: &'static [&'static str],
    /// What else is to be known; empty mostly.
    pub(crate) note: &'static str,
}

impl Engine {
    /// What containers can be wired to.
    pub(crate) async fn outlets(&self) -> Result<Vec<Outlet>> {
        let interfaces = self.host_interfaces().await?;
        let ways_out = ways_out(&interfaces)?;
        let mut users = self.users_of_links().await?;
        let outlets = interfaces.into_iter().map(|interface| {
            let place = Path::new(CLASS).join(&interface.name);
            let state = std::fs::read_to_string(place.join("operstate")).unwrap_or_default();
            let is_wireless = place.join("phy80211").exists();
            Outlet {
                state: state.trim_end().to_owned(),
                is_wireless,
                is_way_out: ways_out.contains(&interface.name),
                used_by: users.remove(&interface.name).unwrap_or_default(),
                serves: serves(&interface, is_wireless),
                note: if is_wireless { WIRELESS } else { "" },
                interface,
            }
        });
        Ok(outlets.collect())
    }

    /// Refuses to take the host's way out from it in passing.
    pub(super) async fn refuse_way_out(&self, id: &ContainerId, name: &str) -> Result<()> {
        if !ways_out(&self.host_interfaces().await?)?.contains(name) {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "the host reaches others by '{name}' and would be cut off; give container '{}' an interface of type phys, which comes back unless that is confirmed, or the option confirmed",
            id.name
        )))
    }

    /// The containers whose configs name a link, by link.
    async fn users_of_links(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for facts in self.list().await? {
            let name = &facts.id.name;
            // One that cannot be read is shown as such elsewhere.
            let config = disk::read_config(&self.layout(name).config());
            let settings = config.and_then(|file| Ok(Settings::from_config(&file.config)?));
            let Ok(settings) = settings else { continue };
            let links: BTreeSet<String> = settings
                .networks
                .into_values()
                .filter_map(|network| network.link)
                .collect();
            for link in links {
                users.entry(link).or_default().push(name.to_string());
            }
        }
        Ok(users)
    }
}

/// What an interface can be the link of.
fn serves(interface: &HostInterface, is_wireless: bool) -> &'static [&'static str] {
    match interface.kind.as_str() {
        // The host's end of a container's.
        _ if interface.alias.starts_with("gantry:") && interface.kind == "veth" => &[],
        _ if is_wireless => &["ipvlan"],
        "bridge" => &["veth", "macvlan", "ipvlan", "vlan"],
        "openvswitch" => &["veth"],
        _ if !interface.master.is_empty() => &["vlan"],
        // Without addresses of Ethernet.
        _ if interface.hwaddr.is_empty() => &["phys"],
        _ => &["port", "macvlan", "ipvlan", "vlan", "phys"],
    }
}

/// The interfaces by which default routes lead out, and their ports if they are bridges.
fn ways_out(interfaces: &[HostInterface]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (path, parse) in [
        ("/proc/net/route", v4 as fn(&str) -> Option<&str>),
        ("/proc/net/ipv6_route", v6),
    ] {
        match std::fs::read_to_string(path) {
            Ok(text) => found.extend(text.lines().filter_map(parse).map(str::to_owned)),
            // The kernel may lack a family.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::path("reading", Path::new(path), &error)),
        }
    }
    let ports = interfaces
        .iter()
        .filter(|port| found.contains(&port.master));
    let ports: Vec<String> = ports.map(|port| port.name.clone()).collect();
    found.extend(ports);
    Ok(found)
}

/// The interface of an IPv4 default route (route(8), proc(5)).
fn v4(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [name, "00000000", _, _, _, _, _, "00000000", ..] => Some(name),
        _ => None,
    }
}

/// And of an IPv6 one; the kernel has one to nowhere on loopback.
fn v6(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [to, "00", .., name] if to.bytes().all(|byte| byte == b'0') && *name != "lo" => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_lead_out() {
        let line = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(v4(line), Some("eth0"));
        assert_eq!(v4(&line.replacen("00000000", "000011AC", 1)), None);
        assert_eq!(v4("Iface\tDestination\tGateway"), None);
        let zeros = "0".repeat(32);
        let line = |name: &str| format!("{zeros} 00 {zeros} 00 {zeros} 1 1 0 00200200     {name}");
        assert_eq!(v6(&line("eth0")), Some("eth0"));
        assert_eq!(v6(&line("lo")), None);
    }

    #[test]
    fn each_kind_serves_as_what_it_can() {
        let of = |kind: &str, master: &str, alias: &str| HostInterface {
            index: 1,
            alias: alias.to_owned(),
            name: "x".to_owned(),
            kind: kind.to_owned(),
            up: true,
            hwaddr: "00:16:3e:00:00:01".to_owned(),
            master: master.to_owned(),
            addresses: Vec::new(),
        };
        let card = of("physical", "", "");
        assert!(serves(&card, false).contains(&"port") && serves(&card, false).contains(&"phys"));
        assert_eq!(serves(&card, true), ["ipvlan"]);
        assert!(WIRELESS.contains("cannot be a bridge's port"));
        assert_eq!(serves(&of("physical", "br0", ""), false), ["vlan"]);
        assert!(serves(&of("bridge", "", "gantry"), false).contains(&"veth"));
        assert_eq!(
            serves(&of("veth", "br0", "gantry:web:eth0"), false),
            [""; 0]
        );
    }
}
