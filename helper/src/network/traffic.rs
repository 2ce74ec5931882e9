//! Bytes through the host's ends of a container's interfaces.

use crate::linux::netlink::Netlink;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Open counters of the host's ends: what the host sent is what the container
/// received.
#[derive(Debug, Default)]
pub(crate) struct Counters(Vec<End>);

#[derive(Debug)]
struct End {
    sent: File,
    received: File,
}

impl Counters {
    /// Finds the host's ends of the interfaces in a container's network
    /// namespace, to which the socket belongs.
    pub(crate) async fn open(container: &Netlink) -> io::Result<Self> {
        let hosts: HashMap<u32, String> = Netlink::open()?
            .links()
            .await?
            .into_iter()
            .filter_map(|link| {
                let name = link
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        LinkAttribute::IfName(name) => Some(name.clone()),
                        _ => None,
                    })?;
                Some((link.header.index, name))
            })
            .collect();
        let links = container.links().await?;
        let ends = links
            .iter()
            .filter_map(peer)
            .filter_map(|index| hosts.get(&index));
        Ok(Self(ends.filter_map(|name| End::open(name).ok()).collect()))
    }

    /// Bytes that the container received and sent; none if no end is known.
    pub(crate) fn read(&self) -> Option<(u64, u64)> {
        if self.0.is_empty() {
            return None;
        }
        let mut total = (0, 0);
        for end in &self.0 {
            total.0 += number(&end.sent).unwrap_or_default();
            total.1 += number(&end.received).unwrap_or_default();
        }
        Some(total)
    }
}

impl End {
    fn open(name: &str) -> io::Result<Self> {
        let statistics = Path::new("/sys/class/net").join(name).join("statistics");
        Ok(Self {
            sent: File::open(statistics.join("tx_bytes"))?,
            received: File::open(statistics.join("rx_bytes"))?,
        })
    }
}

/// The index of a pair's other end in another namespace. That it is in ours
/// follows from what the monitor makes: only it moves interfaces. (What else
/// names another interface is on top of it, and shares it with others.)
fn peer(link: &LinkMessage) -> Option<u32> {
    let is_veth = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    };
    if !link.attributes.iter().any(is_veth) {
        return None;
    }
    let elsewhere = link
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    let other = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Link(index) => Some(*index),
            _ => None,
        });
    other.filter(|_| elsewhere)
}

fn number(file: &File) -> Option<u64> {
    let mut buffer = [0; 32];
    let length = file.read_at(&mut buffer, 0).ok()?;
    std::str::from_utf8(buffer.get(..length)?)
        .ok()?
        .trim()
        .parse()
        .ok()
}
