//! Names of interfaces.

use super::STEP;
use crate::failure::{At, Step, failed};
use crate::sys;
use gantry_core::monitor::FailureKind;
use gantry_core::name::InterfaceName;
use gantry_core::settings::Network;
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

/// The names in the container. Those that are to be numbered get the first
/// number that no explicit name takes.
pub(super) fn inner_names(networks: &BTreeMap<u32, Network>) -> Step<BTreeMap<u32, String>> {
    let explicit = |network: &Network| network.name.clone().filter(|name| !name.contains("%d"));
    let mut taken: BTreeSet<String> = networks.values().filter_map(explicit).collect();
    let mut names = BTreeMap::new();
    for (number, network) in networks {
        let name = explicit(network).unwrap_or_else(|| {
            let pattern = network.name.as_deref().unwrap_or("eth%d");
            let numbered = (0..u32::MAX).map(|n| pattern.replacen("%d", &n.to_string(), 1));
            numbered
                .into_iter()
                .find(|name| !taken.contains(name))
                .unwrap_or_default()
        });
        if network.kind.kind() == gantry_core::values::network::NetworkType::Veth {
            check_name(&name, *number, "name")?;
            taken.insert(name.clone());
            names.insert(*number, name);
        }
    }
    Ok(names)
}
