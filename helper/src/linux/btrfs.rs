//! Subvolumes of btrfs, by the ioctls of linux/btrfs.h.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
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

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct NameArgs {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct LookupArgs {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_send_args`.
#[repr(C)]
struct SendArgs {
    send_fd: i64,
    clone_sources_count: u64,
    clone_sources: *const u64,
    parent_root: u64,
    flags: u64,
    version: u32,
    reserved: [u8; 28],
}

/// `struct btrfs_ioctl_get_subvol_rootref_args`.
#[repr(C)]
struct NestedArgs {
    least: u64,
    found: [[u64; 2]; 255],
    count: u8,
    unused: [u8; 7],
}

const SNAP_DESTROY: libc::Ioctl = 0x5000_940f;
const INO_LOOKUP: libc::Ioctl = 0xd000_9412;
const SUBVOL_SETFLAGS: libc::Ioctl = 0x4008_941a;
const SEND: libc::Ioctl = 0x4048_9426;
const SNAP_CREATE_V2: libc::Ioctl = 0x5000_9417;
const SUBVOL_CREATE_V2: libc::Ioctl = 0x5000_9418;
const GET_SUBVOL_ROOTREF: libc::Ioctl = 0xd000_943d;

/// Makes an empty subvolume.
pub(crate) fn create_subvolume(path: &Path) -> io::Result<()> {
    make(path, SUBVOL_CREATE_V2, 0, 0)
}

/// Makes a subvolume that shares all its blocks with `source`, a subvolume on the
/// same file system; those nested in it are not taken along.
pub(crate) fn snapshot_subvolume(source: &Path, path: &Path) -> io::Result<()> {
    snapshot(source, path, 0)
}

/// The same, but nothing can be changed in it: what [`send_changes`] compares.
pub(crate) fn snapshot_to_read(source: &Path, path: &Path) -> io::Result<()> {
    const READ_ONLY: u64 = 1 << 1;
    snapshot(source, path, READ_ONLY)
}

fn snapshot(source: &Path, path: &Path, flags: u64) -> io::Result<()> {
    let source = files::open_directory(source)?;
    make(
        path,
        SNAP_CREATE_V2,
        source.as_fd().as_raw_fd().into(),
        flags,
    )
}

fn make(path: &Path, request: libc::Ioctl, source: i64, flags: u64) -> io::Result<()> {
    let (parent, name) = path
        .parent()
        .zip(path.file_name())
        .ok_or(io::ErrorKind::InvalidInput)?;
    let parent = files::open_directory(parent)?;
    let args = VolumeArgs {
        fd: source,
        transid: 0,
        flags,
        unused: [0; 4],
        name: padded(name)?,
    };
    // SAFETY: the kernel reads one structure of the type that both requests expect.
    check(unsafe { libc::ioctl(parent.as_raw_fd(), request, &raw const args) })
}

/// Whether other subvolumes lie in a subvolume: those that a snapshot of it is without.
pub(crate) fn has_nested(path: &Path) -> io::Result<bool> {
    let subvolume = files::open_directory(path)?;
    let mut args = NestedArgs {
        least: 0,
        found: [[0; 2]; 255],
        count: 0,
        unused: [0; 7],
    };
    // SAFETY: the kernel fills one structure of the type that the request expects.
    match check(unsafe { libc::ioctl(subvolume.as_raw_fd(), GET_SUBVOL_ROOTREF, &raw mut args) }) {
        Ok(()) => Ok(args.count > 0),
        // There are more than it can name.
        Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes a subvolume with all that is in it, at once.
///
/// # Errors
/// `ENOTEMPTY` when other subvolumes lie in it.
pub(crate) fn destroy_subvolume(path: &Path) -> io::Result<()> {
    let (parent, name) = path
        .parent()
        .zip(path.file_name())
        .ok_or(io::ErrorKind::InvalidInput)?;
    destroy_subvolume_in(files::open_directory(parent)?, name)
}

/// As [`destroy_subvolume`], by its name in an open directory.
pub(super) fn destroy_subvolume_in(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let args = NameArgs {
        fd: 0,
        name: padded(name)?,
    };
    // SAFETY: the kernel reads one structure of the type that the request expects.
    check(unsafe { libc::ioctl(parent.as_fd().as_raw_fd(), SNAP_DESTROY, &raw const args) })
}

/// Makes a subvolume, opened at its top, one that can be changed, and removed like any
/// directory.
pub(super) fn make_writable(subvolume: impl AsFd) -> io::Result<()> {
    let flags = 0_u64;
    // SAFETY: the kernel reads the number that the request expects.
    check(unsafe {
        libc::ioctl(
            subvolume.as_fd().as_raw_fd(),
            SUBVOL_SETFLAGS,
            &raw const flags,
        )
    })
}

/// Writes to a pipe what turns one snapshot that cannot be changed into another, without
/// the content of files (btrfs-send(8)).
pub(crate) fn send_changes(from: &Path, to: &Path, pipe: BorrowedFd<'_>) -> io::Result<()> {
    const NO_FILE_DATA: u64 = 1;
    let from = files::open_directory(from)?;
    let to = files::open_directory(to)?;
    let args = SendArgs {
        send_fd: pipe.as_raw_fd().into(),
        clone_sources_count: 0,
        clone_sources: std::ptr::null(),
        parent_root: number_of(&from)?,
        flags: NO_FILE_DATA,
        version: 0,
        reserved: [0; 28],
    };
    // SAFETY: the kernel reads one structure of the type that the request expects, which
    // points to nothing.
    check(unsafe { libc::ioctl(to.as_raw_fd(), SEND, &raw const args) })
}

/// The number of a subvolume.
fn number_of(subvolume: impl AsFd) -> io::Result<u64> {
    /// The inode of a subvolume's top.
    const TOP: u64 = 256;
    let mut args = LookupArgs {
        tree: 0,
        object: TOP,
        name: [0; 4080],
    };
    let fd = subvolume.as_fd().as_raw_fd();
    // SAFETY: the kernel fills one structure of the type that the request expects.
    check(unsafe { libc::ioctl(fd, INO_LOOKUP, &raw mut args) })?;
    Ok(args.tree)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn padded<const SIZE: usize>(name: &OsStr) -> io::Result<[u8; SIZE]> {
    let mut field = [0; SIZE];
    let bytes = name.as_bytes();
    // The last byte stays the terminating NUL.
    field
        .get_mut(..bytes.len())
        .filter(|_| bytes.len() < SIZE)
        .ok_or(io::ErrorKind::InvalidFilename)?
        .copy_from_slice(bytes);
    Ok(field)
}
