//! Files of root's, read and replaced with care.

use super::{removal, tree};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What random names are made of.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// How many of them a temporary file's name ends in.
const SUFFIX: usize = 8;

/// Opens a regular file for reading. Neither a link at the end of the path
/// nor anything else (a FIFO would block) is opened.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok((file, metadata))
}

/// Writes a message to a FIFO that somebody reads, and to nothing else, without
/// waiting: none is there (NOENT), nobody reads (NXIO), or it is full (AGAIN).
pub(crate) fn write_to_fifo(path: &Path, message: &[u8]) -> rustix::io::Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let fifo = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&fifo)?.st_mode) != FileType::Fifo {
        return Err(rustix::io::Errno::INVAL);
    }
    // The kernel takes so few bytes as a whole (pipe(7)).
    rustix::io::write(&fifo, message).map(drop)
}

/// Opens a regular file that is there, to lock it.
pub(crate) fn open_writable(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Reads at most `limit` bytes; a longer file is an error.
pub(crate) fn read_bounded(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    // Without its length, even a short file takes many calls.
    let length = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length + 1).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Reads a regular file that need not be there, as [`open_regular`] opens it, of at most
/// `limit` bytes.
pub(crate) fn read_if_there(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match open_regular(path) {
        Ok((file, _)) => read_bounded(&file, limit).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file that is not there yet. That it lasts a power loss is for whoever publishes
/// what it is part of ([`sync_tree`]).
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.write_all(bytes)
}

/// Replaces a file's content in one step: a temporary file beside it, synced,
/// then renamed. Mode and owner stay; a new file is root's with `mode`.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    Replacement::prepare(path, bytes, mode)?.commit()
}

/// The temporary file of [`replace`], which goes unless it takes its place. Once it
/// is there, neither a full disk nor a read-only one hinders the rest.
pub(crate) struct Replacement {
    directory: OwnedFd,
    temporary: String,
    name: OsString,
    is_in_place: bool,
}

impl Replacement {
    /// Writes it.
    pub(crate) fn prepare(path: &Path, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = rustix::fs::open(
            parent,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let old = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(rustix::io::Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let temporary = format!(".{}.{}", name.to_string_lossy(), random_letters(SUFFIX)?);
        let replacement = Self {
            directory,
            temporary,
            name: name.to_owned(),
            is_in_place: false,
        };
        let Self {
            directory,
            temporary,
            ..
        } = &replacement;
        write_new(directory.as_fd(), temporary, bytes, mode, old.as_ref())?;
        Ok(replacement)
    }

    /// Its name in the directory, for a process that puts it in place itself.
    pub(crate) fn name(&self) -> &str {
        &self.temporary
    }

    /// Puts it in place.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        let directory = &self.directory;
        rustix::fs::renameat(directory, &self.temporary, directory, &self.name)?;
        self.is_in_place = true;
        Ok(rustix::fs::fsync(&self.directory)?)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_in_place {
            remove_quietly(&self.directory, &self.temporary);
        }
    }
}

/// The files in a directory that [`replace`] made to take the place of one of
/// `names`, and that did not come to it.
pub(crate) fn temporary(directory: &Path, names: &[&str]) -> Vec<PathBuf> {
    let is_ours = |name: &str| {
        let Some((of, suffix)) = name
            .strip_prefix('.')
            .and_then(|name| name.rsplit_once('.'))
        else {
            return false;
        };
        names.contains(&of)
            && suffix.len() == SUFFIX
            && suffix.bytes().all(|byte| LETTERS.contains(&byte))
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter(|entry| entry.file_name().to_str().is_some_and(is_ours))
        .map(|entry| entry.path())
        .collect()
}

/// Makes what came into a directory and went out of it last a power loss.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::fsync(rustix::fs::open(
        path,
        flags,
        Mode::empty(),
    )?)?)
}

/// Puts a directory and all below it on the disk: a few files each by itself, for the
/// file system may have much to write that is others'; many with all that it has.
pub(crate) fn sync_tree(directory: &OwnedFd) -> io::Result<()> {
    const FEW: usize = 64;
    let mut room = FEW;
    if sync_few(directory, &mut room)? {
        return Ok(());
    }
    Ok(rustix::fs::syncfs(directory)?)
}

/// Whether they were no more than there is room for, and all of one file system: a new
/// subvolume of btrfs, which has a number of its own, is there only with everything else.
/// What is neither file nor directory goes with the directory that it is in.
fn sync_few(directory: &OwnedFd, room: &mut usize) -> io::Result<bool> {
    let device = rustix::fs::fstat(directory)?.st_dev;
    for name in tree::names(directory)? {
        let Some(left) = room.checked_sub(1) else {
            return Ok(false);
        };
        *room = left;
        let Some(status) = tree::look(directory, &name)? else {
            continue;
        };
        if status.st_dev != device {
            return Ok(false);
        }
        match tree::kind(&status) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(directory, &name, flags, Mode::empty())?;
                if !sync_few(&below, room)? {
                    return Ok(false);
                }
            }
            FileType::RegularFile => tree::open_file(directory, &name)?.0.sync_all()?,
            _ => {}
        }
    }
    rustix::fs::fsync(directory)?;
    Ok(true)
}

fn write_new(
    directory: impl AsFd,
    name: &str,
    bytes: &[u8],
    mode: u32,
    old: Option<&rustix::fs::Stat>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::openat(
        directory,
        name,
        flags,
        Mode::from_raw_mode(0o600),
    )?);
    file.write_all(bytes)?;
    match old {
        Some(old) => give(&file, old, old.st_mode)?,
        None => rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?,
    }
    file.sync_all()
}

fn remove_quietly(directory: impl AsFd, name: &str) {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::ROFS) => {}
        Err(error) => tracing::warn!("removing the temporary file {name} failed: {error}"),
    }
}

/// Makes a directory and those above it that are missing, with this mode.
pub(crate) fn create_dirs(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
}

/// Makes a directory with exactly this mode; one that is there stays as it is.
pub(crate) fn ensure_directory(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if path.is_dir() {
        return Ok(());
    }
    create_dirs(path, mode)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Removes a file or tree, however deep it is, also what nobody may change in it (chattr(1)).
/// Links in it are removed, not followed; what is mounted below it is not touched and makes
/// this fail. What is not there is as good.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(above, flags, Mode::empty()) {
        Ok(above) => removal::remove(&above, name),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory to work below it. The last part of the path may not be a
/// link.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Gives a file the owner that another has, and a mode.
pub(crate) fn give(file: impl AsFd, like: &rustix::fs::Stat, mode: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    Ok(rustix::fs::fchmod(
        &file,
        Mode::from_raw_mode(mode & 0o7777),
    )?)
}

/// Letters and digits, for names that nobody else has.
pub(crate) fn random_letters(count: usize) -> io::Result<String> {
    Ok(random_bytes(count)?
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect())
}

/// Bytes from the kernel's random number generator.
pub(crate) fn random_bytes(count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A number that changes whenever a file does: of its inode, size and times.
pub(crate) fn revision(metadata: &Metadata) -> u64 {
    let mut bytes = Vec::with_capacity(48);
    for number in [metadata.ino(), metadata.size(), metadata.dev()] {
        bytes.extend(number.to_ne_bytes());
    }
    for number in [
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ] {
        bytes.extend(number.to_ne_bytes());
    }
    gantry_core::layout::fnv1a_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replacing_keeps_the_mode_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        replace(&path, b"a", 0o640).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
        let before = revision(&path.metadata().unwrap());
        replace(&path, b"b", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"b");
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o7777,
            0o604
        );
        assert_ne!(revision(&path.metadata().unwrap()), before);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(open_regular(&fifo).is_err());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(open_regular(&link).is_err());
    }

    #[test]
    fn few_files_are_synced_each_and_many_at_once() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("below")).unwrap();
        std::os::unix::fs::symlink("/nowhere", directory.path().join("link")).unwrap();
        let fifo = directory.path().join("below/fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for number in 0..9 {
            std::fs::write(directory.path().join(format!("below/{number}")), "text").unwrap();
        }
        let top = open_directory(directory.path()).unwrap();
        assert!(sync_few(&top, &mut 12).unwrap());
        assert!(!sync_few(&top, &mut 11).unwrap());
        sync_tree(&top).unwrap();
    }

    #[test]
    fn long_files_are_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"12345").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        assert!(read_bounded(&file, 4).is_err());
        io::Seek::rewind(&mut file).unwrap();
        assert_eq!(read_bounded(&file, 5).unwrap(), b"12345");
    }
}
