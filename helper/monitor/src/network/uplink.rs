//! The host's own way out: what must not be taken from it in passing.

use super::{Interfaces, STEP};
use crate::failure::{At, Step};
use crate::netlink::Netlink;
use gantry_core::netlink::{Way, ways_out};
use gantry_core::settings::Network;
use std::collections::BTreeSet;
use std::io;

impl Interfaces {
    /// Whether the host would be cut off if a container got this interface: it is all of
    /// one by which a default route leads out.
    pub(crate) fn cuts_off(network: &Network) -> Step<bool> {
        let link = network.link.as_deref();
        let Some(link) = link.filter(|_| network.kind.takes_all_of_link()) else {
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

/// The interfaces by which the host reaches others.
pub(super) fn uplinks(host: &mut Netlink) -> io::Result<BTreeSet<String>> {
    let links = host.links()?;
    let ways: Vec<Way<'_>> = links
        .iter()
        .map(|link| Way {
            index: link.index,
            name: &link.name,
            kind: &link.kind,
            master: link.master,
            lower: link.lower.filter(|_| link.lower_namespace.is_none()),
        })
        .collect();
    let found = ways_out(&ways, host.default_routes()?);
    let names = links.into_iter().filter(|link| found.contains(&link.index));
    Ok(names.map(|link| link.name).collect())
}
