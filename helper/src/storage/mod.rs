//! Where root file systems are stored.

pub(crate) mod dir;

use rustix::fs::FsWord;
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
