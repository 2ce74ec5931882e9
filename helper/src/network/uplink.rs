//! The interface of the host that is a port of a network's bridge, so that containers are
//! in the net outside themselves.
//!
//! A port has no addresses that count: what the host had on the interface, its addresses,
//! its routes and its MAC address, goes to the bridge, and back when the interface does.
//! It stands in a file while it is away, so that every step may be done again.

use super::addresses;
use super::bridge::{self, change};
use super::interfaces::{self, HostInterface};
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::netlink::{Netlink, unless};
use gantry_core::netlink::Route;
use gantry_core::networks::{Network, Places, Subnet, parse_mac};
use netlink_packet_route::address::{AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// What was the host's on the interface.
#[derive(Debug, Serialize, Deserialize)]
struct Belongings {
    interface: String,
    /// Its number when they were looked up, by which its routes lead out.
    index: u32,
    addresses: Vec<String>,
    /// Those that somebody has set up, also such as share packets out among several
    /// interfaces; routers come after what leads to them.
    routes: Vec<Route>,
    /// Whether it speaks IPv6, which a port does not: what routers advertise there would
    /// compete with what they advertise on the bridge.
    speaks_ipv6: bool,
    /// Whether all of it is on the bridge.
    moved: bool,
}

/// Refuses an interface that cannot be a port of the network's bridge.
pub(crate) fn check(network: &Network, links: &[HostInterface]) -> Result<()> {
    let (uplink, name) = (network.uplink.as_str(), network.name.as_str());
    if uplink.is_empty() {
        return Ok(());
    }
    let Some(link) = links.iter().find(|link| link.name == uplink) else {
        return Err(Error::NotFound(format!(
            "the host has no interface {uplink}, which is to be the uplink of the network {name}; plug it in or choose another"
        )));
    };
    if link.kind == "bridge" || link.kind == super::ovs::KIND {
        return Err(Error::InvalidArgument(format!(
            "{uplink} is a bridge itself, and cannot be the uplink of the network {name}; wire containers to it"
        )));
    }
    if !link.master.is_empty() && link.master != name {
        return Err(Error::InvalidArgument(format!(
            "{uplink} is a port of {}, and cannot be the uplink of the network {name} as well",
            link.master
        )));
    }
    if link.is_wireless {
        return Err(Error::Unsupported(format!(
            "{uplink} is wireless, and such interfaces cannot be bridged; choose one with a cable, or nat"
        )));
    }
    Ok(())
}

/// The interfaces by which the host reaches others, and would be cut off without.
pub(crate) async fn ways_out() -> Result<BTreeSet<String>> {
    let found = interfaces::ways_out().await;
    found.map_err(|error| Error::io("looking for the host's ways out", &error))
}

/// Makes the uplink a port of the network's bridge, which is up; one that it had before
/// gets back what was the host's.
pub(crate) async fn plug(network: &Network) -> Result<()> {
    let places = network.places();
    let belongings = read(&places)?;
    if belongings
        .as_ref()
        .is_some_and(|old| old.interface != network.uplink)
    {
        unplug(&places, network).await?;
    }
    if network.uplink.is_empty() {
        return Ok(());
    }
    let links = bridge::list().await?;
    check(network, &links)?;
    let find = |name: &str| links.iter().find(|link| link.name == name);
    let (Some(uplink), Some(bridge)) = (find(&network.uplink), find(network.name.as_str())) else {
        return Ok(());
    };
    let failed = |error: io::Error| {
        Error::io(
            format_args!("plugging {} into {}", uplink.name, bridge.name),
            &error,
        )
    };
    let socket = Netlink::open().map_err(failed)?;
    let mut belongings = match belongings.filter(|old| old.interface == network.uplink) {
        Some(belongings) => belongings,
        None => {
            let found = Belongings::of(&socket, uplink).await.map_err(failed)?;
            write(&places, &found)?;
            found
        }
    };
    if uplink.master != bridge.name {
        bridge::join(&socket, uplink, bridge).await?;
    }
    if belongings.moved {
        return Ok(());
    }
    let mut up = change(uplink.index);
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    socket
        .request(RouteNetlinkMessage::SetLink(up))
        .await
        .map_err(failed)?;
    // Whoever knows the host by its MAC address is to know it still.
    if let Some(mac) = parse_mac(&uplink.hwaddr) {
        set_mac(&socket, bridge, mac).await.map_err(failed)?;
    }
    belongings
        .carry(&socket, uplink.index, bridge.index)
        .await
        .map_err(failed)?;
    belongings.speak_ipv6(false).map_err(failed)?;
    belongings.moved = true;
    write(&places, &belongings)
}

/// Gives the uplink back what was the host's, if the network has one.
pub(crate) async fn unplug(places: &Places, network: &Network) -> Result<()> {
    let Some(belongings) = read(places)? else {
        return Ok(());
    };
    let links = bridge::list().await?;
    let find = |name: &str| links.iter().find(|link| link.name == name);
    let failed = |error: io::Error| {
        Error::io(
            format_args!("giving {} back to the host", belongings.interface),
            &error,
        )
    };
    if let (Some(uplink), Some(bridge)) = (find(&belongings.interface), find(network.name.as_str()))
    {
        let socket = Netlink::open().map_err(failed)?;
        if uplink.master == bridge.name {
            bridge::leave(&socket, uplink, bridge).await?;
        }
        belongings.speak_ipv6(true).map_err(failed)?;
        belongings
            .carry(&socket, bridge.index, uplink.index)
            .await
            .map_err(failed)?;
        set_mac(&socket, bridge, bridge::hardware_address(network))
            .await
            .map_err(failed)?;
    }
    let path = places.uplink();
    files::remove(Path::new(&path))
        .map_err(|error| Error::path("removing", Path::new(&path), &error))
}

async fn set_mac(socket: &Netlink, bridge: &HostInterface, mac: [u8; 6]) -> io::Result<()> {
    let mut message = change(bridge.index);
    message.attributes = vec![LinkAttribute::Address(mac.to_vec())];
    socket.request(RouteNetlinkMessage::SetLink(message)).await
}

impl Belongings {
    async fn of(socket: &Netlink, link: &HostInterface) -> io::Result<Self> {
        let mut routes = socket.routes().await?;
        routes.retain(|route| route.is_set_up() && route.interfaces().contains(&link.index));
        routes.sort_by_key(Route::is_by_router);
        Ok(Self {
            interface: link.name.clone(),
            index: link.index,
            addresses: lasting(socket, link).await?,
            routes,
            speaks_ipv6: std::fs::read(ipv6_switch(&link.name))
                .is_ok_and(|is_off| is_off == b"0\n"),
            moved: false,
        })
    }

    fn speak_ipv6(&self, on: bool) -> io::Result<()> {
        let switch = ipv6_switch(&self.interface);
        if !self.speaks_ipv6 || !switch.exists() {
            return Ok(());
        }
        std::fs::write(switch, if on { "0" } else { "1" })
    }

    /// Moves them from one link to another. What has been moved already is left.
    async fn carry(&self, socket: &Netlink, from: u32, to: u32) -> io::Result<()> {
        for route in self.routes.iter().rev() {
            socket.delete_route(&route.moved(self.index, from)).await?;
        }
        let addresses: Vec<Subnet> = self
            .addresses
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        for address in &addresses {
            let gone = RouteNetlinkMessage::DelAddress(bridge::address(from, *address));
            unless(socket.request(gone).await, &[libc::EADDRNOTAVAIL])?;
            let new = RouteNetlinkMessage::NewAddress(bridge::address(to, *address));
            unless(socket.ensure(new).await, &[libc::EEXIST])?;
        }
        for route in &self.routes {
            socket.add_route(&route.moved(self.index, to)).await?;
        }
        Ok(())
    }
}

fn ipv6_switch(interface: &str) -> PathBuf {
    Path::new("/proc/sys/net/ipv6/conf")
        .join(interface)
        .join("disable_ipv6")
}

/// What the host was given there: addresses of IPv6 that it has made up by advice of a
/// router it makes up anew.
async fn lasting(socket: &Netlink, link: &HostInterface) -> io::Result<Vec<String>> {
    let mut all = socket.addresses().await?;
    all.retain(|address| {
        let header = &address.header;
        header.index == link.index
            && header.scope == AddressScope::Universe
            && (header.family == AddressFamily::Inet
                || header.flags.contains(AddressHeaderFlags::Permanent))
    });
    Ok(addresses::by_interface(&all)
        .remove(&link.index)
        .unwrap_or_default())
}

fn read(places: &Places) -> Result<Option<Belongings>> {
    let path = places.uplink();
    let path = Path::new(&path);
    let failed = |error: io::Error| Error::path("reading", path, &error);
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn write(places: &Places, belongings: &Belongings) -> Result<()> {
    let path = places.uplink();
    let path = Path::new(&path);
    let failed = |error: io::Error| Error::path("writing", path, &error);
    let bytes = serde_json::to_vec(belongings).map_err(|error| failed(error.into()))?;
    files::replace(path, &bytes, 0o600).map_err(failed)
}
