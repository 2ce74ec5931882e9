//! A root file system in a subvolume of btrfs.

use super::{Backend, Below, Files, Made, Place, Places, Wish, detect, send_stream};
use crate::error::{Error, Result};
use crate::linux::btrfs::{
    create_subvolume, destroy_subvolume, has_nested, send_changes, snapshot_subvolume,
    snapshot_to_read,
};
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::FsWord;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
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
    fn copy(&self, source: &RootfsPath, _wish: &Wish, place: &Place) -> Result<Made> {
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

    /// Subvolumes that were made inside would be missing in it.
    fn keeps_moments(&self, rootfs: &RootfsPath) -> Result<bool> {
        if detect(&rootfs.path) != "btrfs" {
            return Ok(false);
        }
        let path = Path::new(&rootfs.path);
        has_nested(path)
            .map(|nested| !nested)
            .map_err(|error| Error::path("looking for subvolumes in", path, &error))
    }

    fn files(&self, rootfs: &RootfsPath) -> Files {
        Files::At(PathBuf::from(&rootfs.path))
    }

    /// What `btrfs send --no-data` would tell of, between two snapshots of now that
    /// cannot be changed.
    fn differing(&self, from: &RootfsPath, to: &RootfsPath, scratch: &Path) -> Result<Places> {
        let (old, new) = (scratch.join("old"), scratch.join("new"));
        let taken = snapshot_to_read(Path::new(&from.path), &old)
            .and_then(|()| snapshot_to_read(Path::new(&to.path), &new));
        let found = match taken {
            Ok(()) => sent(&old, &new)
                .map_err(|error| Error::io("comparing two subvolumes of btrfs", &error)),
            // Another file system, or no subvolume.
            Err(error) => match error.raw_os_error() {
                Some(libc::EXDEV | libc::EINVAL | libc::ENOTTY) => Ok(Places::Everywhere),
                _ => Err(Error::path("taking a snapshot below", scratch, &error)),
            },
        };
        for snapshot in [&old, &new] {
            match destroy_subvolume(snapshot) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::path("removing", snapshot, &error));
                }
                _ => {}
            }
        }
        found
    }
}

/// The paths that the kernel names when it turns one snapshot into another. Some are of
/// the moment between only; what moved is named where it was or where it is, and not what
/// lies below.
fn sent(old: &Path, new: &Path) -> io::Result<Places> {
    let (reader, writer) = io::pipe()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || send_changes(old, new, writer.as_fd()));
        let named = send_stream::paths(BufReader::new(reader), Places::MOST);
        let sending = sending
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sender broke off")));
        match named? {
            None => Ok(Places::Everywhere),
            Some(paths) => sending.map(|()| {
                Places::Paths(
                    paths
                        .into_iter()
                        .map(|path| (path, Below::AllOfOthers))
                        .collect(),
                )
            }),
        }
    })
}

fn made(place: &Place, copies: Vec<(Files, Files)>) -> Made {
    Made {
        path: format!("btrfs:{}", place.there.join("rootfs").display()),
        files: Files::At(place.here.join("rootfs")),
        copies,
        depends: false,
    }
}
