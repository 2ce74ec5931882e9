//! What is to be entered: a container's init, and what holds it.

use super::client::Client;
use crate::cgroup::{Cgroups, Version};
use crate::failure::{At, Step, failed, failure};
use crate::label::Confiner;
use crate::proc::text;
use crate::sys;
use gantry_core::caps::CapabilitySet;
use gantry_core::command::{CgroupContext, Command, encode_text};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{AttachRequest, FailureKind};
use gantry_core::namespaces::Namespace;
use gantry_core::settings::CgroupDirs;
use gantry_core::states::State;
use gantry_core::values::Limit;
use rustix::fs::{Mode, OFlags, fstatfs, open, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub(super) const STEP: &str = "entering the container";

/// A namespace to join, and how `/proc/PID/ns/` names it.
pub(super) struct Join {
    pub(super) namespace: Namespace,
    pub(super) link: PathBuf,
}

/// A running container, as seen from outside.
pub(super) struct Target {
    pub(super) init: OwnedFd,
    pub(super) joins: Vec<Join>,
    /// Its version 1 groups' lists of threads.
    pub(super) tasks: Vec<OwnedFd>,
    /// Its group in the unified hierarchy.
    pub(super) unified: Option<OwnedFd>,
    pub(super) devpts: Option<OwnedFd>,
    /// What init may at most do.
    pub(super) bounding: CapabilitySet,
    /// What confines init.
    pub(super) label: Option<Confiner>,
    pub(super) no_new_privs: bool,
    pub(super) is_32_bit: bool,
    /// `lxc.sched.core`
    pub(super) core_scheduling: bool,
    /// `lxc.prlimit.*`, by name.
    pub(super) limits: Vec<(String, Limit)>,
    /// `lxc.environment`, as `NAME=VALUE`.
    pub(super) environment: Vec<String>,
    /// The host's id of the user in the container.
    pub(super) host_uid: Option<u32>,
}

impl Target {
    /// Asks the monitor and the kernel.
    pub(super) fn find(layout: &ContainerLayout, request: &AttachRequest) -> Step<Self> {
        let client = Client::new(layout);
        let item = encode_text;
        let [
            state,
            pid,
            pidfd,
            groups,
            devpts,
            environment,
            no_new_privs,
            arch,
            sched_core,
            prlimits,
        ] = client.ask_all([
            (Command::GetState, &[]),
            (Command::GetInitPid, &[]),
            (Command::GetInitPidFd, &[]),
            (Command::GetCgroupContext, &[0; CgroupContext::LEN]),
            (Command::GetDevptsFd, &[]),
            (Command::GetConfigItem, &item("lxc.environment")),
            (Command::GetConfigItem, &item("lxc.no_new_privs")),
            (Command::GetConfigItem, &item("lxc.arch")),
            (Command::GetConfigItem, &item("lxc.sched.core")),
            (Command::GetConfigItem, &item("lxc.prlimit")),
        ])?;
        let state = state.value().and_then(|s| State::from_number(s as i64));
        if matches!(state, Some(State::Frozen | State::Freezing)) {
            let message = format!(
                "The container '{}' is frozen; unfreeze it first.",
                layout.name()
            );
            return failed(FailureKind::WrongState, STEP, message);
        }
        let not_running = || {
            let message = format!(
                "The container '{}' is not running; start it first.",
                layout.name()
            );
            failure(FailureKind::WrongState, STEP, message)
        };
        let pid = pid.pid().and_then(Pid::from_raw).ok_or_else(not_running)?;
        let init = match pidfd.fd() {
            Some(pidfd) => pidfd,
            None => pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?,
        };
        let proc = format!("/proc/{}", pid.as_raw_nonzero());
        let joins = joins(&proc, request)?;
        let (tasks, unified) = if request.elevated.cgroup {
            (Vec::new(), None)
        } else {
            cgroups(&client, groups.all_fds())?
        };
        let target = Self {
            joins,
            tasks,
            unified,
            devpts: devpts.fd(),
            bounding: bounding_set(&proc).ok_or_else(not_running)?,
            label: Confiner::of(&proc),
            no_new_privs: no_new_privs.text() == Some("1"),
            is_32_bit: arch.text() == Some("i686"),
            core_scheduling: sched_core.text() == Some("1"),
            limits: limits(prlimits.text().unwrap_or_default()),
            environment: environment
                .text()
                .unwrap_or_default()
                .lines()
                .filter(|line| line.contains('='))
                .map(str::to_owned)
                .collect(),
            host_uid: host_id(&proc, "uid_map", request.uid),
            init,
        };
        // All of /proc was init's only if init still lives, and if the pidfd
        // is the pid's.
        let same = pid_of(&target.init) == Some(pid.as_raw_nonzero().get());
        if !same || sys::signal_process(&target.init, 0).is_err() {
            return Err(not_running());
        }
        Ok(target)
    }

    /// Lets this process run beside the container's on a core.
    pub(super) fn share_core(&self) -> Step<()> {
        let init = if self.joins(Namespace::Pid) {
            1
        } else {
            pid_of(&self.init).unwrap_or(0)
        };
        match sys::share_core(init) {
            // Without threads that share cores there is nothing to share.
            Err(error) if sys::no_core_scheduling(&error) => Ok(()),
            shared => shared.at(STEP, || "cannot share the container's cores".to_owned()),
        }
    }

    /// Whether a namespace is joined.
    pub(super) fn joins(&self, namespace: Namespace) -> bool {
        self.joins.iter().any(|join| join.namespace == namespace)
    }
}

/// The process of a pidfd, by `/proc/self/fdinfo`; none once it is reaped.
pub(crate) fn pid_of(pidfd: &OwnedFd) -> Option<i32> {
    use std::os::fd::AsRawFd;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()
}

/// The host's user and group of an init's root. An init that sees the host's
/// own mounts is refused.
pub(crate) fn container_root(init: &OwnedFd) -> Step<(u32, u32)> {
    let what = || "cannot look at the container's init".to_owned();
    let gone = rustix::io::Errno::SRCH;
    let proc = format!("/proc/{}", pid_of(init).ok_or(gone).at(STEP, what)?);
    let mounts = |proc: &str| std::fs::read_link(format!("{proc}/ns/mnt")).at(STEP, what);
    if mounts(&proc)? == mounts("/proc/self")? {
        let message = "The container has no mounts of its own: its /dev is the host's.";
        return failed(FailureKind::NotPermitted, STEP, message);
    }
    let ids = host_id(&proc, "uid_map", 0).zip(host_id(&proc, "gid_map", 0));
    // All this was init's only if it still lives.
    sys::signal_process(init, 0).at(STEP, what)?;
    ids.ok_or(gone).at(STEP, what)
}

/// The namespaces to join: by the kernel's word, not the monitor's, all in
/// which init is not where this process is; or those of them that are asked
/// for.
fn joins(proc: &str, request: &AttachRequest) -> Step<Vec<Join>> {
    let mut joins = Vec::new();
    let mut separate = 0;
    for namespace in Namespace::ALL {
        let name = namespace.proc_name();
        let Ok(own) = std::fs::read_link(format!("/proc/self/ns/{name}")) else {
            continue;
        };
        let link = std::fs::read_link(format!("{proc}/ns/{name}"))
            .at(STEP, || format!("cannot see the {name} namespace of init"))?;
        if link == own {
            continue;
        }
        separate += 1;
        if request
            .namespaces
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&namespace))
        {
            joins.push(Join { namespace, link });
        }
    }
    if separate == 0 {
        let message =
            "The container has no namespace of its own; a program in it would run on the host.";
        return failed(FailureKind::NotPermitted, STEP, message);
    }
    Ok(joins)
}

/// The container's groups: by the monitor's descriptors, or by their paths.
fn cgroups(
    client: &Client<'_>,
    mut directories: Vec<OwnedFd>,
) -> Step<(Vec<OwnedFd>, Option<OwnedFd>)> {
    const CGROUP2: i64 = 0x6367_7270;
    let (mut tasks, mut unified) = (Vec::new(), None);
    let what = || "cannot open the container's cgroups".to_owned();
    if directories.is_empty() {
        directories = directories_by_path(client)?;
    }
    for directory in directories {
        if fstatfs(&directory).at(STEP, what)?.f_type == CGROUP2 {
            unified = Some(directory);
        } else {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            tasks.push(openat(&directory, "tasks", flags, Mode::empty()).at(STEP, what)?);
        }
    }
    Ok((tasks, unified))
}

fn directories_by_path(client: &Client<'_>) -> Step<Vec<OwnedFd>> {
    let dirs = CgroupDirs {
        base: None,
        monitor: None,
        monitor_pivot: None,
        container: None,
        inner: None,
        relative: false,
    };
    let mut directories = Vec::new();
    for hierarchy in Cgroups::find(&dirs, false)?.hierarchies {
        let controller = hierarchy.controllers.first().map_or("", String::as_str);
        if hierarchy.version == Version::V1 && controller.is_empty() {
            continue;
        }
        if let Some(group) = client.cgroup(controller)? {
            let path = group.trim_start_matches('/');
            let opened = hierarchy.open_directory(path);
            directories.push(opened.at(STEP, || format!("cannot open the cgroup {group}"))?);
        }
    }
    Ok(directories)
}

/// Limits as a monitor tells them, a line of the config each.
fn limits(lines: &str) -> Vec<(String, Limit)> {
    let limit = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let name = key.trim().strip_prefix("lxc.prlimit.")?;
        Some((name.to_owned(), Limit::parse(value.trim()).ok()?))
    };
    lines.lines().filter_map(limit).collect()
}

fn bounding_set(proc: &str) -> Option<CapabilitySet> {
    let status = text(format!("{proc}/status")).ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))?
        .trim();
    u64::from_str_radix(mask, 16)
        .ok()
        .map(CapabilitySet::from_bits)
}

/// The host's id of an id in init's user namespace.
fn host_id(proc: &str, file: &str, id: u32) -> Option<u32> {
    let maps = std::fs::read_to_string(format!("{proc}/{file}")).ok()?;
    maps.lines().find_map(|line| {
        let numbers: Vec<u32> = line
            .split_ascii_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let [inside, outside, count] = numbers.as_slice() else {
            return None;
        };
        let offset = id.checked_sub(*inside)?;
        (offset < *count).then(|| outside.checked_add(offset))?
    })
}

/// Where this process's own namespaces can be looked up, also once it sees
/// another /proc.
pub(super) fn own_namespaces() -> Step<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open("/proc/self/ns", flags, Mode::empty()).at(STEP, || "cannot open /proc/self/ns".to_owned())
}
