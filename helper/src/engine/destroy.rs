//! Removing containers.

use super::client::Client;
use super::dependents::forget_origins;
use super::disk;
use super::snapshots::{self, snapshot_layout, volume_of};
use super::staging::Trash;
use super::{ContainerId, Engine, Error, Facts, Result, Work, blocking};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::linux::mounts::mounted_below;
use crate::storage::{self, elsewhere::Elsewhere};
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::settings::{HookStage, Settings};
use gantry_core::states::State;
use gantry_core::values::rootfs::RootfsPath;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DestroyOptions {
    /// Kill it first when it runs.
    pub(crate) force: bool,
    /// Destroy its snapshots with it.
    pub(crate) snapshots: bool,
}

impl Engine {
    /// Removes a container and its root file system, after its hooks for that
    /// have run; one that fails prevents it. Refused while it runs (unless
    /// forced), has snapshots (unless they go too) or dependents.
    pub(crate) async fn destroy(
        &self,
        id: &ContainerId,
        options: DestroyOptions,
        work: &Work,
    ) -> Result<()> {
        let facts = self.get(id).await?;
        let layout = self.layout(&id.name);
        refuse_dependents(&facts, &layout, options.snapshots)?;
        if facts.state != State::Stopped && !options.force {
            return Err(Error::WrongState(format!(
                "container '{}' is {}; stop it first, or force it",
                id.name, facts.state
            )));
        }
        let config = disk::read_config(&layout.config())
            .ok()
            .map(|file| file.config);
        let directory = directory_elsewhere(id, &layout, config.as_ref())?;
        refuse_mounts(id, &layout.directory())?;
        if let Some(directory) = &directory {
            refuse_mounts(id, directory)?;
        }
        work.check()?;
        if facts.state != State::Stopped {
            work.stage("killing");
            self.kill(id).await?;
        }
        let _lock = self.lock(&id.name).await?;
        self.refuse_alive(id).await?;
        if has_hooks(config.as_ref(), HookStage::Destroy) {
            work.stage("running hooks");
            self.0.programs.destroy_hooks(layout.clone(), work).await?;
        }
        work.stage("removing");
        // In one step it is gone; what the removal takes after that is out of sight, and
        // done by the next helper if this one ends. Volumes are gone when this returns,
        // for their names; files take longer.
        let lxc_path = PathBuf::from(self.lxc_path());
        let is_managed = config
            .as_ref()
            .is_some_and(|config| config.get("lxc.rootfs.managed") != Some("0"));
        let place = layout.clone();
        let trash = blocking(move || {
            let mut elsewhere: Vec<_> = directory.map(Elsewhere::Directory).into_iter().collect();
            let folder = snapshots::folder(&place);
            if folder != place.snapshots() {
                elsewhere.push(Elsewhere::Directory(folder));
            }
            for snapshot in snapshots::list(&place)? {
                let name = ContainerName::new(&snapshot.name)?;
                elsewhere.extend(volume_of(&snapshot_layout(&place, name)?)?);
            }
            if is_managed {
                elsewhere.extend(volume_of(&place)?);
            }
            Trash::take(&lxc_path, &place.directory(), &elsewhere)
        })
        .await?;
        forget_origins(&layout, trash.path());
        self.refresh().await?;
        let trash = blocking(move || trash.leave_elsewhere()).await?;
        self.free(trash);
        if let Some(config) = &config {
            self.leave_networks(&id.name, config).await;
        }
        Ok(())
    }

    /// Destroys an ephemeral container that its monitor has left: it was killed, went
    /// with the host before it could, or found more than its directory to remove. Gives
    /// back whether there is nothing more to do: not as long as a monitor is about to.
    pub(super) async fn destroy_left(&self, id: &ContainerId) -> bool {
        let mark = self.layout(&id.name).mark_of_life();
        if !self.facts(id).is_some_and(|facts| facts.ephemeral) {
            return true;
        }
        let _lock = match files::open_writable(&mark).and_then(FileLock::try_lock) {
            Ok(Some(lock)) => lock,
            Ok(None) => return false,
            // It has not run, or is gone.
            Err(_) => return true,
        };
        let options = DestroyOptions::default();
        match self.destroy(id, options, &Work::new().0).await {
            Ok(()) => tracing::info!(container = %id.name, "destroyed, for it was ephemeral"),
            Err(error) => {
                tracing::warn!(container = %id.name, "the ephemeral container is left: {error}");
            }
        }
        true
    }

    /// Whether destroying a container runs programs with root's rights.
    pub(crate) fn has_destroy_hooks(&self, id: &ContainerId) -> bool {
        let config = disk::read_config(&self.layout(&id.name).config());
        has_hooks(
            config.ok().map(|file| file.config).as_ref(),
            HookStage::Destroy,
        )
    }

    /// Under the container's lock: nobody has started it meanwhile.
    pub(super) async fn refuse_alive(&self, id: &ContainerId) -> Result<()> {
        if Client::new(&self.layout(&id.name)).is_alive().await {
            return Err(Error::WrongState(format!(
                "container '{}' has just been started; stop it first",
                id.name
            )));
        }
        Ok(())
    }
}

/// A config with every value as `change` has it, given the key and the value. Lines
/// of keys whose values stay are not touched.
pub(super) fn rewritten(
    config: &Config,
    change: impl Fn(&str, &str) -> Result<String>,
) -> Result<Config> {
    let mut copy = config.clone();
    let mut keys: Vec<&str> = config
        .items()
        .iter()
        .map(|item| item.key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let old = config.values(key);
        let new: Vec<String> = old
            .iter()
            .map(|value| change(key, value))
            .collect::<Result<_>>()?;
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        if new != old {
            copy.set(key, &new, &mut disk::DiskIncludes)?;
        }
    }
    Ok(copy)
}

/// Replaces a path wherever it stands as whole components.
pub(super) fn replace_path(value: &str, from: &str, to: &str) -> String {
    let mut result = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(position) = rest.find(from) {
        let (before, at) = rest.split_at(position);
        let after = at.get(from.len()..).unwrap_or_default();
        let starts = before
            .chars()
            .next_back()
            .is_none_or(|c| !c.is_alphanumeric() && !"/._-".contains(c));
        let ends = after
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric() && !"._-".contains(c));
        result.push_str(before);
        result.push_str(if starts && ends { to } else { from });
        rest = after;
    }
    result + rest
}

/// What somebody has mounted below must not be deleted with it.
fn refuse_mounts(id: &ContainerId, directory: &Path) -> Result<()> {
    match mounted_below(directory) {
        Ok(Some(point)) => Err(Error::Busy(format!(
            "{} is mounted below container '{}'; unmount it first",
            point.display(),
            id.name
        ))),
        Ok(None) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::path("looking for mounts below", directory, &error)),
    }
}

pub(super) fn refuse_dependents(
    facts: &Facts,
    layout: &ContainerLayout,
    snapshots_too: bool,
) -> Result<()> {
    let name = &facts.id.name;
    if !facts.dependents.is_empty() {
        return Err(Error::HasDependents(format!(
            "container '{name}' is needed by {}; destroy those first",
            facts.dependents.join(", ")
        )));
    }
    let has_some = |folder| std::fs::read_dir(folder).is_ok_and(|mut found| found.next().is_some());
    if !snapshots_too && (has_some(layout.snapshots()) || has_some(snapshots::folder(layout))) {
        return Err(Error::HasDependents(format!(
            "container '{name}' has snapshots; delete them first, or ask for them to go, too"
        )));
    }
    Ok(())
}

/// Whether a config has hooks of a stage.
pub(super) fn has_hooks(config: Option<&Config>, stage: HookStage) -> bool {
    let settings = config.and_then(|config| Settings::from_config(config).ok());
    settings.is_some_and(|settings| settings.hooks.run_at(stage).next().is_some())
}

/// The root file system, when it is a managed directory that is not in the container's
/// own. Volumes are found otherwise.
fn directory_elsewhere(
    id: &ContainerId,
    layout: &ContainerLayout,
    config: Option<&Config>,
) -> Result<Option<PathBuf>> {
    let Some(config) = config.filter(|config| config.get("lxc.rootfs.managed") != Some("0")) else {
        return Ok(None);
    };
    let Some(rootfs) = config.get("lxc.rootfs.path").map(RootfsPath::parse) else {
        return Ok(None);
    };
    let path = PathBuf::from(&rootfs.path);
    let is_inside =
        path.starts_with(layout.directory()) && !path.components().any(|c| c.as_os_str() == "..");
    match storage::name_of(&rootfs).as_str() {
        // The upper directory of an overlay lies in the container's own.
        "dir" | "btrfs" | "loop" if is_inside => Ok(None),
        "overlay" | "lvm" | "zfs" => Ok(None),
        // Only what create made: a directory called after the container.
        "dir"
            if path
                .file_name()
                .is_some_and(|name| name == id.name.as_str()) =>
        {
            Ok(Some(path))
        }
        "dir" => {
            tracing::warn!(
                "{} is not called after container '{}' and is left alone",
                path.display(),
                id.name
            );
            Ok(None)
        }
        kind => Err(Error::Unsupported(format!(
            "container '{}' is stored on {kind} outside of its directory, which is not removed; use lxc-destroy",
            id.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_move_as_whole_components() {
        let moved = |value| replace_path(value, "/var/lib/lxc/c1", "/var/lib/lxc/web");
        assert_eq!(
            moved("dir:/var/lib/lxc/c1/rootfs"),
            "dir:/var/lib/lxc/web/rootfs"
        );
        assert_eq!(moved("/var/lib/lxc/c10/rootfs"), "/var/lib/lxc/c10/rootfs");
        assert_eq!(moved("/srv/var/lib/lxc/c1"), "/srv/var/lib/lxc/c1");
        assert_eq!(
            moved("/a /var/lib/lxc/c1 /var/lib/lxc/c1/b"),
            "/a /var/lib/lxc/web /var/lib/lxc/web/b"
        );
    }
}
