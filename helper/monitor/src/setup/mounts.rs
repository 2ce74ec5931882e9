//! `lxc.mount.fstab` and `lxc.mount.entry`.

use super::root::{Root, attach};
use super::store::{names, open_layer};
use crate::failure::{At, Step, failed};
use crate::log;
use crate::sys::{MountAttributes, mount_setattr};
use gantry_core::monitor::FailureKind;
use gantry_core::values::mount::{
    CreateTarget, MountEntry, MountFlags, MountOptions, Propagation, PropagationKind,
};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    fspick, open_tree,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const STEP: &str = "mounting";

/// A mount of the config, and its source if the monitor has prepared it.
pub(crate) struct Mount {
    pub(crate) entry: MountEntry,
    pub(crate) prepared: Option<OwnedFd>,
}

/// Makes a file system that is not attached anywhere yet.
pub(crate) fn filesystem(
    kind: &str,
    source: &str,
    data: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !source.is_empty() {
        fsconfig_set_string(context.as_fd(), "source", source)?;
    }
    for (key, value) in data {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// A detached copy of what is at `path`, with the mounts below it if
/// `recursive`.
pub(crate) fn copy_tree(
    directory: impl AsFd,
    path: impl AsRef<Path>,
    recursive: bool,
) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.as_ref().as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    Ok(open_tree(directory, path.as_ref(), flags)?)
}

/// Makes every mount of the config, in order. `rootfs` are the paths under
/// which absolute targets may name the root, `directory` is the container's.
pub(crate) fn make(
    root: &Root,
    mounts: &[Mount],
    rootfs: &[PathBuf],
    directory: &Path,
) -> Step<()> {
    for mount in mounts {
        let Some(target) = target_below(&mount.entry.target, rootfs) else {
            log::warn(format!(
                "the mount onto {} is left out: it is not below the container's root",
                mount.entry.target
            ));
            continue;
        };
        let made =
            make_layers(&mount.entry, directory).and_then(|()| make_one(root, mount, &target));
        match made {
            Err(error) if mount.entry.options.optional => {
                log::info(format!(
                    "the optional mount onto /{} is left out: {error}",
                    target.display()
                ));
            }
            result => result.at(STEP, || {
                let entry = &mount.entry;
                format!("cannot mount {} onto /{}", entry.source, target.display())
            })?,
        }
    }
    Ok(())
}

/// Makes those of an overlay's directories that the container writes to, where they
/// are missing in its own directory.
fn make_layers(entry: &MountEntry, directory: &Path) -> io::Result<()> {
    if entry.fstype != "overlay" || entry.options.is_bind() {
        return Ok(());
    }
    let keys = ["upperdir=", "workdir="];
    let options = entry.options.data.split(',');
    let paths = options.filter_map(|item| keys.iter().find_map(|key| item.strip_prefix(key)));
    for path in paths {
        // What is in the container's root is the container's: no link leads out of it.
        if let Ok(below) = Path::new(path).strip_prefix(directory) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Root::new(open(directory, flags, Mode::empty())?).make_directory(below)?;
        }
    }
    Ok(())
}

/// The target relative to the container's root. An absolute one counts only
/// if it contains the root's path on the host.
fn target_below(target: &str, rootfs: &[PathBuf]) -> Option<PathBuf> {
    if !target.starts_with('/') {
        return Some(PathBuf::from(target));
    }
    let below = |root: &PathBuf| {
        Path::new(target)
            .strip_prefix(root)
            .ok()
            .map(Path::to_path_buf)
    };
    rootfs.iter().find_map(below)
}

fn make_one(root: &Root, mount: &Mount, target: &Path) -> io::Result<()> {
    let entry = &mount.entry;
    let options = &entry.options;
    let place = match options.create {
        Some(CreateTarget::Directory) => root.make_directory(target)?,
        Some(CreateTarget::File) => root.make_file(target)?,
        None => root.handle(target)?,
    };
    if options.flags.contains(MountFlags::REMOUNT) && !options.is_bind() {
        return remount(&place, options);
    }
    let tree = match &mount.prepared {
        Some(prepared) => prepared.try_clone()?,
        None if options.is_bind() => source(root, entry)?,
        None if entry.fstype == "overlay" => overlay(entry)?,
        None => filesystem_with(&entry.fstype, &entry.source, &[], options)?,
    };
    if options.is_bind() {
        change_attributes(&tree, options)?;
    }
    attach(&tree, &place)?;
    match options.propagation {
        Some(propagation) => propagate(&tree, propagation),
        None => Ok(()),
    }
}

/// An overlay whose directories are named in its options, however long the names are.
fn overlay(entry: &MountEntry) -> io::Result<OwnedFd> {
    const LONGEST: usize = 255;
    let mut open = Vec::new();
    let mut items = Vec::new();
    for item in entry.options.data.split(',') {
        items.push(match item.split_once('=') {
            Some((key @ ("lowerdir" | "upperdir" | "workdir"), value)) if value.len() > LONGEST => {
                let layers: Vec<OwnedFd> = value
                    .split(':')
                    .map(open_layer)
                    .collect::<io::Result<_>>()?;
                let short = format!("{key}={}", names(&layers).join(":"));
                open.extend(layers);
                short
            }
            _ => item.to_owned(),
        });
    }
    let mut options = entry.options.clone();
    options.data = items.join(",");
    let made = filesystem_with(&entry.fstype, &entry.source, &[], &options);
    drop(open);
    made
}

/// What a bind mount shows.
fn source(root: &Root, entry: &MountEntry) -> io::Result<OwnedFd> {
    let recursive = entry.options.flags.contains(MountFlags::RECURSIVE);
    if entry.options.relative {
        let source = root.handle(entry.source.trim_start_matches('/'))?;
        return copy_tree(source, "", recursive);
    }
    // A relative source begins at `/`, where a monitor's working directory is.
    copy_tree(CWD, Path::new("/").join(&entry.source), recursive)
}

/// [`filesystem`] with the options of a mount beside what makes it.
pub(super) fn filesystem_with(
    kind: &str,
    source: &str,
    data: &[(&str, Option<&str>)],
    options: &MountOptions,
) -> io::Result<OwnedFd> {
    let given = options.data.split(',').filter(|item| !item.is_empty());
    let mut data: Vec<(&str, Option<&str>)> = data
        .iter()
        .copied()
        .chain(given.map(|item| {
            item.split_once('=')
                .map_or((item, None), |(key, value)| (key, Some(value)))
        }))
        .collect();
    for (flag, name) in [
        (MountFlags::READ_ONLY, "ro"),
        (MountFlags::SYNCHRONOUS, "sync"),
        (MountFlags::DIR_SYNC, "dirsync"),
        (MountFlags::LAZY_TIME, "lazytime"),
    ] {
        if options.flags.contains(flag) {
            data.push((name, None));
        }
    }
    let attributes = MountAttrFlags::from_bits_retain(attribute_bits(options.flags) as u32);
    filesystem(kind, source, &data, attributes)
}

fn remount(place: &OwnedFd, options: &MountOptions) -> io::Result<()> {
    if !options.data.is_empty() {
        let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
        let context = fspick(place.as_fd(), "", flags)?;
        for item in options.data.split(',') {
            match item.split_once('=') {
                Some((key, value)) => fsconfig_set_string(context.as_fd(), key, value)?,
                None => fsconfig_set_flag(context.as_fd(), item)?,
            }
        }
        fsconfig_reconfigure(context.as_fd())?;
    }
    change_attributes(place, options)
}

/// Sets what an entry asks for on a bind mount. What it does not mention
/// stays as at the source, whose flags may be locked.
pub(crate) fn change_attributes(tree: &OwnedFd, options: &MountOptions) -> io::Result<()> {
    let times = MountFlags::NO_ATIME | MountFlags::RELATIME | MountFlags::STRICT_ATIME;
    let mut attributes = MountAttributes {
        set: attribute_bits(options.flags),
        clear: attribute_bits(options.cleared),
        ..MountAttributes::default()
    };
    if options.flags.bits() & times.bits() != 0 {
        attributes.clear |= u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
    }
    if attributes.set == 0 && attributes.clear == 0 {
        return Ok(());
    }
    mount_setattr(tree, false, &attributes)
}

/// The MOUNT_ATTR_* bits of mount(2)'s flags.
fn attribute_bits(flags: MountFlags) -> u64 {
    let pairs = [
        (MountFlags::READ_ONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NO_SUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NO_DEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MountFlags::NO_EXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MountFlags::NO_ATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
        (
            MountFlags::STRICT_ATIME,
            MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        ),
        (
            MountFlags::NO_DIR_ATIME,
            MountAttrFlags::MOUNT_ATTR_NODIRATIME,
        ),
    ];
    pairs
        .into_iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .fold(0, |bits, (_, attr)| bits | u64::from(attr.bits()))
}

fn propagate(tree: &OwnedFd, propagation: Propagation) -> io::Result<()> {
    let flags = match propagation.kind {
        PropagationKind::Private => MountPropagationFlags::PRIVATE,
        PropagationKind::Shared => MountPropagationFlags::SHARED,
        PropagationKind::Slave => MountPropagationFlags::DOWNSTREAM,
        PropagationKind::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    mount_setattr(
        tree,
        propagation.recursive,
        &MountAttributes::propagate(flags),
    )
}

/// Prepares, in the monitor, what only root of the host may: a copy of an
/// entry's source whose ids are mapped by a user namespace.
pub(crate) fn prepare_idmapped(entry: &MountEntry, namespace: &OwnedFd) -> Step<OwnedFd> {
    if !entry.options.is_bind() || entry.options.relative {
        let message = format!(
            "The mount onto {} has 'idmap', which is for bind mounts of the host.",
            entry.target
        );
        return failed(FailureKind::InvalidConfig, STEP, message);
    }
    let recursive = entry.options.flags.contains(MountFlags::RECURSIVE);
    copy_tree(CWD, Path::new("/").join(&entry.source), recursive)
        .and_then(|tree| map_ids(&tree, recursive, namespace).map(|()| tree))
        .at(STEP, || format!("cannot map the ids of {}", entry.source))
}

/// Makes a detached mount show ids as a user namespace maps them.
pub(crate) fn map_ids(tree: &OwnedFd, recursive: bool, namespace: &OwnedFd) -> io::Result<()> {
    let attributes = MountAttributes {
        set: MountAttributes::IDMAP,
        userns_fd: namespace.as_raw_fd() as u64,
        ..MountAttributes::default()
    };
    mount_setattr(tree, recursive, &attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_targets_must_contain_the_root() {
        let roots = [PathBuf::from("/var/lib/lxc/c1/rootfs")];
        assert_eq!(target_below("mnt/x", &roots), Some(PathBuf::from("mnt/x")));
        assert_eq!(
            target_below("/var/lib/lxc/c1/rootfs/mnt", &roots),
            Some(PathBuf::from("mnt"))
        );
        assert_eq!(target_below("/mnt", &roots), None);
        assert_eq!(target_below("/var/lib/lxc/c1/rootfs2/mnt", &roots), None);
    }

    #[test]
    fn flags_become_attributes() {
        let options = MountOptions::parse("bind,ro,nosuid,noexec").unwrap();
        assert_eq!(attribute_bits(options.flags), 0x1 | 0x2 | 0x8);
        assert_eq!(
            attribute_bits(MountOptions::parse("rw").unwrap().cleared),
            0x1
        );
    }
}
