//! Reading and changing configs. They are their users' files: what is not
//! changed stays as it is, byte for byte.

use super::client::Client;
use super::destroy::{replace_path, rewritten};
use super::disk::{self, ConfigFile, DiskIncludes};
use super::{ContainerId, Engine, Error, Result};
use crate::linux::files::{self, Replacement};
use crate::storage::System;
use gantry_core::config::Config;
use gantry_core::keys::{self, FoundKey, Match, NetworkIndex};
use gantry_core::layout::{DEFAULT_CONFIG, GLOBAL_CONFIG, global_value};
use gantry_core::monitor::{Extension, ItemReply, SetItem};
use gantry_core::name::ContainerName;
use gantry_core::settings::Settings;
use gantry_core::states::State;
use std::path::{Path, PathBuf};

/// Mode of a config that did not exist.
const MODE: u32 = 0o644;

impl Engine {
    /// The text of a container's config and its revision.
    pub(crate) async fn config_text(&self, id: &ContainerId) -> Result<(String, u64)> {
        let file = disk::read_config(&self.config_path(id)?)?;
        Ok((file.config.text().to_owned(), file.revision))
    }

    /// Replaces a container's config. [`Error::Conflict`] if `revision` is not
    /// the present one, [`Error::InvalidConfig`] if the text has an error.
    pub(crate) async fn set_config(
        &self,
        id: &ContainerId,
        text: &str,
        revision: u64,
    ) -> Result<()> {
        let path = self.config_path(id)?;
        let _lock = self.lock(&id.name).await?;
        let new = parse(&path, text)?;
        check_revision(&path, revision)?;
        let old = disk::read_config(&path)?.config;
        self.write_and_apply(id, &path, &old, &new).await
    }

    /// The values of one key, includes taken into account: those of every line,
    /// and of a list each part.
    pub(crate) async fn config_item(&self, id: &ContainerId, key: &str) -> Result<Vec<String>> {
        let found = found_key(key)?;
        let file = disk::read_config(&self.config_path(id)?)?;
        let lines = file.config.values(&found.name(0)).into_iter();
        Ok(lines
            .flat_map(|line| found.key.grammar.parts(line))
            .map(str::to_owned)
            .collect())
    }

    /// Sets one key to these values; none removes it. A container that runs
    /// goes by them at once where the table of keys says so.
    pub(crate) async fn set_config_item(
        &self,
        id: &ContainerId,
        key: &str,
        values: &[String],
    ) -> Result<()> {
        let path = self.config_path(id)?;
        let _lock = self.lock(&id.name).await?;
        let file = disk::read_config(&path)?;
        let edited = with_item(&file.config, key, values)?;
        self.write_and_apply(id, &path, &file.config, &edited).await
    }

    /// Both or nothing: what cannot be written does not become live, and what the
    /// kernel does not take is not written.
    async fn write_and_apply(
        &self,
        id: &ContainerId,
        path: &Path,
        old: &Config,
        new: &Config,
    ) -> Result<()> {
        let replacement = prepare(path, new.text())?;
        self.apply_live(id, old, new).await?;
        put_in_place(replacement, path)?;
        self.refresh().await
    }

    /// Has a running container go by what changes, as far as it can; the rest
    /// is in [`super::Facts::needs_restart`]. What the kernel does not take is
    /// an error.
    pub(super) async fn apply_live(
        &self,
        id: &ContainerId,
        old: &Config,
        new: &Config,
    ) -> Result<()> {
        let is_live =
            |key: &String| matches!(keys::find(key), Some(Match::Key(found)) if found.key.live);
        let changed: Vec<String> = new.changed_keys(old).into_iter().filter(is_live).collect();
        if changed.is_empty() || self.get(id).await?.state == State::Stopped {
            return Ok(());
        }
        let client = Client::new(&self.layout(&id.name));
        for key in changed {
            let values = new.values(&key).into_iter().map(str::to_owned).collect();
            let item = SetItem { key, values };
            match client.extension(Extension::SetItem, Some(&item)).await? {
                Some((ItemReply::Failed(failure), _)) => {
                    return Err(Error::InvalidArgument(failure.message));
                }
                Some(_) => {}
                // A monitor of stock LXC goes by what it was started with.
                None => return Ok(()),
            }
        }
        self.ask_running_config(&id.name).await;
        Ok(())
    }

    /// Writes legacy keys as modern ones and says what was changed, or, for a `dry_run`,
    /// what would be. `revision` as of [`Engine::set_config`], where it is given.
    pub(crate) async fn convert_config(
        &self,
        id: &ContainerId,
        revision: Option<u64>,
        dry_run: bool,
    ) -> Result<Vec<String>> {
        let path = self.config_path(id)?;
        let _lock = self.lock(&id.name).await?;
        let file = disk::read_config(&path)?;
        let old = file.config;
        old.check()?;
        let modern = old.to_modern();
        let means_the_same = old.means_the_same(&parse(&path, &modern.text)?);
        if !means_the_same {
            return Err(Error::Failed(format!(
                "{} would not mean the same with modern keys; change it by hand: {}",
                path.display(),
                modern.changes.join("; ")
            )));
        }
        check_revision(&path, revision.unwrap_or(file.revision))?;
        if modern.text != old.text() && !dry_run {
            replace(&path, &modern.text)?;
        }
        self.refresh().await?;
        Ok(modern.changes)
    }

    /// The keys by which `text` would give a container rights that equal root
    /// on the host and that its present config does not give. Empty: the
    /// change is in the safe subset.
    pub(crate) async fn unsafe_config(&self, id: &ContainerId, text: &str) -> Result<Vec<String>> {
        let path = self.config_path(id)?;
        let old = disk::read_config(&path)?.config;
        Ok(parse(&path, text)?.unsafe_changes(&old))
    }

    /// As [`Engine::unsafe_config`], for setting one key.
    pub(crate) async fn unsafe_config_item(
        &self,
        id: &ContainerId,
        key: &str,
        values: &[String],
    ) -> Result<Vec<String>> {
        let old = disk::read_config(&self.config_path(id)?)?.config;
        Ok(with_item(&old, key, values)?.unsafe_changes(&old))
    }

    /// As [`Engine::unsafe_config`], for going back to a snapshot: its config where it would
    /// then be, with the root file system that a restore decides on.
    pub(crate) async fn unsafe_snapshot(
        &self,
        id: &ContainerId,
        snapshot: &ContainerName,
    ) -> Result<Vec<String>> {
        let path = self.config_path(id)?;
        let (own, snapshot) = self.find_snapshot(id, snapshot).await?;
        let config = disk::read_config(&snapshot.config())?.config;
        // One with faults is not restored: what is wrong is said then.
        if config.check().is_err() {
            return Ok(Vec::new());
        }
        let config = match config.is_legacy() {
            true => parse(&path, &config.to_modern().text)?,
            false => config,
        };
        let (from, to) = (
            snapshot.directory().display().to_string(),
            own.directory().display().to_string(),
        );
        let there = rewritten(&config, |_, value| Ok(replace_path(value, &from, &to)))?;
        let mut found = there.unsafe_changes(&disk::read_config(&path)?.config);
        found.retain(|key| key != "lxc.rootfs.path");
        Ok(found)
    }

    /// The text that every new container's config begins with, and its
    /// revision (0 if there is no such file, and the text is Gantry's own).
    pub(crate) async fn defaults(&self) -> Result<(String, u64)> {
        let file = read_defaults()?;
        Ok((file.config.text().to_owned(), file.revision))
    }

    /// Replaces the defaults; errors as [`Engine::set_config`].
    pub(crate) async fn set_defaults(&self, text: &str, revision: u64) -> Result<()> {
        write(&defaults_path()?, text, revision)
    }

    /// As [`Engine::unsafe_config`], for the defaults.
    pub(crate) async fn unsafe_defaults(&self, text: &str) -> Result<Vec<String>> {
        Ok(parse(&defaults_path()?, text)?.unsafe_changes(&read_defaults()?.config))
    }

    pub(super) fn config_path(&self, id: &ContainerId) -> Result<PathBuf> {
        self.need_system(id)?;
        let path = self.layout(&id.name).config();
        if path.exists() {
            Ok(path)
        } else {
            Err(Self::unknown(id))
        }
    }
}

/// Reads a text as the config at a path, and refuses one with errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config> {
    if let Some(position) = text.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        let line = text
            .get(..position)
            .unwrap_or_default()
            .matches('\n')
            .count()
            + 1;
        return Err(Error::InvalidConfig(super::ConfigFault {
            file: path.to_path_buf(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            key: String::new(),
            message: "the line has a control character; remove it".to_owned(),
        }));
    }
    let config = Config::parse(path, text.to_owned(), &mut DiskIncludes)?;
    Settings::from_config(&config)?;
    Ok(config)
}

fn write(path: &Path, text: &str, revision: u64) -> Result<()> {
    parse(path, text)?;
    check_revision(path, revision)?;
    replace(path, text)
}

fn replace(path: &Path, text: &str) -> Result<()> {
    put_in_place(prepare(path, text)?, path)
}

/// Writes a config beside the present one.
pub(super) fn prepare(path: &Path, text: &str) -> Result<Replacement> {
    Replacement::prepare(path, text.as_bytes(), MODE)
        .map_err(|error| Error::path("writing", path, &error))
}

/// Puts it in the place of the present one.
pub(super) fn put_in_place(replacement: Replacement, path: &Path) -> Result<()> {
    replacement
        .commit()
        .map_err(|error| Error::path("writing", path, &error))
}

/// [`Error::Conflict`] if the file has another revision; one that is not there has 0.
fn check_revision(path: &Path, revision: u64) -> Result<()> {
    let present = match std::fs::symlink_metadata(path) {
        Ok(metadata) => files::revision(&metadata),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(Error::path("reading", path, &error)),
    };
    if revision != present {
        return Err(Error::Conflict(format!(
            "{} was changed by somebody else in the meantime; read it again and repeat the change",
            path.display()
        )));
    }
    Ok(())
}

fn with_item(config: &Config, key: &str, values: &[String]) -> Result<Config> {
    if values
        .iter()
        .any(|value| value.chars().any(char::is_control))
    {
        return Err(Error::InvalidArgument(format!(
            "a value for {key} has a control character; remove it"
        )));
    }
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut edited = config.clone();
    if values.is_empty() {
        edited.clear(key, &mut DiskIncludes)?;
    } else {
        edited.set(key, &values, &mut DiskIncludes)?;
    }
    Ok(edited)
}

/// A key of either generation, `lxc.net.N` keys with their number.
fn found_key(key: &str) -> Result<FoundKey<'_>> {
    match keys::find(key) {
        Some(Match::Key(found)) if found.network != NetworkIndex::Latest => Ok(found),
        _ => Err(Error::InvalidArgument(format!(
            "'{key}' is not a key of a container's config"
        ))),
    }
}

/// A key of lxc.conf(5).
pub(super) fn global(key: &str) -> Result<Option<String>> {
    match std::fs::read_to_string(GLOBAL_CONFIG) {
        Ok(text) => Ok(global_value(&text, key).map(str::to_owned)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::path("reading", Path::new(GLOBAL_CONFIG), &error)),
    }
}

/// Where lxc.conf has volumes be.
pub(super) fn volumes() -> Result<System> {
    let System {
        volume_group,
        thin_pool,
        zfs_root,
    } = System::default();
    Ok(System {
        volume_group: global("lxc.bdev.lvm.vg")?.unwrap_or(volume_group),
        thin_pool: global("lxc.bdev.lvm.thin_pool")?.unwrap_or(thin_pool),
        zfs_root: global("lxc.bdev.zfs.root")?.unwrap_or(zfs_root),
    })
}

fn defaults_path() -> Result<PathBuf> {
    Ok(global("lxc.default_config")?.map_or_else(|| PathBuf::from(DEFAULT_CONFIG), PathBuf::from))
}

/// What new containers begin with where no file says: what Debian's default.conf has
/// beside a network. A systemd inside mounts more for its services than a generated
/// profile lets a privileged container mount without nesting.
const DEFAULTS: &str = "lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n";

/// The config that new containers begin with.
pub(super) fn read_defaults() -> Result<ConfigFile> {
    let path = defaults_path()?;
    match disk::read_config(&path) {
        Err(Error::NotFound(_)) => Ok(ConfigFile {
            config: Config::read(&path, DEFAULTS.to_owned(), &mut DiskIncludes),
            revision: 0,
        }),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_revision_is_a_conflict_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, "lxc.uts.name = a\n").unwrap();
        let revision = disk::read_config(&path).unwrap().revision;
        write(&path, "# mine\nlxc.uts.name = b\n", revision).unwrap();
        assert!(matches!(
            write(&path, "lxc.uts.name = c\n", revision),
            Err(Error::Conflict(_))
        ));
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "# mine\nlxc.uts.name = b\n"
        );
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let error = write(&path, "lxc.uts.name = a\nlxc.tty.max = many\n", 0).unwrap_err();
        let Error::InvalidConfig(fault) = error else {
            panic!("{error}")
        };
        assert_eq!(
            (fault.file, fault.line, fault.key.as_str()),
            (path.clone(), 2, "lxc.tty.max")
        );
        assert!(!path.exists());
    }

    #[test]
    fn control_characters_are_refused() {
        let path = Path::new("/x/config");
        assert!(parse(path, "lxc.uts.name = a\r\nlxc.hook.start = b\n").is_err());
        let config = parse(path, "").unwrap();
        let smuggled = ["a\nlxc.hook.pre-start = /x".to_owned()];
        assert!(matches!(
            with_item(&config, "lxc.uts.name", &smuggled),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn legacy_names_are_understood() {
        assert_eq!(found_key("lxc.utsname").unwrap().name(0), "lxc.uts.name");
        assert_eq!(
            found_key("lxc.net.1.link").unwrap().name(0),
            "lxc.net.1.link"
        );
        assert!(found_key("lxc.nonsense").is_err());
    }
}
