//! Free space of file systems (statvfs(3)).

use rustix::fs::StatVfsMountFlags;
use std::path::Path;

/// Bytes and inodes that are free for others than root, and bytes in all; of
/// the file system that holds `path`. Some file systems count no inodes: none.
pub(crate) fn free(path: &Path) -> std::io::Result<FreeSpace> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(FreeSpace {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// See [`free`].
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
