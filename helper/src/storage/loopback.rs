//! A root file system in an image file.

use super::{Backend, Made, Place};
use crate::error::{Error, Result};
use gantry_core::values::rootfs::RootfsPath;
use std::path::PathBuf;

pub(super) struct Loopback;

impl Backend for Loopback {
    fn copy(&self, source: &RootfsPath, place: &Place<'_>) -> Result<Made> {
        Ok(Made {
            path: format!("loop:{}", place.there.join("rootdev").display()),
            copies: vec![(PathBuf::from(&source.path), place.here.join("rootdev"))],
            depends: false,
        })
    }

    fn snapshot(&self, source: &RootfsPath, _place: &Place<'_>) -> Result<Made> {
        Err(Error::Unsupported(format!(
            "the image {} cannot be cloned copy-on-write; make a full copy",
            source.path
        )))
    }
}
