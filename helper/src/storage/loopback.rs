//! A root file system in an image file.

use super::{Backend, Files, Made, Place, Wish, file_system};
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::loop_device::mount_image;
use crate::linux::mounts::Access;
use gantry_core::values::rootfs::RootfsPath;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) struct Loopback;

impl Backend for Loopback {
    fn options(&self) -> &'static [&'static str] {
        &["fstype", "fssize"]
    }

    fn check(&self, wish: &Wish, _lxc_path: &Path) -> Result<()> {
        file_system::check(wish)
    }

    /// A file of holes, which takes the space that is used of it.
    fn create(&self, wish: &Wish, place: &Place) -> Result<Made> {
        let image = place.here.join("rootdev");
        let make = || {
            let mut options = File::options();
            let file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&image)?;
            file.set_len(file_system::size(wish))
        };
        make().map_err(|error| Error::path("making", &image, &error))?;
        file_system::make(wish, &image)?;
        made(place)
    }

    fn copy(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        let mut made = made(place)?;
        made.copies = vec![(
            Files::At(PathBuf::from(&source.path)),
            Files::At(place.here.join("rootdev")),
        )];
        Ok(made)
    }

    fn snapshot(&self, source: &RootfsPath, _place: &Place) -> Result<Made> {
        Err(Error::Unsupported(format!(
            "the image {} cannot be cloned copy-on-write; make a full copy",
            source.path
        )))
    }

    fn view(&self, rootfs: &RootfsPath) -> Result<OwnedFd> {
        mount(rootfs, Access::Read)
    }

    fn edit(&self, rootfs: &RootfsPath) -> Result<OwnedFd> {
        mount(rootfs, Access::Change)
    }
}

fn mount(rootfs: &RootfsPath, access: Access) -> Result<OwnedFd> {
    let path = Path::new(&rootfs.path);
    mount_image(path, access).map_err(|error| Error::path("mounting", path, &error))
}

/// Beside the image is where it is mounted.
fn made(place: &Place) -> Result<Made> {
    let root = place.here.join("rootfs");
    files::ensure_directory(&root, 0o755).map_err(|error| Error::path("making", &root, &error))?;
    Ok(Made {
        path: format!("loop:{}", place.there.join("rootdev").display()),
        files: Files::In(format!("loop:{}", place.here.join("rootdev").display())),
        copies: Vec::new(),
        depends: false,
    })
}
