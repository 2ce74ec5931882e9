//! The interface of the host that is a port of a network's bridge, so that containers are
//! in the net outside themselves.
//!
//! A port has no addresses that count: what the host had on the interface, its addresses,
//! its routes and its MAC address, goes to the bridge, and back when the interface does.
//! It stands in a file while it is away, so that every step may be done again.

use super::addresses;
use super::bridge::{self, change};
use super::interfaces::HostInterface;
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::netlink::Netlink;
use gantry_core::networks::{Network, Places, Subnet, parse_mac};
use netlink_packet_route::address::{AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// What was the host's on the interface.
#[derive(Debug, Serialize, Deserialize)]
struct Belongings {
    interface: String,
    addresses: Vec<String>,
    routes: Vec<Route>,
    /// Whether all of it is on the bridge.
    moved: bool,
}

/// A route out of the interface; without a destination it is the default one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Route {
    is_ipv6: bool,
    destination: Option<(IpAddr, u8)>,
    router: Option<IpAddr>,
    /// Which of the host's addresses is told to those who are asked.
    source: Option<IpAddr>,
    metric: Option<u32>,
    /// Whether the router is on the link, whatever addresses say.
    on_link: bool,
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
    let wireless = Path::new("/sys/class/net").join(uplink).join("phy80211");
    if wireless.exists() {
        return Err(Error::Unsupported(format!(
            "{uplink} is wireless, and such interfaces cannot be bridged; choose one with a cable, or nat"
        )));
    }
    Ok(())
}

/// Whether the host reaches everybody by an interface: its default route leaves there.
pub(crate) async fn is_lifeline(link: &HostInterface) -> Result<bool> {
    let failed = |error: io::Error| Error::io("listing the routes", &error);
    let socket = Netlink::open().map_err(failed)?;
    let all = socket.routes().await.map_err(failed)?;
    Ok(all
        .iter()
        .any(|route| is_out_of(route, link.index) && route.header.destination_prefix_length == 0))
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
        let all = socket.routes().await?;
        let mut routes: Vec<Route> = all
            .iter()
            .filter(|route| is_out_of(route, link.index))
            .filter_map(Route::of)
            .collect();
        // Routers are reached by what leads to their nets.
        routes.sort_by_key(|route| route.router.is_some());
        Ok(Self {
            interface: link.name.clone(),
            addresses: lasting(socket, link).await?,
            routes,
            moved: false,
        })
    }

    /// Moves them from one link to another. What has been moved already is left.
    async fn carry(&self, socket: &Netlink, from: u32, to: u32) -> io::Result<()> {
        for route in self.routes.iter().rev() {
            let gone = RouteNetlinkMessage::DelRoute(route.message(from, true));
            unless(socket.request(gone).await, &[libc::ESRCH, libc::ENODEV])?;
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
            let new = RouteNetlinkMessage::NewRoute(route.message(to, false));
            unless(socket.ensure(new).await, &[libc::EEXIST])?;
        }
        Ok(())
    }
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

/// Lets what has been done before pass.
fn unless(result: io::Result<()>, done: &[i32]) -> io::Result<()> {
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

/// A route that somebody has set up: the kernel makes those of addresses by itself, and
/// routers advertise themselves anew.
fn is_out_of(route: &RouteMessage, index: u32) -> bool {
    route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.kind == RouteType::Unicast
        && route.header.protocol != RouteProtocol::Kernel
        && route.attributes.contains(&RouteAttribute::Oif(index))
}

impl Route {
    fn of(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        if header.protocol == RouteProtocol::Ra {
            return None;
        }
        let mut route = Self {
            is_ipv6: header.address_family == AddressFamily::Inet6,
            destination: None,
            router: None,
            source: None,
            metric: None,
            on_link: header.flags.contains(RouteFlags::Onlink),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => {
                    route.destination = Some((ip(address)?, header.destination_prefix_length));
                }
                RouteAttribute::Gateway(address) => route.router = Some(ip(address)?),
                RouteAttribute::PrefSource(address) => route.source = Some(ip(address)?),
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                _ => {}
            }
        }
        Some(route)
    }

    /// `any`: as a request about it, however it came to be.
    fn message(&self, index: u32, any: bool) -> RouteMessage {
        let mut message = RouteMessage::default();
        let (protocol, scope) = match (any, self.router.is_some() || self.is_ipv6) {
            (true, _) => (RouteProtocol::Unspec, RouteScope::NoWhere),
            (false, true) => (RouteProtocol::Boot, RouteScope::Universe),
            (false, false) => (RouteProtocol::Boot, RouteScope::Link),
        };
        message.header.address_family = if self.is_ipv6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.header.protocol = protocol;
        message.header.scope = scope;
        if self.on_link {
            message.header.flags = RouteFlags::Onlink;
        }
        message.attributes.push(RouteAttribute::Oif(index));
        if let Some((address, prefix)) = self.destination {
            message.header.destination_prefix_length = prefix;
            message
                .attributes
                .push(RouteAttribute::Destination(address.into()));
        }
        let router = self
            .router
            .map(|address| RouteAttribute::Gateway(address.into()));
        let source = self
            .source
            .map(|address| RouteAttribute::PrefSource(address.into()));
        let metric = self.metric.map(RouteAttribute::Priority);
        message
            .attributes
            .extend(router.into_iter().chain(source).chain(metric));
        message
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_as_it_was_found() {
        let route = Route {
            is_ipv6: false,
            destination: None,
            router: Some("10.9.0.1".parse().unwrap()),
            source: Some("10.9.0.2".parse().unwrap()),
            metric: Some(100),
            on_link: true,
        };
        let mut found = route.message(7, false);
        assert!(is_out_of(&found, 7) && !is_out_of(&found, 8));
        assert_eq!(Route::of(&found), Some(route));
        found.header.protocol = RouteProtocol::Ra;
        assert_eq!(Route::of(&found), None);
    }
}
