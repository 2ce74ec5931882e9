//! Snapshots, where and as LXC keeps them: each a container's directory below the
//! container's own, with a time and a comment beside the config.

use super::clone::{CloneOptions, Source};
use super::create::discard;
use super::dependents::{dependents_of, forget_origins, list_with_origins};
use super::staging::{Staging, Trash};
use super::{ContainerId, Engine, Error, Result, Work, blocking, disk, duplicate};
use crate::linux::{files, local_time};
use crate::storage::{self, elsewhere::Elsewhere};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use gantry_core::values::rootfs::RootfsPath;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// In a snapshot's directory: what LXC has no place for.
const FACTS: &str = "gantry.json";
/// The files of a snapshot that are not of the container it is of.
pub(super) const NOTES: [&str; 3] = ["ts", "comment", FACTS];
/// In the container's directory: the snapshot that its present state came from.
pub(super) const CURRENT: &str = ".gantry-current";
/// The longest comment, in bytes.
const LONGEST: u64 = 4096;

/// A snapshot as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Its name, `snap0` and so on unless another was chosen.
    pub(crate) name: String,
    /// A word about it.
    pub(crate) comment: String,
    /// When it was taken, in seconds since 1970.
    pub(crate) created: i64,
    /// The snapshot before it; empty: none.
    pub(crate) parent: String,
    /// Bytes that were copied for it; 0 where nothing had to be, or LXC made it.
    pub(crate) size: u64,
    /// How its root file system is stored.
    pub(crate) backend: String,
    /// The container's present state came from it.
    pub(crate) current: bool,
    /// A schedule took it, and removes it.
    pub(crate) scheduled: bool,
}

/// A snapshot that is to be taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewSnapshot {
    /// Its name; none: the next free `snapN`.
    pub(crate) name: Option<ContainerName>,
    /// A word about it.
    pub(crate) comment: String,
    /// A schedule takes it.
    pub(crate) scheduled: bool,
}

/// What is in [`FACTS`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    parent: String,
    size: u64,
    /// How long the copying took.
    milliseconds: u64,
    scheduled: bool,
}

/// How to go back.
#[derive(Debug, Clone)]
pub(crate) struct RestoreOptions {
    /// Make a container of this name instead of replacing the snapshot's own.
    pub(crate) new_name: Option<ContainerName>,
    /// Take a snapshot of the present state first.
    pub(crate) safety: bool,
}

impl Engine {
    /// Takes a snapshot and gives its name. A container that runs is held for the
    /// moment of the copy: the snapshot is what a power cut would have left.
    pub(crate) async fn take_snapshot(
        &self,
        id: &ContainerId,
        new: NewSnapshot,
        work: &Work,
    ) -> Result<String> {
        self.get(id).await?;
        let _lock = self.lock(&id.name).await?;
        self.take_locked(id, new, work).await
    }

    async fn take_locked(&self, id: &ContainerId, new: NewSnapshot, work: &Work) -> Result<String> {
        let layout = self.layout(&id.name);
        let base = folder(&layout);
        files::create_dirs(&base, 0o700).map_err(|error| Error::path("making", &base, &error))?;
        let name = match new.name {
            Some(name) => name,
            None => next_name(&base)?,
        };
        let target = snapshot_layout(&layout, name.clone())?;
        if target.directory().symlink_metadata().is_ok() {
            return Err(Error::Exists(format!(
                "container '{}' has a snapshot '{name}' already; choose another name",
                id.name
            )));
        }
        let source = Source::read(layout.clone())?;
        if source.copies_in_full().await? {
            work.log("the root file system is copied in full: its backend has no snapshots");
        }
        let staging = Staging::create(&workplace(&layout))?;
        let options = source.same_again().await?;
        let write = |file: &str, text: &str| {
            let path = staging.path().join(file);
            files::replace(&path, text.as_bytes(), 0o640)
                .map_err(|error| Error::path("writing", &path, &error))
        };
        write("ts", &local_time::now("%Y:%m:%d %H:%M:%S"))?;
        if !new.comment.is_empty() {
            write("comment", &new.comment)?;
        }
        let begun = Instant::now();
        let filled = self
            .fill_copy(Some(id), &source, &target, &staging, &options, work)
            .await;
        let filled = match filled {
            Ok(copied) => {
                let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
                let mut size = 0;
                for files in &copied {
                    size += duplicate::occupied_by(&self.0.programs, files).await?;
                }
                let kept = Kept {
                    parent: current(&layout),
                    size,
                    milliseconds,
                    scheduled: new.scheduled,
                };
                keep(staging.path(), &kept)
            }
            Err(error) => Err(error),
        };
        self.publish_copy(staging, filled, &source, &target).await?;
        set_current(&layout, name.as_str())?;
        Ok(name.to_string())
    }

    /// A container's snapshots, in the order in which they were taken.
    pub(crate) async fn snapshots(&self, id: &ContainerId) -> Result<Vec<Snapshot>> {
        self.get(id).await?;
        let layout = self.layout(&id.name);
        blocking(move || list(&layout)).await
    }

    /// Deletes a snapshot; those after it have the one before it as parent.
    pub(crate) async fn delete_snapshot(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        work: &Work,
    ) -> Result<()> {
        let (layout, snapshot) = self.find_snapshot(id, name).await?;
        let _lock = self.lock(&id.name).await?;
        let dependents = dependents_of(&snapshot)?;
        if !dependents.is_empty() {
            return Err(Error::HasDependents(format!(
                "the snapshot '{name}' is needed by {}; destroy those first",
                dependents.join(", ")
            )));
        }
        work.stage("removing");
        let gone = kept(&snapshot);
        for other in list(&layout)?
            .iter()
            .filter(|other| other.parent == name.as_str())
        {
            let child = snapshot_layout(&layout, ContainerName::new(&other.name)?)?;
            let kept = Kept {
                parent: gone.parent.clone(),
                ..kept(&child)
            };
            keep(&child.directory(), &kept)?;
        }
        if current(&layout) == name.as_str() {
            set_current(&layout, &gone.parent)?;
        }
        let (there, directory) = (workplace(&layout), snapshot.directory());
        let trash = blocking(move || {
            let elsewhere = volume_of(&snapshot)?;
            let trash = Trash::take(&there, &directory, &elsewhere)?;
            forget_origins(&snapshot, trash.path());
            trash.leave_elsewhere()
        })
        .await?;
        self.free(trash);
        Ok(())
    }

    /// Changes a snapshot's comment; an empty one takes it away.
    pub(crate) async fn comment_snapshot(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        comment: &str,
    ) -> Result<()> {
        let (_, snapshot) = self.find_snapshot(id, name).await?;
        let path = snapshot.directory().join("comment");
        let failed = |error: io::Error| Error::path("writing", &path, &error);
        if !comment.is_empty() {
            return files::replace(&path, comment.as_bytes(), 0o640).map_err(failed);
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Goes back to a snapshot, in place or as a new container. In place the old state
    /// stays until the new one stands. Gives the container.
    pub(crate) async fn restore_snapshot(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        options: RestoreOptions,
        work: &Work,
    ) -> Result<ContainerId> {
        let (layout, snapshot) = self.find_snapshot(id, name).await?;
        if let Some(new) = options.new_name {
            let _lock = self.lock(&id.name).await?;
            let source = Source {
                name: id.name.clone(),
                ..Source::read(snapshot)?
            };
            let how = CloneOptions {
                snapshot: !source.copies_in_full().await?,
                hooks: Some(Vec::new()),
                ..CloneOptions::default()
            };
            return self.make_from(None, source, &new, &how, work).await;
        }
        let facts = self.get(id).await?;
        if facts.state != State::Stopped {
            return Err(Error::WrongState(format!(
                "container '{}' is {}; stop it first, or restore under a new name",
                id.name, facts.state
            )));
        }
        if !facts.dependents.is_empty() {
            return Err(Error::HasDependents(format!(
                "container '{}' is needed by {}; restore under a new name",
                id.name,
                facts.dependents.join(", ")
            )));
        }
        let _lock = self.lock(&id.name).await?;
        self.refuse_alive(id).await?;
        if options.safety {
            let new = NewSnapshot {
                comment: format!("before going back to {name}"),
                ..NewSnapshot::default()
            };
            let taken = self.take_locked(id, new, &work.part("safety")).await?;
            work.log(format_args!("the present state is in the snapshot {taken}"));
        }
        let source = Source::read(snapshot)?;
        let how = source.same_again().await?;
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        let filled = self
            .fill_copy(None, &source, &layout, &staging, &how, work)
            .await;
        if let Err(error) = filled {
            return Err(discard(staging, error).await);
        }
        let path = staging.path().join(CURRENT);
        files::replace(&path, name.as_str().as_bytes(), 0o600)
            .map_err(|error| Error::path("writing", &path, &error))?;
        // An lxc-start of stock LXC holds the lock only while it reads the config: one that
        // had done that has gone on during the copy.
        if let Err(error) = self.refuse_alive(id).await {
            return Err(discard(staging, error).await);
        }
        work.stage("replacing");
        let group = source.root_group();
        let old = blocking(move || {
            let elsewhere = volume_of(&layout)?;
            let old = staging.replace(group, &layout, &elsewhere)?;
            if let Err(error) = went_back(&layout) {
                tracing::warn!("{error}");
            }
            list_with_origins(&layout)?;
            Ok(old)
        })
        .await?;
        if let Some(old) = old {
            self.free(old);
        }
        self.refresh().await?;
        Ok(id.clone())
    }

    pub(super) async fn find_snapshot(
        &self,
        id: &ContainerId,
        name: &ContainerName,
    ) -> Result<(ContainerLayout, ContainerLayout)> {
        self.get(id).await?;
        let layout = self.layout(&id.name);
        let snapshot = snapshot_layout(&layout, name.clone())?;
        if snapshot.config().symlink_metadata().is_err() {
            return Err(Error::NotFound(format!(
                "container '{}' has no snapshot '{name}'",
                id.name
            )));
        }
        Ok((layout, snapshot))
    }
}

/// The volume that goes with a container or snapshot, with a mark.
pub(super) fn volume_of(layout: &ContainerLayout) -> Result<Vec<Elsewhere>> {
    let Ok(Some(rootfs)) = disk::read_rootfs(&layout.config()) else {
        return Ok(Vec::new());
    };
    let volume = Elsewhere::volume(&RootfsPath::parse(&rootfs))?;
    Ok(volume.into_iter().collect())
}

/// Tells the backend of a container that it went back to a snapshot.
fn went_back(layout: &ContainerLayout) -> Result<()> {
    match disk::read_rootfs(&layout.config())? {
        Some(rootfs) => {
            let rootfs = RootfsPath::parse(&rootfs);
            storage::backend(&storage::name_of(&rootfs))?.went_back(&rootfs)
        }
        None => Ok(()),
    }
}

/// How long copying so many bytes took at the last snapshot for which there were any:
/// milliseconds, and bytes.
pub(super) fn last_copy(layout: &ContainerLayout) -> Result<Option<(u64, u64)>> {
    for snapshot in list(layout)?.iter().rev() {
        let kept = kept(&snapshot_layout(
            layout,
            ContainerName::new(&snapshot.name)?,
        )?);
        if kept.size > 0 && kept.milliseconds > 0 {
            return Ok(Some((kept.milliseconds, kept.size)));
        }
    }
    Ok(None)
}

/// Where a container's snapshots lie. LXC uses the old place, for all containers of
/// an LXC path, where that is there.
pub(super) fn folder(layout: &ContainerLayout) -> PathBuf {
    let old = PathBuf::from(format!("{}snaps", layout.lxc_path()));
    if old.is_dir() {
        old.join(layout.name().as_str())
    } else {
        layout.snapshots()
    }
}

/// Where snapshots are made and taken apart: on the file system they lie on.
fn workplace(layout: &ContainerLayout) -> PathBuf {
    let folder = folder(layout);
    if folder == layout.snapshots() {
        PathBuf::from(layout.lxc_path())
    } else {
        folder
    }
}

/// The places in which leftovers of snapshots may lie, besides the LXC path.
pub(super) fn old_workplaces(lxc_path: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(format!("{lxc_path}snaps"))
        .into_iter()
        .flatten();
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

pub(super) fn snapshot_layout(
    layout: &ContainerLayout,
    name: ContainerName,
) -> Result<ContainerLayout> {
    layout_in(&folder(layout), name)
}

fn layout_in(folder: &Path, name: ContainerName) -> Result<ContainerLayout> {
    let folder = folder
        .to_str()
        .ok_or_else(|| Error::InvalidArgument("the LXC path is not UTF-8".to_owned()))?;
    Ok(ContainerLayout::new(folder, name))
}

fn next_name(folder: &Path) -> Result<ContainerName> {
    let free = (0_u32..).map(|number| format!("snap{number}"));
    let free = free
        .into_iter()
        .find(|name| folder.join(name).symlink_metadata().is_err());
    Ok(ContainerName::new(&free.unwrap_or_default())?)
}

pub(super) fn list(layout: &ContainerLayout) -> Result<Vec<Snapshot>> {
    let folder = folder(layout);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::path("reading", &folder, &error)),
    };
    let current = current(layout);
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(Ok(name)) = entry.file_name().to_str().map(ContainerName::new) else {
            continue;
        };
        let snapshot = layout_in(&folder, name)?;
        let Ok(rootfs) = disk::read_rootfs(&snapshot.config()) else {
            continue;
        };
        let kept = kept(&snapshot);
        let name = snapshot.name().to_string();
        let (created, after) = snapshot
            .directory()
            .join("ts")
            .symlink_metadata()
            .or_else(|_| snapshot.config().symlink_metadata())
            .map_or((0, 0), |status| (status.mtime(), status.mtime_nsec()));
        found.push((
            after,
            Snapshot {
                comment: text_of(&snapshot.directory().join("comment"))
                    .trim_end()
                    .to_owned(),
                created,
                parent: kept.parent,
                size: kept.size,
                backend: rootfs.as_deref().map(disk::backend).unwrap_or_default(),
                current: name == current,
                scheduled: kept.scheduled,
                name,
            },
        ));
    }
    found.sort_by_key(|(after, snapshot)| (snapshot.created, *after));
    Ok(found.into_iter().map(|(_, snapshot)| snapshot).collect())
}

fn kept(snapshot: &ContainerLayout) -> Kept {
    serde_json::from_str(&text_of(&snapshot.directory().join(FACTS))).unwrap_or_default()
}

fn keep(directory: &Path, kept: &Kept) -> Result<()> {
    let path = directory.join(FACTS);
    let text = serde_json::to_string(kept).map_err(|error| Error::Failed(error.to_string()))?;
    files::replace(&path, text.as_bytes(), 0o640)
        .map_err(|error| Error::path("writing", &path, &error))
}

fn current(layout: &ContainerLayout) -> String {
    text_of(&layout.directory().join(CURRENT))
}

fn set_current(layout: &ContainerLayout, name: &str) -> Result<()> {
    let path = layout.directory().join(CURRENT);
    files::replace(&path, name.as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", &path, &error))
}

/// A short text; empty where there is none.
fn text_of(path: &Path) -> String {
    files::open_regular(path)
        .and_then(|(file, _)| files::read_bounded(&file, LONGEST))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
