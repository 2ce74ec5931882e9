//! Pairs: one end in the container, the other on the host, a port of a bridge
//! or routed.

use super::addresses::default_routes;
use super::names::random_name;
use super::undo::Debt;
use super::wire::{Ground, Wire, patiently};
use super::{HostEnd, Interfaces, STEP, ovs, proxy};
use crate::failure::{At, Step, failed, failure};
use crate::netlink::{Link, NewKind, NewLink, Route};
use crate::sys;
use gantry_core::monitor::{Failure, FailureKind};
use gantry_core::ports::{LONGEST, Treatment, parse};
use gantry_core::settings::Veth;
use gantry_core::values::network::{NativeVlan, VethMode};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

/// The MTU range of the kernel's veth driver.
pub(super) const MTU_RANGE: (u32, u32) = (68, 65535);

/// Makes the pair; gives back the index of the container's end.
pub(super) fn make(
    wire: &Wire<'_>,
    veth: &Veth,
    ground: &mut Ground<'_>,
    interfaces: &mut Interfaces,
) -> Step<u32> {
    let link = match wire.network.link {
        Some(_) => Some(wire.link(ground)?),
        None => None,
    };
    let bridge = link.as_ref().filter(|_| veth.mode == VethMode::Bridge);
    if let Some(bridge) = bridge {
        check_bridge(wire, veth, bridge)?;
    }
    wire.check_mtu(MTU_RANGE)?;
    let name = match &veth.pair {
        Some(pair) => pair.clone(),
        None => random_name()?,
    };
    add(wire, veth, &name, link.as_ref(), ground)?;
    let index = ground.index_of(wire.name)?;
    let host_end = find_host_end(&name, ground)?;
    let end = HostEnd {
        name: name.clone(),
        index: host_end,
    };
    let tagged = tag(&interfaces.container, wire.name, &end, ground);
    interfaces.made.entry(wire.number).or_default().host_end = Some(end);
    tagged?;
    if let Some(bridge) = bridge {
        connect(wire, veth, &name, host_end, bridge, ground, interfaces)?;
    }
    ground
        .host
        .bring_up(host_end)
        .at(STEP, || format!("cannot bring up {name}"))?;
    route(wire, veth, &name, host_end, ground)?;
    Ok(index)
}

/// Says on the host's end whose it is, for later.
pub(super) fn tag(
    container: &str,
    inside: &str,
    end: &HostEnd,
    ground: &mut Ground<'_>,
) -> Step<()> {
    let mark = format!("gantry:{container}:{inside}");
    let tagged = ground.host.tag(end.index, &mark);
    tagged.at(STEP, || format!("cannot tag {}", end.name))
}

/// The refusal of a name that is another's.
pub(super) fn taken(wire: &Wire<'_>, name: &str) -> Failure {
    let reason = format!("the host has an interface '{name}' already; choose another name");
    wire.wrong("veth.pair", &reason)
}

/// Refuses a link that is no bridge, or one that does not know of VLANs.
pub(super) fn check_bridge(wire: &Wire<'_>, veth: &Veth, bridge: &Link) -> Step<()> {
    let name = &bridge.name;
    if bridge.kind == ovs::KIND {
        return Ok(());
    }
    if !bridge.is_bridge() {
        let reason = format!(
            "'{name}' is neither a Linux bridge nor one of Open vSwitch; choose a bridge, or type macvlan for this link"
        );
        return Err(wire.wrong("link", &reason));
    }
    let has_vlans = veth.native_vlan.is_some() || !veth.tagged_vlans.is_empty();
    if has_vlans && !bridge.vlan_filtering {
        let reason = format!(
            "'{name}' does not filter VLANs; switch it on: ip link set {name} type bridge vlan_filtering 1"
        );
        return Err(wire.wrong("veth.vlan", &reason));
    }
    Ok(())
}

fn add(
    wire: &Wire<'_>,
    veth: &Veth,
    name: &str,
    link: Option<&Link>,
    ground: &mut Ground<'_>,
) -> Step<()> {
    let mtu = wire.network.mtu.or(link.and_then(|link| link.mtu));
    let random = sys::random::<5>().at(STEP, || "cannot draw a random address".to_owned())?;
    let [b, c, d, e, f] = random;
    let host_end = NewLink {
        name,
        // A high address keeps the bridge from taking it for its own.
        address: Some([0xfe, b, c, d, e, f]),
        mtu,
        namespace: None,
        // What one end sends the other receives.
        rx_queues: veth.tx_queues,
        tx_queues: veth.rx_queues,
    };
    let peer = NewKind::Veth(NewLink {
        name: wire.name,
        address: wire.address,
        mtu,
        namespace: Some(ground.namespace),
        rx_queues: veth.rx_queues,
        tx_queues: veth.tx_queues,
    });
    patiently(|| ground.host.add_link(&host_end, &peer)).map_err(|error| {
        if error.raw_os_error() == Some(libc::EEXIST) {
            return taken(wire, name);
        }
        let message = format!("Cannot make the interface {name}: {error}.");
        failure(FailureKind::StartFailed, STEP, message)
    })
}

fn find_host_end(name: &str, ground: &mut Ground<'_>) -> Step<u32> {
    let found = ground
        .host
        .link(name)
        .at(STEP, || format!("cannot find {name}"))?;
    match found {
        Some(link) => Ok(link.index),
        None => failed(
            FailureKind::StartFailed,
            STEP,
            format!("{name} vanished while it was made."),
        ),
    }
}

/// Makes the host's end a port of the bridge.
pub(super) fn connect(
    wire: &Wire<'_>,
    veth: &Veth,
    name: &str,
    index: u32,
    bridge: &Link,
    ground: &mut Ground<'_>,
    interfaces: &mut Interfaces,
) -> Step<()> {
    // A port has no address, also none of its own making. (The setting is
    // missing where the kernel has no IPv6.)
    let disable = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match std::fs::write(&disable, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).at(STEP, || format!("cannot write to {disable}"));
        }
        _ => {}
    }
    if bridge.kind == ovs::KIND {
        let debt = Debt::Port {
            bridge: bridge.name.clone(),
            port: name.to_owned(),
        };
        interfaces.owe(wire.number, debt, &[])?;
        return ovs::add_port(wire, &bridge.name, name, veth);
    }
    ground.host.set_master(index, bridge.index).at(STEP, || {
        format!("cannot make {name} a port of '{}'", bridge.name)
    })?;
    set_vlans(veth, index, bridge, ground)
        .at(STEP, || format!("cannot set the VLANs of the port {name}"))?;
    match treatment(&interfaces.ports, wire.name, &bridge.name)? {
        Some(treatment) => ground.host.treat_port(index, treatment).at(STEP, || {
            format!("cannot isolate the port {name}, or have it return frames")
        }),
        None => Ok(()),
    }
}

/// How the bridge is to treat the port, if otherwise than others.
fn treatment(ports: &Path, interface: &str, bridge: &str) -> Step<Option<Treatment>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let read = || -> io::Result<String> {
        let mut text = String::new();
        match open(ports, flags, Mode::empty()) {
            Ok(file) => File::from(file).take(LONGEST).read_to_string(&mut text)?,
            Err(Errno::NOENT) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(text)
    };
    let text = read().at(STEP, || format!("cannot read {}", ports.display()))?;
    let port = (interface.to_owned(), bridge.to_owned());
    Ok(parse(&text).remove(&port))
}

fn set_vlans(veth: &Veth, index: u32, bridge: &Link, ground: &mut Ground<'_>) -> io::Result<()> {
    if let Some(native) = veth.native_vlan {
        let id = match native {
            NativeVlan::Id(id) => Some(id),
            NativeVlan::Removed => None,
        };
        if bridge.default_vlan != 0 && id != Some(bridge.default_vlan) {
            ground.host.delete_port_vlan(index, bridge.default_vlan)?;
        }
        if let Some(id) = id {
            ground.host.add_port_vlan(index, id, true)?;
        }
    }
    for id in &veth.tagged_vlans {
        ground.host.add_port_vlan(index, *id, false)?;
    }
    Ok(())
}

/// Adds the host's routes into the container; in router mode the host also
/// answers there for the container's routers, and forwards.
fn route(
    wire: &Wire<'_>,
    veth: &Veth,
    name: &str,
    index: u32,
    ground: &mut Ground<'_>,
) -> Step<()> {
    let network = wire.network;
    let v4 = veth.ipv4_routes.iter();
    let v4 = v4.map(|route| (IpAddr::V4(route.address), route.prefix));
    let v6 = veth.ipv6_routes.iter();
    let v6 = v6.map(|route| (IpAddr::V6(route.address), route.prefix));
    let mut routes: Vec<Route> = v4
        .chain(v6)
        .map(|destination| Route {
            index,
            destination,
            router: None,
        })
        .collect();
    if veth.mode == VethMode::Router {
        for default in default_routes(&mut ground.host, wire.number, network)? {
            let Some(router) = default.router else {
                continue;
            };
            if router.is_ipv6() {
                proxy::require_on(wire, "veth.mode", true, "all", "forwarding")?;
                proxy::switch_on(true, name, "proxy_ndp")?;
            }
            proxy::switch_on(router.is_ipv6(), name, "forwarding")?;
            ground
                .host
                .add_proxy(index, router)
                .at(STEP, || format!("cannot answer for {router} on {name}"))?;
        }
        let v4 = network.ipv4.iter().map(|a| IpAddr::V4(a.address));
        let v6 = network.ipv6.iter().map(|a| IpAddr::V6(a.address));
        routes.extend(v4.chain(v6).map(|address| Route::to(address, index)));
    }
    for route in routes {
        let (address, prefix) = route.destination;
        ground.host.add_route(&route).at(STEP, || {
            format!("cannot route {address}/{prefix} to {name}")
        })?;
    }
    Ok(())
}
