//! The container's network interfaces.
//!
//! Everything is done from the monitor, while init prepares its mounts: each
//! interface is made in the container's namespace with its final name (or
//! moved there under it), and set up through a socket of that namespace. What
//! would outlive the namespace is undone by a process of its own, see
//! [`undo`].

mod addresses;
mod check;
mod ipvlan;
mod lent;
mod macvlan;
mod names;
mod ovs;
mod phys;
mod proxy;
pub(crate) mod undo;
mod veth;
mod vlan;
mod wire;

pub(crate) use check::check;

use crate::failure::{At, Step};
use crate::hooks::Script;
use crate::log;
use crate::netlink::Netlink;
use gantry_core::settings::{Network, NetworkKind, Settings};
use lent::Lent;
use names::{inner_names, random_name};
use std::os::fd::OwnedFd;
use undo::{Debt, Undo};
use wire::{Ground, Wire};

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

/// What was made.
pub(crate) struct Interfaces {
    container: String,
    /// Whether the monitor is the main process of a unit of systemd's.
    in_unit: bool,
    host_ends: Vec<HostEnd>,
    /// Those on top of an interface of the host, by their index in the
    /// container. The socket keeps the namespace, so that they can be deleted
    /// when its processes have ended.
    upper: Option<(Netlink, Vec<u32>)>,
    /// Those that were to be brought up, and so are to be brought down.
    raised: Vec<u32>,
    undo: Option<Undo>,
    /// Interfaces of the host that came later.
    lent: Vec<Lent>,
}

/// The host's end of a pair.
struct HostEnd {
    number: u32,
    name: String,
    index: u32,
}

impl Interfaces {
    pub(crate) fn none(container: &str, in_unit: bool) -> Self {
        Self {
            container: container.to_owned(),
            in_unit,
            host_ends: Vec::new(),
            upper: None,
            raised: Vec::new(),
            undo: None,
            lent: Vec::new(),
        }
    }

    /// The name of the host's end of an interface.
    pub(crate) fn host_name(&self, number: u32) -> Option<&str> {
        self.host_ends
            .iter()
            .find(|end| end.number == number)
            .map(|end| end.name.as_str())
    }

    /// Makes every interface and configures it; `run` runs a script. What was
    /// made before a failure is in `self`, to be removed.
    pub(crate) fn make(
        &mut self,
        settings: &Settings,
        namespace: &OwnedFd,
        run: &mut dyn FnMut(&Script) -> Step<()>,
    ) -> Step<()> {
        let names = inner_names(&settings.networks)?;
        let mut ground = Ground::open(namespace)?;
        let mut run_up_script = |this: &mut Self, number: u32, network: &Network| {
            this.raised.push(number);
            match &network.script_up {
                Some(line) => run(&this.script(number, network, line, "up")),
                None => Ok(()),
            }
        };
        for (number, network) in &settings.networks {
            let name = names.get(number).map_or("", String::as_str);
            let wire = Wire::new(*number, network, name)?;
            if network.l2proxy {
                proxy::make(&wire, &mut ground, self)?;
            }
            let on_top = match &network.kind {
                NetworkKind::Macvlan { mode } => Some(macvlan::make(&wire, *mode, &mut ground)?),
                NetworkKind::Ipvlan { mode, isolation } => {
                    Some(ipvlan::make(&wire, *mode, *isolation, &mut ground)?)
                }
                NetworkKind::Vlan { id } => Some(vlan::make(&wire, *id, &mut ground)?),
                _ => None,
            };
            if let Some(index) = on_top {
                let (_, upper) = match self.upper.take() {
                    Some(upper) => self.upper.insert(upper),
                    None => self.upper.insert((ground.another_inside()?, Vec::new())),
                };
                upper.push(index);
            }
            let index = match &network.kind {
                NetworkKind::Veth(veth) => Some(veth::make(&wire, veth, &mut ground, self)?),
                NetworkKind::Phys => {
                    let link = phys::find(&wire, &mut ground)?;
                    // A script may prepare it while it is still on the host.
                    run_up_script(self, *number, network)?;
                    Some(phys::make(&wire, link, &mut ground, self)?)
                }
                NetworkKind::Empty => Some(LOOPBACK),
                _ => on_top,
            };
            if network.kind != NetworkKind::Phys {
                run_up_script(self, *number, network)?;
            }
            if let Some(index) = index {
                wire.configure(index, &mut ground)?;
            }
        }
        let loopback = |network: &Network| network.up || network.kind == NetworkKind::Empty;
        if settings.networks.values().any(loopback) {
            ground
                .inside
                .bring_up(LOOPBACK)
                .at(STEP, || "cannot bring up lo".to_owned())?;
        }
        Ok(())
    }

    fn script(&self, number: u32, network: &Network, line: &str, action: &'static str) -> Script {
        let mut details = vec![("LXC_NET_TYPE", network.kind.kind().word().to_owned())];
        if network.kind != NetworkKind::Empty {
            details.extend(network.link.clone().map(|link| ("LXC_NET_PARENT", link)));
            let peer = self.host_name(number).map(str::to_owned);
            details.extend(peer.map(|name| ("LXC_NET_PEER", name)));
        }
        Script {
            key: format!("lxc.net.{number}.script.{action}"),
            line: line.to_owned(),
            action,
            details,
        }
    }

    /// Sees to it that something on the host is undone, however the monitor
    /// ends. To be called before it is done.
    fn owe(&mut self, debt: &Debt, fds: &[&OwnedFd]) -> Step<()> {
        let undo = match self.undo.take() {
            Some(undo) => undo,
            None => Undo::start(&self.container, self.in_unit)?,
        };
        self.undo.insert(undo).owe(debt, fds)
    }

    /// Gives back what is the host's, and what another container may want as
    /// soon as this one has stopped.
    pub(crate) fn give_back(&mut self) {
        self.lent.clear();
        if let Some(undo) = self.undo.take() {
            undo.settle();
        }
        if let Some((mut inside, upper)) = self.upper.take() {
            for index in upper {
                if let Err(error) = inside.delete_link(index) {
                    log::error(format!("cannot remove an interface inside: {error}"));
                }
            }
        }
    }

    /// The scripts for the end, of those whose begin there was.
    pub(crate) fn down_scripts(&mut self, settings: &Settings) -> Vec<Script> {
        let raised = std::mem::take(&mut self.raised);
        let down = |number: u32| {
            let network = settings.networks.get(&number)?;
            let line = network.script_down.as_ref()?;
            Some(self.script(number, network, line, "down"))
        };
        raised.into_iter().filter_map(down).collect()
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
        for end in self.host_ends.iter().filter(|end| is_fixed(end.number)) {
            let renamed = random_name().and_then(|name| {
                Netlink::open()
                    .and_then(|mut host| host.rename(end.index, &name))
                    .at(STEP, || format!("cannot rename {}", end.name))
            });
            if let Err(failure) = renamed {
                log::debug(failure.message);
            }
        }
    }

    /// Deletes what was made on the host.
    pub(crate) fn remove(&mut self) {
        if self.host_ends.is_empty() {
            return;
        }
        let mut host = match Netlink::open() {
            Ok(host) => host,
            Err(error) => return log::error(format!("cannot remove network interfaces: {error}")),
        };
        for end in self.host_ends.drain(..) {
            if let Err(error) = host.delete_link(end.index) {
                log::error(format!("cannot remove {}: {error}", end.name));
            }
        }
    }
}
