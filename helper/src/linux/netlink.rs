//! Links and addresses (rtnetlink(7)), of the host or of a network namespace
//! to which a socket was handed over.

use super::readiness;
use gantry_core::netlink::Route;
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, Parseable,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// The number of every request: one at a time is under way on a socket.
const SEQUENCE: u32 = 1;
/// A dump's parts are at most this long, see `netlink_dump` in the kernel.
const BUFFER: usize = 32 * 1024;

/// A socket of the route family.
#[derive(Debug)]
pub(crate) struct Netlink(AsyncFd<OwnedFd>);

impl Netlink {
    /// A socket in our own network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // The first protocol of the family: NETLINK_ROUTE.
            None,
        )?;
        Self::adopt(socket)
    }

    /// A socket that was opened elsewhere, in whatever namespace that was.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(readiness::watch(socket, Interest::READABLE)?))
    }

    /// From now on [`Netlink::changed`] tells of changes.
    pub(crate) fn subscribe(&self) -> io::Result<()> {
        // A bound socket keeps its number.
        let address = rustix::net::getsockname(self.0.get_ref())?;
        let number = SocketAddrNetlink::try_from(address)?.pid();
        Ok(rustix::net::bind(
            self.0.get_ref(),
            &SocketAddrNetlink::new(number, GROUPS),
        )?)
    }

    /// Returns when links or addresses have changed since the last dump.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        match self.receive().await {
            // Messages were lost: something has changed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Every link.
    pub(crate) async fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.dump(request, |message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .await
    }

    /// Every address.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<AddressMessage>> {
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Unspec;
        self.dump(
            RouteNetlinkMessage::GetAddress(request),
            |message| match message {
                RouteNetlinkMessage::NewAddress(address) => Some(address),
                _ => None,
            },
        )
        .await
    }

    /// Every route of IPv4 and IPv6, in all tables.
    pub(crate) async fn routes(&self) -> io::Result<Vec<Route>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let of_family =
                self.dump(
                    RouteNetlinkMessage::GetRoute(request),
                    |message| match message {
                        RouteNetlinkMessage::NewRoute(route) => Some(told(&route)),
                        _ => None,
                    },
                );
            found.extend(of_family.await?);
        }
        Ok(found)
    }

    /// Makes a route, beside others to the same place. One that is there is no error.
    pub(crate) async fn add_route(&self, route: &Route) -> io::Result<()> {
        let new = RouteNetlinkMessage::NewRoute(parsed(route)?);
        unless(self.change(new, NLM_F_CREATE).await, &[libc::EEXIST])
    }

    /// Removes a route. One that is gone is no error.
    pub(crate) async fn delete_route(&self, route: &Route) -> io::Result<()> {
        let gone = RouteNetlinkMessage::DelRoute(parsed(route)?);
        unless(self.request(gone).await, &[libc::ESRCH, libc::ENODEV])
    }

    /// Makes a link or an address, which must be new.
    pub(crate) async fn create(&self, what: RouteNetlinkMessage) -> io::Result<()> {
        self.change(what, NLM_F_CREATE | NLM_F_EXCL).await
    }

    /// Makes an address or a route, or leaves it as it is.
    pub(crate) async fn ensure(&self, what: RouteNetlinkMessage) -> io::Result<()> {
        self.change(what, NLM_F_CREATE | NLM_F_REPLACE).await
    }

    /// Changes or deletes something that is there.
    pub(crate) async fn request(&self, what: RouteNetlinkMessage) -> io::Result<()> {
        self.change(what, 0).await
    }

    async fn change(&self, request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(request, NLM_F_ACK | flags)?;
        loop {
            for message in self.receive().await? {
                if let NetlinkPayload::Error(answer) = message.payload
                    && message.header.sequence_number == SEQUENCE
                {
                    return match answer.code {
                        None => Ok(()),
                        Some(_) => Err(answer.to_io()),
                    };
                }
            }
        }
    }

    fn send(&self, request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = SEQUENCE;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        rustix::net::sendto(
            self.0.get_ref(),
            &bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        Ok(())
    }

    async fn dump<T>(
        &self,
        request: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.send(request, NLM_F_DUMP)?;
        let mut found = Vec::new();
        loop {
            for message in self.receive().await? {
                // Changes have sequence number 0.
                if message.header.sequence_number != SEQUENCE {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(inner) => found.extend(pick(inner)),
                    _ => {}
                }
            }
        }
    }

    /// The messages of the next datagram from the kernel.
    async fn receive(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let mut buffer = vec![0; BUFFER];
        let length = loop {
            let mut ready = self.0.readable().await?;
            let received = ready.try_io(|socket| {
                Ok(rustix::net::recvfrom(
                    socket.get_ref(),
                    buffer.as_mut_slice(),
                    RecvFlags::empty(),
                )?)
            });
            match received {
                Ok(Ok((length, _, sender))) => {
                    let sender =
                        sender.and_then(|address| SocketAddrNetlink::try_from(address).ok());
                    // Whoever is root in the namespace may send, too.
                    if sender.is_some_and(|sender| sender.pid() == 0) {
                        break length;
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let length = rest
                .first_chunk()
                .map_or(0, |length| u32::from_ne_bytes(*length) as usize);
            if length < 16 || length > rest.len() {
                break;
            }
            let (message, tail) = rest.split_at(length.next_multiple_of(4).min(rest.len()));
            // One that this version of the parser does not know tells nothing.
            if let Ok(message) = NetlinkMessage::deserialize(message) {
                messages.push(message);
            }
            rest = tail;
        }
        Ok(messages)
    }
}

/// Lets what has been done before pass.
pub(crate) fn unless(result: io::Result<()>, done: &[i32]) -> io::Result<()> {
    match result {
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|code| done.contains(&code)) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn told(route: &RouteMessage) -> Route {
    let mut body = vec![0; route.buffer_len()];
    route.emit(&mut body);
    Route::new(body)
}

fn parsed(route: &Route) -> io::Result<RouteMessage> {
    RouteMessage::parse(route.body())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
