//! One file, made like another: its content with its holes, owner, mode, attributes and
//! times. All is done by descriptor: no link is followed.

use super::tree::{self, kind};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// What is copied between two looks whether to go on.
const PIECE: u64 = 8 << 20;
/// The same where the kernel cannot copy by itself.
const BUFFER: usize = 1 << 20;
/// What stat(2) counts blocks in.
const BLOCK: u64 = 512;

/// Attributes that a file keeps wherever it lies; all others are of the file system it
/// lies on, as `btrfs.compression`.
const KEPT: [&str; 4] = ["user.", "trusted.", "security.", "system.posix_acl_"];
/// A directory's lists of access: what is made in it inherits the second.
const ACCESS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Makes an empty regular file like another, but for what [`dress`] gives it.
pub(super) fn create(directory: &OwnedFd, name: &OsStr, like: &Stat) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Others' bits of a file that is not theirs yet do no harm where only root may enter.
    let mode = Mode::from_raw_mode(like.st_mode & 0o777);
    Ok(rustix::fs::openat(directory, name, flags, mode)?.into())
}

/// Makes what has this status, and is neither regular nor a directory, like that, but for
/// what [`dress_other`] gives it.
pub(super) fn create_other(
    (here, name): (&OwnedFd, &OsStr),
    like: &Stat,
    (there, new): (&OwnedFd, &OsStr),
) -> io::Result<()> {
    if kind(like) == FileType::Symlink {
        let target = rustix::fs::readlinkat(here, name, Vec::new())?;
        return Ok(rustix::fs::symlinkat(&target, there, new)?);
    }
    let mode = Mode::from_raw_mode(0o600);
    Ok(rustix::fs::mknodat(
        there,
        new,
        kind(like),
        mode,
        like.st_rdev,
    )?)
}

/// Gives an empty file the content of one that has this status. Where the file system can,
/// both share it. `step` is told how many bytes were copied; its error ends the work.
pub(super) fn content(
    from: &File,
    like: &Stat,
    to: &File,
    step: &dyn Fn(u64) -> io::Result<()>,
) -> io::Result<()> {
    let size = u64::try_from(like.st_size).map_err(io::Error::other)?;
    let occupied = u64::try_from(like.st_blocks).map_err(io::Error::other)? * BLOCK;
    if occupied >= size {
        return range(from, to, 0, size, step);
    }
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // There is none behind.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(from, SeekFrom::Hole(begin))?.min(size);
        range(from, to, begin, at, step)?;
    }
    Ok(())
}

/// Copies the bytes between two places of a file, as far as there are some.
fn range(
    from: &File,
    to: &File,
    mut at: u64,
    end: u64,
    step: &dyn Fn(u64) -> io::Result<()>,
) -> io::Result<()> {
    while at < end {
        let length = usize::try_from((end - at).min(PIECE)).map_err(io::Error::other)?;
        let (mut begin, mut place) = (at, at);
        let result =
            rustix::fs::copy_file_range(from, Some(&mut begin), to, Some(&mut place), length);
        match result {
            Ok(0) => return Ok(()),
            Ok(copied) => {
                at += copied as u64;
                step(copied as u64)?;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // These two file systems have no way to each other.
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                return through_memory(from, to, at, end, step);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn through_memory(
    from: &File,
    to: &File,
    mut at: u64,
    end: u64,
    step: &dyn Fn(u64) -> io::Result<()>,
) -> io::Result<()> {
    let most = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
    let mut buffer = vec![0; most];
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
        let length = from.read_at(buffer.get_mut(..most).unwrap_or_default(), at)?;
        if length == 0 {
            break;
        }
        to.write_all_at(buffer.get(..length).unwrap_or_default(), at)?;
        at += length as u64;
        step(length as u64)?;
    }
    Ok(())
}

/// Takes from a directory what it has inherited, so that nothing made in it inherits that,
/// and makes it root's alone.
pub(super) fn undress(directory: &OwnedFd) -> io::Result<()> {
    rustix::fs::fchmod(directory, Mode::from_raw_mode(0o700))?;
    for list in ACCESS {
        match rustix::fs::fremovexattr(directory, list) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives a file or directory of our own what another has. The owner comes first: it
/// takes capabilities and the bits of set-user-ID away.
pub(super) fn dress(
    file: impl AsFd,
    like: &Stat,
    attributes: &BTreeMap<OsString, Vec<u8>>,
) -> io::Result<()> {
    let is = rustix::fs::fstat(&file)?;
    let is_given = (is.st_uid, is.st_gid) != (like.st_uid, like.st_gid);
    if is_given {
        let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    let mode = like.st_mode & 0o7777;
    if is.st_mode & 0o7777 != mode || (is_given && mode & 0o6000 != 0) {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    }
    give_attributes(attributes, |name, value| {
        rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty())
    })?;
    Ok(rustix::fs::futimens(&file, &times(like))?)
}

/// The same for what cannot be opened.
pub(super) fn dress_other(
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
    give_attributes(attributes, |name, value| {
        rustix::fs::lsetxattr(&path, name, value, rustix::fs::XattrFlags::empty())
    })?;
    Ok(rustix::fs::utimensat(
        directory,
        name,
        &times(like),
        itself,
    )?)
}

fn give_attributes(
    attributes: &BTreeMap<OsString, Vec<u8>>,
    set: impl Fn(&OsStr, &[u8]) -> rustix::io::Result<()>,
) -> io::Result<()> {
    for (name, value) in attributes {
        let is_kept = || {
            let name = name.as_encoded_bytes();
            KEPT.iter().any(|kept| name.starts_with(kept.as_bytes()))
        };
        match set(name, value) {
            Err(Errno::OPNOTSUPP) if !is_kept() => {}
            result => result?,
        }
    }
    Ok(())
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
