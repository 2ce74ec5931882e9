//! Starting the container, from the monitor's side.

use super::attend::heard_already;
use super::namespaces::{clone_flags, open_namespace, shared};
use super::{Init, Monitor, STARTING as STEP, ephemeral};
use crate::apparmor::{self, Confinement};
use crate::config::read_fstab;
use crate::failure::{At, Step, failed, failure};
use crate::log;
use crate::message;
use crate::network::Interfaces;
use crate::process_limits;
use crate::setup::{self, FromInit, Mount, Plan, ToInit};
use crate::sys::{self, Fork};
use gantry_core::idmap::IdKind;
use gantry_core::monitor::{Failure, FailureKind, Report};
use gantry_core::namespaces::Namespace;
use gantry_core::settings::HookStage;
use gantry_core::states::State;
use gantry_core::values::mount::{MountEntry, MountOptions, parse_fstab};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

impl Monitor {
    /// `lxc.monitor.unshare`: mounts that hooks make stay with the monitor.
    pub(super) fn unshare_mounts(&self) -> Step<()> {
        if !self.settings.monitor.unshare {
            return Ok(());
        }
        let step = "making the monitor's mount namespace";
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
            .at(step, || "cannot unshare mounts".to_owned())?;
        let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .at(step, || "cannot open /".to_owned())?;
        let slave =
            sys::MountAttributes::propagate(rustix::mount::MountPropagationFlags::DOWNSTREAM);
        sys::mount_setattr(&root, true, &slave)
            .at(step, || "cannot cut mounts off the host's".to_owned())
    }

    /// Brings the container up to init's exec. After a failure everything
    /// that was made still stands, for [`Monitor::abort`].
    pub(super) fn start(&mut self) -> Step<()> {
        self.is_starting = true;
        self.is_ending = false;
        self.set_state(State::Starting);
        if self.settings.ephemeral && self.mark.is_none() {
            self.mark = match ephemeral::mark(&self.layout) {
                Ok(mark) => Some(mark),
                Err(failure) => {
                    log::warn(failure.message);
                    None
                }
            };
        }
        if self.confinement.notifies()? {
            self.notifier.begin()?;
        }
        self.run_hooks(HookStage::PreStart, &[])?;
        self.cgroups
            .make_payload(&self.layout, &self.settings.cgroup_dirs)?;
        self.cgroups.apply_limits(&self.settings.cgroup, |_| true)?;
        if !self.settings.is_privileged() {
            self.cgroups.delegate(&self.settings.idmaps)?;
        }
        let confinement = apparmor::choose(&self.settings, &self.layout)?;
        let mounts = self.read_mounts(&confinement)?;

        let socket = self.start_init(mounts, confinement.label)?;
        let finished = self.finish_start(&socket);
        finished.map_err(|failure| cause(failure, &socket))?;
        self.is_starting = false;
        self.set_state(State::Running);
        Ok(())
    }

    /// What is done on the host while init's side builds the container, and after.
    fn finish_start(&mut self, socket: &OwnedFd) -> Step<()> {
        self.make_network()?;
        if setup::waits_for_network(&self.settings, &self.hooks) {
            message::send(socket, &ToInit::Connected, &[])
                .at(STEP, || "cannot reach init".to_owned())?;
        }
        self.await_ready(socket)?;
        self.cgroups.apply_device_rules(&self.settings.cgroup)?;
        self.run_hooks(HookStage::StartHost, &[])?;
        message::send(socket, &ToInit::Go, &[]).at(STEP, || "cannot reach init".to_owned())?;
        self.await_exec(socket)
    }

    /// Tells the starter that init runs, and gives back what only the start
    /// needed.
    pub(super) fn report_running(&self) {
        if let Some(init) = &self.init {
            log::info(format!("running, with process {} as init", init.pid));
            log::report(&Report::Running {
                pid: init.pid.unsigned_abs(),
            });
        }
        log::started();
    }

    /// The mounts of the config: fstab's, then the entries, then what the security
    /// module wants.
    fn read_mounts(&self, confinement: &Confinement) -> Step<Vec<Mount>> {
        let step = "reading the mounts";
        let mut entries = Vec::new();
        if let Some(path) = &self.settings.fstab {
            let text = read_fstab(path).at(step, || {
                format!("cannot read lxc.mount.fstab = {}", path.display())
            })?;
            entries = parse_fstab(&text).map_err(|(line, reason)| {
                let message = format!(
                    "{}, line {line}: {reason}. Correct the line.",
                    path.display()
                );
                failure(FailureKind::InvalidConfig, step, message)
            })?;
        }
        entries.extend(self.settings.mounts.iter().cloned());
        entries.extend(self.shared_mounts()?);
        entries.extend(confinement.mounts.iter().cloned());
        Ok(entries
            .into_iter()
            .map(|entry| Mount {
                entry,
                prepared: None,
            })
            .collect())
    }

    /// The shmounts of `lxc.mount.auto`, through which mounts reach a running
    /// container.
    fn shared_mounts(&self) -> Step<Option<MountEntry>> {
        let Some(shared) = &self.settings.auto_mounts.shared else {
            return Ok(None);
        };
        let options = MountOptions::parse("bind,create=dir")
            .map_err(|reason| failure(FailureKind::InvalidConfig, "reading the mounts", reason))?;
        let target = shared.container.to_string_lossy();
        Ok(Some(MountEntry {
            source: shared.host.to_string_lossy().into_owned(),
            target: target.trim_start_matches('/').to_owned(),
            fstype: "none".to_owned(),
            options,
        }))
    }

    /// Makes the process and its namespaces, and lets it begin. Gives back the
    /// socket to it.
    fn start_init(&mut self, mounts: Vec<Mount>, label: Option<String>) -> Step<OwnedFd> {
        let flags = clone_flags(&self.settings);
        let flags_cgroup = Namespace::Cgroup.clone_flag();
        let flags_user = Namespace::User.clone_flag();
        let flags_time = Namespace::Time.clone_flag();
        let (ours, theirs) = sys::pair().at(STEP, || "cannot make a socket".to_owned())?;
        let tasks = self.cgroups.payload_tasks()?;
        let entries: Vec<_> = mounts.iter().map(|mount| mount.entry.clone()).collect();
        let born_in = self.cgroups.payload_unified();
        let joined: Vec<(u64, OwnedFd)> = shared(&self.settings, &self.layout)?
            .into_iter()
            .map(|(namespace, file)| (namespace.clone_flag(), file))
            .collect();
        // The cgroup namespace is made once init is in all of its groups, and
        // clocks are set before anybody is in theirs.
        match sys::fork_within(
            &joined,
            flags & !flags_cgroup & !flags_time,
            born_in.as_ref(),
        )
        .at(STEP, || "cannot make the namespaces".to_owned())?
        {
            Fork::Child => {
                drop(ours);
                let plan = Plan {
                    settings: &self.settings,
                    hooks: &self.hooks,
                    confinement: &self.confinement,
                    hierarchies: &self.cgroups.hierarchies,
                    group: self.cgroups.payload().unwrap_or_default(),
                    tasks,
                    mounts,
                    mount_point: self.mount_point.clone(),
                    directory: self.layout.directory(),
                    rootfs: self.rootfs_paths(),
                    made: flags,
                    label,
                };
                setup::run(plan, theirs)
            }
            Fork::Parent(pid, pidfd) => {
                drop(theirs);
                self.init = Some(Init {
                    pid,
                    pidfd,
                    made: flags,
                    clone_flags: joined.iter().fold(flags, |all, (kind, _)| all | kind),
                    devpts: None,
                    namespaces: Vec::new(),
                });
                self.hooks.tell("LXC_PID", pid.to_string());
                if flags & flags_user != 0 {
                    self.write_id_maps(pid)?;
                }
                // Its own, or that of another whose maps the config repeats.
                let namespace = (!self.settings.is_privileged())
                    .then(|| open_namespace(pid, Namespace::User))
                    .transpose()?;
                for (name, limit) in &self.settings.prlimits {
                    process_limits::apply(pid, name, *limit)?;
                }
                for (file, value) in &self.settings.proc {
                    write_proc(pid, file, value)?;
                }
                if self.settings.core_scheduling {
                    take_core(pid)?;
                }
                self.hand_over_mounts(&ours, &entries, namespace.as_ref())?;
                // The cgroup namespace is yet to be made.
                self.keep_namespaces(flags & !flags_cgroup)?;
                Ok(ours)
            }
        }
    }

    fn rootfs_paths(&self) -> Vec<PathBuf> {
        let configured = self
            .settings
            .rootfs
            .as_ref()
            .map(|rootfs| PathBuf::from(&rootfs.path.path));
        configured
            .into_iter()
            .chain([self.layout.rootfs(), self.mount_point.clone()])
            .collect()
    }

    fn write_id_maps(&self, pid: i32) -> Step<()> {
        for (kind, file) in [(IdKind::User, "uid_map"), (IdKind::Group, "gid_map")] {
            let path = format!("/proc/{pid}/{file}");
            std::fs::write(&path, self.settings.idmaps.proc_text(kind))
                .at("mapping ids", || {
                    format!("cannot write the maps of lxc.idmap to {path}")
                })?;
        }
        Ok(())
    }

    /// Prepares what only the host's root may mount, and sends it.
    fn hand_over_mounts(
        &self,
        socket: &OwnedFd,
        entries: &[MountEntry],
        namespace: Option<&OwnedFd>,
    ) -> Step<()> {
        let rootfs = self.settings.rootfs.as_ref();
        let mut fds: Vec<OwnedFd> = rootfs
            .map(|rootfs| setup::prepare_rootfs(rootfs, namespace))
            .into_iter()
            .collect::<Step<_>>()?;
        let mut prepared = Vec::new();
        for (index, entry) in entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.options.idmap.is_some())
        {
            use gantry_core::values::mount::MountIdmap;
            let tree = match (&entry.options.idmap, namespace) {
                (Some(MountIdmap::Path(path)), _) => {
                    let opened = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                    setup::prepare_idmapped(
                        entry,
                        &opened.at(STEP, || format!("cannot open {}", path.display()))?,
                    )?
                }
                (Some(MountIdmap::Container), Some(namespace)) => {
                    setup::prepare_idmapped(entry, namespace)?
                }
                _ => {
                    let message = format!(
                        "The mount onto {} has idmap=container, which needs lxc.idmap.",
                        entry.target
                    );
                    return failed(FailureKind::InvalidConfig, STEP, message);
                }
            };
            fds.push(tree);
            prepared.push(index);
        }
        let fds: Vec<&OwnedFd> = fds.iter().collect();
        message::send(socket, &ToInit::Mapped { prepared }, &fds)
            .at(STEP, || "cannot reach init".to_owned())
    }

    /// Holds namespaces of init's for the hooks and scripts of the end.
    fn keep_namespaces(&mut self, flags: u64) -> Step<()> {
        let networks = &self.settings.networks;
        let has_down = networks
            .values()
            .any(|network| network.script_down.is_some());
        if !has_down && !self.hooks.any(HookStage::Stop) {
            return Ok(());
        }
        let Some(init) = &mut self.init else {
            return Ok(());
        };
        for kind in Namespace::from_clone_flags(flags) {
            init.namespaces
                .push((kind, open_namespace(init.pid, kind)?));
        }
        Ok(())
    }

    fn make_network(&mut self) -> Step<()> {
        let Some(init) = &self.init else {
            return Ok(());
        };
        if self.settings.networks.is_empty() || init.made & Namespace::Net.clone_flag() == 0 {
            return Ok(());
        }
        let namespace = open_namespace(init.pid, Namespace::Net)?;
        // Apart meanwhile, as clients are served while scripts run.
        let none = Interfaces::none(&self.layout, false);
        let mut interfaces = std::mem::replace(&mut self.interfaces, none);
        let settings = self.settings.clone();
        let waiting = self.wires_to_confirm(&settings)?;
        let made = interfaces.make(&settings, &namespace, &mut |script| self.run_script(script));
        self.interfaces = interfaces;
        self.have_confirmed(waiting);
        made
    }

    /// Waits until init's side has built the container, and takes over its
    /// terminals.
    fn await_ready(&mut self, socket: &OwnedFd) -> Step<()> {
        loop {
            match self.hear(socket)? {
                Some((FromInit::Ready { console }, fds)) => {
                    let mut fds = fds.into_iter();
                    let devpts = fds.next();
                    let master = if console { fds.next() } else { None };
                    self.console.connect(master, fds.collect())?;
                    if let Some(init) = &mut self.init {
                        init.devpts = devpts;
                        let made = init.made;
                        self.keep_namespaces(made & Namespace::Cgroup.clone_flag())?;
                    }
                    return Ok(());
                }
                Some((message, _)) => handle(message)?,
                None => {
                    return failed(
                        FailureKind::StartFailed,
                        STEP,
                        "Init died while it built the container.",
                    );
                }
            }
        }
    }

    /// Waits until the socket closes at exec; all that comes with a message before is
    /// what listens to the filter.
    fn await_exec(&mut self, socket: &OwnedFd) -> Step<()> {
        while let Some((message, fds)) = self.hear(socket)? {
            for listener in fds {
                self.notifier.listen(listener);
            }
            handle(message)?;
        }
        Ok(())
    }
}

/// Why a start failed: what init's side has told, if it was the first to fail.
fn cause(failure: Failure, socket: &OwnedFd) -> Failure {
    if failure.kind == FailureKind::Cancelled {
        return failure;
    }
    while let Ok(Some(Some((message, _)))) = heard_already(socket) {
        if let Err(told) = handle(message) {
            return told;
        }
    }
    failure
}

fn handle(message: FromInit) -> Step<()> {
    match message {
        FromInit::Line(line) => log::write(line.level, line.message),
        FromInit::Failed(failure) => return Err(failure),
        FromInit::Ready { .. } | FromInit::Filtered { .. } => {}
    }
    Ok(())
}

/// `lxc.proc.FILE`, which needs the host's rights.
pub(super) fn write_proc(pid: i32, file: &str, value: &str) -> Step<()> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(format!("/proc/{pid}"), flags, Mode::empty())
        .and_then(|directory| {
            let path = file.replace('.', "/");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            openat2(&directory, &path, flags, Mode::empty(), resolve)
        })
        .and_then(|opened| rustix::io::write(&opened, value.as_bytes()))
        .map(drop)
        .at("setting lxc.proc", || {
            format!("cannot set lxc.proc.{file} = {value}")
        })
}

/// `lxc.sched.core`. Where no threads share cores, as with LXC, there is
/// nothing to keep apart.
fn take_core(pid: i32) -> Step<()> {
    match sys::take_core(pid) {
        Err(error) if sys::no_core_scheduling(&error) => {
            log::notice("lxc.sched.core has no effect: no core here runs several threads at once");
            Ok(())
        }
        taken => taken.at(STEP, || "cannot set lxc.sched.core".to_owned()),
    }
}
