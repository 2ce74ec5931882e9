//! Volumes: root file systems that programs of their own manage (LVM, ZFS). They lie
//! outside of the container's directory, and go with it.

use crate::error::{Error, Result};
use crate::linux::{files, tool};
use gantry_core::values::rootfs::{RootfsKind, RootfsPath};
use std::path::{Path, PathBuf};

/// What can be done with the volumes of a manager. A mark is what a volume has that we
/// have made or are about to remove: what a cut operation left is removed only if it has
/// the mark that was noted before.
pub(crate) trait Volumes: Send + Sync {
    /// The volume that the path of a config names, as the manager calls it; none if it is
    /// gone.
    fn find(&self, path: &str) -> Result<Option<String>>;
    /// Gives a volume a mark; it may have others.
    fn mark(&self, volume: &str, mark: &str) -> Result<()>;
    /// Removes a volume if it is there and has this mark.
    fn remove(&self, volume: &str, mark: &str) -> Result<()>;
    /// What a volume would be called by another last name.
    fn renamed(&self, volume: &str, name: &str) -> Result<String>;
    /// Gives a volume that new name, if that was not done before. Its container's files
    /// are to be at `root`.
    fn rename(&self, volume: &str, new: &str, root: &Path) -> Result<()>;
}

/// Who manages the volume of a root file system; nobody where it is none.
pub(crate) fn manager(rootfs: &RootfsPath) -> Option<&'static dyn Volumes> {
    match super::name_of(rootfs).as_str() {
        "lvm" => Some(&super::lvm::Lvm),
        "zfs" => Some(&super::zfs::Zfs),
        _ => None,
    }
}

/// The manager by the prefix of its paths.
pub(super) fn manager_of(kind: &RootfsKind) -> Option<&'static dyn Volumes> {
    match kind {
        RootfsKind::Lvm => Some(&super::lvm::Lvm),
        RootfsKind::Zfs => Some(&super::zfs::Zfs),
        _ => None,
    }
}

/// A new mark.
pub(super) fn new_mark() -> Result<String> {
    files::random_letters(8).map_err(|error| Error::io("reading random bytes", &error))
}

/// A name that no volume has yet: this one or, where it is taken, one that begins with it.
/// While a snapshot is restored the old volume is still there.
pub(super) fn free_name(
    volumes: &dyn Volumes,
    base: &str,
    path: impl Fn(&str) -> String,
) -> Result<String> {
    if volumes.find(&path(base))?.is_none() {
        return Ok(base.to_owned());
    }
    let letters =
        files::random_letters(4).map_err(|error| Error::io("reading random bytes", &error))?;
    Ok(format!("{base}_{letters}"))
}

/// Where a manager's program is; `package` is what brings it.
pub(super) fn program(name: &str, package: &str) -> Result<PathBuf> {
    tool::find(name).ok_or_else(|| {
        Error::Unsupported(format!(
            "there is no program {name} on this host; install {package}"
        ))
    })
}

/// Runs it, and gives what it says.
pub(super) fn run(name: &str, package: &str, args: &[&str]) -> Result<String> {
    let program = program(name, package)?;
    let ended = tool::run(&program, args)
        .map_err(|error| Error::io(format_args!("running {}", program.display()), &error))?;
    if ended.status == 0 {
        return Ok(ended.output);
    }
    Err(failed(
        args.first().copied().unwrap_or_default(),
        name,
        &ended,
    ))
}

/// The error of a program that failed, by what it says.
fn failed(word: &str, name: &str, ended: &tool::Ended) -> Error {
    let cause = super::file_system::cause(ended, Path::new(name));
    let doing = if name == "zfs" {
        format!("zfs {word}")
    } else {
        name.to_owned()
    };
    let text = format!("{doing} failed: {cause}");
    let said = ended.errors.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["already exists"]) {
        Error::Exists(text)
    } else if says(&["does not exist", "failed to find", "not found"]) {
        Error::NotFound(text)
    } else if says(&[
        "insufficient",
        "out of space",
        "no space left",
        "quota exceeded",
        "not enough free",
    ]) {
        Error::NoSpace(format!("{text}; free some space, or give it more"))
    } else if says(&["in use", "is busy", "is used", "used by another device"]) {
        Error::Busy(format!("{text}; end what uses it"))
    } else {
        Error::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(said: &str) -> Error {
        let ended = tool::Ended {
            status: 5,
            output: String::new(),
            errors: said.to_owned(),
        };
        failed("create", "lvcreate", &ended)
    }

    #[test]
    fn what_a_program_says_decides_the_error() {
        let full = "  WARNING: Sum of all thin volume sizes\n  Volume group \"lxc\" has insufficient free space (3 extents): 25 required.\n";
        let Error::NoSpace(text) = error_of(full) else {
            panic!("{full}");
        };
        assert!(text.contains("insufficient free space") && !text.contains("WARNING"));
        let taken = "  Logical Volume \"web\" already exists in volume group \"lxc\"\n";
        assert!(matches!(error_of(taken), Error::Exists(_)));
        assert!(matches!(
            error_of("  Logical volume lxc/web in use.\n"),
            Error::Busy(_)
        ));
        assert!(matches!(
            error_of("cannot open 'lxc/web': dataset does not exist\n"),
            Error::NotFound(_)
        ));
        assert!(matches!(
            error_of("  Input/output error\n"),
            Error::Failed(_)
        ));
    }
}
