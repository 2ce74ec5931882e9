//! What the kernel tells of nftables' tables.

use super::message::HEAD;
use gantry_core::netlink::{attributes, u16_at, u32_at};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The bit of NFNLGRP_NFTABLES.
const GROUP: u32 = 1 << 6;
const SUBSYSTEM: u16 = 10;
/// NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN and NFT_MSG_DELRULE, whose first attribute is the
/// name of the table.
const DELETIONS: [u16; 3] = [2, 5, 8];
const TABLE_NAME: u16 = 1;
/// Bytes of the fixed part, `struct nfgenmsg`.
const FIXED: usize = 4;

/// A socket that hears of changes.
pub(crate) struct Tables(OwnedFd);

impl Tables {
    /// Hears from now on.
    pub(crate) fn watch() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
        Ok(Self(socket))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether something of a table was deleted since the last call.
    pub(crate) fn has_lost(&mut self, table: &str) -> bool {
        let mut buffer = vec![0; 32 * 1024];
        let mut lost = false;
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    lost |= tells_of(buffer.get(..length).unwrap_or_default(), table);
                }
                // More was told than fits.
                Err(nix::errno::Errno::ENOBUFS) => lost = true,
                Err(_) => return lost,
            }
        }
    }
}

fn tells_of(mut rest: &[u8], table: &str) -> bool {
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let length = length as usize;
        let Some(body) = rest.get(HEAD..length) else {
            return false;
        };
        let is_deletion = kind >> 8 == SUBSYSTEM && DELETIONS.contains(&(kind & 0xff));
        let mut names = attributes(body.get(FIXED..).unwrap_or_default());
        if is_deletion
            && names.any(|(kind, name)| {
                kind == TABLE_NAME && name.strip_suffix(&[0]) == Some(table.as_bytes())
            })
        {
            return true;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}
