//! Removing groups.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a group may stay busy after its last process has ended: the
/// kernel lets go of it a moment later.
const PATIENCE: Duration = Duration::from_secs(2);

/// Removes a group with all groups below. One that is gone is no error.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match rmdir(CWD, directory.as_os_str()) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        result => return Ok(result?),
    }
    let identity = || std::fs::metadata(directory).map(|metadata| metadata.ino());
    let ours = identity();
    remove_children(CWD, directory)?;
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    loop {
        // Others tidy up, too: by now the next monitor may have made its own here.
        if let (Ok(ours), Ok(now)) = (&ours, identity())
            && *ours != now
        {
            return Ok(());
        }
        match rmdir(CWD, directory.as_os_str()) {
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(pause),
            result => return Ok(result?),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn rmdir(parent: impl AsFd, name: &std::ffi::OsStr) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Only directories can be removed in a cgroup file system, from the leaves up.
fn remove_children(parent: impl AsFd, directory: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let handle = match openat(parent, directory, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        handle => handle?,
    };
    for entry in Dir::read_from(&handle)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            let name = std::ffi::OsStr::from_bytes(name.to_bytes());
            remove_children(&handle, Path::new(name))?;
            rmdir(&handle, name)?;
        }
    }
    Ok(())
}

use std::os::unix::ffi::OsStrExt;
