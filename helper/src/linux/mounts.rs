//! What is mounted where.

use super::proc;
use gantry_core::values::mount::unescape;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Gives this thread, and what it starts from now on, mounts of its own: nobody else sees
/// what is mounted there, and what others unmount is gone from there, too.
pub(crate) fn have_own() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    Ok(mount(
        none,
        "/",
        none,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        none,
    )?)
}

/// The first thing that is mounted on `directory` or below it, as
/// /proc/self/mountinfo has it (proc_pid_mountinfo(5)).
pub(crate) fn mounted_below(directory: &Path) -> io::Result<Option<PathBuf>> {
    let directory = std::fs::canonicalize(directory)?;
    let mounts = proc::text("/proc/self/mountinfo")?;
    Ok(first_below(&mounts, &directory))
}

fn first_below(mounts: &str, directory: &Path) -> Option<PathBuf> {
    mounts
        .lines()
        .filter_map(|line| unescape(line.split(' ').nth(4)?).ok())
        .map(PathBuf::from)
        .find(|point| point.starts_with(directory))
}

/// The type of the file system that holds `path`, as the kernel names it.
pub(crate) fn file_system(path: &Path) -> io::Result<String> {
    let path = std::fs::canonicalize(path)?;
    let mounts = proc::text("/proc/self/mountinfo")?;
    Ok(type_at(&mounts, &path)
        .ok_or(io::ErrorKind::NotFound)?
        .to_owned())
}

/// Of two mounts on one point the later covers the earlier.
fn type_at<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let point = PathBuf::from(unescape(place.split(' ').nth(4)?).ok()?);
            let depth = point.components().count();
            path.starts_with(&point)
                .then_some((depth, kind.split(' ').next()?))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

/// Opens the root of a process in namespaces of its own. What a program of its owner's
/// answers for (FUSE) is not opened: it could keep whoever looks waiting for ever.
pub(crate) fn root_of(pid: u32) -> io::Result<OwnedFd> {
    open_root(pid, None)
}

/// As [`root_of`], if it is a file system on one of these devices: a process can make
/// another directory its root, also one of the host's that was lent to it.
pub(crate) fn root_on(pid: u32, devices: &[PathBuf]) -> io::Result<OwnedFd> {
    open_root(pid, Some(devices))
}

fn open_root(pid: u32, devices: Option<&[PathBuf]>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    let status = rustix::fs::statx(
        &root,
        "",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
        StatxFlags::MNT_ID,
    )?;
    let mounts = proc::text(format!("/proc/{pid}/mountinfo"))?;
    let (kind, source) =
        type_and_source(&mounts, status.stx_mnt_id).ok_or(io::ErrorKind::NotFound)?;
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if kind.starts_with("fuse") {
        return refused("its root is a file system of a program's");
    }
    if devices.is_some_and(|devices| !devices.iter().any(|device| device == Path::new(source))) {
        return refused("its root is not its own file system any more");
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&root, ".", flags, Mode::empty())?)
}

fn type_and_source(mounts: &str, id: u64) -> Option<(&str, &str)> {
    let id = id.to_string();
    let line = mounts
        .lines()
        .find(|line| line.split(' ').next() == Some(&id))?;
    let mut fields = line.split_once(" - ")?.1.split(' ');
    Some((fields.next()?, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_counts() {
        let mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 21 0:30 / /var/lib/lxc/web10 rw - tmpfs none rw\n\
            31 21 0:31 / /var/lib/lxc/web1/root\\040fs rw - tmpfs none rw\n";
        let below = |path: &str| first_below(mounts, Path::new(path));
        assert_eq!(
            below("/var/lib/lxc/web1"),
            Some("/var/lib/lxc/web1/root fs".into())
        );
        assert_eq!(
            below("/var/lib/lxc/web10"),
            Some("/var/lib/lxc/web10".into())
        );
        assert_eq!(below("/var/lib/lxc/web"), None);
    }

    #[test]
    fn the_last_mount_nearest_to_a_path_holds_it() {
        let mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 21 0:30 / /var/lib rw shared:1 - btrfs none rw\n\
            31 21 0:31 / /var/lib rw - xfs none rw\n\
            32 21 0:32 / /var/library rw - tmpfs none rw\n";
        let kind = |path: &str| type_at(mounts, Path::new(path));
        assert_eq!(kind("/var/lib/lxc"), Some("xfs"));
        assert_eq!(kind("/var"), Some("ext4"));
        assert_eq!(
            (type_and_source(mounts, 31), type_and_source(mounts, 3)),
            (Some(("xfs", "none")), None)
        );
    }
}
