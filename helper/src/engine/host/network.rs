//! What containers are wired to by default, and whether packets go on from there.

use super::{HostInterface, Report, Result, Verdict, read, topic};
use crate::engine::disk::ConfigFile;

/// The bridge of LXC's own service.
const BRIDGE: &str = "lxcbr0";
/// Where that service keeps the process id of its DHCP server.
const SERVER: &str = "/run/lxc/dnsmasq.pid";

const FORWARDING: [(&str, &str, &str); 2] = [
    (
        "IPv4 forwarding",
        "/proc/sys/net/ipv4/ip_forward",
        "net.ipv4.ip_forward",
    ),
    (
        "IPv6 forwarding",
        "/proc/sys/net/ipv6/conf/all/forwarding",
        "net.ipv6.conf.all.forwarding",
    ),
];

/// `defaults` is the configuration that new containers begin with.
pub(super) fn check(report: &mut Report, links: &[HostInterface], defaults: Result<ConfigFile>) {
    let mut add = |item: &str, verdict| report.add(topic::NETWORK, item, verdict);
    add(BRIDGE, bridge(links));
    add("new containers", new_containers(links, defaults));
    if links.iter().any(|link| link.name == BRIDGE) {
        add("DHCP and DNS", server(read(SERVER).as_deref()));
    }
    // By default lxc-net gives addresses of IPv4 alone.
    for (topic, (item, path, sysctl)) in [topic::NETWORK, topic::EXTRAS].into_iter().zip(FORWARDING)
    {
        report.add(topic, item, forwarding(read(path).as_deref(), sysctl));
    }
}

fn bridge(links: &[HostInterface]) -> Verdict {
    let bridges: Vec<&str> = links
        .iter()
        .filter(|link| link.kind == "bridge")
        .map(|link| link.name.as_str())
        .collect();
    match links.iter().find(|link| link.name == BRIDGE) {
        Some(link) if link.up => Ok(format!("Up, with {}.", words(&link.addresses))),
        Some(_) => Err(format!(
            "It is down: containers on it reach nobody. Run “ip link set {BRIDGE} up”."
        )),
        None if bridges.is_empty() => Err(
            "Missing, and there is no other bridge to wire containers to. Run “systemctl start lxc-net”."
                .to_owned(),
        ),
        None => Err(format!(
            "Missing. Run “systemctl start lxc-net”, or wire containers to {}.",
            bridges.join(" or ")
        )),
    }
}

fn new_containers(links: &[HostInterface], defaults: Result<ConfigFile>) -> Verdict {
    let file = defaults.map_err(|error| format!("None can be created: {error}."))?;
    let Some(link) = file.config.get("lxc.net.0.link") else {
        return Ok("The defaults wire them to nothing.".to_owned());
    };
    if links.iter().any(|one| one.name == link) {
        return Ok(format!("The defaults wire them to {link}."));
    }
    Err(format!(
        "The defaults wire them to {link}, which does not exist, so that they do not start. Create it, or change lxc.net.0.link in /etc/lxc/default.conf."
    ))
}

fn words(addresses: &[String]) -> String {
    match addresses {
        [] => "no address".to_owned(),
        some => some.join(" and "),
    }
}

/// `pid` is what the service wrote down; the process may be gone.
fn server(pid: Option<&str>) -> Verdict {
    let program = pid.and_then(|pid| read(&format!("/proc/{}/comm", pid.trim())));
    if program.as_deref() == Some("dnsmasq") {
        Ok(format!("dnsmasq serves {BRIDGE}."))
    } else {
        Err(format!(
            "No dnsmasq of lxc-net runs on {BRIDGE}, so that containers there get no addresses. Run “systemctl restart lxc-net”."
        ))
    }
}

fn forwarding(value: Option<&str>, name: &str) -> Verdict {
    match value {
        Some("1") => Ok("On.".to_owned()),
        Some(_) => Err(format!(
            "Off: containers reach only this computer. Run “sysctl -w {name}=1”, and keep it in /etc/sysctl.d/."
        )),
        None => Err("The kernel has no such protocol. Boot one that has it.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: &str, up: bool) -> HostInterface {
        HostInterface {
            name: name.to_owned(),
            kind: kind.to_owned(),
            up,
            hwaddr: String::new(),
            master: String::new(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn another_bridge_is_offered_where_the_usual_one_is_missing() {
        assert!(bridge(&[link("lxcbr0", "bridge", true)]).is_ok());
        assert!(bridge(&[link("lxcbr0", "bridge", false)]).is_err());
        let problem = bridge(&[link("br0", "bridge", true), link("eth0", "physical", true)]);
        let problem = problem.unwrap_err();
        assert!(
            problem.contains("br0") && !problem.contains("eth0"),
            "{problem}"
        );
    }

    #[test]
    fn a_process_id_of_something_else_is_no_server() {
        assert!(server(None).is_err());
        assert!(server(Some("1\n")).is_err());
    }
}
