//! Trees of files in which others can write, looked at without ever leaving them: no
//! link is followed and no mount is entered.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The longest list of a file's attributes, and the longest value (xattr(7)).
const LONGEST_ATTRIBUTE: usize = 64 << 10;

/// A tree by its top.
#[derive(Debug)]
pub(crate) struct Tree {
    top: OwnedFd,
    /// Its file system, where others may be mounted on it.
    device: Option<u64>,
}

impl Tree {
    /// The tree below an open directory.
    pub(crate) fn new(top: OwnedFd) -> Self {
        Self { top, device: None }
    }

    /// The tree below an open directory as a container sees it.
    pub(crate) fn in_container(top: OwnedFd) -> io::Result<Self> {
        let device = Some(rustix::fs::fstat(&top)?.st_dev);
        Ok(Self { top, device })
    }

    /// Whether what has this status hides what the tree has there.
    pub(crate) fn is_covered_by(&self, status: &Stat) -> bool {
        self.device.is_some_and(|device| device != status.st_dev)
    }

    /// Opens a directory by its path from the top, which may be empty; none if there is
    /// none, or a link or mount is on the way.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        loop {
            match rustix::fs::openat2(&self.top, path, flags, Mode::empty(), resolve) {
                Ok(directory) => return Ok(Some(directory)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
                // Something was renamed meanwhile.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A name in a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    /// Its inode.
    pub(crate) inode: u64,
    /// Its type, which some file systems do not tell here.
    pub(crate) kind: FileType,
}

/// What is in a directory, by name.
pub(crate) fn entries(directory: impl AsFd) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        if name != "." && name != ".." {
            entries.push(Entry {
                name,
                inode: entry.ino(),
                kind: entry.file_type(),
            });
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// The names of a directory, in order.
pub(crate) fn names(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    Ok(entries(directory)?
        .into_iter()
        .map(|entry| entry.name)
        .collect())
}

/// What a name in a directory is; none if it is not there.
pub(crate) fn look(directory: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The type of what has this status.
pub(crate) fn kind(status: &Stat) -> FileType {
    FileType::from_raw_mode(status.st_mode)
}

/// Opens a regular file, and nothing else, for reading; its time of access stays.
pub(crate) fn open_file(directory: impl AsFd, name: &OsStr) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::NOATIME
        | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let status = rustix::fs::fstat(&file)?;
    if kind(&status) == FileType::RegularFile {
        Ok((file, status))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The path by which the calls for attributes reach a name in an open directory: they
/// take no descriptor.
pub(crate) fn path_of(directory: impl AsFd, name: &OsStr) -> PathBuf {
    let number = directory.as_fd().as_raw_fd();
    Path::new("/proc/self/fd")
        .join(number.to_string())
        .join(name)
}

/// The extended attributes of a name in a directory, access lists among them; none of
/// what is gone.
pub(crate) fn attributes(
    directory: impl AsFd,
    name: &OsStr,
) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let path = path_of(directory, name);
    collect(
        |list| rustix::fs::llistxattr(&path, list),
        |name, value| rustix::fs::lgetxattr(&path, name, value),
    )
}

/// The same of an open file or directory.
pub(crate) fn attributes_of(file: impl AsFd) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    collect(
        |list| rustix::fs::flistxattr(&file, list),
        |name, value| rustix::fs::fgetxattr(&file, name, value),
    )
}

/// One attribute of what is at a path, which is not followed if it is a link; none of
/// what is gone.
pub(crate) fn attribute_at(path: &Path, attribute: &OsStr) -> io::Result<Option<Vec<u8>>> {
    read(|value| rustix::fs::lgetxattr(path, attribute, value))
}

fn collect(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&OsStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let names = read(list)?.unwrap_or_default();
    let mut found = BTreeMap::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = OsStr::from_bytes(name);
        if let Some(value) = read(|value| get(name, value))? {
            found.insert(name.to_owned(), value);
        }
    }
    Ok(found)
}

/// As [`fitting`]; none where there is nothing.
fn read(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    match fitting(call) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a call fills a buffer with that is as long as it takes. Mostly that is short, and
/// the call is made for each of a million files.
fn fitting(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 256];
    let length = match call(&mut bytes) {
        Err(Errno::RANGE) => {
            bytes = vec![0; LONGEST_ATTRIBUTE];
            call(&mut bytes)?
        }
        result => result?,
    };
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::files;

    #[test]
    fn nothing_leads_out_of_a_tree() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("a/out")).unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("a/in")).unwrap();
        let tree = Tree::new(files::open_directory(folder.path()).unwrap());
        let there = |path: &str| tree.directory(Path::new(path)).unwrap().is_some();
        assert!(there("") && there("a") && there("a/b"));
        assert!(!there("a/out") && !there("a/in") && !there("a/c"));
        assert!(tree.directory(Path::new("../x")).is_err() || !there("../x"));
        let directory = tree.directory(Path::new("a")).unwrap().unwrap();
        assert_eq!(names(&directory).unwrap(), ["b", "in", "out"]);
        assert!(open_file(&directory, OsStr::new("out")).is_err());
        assert_eq!(
            look(&directory, OsStr::new("c"))
                .unwrap()
                .map(|s| s.st_mode),
            None
        );
    }
}
