//! A network's bridge in the kernel. It carries a mark from the moment it has its name,
//! so that it is known as Gantry's; one without the mark is never touched.

use super::interfaces::{self, HostInterface};
use super::ovs;
use crate::error::{Error, Result};
use crate::linux::netlink::Netlink;
use gantry_core::layout::fnv1a_64;
use gantry_core::networks::{Driver, Network, Places, Subnet, UNFINISHED};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// The first bytes of the MAC addresses of LXC's bridges.
const VENDOR: [u8; 3] = [0x10, 0x66, 0x6a];

/// The kernel's bridge of this name.
pub(crate) async fn find(name: &str) -> Result<Option<HostInterface>> {
    let links = list().await?;
    Ok(links.into_iter().find(|link| link.name == name))
}

/// The host's interfaces. To the kernel all ports of Open vSwitch are of one datapath:
/// they are told by their bridges.
pub(crate) async fn list() -> Result<Vec<HostInterface>> {
    let mut links = interfaces::list()
        .await
        .map_err(|error| Error::io("listing the network interfaces", &error))?;
    let switches: Vec<String> = links
        .iter()
        .filter(|link| link.kind == ovs::KIND && link.name != ovs::DATAPATH)
        .map(|link| link.name.clone())
        .collect();
    for switch in switches {
        match ovs::ports(&switch).await {
            Ok(ports) => {
                for link in links.iter_mut().filter(|link| ports.contains(&link.name)) {
                    link.master.clone_from(&switch);
                }
            }
            // A port of another kind of switch that uses the kernel's part of it.
            Err(error) => tracing::debug!(%error, switch, "could not list the ports"),
        }
    }
    Ok(links)
}

/// Whether Gantry has made a link for the network of its name.
pub(crate) fn is_ours(link: &HostInterface, places: &Places) -> bool {
    link.alias == places.mark()
}

/// Makes a link Gantry's: of a network that has been made by another program, or whose
/// mark was lost.
pub(crate) async fn adopt(link: &HostInterface, places: &Places) -> Result<()> {
    let mut message = change(link.index);
    message.attributes = vec![LinkAttribute::IfAlias(places.mark())];
    let marked = match Netlink::open() {
        Ok(socket) => socket.request(RouteNetlinkMessage::SetLink(message)).await,
        Err(error) => Err(error),
    };
    marked.map_err(|error| Error::io(format_args!("marking the bridge {}", link.name), &error))
}

/// Makes an interface a port of a bridge.
pub(crate) async fn join(
    socket: &Netlink,
    port: &HostInterface,
    bridge: &HostInterface,
) -> Result<()> {
    if bridge.kind == ovs::KIND {
        return ovs::add_port(&bridge.name, &port.name).await;
    }
    set_master(socket, port, bridge.index).await
}

/// Makes an interface a port of nothing.
pub(crate) async fn leave(
    socket: &Netlink,
    port: &HostInterface,
    bridge: &HostInterface,
) -> Result<()> {
    if bridge.kind == ovs::KIND {
        return ovs::remove_port(&bridge.name, &port.name).await;
    }
    set_master(socket, port, 0).await
}

async fn set_master(socket: &Netlink, port: &HostInterface, bridge: u32) -> Result<()> {
    let mut message = change(port.index);
    message.attributes = vec![LinkAttribute::Controller(bridge)];
    socket
        .request(RouteNetlinkMessage::SetLink(message))
        .await
        .map_err(|error| Error::io(format_args!("replugging {}", port.name), &error))
}

/// Makes the bridge, unless it is there, gives it the network's addresses, those of
/// `before` that are none of these taken away, and brings it up.
pub(crate) async fn bring_up(network: &Network, before: &[Subnet]) -> Result<()> {
    let name = network.name.as_str();
    let failed =
        |what: &str, error: io::Error| Error::io(format_args!("{what} the bridge {name}"), &error);
    let socket = Netlink::open().map_err(|error| failed("reaching", error))?;
    remove_unfinished().await?;
    let link = match find(name).await? {
        Some(link) => link,
        None => {
            match network.driver {
                Driver::Bridge => make(&socket, network)
                    .await
                    .map_err(|error| failed("making", error))?,
                Driver::Ovs => {
                    let mac = interfaces::colons(&hardware_address(network));
                    ovs::make(&network.places(), name, &mac).await?;
                    if let Some(link) = find(name).await? {
                        adopt(&link, &network.places()).await?;
                    }
                }
            }
            find(name).await?.ok_or_else(|| {
                Error::Failed(format!("the bridge {name} vanished while it was made"))
            })?
        }
    };
    let places = network.places();
    if !is_ours(&link, &places) {
        return Err(Error::Exists(format!(
            "the host has an interface {name} already, which is not Gantry's"
        )));
    }
    set_kernel(network).map_err(|error| failed("setting what the kernel does with", error))?;
    for old in before
        .iter()
        .filter(|old| !network.addresses().any(|new| new == **old))
    {
        match socket
            .request(RouteNetlinkMessage::DelAddress(address(link.index, *old)))
            .await
        {
            Err(error) if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) => {
                return Err(failed("taking an old address from", error));
            }
            _ => {}
        }
    }
    for new in network.addresses() {
        socket
            .ensure(RouteNetlinkMessage::NewAddress(address(link.index, new)))
            .await
            .map_err(|error| failed("giving an address to", error))?;
    }
    let mut up = change(link.index);
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    socket
        .request(RouteNetlinkMessage::SetLink(up))
        .await
        .map_err(|error| failed("bringing up", error))
}

/// Sets how a bridge treats one of its ports: whether it sends frames back by it
/// (`hairpin`), and whether it keeps it apart from others that are `isolated`.
pub(crate) async fn set_port(
    port: &HostInterface,
    hairpin: Option<bool>,
    isolated: Option<bool>,
) -> io::Result<()> {
    let hairpin = hairpin.map(InfoBridgePort::HairpinMode);
    let data: Vec<InfoBridgePort> = hairpin
        .into_iter()
        .chain(isolated.map(InfoBridgePort::Isolated))
        .collect();
    let mut message = change(port.index);
    message.attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(data)),
    ])];
    Netlink::open()?
        .request(RouteNetlinkMessage::NewLink(message))
        .await
}

/// Removes the bridge of a network if it is Gantry's.
pub(crate) async fn remove(places: &Places, name: &str) -> Result<()> {
    match find(name).await? {
        Some(link) if is_ours(&link, places) && link.kind == ovs::KIND => ovs::remove(name).await,
        Some(link) if is_ours(&link, places) => delete(link.index, name).await,
        _ => Ok(()),
    }
}

async fn delete(index: u32, name: &str) -> Result<()> {
    let gone = match Netlink::open() {
        Ok(socket) => {
            socket
                .request(RouteNetlinkMessage::DelLink(change(index)))
                .await
        }
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(Error::io(
            format_args!("removing the bridge {name}"),
            &error,
        )),
        _ => Ok(()),
    }
}

/// One that was made when the helper was killed, and has no mark yet.
async fn remove_unfinished() -> Result<()> {
    match find(UNFINISHED).await? {
        Some(link) if link.kind == "bridge" => delete(link.index, UNFINISHED).await,
        _ => Ok(()),
    }
}

/// The kernel takes no mark for a link that it makes: it is made under another name,
/// marked, and gets its own name last.
async fn make(socket: &Netlink, network: &Network) -> io::Result<()> {
    let mut new = LinkMessage::default();
    new.attributes = vec![
        LinkAttribute::IfName(UNFINISHED.to_owned()),
        // With an address of its own it keeps it, whatever its ports have.
        LinkAttribute::Address(hardware_address(network).to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    socket.create(RouteNetlinkMessage::NewLink(new)).await?;
    let found = interfaces::list().await?;
    let made = found
        .iter()
        .find(|link| link.name == UNFINISHED)
        .ok_or(io::ErrorKind::NotFound)?;
    let mut mark = change(made.index);
    mark.attributes = vec![LinkAttribute::IfAlias(network.places().mark())];
    socket.request(RouteNetlinkMessage::SetLink(mark)).await?;
    let mut name = change(made.index);
    name.attributes = vec![LinkAttribute::IfName(network.name.as_str().to_owned())];
    socket.request(RouteNetlinkMessage::SetLink(name)).await
}

/// The same at every start.
pub(crate) fn hardware_address(network: &Network) -> [u8; 6] {
    network.mac.unwrap_or_else(|| {
        let [a, b, c] = VENDOR;
        let [d, e, f, ..] = fnv1a_64(network.name.as_str().as_bytes()).to_be_bytes();
        [a, b, c, d, e, f]
    })
}

/// A change of a link, with nothing in it.
pub(crate) fn change(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// An address of a link.
pub(crate) fn address(index: u32, home: Subnet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = home.prefix;
    message.header.family = match home.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![
        AddressAttribute::Local(home.address),
        AddressAttribute::Address(home.address),
    ];
    if let IpAddr::V4(last) = home.last() {
        message.attributes.push(AddressAttribute::Broadcast(last));
    }
    message
}

/// As LXC's service does: packets are passed on, and the host takes no advice on the
/// bridge, unless it is in the net outside by it: then it does as on the uplink before.
fn set_kernel(network: &Network) -> io::Result<()> {
    let name = network.name.as_str();
    if !network.uplink.is_empty() {
        return set(&format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "2");
    }
    for setting in ["accept_dad", "autoconf", "accept_ra"] {
        set(&format!("/proc/sys/net/ipv6/conf/{name}/{setting}"), "0")?;
    }
    if network.ipv4.is_some() {
        set("/proc/sys/net/ipv4/ip_forward", "1")?;
    }
    if network.ipv6.is_some() {
        let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
        if !is_set(forwarding, "1") {
            keep_advice()?;
        }
        set(forwarding, "1")?;
    }
    Ok(())
}

/// A host that passes packets on no longer takes the advice of routers, through which
/// it may have its own addresses, unless it is told to all the same.
fn keep_advice() -> io::Result<()> {
    let Ok(interfaces) = std::fs::read_dir("/proc/sys/net/ipv6/conf") else {
        return Ok(());
    };
    for interface in interfaces.flatten() {
        let setting = interface.path().join("accept_ra");
        let setting = setting.to_string_lossy();
        if is_set(&setting, "1") && interface.file_name() != "all" {
            set(&setting, "2")?;
        }
    }
    Ok(())
}

fn is_set(path: &str, value: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
}

/// Sets what is not set yet. The kernel may lack IPv6.
fn set(path: &str, value: &str) -> io::Result<()> {
    if is_set(path, value) || !Path::new(path).exists() {
        return Ok(());
    }
    std::fs::write(path, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::name::InterfaceName;

    #[test]
    fn a_bridge_keeps_its_address_and_others_have_another() {
        let of = |name: &str| hardware_address(&Network::new(InterfaceName::new(name).unwrap()));
        assert_eq!(of("br1"), of("br1"));
        assert_ne!(of("br1"), of("br2"));
        assert_eq!(of("br1")[..3], VENDOR);
    }
}
