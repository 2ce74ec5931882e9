//! What containers are wired to by default, and whether packets go on from there.

use super::{HostInterface, Report, Result, Verdict, read, topic};
use crate::engine::disk::ConfigFile;
use crate::network::{bridge as bridges, definitions};
use gantry_core::name::InterfaceName;
use gantry_core::networks::lxc_net::LxcNet;
use gantry_core::networks::{Network, Places};

/// LXC's bridge.
const BRIDGE: &str = "lxcbr0";
/// Where LXC's service keeps the process id of its DHCP server.
const SERVER: &str = "/run/lxc/dnsmasq.pid";

/// Where ufw says whether it is on, what it does by default, and what its user has added.
const UFW: [&str; 3] = [
    "/etc/ufw/ufw.conf",
    "/etc/default/ufw",
    "/etc/ufw/user.rules",
];

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
    let lxc_net = definitions::lxc_net();
    add(BRIDGE, bridge(links, &lxc_net));
    let is_described = |name: &str| matches!(definitions::find(name), Ok(Some(_)));
    add(
        "new containers",
        new_containers(links, defaults, is_described),
    );
    if let Some(link) = links.iter().find(|link| link.name == BRIDGE) {
        add("DHCP and DNS", server(link));
    }
    let described = definitions::all().unwrap_or_default().into_iter();
    let networks: Vec<Network> = described.filter_map(|one| one.network.ok()).collect();
    let ufw = UFW.map(|path| read(path).unwrap_or_default());
    if let Some(verdict) = ufw_verdict(&ufw.each_ref().map(String::as_str), &networks) {
        add("ufw", verdict);
    }
    // By default lxc-net gives addresses of IPv4 alone.
    for (topic, (item, path, sysctl)) in [topic::NETWORK, topic::EXTRAS].into_iter().zip(FORWARDING)
    {
        report.add(topic, item, forwarding(read(path).as_deref(), sysctl));
    }
}

fn bridge(links: &[HostInterface], lxc_net: &Result<LxcNet>) -> Verdict {
    match links.iter().find(|link| link.name == BRIDGE) {
        Some(link) if link.up => return Ok(format!("Up, with {}.", words(&link.addresses))),
        Some(_) => {
            return Err(format!(
                "It is down: containers on it reach nobody. Run “ip link set {BRIDGE} up”."
            ));
        }
        None => {}
    }
    match lxc_net {
        Ok(LxcNet { wanted: true, .. }) => {
            Ok("Comes up when a container that is wired to it starts.".to_owned())
        }
        Ok(_) => {
            Err("It is not to be. Set USE_LXC_BRIDGE=\"true\" in /etc/default/lxc-net.".to_owned())
        }
        Err(error) => Err(format!("It cannot come up: {error}.")),
    }
}

fn new_containers(
    links: &[HostInterface],
    defaults: Result<ConfigFile>,
    is_described: impl Fn(&str) -> bool,
) -> Verdict {
    let file = defaults.map_err(|error| format!("None can be created: {error}."))?;
    let Some(link) = file.config.get("lxc.net.0.link") else {
        return Ok("The defaults wire them to nothing.".to_owned());
    };
    if links.iter().any(|one| one.name == link) {
        return Ok(format!("The defaults wire them to {link}."));
    }
    if is_described(link) {
        return Ok(format!(
            "The defaults wire them to {link}, which comes up with the first of them."
        ));
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

fn server(link: &HostInterface) -> Verdict {
    let places = InterfaceName::new(BRIDGE)
        .map(|name| Places::of(&name))
        .map_err(|error| error.to_string())?;
    let is_ours = bridges::is_ours(link, &places);
    let pid = read(&if is_ours {
        places.server_pid()
    } else {
        SERVER.to_owned()
    });
    // What was written down; the process may be gone.
    let program = pid.and_then(|pid| read(&format!("/proc/{}/comm", pid.trim())));
    if program.as_deref() == Some("dnsmasq") {
        return Ok(format!("dnsmasq serves {BRIDGE}."));
    }
    Err(if is_ours {
        format!(
            "No dnsmasq runs on {BRIDGE}, so that containers there get no addresses. Start a container on it, or bring the network up once more."
        )
    } else {
        format!(
            "No dnsmasq of lxc-net runs on {BRIDGE}, so that containers there get no addresses. Run “systemctl restart lxc-net”."
        )
    })
}

/// What ufw(8) does to networks, if it is on: what none of its own rules lets through it
/// drops, whatever is let through elsewhere. Its files are as in [`UFW`].
fn ufw_verdict([conf, defaults, rules]: &[&str; 3], networks: &[Network]) -> Option<Verdict> {
    let has = |text: &str, line: &str| text.lines().any(|one| one.trim() == line);
    if !has(conf, "ENABLED=yes") {
        return None;
    }
    let keeps_out = |policy: &str, rule: &str| {
        !has(defaults, &format!("DEFAULT_{policy}_POLICY=\"ACCEPT\"")) && !has(rules, rule)
    };
    // No name that a shell takes otherwise is put into what an administrator is to run. With
    // an uplink containers are not behind the host.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let networks = networks
        .iter()
        .filter(|network| network.uplink.is_empty() && network.name.as_str().chars().all(is_plain));
    let mut missing = Vec::new();
    for network in networks {
        let name = &network.name;
        // To the host, on from there, and back in.
        let needed = [
            (network.has_server(), "INPUT", "input", "-i", "allow in"),
            (
                !network.isolated,
                "FORWARD",
                "forward",
                "-i",
                "route allow in",
            ),
            (
                !network.forwards.is_empty(),
                "FORWARD",
                "forward",
                "-o",
                "route allow out",
            ),
        ];
        for (is_needed, policy, chain, way, command) in needed {
            if is_needed
                && keeps_out(
                    policy,
                    &format!("-A ufw-user-{chain} {way} {name} -j ACCEPT"),
                )
            {
                missing.push(format!("“ufw {command} on {name}”"));
            }
        }
    }
    Some(if missing.is_empty() {
        Ok("It lets through what networks need.".to_owned())
    } else {
        Err(format!(
            "It drops what networks need: containers get no addresses, reach only this computer, or are not reached by forwarded ports. Run {}.",
            missing.join(" and ")
        ))
    })
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
    use gantry_core::networks::lxc_net;

    fn link(name: &str, kind: &str, up: bool) -> HostInterface {
        HostInterface {
            index: 1,
            alias: String::new(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            up,
            hwaddr: String::new(),
            master: String::new(),
            addresses: Vec::new(),
            is_wireless: false,
        }
    }

    #[test]
    fn a_bridge_is_up_or_will_come_up_or_is_not_to_be() {
        let lxc_net = |text: &str| Ok(lxc_net::read(&[text]).unwrap());
        let (on, off) = (lxc_net(""), lxc_net("USE_LXC_BRIDGE=false"));
        assert!(bridge(&[link("lxcbr0", "bridge", true)], &on).is_ok());
        assert!(bridge(&[link("lxcbr0", "bridge", false)], &on).is_err());
        assert!(bridge(&[link("br0", "bridge", true)], &on).is_ok());
        let problem = bridge(&[], &off).unwrap_err();
        assert!(problem.contains("USE_LXC_BRIDGE"), "{problem}");
    }

    #[test]
    fn ufw_is_told_of_what_it_keeps_from_each_network() {
        let lxc = lxc_net::read(&[]).unwrap().network;
        let mut own = Network::new(InterfaceName::new("dev0").unwrap());
        own.isolated = true;
        let strange = Network::new(InterfaceName::new("a;reboot").unwrap());
        let networks = [lxc, own, strange];
        let verdict =
            |conf, rules| ufw_verdict(&[conf, "DEFAULT_INPUT_POLICY=\"DROP\"\n", rules], &networks);
        assert_eq!(verdict("ENABLED=no\n", ""), None);
        let problem = verdict("ENABLED=yes\n", "").unwrap().unwrap_err();
        assert!(
            problem.ends_with("Run “ufw allow in on lxcbr0” and “ufw route allow in on lxcbr0”."),
            "{problem}"
        );
        let input = "-A ufw-user-input -i lxcbr0 -j ACCEPT\n";
        let problem = verdict("ENABLED=yes\n", input).unwrap().unwrap_err();
        assert!(
            problem.ends_with("Run “ufw route allow in on lxcbr0”."),
            "{problem}"
        );
        let both = format!("{input}-A ufw-user-forward -i lxcbr0 -j ACCEPT\n");
        assert!(verdict("ENABLED=yes\n", &both).unwrap().is_ok());
    }
}
