//! The host's network interfaces.

use super::addresses;
use crate::linux::netlink::Netlink;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use std::collections::HashMap;
use std::io;

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
    let (mut kind, mut hwaddr, mut master) = ("physical".to_owned(), String::new(), String::new());
    let mut alias = String::new();
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfAlias(text) => alias.clone_from(text),
            LinkAttribute::Address(bytes) => hwaddr = colons(bytes),
            LinkAttribute::Controller(index) => {
                master = names.get(index).cloned().unwrap_or_default()
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(found) = info {
                        kind = word(found);
                    }
                }
            }
            _ => {}
        }
    }
    let up = link.header.flags.contains(LinkFlags::Up);
    Some(HostInterface {
        index: link.header.index,
        alias,
        name: name(link)?.to_owned(),
        kind,
        up,
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

fn word(kind: &InfoKind) -> String {
    kind.to_string()
}

/// A MAC address as people write it.
pub(super) fn colons(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
