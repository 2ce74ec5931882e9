//! A root file system in a subvolume of btrfs.

use super::{Backend, Files, Made, Place, Wish};
use crate::error::{Error, Result};
use crate::linux::btrfs::{create_subvolume, snapshot_subvolume};
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::FsWord;
use std::path::{Path, PathBuf};

/// What statfs(2) says of btrfs.
pub(super) const MAGIC: FsWord = 0x9123_683e;

pub(super) struct Btrfs;

impl Backend for Btrfs {
    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn check(&self, _wish: &Wish, lxc_path: &Path) -> Result<()> {
        match rustix::fs::statfs(lxc_path) {
            Ok(stat) if stat.f_type == MAGIC => Ok(()),
            Ok(_) => Err(Error::Unsupported(format!(
                "{} is not on btrfs; put it there, or use another backend",
                lxc_path.display()
            ))),
            Err(error) => Err(Error::path("looking at", lxc_path, &error.into())),
        }
    }

    fn create(&self, _wish: &Wish, place: &Place) -> Result<Made> {
        let root = place.here.join("rootfs");
        create_subvolume(&root)
            .map_err(|error| Error::path("making the subvolume", &root, &error))?;
        Ok(made(place, Vec::new()))
    }

    /// As LXC: on one file system a full copy is a snapshot, too, which shares blocks
    /// but needs nothing.
    fn copy(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
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
            copies.push((Files::At(source), Files::At(root)));
        }
        Ok(made(place, copies))
    }

    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        let root = place.here.join("rootfs");
        let source = Path::new(&source.path);
        snapshot_subvolume(source, &root)
            .map_err(|error| Error::path("taking a snapshot of", source, &error))?;
        Ok(made(place, Vec::new()))
    }
}

fn made(place: &Place, copies: Vec<(Files, Files)>) -> Made {
    Made {
        path: format!("btrfs:{}", place.there.join("rootfs").display()),
        files: Files::At(place.here.join("rootfs")),
        copies,
        depends: false,
    }
}
