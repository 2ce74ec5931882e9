//! What an interface has beside itself: its addresses and routes, which it loses when it
//! leaves its namespace. They are kept and given back as the kernel told them, as
//! `ip address save` and `ip route save` do.

use super::message::Message;
use super::{ACK, DUMP, Link, Netlink};
use gantry_core::netlink::{Route, u32_at};
use serde::{Deserialize, Serialize};
use std::io;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
/// Make it, beside what there is.
const CREATE: u16 = 0x400;

/// Bytes of `struct ifaddrmsg`.
const ADDRESS: usize = 8;

/// As many routes are kept, the wide ones first.
const MOST: usize = 200;

/// The addresses and routes of an interface, and whether it is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Belongings {
    /// The interface's name.
    name: String,
    index: u32,
    is_up: bool,
    addresses: Vec<Vec<u8>>,
    routes: Vec<Route>,
}

impl Netlink {
    /// What an interface has, and what is on top of it: that loses its own when the lower
    /// one goes down.
    pub(crate) fn belongings(&mut self, index: u32) -> io::Result<Vec<Belongings>> {
        let links = self.links()?;
        let mut found: Vec<&Link> = links.iter().filter(|link| link.index == index).collect();
        let mut looked_at = 0;
        while let Some(lower) = found.get(looked_at).map(|link| link.index) {
            looked_at += 1;
            let on_top = links.iter().filter(|link| link.is_on(lower));
            let new: Vec<&Link> = on_top.filter(|link| !found.contains(link)).collect();
            found.extend(new);
        }
        self.send(Message::new(RTM_GETADDR, DUMP, &[0; ADDRESS]))?;
        let addresses = self.receive(false)?;
        let routes = self.routes()?;
        let of = |link: &Link| Belongings {
            name: link.name.clone(),
            index: link.index,
            is_up: link.is_up,
            addresses: addresses
                .iter()
                .filter(|body| u32_at(body, 4) == Some(link.index))
                .cloned()
                .collect(),
            routes: routes_of(link.index, &routes),
        };
        Ok(found.into_iter().map(of).collect())
    }

    /// Gives it all back to the interface, whose index may be another now. What it has
    /// already is left as it is; what cannot be given back does not keep the rest away.
    pub(crate) fn give_back(&mut self, belongings: &Belongings) -> io::Result<()> {
        let Some(link) = self.link(&belongings.name)? else {
            return Ok(());
        };
        if belongings.is_up {
            self.bring_up(link.index)?;
        }
        let mut done = Ok(());
        for address in &belongings.addresses {
            let mut body = address.clone();
            if let Some(place) = body.get_mut(4..8) {
                place.copy_from_slice(&link.index.to_ne_bytes());
            }
            done = done.and(self.renew(RTM_NEWADDR, &body));
        }
        for route in &belongings.routes {
            let route = route.moved(belongings.index, link.index);
            done = done.and(self.renew(RTM_NEWROUTE, route.body()));
        }
        done
    }

    fn renew(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        match self.request(Message::new(kind, ACK | CREATE, body)) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    }
}

/// Those that somebody has set up; the kernel makes its own anew. Routers come after what
/// leads to them.
fn routes_of(index: u32, all: &[Route]) -> Vec<Route> {
    let is_of = |route: &&Route| route.is_set_up() && route.interfaces().contains(&index);
    let mut routes: Vec<Route> = all.iter().filter(is_of).cloned().collect();
    routes.sort_by_key(Route::prefix);
    routes.truncate(MOST);
    routes.sort_by_key(Route::is_by_router);
    routes
}
