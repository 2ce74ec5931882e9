//! Open-file-description locks (fcntl(2)), as LXC's tools take them.

use super::files;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A write lock on a whole file, held until it is dropped or this process ends.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock on a file, which is made (0600, its directories 0700)
    /// when missing. None: somebody else holds it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        if let Some(parent) = path.parent() {
            files::create_dirs(parent, 0o700)?;
        }
        let flags = rustix::fs::OFlags::RDWR
            | rustix::fs::OFlags::CREATE
            | rustix::fs::OFlags::CLOEXEC
            | rustix::fs::OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::from_raw_mode(0o600))?;
        Self::try_lock(File::from(fd))
    }

    /// Opens a file, which is made when missing, with a lock that others can have, too, but
    /// not with a write lock. Whoever inherits its descriptor holds it as well.
    pub(crate) fn share(path: &Path) -> io::Result<OwnedFd> {
        let flags = rustix::fs::OFlags::RDONLY
            | rustix::fs::OFlags::CREATE
            | rustix::fs::OFlags::CLOEXEC
            | rustix::fs::OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::from_raw_mode(0o600))?;
        let mut whole = whole();
        whole.l_type = libc::F_RDLCK as libc::c_short;
        fcntl(&file, FcntlArg::F_OFD_SETLK(&whole))?;
        Ok(file)
    }

    /// Whether somebody holds the lock on a file, which nobody needs to notice. None
    /// holds that of one that is missing.
    pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NOFOLLOW;
        let file = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut found = whole();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found))?;
        Ok(found.l_type != libc::F_UNLCK as libc::c_short)
    }

    /// Takes the lock on an open file. None: somebody else holds it.
    pub(crate) fn try_lock(file: File) -> io::Result<Option<Self>> {
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
            Ok(_) => Ok(Some(Self { _file: file })),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A write lock on all of a file.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock/var/lib/lxc/.c1");
        assert!(!FileLock::is_held(&path).unwrap());
        let held = FileLock::try_take(&path).unwrap();
        assert!(held.is_some() && FileLock::is_held(&path).unwrap());
        assert!(FileLock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(!FileLock::is_held(&path).unwrap());
        assert!(FileLock::try_take(&path).unwrap().is_some());
        let shared = [
            FileLock::share(&path).unwrap(),
            FileLock::share(&path).unwrap(),
        ];
        assert!(FileLock::is_held(&path).unwrap());
        drop(shared);
        assert!(!FileLock::is_held(&path).unwrap());
    }
}
