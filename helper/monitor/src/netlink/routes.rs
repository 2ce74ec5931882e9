//! Routes.

use super::message::Message;
use super::{ACK, CREATE, Netlink, family, octets};
use std::io;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

impl Netlink {
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
