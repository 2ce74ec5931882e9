//! Where root file systems are stored.

pub(crate) mod dir;

use rustix::fs::{FsWord, StatVfsMountFlags};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The store of a root file system whose path names none, as LXC finds it out.
pub(crate) fn detect(path: &str) -> &'static str {
    /// The inode of a btrfs subvolume's top.
    const SUBVOLUME: u64 = 256;
    const BTRFS: FsWord = 0x9123_683e;
    const ZFS: FsWord = 0x2fc1_2fc1;
    let path = Path::new(path);
    let Ok(metadata) = std::fs::metadata(path) else {
        return "dir";
    };
    if metadata.is_file() {
        return "loop";
    }
    if !metadata.is_dir() {
        return "lvm";
    }
    match rustix::fs::statfs(path).map(|stat| stat.f_type) {
        Ok(BTRFS) if metadata.ino() == SUBVOLUME => "btrfs",
        Ok(ZFS) => "zfs",
        _ => "dir",
    }
}

/// Bytes and inodes that are free for others than root, and bytes in all; of
/// the file system that holds `path`. Some file systems count no inodes: none.
pub(crate) fn free_space(path: &Path) -> std::io::Result<FreeSpace> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(FreeSpace {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// See [`free_space`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreeSpace {
    /// Free bytes.
    pub(crate) bytes: u64,
    /// Bytes in all.
    pub(crate) total: u64,
    /// Free inodes.
    pub(crate) inodes: Option<u64>,
    /// Whether nothing can be written at all.
    pub(crate) read_only: bool,
}

impl FreeSpace {
    /// Bytes that filling a container must leave free: a twentieth, but no
    /// more than 64 MiB.
    pub(crate) fn reserve(&self) -> u64 {
        (self.total / 20).min(64 << 20)
    }

    /// Whether filling must stop here.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.bytes < self.reserve() || self.inodes == Some(0)
    }
}
