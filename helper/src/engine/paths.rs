//! Single files and directories, brought back from a snapshot.

use super::clone::Source;
use super::launcher::Access;
use super::{ContainerId, Engine, Error, Result, Work, blocking, duplicate};
use crate::linux::files;
use crate::linux::transplant::{Transplant, directory, parent};
use crate::linux::tree::{self, Tree, kind};
use crate::storage::{self, Files};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// In a container's root: where what is brought back is put together, and what it
/// replaces goes to.
const STAGING: &str = ".gantry-restore-";
/// In a container's directory: that this is under way.
const RESTORING: &str = ".gantry-restoring";

impl Engine {
    /// Makes paths of a container what they were in a snapshot, one after the other, each
    /// in one step. What came since below a directory is gone; what was there stays until
    /// the new one stands.
    pub(crate) async fn restore_paths(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        paths: &[String],
        work: &Work,
    ) -> Result<()> {
        let paths = selection(paths)?;
        let snapshot = self.find_snapshot(id, name).await?.1;
        let facts = self.get(id).await?;
        if !facts.dependents.is_empty() {
            return Err(Error::HasDependents(format!(
                "container '{}' is needed by {}; destroy those first, or restore the snapshot under a new name",
                id.name,
                facts.dependents.join(", ")
            )));
        }
        let _lock = self.lock(&id.name).await?;
        let (old, now) = (
            Source::read(snapshot)?,
            Source::read(self.layout(&id.name))?,
        );
        let old = storage::files(&old.rootfs);
        let view = duplicate::open(&self.0.programs, &old, Access::Read).await?;
        let root = self.root_to_change(id, &now).await?;
        let note = note_of(&self.layout(&id.name));
        files::replace(&note, b"", 0o600).map_err(|error| Error::path("writing", &note, &error))?;
        let (work, name) = (work.clone(), name.clone());
        blocking(move || {
            let graft = Graft {
                from: &Tree::new(view),
                to: &Tree::new(root),
                snapshot: &name,
                work: &work,
            };
            let done = graft.all(&paths);
            done.and(forget(&note))
        })
        .await
    }

    /// The top of a container's files, where something can be put into them.
    async fn root_to_change(&self, id: &ContainerId, source: &Source) -> Result<OwnedFd> {
        let options = source.config.get("lxc.rootfs.options").unwrap_or_default();
        let is_running = self.get(id).await?.state != State::Stopped;
        if is_running && !storage::is_tree(&source.backend) && options.contains("idmap=") {
            return Err(Error::WrongState(format!(
                "container '{}' runs with ids mapped by its mount; stop it first",
                id.name
            )));
        }
        self.top(id, source, Access::Write).await
    }
}

/// Paths from the top, none below another.
fn selection(paths: &[String]) -> Result<Vec<PathBuf>> {
    let mut chosen = Vec::new();
    for path in paths {
        let invalid = |reason: &str| {
            Err(Error::InvalidArgument(format!(
                "{path:?} cannot be restored: {reason}"
            )))
        };
        let Some(relative) = path.strip_prefix('/') else {
            return invalid("write the whole path, from / on");
        };
        let relative: PathBuf = Path::new(relative).components().collect();
        if relative.as_os_str().is_empty() {
            return invalid("restore the whole snapshot instead");
        }
        if path.contains('\0')
            || !relative
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        {
            return invalid("write it without '..'");
        }
        chosen.push(relative);
    }
    if chosen.is_empty() {
        return Err(Error::InvalidArgument(
            "there is no path to restore; name one".to_owned(),
        ));
    }
    chosen.sort();
    chosen.dedup();
    let mut last: Option<PathBuf> = None;
    chosen.retain(|path| {
        let below = last.as_ref().is_some_and(|last| path.starts_with(last));
        if !below {
            last = Some(path.clone());
        }
        !below
    });
    Ok(chosen)
}

/// The work on one container.
struct Graft<'a> {
    from: &'a Tree,
    to: &'a Tree,
    snapshot: &'a ContainerName,
    work: &'a Work,
}

impl Graft<'_> {
    fn all(&self, paths: &[PathBuf]) -> Result<()> {
        for path in paths {
            self.expect(path)?;
        }
        remove_leftovers(self.to)?;
        let letters =
            files::random_letters(6).map_err(|error| Error::io("reading random bytes", &error))?;
        let staging = PathBuf::from(format!("{STAGING}{letters}"));
        let done = self.through(&staging, paths);
        let removed = remove(self.to, &staging);
        done.and(removed.map_err(|error| failed("removing what was replaced at", &staging, &error)))
    }

    fn through(&self, staging: &Path, paths: &[PathBuf]) -> Result<()> {
        let cancelled = |_| io::Error::from(io::ErrorKind::Interrupted);
        let step = |bytes: u64| {
            self.work.bytes(self.work.bytes_done() + bytes);
            self.work.check().map_err(cancelled)
        };
        let mut transplant = Transplant::new(self.from, self.to, &step);
        self.make(staging)
            .map_err(|error| failed("making", staging, &error))?;
        for (number, path) in paths.iter().enumerate() {
            self.work.check()?;
            self.work
                .stage(&format!("restoring {}", shown(path).escape_debug()));
            let new = staging.join(number.to_string());
            let restored = transplant
                .copy(path, &new)
                .and_then(|()| self.make_parents(&transplant, path))
                .and_then(|()| self.place(&transplant, &new, path))
                .and_then(|()| self.sync(path));
            if let Err(error) = restored {
                self.work.check()?;
                return Err(failed("restoring", path, &error));
            }
            transplant.moved(&new, path);
        }
        Ok(())
    }

    /// Refuses what is not in the snapshot.
    fn expect(&self, path: &Path) -> Result<()> {
        let missing = || {
            Error::NotFound(format!(
                "there is no {} in the snapshot '{}', or a link is on the way to it; name the real path",
                shown(path),
                self.snapshot
            ))
        };
        let looked = parent(self.from, path).and_then(|(here, name)| tree::look(here, name));
        match looked {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(missing()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(failed("looking for", path, &error)),
        }
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        let (there, name) = parent(self.to, path)?;
        Ok(rustix::fs::mkdirat(
            &there,
            name,
            Mode::from_raw_mode(0o700),
        )?)
    }

    /// Makes the directories above a path that are missing, as they were.
    fn make_parents(&self, transplant: &Transplant<'_>, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            if directory.as_os_str().is_empty() || self.to.directory(directory)?.is_some() {
                continue;
            }
            match self.make(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(io::Error::other(format!(
                        "{} is no directory any more, or something is mounted there; restore what is above",
                        shown(directory)
                    )));
                }
                made => made?,
            }
            transplant.dress(directory, directory)?;
        }
        Ok(())
    }

    /// Puts what is at `new` in the place of what is at `path`.
    fn place(&self, transplant: &Transplant<'_>, new: &Path, path: &Path) -> io::Result<()> {
        let (staging, name) = parent(self.to, new)?;
        let (there, target) = parent(self.to, path)?;
        let rename = |flags| rustix::fs::renameat_with(&staging, name, &there, target, flags);
        match rename(RenameFlags::NOREPLACE).or_else(|error| match error {
            Errno::EXIST => rename(RenameFlags::EXCHANGE),
            error => Err(error),
        }) {
            Ok(()) => Ok(()),
            // A directory of a layer below cannot be moved.
            Err(Errno::XDEV) if self.is_directory(new)? && self.is_directory(path)? => {
                self.merge(transplant, new, path)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directory at `path` what the one at `new` is, one entry after the other.
    fn merge(&self, transplant: &Transplant<'_>, new: &Path, path: &Path) -> io::Result<()> {
        let wanted = tree::names(directory(self.to, new)?)?;
        for name in tree::names(directory(self.to, path)?)? {
            if wanted.binary_search(&name).is_err() {
                remove(self.to, &path.join(&name))?;
            }
        }
        for name in wanted {
            self.place(transplant, &new.join(&name), &path.join(&name))?;
        }
        let own = Transplant::new(self.to, self.to, &|_| Ok(()));
        own.dress(new, path)
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        let (here, name) = parent(self.to, path)?;
        let found = tree::look(&here, name)?;
        Ok(found.is_some_and(|status| kind(&status) == FileType::Directory))
    }

    /// What was restored lasts a power loss.
    fn sync(&self, path: &Path) -> io::Result<()> {
        let (there, _) = parent(self.to, path)?;
        Ok(rustix::fs::syncfs(&there)?)
    }
}

/// Removes what a call left in a container's root when it was cut.
fn remove_leftovers(root: &Tree) -> Result<()> {
    let names = directory(root, Path::new("")).and_then(tree::names);
    let names = names.map_err(|error| failed("reading", Path::new(""), &error))?;
    for name in names {
        if name.to_string_lossy().starts_with(STAGING) {
            let path = Path::new(&name);
            remove(root, path).map_err(|error| failed("removing", path, &error))?;
        }
    }
    Ok(())
}

/// Removes what is at a path, with all below it.
fn remove(root: &Tree, path: &Path) -> io::Result<()> {
    /// So often a directory may be filled anew meanwhile.
    const TRIES: u32 = 16;
    let mut waiting = vec![(path.to_path_buf(), 0)];
    while let Some((path, tries)) = waiting.pop() {
        let (here, name) = match parent(root, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match rustix::fs::unlinkat(&here, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        }
        match rustix::fs::unlinkat(&here, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) if tries < TRIES => {
                let listed = tree::names(directory(root, &path)?)?;
                waiting.push((path.clone(), tries + 1));
                waiting.extend(listed.iter().map(|name| (path.join(name), 0)));
            }
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn note_of(layout: &ContainerLayout) -> PathBuf {
    layout.directory().join(RESTORING)
}

/// Removes what a call left that was cut, where it can be reached as it lies; elsewhere
/// the next call does.
pub(super) fn finish_restoring(layout: &ContainerLayout) -> Result<()> {
    let note = note_of(layout);
    if note.symlink_metadata().is_err() {
        return Ok(());
    }
    let source = Source::read(layout.clone())?;
    if let Files::At(root) = storage::files(&source.rootfs) {
        let root =
            files::open_directory(&root).map_err(|error| Error::path("opening", &root, &error))?;
        remove_leftovers(&Tree::new(root))?;
        forget(&note)?;
    }
    Ok(())
}

fn forget(note: &Path) -> Result<()> {
    std::fs::remove_file(note).map_err(|error| Error::path("removing", note, &error))
}

fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Error {
    Error::path(doing, Path::new(&shown(path)), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_each_path_once() {
        let chosen = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            selection(&paths)
        };
        assert_eq!(
            chosen(&["/etc/b", "/etc", "/usr//lib/", "/etc", "/etcetera"]).unwrap(),
            ["etc", "etcetera", "usr/lib"].map(PathBuf::from)
        );
        for wrong in [&["etc"][..], &["/"], &["/a/../b"], &[""], &[]] {
            assert!(
                matches!(chosen(wrong), Err(Error::InvalidArgument(_))),
                "{wrong:?}"
            );
        }
    }
}
