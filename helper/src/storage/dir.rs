//! A root file system in a directory.

use super::{Backend, Made, Place, overlay};
use crate::error::Result;
use gantry_core::idmap::{IdKind, IdMaps};
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

pub(super) struct Directory;

impl Backend for Directory {
    fn copy(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made> {
        let root = place.here.join("rootfs");
        Ok(Made {
            path: format!("dir:{}", place.there.join("rootfs").display()),
            copies: vec![(PathBuf::from(&source.path), root)],
            depends: false,
        })
    }

    /// As LXC: an overlay above the directory.
    fn snapshot(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made> {
        overlay::above(place, &source.path, Path::new(&source.path))
    }
}

/// Makes the directory, owned by the container's root.
pub(crate) fn create(parent: impl AsFd, name: &str, maps: &IdMaps) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    let (uid, gid) = root_of(maps);
    rustix::fs::fchown(
        &directory,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755))?;
    Ok(directory)
}

/// The host's ids of a container's root.
pub(crate) fn root_of(maps: &IdMaps) -> (u32, u32) {
    let id = |kind| maps.host_of(kind, 0).unwrap_or(0);
    (id(IdKind::User), id(IdKind::Group))
}

/// Removes a tree. Links in it are removed, not followed; what is mounted
/// below it is not touched and makes this fail.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
