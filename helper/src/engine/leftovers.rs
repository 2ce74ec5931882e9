//! What operations leave behind that were cut by a kill or a power loss: finished or
//! removed before anything else is done.

use super::Result;
use super::dependents::list_with_origins;
use super::paths::finish_restoring;
use super::rename::{RENAMING, finish_rename};
use super::schedule::SCHEDULE;
use super::snapshots::CURRENT;
use super::staging::{CREATE, MARKER, Trash, finish_replacement};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::storage::elsewhere;
use gantry_core::layout::{ContainerLayout, REMOVING, RUN_DIR};
use gantry_core::name::ContainerName;
use rustix::process::geteuid;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a process that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(2);
/// Between two looks whether it is.
const PAUSE: Duration = Duration::from_millis(20);

/// Finishes interrupted renames, and removes what interrupted creations and
/// removals left in an LXC path: our names, root's directories, and nobody holds
/// the lock. Gives those whose space is still to be freed.
pub(super) fn remove_leftovers(lxc_path: &Path) -> Vec<Trash> {
    let mut to_free = Vec::new();
    let entries = match std::fs::read_dir(lxc_path) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!("reading {} failed: {error}", lxc_path.display());
            return to_free;
        }
    };
    let (leftovers, containers): (Vec<PathBuf>, Vec<PathBuf>) = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .partition(|path| is_hidden(path));
    for path in containers {
        if let Err(error) = finish_rename(&path) {
            tracing::warn!("{error}");
        }
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(Ok(name)) = name.map(ContainerName::new) {
            let layout = ContainerLayout::new(&lxc_path.to_string_lossy(), name);
            remove_temporary(&layout);
            if let Err(error) = finish_restoring(&layout) {
                tracing::warn!("{error}");
            }
            // A clone may have been cut before it stood in the lists of what it needs.
            if let Err(error) = list_with_origins(&layout) {
                tracing::warn!("{error}");
            }
        }
        match finish_replacement(&path) {
            Ok(old) => to_free.extend(old),
            // What looks left over may have what this container still lacks.
            Err(error) => {
                tracing::error!("{error}");
                return to_free;
            }
        }
    }
    for path in leftovers {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
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
        match Trash::left(&path).leave_elsewhere() {
            Ok(trash) => to_free.push(trash),
            Err(error) => tracing::warn!("{error}"),
        }
    }
    to_free
}

/// Removes a directory, into which a process that dies with its helper may write for a
/// moment longer.
pub(super) fn empty_at_last(path: &Path) -> Result<()> {
    let deadline = Instant::now() + DYING;
    loop {
        match Trash::left(path).empty() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Removes what was written beside a container's files to take their place, and
/// did not come to it. Who changes them holds the container's lock.
fn remove_temporary(layout: &ContainerLayout) {
    let directory = layout.directory();
    let left = files::temporary(
        &directory,
        &[
            "config",
            "lxc_snapshots",
            RENAMING,
            elsewhere::NOTE,
            CURRENT,
            SCHEDULE,
        ],
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

/// Whether a creation is under way. A helper that was killed holds its locks for
/// a moment longer than its name on the bus.
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
