//! The few requests to the kernel's NETLINK_ROUTE (rtnetlink(7)) that a
//! container's interfaces need.
//!
//! Written by hand: a library for all of rtnetlink would be most of a
//! monitor's memory.

mod addresses;
mod belongings;
mod links;
mod message;
mod routes;
mod tables;

pub(crate) use belongings::Belongings;
pub(crate) use links::{Link, NewKind, NewLink};
pub(crate) use routes::Route;
pub(crate) use tables::Tables;

use gantry_core::netlink::{u16_at, u32_at};
use message::{HEAD, Message};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv,
    send, socket,
};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// Make it, and it must be new.
const CREATE: u16 = 0x600;

/// A socket of one network namespace.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
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
