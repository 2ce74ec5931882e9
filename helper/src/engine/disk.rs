//! What the files of a container say.

use super::dependents::dependents_of;
use super::{ConfigFault, ContainerId, Error, Facts, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use gantry_core::config::{
    Config, ConfigError, Included, Includes, SkipIncludes, included_by_directory, text_of,
};
use gantry_core::layout::ContainerLayout;
use gantry_core::settings::{Settings, groups};
use gantry_core::states::State;
use gantry_core::values::rootfs::RootfsPath;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Configs are short; what is longer is a mistake or an attack.
const MAX_CONFIG: u64 = 1 << 20;
/// What the first comment that describes a container begins with.
const DESCRIPTION: &str = "# Description:";

/// Reads what configs include, from the disk.
#[derive(Debug, Default)]
pub(super) struct DiskIncludes;

impl Includes for DiskIncludes {
    fn read(&mut self, path: &Path) -> io::Result<Included> {
        let path = Path::new("/").join(path);
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Included::Missing),
            Err(error) => return Err(error),
        };
        if !metadata.is_dir() {
            return read_text(&path).map(Included::File);
        }
        let mut members = Vec::new();
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(included_by_directory)
            {
                members.push((entry.path(), read_text(&entry.path())?));
            }
        }
        Ok(Included::Directory(members))
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    // The LXC packages include through links.
    let (file, _) = files::open_regular(&path.canonicalize()?)?;
    text_of(path, files::read_bounded(&file, MAX_CONFIG)?).map_err(io::Error::other)
}

/// A config file as it is on the disk.
pub(super) struct ConfigFile {
    /// Its text, read with everything it includes.
    pub(super) config: Config,
    /// See [`files::revision`].
    pub(super) revision: u64,
}

/// Reads a config. Errors are about the file; those in its text are in the
/// [`Config`].
pub(super) fn read_config(path: &Path) -> Result<ConfigFile> {
    let (text, metadata) = read_own(path)?;
    Ok(ConfigFile {
        config: Config::read(path, text, &mut DiskIncludes),
        revision: files::revision(&metadata),
    })
}

/// The root file system that a config names, and nothing else of it: of a thousand
/// snapshots each has a config.
pub(super) fn read_rootfs(path: &Path) -> Result<Option<String>> {
    let (text, _) = read_own(path)?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("rootfs"))
        .collect();
    let config = Config::read(path, lines.join("\n"), &mut SkipIncludes);
    Ok(config.get("lxc.rootfs.path").map(str::to_owned))
}

fn read_own(path: &Path) -> Result<(String, Metadata)> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::NotFound(format!("{} does not exist", path.display()))
        }
        _ => whole_file_fault(path, &error.to_string()),
    };
    let (file, metadata) = files::open_regular(path).map_err(broken)?;
    let bytes = files::read_bounded(&file, MAX_CONFIG).map_err(broken)?;
    Ok((text_of(path, bytes)?, metadata))
}

/// The error that says a config file as a whole cannot be used.
fn whole_file_fault(path: &Path, message: &str) -> Error {
    Error::InvalidConfig(ConfigFault {
        file: path.to_path_buf(),
        line: 0,
        key: String::new(),
        message: message.to_owned(),
    })
}

impl From<ConfigError> for ConfigFault {
    fn from(error: ConfigError) -> Self {
        Self {
            file: error.file,
            line: error.line,
            key: error.key,
            message: error.reason,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::InvalidConfig(error.into())
    }
}

/// What a container's directory says.
pub(super) struct OnDisk {
    /// Facts of a stopped container.
    pub(super) facts: Facts,
    /// What else the facts came from.
    pub(super) included: BTreeSet<PathBuf>,
}

/// Reads a container's directory; none if it holds no container, or one that
/// is being made.
pub(super) fn read(id: &ContainerId, layout: &ContainerLayout) -> Option<OnDisk> {
    let mut facts = bare(id);
    let mut included = BTreeSet::new();
    match read_config(&layout.config()) {
        Ok(file) => {
            facts.config_revision = file.revision;
            facts.config_error = Settings::from_config(&file.config)
                .err()
                .map(ConfigFault::from);
            describe(&mut facts, &file.config);
            included = file.config.included().map(Path::to_path_buf).collect();
        }
        Err(Error::NotFound(_)) => return None,
        Err(Error::InvalidConfig(fault)) => facts.config_error = Some(fault),
        Err(error) => {
            facts.config_error = Some(ConfigFault {
                file: layout.config(),
                line: 0,
                key: String::new(),
                message: error.to_string(),
            });
        }
    }
    match creation(&layout.partial()) {
        Creation::None => {}
        Creation::UnderWay => return None,
        Creation::Interrupted => {
            facts.config_error = Some(ConfigFault {
                file: layout.partial(),
                line: 0,
                key: String::new(),
                message:
                    "the creation of this container was interrupted; destroy it and create it again"
                        .to_owned(),
            });
        }
    }
    facts.dependents = dependents_of(layout).unwrap_or_else(|error| vec![error.to_string()]);
    Some(OnDisk { facts, included })
}

/// Facts of a stopped container of which nothing else is known.
pub(super) fn bare(id: &ContainerId) -> Facts {
    Facts {
        id: id.clone(),
        state: State::Stopped,
        init_pid: 0,
        started_at: 0,
        addresses: Vec::new(),
        autostart: false,
        autostart_delay: 0,
        autostart_order: 0,
        groups: Vec::new(),
        backend: "dir".to_owned(),
        privileged: true,
        ephemeral: false,
        architecture: std::env::consts::ARCH.to_owned(),
        config_revision: 0,
        config_error: None,
        legacy_config: false,
        needs_restart: Vec::new(),
        dependents: Vec::new(),
        description: String::new(),
    }
}

/// Takes from a config what it tells, also if parts of it have errors.
fn describe(facts: &mut Facts, config: &Config) {
    let number = |key| config.get(key).and_then(|value| value.parse().ok());
    facts.autostart = config.get("lxc.start.auto") == Some("1");
    facts.autostart_delay = number("lxc.start.delay").unwrap_or_default();
    facts.autostart_order = config
        .get("lxc.start.order")
        .and_then(|value| value.parse().ok())
        .unwrap_or_default();
    facts.groups = groups(config);
    facts.privileged = config.get("lxc.idmap").is_none();
    facts.ephemeral = config.get("lxc.ephemeral") == Some("1");
    if let Some(architecture) = config.get("lxc.arch") {
        architecture.clone_into(&mut facts.architecture);
    }
    facts.backend = config
        .get("lxc.rootfs.path")
        .map_or_else(|| "none".to_owned(), backend);
    facts.legacy_config = config.is_legacy();
    facts.description = description(config.text()).to_owned();
}

/// The name of the store of a root file system.
pub(super) fn backend(rootfs: &str) -> String {
    crate::storage::name_of(&RootfsPath::parse(rootfs))
}

/// The description in a config's text; empty if there is none.
pub(super) fn description(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix(DESCRIPTION))
        .map(str::trim)
        .unwrap_or_default()
}

enum Creation {
    None,
    UnderWay,
    Interrupted,
}

/// Whether a container is being made by LXC's own tools: they hold a lock on
/// this marker.
fn creation(marker: &Path) -> Creation {
    let Ok(file) = File::options().read(true).write(true).open(marker) else {
        return Creation::None;
    };
    match FileLock::try_lock(file) {
        Ok(None) => Creation::UnderWay,
        _ => Creation::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::name::ContainerName;

    fn container(config: &str) -> (tempfile::TempDir, ContainerId, ContainerLayout) {
        let directory = tempfile::tempdir().unwrap();
        let name = ContainerName::new("c1").unwrap();
        let layout = ContainerLayout::new(directory.path().to_str().unwrap(), name.clone());
        std::fs::create_dir(layout.directory()).unwrap();
        std::fs::write(layout.config(), config).unwrap();
        (directory, ContainerId::system(name), layout)
    }

    #[test]
    fn facts_come_from_the_config() {
        let (_guard, id, layout) = container(
            "# Description: the web\nlxc.start.auto = 1\nlxc.start.order = -5\nlxc.group = a,b c\n\
             lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\nlxc.rootfs.path = dir:/x\n",
        );
        let facts = read(&id, &layout).unwrap().facts;
        assert_eq!(facts.config_error, None);
        assert_eq!(facts.description, "the web");
        assert_eq!((facts.autostart, facts.autostart_order), (true, -5));
        assert_eq!(facts.groups, ["a", "b", "c"]);
        assert_eq!((facts.backend.as_str(), facts.privileged), ("dir", false));
    }

    #[test]
    fn a_broken_config_stays_with_its_fault() {
        let (_guard, id, layout) = container("lxc.start.auto = 1\nlxc.nonsense = 1\n");
        let facts = read(&id, &layout).unwrap().facts;
        let fault = facts.config_error.unwrap();
        assert_eq!((fault.line, fault.key.as_str()), (2, "lxc.nonsense"));
        assert!(facts.autostart);
    }

    #[test]
    fn include_loops_and_missing_includes_are_faults_of_their_line() {
        let (_guard, id, layout) = container("");
        std::fs::write(
            layout.config(),
            format!("lxc.include = {}\n", layout.config().display()),
        )
        .unwrap();
        assert_eq!(
            read(&id, &layout).unwrap().facts.config_error.unwrap().line,
            1
        );
        std::fs::write(
            layout.config(),
            "lxc.uts.name = x\nlxc.include = /nowhere/x\n",
        )
        .unwrap();
        assert_eq!(
            read(&id, &layout).unwrap().facts.config_error.unwrap().line,
            2
        );
    }

    #[test]
    fn dependents_are_named_or_counted() {
        let (_guard, id, layout) = container("");
        std::fs::write(layout.dependents(), "/var/lib/lxc\nc2\n/var/lib/lxc\nc3\n").unwrap();
        assert_eq!(read(&id, &layout).unwrap().facts.dependents, ["c2", "c3"]);
        // As LXC wrote it before it kept names.
        std::fs::write(layout.dependents(), "3").unwrap();
        let dependents = read(&id, &layout).unwrap().facts.dependents;
        assert_eq!(dependents, ["3 containers whose names LXC has not kept"]);
    }

    #[test]
    fn containers_being_made_are_not_listed() {
        let (_guard, id, layout) = container("lxc.uts.name = x\n");
        let held = FileLock::try_take(&layout.partial()).unwrap();
        assert!(read(&id, &layout).is_none());
        drop(held);
        assert!(read(&id, &layout).unwrap().facts.config_error.is_some());
    }
}
