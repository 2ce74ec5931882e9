//! Ephemeral containers, which end with their monitor.

use super::forget;
use crate::failure::{At, Step};
use gantry_core::layout::{ContainerLayout, REMOVING};
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

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
    remove_tree(&parent, &hidden).at(STEP, what)
}

/// Removes a file, or a directory with all in it, but nothing of another file
/// system that is mounted below.
fn remove_tree(parent: &impl AsFd, name: &CStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return Ok(result?),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        match (entry.file_name(), entry.file_type()) {
            (name, _) if name == c"." || name == c".." => {}
            (name, FileType::Directory | FileType::Unknown) => remove_tree(&directory, name)?,
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
        remove_tree(&parent, c"c1").unwrap();
        assert!(!base.join("lxc/c1").exists());
        assert!(outside.join("kept").exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
