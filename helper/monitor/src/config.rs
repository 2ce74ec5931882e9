//! Reading a container's config and what it includes.

use crate::failure::{At, Step, failure};
use gantry_core::config::{
    Config, ConfigError, Included, Includes, included_by_directory, text_of,
};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{Failure, FailureKind};
use gantry_core::settings::Settings;
use rustix::fs::{Mode, OFlags, fstat, open};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const STEP: &str = "reading the config";

/// The most bytes of one file.
const MAX_FILE: u64 = 4 << 20;

/// The config as it is now, with everything it includes, and what it says.
pub(crate) fn load(layout: &ContainerLayout) -> Step<(Config, Settings, Remembered)> {
    let path = layout.config();
    let text = match open_text(&path).and_then(read_all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!(
                "There is no container '{}' in {}.",
                layout.name(),
                layout.lxc_path()
            );
            return Err(failure(FailureKind::NotFound, STEP, message));
        }
        read => read.at(STEP, || format!("cannot read {}", path.display()))?,
    };
    let text = text_of(&path, text).map_err(invalid)?;
    let mut included = Remembered::default();
    let config = Config::parse(&path, text, &mut included).map_err(invalid)?;
    let settings = Settings::from_config(&config).map_err(invalid)?;
    Ok((config, settings, included))
}

pub(crate) fn invalid(error: ConfigError) -> Failure {
    failure(FailureKind::InvalidConfig, STEP, format!("{error}."))
}

/// What a config includes, as it was when it was first read: a container goes
/// by what it was started with.
#[derive(Default)]
pub(crate) struct Remembered(BTreeMap<PathBuf, Included>);

impl Includes for Remembered {
    fn read(&mut self, path: &Path) -> io::Result<Included> {
        if let Some(known) = self.0.get(path) {
            return Ok(known.clone());
        }
        let included = Self::from_disk(path)?;
        self.0.insert(path.to_path_buf(), included.clone());
        Ok(included)
    }
}

impl Remembered {
    fn from_disk(path: &Path) -> io::Result<Included> {
        let path = Path::new("/").join(path);
        if !path.is_dir() {
            return match read_text(&path) {
                Ok(bytes) => Ok(Included::File(utf8(&path, bytes)?)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Included::Missing),
                Err(error) => Err(error),
            };
        }
        let mut members: Vec<(PathBuf, String)> = Vec::new();
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(included_by_directory)
            {
                let member = entry.path();
                let text = utf8(&member, read_text(&member)?)?;
                members.push((member, text));
            }
        }
        Ok(Included::Directory(members))
    }
}

fn utf8(path: &Path, bytes: Vec<u8>) -> io::Result<String> {
    text_of(path, bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads what a config includes: it must belong to one who may decide about
/// this container, root or the user whose rights this process has. (The config
/// itself may belong to the container's mapped root, as lxc-create leaves it;
/// who may write below the LXC path may put configs there.)
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_text(path)?;
    check_owner(&file)?;
    read_all(file)
}

fn open_text(path: &Path) -> io::Result<OwnedFd> {
    let file = open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
    )?;
    let refuse = |reason: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    let mode = fstat(&file)?.st_mode;
    if rustix::fs::FileType::from_raw_mode(mode) != rustix::fs::FileType::RegularFile {
        return refuse("it is not a regular file");
    }
    if mode & 0o002 != 0 {
        return refuse("everybody can write to it; take that right away");
    }
    Ok(file)
}

/// Reads a mount table that a config names, `lxc.mount.fstab`.
pub(crate) fn read_fstab(path: &Path) -> io::Result<String> {
    utf8(path, read_all(open_text(path)?)?)
}

fn read_all(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(file)
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "more than 4 MiB is no config",
        ));
    }
    Ok(bytes)
}

fn check_owner(file: &OwnedFd) -> io::Result<()> {
    let owner = fstat(file)?.st_uid;
    if owner == 0 || owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let reason = format!("it belongs to user {owner}; give it to root");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_others_may_change_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("gantry-config-{}", std::process::id()));
        std::fs::write(&path, "lxc.arch = x86_64\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(read_text(&path).is_ok());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(
            read_text(&path).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        std::fs::remove_file(&path).unwrap();
        assert!(read_text(Path::new("/dev/null")).is_err());
    }
}
