//! A root file system in a directory.

use super::elsewhere::{self, Elsewhere};
use super::{Backend, Files, Made, Place, Wish, overlay};
use crate::error::{Error, Result};
pub(crate) use crate::linux::files::remove;
use gantry_core::idmap::{IdKind, IdMaps};
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::{CWD, Mode};
use std::path::{Component, Path, PathBuf};

pub(super) struct Directory;

impl Backend for Directory {
    fn options(&self) -> &'static [&'static str] {
        &["dir"]
    }

    fn check(&self, wish: &Wish, _lxc_path: &Path) -> Result<()> {
        match &wish.directory {
            Some(directory) => check_directory(directory, wish.name.as_str()),
            None => Ok(()),
        }
    }

    fn create(&self, wish: &Wish, place: &Place) -> Result<Made> {
        let here = place.here.join("rootfs");
        let (root, there) = match &wish.directory {
            Some(directory) => (directory, directory.clone()),
            None => (&here, place.there.join("rootfs")),
        };
        rustix::fs::mkdirat(CWD, root, Mode::from_raw_mode(0o755))
            .map_err(|error| Error::path("making", root, &error.into()))?;
        if wish.directory.is_some() {
            // Noted only once it is ours: what is noted goes with the container.
            elsewhere::note(&place.here, &[Elsewhere::Directory(root.clone())])?;
        }
        Ok(Made {
            path: format!("dir:{}", there.display()),
            files: Files::At(root.clone()),
            copies: Vec::new(),
            depends: false,
        })
    }

    /// As LXC: an overlay above the directory.
    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        overlay::above(place, &source.path, &source.path, Path::new(&source.path))
    }

    fn copies_in_full(&self, _rootfs: &RootfsPath) -> Result<bool> {
        Ok(true)
    }

    fn files(&self, rootfs: &RootfsPath) -> Files {
        Files::At(PathBuf::from(&rootfs.path))
    }
}

fn check_directory(directory: &Path, name: &str) -> Result<()> {
    let refuse = |what: &str| Error::InvalidArgument(format!("'{}' {what}", directory.display()));
    let plain = directory
        .components()
        .skip(1)
        .all(|part| matches!(part, Component::Normal(_)));
    if !directory.is_absolute()
        || !plain
        || directory
            .to_str()
            .is_none_or(|text| text.chars().any(char::is_control))
    {
        return Err(refuse("is not a plain absolute path"));
    }
    if directory.file_name().is_none_or(|last| last != name) {
        return Err(refuse(&format!(
            "does not end in the container's name; add /{name}"
        )));
    }
    if directory.symlink_metadata().is_ok() {
        return Err(Error::Exists(format!(
            "'{}' exists already; choose another directory",
            directory.display()
        )));
    }
    if !directory.parent().is_some_and(Path::is_dir) {
        return Err(refuse("is in no directory that exists"));
    }
    Ok(())
}

/// The host's ids of a container's root.
pub(crate) fn root_of(maps: &IdMaps) -> (u32, u32) {
    let id = |kind| maps.host_of(kind, 0).unwrap_or(0);
    (id(IdKind::User), id(IdKind::Group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_elsewhere_is_called_after_the_container() {
        let parent = tempfile::tempdir().unwrap();
        let check = |path: &Path| check_directory(path, "web");
        assert!(check(&parent.path().join("web")).is_ok());
        assert!(check(&parent.path().join("data")).is_err());
        assert!(check(&parent.path().join("x/../web")).is_err());
        assert!(check(Path::new("srv/web")).is_err());
        std::fs::create_dir(parent.path().join("web")).unwrap();
        assert!(matches!(
            check(&parent.path().join("web")),
            Err(Error::Exists(_))
        ));
    }
}
