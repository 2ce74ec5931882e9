//! What an interface has beside itself: its addresses and routes, which it loses when it
//! leaves its namespace. They are kept and given back as the kernel told them, as
//! `ip address save` and `ip route save` do.

use super::message::{HEAD, Message, attributes, u32_at};
use super::{ACK, CREATE, DUMP, Netlink};
use serde::{Deserialize, Serialize};
use std::io;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_OIF: u16 = 4;
const RTPROT_KERNEL: u8 = 2;
const RTN_UNICAST: u8 = 1;

/// Bytes of `struct ifaddrmsg` and `struct rtmsg`.
const ADDRESS: usize = 8;
const ROUTE: usize = 12;

/// As many routes are kept, the wide ones first.
const MOST: usize = 200;

/// The addresses and routes of an interface, and whether it is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Belongings {
    is_up: bool,
    addresses: Vec<Vec<u8>>,
    routes: Vec<Vec<u8>>,
}

impl Netlink {
    /// What an interface has.
    pub(crate) fn belongings(&mut self, index: u32) -> io::Result<Belongings> {
        self.send(Message::new(RTM_GETADDR, DUMP, &[0; ADDRESS]))?;
        let mut addresses = self.receive(false)?;
        addresses.retain(|body| u32_at(body, 4) == Some(index));
        self.send(Message::new(RTM_GETROUTE, DUMP, &[0; ROUTE]))?;
        let mut routes = self.receive(false)?;
        // Its addresses bring the kernel's own with them.
        routes.retain(|body| {
            body.get(5) != Some(&RTPROT_KERNEL)
                && body.get(7) == Some(&RTN_UNICAST)
                && way_out(body) == Some(index)
        });
        routes.sort_by_key(|body| body.get(1).copied());
        routes.truncate(MOST);
        Ok(Belongings {
            is_up: self.link_at(index)?.is_some_and(|link| link.is_up),
            addresses,
            routes,
        })
    }

    /// Gives it all back to the interface, whose index may be another now. What it has
    /// already is left as it is.
    pub(crate) fn give_back(&mut self, index: u32, belongings: &Belongings) -> io::Result<()> {
        if belongings.is_up {
            self.bring_up(index)?;
        }
        for address in &belongings.addresses {
            let mut body = address.clone();
            if let Some(place) = body.get_mut(4..8) {
                place.copy_from_slice(&index.to_ne_bytes());
            }
            self.renew(RTM_NEWADDR, &body)?;
        }
        // A router may be reached by another route only.
        let (near, far): (Vec<_>, Vec<_>) = belongings
            .routes
            .iter()
            .partition(|body| body.get(1) != Some(&0));
        for route in near.into_iter().chain(far) {
            self.renew(RTM_NEWROUTE, &with_way_out(route, index))?;
        }
        Ok(())
    }

    fn renew(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        match self.request(Message::new(kind, ACK | CREATE, body)) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    }
}

fn way_out(route: &[u8]) -> Option<u32> {
    let mut found = attributes(route.get(ROUTE..)?);
    let (_, value) = found.find(|(kind, _)| *kind == RTA_OIF)?;
    u32_at(value, 0)
}

fn with_way_out(route: &[u8], index: u32) -> Vec<u8> {
    let (fixed, rest) = route.split_at(ROUTE.min(route.len()));
    let mut message = Message::new(RTM_NEWROUTE, 0, fixed);
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_OIF => message.attribute(kind, &index.to_ne_bytes()),
            kind => message.attribute(kind, value),
        }
    }
    message.0.split_off(HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_kept_but_for_its_interface() {
        let mut message = Message::new(RTM_NEWROUTE, 0, &[2; ROUTE]);
        message.attribute(5, &[10, 0, 0, 1]);
        message.attribute(RTA_OIF, &3_u32.to_ne_bytes());
        let route = message.0.split_off(HEAD);
        assert_eq!(way_out(&route), Some(3));
        let moved = with_way_out(&route, 7);
        assert_eq!(way_out(&moved), Some(7));
        assert_eq!(with_way_out(&moved, 3), route);
    }
}
