//! What of a container lies outside of its directory: noted in the directory, so that it
//! goes with it, also by another process.

use super::{dir, volumes};
use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::values::rootfs::RootfsPath;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The note: a line for each thing that is to go.
pub(crate) const NOTE: &str = ".gantry-elsewhere";

/// How long what used a volume may take to be gone after it was killed.
const DYING: Duration = Duration::from_secs(10);
/// Between two looks whether it is.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that goes with a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// A directory.
    Directory(PathBuf),
    /// A volume, as `lxc.rootfs.path` has it; if it has this mark.
    Volume { rootfs: String, mark: String },
}

impl Elsewhere {
    /// The volume of a root file system, which is given a mark; none if that is no volume,
    /// or it is gone.
    pub(crate) fn volume(rootfs: &RootfsPath) -> Result<Option<Self>> {
        let Some(manager) = volumes::manager(rootfs) else {
            return Ok(None);
        };
        let Some(volume) = manager.find(&rootfs.path)? else {
            return Ok(None);
        };
        let mark = volumes::new_mark()?;
        manager.mark(&volume, &mark)?;
        Ok(Some(Self::Volume {
            rootfs: format!("{}:{volume}", super::name_of(rootfs)),
            mark,
        }))
    }

    fn line(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Volume { rootfs, mark } => format!("{mark} {rootfs}"),
        }
    }

    fn read(line: &str) -> Option<Self> {
        if line.starts_with('/') {
            return Some(Self::Directory(line.into()));
        }
        let (mark, rootfs) = line.split_once(' ')?;
        Some(Self::Volume {
            rootfs: rootfs.to_owned(),
            mark: mark.to_owned(),
        })
    }

    fn remove(&self) -> Result<()> {
        match self {
            Self::Directory(path) => {
                dir::remove(path).map_err(|error| Error::path("removing", path, &error))
            }
            Self::Volume { rootfs, mark } => {
                let rootfs = RootfsPath::parse(rootfs);
                let Some(manager) = volumes::manager_of(&rootfs.kind) else {
                    return Ok(());
                };
                let deadline = Instant::now() + DYING;
                loop {
                    match manager.remove(&rootfs.path, mark) {
                        Err(Error::Busy(_)) if Instant::now() < deadline => {
                            std::thread::sleep(PAUSE);
                        }
                        result => return result,
                    }
                }
            }
        }
    }
}

/// Notes in `directory` what elsewhere is part of it, and nothing else any more.
pub(crate) fn note(directory: &Path, things: &[Elsewhere]) -> Result<()> {
    if things.is_empty() {
        return forget(directory);
    }
    let note = directory.join(NOTE);
    let lines: Vec<String> = things.iter().map(Elsewhere::line).collect();
    files::replace(&note, lines.join("\n").as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", &note, &error))
}

/// Nothing elsewhere goes with `directory` any more.
pub(crate) fn forget(directory: &Path) -> Result<()> {
    let note = directory.join(NOTE);
    match std::fs::remove_file(&note) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::path("removing", &note, &error))
        }
        _ => Ok(()),
    }
}

/// Removes what was noted in `directory`.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    let note = directory.join(NOTE);
    match std::fs::read_to_string(&note) {
        Ok(things) => {
            for thing in things.lines().filter_map(Elsewhere::read) {
                thing.remove()?;
            }
            forget(directory)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::path("reading", &note, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        for thing in [
            Elsewhere::Directory("/srv/a b/web".into()),
            Elsewhere::Volume {
                rootfs: "zfs:tank/my data/web".to_owned(),
                mark: "abcd2345".to_owned(),
            },
        ] {
            assert_eq!(Elsewhere::read(&thing.line()), Some(thing));
        }
        assert_eq!(Elsewhere::read("nonsense"), None);
    }
}
