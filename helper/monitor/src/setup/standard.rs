//! The mounts of `lxc.mount.auto`: /proc, /sys and cgroups.

use super::mounts::{copy_tree, filesystem};
use super::root::{Root, attach};
use crate::cgroup::{Hierarchy, Version};
use crate::failure::{At, Step};
use crate::log;
use crate::sys::{MountAttributes, mount_setattr};
use gantry_core::caps::Capability;
use gantry_core::settings::Settings;
use gantry_core::values::mount::{CgroupMode, CgroupMount, CgroupTree, ProcMode, SysMode};
use rustix::fs::{CWD, OFlags};
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const STEP: &str = "mounting the standard file systems";

const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;

/// What a file system of the kernel is mounted with.
fn confined() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// Mounts /proc and /sys.
pub(crate) fn mount_proc_and_sys(root: &Root, settings: &Settings) -> Step<()> {
    if let Some(mode) = settings.auto_mounts.proc {
        let may_network = settings.capabilities.leave(Capability::NET_ADMIN);
        mount_proc(root, mode, may_network).at(STEP, || "cannot mount /proc".to_owned())?;
    }
    if let Some(mode) = settings.auto_mounts.sys {
        mount_sys(root, mode).at(STEP, || "cannot mount /sys".to_owned())?;
    }
    Ok(())
}

/// The targets must be real directories: `make_directory` follows no link.
fn mount_proc(root: &Root, mode: ProcMode, may_network: bool) -> io::Result<()> {
    let target = root.make_directory("proc")?;
    attach(filesystem("proc", "proc", &[], confined())?, target)?;
    if mode == ProcMode::ReadWrite {
        return Ok(());
    }
    // The copy is taken first, so that it stays writable above the other.
    let net = match may_network {
        true => Some(copy_tree(root.handle("proc/sys/net")?, "", false)?),
        false => None,
    };
    cover_read_only(root, "proc/sys")?;
    if let Some(net) = net {
        attach(net, root.handle("proc/sys/net")?)?;
    }
    cover_read_only(root, "proc/sysrq-trigger")
}

fn mount_sys(root: &Root, mode: SysMode) -> io::Result<()> {
    let target = root.make_directory("sys")?;
    let mut attributes = confined();
    if mode != SysMode::ReadWrite {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    match filesystem("sysfs", "sysfs", &[], attributes) {
        // Without a network namespace of its own a mapped container may not
        // mount it anew.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let tree = copy_tree(CWD, "/sys", true)?;
            if mode != SysMode::ReadWrite {
                mount_setattr(&tree, true, &read_only())?;
            }
            return attach(tree, target);
        }
        mounted => attach(mounted?, target)?,
    }
    if mode == SysMode::Mixed {
        let Ok(net) = root.handle("sys/devices/virtual/net") else {
            return Ok(());
        };
        let tree = copy_tree(&net, "", true)?;
        let writable = MountAttributes {
            clear: READ_ONLY,
            ..MountAttributes::default()
        };
        mount_setattr(&tree, true, &writable)?;
        attach(tree, net)?;
    }
    Ok(())
}

/// Covers what is at `path` with a read-only view of itself. What is missing
/// needs none.
fn cover_read_only(root: &Root, path: impl AsRef<Path>) -> io::Result<()> {
    let place = match root.handle(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        place => place?,
    };
    let tree = copy_tree(&place, "", true)?;
    mount_setattr(&tree, true, &read_only())?;
    attach(tree, place)
}

fn read_only() -> MountAttributes {
    MountAttributes {
        set: READ_ONLY,
        ..MountAttributes::default()
    }
}

/// Where they are mounted.
const GROUPS: &str = "sys/fs/cgroup";

/// Mounts cgroups. In a cgroup namespace the container sees only its own, so
/// the modes differ in what is writable.
pub(crate) fn mount_cgroups(
    root: &Root,
    settings: &Settings,
    hierarchies: &[Hierarchy],
) -> Step<()> {
    let Some(wanted) = settings.auto_mounts.cgroup else {
        return Ok(());
    };
    let only_v2 = is_unified(wanted, hierarchies);
    // With its capability init mounts them as it likes.
    let keeps_admin = settings.capabilities.leave(Capability::SYS_ADMIN);
    if hierarchies.is_empty() || (keeps_admin && !only_v2 && !wanted.force) {
        return Ok(());
    }
    if wanted.tree == CgroupTree::Full {
        log::warn(
            "lxc.mount.auto: cgroup-full shows the container's own groups only, as it has a cgroup namespace",
        );
    }
    let mut attributes = confined();
    if wanted.mode == CgroupMode::ReadOnly {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let mount = || -> io::Result<()> {
        if only_v2 {
            let tree = filesystem("cgroup2", "cgroup2", &[], attributes)?;
            return attach(tree, root.handle(GROUPS)?);
        }
        mount_base(root)?;
        for hierarchy in hierarchies {
            let place = make_place(root, hierarchy)?;
            attach(tree_of(hierarchy, attributes)?, root.handle(place)?)?;
        }
        Ok(())
    };
    mount().at(STEP, || "cannot mount the cgroups".to_owned())
}

/// The same where the container has no cgroup namespace: of the host's groups it sees its
/// own, `group`, and what is above that as empty directories, or with `cgroup-full` all.
pub(crate) fn mount_host_cgroups(
    root: &Root,
    settings: &Settings,
    hierarchies: &[Hierarchy],
    group: &str,
) -> Step<()> {
    let Some(wanted) = settings.auto_mounts.cgroup else {
        return Ok(());
    };
    if is_unified(wanted, hierarchies) {
        log::warn(
            "lxc.mount.auto: no cgroups of version 2 are mounted, as the container has no cgroup namespace of its own and would see the host's",
        );
        return Ok(());
    }
    let mode = match wanted.mode {
        CgroupMode::ByCapability if settings.capabilities.leave(Capability::SYS_ADMIN) => {
            CgroupMode::ReadWrite
        }
        CgroupMode::ByCapability => CgroupMode::Mixed,
        mode => mode,
    };
    let mount = || -> io::Result<()> {
        mount_base(root)?;
        for hierarchy in hierarchies {
            let place = make_place(root, hierarchy)?;
            let own = place.join(hierarchy.group(group).trim_start_matches('/'));
            if wanted.tree == CgroupTree::Full {
                let mut attributes = confined();
                if mode != CgroupMode::ReadWrite {
                    attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
                }
                attach(tree_of(hierarchy, attributes)?, root.handle(&place)?)?;
                if mode != CgroupMode::Mixed {
                    continue;
                }
            } else {
                root.make_directory(&own)?;
                if mode != CgroupMode::ReadWrite {
                    cover_read_only(root, &place)?;
                }
            }
            let tree = copy_tree(CWD, hierarchy.directory(group), false)?;
            if mode == CgroupMode::ReadOnly {
                mount_setattr(&tree, false, &read_only())?;
            }
            attach(tree, root.handle(own)?)?;
        }
        Ok(())
    };
    mount().at(STEP, || "cannot mount the cgroups".to_owned())
}

fn is_unified(wanted: CgroupMount, hierarchies: &[Hierarchy]) -> bool {
    let is_v2 = |hierarchy: &Hierarchy| hierarchy.version == Version::V2;
    wanted.tree == CgroupTree::Unified || hierarchies.iter().all(is_v2)
}

/// The directory in which hierarchies of version 1 are mounted.
fn mount_base(root: &Root) -> io::Result<()> {
    let options = [("mode", Some("755")), ("size", Some("10240k"))];
    let base = filesystem("tmpfs", "tmpfs", &options, confined())?;
    attach(base, root.handle(GROUPS)?)
}

/// The place of a hierarchy, which its controllers have as their names.
fn make_place(root: &Root, hierarchy: &Hierarchy) -> io::Result<PathBuf> {
    let named = |name: &String| name.strip_prefix("name=").unwrap_or(name).to_owned();
    let name = match hierarchy.version {
        Version::V2 => "unified".to_owned(),
        Version::V1 => {
            let names: Vec<String> = hierarchy.controllers.iter().map(named).collect();
            names.join(",")
        }
    };
    let place = Path::new(GROUPS).join(&name);
    root.make_directory(&place)?;
    for single in name.split(',').filter(|single| *single != name) {
        let directory = root.open(GROUPS, OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::fs::symlinkat(name.as_str(), directory, single)?;
    }
    Ok(place)
}

/// A mount of a hierarchy, as this process's cgroup namespace has it.
fn tree_of(hierarchy: &Hierarchy, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    if hierarchy.version == Version::V2 {
        return filesystem("cgroup2", "cgroup2", &[], attributes);
    }
    let mut options: Vec<(&str, Option<&str>)> = Vec::new();
    for controller in &hierarchy.controllers {
        match controller.strip_prefix("name=") {
            Some(name) => options.extend([("none", None), ("name", Some(name))]),
            None => options.push((controller, None)),
        }
    }
    filesystem("cgroup", "cgroup", &options, attributes)
}
