//! Subvolumes of btrfs, by the ioctls of linux/btrfs.h.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::files;

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

const SNAP_CREATE_V2: libc::Ioctl = 0x5000_9417;
const SUBVOL_CREATE_V2: libc::Ioctl = 0x5000_9418;

/// Makes an empty subvolume.
pub(crate) fn create_subvolume(path: &Path) -> io::Result<()> {
    make(path, SUBVOL_CREATE_V2, 0)
}

/// Makes a subvolume that shares all its blocks with `source`, a subvolume on the
/// same file system; those nested in it are not taken along.
pub(crate) fn snapshot_subvolume(source: &Path, path: &Path) -> io::Result<()> {
    let source = files::open_directory(source)?;
    make(path, SNAP_CREATE_V2, source.as_fd().as_raw_fd().into())
}

fn make(path: &Path, request: libc::Ioctl, source: i64) -> io::Result<()> {
    let (parent, name) = path
        .parent()
        .zip(path.file_name())
        .ok_or(io::ErrorKind::InvalidInput)?;
    let parent = files::open_directory(parent)?;
    let args = VolumeArgs {
        fd: source,
        transid: 0,
        flags: 0,
        unused: [0; 4],
        name: padded(name)?,
    };
    // SAFETY: the kernel reads one structure of the type that both requests expect.
    let result = unsafe { libc::ioctl(parent.as_raw_fd(), request, &raw const args) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn padded(name: &OsStr) -> io::Result<[u8; 4040]> {
    let mut field = [0; 4040];
    let bytes = name.as_bytes();
    // The last byte stays the terminating NUL.
    field
        .get_mut(..bytes.len())
        .filter(|_| bytes.len() < 4040)
        .ok_or(io::ErrorKind::InvalidFilename)?
        .copy_from_slice(bytes);
    Ok(field)
}
