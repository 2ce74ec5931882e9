//! The host's own way out: what must not be taken from it in passing.

use super::{Interfaces, STEP};
use crate::failure::{At, Step};
use crate::netlink::{Link, Netlink};
use gantry_core::settings::{Network, NetworkKind};
use gantry_core::values::network::MacvlanMode;
use std::collections::BTreeSet;
use std::io;

impl Interfaces {
    /// Whether the host would be cut off if a container got this interface: it is all of
    /// one by which a default route leads out.
    pub(crate) fn cuts_off(network: &Network) -> Step<bool> {
        let takes_all = matches!(
            network.kind,
            NetworkKind::Phys
                | NetworkKind::Macvlan {
                    mode: MacvlanMode::Passthru
                }
        );
        let Some(link) = network.link.as_deref().filter(|_| takes_all) else {
            return Ok(false);
        };
        let uplinks = Netlink::open()
            .and_then(|mut host| uplinks(&mut host))
            .at(STEP, || "cannot look for the host's uplink".to_owned())?;
        Ok(match link.strip_suffix('+') {
            Some(prefix) => uplinks.iter().any(|name| name.starts_with(prefix)),
            None => uplinks.contains(link),
        })
    }
}

/// The interfaces by which the host reaches others: those of default routes, what they
/// are on top of, and the ports of those that are bridges.
pub(super) fn uplinks(host: &mut Netlink) -> io::Result<BTreeSet<String>> {
    let links = host.links()?;
    let mut found = host.ways_out()?;
    loop {
        let below: Vec<u32> = links
            .iter()
            .filter(|link| found.contains(&link.index))
            .filter(|link| matches!(link.kind.as_str(), "vlan" | "macvlan" | "ipvlan"))
            .filter_map(|link| link.lower)
            .collect();
        let is_port = |link: &&Link| link.master.is_some_and(|master| found.contains(&master));
        let ports: Vec<u32> = links
            .iter()
            .filter(is_port)
            .map(|link| link.index)
            .collect();
        let before = found.len();
        found.extend(below.into_iter().chain(ports));
        if found.len() == before {
            break;
        }
    }
    let names = links.into_iter().filter(|link| found.contains(&link.index));
    Ok(names.map(|link| link.name).collect())
}
