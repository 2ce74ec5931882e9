//! Containers on their way into the LXC path and out of it. Both happen in
//! hidden directories there, so that one rename is the moment at which a
//! container comes or goes.

use super::leftovers::empty_at_last;
use super::{Engine, Error, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::storage::dir;
use crate::storage::elsewhere::{self, Elsewhere};
use gantry_core::layout::{ContainerLayout, REMOVING};
use gantry_core::name::ContainerName;
use rustix::fs::{AtFlags, CWD, Mode, RenameFlags};
use rustix::process::geteuid;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

/// What the names of containers being made begin with. LXC's tools skip names
/// with a leading dot.
pub(super) const CREATE: &str = ".gantry-create-";
/// The lock that says that a creation is under way.
pub(super) const MARKER: &str = "partial";
/// In a container whose content was replaced: the name of the directory beside it
/// that has the old one.
const REPLACED: &str = ".gantry-replaced";
/// What a container's content is; all else in its directory is about it.
const CONTENT: [&str; 9] = [
    "config",
    "rootfs",
    "rootdev",
    "overlay",
    "delta0",
    "olwork",
    "lxc_rdepends",
    REPLACED,
    elsewhere::NOTE,
];

/// A container being made. It is removed when dropped without
/// [`Staging::publish`].
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
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
        Ok(Self {
            path,
            _lock: lock,
            published: false,
        })
    }

    /// Its path, for children.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it the content of a container that is there: root file system and config
    /// in one step, then the rest of the old directory comes along (snapshots, logs).
    /// `elsewhere` is what of the old content lies outside of that. Gives the old one, which
    /// still takes space.
    pub(super) fn replace(
        mut self,
        group: Option<u32>,
        layout: &ContainerLayout,
        elsewhere: &[Elsewhere],
    ) -> Result<Option<Trash>> {
        let directory = layout.directory();
        elsewhere::note(&directory, elsewhere)?;
        let failed = |error: std::io::Error| Error::path("replacing", &directory, &error);
        let old = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        files::replace(&self.path.join(REPLACED), old, 0o600).map_err(failed)?;
        seal(&self.path, group).map_err(failed)?;
        rustix::fs::renameat_with(CWD, &self.path, CWD, &directory, RenameFlags::EXCHANGE)
            .map_err(|error| failed(error.into()))?;
        // From here on what is at our path is the old content.
        self.published = true;
        files::sync_directory(Path::new(layout.lxc_path())).map_err(failed)?;
        elsewhere::forget(&directory)?;
        finish_replacement(&directory)
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
        seal(&source, group).map_err(failed)?;
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
        files::sync_directory(Path::new(layout.lxc_path())).map_err(failed)?;
        // What lies elsewhere is the container's from now on.
        elsewhere::forget(&layout.directory())
    }
}

/// Gives a container's directory its owner and mode, and puts it on the disk.
fn seal(source: &Path, group: Option<u32>) -> std::io::Result<()> {
    let directory = files::open_directory(source)?;
    let mode = if group.is_some() { 0o710 } else { 0o700 };
    let owner = rustix::fs::Gid::from_raw(group.unwrap_or(0));
    rustix::fs::fchown(&directory, Some(rustix::fs::Uid::ROOT), Some(owner))?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?;
    // It is what LXC would take for an interrupted creation.
    match rustix::fs::unlinkat(&directory, MARKER, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    // What was unpacked must be on the disk before it is a container.
    files::sync_tree(&directory)
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = empty_at_last(&self.path)
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

/// Finishes the replacement of a container's content: brings along what is not
/// content, then removes the old but for what takes long, which it gives.
pub(super) fn finish_replacement(directory: &Path) -> Result<Option<Trash>> {
    let note = directory.join(REPLACED);
    let failed = |error: std::io::Error| Error::path("replacing", directory, &error);
    let (file, metadata) = match files::open_regular(&note) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let name = files::read_bounded(&file, 255).map_err(failed)?;
    let name = String::from_utf8(name).unwrap_or_default();
    // Containers of others may be able to write here: only our own note counts.
    if metadata.uid() != geteuid().as_raw() || !name.starts_with(CREATE) || name.contains('/') {
        return Ok(None);
    }
    let old = directory.with_file_name(name);
    match std::fs::read_dir(&old) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(failed)?.file_name();
                if CONTENT.iter().any(|content| name == *content) {
                    continue;
                }
                match rustix::fs::renameat_with(
                    CWD,
                    old.join(&name),
                    CWD,
                    directory.join(&name),
                    RenameFlags::NOREPLACE,
                ) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(failed(error.into())),
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    files::sync_directory(directory).map_err(failed)?;
    std::fs::remove_file(&note).map_err(failed)?;
    Trash(old).leave_elsewhere().map(Some)
}

/// A container that is no more, but still takes space.
#[derive(Debug)]
pub(super) struct Trash(PathBuf);

impl Trash {
    /// Takes a container's directory away, and what of it lies elsewhere with it.
    pub(super) fn take(lxc_path: &Path, directory: &Path, elsewhere: &[Elsewhere]) -> Result<Self> {
        let failed = |error: std::io::Error| Error::path("removing", directory, &error);
        let letters = files::random_letters(6).map_err(failed)?;
        let path = lxc_path.join(format!("{REMOVING}{letters}"));
        elsewhere::note(directory, elsewhere)?;
        rustix::fs::renameat_with(CWD, directory, CWD, &path, RenameFlags::NOREPLACE)
            .map_err(|error| failed(error.into()))?;
        let trash = Self(path);
        files::sync_directory(lxc_path).map_err(failed)?;
        Ok(trash)
    }

    /// What an interrupted operation has left.
    pub(super) fn left(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// Where it is until it is gone.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes what lies elsewhere, whose names are free from then on.
    pub(super) fn leave_elsewhere(self) -> Result<Self> {
        elsewhere::remove(&self.0)?;
        Ok(self)
    }

    /// Frees the space.
    pub(super) fn empty(&self) -> Result<()> {
        elsewhere::remove(&self.0)?;
        dir::remove(&self.0).map_err(|error| Error::path("removing", &self.0, &error))
    }
}

impl Engine {
    /// Frees the space of what is gone, after this has returned. What is left of it if
    /// this process ends before goes on when the next one begins.
    pub(super) fn free(&self, trash: Trash) {
        let freeing = self.0.freeing.clone();
        freeing.send_modify(|count| *count += 1);
        // Not one of the runtime's threads: nothing waits for it at the end.
        std::thread::spawn(move || {
            if let Err(error) = empty_at_last(trash.path()) {
                tracing::warn!("{error}");
            }
            freeing.send_modify(|count| *count -= 1);
        });
    }

    /// Returns when no space is being freed.
    pub(crate) async fn freed(&self) {
        let mut freeing = self.0.freeing.subscribe();
        // The sender lives as long as the engine.
        freeing.wait_for(|count| *count == 0).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::super::leftovers::remove_leftovers;
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
        assert!(remove_leftovers(lxc_path.path()).is_empty());
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
        let there = [Elsewhere::Directory(root.clone())];
        Trash::take(lxc_path.path(), &lxc_path.path().join("c2"), &there).unwrap();
        std::fs::create_dir(lxc_path.path().join(".gantry-create-abandoned")).unwrap();
        std::fs::create_dir(lxc_path.path().join(".other")).unwrap();
        let to_free = remove_leftovers(lxc_path.path());
        assert!(!root.exists(), "names are free at once");
        for trash in to_free {
            trash.empty().unwrap();
        }
        let left = names(lxc_path.path());
        assert_eq!(
            left,
            [busy.path().file_name().unwrap().to_str().unwrap(), ".other"]
        );
    }
}
