//! Static addresses and default routes.

use super::STEP;
use crate::failure::{At, Step, failed, failure};
use crate::netlink::Netlink;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::Network;
use gantry_core::values::network::Gateway;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sets the addresses and default routes of an interface.
pub(super) fn configure(
    host: &mut Netlink,
    inside: &mut Netlink,
    number: u32,
    network: &Network,
    index: u32,
) -> Step<()> {
    for address in &network.ipv4 {
        inside
            .add_address(
                index,
                address.address.into(),
                address.prefix,
                Some(address.broadcast),
            )
            .at(STEP, || {
                format!(
                    "cannot set lxc.net.{number}.ipv4.address {}",
                    address.address
                )
            })?;
    }
    for address in &network.ipv6 {
        inside
            .add_address(index, address.address.into(), address.prefix, None)
            .at(STEP, || {
                format!(
                    "cannot set lxc.net.{number}.ipv6.address {}",
                    address.address
                )
            })?;
    }
    let link = network.link.as_deref();
    let v4 = network
        .ipv4_gateway
        .map(|gateway| map_gateway(gateway, IpAddr::V4));
    let v6 = network
        .ipv6_gateway
        .map(|gateway| map_gateway(gateway, IpAddr::V6));
    let gateways = [
        (
            v4,
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            network.ipv4.is_empty(),
            "ipv4",
        ),
        (
            v6,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            network.ipv6.is_empty(),
            "ipv6",
        ),
    ];
    for (gateway, family, no_address, key) in gateways {
        let Some(gateway) = gateway else { continue };
        let what = format!("lxc.net.{number}.{key}.gateway");
        let link_local =
            matches!(gateway, Gateway::Address(IpAddr::V6(a)) if a.is_unicast_link_local());
        if !network.up || (no_address && !link_local) {
            let message =
                format!("{what} needs lxc.net.{number}.flags = up and an address of its family.");
            return failed(FailureKind::InvalidConfig, STEP, message);
        }
        let router = match gateway {
            Gateway::Address(router) => Some(router),
            Gateway::Device => None,
            Gateway::Auto => Some(first_address(host, link, family, &what)?),
        };
        add_default_route(inside, index, router, family.is_ipv6())
            .at(STEP, || format!("cannot set {what}"))?;
    }
    Ok(())
}

fn map_gateway<A>(gateway: Gateway<A>, wrap: fn(A) -> IpAddr) -> Gateway<IpAddr> {
    match gateway {
        Gateway::Address(address) => Gateway::Address(wrap(address)),
        Gateway::Auto => Gateway::Auto,
        Gateway::Device => Gateway::Device,
    }
}

/// A router outside of the interface's networks is reached by a route to
/// itself first.
fn add_default_route(
    inside: &mut Netlink,
    index: u32,
    router: Option<IpAddr>,
    is_ipv6: bool,
) -> std::io::Result<()> {
    match (inside.add_route(index, None, router, is_ipv6), router) {
        (Err(_), Some(router)) => {
            inside.add_route(
                index,
                Some((router, if is_ipv6 { 128 } else { 32 })),
                None,
                is_ipv6,
            )?;
            inside.add_route(index, None, Some(router), is_ipv6)
        }
        (result, _) => result,
    }
}

fn first_address(
    host: &mut Netlink,
    link: Option<&str>,
    family: IpAddr,
    what: &str,
) -> Step<IpAddr> {
    let found = link
        .map(|link| host.link(link))
        .transpose()
        .at(STEP, || "cannot look for the link".to_owned())?;
    let addresses = match found.flatten() {
        Some(link) => host
            .addresses(link.index, family)
            .at(STEP, || "cannot list addresses".to_owned())?,
        None => Vec::new(),
    };
    let usable = |address: &IpAddr| !matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
    addresses.into_iter().find(usable).ok_or_else(|| {
        let message = format!(
            "{what} = auto needs a link with an address of its family; give the address instead."
        );
        failure(FailureKind::InvalidConfig, STEP, message)
    })
}
