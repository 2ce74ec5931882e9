//! Ephemeral containers, which end with their monitor.

use super::forget;
use crate::failure::{At, Step};
use gantry_core::layout::{ContainerLayout, REMOVING};
use gantry_core::settings::Settings;
use gantry_core::values::rootfs::RootfsKind;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, PathBuf};

/// What has more directories in one another is left to the helper, which needs neither a
/// descriptor nor a piece of the stack for each.
const LEVELS: usize = 64;
const STEP: &str = "removing the ephemeral container";

/// Marks the container as one that has been started. The lock lasts as long as
/// the descriptor, so that whoever finds the mark without it knows that the
/// monitor was killed, and has the container to remove.
pub(super) fn mark(layout: &ContainerLayout) -> Step<OwnedFd> {
    let path = layout.mark_of_life();
    let what = || format!("cannot mark {} as ephemeral", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mark = open(&path, flags, Mode::from_raw_mode(0o600)).at(STEP, what)?;
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&mark, FcntlArg::F_OFD_SETLK(&whole)).at(STEP, what)?;
    Ok(mark)
}

/// Whether the container can be removed here and now: all of it lies in its
/// directory, and nothing needs it. The rest is the helper's, which finds the mark
/// without its lock: it knows volumes, and lets nothing go that others need.
pub(super) fn is_simple(layout: &ContainerLayout, settings: &Settings) -> io::Result<bool> {
    let is_needed = !forget::read(&layout.dependents())?.is_empty();
    let has_snapshots = match std::fs::read_dir(layout.snapshots()) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let is_inside = settings.rootfs.as_ref().is_none_or(|rootfs| {
        let path = match rootfs.path.overlay() {
            Some(layers) if rootfs.path.kind == RootfsKind::Overlay => layers.upper,
            _ => PathBuf::from(&rootfs.path.path),
        };
        let mut parts = path.components();
        let is_file = !matches!(rootfs.path.kind, RootfsKind::Zfs | RootfsKind::Lvm);
        is_file
            && path.starts_with(layout.directory())
            && !parts.any(|part| part == Component::ParentDir)
    });
    Ok(!is_needed && !has_snapshots && is_inside)
}

/// Removes the container's directory: out of sight in one step, then from the
/// disk, by the next helper if not by us. Only what lies below the LXC path
/// goes, and no symbolic link is followed.
pub(super) fn remove(layout: &ContainerLayout) -> Step<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let what = || format!("cannot remove {}", layout.directory().display());
    let parent = open(layout.lxc_path(), flags, Mode::empty()).at(STEP, what)?;
    let hidden = format!("{REMOVING}{}", std::process::id());
    let needed = forget::read(&layout.origins()).at(STEP, what)?;
    let hidden = std::ffi::CString::new(hidden).at(STEP, what)?;
    renameat(&parent, layout.name().as_str(), &parent, &hidden).at(STEP, what)?;
    forget::forget(layout, &needed).at(STEP, || "cannot change lists of dependents".to_owned())?;
    remove_tree(&parent, &hidden, LEVELS).at(STEP, what)
}

/// Removes a file, or a directory with all in it, but nothing of another file
/// system that is mounted below, down to so many levels.
fn remove_tree(parent: &impl AsFd, name: &CStr, levels: usize) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return Ok(result?),
    }
    let levels = levels.checked_sub(1).ok_or_else(|| {
        io::Error::other(
            "it has too many directories in one another; the helper removes them when it starts",
        )
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        match (entry.file_name(), entry.file_type()) {
            (name, _) if name == c"." || name == c".." => {}
            (name, FileType::Directory | FileType::Unknown) => {
                remove_tree(&directory, name, levels)?;
            }
            (name, _) => unlinkat(&directory, name, AtFlags::empty())?,
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_removed_without_following_links() {
        let base = std::env::temp_dir().join(format!("gantry-remove-{}", std::process::id()));
        let outside = base.join("outside");
        let tree = base.join("lxc/c1/rootfs/deep");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        std::fs::write(tree.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        let parent = open(
            base.join("lxc"),
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        remove_tree(&parent, c"c1", LEVELS).unwrap();
        assert!(!base.join("lxc/c1").exists());
        let deep: PathBuf = std::iter::repeat_n("d", LEVELS + 1).collect();
        std::fs::create_dir_all(base.join("lxc/c2").join(deep)).unwrap();
        assert!(remove_tree(&parent, c"c2", LEVELS).is_err());
        assert!(outside.join("kept").exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
