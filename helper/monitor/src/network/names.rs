//! Names of interfaces.

use super::STEP;
use crate::failure::{At, Step, failed};
use crate::sys;
use gantry_core::monitor::FailureKind;
use gantry_core::name::InterfaceName;
use gantry_core::settings::{Network, NetworkKind};
use std::collections::{BTreeMap, BTreeSet};

/// `veth` and six letters or digits.
pub(super) fn random_name() -> Step<String> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = sys::random::<6>().at(STEP, || "cannot draw a random name".to_owned())?;
    let letter = |byte: u8| {
        LETTERS
            .get(usize::from(byte) % LETTERS.len())
            .copied()
            .map_or('0', char::from)
    };
    Ok(format!(
        "veth{}",
        random.map(letter).iter().collect::<String>()
    ))
}

pub(super) fn check_name(name: &str, number: u32, key: &str) -> Step<()> {
    match InterfaceName::new(name) {
        Ok(_) => Ok(()),
        Err(error) => failed(
            FailureKind::InvalidConfig,
            STEP,
            format!("lxc.net.{number}.{key} = {name}: {error}."),
        ),
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
pub(super) fn inner_names(networks: &BTreeMap<u32, Network>) -> Step<BTreeMap<u32, String>> {
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
            let message = format!(
                "lxc.net.{number}.name: another interface of the container is called '{name}' already; choose another name."
            );
            return failed(FailureKind::InvalidConfig, STEP, message);
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
    use gantry_core::config::{Config, SkipIncludes};
    use gantry_core::settings::Settings;
    use std::path::Path;

    fn names(text: &str) -> Step<Vec<String>> {
        let config = Config::parse(Path::new("/c"), text.to_owned(), &mut SkipIncludes).unwrap();
        let settings = Settings::from_config(&config).unwrap();
        Ok(inner_names(&settings.networks)?.into_values().collect())
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
        assert!(names(text).unwrap_err().message.contains("'a' already"));
        let text = "lxc.net.0.type = veth\nlxc.net.0.name = lo\n";
        assert!(names(text).is_err());
    }
}
