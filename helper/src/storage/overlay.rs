//! A root file system in layers of directories: those of others, which are only
//! read, and one of its own above them.

use super::{Backend, Below, Files, Made, Place, Places, Wish};
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::tree::{self, Tree};
use gantry_core::values::rootfs::{OverlayPaths, RootfsPath};
use rustix::fs::{CWD, FileType, Gid, Mode, Uid};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

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
        Ok(Made {
            depends: false,
            ..above(place, &root.display().to_string(), &there, &root)?
        })
    }

    /// Another overlay with the same layers below and a copy of the one above.
    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        let layers = layers_of(source)?;
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

    fn sources(&self, rootfs: &RootfsPath) -> Result<Vec<PathBuf>> {
        Ok(vec![layers_of(rootfs)?.upper])
    }

    /// What one of the two upper layers has.
    fn differing(&self, from: &RootfsPath, to: &RootfsPath, _scratch: &Path) -> Result<Places> {
        let (from, to) = (layers_of(from)?, layers_of(to)?);
        if from.lower != to.lower {
            return Ok(Places::Everywhere);
        }
        let mut paths = BTreeMap::new();
        for upper in [&from.upper, &to.upper] {
            let complete =
                gather(upper, &mut paths).map_err(|error| Error::path("reading", upper, &error))?;
            if !complete {
                return Ok(Places::Everywhere);
            }
        }
        Ok(Places::Paths(paths))
    }
}

fn layers_of(rootfs: &RootfsPath) -> Result<OverlayPaths> {
    rootfs.overlay().ok_or_else(|| {
        Error::InvalidArgument(format!("{} is not of the form LOWER:UPPER", rootfs.path))
    })
}

/// Adds what an upper layer has; `false` if it is too much, or lies too deep.
fn gather(upper: &Path, paths: &mut BTreeMap<PathBuf, Below>) -> io::Result<bool> {
    let tree = Tree::new(files::open_directory(upper)?);
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let directory = match tree.directory(&path) {
            Ok(Some(directory)) => directory,
            Ok(None) => continue,
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => return Ok(false),
            Err(error) => return Err(error),
        };
        for name in tree::names(&directory)? {
            let path = path.join(&name);
            let is_directory = tree::look(&directory, &name)?
                .is_some_and(|status| tree::kind(&status) == FileType::Directory);
            let below = if is_directory && hides_what_is_below(&tree::path_of(&directory, &name))? {
                Below::All
            } else {
                Below::Listed
            };
            let listed = paths.entry(path.clone()).or_insert(below);
            *listed = below.max(*listed);
            if is_directory {
                waiting.push(path);
            }
        }
        if paths.len() > Places::MOST {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a directory of an upper layer is not merged with that of its name below: the
/// kernel's marks of overlayfs.
fn hides_what_is_below(path: &Path) -> io::Result<bool> {
    for mark in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "user.overlay.redirect",
    ] {
        if tree::attribute_at(path, OsStr::new(mark))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
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
