//! Holding a file system, fsfreeze(8).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

const FREEZE: libc::Ioctl = 0xc004_5877;
const THAW: libc::Ioctl = 0xc004_5878;

/// Puts all there is on the disk, where it stays as it is until [`thaw`].
pub(crate) fn freeze(top: impl AsFd) -> io::Result<()> {
    request(top, FREEZE)
}

/// Lets a file system go on; one that goes on already stays so.
pub(crate) fn thaw(top: impl AsFd) -> io::Result<()> {
    match request(top, THAW) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result,
    }
}

fn request(top: impl AsFd, request: libc::Ioctl) -> io::Result<()> {
    let fd = top.as_fd().as_raw_fd();
    // SAFETY: neither request reads its argument.
    if unsafe { libc::ioctl(fd, request, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
