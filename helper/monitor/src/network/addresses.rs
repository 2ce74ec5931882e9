//! Static addresses and default routes.

use super::STEP;
use super::wire::{Ground, Wire};
use crate::failure::{At, Step, failure};
use crate::netlink::{Netlink, Route};
use gantry_core::monitor::FailureKind;
use gantry_core::settings::Network;
use gantry_core::values::network::Gateway;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A default route: to a router, or none for one straight out of the
/// interface.
pub(super) struct DefaultRoute {
    key: String,
    family: IpAddr,
    pub(super) router: Option<IpAddr>,
}

impl DefaultRoute {
    fn of(&self, index: u32) -> Route {
        Route {
            index,
            destination: (self.family, 0),
            router: self.router,
        }
    }
}

/// The default routes of an interface.
pub(super) fn default_routes(
    host: &mut Netlink,
    number: u32,
    network: &Network,
) -> Step<Vec<DefaultRoute>> {
    let v4 = network.ipv4_gateway.map(|gateway| {
        let family = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        ("ipv4", family, map_gateway(gateway, IpAddr::V4))
    });
    let v6 = network.ipv6_gateway.map(|gateway| {
        let family = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        ("ipv6", family, map_gateway(gateway, IpAddr::V6))
    });
    v4.into_iter()
        .chain(v6)
        .map(|(word, family, gateway)| {
            let key = format!("lxc.net.{number}.{word}.gateway");
            let router = match gateway {
                Gateway::Address(router) => Some(router),
                Gateway::Device => None,
                Gateway::Auto => Some(first_address(host, network, family, &key)?),
            };
            Ok(DefaultRoute {
                key,
                family,
                router,
            })
        })
        .collect()
}

/// Sets the addresses and default routes of an interface.
pub(super) fn configure(
    ground: &mut Ground<'_>,
    number: u32,
    network: &Network,
    index: u32,
) -> Step<()> {
    for assignment in &network.ipv4 {
        let address = assignment.address;
        ground
            .inside
            .add_address(
                index,
                address.into(),
                assignment.prefix,
                // A network of one has nobody to tell.
                Some(assignment.broadcast).filter(|broadcast| *broadcast != address),
            )
            .at(STEP, || {
                format!("cannot set lxc.net.{number}.ipv4.address {address}")
            })?;
    }
    for assignment in &network.ipv6 {
        let address = assignment.address;
        ground
            .inside
            .add_address(index, address.into(), assignment.prefix, None)
            .at(STEP, || {
                format!("cannot set lxc.net.{number}.ipv6.address {address}")
            })?;
    }
    for route in default_routes(&mut ground.host, number, network)? {
        add_default_route(&mut ground.inside, index, &route)
            .at(STEP, || format!("cannot set {}", route.key))?;
    }
    Ok(())
}

/// Makes the addresses and default routes of one wire those of another. `is_fresh`: it
/// has lost what it had.
pub(super) fn change(
    ground: &mut Ground<'_>,
    index: u32,
    old: &Wire<'_>,
    new: &Wire<'_>,
    is_fresh: bool,
) -> Step<()> {
    let (was, is) = (old.network, new.network);
    let number = new.number;
    let set = |network: &Network| -> Vec<(IpAddr, u8, Option<Ipv4Addr>)> {
        let v4 = network.ipv4.iter().map(|a| {
            let broadcast = Some(a.broadcast).filter(|broadcast| *broadcast != a.address);
            (IpAddr::V4(a.address), a.prefix, broadcast)
        });
        let v6 = network.ipv6.iter();
        v4.chain(v6.map(|a| (IpAddr::V6(a.address), a.prefix, None)))
            .collect()
    };
    let (before, after) = (set(was), set(is));
    let has_same_way = (was.ipv4_gateway, was.ipv6_gateway, &was.link)
        == (is.ipv4_gateway, is.ipv6_gateway, &is.link);
    let is_same = has_same_way && before == after && !is_fresh;
    if !is_same {
        // The link that told the router may be gone.
        for route in default_routes(&mut ground.host, number, was).unwrap_or_default() {
            ground
                .inside
                .delete_route(&route.of(index))
                .at(STEP, || format!("cannot remove {}", route.key))?;
        }
    }
    for (address, prefix, _) in before.iter().filter(|one| !after.contains(one)) {
        ground
            .inside
            .delete_address(index, *address, *prefix)
            .at(STEP, || {
                format!("cannot remove {address} from lxc.net.{number}")
            })?;
    }
    for (address, prefix, broadcast) in after.iter().filter(|one| is_fresh || !before.contains(one))
    {
        match ground
            .inside
            .add_address(index, *address, *prefix, *broadcast)
        {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            added => added.at(STEP, || format!("cannot give lxc.net.{number} {address}"))?,
        }
    }
    if is_same {
        return Ok(());
    }
    for route in default_routes(&mut ground.host, number, is)? {
        add_default_route(&mut ground.inside, index, &route)
            .at(STEP, || format!("cannot set {}", route.key))?;
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
    default: &DefaultRoute,
) -> std::io::Result<()> {
    let route = default.of(index);
    match (inside.add_route(&route), default.router) {
        (Err(_), Some(router)) => {
            let to_router = Route::to(router, index);
            inside.add_route(&to_router)?;
            inside
                .add_route(&route)
                .or_else(|error| inside.delete_route(&to_router).and(Err(error)))
        }
        (result, _) => result,
    }
}

fn first_address(host: &mut Netlink, network: &Network, family: IpAddr, key: &str) -> Step<IpAddr> {
    let found = network
        .link
        .as_deref()
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
            "{key} = auto needs a link with an address of its family; give the address instead."
        );
        failure(FailureKind::InvalidConfig, STEP, message)
    })
}
