//! The worker that copies: this program started anew, which binds its life to the
//! helper's before it begins, so that nothing goes on writing where the next helper
//! cleans up.

use super::{files, replica, tree, tree_copy};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

/// The first argument that makes this program a copier.
pub(crate) const COPIER: &str = "copy-worker";

/// What begins the path of a mount that the helper has opened: nothing is mounted in it.
const OPENED: &str = "/proc/self/fd/";

/// Runs the worker if the arguments say so: `copy-worker HELPER-PID FROM TO`. A directory
/// is copied into one that is there, anything else to where nothing is.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next()? != COPIER {
        return None;
    }
    let (helper, from, to) = (args.next()?, args.next()?, args.next()?);
    let Err(error) = copy(&helper, &from, &to) else {
        return Some(ExitCode::SUCCESS);
    };
    // Standard error is read by the helper.
    writeln!(io::stderr(), "{error}").unwrap_or_default();
    Some(ExitCode::FAILURE)
}

fn copy(helper: &str, from: &str, to: &str) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // A helper that had ended before cannot be followed.
    if helper.parse().map(Pid::from_raw) != Ok(getppid()) {
        return Err(io::Error::other("the helper is gone"));
    }
    // Modes are those of what is copied.
    umask(Mode::empty());
    let (from, to) = (Path::new(from), Path::new(to));
    if from.symlink_metadata()?.is_dir() {
        open_many()?;
        return tree_copy::copy(source(from)?, target(to)?);
    }
    let (here, there) = (above(from), above(to));
    let here = rustix::fs::open(here, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let there = files::open_directory(there)?;
    let (file, status) = tree::open_file(&here, from.file_name().unwrap_or_default())?;
    let copy = replica::create(&there, to.file_name().unwrap_or_default(), &status)?;
    replica::content(&file, &status, &copy, &|_| Ok(()))?;
    replica::dress(&copy, &status, &tree::attributes_of(&file)?)
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// As many directories may be open as the system allows.
fn open_many() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?)
}

/// A directory without what is mounted in it, which is no part of it. Nothing in it can
/// be changed by that, and no device be opened.
fn source(path: &Path) -> io::Result<OwnedFd> {
    if path.starts_with(OPENED) {
        return target(path);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let mount = open_tree(CWD, path, flags)?;
    restrict(&mount)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&mount, ".", flags, Mode::empty())?)
}

fn target(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // That of a mount is a link of the kernel's own, with a dot behind it.
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Makes a mount one by which nothing can be changed, executed or used as a device.
fn restrict(mount: &OwnedFd) -> io::Result<()> {
    /// The fields of `struct mount_attr`, see mount_setattr(2).
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let attributes = Attributes {
        set: attributes.bits().into(),
        clear: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string and the structure is what the kernel expects,
    // of the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attributes),
            size_of::<Attributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
