//! Free space of file systems (statvfs(3)).

use rustix::fs::StatVfsMountFlags;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

/// The bytes that a tree or file takes on its disk; a file of several names once.
pub(crate) fn occupied(path: &Path) -> u64 {
    // What cannot be looked at is not counted.
    let Ok(top) = path.symlink_metadata() else {
        return 0;
    };
    let mut bytes = top.blocks() * 512;
    let mut seen = HashSet::new();
    // Directories alone: of files there may be a million in one.
    let mut waiting: Vec<PathBuf> = top
        .is_dir()
        .then(|| path.to_path_buf())
        .into_iter()
        .collect();
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries {
            let Ok(status) = entry.metadata() else {
                continue;
            };
            if status.is_dir() {
                waiting.push(entry.path());
            } else if status.nlink() > 1 && !seen.insert(status.ino()) {
                continue;
            }
            bytes += status.blocks() * 512;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_names_takes_its_space_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, vec![1; 1 << 16]).unwrap();
        let alone = occupied(folder.path());
        assert!(alone >= 1 << 16);
        std::fs::hard_link(&file, folder.path().join("other")).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        assert!(occupied(folder.path()) < alone + (1 << 16));
    }
}
