//! A root file system in layers of directories: those of others, which are only
//! read, and one of its own above them.

use super::{Backend, Files, Made, Place, Wish};
use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::{CWD, Gid, Mode, Uid};
use std::io;
use std::path::Path;

pub(super) struct Overlay;

impl Backend for Overlay {
    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn check(&self, _wish: &Wish, _lxc_path: &Path) -> Result<()> {
        Ok(())
    }

    /// As LXC: above an empty directory of the container's own.
    fn create(&self, wish: &Wish, place: &Place) -> Result<Made> {
        let root = place.here.join("rootfs");
        let (uid, gid) = wish.owner;
        files::ensure_directory(&root, 0o755)
            .and_then(|()| {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                Ok(rustix::fs::chown(&root, Some(uid), Some(gid))?)
            })
            .map_err(|error| Error::path("making", &root, &error))?;
        let there = place.there.join("rootfs").display().to_string();
        above(place, &root.display().to_string(), &there, &root)
    }

    fn copy(&self, source: &RootfsPath, _place: &Place) -> Result<Made> {
        Err(Error::Unsupported(format!(
            "the overlay {} is not copied in full yet; make a copy-on-write clone (snapshot)",
            source.path
        )))
    }

    /// Another overlay with the same layers below and a copy of the one above.
    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        let layers = source.overlay().ok_or_else(|| {
            Error::InvalidArgument(format!("{} is not of the form LOWER:UPPER", source.path))
        })?;
        let lower: Vec<String> = layers
            .lower
            .iter()
            .map(|layer| layer.display().to_string())
            .collect();
        let lower = lower.join(":");
        let mut made = above(place, &lower, &lower, &layers.upper)?;
        let upper = place.here.join(UPPER);
        made.copies
            .push((Files::At(layers.upper), Files::At(upper)));
        Ok(made)
    }
}

const UPPER: &str = "overlay/delta";

/// An empty layer in `place` above what the config calls `lower` now, and `later` when
/// the container is in its place; its top looks like the directory `like`.
pub(super) fn above(place: &Place, lower: &str, later: &str, like: &Path) -> Result<Made> {
    let here = place.here.join("overlay");
    let failed = |error: io::Error| Error::path("making", &here, &error);
    for directory in [&here, &here.join("work"), &place.here.join("rootfs")] {
        files::ensure_directory(directory, 0o755).map_err(failed)?;
    }
    let like = files::open_directory(like)
        .and_then(|like| Ok(rustix::fs::fstat(&like)?))
        .map_err(|error| Error::path("reading", like, &error))?;
    let upper = place.here.join(UPPER);
    let make = || -> io::Result<()> {
        rustix::fs::mkdirat(CWD, &upper, Mode::from_raw_mode(0o700))?;
        files::give(files::open_directory(&upper)?, &like, like.st_mode)
    };
    make().map_err(failed)?;
    Ok(Made {
        path: format!("overlay:{later}:{}", place.there.join(UPPER).display()),
        files: Files::In(format!("overlay:{lower}:{}", upper.display())),
        copies: Vec::new(),
        depends: true,
    })
}
