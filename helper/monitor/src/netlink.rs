//! The few requests to the kernel's NETLINK_ROUTE (rtnetlink(7)) that a
//! container's interfaces need.
//!
//! Written by hand: a library for all of rtnetlink would be most of a
//! monitor's memory.

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv,
    send, socket,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// Make it, and it must be new.
const CREATE: u16 = 0x600;

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
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

/// Bytes of a message's head, and of the fixed parts that follow it.
const HEAD: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;

/// A socket of one network namespace.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

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

/// A message under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut message = Self(vec![0; HEAD]);
        message.put(4, &kind.to_ne_bytes());
        message.put(6, &(REQUEST | flags).to_ne_bytes());
        message.0.extend(fixed);
        message
    }

    fn put(&mut self, offset: usize, value: &[u8]) {
        if let Some(place) = self.0.get_mut(offset..offset + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |message| message.0.extend(value));
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.nest(kind, |message| message.0.extend(value.bytes().chain([0])));
    }

    /// An attribute whose value is what `fill` adds; its length is known last.
    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let length = self.0.len() - start;
        self.put(start, &(length as u16).to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.put(0, &length.to_ne_bytes());
        self.put(8, &sequence.to_ne_bytes());
        self.0
    }
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

/// `struct ifaddrmsg`.
fn address_part(index: u32, address: IpAddr, prefix: u8) -> [u8; ADDRESS] {
    let [a, b, c, d] = index.to_ne_bytes();
    [
        family(address.is_ipv6()),
        prefix,
        0,
        RT_SCOPE_UNIVERSE,
        a,
        b,
        c,
        d,
    ]
}

fn family(is_ipv6: bool) -> u8 {
    if is_ipv6 {
        libc::AF_INET6 as u8
    } else {
        libc::AF_INET as u8
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u32::from_ne_bytes(*chunk))
}

/// The attributes in `bytes`, by kind. A broken one ends the list.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
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
    /// In this process's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            flags,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // To the kernel, and heard from nobody else.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// In another network namespace. This process, which has one thread, is in
    /// it only while the socket is made.
    pub(crate) fn open_in(namespace: impl AsFd) -> io::Result<Self> {
        let own = std::fs::File::open("/proc/self/ns/net")?;
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        let opened = Self::open();
        setns(own, CloneFlags::CLONE_NEWNET)?;
        opened
    }

    /// The socket, for another process.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends a request that is only acknowledged.
    fn request(&mut self, message: Message) -> io::Result<()> {
        self.send(message)?;
        self.receive(false).map(drop)
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        self.sequence += 1;
        send(
            self.socket.as_raw_fd(),
            &message.finish(self.sequence),
            MsgFlags::empty(),
        )?;
        Ok(())
    }

    /// The bodies of what answers the last request, up to the
    /// acknowledgement, the end of the list, or the one answer if `single`.
    fn receive(&self, single: bool) -> io::Result<Vec<Vec<u8>>> {
        let mut answers = Vec::new();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
                let length = length as usize;
                let Some(body) = rest.get(HEAD..length) else {
                    break;
                };
                let is_ours = u32_at(rest, 8) == Some(self.sequence);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                match kind {
                    _ if !is_ours => {}
                    NLMSG_ERROR => {
                        return match u32_at(body, 0).map_or(0, |code| code as i32) {
                            0 => Ok(answers),
                            code => Err(io::Error::from_raw_os_error(-code)),
                        };
                    }
                    NLMSG_DONE => return Ok(answers),
                    _ => answers.push(body.to_vec()),
                }
            }
            if single && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }

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

    /// Gives an interface an address.
    pub(crate) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        broadcast: Option<Ipv4Addr>,
    ) -> io::Result<()> {
        let mut message = Message::new(
            RTM_NEWADDR,
            ACK | CREATE,
            &address_part(index, address, prefix),
        );
        message.attribute(IFA_LOCAL, &octets(address));
        message.attribute(IFA_ADDRESS, &octets(address));
        if let Some(broadcast) = broadcast {
            message.attribute(IFA_BROADCAST, &broadcast.octets());
        }
        self.request(message)
    }

    /// The addresses of an interface, of the family of `like`.
    pub(crate) fn addresses(&mut self, index: u32, like: IpAddr) -> io::Result<Vec<IpAddr>> {
        self.send(Message::new(RTM_GETADDR, DUMP, &address_part(0, like, 0)))?;
        let answers = self.receive(false)?;
        let of_index = answers.iter().filter(|body| u32_at(body, 4) == Some(index));
        let values = of_index.flat_map(|body| attributes(body.get(ADDRESS..).unwrap_or_default()));
        Ok(values
            .filter(|(kind, _)| *kind == IFA_ADDRESS)
            .filter_map(|(_, value)| parse_address(value))
            .collect())
    }

    /// Adds a route out of an interface: to `destination` (an address and its
    /// prefix; none is everywhere), by way of a router if there is one.
    pub(crate) fn add_route(
        &mut self,
        index: u32,
        destination: Option<(IpAddr, u8)>,
        router: Option<IpAddr>,
        is_ipv6: bool,
    ) -> io::Result<()> {
        let scope = if router.is_some() {
            RT_SCOPE_UNIVERSE
        } else {
            RT_SCOPE_LINK
        };
        let prefix = destination.map_or(0, |(_, prefix)| prefix);
        // `struct rtmsg`
        let part = [
            family(is_ipv6),
            prefix,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_BOOT,
            scope,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let mut message = Message::new(RTM_NEWROUTE, ACK | CREATE, &part);
        message.attribute(RTA_OIF, &index.to_ne_bytes());
        if let Some((address, _)) = destination {
            message.attribute(RTA_DST, &octets(address));
        }
        if let Some(router) = router {
            message.attribute(RTA_GATEWAY, &octets(router));
        }
        self.request(message)
    }
}

fn parse_address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_nest_and_are_padded() {
        let mut message = Message::new(RTM_NEWLINK, ACK, &[]);
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, "veth")
        });
        message.attribute(IFLA_MTU, &1400_u32.to_ne_bytes());
        let bytes = message.finish(7);
        assert_eq!(u32_at(&bytes, 0), Some(bytes.len() as u32));
        let found: Vec<_> = attributes(&bytes[HEAD..]).collect();
        assert_eq!(found[0].0, IFLA_LINKINFO);
        assert_eq!(
            attributes(found[0].1).next(),
            Some((IFLA_INFO_KIND, b"veth\0".as_slice()))
        );
        assert_eq!(found[1], (IFLA_MTU, 1400_u32.to_ne_bytes().as_slice()));
    }

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

    #[test]
    fn broken_attributes_end_the_list() {
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[3]).count(), 0);
    }
}
