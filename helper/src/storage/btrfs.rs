//! A root file system in a subvolume of btrfs.

use super::{Backend, Made, Place};
use crate::error::{Error, Result};
use crate::linux::btrfs::{create_subvolume, snapshot_subvolume};
use gantry_core::values::rootfs::RootfsPath;
use std::path::{Path, PathBuf};

pub(super) struct Btrfs;

impl Backend for Btrfs {
    /// As LXC: on one file system a full copy is a snapshot, too, which shares blocks
    /// but needs nothing.
    fn copy(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made> {
        let root = place.here.join("rootfs");
        let source = PathBuf::from(&source.path);
        let mut copies = Vec::new();
        if let Err(error) = snapshot_subvolume(&source, &root) {
            match error.raw_os_error() {
                // Another file system, or no subvolume.
                Some(libc::EXDEV | libc::EINVAL | libc::ENOTTY) => {}
                _ => return Err(Error::path("taking a snapshot of", &source, &error)),
            }
            create_subvolume(&root)
                .map_err(|error| Error::path("making the subvolume", &root, &error))?;
            copies.push((source, root));
        }
        Ok(made(place, copies))
    }

    fn snapshot(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made> {
        let root = place.here.join("rootfs");
        let source = Path::new(&source.path);
        snapshot_subvolume(source, &root)
            .map_err(|error| Error::path("taking a snapshot of", source, &error))?;
        Ok(made(place, Vec::new()))
    }
}

fn made(place: &Place<'_>, copies: Vec<(PathBuf, PathBuf)>) -> Made {
    Made {
        path: format!("btrfs:{}", place.there.join("rootfs").display()),
        copies,
        depends: false,
    }
}
