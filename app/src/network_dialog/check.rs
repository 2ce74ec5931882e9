use gantry_core::{
    name::InterfaceName,
    networks::{self, Impossible, Subnet, file::parse_range},
};

use crate::{
    backend::{Network, NewNetwork},
    text::{mark, tr, tr_name},
};

/// Checks what a network is to be as it is typed, by the rules of the helper, beside the
/// `others` that there are.
///
/// # Errors
/// What is wrong; without a sentence, it is not filled in yet.
pub(super) fn check(new: &NewNetwork, others: &[Network]) -> Result<(), Impossible> {
    if new.name.is_empty() {
        return Err(Impossible::new("name", String::new()));
    }
    if others.iter().any(|other| other.name == new.name) {
        let sentence = tr_name("There is a network “{name}” already.", &new.name);
        return Err(Impossible::new("name", sentence));
    }
    let mut network = networks::Network::new(InterfaceName::new(&new.name)?);
    network.ipv4 = subnet("ipv4", &new.ipv4, "10.0.4.1/24")?;
    network.ipv6 = subnet("ipv6", &new.ipv6, "fd12:3456:789a::1/64")?;
    network.dhcp = new.dhcp;
    network.dhcp_range = match new.dhcp_range.as_str() {
        "" => None,
        text => Some(parse_range(text).ok_or_else(|| {
            let sentence =
                tr("Give two addresses with a comma between, such as 10.0.4.2,10.0.4.99.");
            Impossible::new("dhcp_range", sentence)
        })?),
    };
    network.domain.clone_from(&new.domain);
    network.isolated = new.isolated;
    network.uplink.clone_from(&new.uplink);
    network.check()?;
    let taken = |key: &str, home: Subnet| {
        let of = others.iter().find(|other| {
            let theirs = other.addresses.iter();
            let mut theirs = theirs.filter_map(|text| text.parse::<Subnet>().ok());
            theirs.any(|theirs| theirs.overlaps(home))
        });
        let sentence = mark("The network “{name}” has these addresses: give another net.");
        of.map(|other| Impossible::new(key, tr_name(sentence, &other.name)))
    };
    let homes = [("ipv4", network.ipv4), ("ipv6", network.ipv6)];
    let mut homes = homes
        .into_iter()
        .filter_map(|(key, home)| Some((key, home?)));
    homes
        .find_map(|(key, home)| taken(key, home))
        .map_or(Ok(()), Err)
}

fn subnet(key: &str, text: &str, example: &str) -> Result<Option<Subnet>, Impossible> {
    let wrong = |_| {
        let sentence = mark("Give an address with the length of its net’s prefix, such as {name}.");
        Impossible::new(key, tr_name(sentence, example))
    };
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(wrong),
    }
}

/// The range that is given out where none is said; empty when that cannot be told.
pub(super) fn usual_range(ipv4: &str) -> String {
    let Ok(name) = InterfaceName::new("any") else {
        return String::new();
    };
    let mut network = networks::Network::new(name);
    network.ipv4 = ipv4.parse().ok();
    network.dhcp = network.ipv4.is_some();
    let range = network.check().ok().and_then(|()| network.range());
    range.map_or_else(String::new, |(first, last)| format!("{first},{last}"))
}

/// An address for a new network, in a net that none of these has.
pub(super) fn suggestion(others: &[Network]) -> String {
    let taken: Vec<Subnet> = others
        .iter()
        .flat_map(|other| &other.addresses)
        .filter_map(|text| text.parse().ok())
        .collect();
    let free = |text: &String| {
        let home = text.parse::<Subnet>();
        home.is_ok_and(|home| !taken.iter().any(|theirs| theirs.overlaps(home)))
    };
    let mut all = (4..=255).map(|net| format!("10.0.{net}.1/24"));
    all.find(free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others() -> Vec<Network> {
        vec![Network {
            name: "lxcbr0".into(),
            addresses: vec!["10.0.3.1/24".into(), "10.0.4.1/24".into()],
            ..Network::default()
        }]
    }

    fn verdict(name: &str, ipv4: &str, range: &str) -> Result<(), String> {
        let new = NewNetwork {
            name: name.into(),
            ipv4: ipv4.into(),
            dhcp: !ipv4.is_empty(),
            dhcp_range: range.into(),
            ..NewNetwork::default()
        };
        check(&new, &others()).map_err(|wrong| wrong.sentence)
    }

    #[test]
    fn what_the_helper_would_refuse_is_told_while_it_is_typed() {
        assert_eq!(verdict("", "10.5.0.1/24", ""), Err(String::new()));
        assert_eq!(verdict("dev0", "10.5.0.1/24", ""), Ok(()));
        assert_eq!(verdict("dev0", "", ""), Ok(()));
        for (name, ipv4, range, words) in [
            ("lxcbr0", "", "", "already"),
            ("a/b", "", "", "'/'"),
            ("abcdefghijklmnop", "", "", "15"),
            ("7up", "", "", "letter"),
            ("dev0", "10.5.0.1", "", "prefix"),
            ("dev0", "10.5.0.0/24", "", "10.5.0.0/24"),
            ("dev0", "10.0.3.9/24", "", "lxcbr0"),
            ("dev0", "10.0.0.1/8", "", "lxcbr0"),
            ("dev0", "10.5.0.1/24", "all", "comma"),
            ("dev0", "10.5.0.1/24", "10.5.0.2,10.5.1.9", "10.5.0.0/24"),
        ] {
            let said = verdict(name, ipv4, range).unwrap_err();
            assert!(said.contains(words), "{name} {ipv4} {range}: {said}");
        }
    }

    #[test]
    fn a_free_net_is_suggested() {
        assert_eq!(suggestion(&[]), "10.0.4.1/24");
        assert_eq!(suggestion(&others()), "10.0.5.1/24");
        assert_eq!(usual_range("10.0.5.1/24"), "10.0.5.2,10.0.5.254");
        assert_eq!(usual_range("nonsense"), "");
    }
}
