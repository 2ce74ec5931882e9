//! A route as the kernel tells it, for whoever keeps an interface's and gives it back, or to
//! another: nothing of it is lost that this code knows nothing of.

use super::{attributes, u16_at, u32_at};
use serde::{Deserialize, Serialize};

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;
const AF_INET6: u8 = 10;
const RTPROT_KERNEL: u8 = 2;
const RTN_UNICAST: u8 = 1;
/// The router is on the link, whatever addresses say. Other flags tell how the route is
/// doing, and are not taken.
const ONLINK: u8 = 4;

/// Bytes of `struct rtmsg` and `struct rtnexthop`.
const ROUTE: usize = 12;
const HOP: usize = 8;

/// A route: `struct rtmsg` and its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route(Vec<u8>);

impl Route {
    /// The body of a message about a route (`RTM_NEWROUTE`).
    pub fn new(body: Vec<u8>) -> Self {
        Self(body)
    }

    /// The body of a message about it.
    pub fn body(&self) -> &[u8] {
        &self.0
    }

    fn byte(&self, offset: usize) -> u8 {
        self.0.get(offset).copied().unwrap_or_default()
    }

    fn attributes(&self) -> impl Iterator<Item = (u16, &[u8])> {
        attributes(self.0.get(ROUTE..).unwrap_or_default())
    }

    /// How many bits of an address it looks at.
    pub fn prefix(&self) -> u8 {
        self.byte(1)
    }

    fn leads_somewhere(&self) -> bool {
        self.byte(7) == RTN_UNICAST
    }

    /// Whether it leads everywhere that no other route does.
    pub fn is_default(&self) -> bool {
        self.prefix() == 0 && self.leads_somewhere()
    }

    /// Whether somebody has set it up: the kernel makes those of addresses by itself.
    pub fn is_set_up(&self) -> bool {
        self.leads_somewhere() && self.byte(5) != RTPROT_KERNEL
    }

    /// Whether it leads to routers, which are reached by routes that do not.
    pub fn is_by_router(&self) -> bool {
        self.attributes()
            .any(|(kind, _)| matches!(kind, RTA_GATEWAY | RTA_VIA | RTA_MULTIPATH))
    }

    /// The interfaces by which it leads out: one that shares packets out among routers may
    /// have several.
    pub fn interfaces(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for (kind, value) in self.attributes() {
            match kind {
                RTA_OIF => found.extend(u32_at(value, 0)),
                RTA_MULTIPATH => found.extend(hops(value).filter_map(|hop| u32_at(hop, 4))),
                _ => {}
            }
        }
        found
    }

    /// What to ask the kernel for so that it leads out by `to` where it has led out by
    /// `from`. In IPv6 every router has a route of its own, though they are told as one:
    /// it is asked for those of `from` alone.
    #[must_use]
    pub fn moved(&self, from: u32, to: u32) -> Self {
        let mut body = self.0.get(..ROUTE).unwrap_or_default().to_vec();
        if let Some(flags) = body.get_mut(8..ROUTE) {
            let [low, ..] = u32_at(flags, 0).unwrap_or_default().to_le_bytes();
            flags.copy_from_slice(&u32::from(low & ONLINK).to_ne_bytes());
        }
        for (kind, value) in self.attributes() {
            match kind {
                RTA_CACHEINFO => {}
                RTA_OIF if u32_at(value, 0) == Some(from) => {
                    push(&mut body, kind, &to.to_ne_bytes())
                }
                RTA_MULTIPATH => {
                    let is_alone = self.byte(0) == AF_INET6;
                    push(&mut body, kind, &moved_hops(value, from, to, is_alone));
                }
                kind => push(&mut body, kind, value),
            }
        }
        Self(body)
    }
}

/// The routers of a route that has several, each as the kernel tells it.
fn hops(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?).max(HOP);
        let hop = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(hop)
    })
}

fn moved_hops(value: &[u8], from: u32, to: u32, is_alone: bool) -> Vec<u8> {
    let mut moved = Vec::new();
    for hop in hops(value) {
        let is_from = u32_at(hop, 4) == Some(from);
        if is_alone && !is_from {
            continue;
        }
        let mut hop = hop.to_vec();
        if let Some(flags) = hop.get_mut(2) {
            *flags &= ONLINK;
        }
        if let Some(index) = hop.get_mut(4..HOP).filter(|_| is_from) {
            index.copy_from_slice(&to.to_ne_bytes());
        }
        moved.extend(hop);
        moved.resize(moved.len().next_multiple_of(4), 0);
    }
    moved
}

fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTA_DST: u16 = 1;
    const LINKDOWN: u8 = 16;

    fn route(family: u8, attributes: &[(u16, &[u8])]) -> Route {
        // Static, everywhere, unicast; the kernel's flags.
        let mut body = vec![family, 0, 0, 0, 254, 4, 0, RTN_UNICAST, 0, 0, 0, 0];
        body[8..].copy_from_slice(&u32::from(ONLINK | LINKDOWN).to_ne_bytes());
        for (kind, value) in attributes {
            push(&mut body, *kind, value);
        }
        Route::new(body)
    }

    fn hop(flags: u8, index: u32) -> Vec<u8> {
        let mut hop = vec![16, 0, flags, 0];
        hop[..2].copy_from_slice(&16_u16.to_ne_bytes());
        hop.extend(index.to_ne_bytes());
        push(&mut hop, RTA_GATEWAY, &[10, 0, 0, 1]);
        hop
    }

    #[test]
    fn a_route_is_kept_but_for_its_interface() {
        let index = |index: u32| index.to_ne_bytes();
        let found = route(
            2,
            &[
                (RTA_DST, &[10, 0, 0, 1]),
                (RTA_OIF, &index(3)),
                (RTA_CACHEINFO, &[0; 32]),
            ],
        );
        assert!(found.is_default() && found.is_set_up() && !found.is_by_router());
        assert_eq!(found.interfaces(), [3]);
        let moved = found.moved(3, 7);
        assert_eq!(moved.interfaces(), [7]);
        assert_eq!(found.moved(4, 7).interfaces(), [3]);
        let mut wanted = route(2, &[(RTA_DST, &[10, 0, 0, 1]), (RTA_OIF, &index(7))]);
        wanted.0[8..ROUTE].copy_from_slice(&u32::from(ONLINK).to_ne_bytes());
        assert_eq!(moved, wanted);
    }

    #[test]
    fn one_of_several_routers_moves_with_its_interface() {
        let both = [hop(LINKDOWN, 3), hop(0, 4)].concat();
        let found = route(2, &[(RTA_MULTIPATH, &both)]);
        assert!(found.is_by_router());
        assert_eq!(found.interfaces(), [3, 4]);
        assert_eq!(found.moved(3, 7).interfaces(), [7, 4]);
        // What the kernel does not take is not there.
        assert_eq!(
            found.moved(3, 7).moved(7, 3),
            route(2, &[(RTA_MULTIPATH, &[hop(0, 3), hop(0, 4)].concat())]).moved(9, 9)
        );
        // In IPv6 the other stays as it is.
        assert_eq!(
            route(AF_INET6, &[(RTA_MULTIPATH, &both)])
                .moved(3, 7)
                .interfaces(),
            [7]
        );
    }

    #[test]
    fn what_is_broken_leads_nowhere() {
        for body in [&[][..], &[2; 5], &[2; 13]] {
            let route = Route::new(body.to_vec());
            assert_eq!(route.interfaces(), [0; 0]);
            assert_eq!(route.moved(1, 2).interfaces(), [0; 0]);
        }
        let broken = route(2, &[(RTA_MULTIPATH, &[1, 0, 0, 0, 9]), (RTA_OIF, &[1])]);
        assert_eq!(broken.interfaces(), [0; 0]);
    }
}
