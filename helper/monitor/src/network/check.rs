//! What can be refused before anything is made.

use super::names::inner_names;
use super::wire::Wire;
use crate::failure::Step;
use gantry_core::settings::{Network, NetworkKind, Settings, Veth};
use gantry_core::values::network::{Gateway, IpvlanMode, NativeVlan, VethMode};

/// Refuses settings that contradict each other, or that no interface can have.
pub(crate) fn check(settings: &Settings) -> Step<()> {
    inner_names(&settings.networks)?;
    for (number, network) in &settings.networks {
        let wire = Wire::new(*number, network, "")?;
        check_kind(&wire)?;
        check_address(&wire)?;
        check_gateways(&wire)?;
        if network.l2proxy {
            check_proxy(&wire)?;
        }
    }
    Ok(())
}

fn check_kind(wire: &Wire<'_>) -> Step<()> {
    match &wire.network.kind {
        NetworkKind::Veth(veth) => check_vlans(wire, veth),
        NetworkKind::Empty | NetworkKind::None => Ok(()),
        _ => wire.link_name().map(drop),
    }
}

fn check_vlans(wire: &Wire<'_>, veth: &Veth) -> Step<()> {
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

fn check_address(wire: &Wire<'_>) -> Step<()> {
    let Some(address) = wire.address else {
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

fn check_gateways(wire: &Wire<'_>) -> Step<()> {
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

fn check_proxy(wire: &Wire<'_>) -> Step<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::config::{Config, SkipIncludes};
    use std::path::Path;

    fn refusal(text: &str) -> Option<String> {
        let config = Config::parse(Path::new("/c"), text.to_owned(), &mut SkipIncludes).unwrap();
        let settings = Settings::from_config(&config).unwrap();
        check(&settings).err().map(|failure| failure.message)
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
}
