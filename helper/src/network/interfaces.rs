//! The host's network interfaces.

use super::addresses;
use crate::linux::netlink::Netlink;
use gantry_core::netlink::{self, Route, Way};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;

/// A network interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostInterface {
    /// Its number in the kernel.
    pub(crate) index: u32,
    /// What is noted on it (`ifalias`): whose it is, where Gantry made it.
    pub(crate) alias: String,
    /// Its name.
    pub(crate) name: String,
    /// What it is in the kernel's words (`bridge`, `veth`, `vlan`, …);
    /// `physical` if it is none of those.
    pub(crate) kind: String,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Whether it is a wireless card, which cannot be a bridge's port: its access point
    /// takes frames of one address only.
    pub(crate) is_wireless: bool,
    /// Its hardware address; empty if it has none.
    pub(crate) hwaddr: String,
    /// The bridge it is a port of; empty if none.
    pub(crate) master: String,
    /// Its addresses with prefix lengths.
    pub(crate) addresses: Vec<String>,
}

/// Every interface but `lo`, by name.
pub(crate) async fn list() -> io::Result<Vec<HostInterface>> {
    let socket = Netlink::open()?;
    let links = socket.links().await?;
    let mut addresses = addresses::by_interface(&socket.addresses().await?);
    let names: HashMap<u32, String> = links
        .iter()
        .filter_map(|link| Some((link.header.index, name(link)?.to_owned())))
        .collect();
    let mut found: Vec<HostInterface> = links
        .iter()
        .filter(|link| link.header.link_layer_type != LinkLayerType::Loopback)
        .filter_map(|link| {
            interface(
                link,
                &names,
                addresses.remove(&link.header.index).unwrap_or_default(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn interface(
    link: &LinkMessage,
    names: &HashMap<u32, String>,
    addresses: Vec<String>,
) -> Option<HostInterface> {
    let name = name(link)?;
    let (mut hwaddr, mut master, mut alias) = (String::new(), String::new(), String::new());
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfAlias(text) => alias.clone_from(text),
            LinkAttribute::Address(bytes) => hwaddr = colons(bytes),
            LinkAttribute::Controller(index) => {
                master = names.get(index).cloned().unwrap_or_default()
            }
            _ => {}
        }
    }
    let up = link.header.flags.contains(LinkFlags::Up);
    Some(HostInterface {
        index: link.header.index,
        alias,
        name: name.to_owned(),
        kind: kind(link).unwrap_or_else(|| "physical".to_owned()),
        up,
        is_wireless: Path::new("/sys/class/net")
            .join(name)
            .join("phy80211")
            .exists(),
        hwaddr,
        master,
        addresses,
    })
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

/// What it is in the kernel's words; none if it is hardware.
fn kind(link: &LinkMessage) -> Option<String> {
    let mut infos = link
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
    infos.find_map(|infos| {
        infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        })
    })
}

/// The interfaces by which the host reaches others, and would be cut off without; of
/// whichever table of routes.
pub(crate) async fn ways_out() -> io::Result<BTreeSet<String>> {
    let socket = Netlink::open()?;
    let links = socket.links().await?;
    let routes = socket.routes().await?;
    let routed = routes.iter().filter(|route| route.is_default());
    let routed = routed.flat_map(Route::interfaces).collect();
    let kinds: Vec<String> = links
        .iter()
        .map(|link| kind(link).unwrap_or_default())
        .collect();
    let ways: Vec<Way<'_>> = links
        .iter()
        .zip(&kinds)
        .map(|(link, kind)| way(link, kind))
        .collect();
    let found = netlink::ways_out(&ways, routed);
    let found = ways.iter().filter(|way| found.contains(&way.index));
    Ok(found.map(|way| way.name.to_owned()).collect())
}

fn way<'a>(link: &'a LinkMessage, kind: &'a str) -> Way<'a> {
    let (mut master, mut lower, mut is_elsewhere) = (None, None, false);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Controller(index) => master = Some(*index),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            _ => {}
        }
    }
    Way {
        index: link.header.index,
        name: name(link).unwrap_or_default(),
        kind,
        master,
        lower: lower.filter(|_| !is_elsewhere),
    }
}

/// A MAC address as people write it.
pub(super) fn colons(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
