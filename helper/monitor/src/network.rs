//! The container's network interfaces.
//!
//! Everything is done from the monitor, while init prepares its mounts: the
//! container's end of a pair is made in its namespace with its final name,
//! and addresses are set through a socket of that namespace.

use crate::failure::{At, Step, failed, failure};
use crate::hooks::Hooks;
use crate::log;
use crate::netlink::{Link, Netlink, NewPair};
use crate::sys;
use gantry_core::monitor::FailureKind;
use gantry_core::name::InterfaceName;
use gantry_core::settings::{Network, NetworkKind, Settings, Veth};
use gantry_core::values::network::{Gateway, VethMode};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

const STEP: &str = "network";

/// The loopback interface has this index in every namespace.
const LOOPBACK: u32 = 1;

/// Whether the container gets a network namespace of its own: unless `none`
/// is the only kind of interface it has.
pub(crate) fn has_namespace(settings: &Settings) -> bool {
    let mut kinds = settings
        .networks
        .values()
        .map(|network| &network.kind)
        .peekable();
    kinds.peek().is_none() || kinds.any(|kind| *kind != NetworkKind::None)
}

/// Refuses what this version cannot do, before anything is made.
pub(crate) fn check(settings: &Settings) -> Step<()> {
    for (number, network) in &settings.networks {
        let unsupported = |key: &str, what: &str| {
            let message =
                format!("lxc.net.{number}.{key}: {what} is not supported yet; remove the key.");
            failed(FailureKind::Unsupported, STEP, message)
        };
        if network.l2proxy {
            return unsupported("l2proxy", "answering for addresses on the link");
        }
        match &network.kind {
            NetworkKind::Empty | NetworkKind::None => {}
            NetworkKind::Veth(veth) => {
                if veth.mode != VethMode::Bridge {
                    return unsupported("veth.mode", "a routed pair");
                }
                if veth.native_vlan.is_some() || !veth.tagged_vlans.is_empty() {
                    return unsupported("veth.vlan", "a VLAN on a bridge's port");
                }
                if veth.rx_queues.is_some() || veth.tx_queues.is_some() {
                    return unsupported("veth.n_rxqueues", "choosing the number of queues");
                }
                if !veth.ipv4_routes.is_empty() || !veth.ipv6_routes.is_empty() {
                    return unsupported("veth.ipv4.route", "a route into the container");
                }
            }
            other => {
                let message = format!(
                    "lxc.net.{number}.type = {}: this kind of interface is not supported yet; use veth, empty or none.",
                    other.kind().word()
                );
                return failed(FailureKind::Unsupported, STEP, message);
            }
        }
    }
    Ok(())
}

/// What was made on the host.
pub(crate) struct Interfaces {
    made: Vec<Made>,
}

struct Made {
    number: u32,
    host_name: String,
    host_index: u32,
}

impl Interfaces {
    pub(crate) fn none() -> Self {
        Self { made: Vec::new() }
    }

    /// The name of the host's end of an interface.
    pub(crate) fn host_name(&self, number: u32) -> Option<&str> {
        self.made
            .iter()
            .find(|made| made.number == number)
            .map(|made| made.host_name.as_str())
    }

    /// Makes every interface and configures it. What was made before a failure
    /// is in `self`, to be removed.
    pub(crate) fn make(
        &mut self,
        name: &str,
        settings: &Settings,
        namespace: &OwnedFd,
        hooks: &Hooks,
    ) -> Step<()> {
        let mut host: Option<Netlink> = None;
        let mut inside: Option<Netlink> = None;
        let names = inner_names(&settings.networks)?;
        for (number, network) in &settings.networks {
            if let NetworkKind::Veth(veth) = &network.kind {
                let host = open(&mut host, Netlink::open)?;
                let index =
                    self.make_veth(host, name, *number, network, veth, &names, namespace)?;
                let inside = open(&mut inside, || Netlink::open_in(namespace))?;
                if network.up {
                    // Its end cannot be born up: the kernel ties a pair
                    // together only after that.
                    inside
                        .bring_up(index)
                        .at(STEP, || format!("cannot bring up lxc.net.{number}"))?;
                }
                if !network.ipv4.is_empty() || !network.ipv6.is_empty() || has_gateway(network) {
                    configure(host, inside, *number, network, index)?;
                }
            }
            if let Some(script) = &network.script_up {
                let key = format!("lxc.net.{number}.script.up");
                hooks.run_network(&key, script, "up", &self.details(*number, network))?;
            }
        }
        let loopback = |network: &Network| network.up || network.kind == NetworkKind::Empty;
        if settings.networks.values().any(loopback) {
            let inside = open(&mut inside, || Netlink::open_in(namespace))?;
            inside
                .bring_up(LOOPBACK)
                .at(STEP, || "cannot bring up lo".to_owned())?;
        }
        Ok(())
    }

    /// What scripts are told, by the names of version 1's variables.
    fn details<'a>(&'a self, number: u32, network: &'a Network) -> Vec<(&'static str, &'a str)> {
        let mut details = vec![("LXC_NET_TYPE", network.kind.kind().word())];
        if network.kind != NetworkKind::Empty {
            details.extend(network.link.as_deref().map(|link| ("LXC_NET_PARENT", link)));
            details.extend(self.host_name(number).map(|name| ("LXC_NET_PEER", name)));
        }
        details
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one step of `make`, which has them all at hand"
    )]
    fn make_veth(
        &mut self,
        host: &mut Netlink,
        name: &str,
        number: u32,
        network: &Network,
        veth: &Veth,
        names: &BTreeMap<u32, String>,
        namespace: &OwnedFd,
    ) -> Step<u32> {
        let bridge = network
            .link
            .as_deref()
            .map(|link| find_bridge(host, number, link))
            .transpose()?;
        let mtu = network
            .mtu
            .or(bridge.as_ref().and_then(|bridge| bridge.mtu));
        let random = sys::random::<6>().at(STEP, || "cannot draw a random address".to_owned())?;
        let host_name = match &veth.pair {
            Some(pair) => pair.clone(),
            None => random_name()?,
        };
        check_name(&host_name, number, "veth.pair")?;
        let inner_name = names.get(&number).cloned().unwrap_or_default();

        let [_, tail @ ..] = random;
        let [b, c, d, e, f] = tail;
        let pair = NewPair {
            name: &host_name,
            // A high address keeps the bridge from taking it for its own.
            address: [0xfe, b, c, d, e, f],
            bridge: bridge.map(|bridge| bridge.index),
            mtu,
            peer_name: &inner_name,
            peer_address: network.hwaddr.map(|hwaddr| hwaddr.fill(random)),
            namespace,
        };
        host.add_pair(&pair)
            .at(STEP, || format!("cannot make the interface {host_name}"))?;

        let made = host
            .link(&host_name)
            .at(STEP, || format!("cannot find {host_name}"))?;
        let Some(Link {
            index,
            peer: Some(peer),
            ..
        }) = made
        else {
            return failed(
                FailureKind::StartFailed,
                STEP,
                format!("{host_name} vanished while it was made."),
            );
        };
        self.made.push(Made {
            number,
            host_name: host_name.clone(),
            host_index: index,
        });
        // The tag tells later who made it.
        host.tag(index, &format!("gantry:{name}"))
            .at(STEP, || format!("cannot tag {host_name}"))?;
        Ok(peer)
    }

    /// Runs the scripts for the end. Their failure stops nothing.
    pub(crate) fn run_down_scripts(&self, settings: &Settings, hooks: &Hooks) {
        for (number, network) in &settings.networks {
            let Some(script) = &network.script_down else {
                continue;
            };
            let key = format!("lxc.net.{number}.script.down");
            if let Err(failure) =
                hooks.run_network(&key, script, "down", &self.details(*number, network))
            {
                log::error(failure.message);
            }
        }
    }

    /// Gives fixed names free for the next start. Deleting takes the kernel
    /// much longer, so that it comes when everybody may see that the container
    /// has stopped.
    pub(crate) fn release_names(&mut self, settings: &Settings) {
        let is_fixed =
            |number: u32| match settings.networks.get(&number).map(|network| &network.kind) {
                Some(NetworkKind::Veth(veth)) => veth.pair.is_some(),
                _ => false,
            };
        for made in self.made.iter_mut().filter(|made| is_fixed(made.number)) {
            let renamed = random_name().and_then(|name| {
                Netlink::open()
                    .and_then(|mut host| host.rename(made.host_index, &name))
                    .at(STEP, || format!("cannot rename {}", made.host_name))
            });
            if let Err(failure) = renamed {
                log::debug(failure.message);
            }
        }
    }

    /// Deletes what was made on the host.
    pub(crate) fn remove(&mut self) {
        if self.made.is_empty() {
            return;
        }
        let mut host = match Netlink::open() {
            Ok(host) => host,
            Err(error) => return log::error(format!("cannot remove network interfaces: {error}")),
        };
        for made in self.made.drain(..) {
            if let Err(error) = host.delete_link(made.host_index) {
                log::error(format!("cannot remove {}: {error}", made.host_name));
            }
        }
    }
}

fn open(
    socket: &mut Option<Netlink>,
    open: impl FnOnce() -> std::io::Result<Netlink>,
) -> Step<&mut Netlink> {
    if socket.is_none() {
        *socket = Some(open().at(STEP, || "cannot open a netlink socket".to_owned())?);
    }
    socket.as_mut().ok_or_else(|| {
        failure(
            FailureKind::StartFailed,
            STEP,
            "There is no netlink socket.",
        )
    })
}

fn has_gateway(network: &Network) -> bool {
    network.ipv4_gateway.is_some() || network.ipv6_gateway.is_some()
}

fn find_bridge(host: &mut Netlink, number: u32, name: &str) -> Step<Link> {
    match host
        .link(name)
        .at(STEP, || format!("cannot look for {name}"))?
    {
        Some(link) if link.is_bridge => Ok(link),
        Some(_) => {
            let message = format!(
                "lxc.net.{number}.link = {name}: '{name}' is not a Linux bridge; other kinds are not supported yet."
            );
            failed(FailureKind::Unsupported, STEP, message)
        }
        None => {
            let message = format!(
                "There is no bridge '{name}', which lxc.net.{number}.link names; make it or choose another bridge."
            );
            failed(FailureKind::StartFailed, STEP, message)
        }
    }
}

/// `veth` and six letters or digits.
fn random_name() -> Step<String> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = sys::random::<6>().at(STEP, || "cannot draw a random name".to_owned())?;
    let letter = |byte: u8| {
        LETTERS
            .get(usize::from(byte) % LETTERS.len())
            .copied()
            .map_or('0', char::from)
    };
    Ok(format!(
        "veth{}",
        random.map(letter).iter().collect::<String>()
    ))
}

fn check_name(name: &str, number: u32, key: &str) -> Step<()> {
    match InterfaceName::new(name) {
        Ok(_) => Ok(()),
        Err(error) => failed(
            FailureKind::InvalidConfig,
            STEP,
            format!("lxc.net.{number}.{key} = {name}: {error}."),
        ),
    }
}

/// The names in the container. Those that are to be numbered get the first
/// number that no explicit name takes.
fn inner_names(networks: &BTreeMap<u32, Network>) -> Step<BTreeMap<u32, String>> {
    let explicit = |network: &Network| network.name.clone().filter(|name| !name.contains("%d"));
    let mut taken: BTreeSet<String> = networks.values().filter_map(explicit).collect();
    let mut names = BTreeMap::new();
    for (number, network) in networks {
        let name = explicit(network).unwrap_or_else(|| {
            let pattern = network.name.as_deref().unwrap_or("eth%d");
            let numbered = (0..u32::MAX).map(|n| pattern.replacen("%d", &n.to_string(), 1));
            numbered
                .into_iter()
                .find(|name| !taken.contains(name))
                .unwrap_or_default()
        });
        if network.kind.kind() == gantry_core::values::network::NetworkType::Veth {
            check_name(&name, *number, "name")?;
            taken.insert(name.clone());
            names.insert(*number, name);
        }
    }
    Ok(names)
}

fn configure(
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
