//! Routes, and addresses that the host answers for.

use super::message::Message;
use super::{ACK, CREATE, DUMP, Netlink, family, octets};
use gantry_core::netlink::Route as Told;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NTF_PROXY: u8 = 8;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

/// Bytes of `struct rtmsg`.
const ROUTE: usize = 12;

/// A way out of an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The interface.
    pub(crate) index: u32,
    /// Where it leads: an address and the length of its prefix.
    pub(crate) destination: (IpAddr, u8),
    /// By way of whom; none if the destination is on the link.
    pub(crate) router: Option<IpAddr>,
}

impl Route {
    /// To one address that is on the link.
    pub(crate) fn to(address: IpAddr, index: u32) -> Self {
        let prefix = if address.is_ipv6() { 128 } else { 32 };
        Self {
            index,
            destination: (address, prefix),
            router: None,
        }
    }
}

impl Netlink {
    /// Adds a route.
    pub(crate) fn add_route(&mut self, route: &Route) -> io::Result<()> {
        self.change_route(RTM_NEWROUTE, ACK | CREATE, route)
    }

    /// Removes a route. One that is gone is no error.
    pub(crate) fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        match self.change_route(RTM_DELROUTE, ACK, route) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Every route of every family and table, as the kernel tells it.
    pub(super) fn routes(&mut self) -> io::Result<Vec<Told>> {
        self.send(Message::new(RTM_GETROUTE, DUMP, &[0; ROUTE]))?;
        Ok(self.receive(false)?.into_iter().map(Told::new).collect())
    }

    /// The interfaces by which a default route leads out, of whichever family and table.
    pub(crate) fn default_routes(&mut self) -> io::Result<BTreeSet<u32>> {
        let routes = self.routes()?;
        let found = routes.iter().filter(|route| route.is_default());
        Ok(found.flat_map(Told::interfaces).collect())
    }

    fn change_route(&mut self, kind: u16, flags: u16, route: &Route) -> io::Result<()> {
        let (destination, prefix) = route.destination;
        let scope = if route.router.is_some() || prefix == 0 {
            RT_SCOPE_UNIVERSE
        } else {
            RT_SCOPE_LINK
        };
        // `struct rtmsg`
        let part = [
            family(destination.is_ipv6()),
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
        let mut message = Message::new(kind, flags, &part);
        message.attribute(RTA_OIF, &route.index.to_ne_bytes());
        if prefix > 0 {
            message.attribute(RTA_DST, &octets(destination));
        }
        if let Some(router) = route.router {
            message.attribute(RTA_GATEWAY, &octets(router));
        }
        self.request(message)
    }

    /// Lets this host answer on an interface for an address, as if it had it
    /// (proxy ARP and NDP).
    pub(crate) fn add_proxy(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        self.change_proxy(RTM_NEWNEIGH, ACK | CREATE, index, address)
    }

    /// Ends [`Netlink::add_proxy`]. One that is gone is no error.
    pub(crate) fn delete_proxy(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        match self.change_proxy(RTM_DELNEIGH, ACK, index, address) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                Ok(())
            }
            result => result,
        }
    }

    fn change_proxy(
        &mut self,
        kind: u16,
        flags: u16,
        index: u32,
        address: IpAddr,
    ) -> io::Result<()> {
        let [a, b, c, d] = index.to_ne_bytes();
        // `struct ndmsg`
        let family = family(address.is_ipv6());
        let part = [family, 0, 0, 0, a, b, c, d, 0, 0, NTF_PROXY, 0];
        let mut message = Message::new(kind, flags, &part);
        message.attribute(NDA_DST, &octets(address));
        self.request(message)
    }
}
