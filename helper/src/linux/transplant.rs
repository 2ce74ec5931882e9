//! Files, copied from one tree to another with all that they have: owner, mode, times,
//! attributes, holes, and the hard links among them. Blocks are shared where the file
//! system can. All is done by descriptor: no link is followed, in neither tree.

use super::tree::{self, Tree, kind};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What is copied between two looks whether to go on.
const PIECE: usize = 1 << 20;

/// Copying from one tree to another.
pub(crate) struct Transplant<'a> {
    from: &'a Tree,
    to: &'a Tree,
    /// Told how many bytes were copied; its error ends the work.
    step: &'a dyn Fn(u64) -> io::Result<()>,
    /// Where files of several names are by now.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Transplant<'a> {
    /// Nothing is copied yet.
    pub(crate) fn new(
        from: &'a Tree,
        to: &'a Tree,
        step: &'a dyn Fn(u64) -> io::Result<()>,
    ) -> Self {
        Self {
            from,
            to,
            step,
            links: HashMap::new(),
        }
    }

    /// Copies what is at a path, with all below it, to a path at which nothing is.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut waiting = vec![(from.to_path_buf(), to.to_path_buf())];
        let mut directories = Vec::new();
        while let Some((from, to)) = waiting.pop() {
            (self.step)(0)?;
            let (here, name) = parent(self.from, &from)?;
            let status = tree::look(&here, name)?.ok_or(io::ErrorKind::NotFound)?;
            if kind(&status) == FileType::Directory {
                self.make_directory(&to)?;
                let listed = tree::names(directory(self.from, &from)?)?;
                waiting.extend(listed.iter().map(|name| (from.join(name), to.join(name))));
                directories.push((from, to));
            } else {
                self.one((&here, name), &status, &to)?;
            }
        }
        // The innermost first: what comes into a directory changes its time.
        for (from, to) in directories.into_iter().rev() {
            self.dress(&from, &to)?;
        }
        Ok(())
    }

    /// Makes a directory that only root may enter.
    fn make_directory(&self, to: &Path) -> io::Result<()> {
        let (there, name) = parent(self.to, to)?;
        Ok(rustix::fs::mkdirat(
            &there,
            name,
            Mode::from_raw_mode(0o700),
        )?)
    }

    /// Gives a directory what another has, but for what is in it.
    pub(crate) fn dress(&self, from: &Path, to: &Path) -> io::Result<()> {
        let here = directory(self.from, from)?;
        let there = directory(self.to, to)?;
        let status = rustix::fs::fstat(&here)?;
        let attributes = tree::attributes(&here, OsStr::new("."))?;
        dress(&there, &status, &attributes)
    }

    /// What was copied below `old` is below `new` from now on.
    pub(crate) fn moved(&mut self, old: &Path, new: &Path) {
        for path in self.links.values_mut() {
            if let Ok(rest) = path.strip_prefix(old) {
                *path = if rest.as_os_str().is_empty() {
                    new.to_path_buf()
                } else {
                    new.join(rest)
                };
            }
        }
    }

    fn one(
        &mut self,
        (here, name): (&OwnedFd, &OsStr),
        status: &Stat,
        to: &Path,
    ) -> io::Result<()> {
        let (there, new) = parent(self.to, to)?;
        let inode = (status.st_dev, status.st_ino);
        if status.st_nlink > 1 {
            if let Some(path) = self.links.get(&inode) {
                let (other, name) = parent(self.to, path)?;
                return Ok(rustix::fs::linkat(
                    &other,
                    name,
                    &there,
                    new,
                    AtFlags::empty(),
                )?);
            }
            self.links.insert(inode, to.to_path_buf());
        }
        let attributes = tree::attributes(here, name)?;
        if kind(status) == FileType::RegularFile {
            let from = tree::open_file(here, name)?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o600);
            let file = File::from(rustix::fs::openat(&there, new, flags, mode)?);
            self.content(&from, &file)?;
            return dress(&file, status, &attributes);
        }
        if kind(status) == FileType::Symlink {
            let target = rustix::fs::readlinkat(here, name, Vec::new())?;
            rustix::fs::symlinkat(&target, &there, new)?;
        } else {
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(&there, new, kind(status), mode, status.st_rdev)?;
        }
        dress_other(&there, new, status, &attributes)
    }

    fn content(&self, from: &File, to: &File) -> io::Result<()> {
        let size = from.metadata()?.len();
        if rustix::fs::ioctl_ficlone(to, from).is_ok() {
            return (self.step)(size);
        }
        to.set_len(size)?;
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < size {
            let hole = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(data) => {
                    at = data;
                    rustix::fs::seek(from, SeekFrom::Hole(data))?
                }
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            while at < hole {
                let most = usize::try_from(hole - at).unwrap_or(PIECE).min(PIECE);
                let room = piece.get_mut(..most).unwrap_or_default();
                let length = from.read_at(room, at)?;
                if length == 0 {
                    return Ok(());
                }
                to.write_all_at(room.get(..length).unwrap_or_default(), at)?;
                at += length as u64;
                (self.step)(length as u64)?;
            }
        }
        Ok(())
    }
}

/// The directory at a path, and an error where there is none.
pub(crate) fn directory(tree: &Tree, path: &Path) -> io::Result<OwnedFd> {
    Ok(tree.directory(path)?.ok_or(io::ErrorKind::NotFound)?)
}

/// The directory that holds what a path names, and its name there.
pub(crate) fn parent<'a>(tree: &Tree, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((
        directory(tree, path.parent().unwrap_or(Path::new("")))?,
        name,
    ))
}

/// Gives a file or directory of our own what another has. The owner comes first: it
/// takes capabilities and the bits of set-user-ID away.
fn dress(file: impl AsFd, like: &Stat, attributes: &BTreeMap<OsString, Vec<u8>>) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    for (name, value) in attributes {
        rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())?;
    }
    Ok(rustix::fs::futimens(&file, &times(like))?)
}

/// The same for what cannot be opened.
fn dress_other(
    directory: &OwnedFd,
    name: &OsStr,
    like: &Stat,
    attributes: &BTreeMap<OsString, Vec<u8>>,
) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    let itself = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), itself)?;
    if kind(like) != FileType::Symlink {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        if kind(&rustix::fs::fstat(&file)?) != kind(like) {
            return Err(io::Error::other("it was replaced meanwhile"));
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::chmod(path, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    }
    let path = tree::path_of(directory, name);
    for (name, value) in attributes {
        rustix::fs::lsetxattr(&path, name, value, XattrFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(
        directory,
        name,
        &times(like),
        itself,
    )?)
}

fn times(like: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time(like.st_atime, like.st_atime_nsec as _),
        last_modification: time(like.st_mtime, like.st_mtime_nsec as _),
    }
}
