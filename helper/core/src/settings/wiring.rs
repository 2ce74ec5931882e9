//! What can be said of a container's interfaces by the config alone: whether they
//! contradict each other, and their names in the container.

use super::{Network, NetworkKind, Veth};
use crate::name::InterfaceName;
use crate::values::network::{Gateway, IpvlanMode, NativeVlan, VethMode};
use std::collections::{BTreeMap, BTreeSet};

/// Why an interface cannot be as its config says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lxc.net.{number}.{part}: {reason}")]
pub struct WiringFault {
    /// The interface's number.
    pub number: u32,
    /// The key, without `lxc.net.N.`.
    pub part: String,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

/// One interface of the config.
struct Wire<'a> {
    number: u32,
    network: &'a Network,
}

impl Wire<'_> {
    fn wrong(&self, part: &str, reason: &str) -> WiringFault {
        fault(self.number, part, reason)
    }
}

fn fault(number: u32, part: &str, reason: &str) -> WiringFault {
    WiringFault {
        number,
        part: part.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Refuses interfaces that contradict each other, or that cannot be.
pub fn check(networks: &BTreeMap<u32, Network>) -> Result<(), WiringFault> {
    inner_names(networks)?;
    for (number, network) in networks {
        let wire = Wire {
            number: *number,
            network,
        };
        check_kind(&wire)?;
        check_address(&wire)?;
        check_gateways(&wire)?;
        if network.l2proxy {
            check_proxy(&wire)?;
        }
    }
    Ok(())
}

fn check_kind(wire: &Wire<'_>) -> Result<(), WiringFault> {
    let Network { kind, link, .. } = wire.network;
    match (kind, link.as_deref()) {
        (NetworkKind::Empty | NetworkKind::None, _) => Ok(()),
        (_, Some("lo")) => {
            let reason = "'lo' leads nowhere; name an interface with a cable, or a bridge";
            Err(wire.wrong("link", reason))
        }
        (NetworkKind::Veth(veth), _) => {
            if let Some(pair) = &veth.pair {
                check_name(pair, wire.number, "veth.pair")?;
            }
            check_vlans(wire, veth)
        }
        (_, Some(_)) => Ok(()),
        (kind, None) => {
            let word = kind.kind().word();
            let reason = format!("an interface of type {word} needs one of the host; name it");
            Err(wire.wrong("link", &reason))
        }
    }
}

fn check_vlans(wire: &Wire<'_>, veth: &Veth) -> Result<(), WiringFault> {
    if veth.native_vlan.is_none() && veth.tagged_vlans.is_empty() {
        return Ok(());
    }
    if veth.mode != VethMode::Bridge || wire.network.link.is_none() {
        let reason = "VLANs need a bridge; set link and leave out veth.mode";
        return Err(wire.wrong("veth.vlan", reason));
    }
    match veth.native_vlan {
        Some(NativeVlan::Id(id)) if veth.tagged_vlans.contains(&id) => {
            let reason = format!("VLAN {id} cannot be tagged and untagged at once; choose one");
            Err(wire.wrong("veth.vlan.tagged.id", &reason))
        }
        _ => Ok(()),
    }
}

fn check_address(wire: &Wire<'_>) -> Result<(), WiringFault> {
    // What is left open becomes the address of one interface.
    let Some(address) = wire.network.hwaddr.map(|hwaddr| hwaddr.fill([0x20; 6])) else {
        return Ok(());
    };
    if matches!(wire.network.kind, NetworkKind::Ipvlan { .. }) {
        let reason = "an ipvlan has the MAC address of its link; remove the key";
        return Err(wire.wrong("hwaddr", reason));
    }
    if address[0] & 1 == 1 || address == [0; 6] {
        let reason = "an interface cannot have a group's MAC address or none; make the first byte even, such as 00:16:3e";
        return Err(wire.wrong("hwaddr", reason));
    }
    Ok(())
}

fn check_gateways(wire: &Wire<'_>) -> Result<(), WiringFault> {
    let Network {
        up,
        link,
        kind,
        ipv4,
        ipv6,
        ipv4_gateway,
        ipv6_gateway,
        ..
    } = wire.network;
    let is_link_local =
        matches!(ipv6_gateway, Some(Gateway::Address(router)) if router.is_unicast_link_local());
    let gateways = [
        (
            "ipv4.gateway",
            ipv4_gateway.is_some(),
            *ipv4_gateway == Some(Gateway::Auto),
            !ipv4.is_empty(),
        ),
        (
            "ipv6.gateway",
            ipv6_gateway.is_some(),
            *ipv6_gateway == Some(Gateway::Auto),
            !ipv6.is_empty() || is_link_local,
        ),
    ];
    for (key, is_set, is_auto, has_address) in gateways {
        if is_set && !(*up && has_address) {
            return Err(wire.wrong(key, "it needs flags = up and an address of its family"));
        }
        let has_source =
            matches!(kind, NetworkKind::Veth(_) | NetworkKind::Macvlan { .. }) && link.is_some();
        if is_auto && !has_source {
            let reason = "'auto' needs a link, and type veth or macvlan; give the address instead";
            return Err(wire.wrong(key, reason));
        }
    }
    Ok(())
}

fn check_proxy(wire: &Wire<'_>) -> Result<(), WiringFault> {
    if wire.network.link.is_none() {
        return Err(wire.wrong("l2proxy", "it needs a link to answer on; set link"));
    }
    match wire.network.kind {
        NetworkKind::Ipvlan { mode, .. } if mode != IpvlanMode::L3s => {
            Err(wire.wrong("l2proxy", "an ipvlan needs ipvlan.mode = l3s for it"))
        }
        _ => Ok(()),
    }
}

/// Refuses what no interface can be called.
fn check_name(name: &str, number: u32, part: &str) -> Result<(), WiringFault> {
    match InterfaceName::new(name) {
        Ok(_) => Ok(()),
        Err(error) => Err(fault(number, part, &format!("{name}: {error}"))),
    }
}

/// The name that the config gives an interface; none for one that is to be
/// numbered. An interface of the host keeps its own.
fn given(network: &Network) -> Option<&str> {
    let own = match network.kind {
        NetworkKind::Phys => network.link.as_deref().filter(|link| !link.ends_with('+')),
        _ => None,
    };
    let name = network.name.as_deref().or(own);
    name.filter(|name| !name.contains("%d"))
}

/// The names in the container. Those that are to be numbered get the first
/// number that no given name takes. Loopback has no name of its own, and an
/// interface of the host that is found by a pattern gets none yet.
pub fn inner_names(
    networks: &BTreeMap<u32, Network>,
) -> Result<BTreeMap<u32, String>, WiringFault> {
    let is_wire = |network: &&Network| {
        let is_found = network.kind == NetworkKind::Phys && network.name.is_none();
        !matches!(network.kind, NetworkKind::Empty | NetworkKind::None)
            && (!is_found || given(network).is_some())
    };
    let mut taken = BTreeSet::from(["lo".to_owned()]);
    let mut names = BTreeMap::new();
    let wires = || networks.iter().filter(|(_, network)| is_wire(network));
    for (number, network) in wires() {
        let Some(name) = given(network) else { continue };
        check_name(name, *number, "name")?;
        if !taken.insert(name.to_owned()) {
            let reason = format!(
                "another interface of the container is called '{name}' already; choose another name"
            );
            return Err(fault(*number, "name", &reason));
        }
        names.insert(*number, name.to_owned());
    }
    for (number, network) in wires().filter(|(_, network)| given(network).is_none()) {
        let pattern = network.name.as_deref().unwrap_or("eth%d");
        let name = (0..u32::MAX)
            .map(|n| pattern.replacen("%d", &n.to_string(), 1))
            .find(|name| !taken.contains(name))
            .unwrap_or_default();
        check_name(&name, *number, "name")?;
        taken.insert(name.clone());
        names.insert(*number, name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SkipIncludes};
    use crate::settings::Settings;
    use std::path::Path;

    fn networks(text: &str) -> BTreeMap<u32, Network> {
        let config = Config::parse(Path::new("/c"), text.to_owned(), &mut SkipIncludes).unwrap();
        Settings::from_config(&config).unwrap().networks
    }

    fn refusal(text: &str) -> Option<String> {
        check(&networks(text)).err().map(|fault| fault.to_string())
    }

    fn names(text: &str) -> Result<Vec<String>, WiringFault> {
        Ok(inner_names(&networks(text))?.into_values().collect())
    }

    #[test]
    fn contradictions_are_refused_in_words() {
        let veth = "lxc.net.0.type = veth\nlxc.net.0.link = br0\n";
        let up = "lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.3.7/24\n";
        for (text, word) in [
            ("lxc.net.0.type = macvlan\n".to_owned(), "lxc.net.0.link"),
            (format!("{veth}lxc.net.0.hwaddr = 01:16:3e:00:00:01\n"), "first byte even"),
            (
                "lxc.net.0.type = ipvlan\nlxc.net.0.link = e\nlxc.net.0.hwaddr = 00:16:3e:00:00:01\n".to_owned(),
                "MAC address of its link",
            ),
            (format!("{veth}lxc.net.0.ipv4.gateway = 10.0.3.1\n"), "flags = up"),
            (
                format!("lxc.net.0.type = vlan\nlxc.net.0.vlan.id = 3\nlxc.net.0.link = e\n{up}lxc.net.0.ipv4.gateway = auto\n"),
                "'auto' needs",
            ),
            (
                format!("{veth}lxc.net.0.veth.vlan.id = 4\nlxc.net.0.veth.vlan.tagged.id = 4\n"),
                "at once",
            ),
            (
                format!("{veth}lxc.net.0.veth.mode = router\nlxc.net.0.veth.vlan.id = 4\n"),
                "need a bridge",
            ),
            (
                "lxc.net.0.type = ipvlan\nlxc.net.0.link = e\nlxc.net.0.l2proxy = 1\n".to_owned(),
                "l3s",
            ),
        ] {
            let refusal = refusal(&text).unwrap_or_default();
            assert!(refusal.contains(word), "{text}: {refusal}");
        }
        assert_eq!(
            refusal(&format!("{veth}{up}lxc.net.0.ipv4.gateway = auto\n")),
            None
        );
        assert_eq!(
            refusal(&format!(
                "{veth}lxc.net.0.flags = up\nlxc.net.0.ipv6.gateway = fe80::1\n"
            )),
            None
        );
    }

    #[test]
    fn given_names_come_first_and_numbers_fill_the_gaps() {
        let text = "lxc.net.0.type = veth\nlxc.net.1.type = macvlan\nlxc.net.1.name = eth0\n\
             lxc.net.2.type = phys\nlxc.net.2.link = enp3s0\nlxc.net.3.type = phys\n\
             lxc.net.3.link = eth+\nlxc.net.4.type = vlan\nlxc.net.4.vlan.id = 4\n\
             lxc.net.4.name = wan%d\nlxc.net.5.type = empty\n";
        assert_eq!(names(text).unwrap(), ["eth1", "eth0", "enp3s0", "wan0"]);
    }

    #[test]
    fn a_name_is_given_once() {
        let text = "lxc.net.0.type = veth\nlxc.net.0.name = a\nlxc.net.1.type = veth\nlxc.net.1.name = a\n";
        assert!(names(text).unwrap_err().reason.contains("'a' already"));
        let text = "lxc.net.0.type = veth\nlxc.net.0.name = lo\n";
        assert!(names(text).is_err());
    }
}
