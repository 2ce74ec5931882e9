//! The mounts of `lxc.mount.auto`: /proc, /sys and cgroups.

use super::mounts::{copy_tree, filesystem};
use super::root::{Root, attach};
use crate::cgroup::{Hierarchy, Version};
use crate::failure::{At, Step};
use crate::log;
use crate::sys::{MountAttributes, mount_setattr};
use gantry_core::caps::Capability;
use gantry_core::settings::{Capabilities, Settings};
use gantry_core::values::mount::{CgroupMode, CgroupMount, CgroupTree, ProcMode, SysMode};
use rustix::fs::{CWD, OFlags};
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

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
        mount_proc(root, mode).at(STEP, || "cannot mount /proc".to_owned())?;
    }
    if let Some(mode) = settings.auto_mounts.sys {
        mount_sys(root, mode).at(STEP, || "cannot mount /sys".to_owned())?;
    }
    Ok(())
}

/// The targets must be real directories: `make_directory` follows no link.
fn mount_proc(root: &Root, mode: ProcMode) -> io::Result<()> {
    let target = root.make_directory("proc")?;
    attach(filesystem("proc", "proc", &[], confined())?, target)?;
    if mode == ProcMode::ReadWrite {
        return Ok(());
    }
    // The copy is taken first, so that it stays writable above the other.
    let net = copy_tree(root.handle("proc/sys/net")?, "", false)?;
    cover_read_only(root, "proc/sys")?;
    attach(net, root.handle("proc/sys/net")?)?;
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
                let attributes = MountAttributes {
                    set: READ_ONLY,
                    ..MountAttributes::default()
                };
                mount_setattr(&tree, true, &attributes)?;
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
fn cover_read_only(root: &Root, path: &str) -> io::Result<()> {
    let place = match root.handle(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        place => place?,
    };
    let tree = copy_tree(&place, "", true)?;
    let read_only = MountAttributes {
        set: READ_ONLY,
        ..MountAttributes::default()
    };
    mount_setattr(&tree, true, &read_only)?;
    attach(tree, place)
}

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
    let keeps_admin = match settings.capabilities {
        Capabilities::Drop(dropped) => !dropped.contains(Capability::SYS_ADMIN),
        Capabilities::Keep(kept) => kept.contains(Capability::SYS_ADMIN),
    };
    let unified_only = hierarchies
        .iter()
        .all(|hierarchy| hierarchy.version == Version::V2);
    let always = wanted.tree == CgroupTree::Unified || unified_only || wanted.force;
    // With its capability init mounts them as it likes.
    if hierarchies.is_empty() || (keeps_admin && !always) {
        return Ok(());
    }
    if wanted.tree == CgroupTree::Full {
        log::warn(
            "lxc.mount.auto: cgroup-full shows the container's own groups only, as it has a cgroup namespace",
        );
    }
    let only_v2 = unified_only || wanted.tree == CgroupTree::Unified;
    mount_cgroup_tree(root, wanted, hierarchies, only_v2)
        .at(STEP, || "cannot mount the cgroups".to_owned())
}

fn mount_cgroup_tree(
    root: &Root,
    wanted: CgroupMount,
    hierarchies: &[Hierarchy],
    only_v2: bool,
) -> io::Result<()> {
    let mut attributes = confined();
    if wanted.mode == CgroupMode::ReadOnly {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let base = Path::new("sys/fs/cgroup");
    let target = root.handle(base)?;
    if only_v2 {
        return attach(filesystem("cgroup2", "cgroup2", &[], attributes)?, target);
    }
    attach(
        filesystem(
            "tmpfs",
            "tmpfs",
            &[("mode", Some("755")), ("size", Some("10240k"))],
            confined(),
        )?,
        target,
    )?;
    for hierarchy in hierarchies {
        let (name, tree) = match hierarchy.version {
            Version::V2 => (
                "unified".to_owned(),
                filesystem("cgroup2", "cgroup2", &[], attributes)?,
            ),
            Version::V1 => {
                let named = |c: &String| c.strip_prefix("name=").map(str::to_owned);
                let name = hierarchy
                    .controllers
                    .iter()
                    .map(|c| named(c).unwrap_or_else(|| c.clone()));
                (
                    name.collect::<Vec<_>>().join(","),
                    version_1(hierarchy, attributes)?,
                )
            }
        };
        attach(tree, root.make_directory(base.join(&name))?)?;
        for single in name.split(',').filter(|single| *single != name) {
            let directory = root.open(base, OFlags::PATH | OFlags::DIRECTORY)?;
            rustix::fs::symlinkat(name.as_str(), directory, single)?;
        }
    }
    Ok(())
}

fn version_1(hierarchy: &Hierarchy, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let mut options: Vec<(&str, Option<&str>)> = Vec::new();
    for controller in &hierarchy.controllers {
        match controller.strip_prefix("name=") {
            Some(name) => options.extend([("none", None), ("name", Some(name))]),
            None => options.push((controller, None)),
        }
    }
    filesystem("cgroup", "cgroup", &options, attributes)
}
