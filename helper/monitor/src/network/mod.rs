//! The container's network interfaces.
//!
//! Everything is done from the monitor, while init prepares its mounts: the
//! container's end of a pair is made in its namespace with its final name,
//! and addresses are set through a socket of that namespace.

mod addresses;
mod names;
mod veth;

use crate::failure::{At, Step, failed, failure};
use crate::hooks::Hooks;
use crate::log;
use crate::netlink::Netlink;
use addresses::configure;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{Network, NetworkKind, Settings};
use gantry_core::values::network::VethMode;
use names::{inner_names, random_name};
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
