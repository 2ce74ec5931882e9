//! The folder of the system's containers, and the file system under it.

use super::kernel::Kernel;
use super::{Report, Verdict, install, topic};
use crate::linux::{mounts, space, tool};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Since which version of Linux mounts of a file system can be id-mapped
/// (mount_setattr(2)).
const ID_MAPPED: [(&str, (u32, u32)); 8] = [
    ("ext4", (5, 12)),
    ("xfs", (5, 12)),
    ("btrfs", (5, 15)),
    ("f2fs", (5, 18)),
    ("overlay", (5, 19)),
    ("erofs", (5, 19)),
    ("tmpfs", (6, 3)),
    ("ceph", (6, 7)),
];

pub(super) fn check(report: &mut Report, kernel: &Kernel, lxc_path: &Path) {
    let mut add = |item: &str, verdict| report.add(topic::STORAGE, item, verdict);
    add(&lxc_path.display().to_string(), room(lxc_path));
    add("permissions", permissions(lxc_path));
    add("mount options", mount_options(lxc_path));
    let kind = mounts::file_system(lxc_path).unwrap_or_default();
    add("file system", file_system(&kind, lxc_path));
    add("id-mapped mounts", id_mapped(kernel, &kind));
    report.add(topic::EXTRAS, "reflinks", reflinks(&kind, lxc_path));
    report.add(topic::EXTRAS, "zfs", zfs());
}

fn room(lxc_path: &Path) -> Verdict {
    let place = lxc_path.display();
    match space::free(lxc_path) {
        Ok(space) if space.read_only => Err(format!(
            "It is mounted read-only, so that nothing about containers can be changed. Run “mount -o remount,rw --target {place}”."
        )),
        Ok(space) if space.inodes == Some(0) => {
            Err("No file can be created there any more. Remove files that nobody needs.".to_owned())
        }
        Ok(space) if space.is_exhausted() => Err(format!(
            "Only {} MiB are free, which is not enough for a container. Free some space there.",
            space.bytes >> 20
        )),
        Ok(space) => Ok(format!(
            "{} of {} MiB are free.",
            space.bytes >> 20,
            space.total >> 20
        )),
        Err(error) => Err(format!("It cannot be looked at: {error}. Create it.")),
    }
}

/// Root of an id-mapped container is a nobody on its way to its files.
fn permissions(lxc_path: &Path) -> Verdict {
    let closed: Vec<String> = lxc_path
        .ancestors()
        .filter(|path| {
            std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 == 0)
        })
        .map(|path| path.display().to_string())
        .collect();
    if closed.is_empty() {
        return Ok("Containers with own user ids reach their files.".to_owned());
    }
    let closed = closed.join(" ");
    Err(format!(
        "Containers with own user ids cannot pass through {closed} to their files. Run “chmod o+x {closed}”."
    ))
}

fn mount_options(lxc_path: &Path) -> Verdict {
    let flags = rustix::fs::statvfs(lxc_path).map(|found| found.f_flag);
    let flags = flags.unwrap_or(StatVfsMountFlags::empty());
    let harmful: Vec<&str> = [
        (StatVfsMountFlags::NOEXEC, "noexec"),
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOSUID, "nosuid"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect();
    if harmful.is_empty() {
        return Ok("Programs, devices and set-user-id files work there.".to_owned());
    }
    let opposite: Vec<&str> = harmful
        .iter()
        .map(|option| option.trim_start_matches("no"))
        .collect();
    Err(format!(
        "The folder is on a mount with {}: programs in containers do not work as they should. Run “mount -o remount,{} --target {}”, and change it in /etc/fstab.",
        harmful.join(" and "),
        opposite.join(","),
        lxc_path.display()
    ))
}

fn file_system(kind: &str, lxc_path: &Path) -> Verdict {
    match kind {
        "" => Err(format!(
            "The file system of {} cannot be told. Look at “findmnt --target {0}”.",
            lxc_path.display()
        )),
        "nfs" | "nfs4" | "cifs" | "smb3" | "vfat" | "exfat" | "ntfs3" | "fuseblk" | "9p" => {
            Err(format!(
                "It is {kind}, which does not keep owners and devices as containers need them. Move {} to ext4, xfs or btrfs.",
                lxc_path.display()
            ))
        }
        kind => Ok(format!("It is {kind}.")),
    }
}

fn id_mapped(kernel: &Kernel, kind: &str) -> Verdict {
    match ID_MAPPED.iter().find(|(name, _)| *name == kind) {
        Some((_, since)) if kernel.is(*since) => Ok(format!("{kind} can be mapped.")),
        Some((_, (major, minor))) => Err(format!(
            "Mounts of {kind} cannot be id-mapped by Linux {}. Boot Linux {major}.{minor} or newer.",
            kernel.release
        )),
        // ZFS since 2.2, and whatever comes: the mount itself will tell.
        None => Ok(format!(
            "Whether {kind} can be mapped shows at the first such mount."
        )),
    }
}

/// Tried out with two files without names (ioctl_ficlone(2), open(2)).
fn reflinks(kind: &str, lxc_path: &Path) -> Verdict {
    let temporary = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::open(lxc_path, flags, Mode::from_raw_mode(0o600))
    };
    let tried = temporary().and_then(|from| rustix::fs::ioctl_ficlone(temporary()?, from));
    match tried {
        Ok(()) => Ok("Copies share their blocks until they are changed.".to_owned()),
        Err(error) => Err(format!(
            "Copies of containers take the time and space of all their files: {kind} does not share blocks here ({error}). Move {} to btrfs or xfs if that matters.",
            lxc_path.display()
        )),
    }
}

/// Not a part of Linux: its module comes from a package of its own.
fn zfs() -> Verdict {
    match (Path::new("/dev/zfs").exists(), tool::find("zfs")) {
        (true, Some(path)) => Ok(format!("{}.", path.display())),
        _ => Err(format!(
            "Missing: containers cannot be kept in ZFS datasets. {}",
            install("zfs-dkms zfsutils-linux")
        )),
    }
}
