//! `run`: the monitor of one container.

mod attend;
mod clients;
mod commands;
mod end;
mod ephemeral;
mod forget;
mod live;
mod namespaces;
mod notify;
mod serve;
mod server;
mod start;
mod wires;

pub(crate) use wires::put_in_place;

use crate::begin;
use crate::cgroup::Cgroups;
use crate::config;
use crate::confine::{Confinement, Offer};
use crate::console::Console;
use crate::failure::{At, Step};
use crate::hooks::Hooks;
use crate::log;
use crate::network::{self, Interfaces};
use crate::setup::{check_rootfs, mount_point};
use crate::sys::{self, Fork};
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::Report;
use gantry_core::namespaces::Namespace;
use gantry_core::settings::{HookStage, Settings};
use gantry_core::states::State;
use notify::Notifier;
use serve::Signals;
use server::Server;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// The step of a start that is about init.
const STARTING: &str = "starting init";

/// One container and all that belongs to it.
struct Monitor {
    layout: ContainerLayout,
    config: Config,
    included: config::Remembered,
    settings: Rc<Settings>,
    state: State,
    signals: Signals,
    /// Memory that is given back while nothing is to be done.
    spare: sys::Spare,
    server: Server,
    hooks: Hooks,
    confinement: Confinement,
    notifier: Notifier,
    cgroups: Cgroups,
    interfaces: Interfaces,
    /// Interfaces whose change, or whose being there, waits to be confirmed.
    pending_wires: Option<wires::Pending>,
    /// The interfaces, each by its number and its link, that may take the host's way out.
    confirmed_wires: BTreeSet<(u32, String)>,
    console: Console,
    mount_point: PathBuf,
    init: Option<Init>,
    /// Of an ephemeral container, held as long as this process lives.
    mark: Option<OwnedFd>,
    /// Whether a request to halt was sent that init does not listen to yet.
    halting: bool,
    /// Whether a start has begun and init is not executed yet.
    is_starting: bool,
    /// Whether the container is ending: init has died, or will not begin.
    is_ending: bool,
    /// Whether somebody asked for the container's end: then it is no reboot.
    stopping: bool,
    /// Whether somebody asked for it while a hook ran.
    hurried: bool,
}

/// The container's first process.
struct Init {
    pid: i32,
    pidfd: OwnedFd,
    /// The CLONE_NEW* bits of the namespaces that were made for it.
    made: u64,
    /// And of those that it shares with others: what is to be joined.
    clone_flags: u64,
    /// The root of the container's devpts.
    devpts: Option<OwnedFd>,
    /// Kept for stop hooks and down scripts, if there are any.
    namespaces: Vec<(Namespace, OwnedFd)>,
}

impl Init {
    /// Whether its pid namespace, which ends with it, is the container's own.
    fn ends_all(&self) -> bool {
        self.made & Namespace::Pid.clone_flag() != 0
    }
}

/// Starts the container, serves it until it ends, and cleans up.
pub(crate) fn main(layout: ContainerLayout, starter: Option<OwnedFd>, in_unit: bool) -> ExitCode {
    let offer = Offer::receive(starter.as_ref());
    log::report_to(starter);
    let monitor = match offer.and_then(|offer| prepare(layout, offer, in_unit)) {
        Ok(monitor) => monitor,
        Err(failure) => return log::report_failure(failure),
    };
    if in_unit {
        return live(monitor);
    }
    let born_in = monitor.cgroups.monitor_unified();
    match sys::fork(0, born_in.as_ref()) {
        Ok(Fork::Parent(..)) => sys::exit_now(0),
        Ok(Fork::Child) => {
            drop(born_in);
            live(monitor)
        }
        Err(error) => {
            let mut monitor = monitor;
            monitor.cgroups.remove_monitor();
            let failure = Err::<(), _>(error).at("starting the monitor", || {
                "cannot start a process".to_owned()
            });
            failure.map_or_else(log::report_failure, |()| ExitCode::SUCCESS)
        }
    }
}

/// All that can be refused before anything but the monitor's cgroup is made.
/// The command socket comes first: it tells whether the container runs.
fn prepare(layout: ContainerLayout, offer: Offer, in_unit: bool) -> Step<Monitor> {
    let server = Server::bind(&layout)?;
    let (config, settings, included) = config::load(&layout)?;
    log::report(&Report::Listening);
    log::open(&layout, &settings)?;
    let confirmed_wires = offer.confirmed();
    let confinement = Confinement::new(&settings, offer)?;
    network::check(&settings)?;
    let mut cgroups = Cgroups::find(&settings.cgroup_dirs, in_unit)?;
    namespaces::check(&settings, &cgroups)?;
    let mount_point = match &settings.rootfs {
        Some(rootfs) => {
            check_rootfs(rootfs)?;
            mount_point(rootfs)?
        }
        // The host's root is shared.
        None => PathBuf::from("/"),
    };
    let is_run_here = |stage| match stage {
        HookStage::Clone => false,
        HookStage::Destroy => settings.ephemeral,
        _ => true,
    };
    let hooks = Hooks::new(&layout, &settings, &mount_point, is_run_here)?;
    let console = Console::new(&settings.console)?;
    let interfaces = Interfaces::none(&layout, in_unit);
    let signals = Signals::receive()?;
    cgroups.make_monitor(&layout, &settings.cgroup_dirs)?;
    Ok(Monitor {
        notifier: Notifier::new(&settings.seccomp),
        layout,
        config,
        included,
        settings: Rc::new(settings),
        state: State::Stopped,
        signals,
        spare: sys::Spare::find(),
        server,
        hooks,
        confinement,
        cgroups,
        interfaces,
        pending_wires: None,
        confirmed_wires,
        console,
        mount_point,
        init: None,
        mark: None,
        halting: false,
        is_starting: false,
        is_ending: false,
        stopping: false,
        hurried: false,
    })
}

/// The monitor's life, in a process of its own.
fn live(mut monitor: Monitor) -> ExitCode {
    let started = begin::detach()
        .and_then(|()| monitor.cgroups.enter_monitor())
        .and_then(|()| monitor.unshare_mounts())
        .and_then(|()| monitor.start());
    if let Err(failure) = started {
        monitor.abort();
        return log::report_failure(failure);
    }
    monitor.report_running();
    match monitor.serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without its loop a container cannot be held.
            log::error(failure.message.clone());
            monitor.abort();
            ExitCode::FAILURE
        }
    }
}
