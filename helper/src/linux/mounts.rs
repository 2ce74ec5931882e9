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

/// Opens the root of a process in namespaces of its own, if what is mounted there comes from
/// one of `sources` (for overlayfs: has it as its upper layer).
///
/// # Errors
/// `PermissionDenied` where it is another directory: a process can make any its root, also
/// one of the host's that was lent to it. What a program of its owner's answers for (FUSE) is
/// not opened either: it could keep whoever looks waiting for ever.
pub(crate) fn root_from(pid: u32, sources: &[PathBuf]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    let status = rustix::fs::statx(
        &root,
        "",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
        StatxFlags::MNT_ID,
    )?;
    // A mount is listed where the process can reach its top: not below a directory in it.
    let mounts = proc::text(format!("/proc/{pid}/mountinfo"))?;
    let is_own = Mount::find(&mounts, status.stx_mnt_id).is_some_and(|mount| {
        !mount.kind.starts_with("fuse") && sources.iter().any(|source| mount.is_from(source))
    });
    if !is_own {
        let why = "its root is not its own file system any more";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&root, ".", flags, Mode::empty())?)
}

/// A line of proc_pid_mountinfo(5).
struct Mount<'a> {
    kind: &'a str,
    source: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn find(mounts: &'a str, id: u64) -> Option<Self> {
        let id = id.to_string();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').next() == Some(&id))?;
        let mut fields = line.split_once(" - ")?.1.split(' ');
        Some(Self {
            kind: fields.next()?,
            source: fields.next()?,
            options: fields.next()?,
        })
    }

    fn is_from(&self, source: &Path) -> bool {
        let is = |text: &str| unescape(text).is_ok_and(|text| Path::new(&text) == source);
        if self.kind != "overlay" {
            return is(self.source);
        }
        let mut options = self.options.split(',');
        let upper = options.find_map(|option| option.strip_prefix("upperdir="));
        // Mounted by its descriptor, as monitors do it, a layer has no name. Who mounts one
        // in a container has no more rights by it than before (overlayfs.rst).
        upper.is_some_and(|upper| is(upper) || upper.starts_with("/proc/self/fd/"))
    }
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
    }

    #[test]
    fn a_mount_is_known_by_what_it_comes_from() {
        let mounts = "40 1 7:3 / / rw - ext4 /dev/loop3 rw\n\
            41 1 0:40 / / rw shared:1 - overlay none rw,lowerdir=/a,upperdir=/b\\040c/delta,workdir=/w\n\
            42 1 0:41 / / rw - overlay overlay rw,lowerdir=/proc/self/fd/7,upperdir=/proc/self/fd/8\n\
            43 1 254:0 /srv /srv rw - ext4 /dev/vda rw\n\
            44 1 0:42 / / ro - overlay overlay ro,lowerdir=/dev/loop3\n";
        let comes = |id, source: &str| {
            Mount::find(mounts, id).is_some_and(|mount| mount.is_from(Path::new(source)))
        };
        assert!(comes(40, "/dev/loop3") && comes(41, "/b c/delta") && comes(42, "/b c/delta"));
        for other in [
            (40, "/dev/loop30"),
            (41, "/a"),
            (43, "/dev/loop3"),
            (44, "/dev/loop3"),
            (4, ""),
        ] {
            assert!(!comes(other.0, other.1), "{other:?}");
        }
    }
}
