//! Containers on their way into the LXC path and out of it. Both happen in
//! hidden directories there, so that one rename is the moment at which a
//! container comes or goes.

use super::destroy::{RENAMING, finish_rename};
use super::{Engine, Error, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::storage::dir;
use gantry_core::layout::{ContainerLayout, REMOVING, RUN_DIR};
use gantry_core::name::ContainerName;
use rustix::fs::{AtFlags, CWD, Mode, RenameFlags};
use rustix::process::geteuid;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the names of containers being made begin with. LXC's tools skip names
/// with a leading dot.
const CREATE: &str = ".gantry-create-";
/// The lock that says that a creation is under way.
const MARKER: &str = "partial";
/// How long a process that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(2);
/// Between two looks whether it is.
const PAUSE: Duration = Duration::from_millis(20);
/// In a directory being removed: the path of what else is to go.
const ELSEWHERE: &str = ".gantry-elsewhere";

/// A container being made. It is removed when dropped without
/// [`Staging::publish`].
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    directory: OwnedFd,
    _lock: FileLock,
    published: bool,
}

impl Staging {
    /// Makes an empty directory that only root may enter.
    pub(super) fn create(lxc_path: &Path) -> Result<Self> {
        let letters =
            files::random_letters(6).map_err(|error| Error::io("reading random bytes", &error))?;
        let path = lxc_path.join(format!("{CREATE}{letters}"));
        let failed = |error: std::io::Error| Error::path("making", &path, &error);
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700))
            .map_err(|error| failed(error.into()))?;
        let lock = FileLock::try_take(&path.join(MARKER)).map_err(failed)?;
        let lock = lock.ok_or_else(|| Error::Busy(format!("{} is locked", path.display())))?;
        let directory = files::open_directory(&path).map_err(failed)?;
        Ok(Self {
            path,
            directory,
            _lock: lock,
            published: false,
        })
    }

    /// Its path, for children.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a directory elsewhere that is part of the container: it goes when
    /// this does, also by another process.
    pub(super) fn note_elsewhere(&self, elsewhere: &Path) -> Result<()> {
        let note = self.path.join(ELSEWHERE);
        files::replace(&note, elsewhere.as_os_str().as_encoded_bytes(), 0o600)
            .map_err(|error| Error::path("writing", &note, &error))
    }

    /// Its directory.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Makes the directory `part` of it (none: all of it) the container. `group`
    /// is the host's id of the container's root group, which may pass through
    /// but not look around; none if only root may.
    pub(super) fn publish(
        mut self,
        part: Option<&Path>,
        group: Option<u32>,
        layout: &ContainerLayout,
    ) -> Result<()> {
        let source = part.map_or_else(|| self.path.clone(), |part| self.path.join(part));
        let failed = |error: std::io::Error| Error::path("making", &layout.directory(), &error);
        let directory = files::open_directory(&source).map_err(failed)?;
        let mode = if group.is_some() { 0o710 } else { 0o700 };
        let owner = rustix::fs::Gid::from_raw(group.unwrap_or(0));
        let finish = || -> rustix::io::Result<()> {
            rustix::fs::fchown(&directory, Some(rustix::fs::Uid::ROOT), Some(owner))?;
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?;
            // MARKER is what LXC would take for an interrupted creation.
            for name in [MARKER, ELSEWHERE] {
                match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
                    Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
            }
            // What was unpacked must be on the disk before it is a container.
            rustix::fs::syncfs(&directory)
        };
        finish().map_err(|error| failed(error.into()))?;
        match rustix::fs::renameat_with(
            CWD,
            &source,
            CWD,
            layout.directory(),
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(exists(layout)),
            Err(error) => return Err(failed(error.into())),
        }
        self.published = part.is_none();
        files::sync_directory(Path::new(layout.lxc_path())).map_err(failed)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = Trash(std::mem::take(&mut self.path)).empty()
        {
            tracing::error!("{error}");
        }
    }
}

/// A name that nobody else gives to a container while this lives.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    engine: &'a Engine,
    name: ContainerName,
}

impl Engine {
    /// Reserves a name for a container that is being made, unpacked or renamed.
    pub(super) fn reserve(&self, name: &ContainerName) -> Result<Reserved<'_>> {
        if !self.reserved().insert(name.clone()) {
            return Err(Error::Busy(format!(
                "a container '{name}' is just being made; wait for it, or choose another name"
            )));
        }
        Ok(Reserved {
            engine: self,
            name: name.clone(),
        })
    }

    fn reserved(&self) -> MutexGuard<'_, HashSet<ContainerName>> {
        // Names come and go whole, whatever panicked.
        self.0
            .reserved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.engine.reserved().remove(&self.name);
    }
}

/// The error that a container's name is taken.
pub(super) fn exists(layout: &ContainerLayout) -> Error {
    Error::Exists(format!(
        "there is a container '{}' already; choose another name",
        layout.name()
    ))
}

/// A container that is no more, but still takes space.
#[derive(Debug)]
pub(super) struct Trash(PathBuf);

impl Trash {
    /// Takes a container's directory away. `elsewhere` is the path of a root
    /// file system outside of it.
    pub(super) fn take(
        lxc_path: &Path,
        directory: &Path,
        elsewhere: Option<&Path>,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| Error::path("removing", directory, &error);
        let letters = files::random_letters(6).map_err(failed)?;
        let path = lxc_path.join(format!("{REMOVING}{letters}"));
        if let Some(elsewhere) = elsewhere {
            let text = elsewhere.as_os_str().as_encoded_bytes();
            files::replace(&directory.join(ELSEWHERE), text, 0o600).map_err(failed)?;
        }
        rustix::fs::renameat_with(CWD, directory, CWD, &path, RenameFlags::NOREPLACE)
            .map_err(|error| failed(error.into()))?;
        let trash = Self(path);
        files::sync_directory(lxc_path).map_err(failed)?;
        Ok(trash)
    }

    /// Where it is until it is gone.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Frees the space.
    pub(super) fn empty(self) -> Result<()> {
        let note = self.0.join(ELSEWHERE);
        match std::fs::read_to_string(&note) {
            Ok(elsewhere) => {
                let path = Path::new(&elsewhere);
                dir::remove(path).map_err(|error| Error::path("removing", path, &error))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::path("reading", &note, &error)),
        }
        dir::remove(&self.0).map_err(|error| Error::path("removing", &self.0, &error))
    }
}

/// Finishes interrupted renames, and removes what interrupted creations and
/// removals left in an LXC path: our names, root's directories, and nobody holds
/// the lock.
pub(super) fn remove_leftovers(lxc_path: &Path) {
    let entries = match std::fs::read_dir(lxc_path) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!("reading {} failed: {error}", lxc_path.display());
            return;
        }
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Ok(name) = ContainerName::new(name) {
            if let Err(error) = finish_rename(&path) {
                tracing::warn!("{error}");
            }
            remove_temporary(&ContainerLayout::new(&lxc_path.to_string_lossy(), name));
        }
        let is_creation = name.starts_with(CREATE);
        let is_ours = path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw());
        if !is_ours
            || !(is_creation || name.starts_with(REMOVING))
            || (is_creation && is_locked(&path))
        {
            continue;
        }
        tracing::info!(
            "removing {}, which an interrupted operation left",
            path.display()
        );
        if let Err(error) = Trash(path).empty() {
            tracing::warn!("{error}");
        }
    }
}

/// Whether a creation is under way. A helper that was killed holds its locks for
/// a moment longer than its name on the bus.
/// Removes what was written beside a container's files to take their place, and
/// did not come to it. Who changes them holds the container's lock.
fn remove_temporary(layout: &ContainerLayout) {
    let directory = layout.directory();
    let left = files::temporary(
        &directory,
        &["config", "lxc_snapshots", RENAMING, ELSEWHERE],
    );
    if left.is_empty() {
        return;
    }
    let Ok(Some(_lock)) = FileLock::try_take(&layout.lock_file(Path::new(RUN_DIR))) else {
        return;
    };
    for path in left {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!("removed {}, which was left behind", path.display()),
            Err(error) => tracing::warn!("removing {} failed: {error}", path.display()),
        }
    }
}

fn is_locked(path: &Path) -> bool {
    let deadline = Instant::now() + DYING;
    loop {
        let Ok(marker) = std::fs::File::options()
            .read(true)
            .write(true)
            .open(path.join(MARKER))
        else {
            return false;
        };
        if !matches!(FileLock::try_lock(marker), Ok(None)) {
            return false;
        }
        if Instant::now() > deadline {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn layout(path: &Path, name: &str) -> ContainerLayout {
        ContainerLayout::new(path.to_str().unwrap(), ContainerName::new(name).unwrap())
    }

    #[test]
    fn a_creation_that_is_given_up_leaves_nothing() {
        let lxc_path = tempfile::tempdir().unwrap();
        let staging = Staging::create(lxc_path.path()).unwrap();
        std::fs::create_dir_all(staging.path().join("rootfs/a/b")).unwrap();
        drop(staging);
        assert!(names(lxc_path.path()).is_empty());
    }

    #[test]
    fn an_existing_name_is_not_replaced() {
        let lxc_path = tempfile::tempdir().unwrap();
        std::fs::create_dir(lxc_path.path().join("c1")).unwrap();
        let staging = Staging::create(lxc_path.path()).unwrap();
        let result = staging.publish(None, None, &layout(lxc_path.path(), "c1"));
        assert!(matches!(result, Err(Error::Exists(_))));
        assert_eq!(names(lxc_path.path()), ["c1"]);
    }

    #[test]
    fn what_is_published_has_no_marker() {
        let lxc_path = tempfile::tempdir().unwrap();
        let staging = Staging::create(lxc_path.path()).unwrap();
        std::fs::write(staging.path().join("config"), "").unwrap();
        staging
            .publish(None, Some(0), &layout(lxc_path.path(), "c1"))
            .unwrap();
        assert_eq!(names(lxc_path.path()), ["c1"]);
        assert_eq!(names(&lxc_path.path().join("c1")), ["config"]);
        assert_eq!(
            lxc_path.path().join("c1").metadata().unwrap().mode() & 0o777,
            0o710
        );
    }

    #[test]
    fn temporary_files_that_were_left_are_removed() {
        let lxc_path = tempfile::tempdir().unwrap();
        let directory = lxc_path.path().join("c1");
        std::fs::create_dir_all(directory.join(".config.bcdefghj")).unwrap();
        for name in [
            "config",
            ".config.abcdefgh",
            ".config.backup",
            ".config.ABCDEFGH",
            "a.config.abcdefgh",
            "..gantry-renaming.22222222",
        ] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("config", directory.join(".config.cccccccc")).unwrap();
        remove_leftovers(lxc_path.path());
        let left = names(&directory);
        assert_eq!(
            left,
            [
                ".config.ABCDEFGH",
                ".config.backup",
                ".config.bcdefghj",
                ".config.cccccccc",
                "a.config.abcdefgh",
                "config"
            ]
        );
    }

    #[test]
    fn only_leftovers_that_nobody_works_on_are_removed() {
        let lxc_path = tempfile::tempdir().unwrap();
        let busy = Staging::create(lxc_path.path()).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let root = elsewhere.path().join("c2");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir(lxc_path.path().join("c2")).unwrap();
        Trash::take(lxc_path.path(), &lxc_path.path().join("c2"), Some(&root)).unwrap();
        std::fs::create_dir(lxc_path.path().join(".gantry-create-abandoned")).unwrap();
        std::fs::create_dir(lxc_path.path().join(".other")).unwrap();
        remove_leftovers(lxc_path.path());
        let left = names(lxc_path.path());
        assert_eq!(
            left,
            [busy.path().file_name().unwrap().to_str().unwrap(), ".other"]
        );
        assert!(!root.exists());
    }
}
