//! Where root file systems are stored: one file a backend, each called as the prefix
//! in `lxc.rootfs.path`.

mod btrfs;
pub(crate) mod dir;
mod loopback;
mod overlay;

use crate::error::{Error, Result};
use gantry_core::values::rootfs::{RootfsKind, RootfsPath};
use rustix::fs::FsWord;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What each backend can do with a root file system that it keeps. Only what is done
/// in a moment is done at once; what takes long is left to whoever asked.
pub(crate) trait Backend: Send + Sync {
    /// A copy that needs nothing of its source; which may be of another backend, if
    /// that keeps a tree of files.
    fn copy(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made>;
    /// A copy that shares with its source what neither has changed.
    fn snapshot(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made>;
}

/// The directory of a container that is being made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Where it is now.
    pub(crate) here: &'a Path,
    /// Where it will be.
    pub(crate) there: &'a Path,
}

/// A root file system that has been begun.
#[derive(Debug)]
pub(crate) struct Made {
    /// For `lxc.rootfs.path`.
    pub(crate) path: String,
    /// What is still to be copied, with all attributes: from and to.
    pub(crate) copies: Vec<(PathBuf, PathBuf)>,
    /// Whether it needs its source from now on.
    pub(crate) depends: bool,
}

/// The backend called `name`.
///
/// # Errors
/// [`Error::Unsupported`] for LXC's others, [`Error::InvalidArgument`] for words that
/// are none.
pub(crate) fn backend(name: &str) -> Result<&'static dyn Backend> {
    Ok(match RootfsKind::from_prefix(name) {
        RootfsKind::Dir => &dir::Directory,
        RootfsKind::Overlay => &overlay::Overlay,
        RootfsKind::Btrfs => &btrfs::Btrfs,
        RootfsKind::Loop => &loopback::Loopback,
        RootfsKind::Other(_) | RootfsKind::Unprefixed => {
            return Err(Error::InvalidArgument(format!(
                "there is no backend '{name}'; use dir, overlay, btrfs, zfs, lvm or loop"
            )));
        }
        _ => {
            return Err(Error::Unsupported(format!(
                "the backend '{name}' cannot do this yet; use dir, overlay, btrfs or loop"
            )));
        }
    })
}

/// Whether a backend's root file systems are trees of files that can be read as
/// they lie.
pub(crate) fn is_tree(name: &str) -> bool {
    matches!(name, "dir" | "btrfs")
}

/// The name of the backend that keeps a root file system.
pub(crate) fn name_of(rootfs: &RootfsPath) -> String {
    match &rootfs.kind {
        RootfsKind::Unprefixed => detect(&rootfs.path).to_owned(),
        kind => kind.prefix().to_owned(),
    }
}

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
