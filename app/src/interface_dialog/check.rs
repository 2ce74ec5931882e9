use gantry_core::{
    name::InterfaceName,
    networks::{Impossible, Subnet},
};

use crate::{
    backend::InterfacePlan,
    text::{mark, tr, tr_name},
};

/// What of a plan cannot be, by the rules of the helper.
///
/// # Errors
/// The row that is wrong, and what to change; without a sentence, it is not filled in yet.
pub(super) fn check(plan: &InterfacePlan) -> Result<(), Impossible> {
    let wrong = |row: &str, sentence: String| Err(Impossible::new(row, sentence));
    if plan.kind == "vlan" && !(1..4095).contains(&plan.vlan_id) {
        return wrong("vlan", tr("The number of a VLAN is from 1 to 4094."));
    }
    if matches!(plan.kind.as_str(), "macvlan" | "ipvlan" | "vlan" | "phys") && plan.link.is_empty()
    {
        return wrong("link", String::new());
    }
    if !plan.name.is_empty() && InterfaceName::new(&plan.name).is_err() {
        let sentence = tr("A name has at most 15 characters, and no blanks, slashes and colons.");
        return wrong("name", sentence);
    }
    if !plan.hwaddr.is_empty() && !is_hardware_address(&plan.hwaddr) {
        let sentence =
            tr("Give a hardware address such as 00:16:3e:xx:xx:xx, where x is any digit.");
        return wrong("hwaddr", sentence);
    }
    for (row, list, v6, example) in [
        ("ipv4", &plan.ipv4, false, "10.0.3.10/24"),
        ("ipv6", &plan.ipv6, true, "fd00::10/64"),
    ] {
        let fits = |text: &String| {
            let home = text.parse::<Subnet>();
            home.is_ok_and(|home| home.address.is_ipv6() == v6)
        };
        if !list.iter().all(fits) {
            let sentence =
                mark("Give addresses with the length of their net’s prefix, such as {name}.");
            return wrong(row, tr_name(sentence, example));
        }
    }
    for (row, text, v6) in [
        ("ipv4_gateway", &plan.ipv4_gateway, false),
        ("ipv6_gateway", &plan.ipv6_gateway, true),
    ] {
        let is_address = text
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_ipv6() == v6);
        if !(is_address || matches!(text.as_str(), "" | "auto" | "dev")) {
            return wrong(row, tr("Give the gateway’s address, “auto” or “dev”."));
        }
    }
    Ok(())
}

/// Six pairs of digits, of which some may be left to chance.
fn is_hardware_address(text: &str) -> bool {
    gantry_core::networks::parse_mac(&text.replace(['x', 'X'], "0")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_names_the_row() {
        let of = |change: fn(&mut InterfacePlan)| {
            let mut plan = InterfacePlan {
                kind: "veth".into(),
                link: "lxcbr0".into(),
                ..InterfacePlan::default()
            };
            change(&mut plan);
            check(&plan).map_err(|wrong| wrong.key)
        };
        assert_eq!(of(|_| ()), Ok(()));
        assert_eq!(of(|plan| plan.hwaddr = "00:16:3e:xx:xx:xx".into()), Ok(()));
        assert_eq!(
            of(|plan| plan.hwaddr = "00:16".into()),
            Err("hwaddr".to_owned())
        );
        assert_eq!(of(|plan| plan.name = "a b".into()), Err("name".to_owned()));
        assert_eq!(
            of(|plan| plan.ipv4 = vec!["10.0.3.7".into()]),
            Err("ipv4".to_owned())
        );
        assert_eq!(
            of(|plan| plan.ipv6 = vec!["10.0.3.7/24".into()]),
            Err("ipv6".to_owned())
        );
        assert_eq!(of(|plan| plan.ipv4_gateway = "auto".into()), Ok(()));
        assert_eq!(
            of(|plan| plan.ipv4_gateway = "::1".into()),
            Err("ipv4_gateway".to_owned())
        );
        assert_eq!(of(|plan| plan.kind = "vlan".into()), Err("vlan".to_owned()));
        let unplugged = |plan: &mut InterfacePlan| {
            plan.kind = "macvlan".into();
            plan.link.clear();
        };
        assert_eq!(of(unplugged), Err("link".to_owned()));
    }
}
