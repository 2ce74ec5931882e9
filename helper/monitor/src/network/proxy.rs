//! `lxc.net.N.l2proxy`: on the link the host answers for the interface's
//! addresses, and routes to them.

use super::undo::Debt;
use super::wire::{Ground, Wire};
use super::{Interfaces, LOOPBACK, STEP};
use crate::failure::{At, Step};
use crate::netlink::Route;
use gantry_core::settings::NetworkKind;
use std::io;
use std::net::IpAddr;

/// Whether a setting of an interface (`forwarding`, …) is on.
fn is_on(is_ipv6: bool, interface: &str, setting: &str) -> io::Result<bool> {
    let path = setting_path(is_ipv6, interface, setting);
    Ok(std::fs::read_to_string(path)?.trim() == "1")
}

/// Switches a setting of an interface on.
pub(super) fn switch_on(is_ipv6: bool, interface: &str, setting: &str) -> Step<()> {
    let path = setting_path(is_ipv6, interface, setting);
    std::fs::write(&path, "1").at(STEP, || format!("cannot write to {path}"))
}

/// Refuses an interface whose setting is off: it may be off for a reason.
pub(super) fn require_on(
    wire: &Wire<'_>,
    part: &str,
    is_ipv6: bool,
    interface: &str,
    setting: &str,
) -> Step<()> {
    if is_on(is_ipv6, interface, setting)
        .at(STEP, || format!("cannot look at {setting} of {interface}"))?
    {
        return Ok(());
    }
    let family = if is_ipv6 { "ipv6" } else { "ipv4" };
    let reason = format!("it needs the sysctl net.{family}.conf.{interface}.{setting} = 1; set it");
    Err(wire.wrong(part, &reason))
}

fn setting_path(is_ipv6: bool, interface: &str, setting: &str) -> String {
    let family = if is_ipv6 { "ipv6" } else { "ipv4" };
    format!("/proc/sys/net/{family}/conf/{interface}/{setting}")
}

/// Lets the host answer for the addresses.
pub(super) fn make(
    wire: &Wire<'_>,
    ground: &mut Ground<'_>,
    interfaces: &mut Interfaces,
) -> Step<()> {
    let link = wire.link(ground)?;
    let v4 = wire.network.ipv4.iter().map(|a| IpAddr::V4(a.address));
    let v6 = wire.network.ipv6.iter().map(|a| IpAddr::V6(a.address));
    if !wire.network.ipv4.is_empty() {
        require_on(wire, "l2proxy", false, &link.name, "forwarding")?;
    }
    if !wire.network.ipv6.is_empty() {
        require_on(wire, "l2proxy", true, &link.name, "proxy_ndp")?;
        require_on(wire, "l2proxy", true, &link.name, "forwarding")?;
    }
    for address in v4.chain(v6) {
        let what = || format!("cannot answer for {address} on '{}'", link.name);
        let index = link.index;
        interfaces.owe(wire.number, Debt::Proxy { index, address }, &[])?;
        ground.host.add_proxy(index, address).at(STEP, what)?;
        // An ipvlan's frames never reach the host's stack: a route makes the
        // host think that the address is elsewhere.
        if matches!(wire.network.kind, NetworkKind::Ipvlan { .. }) {
            interfaces.owe(wire.number, Debt::LoopbackRoute { address }, &[])?;
            let route = Route::to(address, LOOPBACK);
            ground.host.add_route(&route).at(STEP, what)?;
        }
    }
    Ok(())
}
