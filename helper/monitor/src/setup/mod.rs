//! Init's side of a start: the first process in the container's namespaces
//! builds the container around itself, then becomes its init.

mod become_init;
mod dev;
mod mounts;
mod root;
mod rootfs;
mod standard;
mod store;
mod time;

pub(crate) use mounts::{Mount, copy_tree, filesystem, prepare_idmapped};
pub(crate) use root::{Root, attach};
pub(crate) use rootfs::{check as check_rootfs, mount_point, prepare as prepare_rootfs};
pub(crate) use store::mount_store;

use crate::cgroup::{self, Hierarchy};
use crate::confine::Confinement;
use crate::failure::{At, Step, failure};
use crate::hooks::Hooks;
use crate::label::Label;
use crate::log::{self, Line};
use crate::message;
use crate::sys;
use gantry_core::monitor::{Failure, FailureKind};
use gantry_core::namespaces::Namespace;
use gantry_core::settings::{HookStage, Settings};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::MountPropagationFlags;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What the monitor tells init's side.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToInit {
    /// The ids are mapped. With it come the root's mount and then the mounts
    /// that only the monitor could prepare, for the entries of these numbers.
    Mapped { prepared: Vec<usize> },
    /// The interfaces are there, where [`waits_for_network`] asks for them.
    Connected,
    /// All is ready on the host: become init.
    Go,
}

/// What init's side tells the monitor. Its end, without a failure before, is
/// init's exec.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum FromInit {
    /// The container is built. With it come the devpts directory, the
    /// console's master if there is one, and the ttys' masters.
    Ready { console: bool },
    /// The filter is in force; what listens to it comes along.
    Filtered { notifies: bool },
    /// It cannot be.
    Failed(Failure),
    /// A line for the log.
    Line(Line),
}

/// What init's side needs to know.
pub(crate) struct Plan<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) hooks: &'a Hooks,
    pub(crate) confinement: &'a Confinement,
    pub(crate) hierarchies: &'a [Hierarchy],
    /// The payload's group below the base of each.
    pub(crate) group: &'a str,
    /// The payload's version 1 groups, to enter.
    pub(crate) tasks: Vec<OwnedFd>,
    pub(crate) mounts: Vec<Mount>,
    /// Where the root is put together.
    pub(crate) mount_point: PathBuf,
    /// The container's directory on the host.
    pub(crate) directory: PathBuf,
    /// The root on the host, as absolute mount targets may name it.
    pub(crate) rootfs: Vec<PathBuf>,
    /// The CLONE_NEW* bits of the namespaces that are the container's own.
    pub(crate) made: u64,
    /// The security label that init is to get.
    pub(crate) label: Option<String>,
}

impl Plan<'_> {
    fn owns(&self, namespace: Namespace) -> bool {
        self.made & namespace.clone_flag() != 0
    }
}

/// Builds the container and becomes its init; never comes back.
pub(crate) fn run(plan: Plan<'_>, monitor: OwnedFd) -> ! {
    let Err(failure) = build(plan, &monitor);
    // If the monitor is gone there is nobody to tell.
    drop(message::send(&monitor, &FromInit::Failed(failure), &[]));
    sys::exit_now(1)
}

fn build(mut plan: Plan<'_>, monitor: &OwnedFd) -> Step<std::convert::Infallible> {
    let step = "starting";
    log::hand_to(
        monitor
            .try_clone()
            .at(step, || "cannot copy a socket".to_owned())?,
    );
    let settings = plan.settings;
    if plan.owns(Namespace::Time) {
        time::enter(&settings.time)?;
    }
    // On the host's /proc, of which nothing in the container can say otherwise.
    let label = plan.label.take().map(Label::profile).transpose()?;
    let context = plan.confinement.context().transpose()?;
    let keyring = plan.confinement.keyring_context().transpose()?;
    let rootfs = receive_mapped(&mut plan, monitor)?;
    sys::become_user(0, 0, Some(&[]))
        .at(step, || "cannot become the container's root".to_owned())?;
    die_with_monitor(settings)?;
    for tasks in std::mem::take(&mut plan.tasks) {
        cgroup::enter(&tasks).at(step, || "cannot enter the container's cgroup".to_owned())?;
    }
    if plan.owns(Namespace::Cgroup) {
        unshare(CloneFlags::CLONE_NEWCGROUP)
            .at(step, || "cannot make a cgroup namespace".to_owned())?;
    }
    rustix::process::umask(Mode::empty());

    let root = assemble(&plan, rootfs.as_ref())?;
    if let Some(name) = &settings.uts_name
        && plan.owns(Namespace::Uts)
    {
        nix::unistd::sethostname(name).at(step, || "cannot set the host name".to_owned())?;
    }
    if settings.keyring_session != Some(true) {
        make_keyring(keyring)?;
    }
    let terminals = furnish(&root, &plan, monitor)?;

    let mut fds = vec![&terminals.devpts];
    fds.extend(terminals.console.as_ref().map(|console| &console.master));
    fds.extend(terminals.ttys.iter().map(|tty| &tty.master));
    message::send(
        monitor,
        &FromInit::Ready {
            console: terminals.console.is_some(),
        },
        &fds,
    )
    .at(step, || "cannot reach the monitor".to_owned())?;
    if settings.rootfs.is_some() {
        rootfs::pivot(&root)?;
    }
    rootfs::settle(&root)?;
    expect(monitor, &ToInit::Go)?;
    become_init::run(&plan, terminals, label.or(context), monitor)
}

/// Has the kernel end this process with the monitor, as the config says. Changing
/// ids clears it (prctl(2)), so that this comes after.
fn die_with_monitor(settings: &Settings) -> Step<()> {
    sys::set_parent_death_signal(settings.monitor.death_signal).at("starting", || {
        "cannot set the signal for the monitor's death".to_owned()
    })
}

/// A session keyring of the container's own.
fn make_keyring(context: Option<Label>) -> Step<()> {
    if let Some(context) = context {
        context.take_on()?;
    }
    if let Err(error) = sys::join_new_session_keyring() {
        log::info(format!(
            "the container shares its starter's keyring: {error}"
        ));
    }
    Ok(())
}

/// Waits until the ids are mapped and takes what comes with the news: the root
/// file system, if the container has one of its own, and mounts.
fn receive_mapped(plan: &mut Plan<'_>, monitor: &OwnedFd) -> Step<Option<OwnedFd>> {
    let step = "starting";
    let gone = || failure(FailureKind::Cancelled, step, "The monitor has gone.");
    let received =
        message::receive::<ToInit>(monitor).at(step, || "cannot hear the monitor".to_owned())?;
    let Some((ToInit::Mapped { prepared }, fds)) = received else {
        return Err(gone());
    };
    let mut fds = fds.into_iter();
    let rootfs = match plan.settings.rootfs {
        Some(_) => Some(fds.next().ok_or_else(gone)?),
        None => None,
    };
    for (index, tree) in prepared.into_iter().zip(fds) {
        if let Some(mount) = plan.mounts.get_mut(index) {
            mount.prepared = Some(tree);
        }
    }
    Ok(rootfs)
}

/// Whether the container is built with its interfaces in it: its hooks may use
/// them, as with LXC, and settings of the kernel may be about them.
pub(crate) fn waits_for_network(settings: &Settings, hooks: &Hooks) -> bool {
    let mut keys = settings.sysctls.iter().map(|(key, _)| key);
    hooks.any(HookStage::Mount)
        || hooks.any(HookStage::Autodev)
        || keys.any(|key| key.starts_with("net."))
}

fn expect(monitor: &OwnedFd, wanted: &ToInit) -> Step<()> {
    match message::receive::<ToInit>(monitor)
        .at("starting", || "cannot hear the monitor".to_owned())?
    {
        Some((told, _)) if told == *wanted => Ok(()),
        _ => Err(failure(
            FailureKind::Cancelled,
            "starting",
            "The monitor has gone.",
        )),
    }
}

/// Mounts the root where it is put together. Without one the host's is taken:
/// what is mounted on it shows in the container alone.
fn assemble(plan: &Plan<'_>, rootfs: Option<&OwnedFd>) -> Step<Root> {
    let step = "mounting the root file system";
    // What the container mounts must never show up on the host.
    let host = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .at(step, || "cannot open /".to_owned())?;
    let slave = sys::MountAttributes::propagate(MountPropagationFlags::DOWNSTREAM);
    sys::mount_setattr(&host, true, &slave)
        .at(step, || "cannot cut mounts off the host's".to_owned())?;
    plan.hooks.run(HookStage::PreMount, &[], None)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open_it = || {
        rustix::fs::openat(CWD, &plan.mount_point, flags, Mode::empty()).at(step, || {
            format!("cannot open {}", plan.mount_point.display())
        })
    };
    if let Some(rootfs) = rootfs {
        attach(rootfs, &open_it()?).at(step, || {
            format!("cannot mount it on {}", plan.mount_point.display())
        })?;
    }
    // Opened anew, to see what is mounted there now.
    Ok(Root::new(open_it()?))
}

/// Mounts everything below the root, in stock LXC's order.
fn furnish(root: &Root, plan: &Plan<'_>, monitor: &OwnedFd) -> Step<dev::Terminals> {
    let settings = plan.settings;
    if settings.autodev {
        dev::mount(root, settings)?;
    }
    standard::mount_proc_and_sys(root, settings)?;
    mounts::make(root, &plan.mounts, &plan.rootfs, &plan.directory)?;
    if plan.owns(Namespace::Cgroup) {
        standard::mount_cgroups(root, settings, plan.hierarchies)?;
    } else {
        standard::mount_host_cgroups(root, settings, plan.hierarchies, plan.group)?;
    }
    if waits_for_network(settings, plan.hooks) {
        expect(monitor, &ToInit::Connected)?;
    }
    plan.hooks.run(HookStage::Mount, &[], None)?;
    if settings.autodev {
        plan.hooks.run(HookStage::Autodev, &[], None)?;
        dev::populate(root, settings)?;
    }
    let terminals = dev::make_terminals(root, settings)?;
    rootfs::hide_boot_id(root, settings);
    become_init::write_sysctls(settings)?;
    Ok(terminals)
}
