//! Interfaces.

use super::message::{Message, attributes, u32_at};
use super::{ACK, CREATE, Netlink};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// Bytes of the fixed part, `struct ifinfomsg`.
const LINK: usize = 16;

/// An interface, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) is_bridge: bool,
    pub(crate) mtu: Option<u32>,
    /// The other end of a pair.
    pub(crate) peer: Option<u32>,
}

/// A pair to make: one end here and up, the other in a namespace.
pub(crate) struct NewPair<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: [u8; 6],
    pub(crate) bridge: Option<u32>,
    pub(crate) mtu: Option<u32>,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_address: Option<[u8; 6]>,
    pub(crate) namespace: &'a OwnedFd,
}

/// `struct ifinfomsg`.
fn link_part(index: u32, up: bool) -> [u8; LINK] {
    let mut part = [0; LINK];
    part[4..8].copy_from_slice(&index.to_ne_bytes());
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    part[8..12].copy_from_slice(&flags.to_ne_bytes());
    part[12..16].copy_from_slice(&flags.to_ne_bytes());
    part
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let mut link = Link {
        index: u32_at(body, 4)?,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(LINK..)?) {
        match kind {
            IFLA_MTU => link.mtu = u32_at(value, 0),
            IFLA_LINK => link.peer = u32_at(value, 0),
            IFLA_LINKINFO => {
                link.is_bridge =
                    attributes(value).any(|part| part == (IFLA_INFO_KIND, b"bridge\0".as_slice()));
            }
            _ => {}
        }
    }
    Some(link)
}

impl Netlink {
    /// Finds an interface by name; none if there is none.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = Message::new(RTM_GETLINK, 0, &link_part(0, false));
        message.text(IFLA_IFNAME, name);
        self.send(message)?;
        match self.receive(true) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            answers => Ok(answers?.first().and_then(|body| parse_link(body))),
        }
    }

    /// Makes a pair; its other end has its final name from the beginning.
    pub(crate) fn add_pair(&mut self, pair: &NewPair<'_>) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, ACK | CREATE, &link_part(0, true));
        message.text(IFLA_IFNAME, pair.name);
        message.attribute(IFLA_ADDRESS, &pair.address);
        if let Some(mtu) = pair.mtu {
            message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
        }
        if let Some(bridge) = pair.bridge {
            message.attribute(IFLA_MASTER, &bridge.to_ne_bytes());
        }
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, "veth");
            message.nest(IFLA_INFO_DATA, |message| {
                message.nest(VETH_INFO_PEER, |message| {
                    message.0.extend(link_part(0, false));
                    message.text(IFLA_IFNAME, pair.peer_name);
                    message.attribute(IFLA_NET_NS_FD, &pair.namespace.as_raw_fd().to_ne_bytes());
                    if let Some(mtu) = pair.mtu {
                        message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
                    }
                    if let Some(address) = &pair.peer_address {
                        message.attribute(IFLA_ADDRESS, address);
                    }
                });
            });
        });
        self.request(message)
    }

    /// Brings an interface up.
    pub(crate) fn bring_up(&mut self, index: u32) -> io::Result<()> {
        self.request(Message::new(RTM_SETLINK, ACK, &link_part(index, true)))
    }

    /// Puts a text on an interface for people and programs to find.
    pub(crate) fn tag(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut message = Message::new(RTM_SETLINK, ACK, &link_part(index, false));
        message.attribute(IFLA_IFALIAS, alias.as_bytes());
        self.request(message)
    }

    /// Gives an interface another name.
    pub(crate) fn rename(&mut self, index: u32, name: &str) -> io::Result<()> {
        let mut message = Message::new(RTM_SETLINK, ACK, &link_part(index, false));
        message.text(IFLA_IFNAME, name);
        self.request(message)
    }

    /// Deletes an interface. One that is gone is no error.
    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        match self.request(Message::new(RTM_DELLINK, ACK, &link_part(index, false))) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn loopback_is_found_and_strangers_are_not() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.is_bridge), (1, false));
        assert_eq!(netlink.link("no-such-link").unwrap(), None);
        assert!(
            netlink
                .addresses(lo.index, Ipv4Addr::UNSPECIFIED.into())
                .is_ok()
        );
    }
}
