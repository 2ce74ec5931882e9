//! A root file system in an image file.

use super::{Backend, Files, Made, Place, Wish, copy_files, file_system};
use crate::error::{Error, Result};
use crate::linux::{files, loop_device};
use gantry_core::values::rootfs::RootfsPath;
use std::fs::File;
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

    fn like(&self, source: &RootfsPath, wish: &mut Wish) -> Result<()> {
        if wish.fssize.is_none() {
            wish.fssize = self.size(source)?;
        }
        if wish.fstype.is_none() {
            wish.fstype = file_system::kind_on(Path::new(&source.path));
        }
        Ok(())
    }

    /// The devices that show the image.
    fn sources(&self, rootfs: &RootfsPath) -> Result<Vec<PathBuf>> {
        loop_device::showing(Path::new(&rootfs.path)).map_err(|error| {
            Error::path(
                "looking for devices that show",
                Path::new(&rootfs.path),
                &error,
            )
        })
    }

    /// The image, if no other one is wished for. Of btrfs no two may have one id.
    fn copy(&self, source: &RootfsPath, wish: &Wish, place: &Place) -> Result<Made> {
        let kind = file_system::kind_on(Path::new(&source.path));
        if wish.fssize.is_some() || wish.fstype.is_some() || kind.as_deref() == Some("btrfs") {
            return copy_files(self, source, wish, place);
        }
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

    fn copies_in_full(&self, _rootfs: &RootfsPath) -> Result<bool> {
        Ok(true)
    }

    fn size(&self, rootfs: &RootfsPath) -> Result<Option<u64>> {
        let path = Path::new(&rootfs.path);
        let (_, status) =
            files::open_regular(path).map_err(|error| Error::path("opening", path, &error))?;
        Ok(Some(status.len()))
    }

    fn enlarge(&self, rootfs: &RootfsPath, size: u64) -> Result<()> {
        let path = Path::new(&rootfs.path);
        files::open_writable(path)
            .and_then(|image| image.set_len(size))
            .and_then(|()| loop_device::refresh(path))
            .map_err(|error| Error::path("enlarging", path, &error))
    }
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
