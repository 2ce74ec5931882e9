//! Which values equal root on the host. The rules say what is known to be
//! harmless; everything else needs the stronger authorization.

use crate::idmap::IdMap;
use crate::values::mount::{
    AutoMounts, CgroupMode, CgroupTree, MountEntry, MountFlags, MountIdmap, MountOptions, ProcMode,
    SysMode,
};
use crate::values::words;

/// Whether changing a key can give whoever may do it the rights of root on
/// the host.
#[derive(Debug, Clone, Copy)]
pub enum Safety {
    /// It cannot.
    Safe,
    /// It can.
    Unsafe,
    /// It depends: a function of the name's varying part and the value, true
    /// if harmless. An empty value stands for taking a value away.
    ByValue(fn(&str, &str) -> bool),
}

impl Safety {
    /// Whether adding `value` (or with an empty one: taking values away) is
    /// harmless. `suffix` is what stands for the part of the key's name in
    /// capitals.
    pub fn is_safe(self, suffix: &str, value: &str) -> bool {
        match self {
            Self::Safe => true,
            Self::Unsafe => false,
            Self::ByValue(rule) => rule(suffix, value),
        }
    }
}

/// Only what the LXC packages ship may be included; what an include does is
/// judged by the keys in it.
pub(super) fn include(_: &str, value: &str) -> bool {
    value.is_empty()
        || value
            .strip_prefix("/usr/share/lxc/config/")
            .is_some_and(|rest| !rest.split('/').any(|part| part == ".."))
}

/// Variables reach hooks, which run as root on the host, and many programs
/// load code that a variable names.
pub(super) fn environment(_: &str, value: &str) -> bool {
    let name = value.split('=').next().unwrap_or_default();
    name.is_empty()
        || matches!(name, "LANG" | "LANGUAGE" | "TZ" | "TERM")
        || name.starts_with("LC_")
        || matches!(
            name.to_ascii_lowercase().as_str(),
            "http_proxy" | "https_proxy" | "ftp_proxy" | "no_proxy"
        )
}

/// No map makes a container privileged, and the ids of the host's own users
/// and services lie below those that are delegated.
pub(super) fn idmap(_: &str, value: &str) -> bool {
    const FIRST_DELEGATED: u32 = 100_000;
    IdMap::parse(value).is_ok_and(|map| map.host >= FIRST_DELEGATED)
}

pub(super) fn mount_entry(_: &str, value: &str) -> bool {
    const KERNEL_FILE_SYSTEMS: [&str; 5] = ["tmpfs", "proc", "sysfs", "mqueue", "devpts"];
    let is_kernel_only = |entry: MountEntry| {
        let options = &entry.options;
        KERNEL_FILE_SYSTEMS.contains(&entry.fstype.as_str())
            && !options.flags.contains(MountFlags::BIND)
            && !options.flags.contains(MountFlags::REMOUNT)
            && options.propagation.is_none()
            && options.idmap.is_none()
            && !entry.target.starts_with('/')
            && !entry.target.split('/').any(|part| part == "..")
    };
    value.is_empty() || MountEntry::parse(value).is_ok_and(is_kernel_only)
}

pub(super) fn mount_auto(_: &str, value: &str) -> bool {
    let mut mounts = AutoMounts::default();
    if mounts.apply(value).is_err() {
        return false;
    }
    let proc = mounts.proc != Some(ProcMode::ReadWrite);
    let sys = mounts.sys != Some(SysMode::ReadWrite);
    let cgroup = mounts.cgroup.is_none_or(|mount| {
        mount.tree == CgroupTree::Own && mount.mode != CgroupMode::ReadWrite && !mount.force
    });
    proc && sys && cgroup && mounts.shared.is_none()
}

pub(super) fn rootfs_options(_: &str, value: &str) -> bool {
    MountOptions::parse(value).is_ok_and(|options| {
        options.data.is_empty()
            && options.propagation.is_none()
            && options
                .idmap
                .is_none_or(|idmap| idmap == MountIdmap::Container)
            && options.cleared.without(MountFlags::READ_ONLY).is_empty()
    })
}

/// Every controller's file but those of `devices`.
pub(super) fn cgroup_file(suffix: &str, _: &str) -> bool {
    const CONTROLLERS: [&str; 9] = [
        "memory", "cpu", "cpuset", "cpuacct", "pids", "io", "blkio", "hugetlb", "rdma",
    ];
    suffix
        .split('.')
        .next()
        .is_some_and(|controller| CONTROLLERS.contains(&controller))
}

/// Taking capabilities away is harmless, giving them back is not.
pub(super) fn only_adding(_: &str, value: &str) -> bool {
    !value.is_empty()
}

pub(super) fn only_one(_: &str, value: &str) -> bool {
    value == "1"
}

pub(super) fn only_none(_: &str, value: &str) -> bool {
    value == "none"
}

/// Settings that the kernel keeps per namespace; the others are the host's.
pub(super) fn sysctl(suffix: &str, _: &str) -> bool {
    const OWN: [&str; 5] = [
        "net.",
        "kernel.shm",
        "kernel.msg",
        "kernel.sem",
        "fs.mqueue.",
    ];
    OWN.iter().any(|prefix| suffix.starts_with(prefix))
}

pub(super) fn proc(suffix: &str, _: &str) -> bool {
    suffix == "oom_score_adj"
}

/// `phys` takes an interface away from the host and `none` shares the host's
/// network.
pub(super) fn network_type(_: &str, value: &str) -> bool {
    !words(value).any(|word| matches!(word, "none" | "phys"))
}

/// Router mode makes the host route whatever address the container claims.
pub(super) fn not_router(_: &str, value: &str) -> bool {
    value != "router"
}

pub(super) fn only_zero(_: &str, value: &str) -> bool {
    value.is_empty() || value == "0"
}
