//! The removal of a tree in which others could write: however deep it is, by a few
//! descriptors and little of the stack. What lies deeper than some levels is brought up to
//! the top, from where it goes on. No link is followed and no mount is entered.

use super::btrfs::{destroy_subvolume_in, make_writable};
use super::tree::{self, kind};
use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// So many directories in one another are open at a time; with subvolumes of btrfs twice
/// as many. Ordinary trees are hardly deeper.
const LEVELS: usize = 16;

/// Removes what has a name in a directory, with all below it, also what nobody may change
/// (chattr(1)). What is gone already is as good.
///
/// # Errors
/// `ResourceBusy` where something is mounted on it or below it, which stays as it is; other
/// things may be gone by then.
pub(super) fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let Some(directory) = enter(parent, name)? else {
        return forced(parent, name, || unlink(parent, name, AtFlags::empty()));
    };
    if is_other(parent, &directory)? && is_destroyed(parent, name, &directory)? {
        return Ok(());
    }
    Removal {
        outermost: &directory,
        top: &directory,
        brought: &Cell::new(0),
    }
    .run()?;
    forced(parent, name, || unlink(parent, name, AtFlags::REMOVEDIR))
}

/// The removal of what is in one directory and of its subvolume.
struct Removal<'a> {
    /// The whole tree's: to here subvolumes can be brought, from everywhere.
    outermost: &'a OwnedFd,
    /// The subvolume's own: only to here can its directories be brought.
    top: &'a OwnedFd,
    /// How many were brought to either.
    brought: &'a Cell<u64>,
}

impl Removal<'_> {
    fn run(&self) -> io::Result<()> {
        loop {
            let before = self.brought.get();
            self.sweep(self.top, LEVELS)?;
            // A directory that is being read may show what has come into it, or not.
            if self.brought.get() == before {
                return Ok(());
            }
        }
    }

    /// Removes what is in a directory, down to so many levels below it.
    fn sweep(&self, directory: &OwnedFd, levels: usize) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let below = match entry.file_type() {
                // Some file systems do not say it.
                FileType::Directory | FileType::Unknown => enter(directory, name)?,
                _ => None,
            };
            match below {
                Some(below) => self.directory(directory, name, &below, levels)?,
                None => forced(directory, name, || {
                    unlink(directory, name, AtFlags::empty())
                })?,
            }
        }
        Ok(())
    }

    /// Removes one of the directories in another, or brings it up.
    fn directory(
        &self,
        above: &OwnedFd,
        name: &OsStr,
        below: &OwnedFd,
        levels: usize,
    ) -> io::Result<()> {
        if is_other(above, below)? {
            if is_destroyed(above, name, below)? {
                return Ok(());
            }
            if !std::ptr::eq(above, self.outermost) {
                return self.bring(above, name, self.outermost);
            }
            Removal {
                top: below,
                ..*self
            }
            .run()?;
        } else if let Some(levels) = levels.checked_sub(1) {
            self.sweep(below, levels)?;
        } else {
            return self.bring(above, name, self.top);
        }
        forced(above, name, || unlink(above, name, AtFlags::REMOVEDIR))
    }

    /// Moves a directory up, to a name that nothing has there but what may go for it: an
    /// empty directory.
    fn bring(&self, above: &OwnedFd, name: &OsStr, to: &OwnedFd) -> io::Result<()> {
        loop {
            let number = self.brought.get() + 1;
            self.brought.set(number);
            let new = format!(".gantry-deep-{number}");
            let moved = forced(above, name, || rustix::fs::renameat(above, name, to, &new));
            match moved {
                Err(error) if is_taken(&error) => {}
                result => return result,
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    let taken = [Errno::EXIST, Errno::NOTEMPTY, Errno::NOTDIR];
    Errno::from_io_error(error).is_some_and(|error| taken.contains(&error))
}

/// Whether a directory is the top of another subvolume than the one above it: mounts are
/// not entered.
fn is_other(above: &OwnedFd, below: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstat(above)?.st_dev != rustix::fs::fstat(below)?.st_dev)
}

/// Removes a subvolume at once, or makes it one that can be emptied.
fn is_destroyed(above: &OwnedFd, name: &OsStr, subvolume: &OwnedFd) -> io::Result<bool> {
    if destroy_subvolume_in(above, name).is_ok() {
        return Ok(true);
    }
    match make_writable(subvolume) {
        // Of another file system than btrfs.
        Err(error) if error.raw_os_error() != Some(libc::ENOTTY) => Err(error),
        _ => Ok(false),
    }
}

/// Opens a directory in another; none where there is none.
fn enter(above: &OwnedFd, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    match open(above, name, OFlags::DIRECTORY) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(Errno::XDEV) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "something is mounted there",
        )),
        Err(error) => Err(error.into()),
    }
}

fn open(above: &OwnedFd, name: &OsStr, more: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(above, name, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn unlink(above: &OwnedFd, name: &OsStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(above, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Does something to what has a name in a directory, if need be after taking off both the
/// flags which keep root from it.
fn forced(
    above: &OwnedFd,
    name: &OsStr,
    act: impl Fn() -> rustix::io::Result<()>,
) -> io::Result<()> {
    match act() {
        Err(Errno::PERM) => {
            clear_flags(above)?;
            let found = tree::look(above, name)?.map(|status| kind(&status));
            // Others have none.
            if let Some(FileType::Directory | FileType::RegularFile) = found {
                clear_flags(&open(above, name, OFlags::empty())?)?;
            }
            Ok(act()?)
        }
        result => Ok(result?),
    }
}

fn clear_flags(file: &OwnedFd) -> io::Result<()> {
    let locked = IFlags::IMMUTABLE | IFlags::APPEND;
    match rustix::fs::ioctl_getflags(file) {
        Ok(flags) if flags.intersects(locked) => {
            Ok(rustix::fs::ioctl_setflags(file, flags.difference(locked))?)
        }
        // The file system knows none.
        Ok(_) | Err(Errno::NOTTY | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::files;
    use std::fs;
    use std::path::Path;

    /// Makes directories in one another, each with a file.
    fn dig(from: &Path, depth: usize, name: &str) {
        let mut here = files::open_directory(from).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755)).unwrap();
            let flags = OFlags::WRONLY | OFlags::CREATE;
            rustix::fs::openat(&here, "file", flags, Mode::from_raw_mode(0o600)).unwrap();
            here = enter(&here, OsStr::new(name)).unwrap().unwrap();
        }
    }

    #[test]
    fn no_tree_is_too_deep() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        dig(&tree, 20_000, "d");
        for name in ["one", "two"] {
            fs::create_dir(tree.join(name)).unwrap();
            dig(&tree.join(name), 100, &"long".repeat(50));
        }
        files::remove(&tree).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_that_are_taken_are_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for number in 1..5 {
            fs::create_dir_all(tree.join(format!(".gantry-deep-{number}/full"))).unwrap();
        }
        fs::create_dir(tree.join(".gantry-deep-5")).unwrap();
        fs::write(tree.join(".gantry-deep-6"), "").unwrap();
        dig(&tree, 3 * LEVELS, ".gantry-deep-1x");
        files::remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        dig(&tree, 2, "d");
        std::os::unix::fs::symlink(&outside, tree.join("d/link")).unwrap();
        std::os::unix::fs::symlink(&outside, folder.path().join("link")).unwrap();
        files::remove(&folder.path().join("link")).unwrap();
        files::remove(&tree).unwrap();
        files::remove(&tree).unwrap();
        files::remove(&outside.join("none/of/them")).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert!(outside.join("kept").exists());
    }
}
