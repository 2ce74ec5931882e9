//! A root file system in layers of directories: those of others, which are only
//! read, and one of its own above them.

use super::{Backend, Made, Place};
use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::{CWD, Mode};
use std::io;
use std::path::{Path, PathBuf};

pub(super) struct Overlay;

impl Backend for Overlay {
    fn copy(&self, source: &RootfsPath, _place: &Place<'_>) -> Result<Made> {
        Err(Error::Unsupported(format!(
            "the overlay {} is not copied in full yet; make a copy-on-write clone (snapshot)",
            source.path
        )))
    }

    /// Another overlay with the same layers below and a copy of the one above.
    fn snapshot(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made> {
        let layers = source.overlay().ok_or_else(|| {
            Error::InvalidArgument(format!("{} is not of the form LOWER:UPPER", source.path))
        })?;
        let lower: Vec<String> = layers
            .lower
            .iter()
            .map(|layer| layer.display().to_string())
            .collect();
        let mut made = above(place, &lower.join(":"), &layers.upper)?;
        made.copies.push((layers.upper, made.upper(place)));
        Ok(made)
    }
}

/// An empty layer in `place` above `lower`, which is the config's word for what lies
/// below; its top looks like the directory `like`.
pub(super) fn above(place: &Place<'_>, lower: &str, like: &Path) -> Result<Made> {
    let here = place.here.join("overlay");
    let failed = |error: io::Error| Error::path("making", &here, &error);
    for directory in [&here, &here.join("work"), &place.here.join("rootfs")] {
        files::ensure_directory(directory, 0o755).map_err(failed)?;
    }
    let made = Made {
        path: format!(
            "overlay:{lower}:{}",
            place.there.join("overlay/delta").display()
        ),
        copies: Vec::new(),
        depends: true,
    };
    let like = files::open_directory(like)
        .and_then(|like| Ok(rustix::fs::fstat(&like)?))
        .map_err(|error| Error::path("reading", like, &error))?;
    let make = || -> io::Result<()> {
        let upper = made.upper(place);
        rustix::fs::mkdirat(CWD, &upper, Mode::from_raw_mode(0o700))?;
        files::give(files::open_directory(&upper)?, &like, like.st_mode)
    };
    make().map_err(failed)?;
    Ok(made)
}

impl Made {
    fn upper(&self, place: &Place<'_>) -> PathBuf {
        place.here.join("overlay/delta")
    }
}
