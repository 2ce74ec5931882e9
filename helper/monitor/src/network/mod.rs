//! The container's network interfaces.
//!
//! Everything is done from the monitor, while init prepares its mounts: each
//! interface is made in the container's namespace with its final name (or
//! moved there under it), and set up through a socket of that namespace. What
//! would outlive the namespace is undone by a process of its own, see
//! [`undo`].

mod addresses;
mod adjust;
mod ipvlan;
mod lent;
mod live;
mod macvlan;
mod names;
mod ovs;
mod phys;
mod proxy;
pub(crate) mod undo;
mod uplink;
mod veth;
mod vlan;
mod wire;

pub(crate) use live::{Change, planned};

use crate::failure::{At, Step, failed, failure};
use crate::hooks::Script;
use crate::log;
use crate::netlink::Netlink;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{Failure, FailureKind};
use gantry_core::settings::{
    Network, NetworkKind, Settings, WiringFault, check_wiring, inner_names,
};
use lent::Lent;
use names::random_name;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
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

/// Refuses settings that contradict each other, or that no interface can have.
pub(crate) fn check(settings: &Settings) -> Step<()> {
    check_wiring(&settings.networks).map_err(wrong)
}

fn wrong(fault: WiringFault) -> Failure {
    failure(FailureKind::InvalidConfig, STEP, format!("{fault}."))
}

/// Runs a script of an interface to its end.
pub(crate) type RunScript<'a> = &'a mut dyn FnMut(&Script) -> Step<()>;

/// Who holds the container.
#[derive(Clone, Copy)]
enum Custody {
    /// This process, which is its monitor; `in_unit`: the main process of a unit of
    /// systemd's.
    Ours { in_unit: bool },
    /// A monitor that does not know of what is made here.
    Others,
}

/// What was made.
pub(crate) struct Interfaces {
    container: String,
    /// Where it stands what bridges do otherwise with its ports.
    ports: PathBuf,
    custody: Custody,
    made: BTreeMap<u32, Made>,
    /// Keeps the namespace where something in it is on top of an interface of the
    /// host, so that it can be deleted when the container's processes have ended.
    inside: Option<Netlink>,
    undo: Option<Undo>,
    /// Interfaces of the host that came later.
    lent: Vec<Lent>,
}

/// What was made of one interface of the config.
#[derive(Default)]
struct Made {
    /// Its index in the container; none if it is only loopback.
    inside: Option<u32>,
    host_end: Option<HostEnd>,
    /// Whether it is on top of an interface of the host.
    is_upper: bool,
    /// Whether it was to be brought up, and so is to be brought down.
    is_raised: bool,
    /// What was done for it that would outlive it.
    debts: Vec<Debt>,
}

/// The host's end of a pair.
struct HostEnd {
    name: String,
    index: u32,
}

impl Interfaces {
    pub(crate) fn none(layout: &ContainerLayout, in_unit: bool) -> Self {
        Self {
            container: layout.name().to_string(),
            ports: layout.ports(),
            custody: Custody::Ours { in_unit },
            made: BTreeMap::new(),
            inside: None,
            undo: None,
            lent: Vec::new(),
        }
    }

    /// The name of the host's end of an interface.
    fn host_name(&self, number: u32) -> Option<&str> {
        let end = self.made.get(&number)?.host_end.as_ref()?;
        Some(&end.name)
    }

    /// Makes every interface and configures it; `run` runs a script. What was
    /// made before a failure is in `self`, to be removed.
    pub(crate) fn make(
        &mut self,
        settings: &Settings,
        namespace: &OwnedFd,
        run: RunScript<'_>,
    ) -> Step<()> {
        let names = inner_names(&settings.networks).map_err(wrong)?;
        let mut ground = Ground::open(namespace)?;
        for (number, network) in &settings.networks {
            let name = names.get(number).map_or("", String::as_str);
            self.make_one(&Wire::new(*number, network, name)?, &mut ground, run)?;
        }
        Ok(())
    }

    fn make_one(
        &mut self,
        wire: &Wire<'_>,
        ground: &mut Ground<'_>,
        run: RunScript<'_>,
    ) -> Step<()> {
        let Wire {
            number, network, ..
        } = *wire;
        self.made.insert(number, Made::default());
        if network.l2proxy {
            proxy::make(wire, ground, self)?;
        }
        let index = match &network.kind {
            NetworkKind::Veth(veth) => Some(veth::make(wire, veth, ground, self)?),
            NetworkKind::Macvlan { mode } => Some(macvlan::make(wire, *mode, ground)?),
            NetworkKind::Ipvlan { mode, isolation } => {
                Some(ipvlan::make(wire, *mode, *isolation, ground)?)
            }
            NetworkKind::Vlan { id } => Some(vlan::make(wire, *id, ground)?),
            NetworkKind::Phys => {
                let link = phys::find(wire, ground)?;
                // A script may prepare it while it is still on the host.
                self.raise(wire, run)?;
                Some(phys::make(wire, link, ground, self)?)
            }
            NetworkKind::Empty => Some(LOOPBACK),
            NetworkKind::None => None,
        };
        if let Some(made) = self.made.get_mut(&number) {
            made.inside = index.filter(|index| *index != LOOPBACK);
            made.is_upper = network.kind.is_upper();
            if made.is_upper && self.inside.is_none() {
                self.inside = Some(ground.another_inside()?);
            }
        }
        if network.kind != NetworkKind::Phys {
            self.raise(wire, run)?;
        }
        if let Some(index) = index {
            wire.configure(index, ground)?;
        }
        if network.up || network.kind == NetworkKind::Empty {
            ground
                .inside
                .bring_up(LOOPBACK)
                .at(STEP, || "cannot bring up lo".to_owned())?;
        }
        Ok(())
    }

    /// Runs the script that is for when an interface is made.
    fn raise(&mut self, wire: &Wire<'_>, run: RunScript<'_>) -> Step<()> {
        if let Some(made) = self.made.get_mut(&wire.number) {
            made.is_raised = true;
        }
        match &wire.network.script_up {
            Some(line) => run(&self.script(wire.number, wire.network, line, "up")),
            None => Ok(()),
        }
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

    /// Sees to it that something on the host is undone for an interface, however the
    /// monitor ends. To be called before it is done.
    fn owe(&mut self, number: u32, debt: Debt, fds: &[&OwnedFd]) -> Step<()> {
        self.tell_of(&debt, fds)?;
        self.made.entry(number).or_default().debts.push(debt);
        Ok(())
    }

    fn tell_of(&mut self, debt: &Debt, fds: &[&OwnedFd]) -> Step<()> {
        let Custody::Ours { in_unit } = self.custody else {
            let message = format!(
                "The monitor of container '{}' is not Gantry's, and could not undo this at the container's end; start the container with Gantry, or make the change while it is stopped.",
                self.container
            );
            return failed(FailureKind::Unsupported, STEP, message);
        };
        let undo = match self.undo.take() {
            Some(undo) => undo,
            None => Undo::start(&self.container, in_unit)?,
        };
        self.undo.insert(undo).owe(debt.clone(), fds)
    }

    /// What is undone is no debt any more.
    fn forget(&mut self, debt: Debt) {
        if let Some(undo) = &self.undo
            && let Err(failure) = undo.forget(debt)
        {
            log::error(failure.message);
        }
    }

    /// Gives back what is the host's, and what another container may want as
    /// soon as this one has stopped.
    pub(crate) fn give_back(&mut self) {
        self.lent.clear();
        if let Some(undo) = self.undo.take() {
            undo.settle();
        }
        let inside = self.inside.take();
        for made in self.made.values_mut() {
            made.debts.clear();
        }
        let Some(mut inside) = inside else { return };
        let upper = self.made.values().filter(|made| made.is_upper);
        for index in upper.filter_map(|made| made.inside) {
            if let Err(error) = inside.delete_link(index) {
                log::error(format!("cannot remove an interface inside: {error}"));
            }
        }
    }

    /// The scripts for the end, of those whose begin there was.
    pub(crate) fn down_scripts(&mut self, settings: &Settings) -> Vec<Script> {
        let numbers: Vec<u32> = self.made.keys().copied().collect();
        let networks = &settings.networks;
        let scripts = numbers.into_iter();
        scripts
            .filter_map(|number| self.lower(number, networks.get(&number)?))
            .collect()
    }

    /// The script for when an interface goes, once.
    fn lower(&mut self, number: u32, network: &Network) -> Option<Script> {
        let made = self.made.get_mut(&number)?;
        let was_raised = std::mem::take(&mut made.is_raised);
        let line = network.script_down.as_ref().filter(|_| was_raised)?;
        Some(self.script(number, network, line, "down"))
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
        let fixed = self.made.iter().filter(|(number, _)| is_fixed(**number));
        for end in fixed.filter_map(|(_, made)| made.host_end.as_ref()) {
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
        let made = std::mem::take(&mut self.made);
        let ends: Vec<HostEnd> = made
            .into_values()
            .filter_map(|made| made.host_end)
            .collect();
        if ends.is_empty() {
            return;
        }
        let mut host = match Netlink::open() {
            Ok(host) => host,
            Err(error) => return log::error(format!("cannot remove network interfaces: {error}")),
        };
        for end in ends {
            if let Err(error) = host.delete_link(end.index) {
                log::error(format!("cannot remove {}: {error}", end.name));
            }
        }
    }
}
