//! Giving containers other names.

use super::destroy::{refuse_dependents, replace_path, rewritten};
use super::{ContainerId, Engine, Error, Result, Work, blocking, disk};
use crate::linux::files;
use crate::storage;
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FinishCopy;
use gantry_core::name::ContainerName;
use gantry_core::settings::HookStage;
use gantry_core::states::State;
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::{CWD, RenameFlags};
use rustix::process::geteuid;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// In a directory that is being renamed: what its config will be.
pub(super) const RENAMING: &str = ".gantry-renaming";

impl Engine {
    /// Gives a stopped container another name: its directory, what in its config names
    /// that directory or is its old name, and with that the name inside. Its hooks for
    /// clones run as with LXC, where a renamed container is a clone; if one fails, the
    /// container keeps its name.
    pub(crate) async fn rename(
        &self,
        id: &ContainerId,
        new: &ContainerName,
    ) -> Result<ContainerId> {
        let facts = self.get(id).await?;
        if facts.state != State::Stopped {
            return Err(Error::WrongState(format!(
                "container '{}' is {}; stop it first",
                id.name, facts.state
            )));
        }
        let (old_layout, new_layout) = (self.layout(&id.name), self.layout(new));
        refuse_dependents(&facts, &old_layout, false)?;
        if new_layout.directory().exists() {
            return Err(Error::Exists(format!(
                "there is a container '{new}' already; choose another name"
            )));
        }
        let _name = self.reserve(new)?;
        let _old_lock = self.lock(&id.name).await?;
        let _new_lock = self.lock(new).await?;
        self.refuse_alive(id).await?;
        let config = disk::read_config(&old_layout.config())?.config;
        config.check()?;
        let request = FinishCopy {
            directory: new.to_string(),
            source: id.name.to_string(),
            host_name: config.get("lxc.uts.name") == Some(id.name.as_str()),
            hooks: config.get(HookStage::Clone.key()).map(|_| Vec::new()),
        };
        self.relocate(&old_layout, &new_layout, &config, None)
            .await?;
        if request.host_name || request.hooks.is_some() {
            let (work, _) = Work::new();
            let programs = &self.0.programs;
            let finished = programs.finish_copy(new_layout.clone(), &request, &work);
            if let Err(error) = finished.await {
                let now = disk::read_config(&new_layout.config())?.config;
                self.relocate(&new_layout, &old_layout, &now, Some(config.text()))
                    .await?;
                self.refresh().await?;
                return Err(error);
            }
        }
        self.refresh().await?;
        self.rename_in_networks(&id.name, new).await;
        Ok(ContainerId::system(new.clone()))
    }

    /// Moves a container's directory, and what names it. Its config becomes `text`, or else
    /// what it is with the new paths.
    async fn relocate(
        &self,
        old_layout: &ContainerLayout,
        new_layout: &ContainerLayout,
        config: &Config,
        text: Option<&str>,
    ) -> Result<()> {
        let new = new_layout.name();
        let volume = config.get("lxc.rootfs.path").map(str::to_owned);
        let renamed = volume_renamed(volume, old_layout.name().clone(), new.clone()).await?;
        let text = match text {
            Some(text) => text.to_owned(),
            None => relocated(config, old_layout, new_layout, renamed.as_ref())?,
        };
        let note = |directory: PathBuf| directory.join(RENAMING);
        // The note finishes the rename if we cannot: see `finish_rename`.
        let (was, is) = renamed.unwrap_or_default();
        let text_for_later = format!("{new}\n{was}\n{is}\n{text}");
        files::replace(
            &note(old_layout.directory()),
            text_for_later.as_bytes(),
            0o600,
        )
        .map_err(|error| Error::path("renaming", &old_layout.directory(), &error))?;
        let renamed = rustix::fs::renameat_with(
            CWD,
            old_layout.directory(),
            CWD,
            new_layout.directory(),
            RenameFlags::NOREPLACE,
        );
        if let Err(error) = renamed {
            forget_rename(&old_layout.directory());
            return Err(Error::path(
                "renaming",
                &old_layout.directory(),
                &error.into(),
            ));
        }
        files::sync_directory(Path::new(self.lxc_path()))
            .map_err(|error| Error::path("renaming", &old_layout.directory(), &error))?;
        let directory = new_layout.directory();
        blocking(move || finish_rename(&directory)).await
    }
}

/// Finishes a rename that got as far as the directory, and forgets one that did
/// not. What is to be done stands in the directory: its new name, its root file
/// system's path and new path if that is a volume to be renamed, too, and, from the
/// fourth line on, its new config.
pub(super) fn finish_rename(directory: &Path) -> Result<()> {
    let note = directory.join(RENAMING);
    // Containers of others may be able to write here: only our own note counts.
    let ours = |metadata: &Metadata| metadata.is_file() && metadata.uid() == geteuid().as_raw();
    if !note
        .symlink_metadata()
        .is_ok_and(|metadata| ours(&metadata))
    {
        return Ok(());
    }
    let plan = files::open_regular(&note)
        .and_then(|(file, metadata)| {
            if ours(&metadata) {
                std::io::read_to_string(file)
            } else {
                Err(ErrorKind::PermissionDenied.into())
            }
        })
        .map_err(|error| Error::path("reading", &note, &error))?;
    let mut parts = plan.splitn(4, '\n');
    if let (Some(name), Some(was), Some(is), Some(text)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && directory.file_name().is_some_and(|now| now == name)
    {
        let mut text = text.to_owned();
        if let Err(error) = rename_volume(was, is, directory) {
            tracing::warn!("the volume keeps its name: {error}");
            text = text.replace(is, was);
        }
        let config = directory.join("config");
        files::replace(&config, text.as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &config, &error))?;
    }
    forget_rename(directory);
    Ok(())
}

/// The path of a root file system that is a volume called after its container, and what
/// it will be after another one.
async fn volume_renamed(
    rootfs: Option<String>,
    old: ContainerName,
    new: ContainerName,
) -> Result<Option<(String, String)>> {
    let Some(was) = rootfs else {
        return Ok(None);
    };
    blocking(move || {
        let rootfs = RootfsPath::parse(&was);
        let path = rootfs.path.as_str();
        let Some(manager) = storage::manager(&rootfs) else {
            return Ok(None);
        };
        let is_called_after = path.rsplit('/').next() == Some(old.as_str());
        if !is_called_after || manager.find(path)?.as_deref() != Some(path) {
            return Ok(None);
        }
        let other = manager.renamed(path, new.as_str())?;
        if manager.find(&other)?.is_some() {
            return Ok(None);
        }
        let is = format!("{}:{other}", storage::name_of(&rootfs));
        Ok(Some((was, is)))
    })
    .await
}

/// Gives a volume its new name, if there is one.
fn rename_volume(was: &str, is: &str, directory: &Path) -> Result<()> {
    let (was, is) = (RootfsPath::parse(was), RootfsPath::parse(is));
    match storage::manager(&is).filter(|_| !is.path.is_empty()) {
        Some(manager) => manager.rename(&was.path, &is.path, &directory.join("rootfs")),
        None => Ok(()),
    }
}

fn forget_rename(directory: &Path) {
    let note = directory.join(RENAMING);
    if let Err(error) = std::fs::remove_file(&note) {
        tracing::warn!("removing {} failed: {error}", note.display());
    }
}

/// The text of a config for another place: paths below the old directory, the host name
/// if it was the container's, and the volume that is renamed, too.
fn relocated(
    config: &Config,
    old: &ContainerLayout,
    new: &ContainerLayout,
    volume: Option<&(String, String)>,
) -> Result<String> {
    let (from, to) = (
        old.directory().display().to_string(),
        new.directory().display().to_string(),
    );
    let moved = rewritten(config, |key, value| {
        Ok(match key {
            "lxc.uts.name" if value == old.name().as_str() => new.name().to_string(),
            "lxc.rootfs.path" if let Some((_, is)) = volume => is.clone(),
            _ => replace_path(value, &from, &to),
        })
    })?;
    Ok(moved.text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_rename_is_finished_or_forgotten() {
        let lxc_path = tempfile::tempdir().unwrap();
        let interrupted = |name: &str| {
            let directory = lxc_path.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("config"), "old").unwrap();
            std::fs::write(directory.join(RENAMING), "web\n\n\nnew\n# text\n").unwrap();
            finish_rename(&directory).unwrap();
            assert!(!directory.join(RENAMING).exists());
            std::fs::read_to_string(directory.join("config")).unwrap()
        };
        assert_eq!(interrupted("c1"), "old", "the directory was not renamed");
        assert_eq!(interrupted("web"), "new\n# text\n");
    }

    #[test]
    fn a_moved_config_keeps_its_comments() {
        let layout =
            |name: &str| ContainerLayout::new("/var/lib/lxc", ContainerName::new(name).unwrap());
        let text = "# mine\nlxc.uts.name = c1\n\nlxc.rootfs.path = dir:/var/lib/lxc/c1/rootfs\nlxc.group = c1\n";
        let config = Config::read(Path::new("/x"), text.to_owned(), &mut disk::DiskIncludes);
        assert_eq!(
            relocated(&config, &layout("c1"), &layout("web"), None).unwrap(),
            "# mine\nlxc.uts.name = web\n\nlxc.rootfs.path = dir:/var/lib/lxc/web/rootfs\nlxc.group = c1\n"
        );
    }
}
