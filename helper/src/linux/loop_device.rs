//! Loop devices, loop(4): the file systems in image files.

use super::files;
use super::mounts::{self, Access};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// `struct loop_config` of linux/loop.h, with its `struct loop_info64`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit.
    numbers: [u64; 5],
    /// lo_number, lo_encrypt_type, lo_encrypt_key_size.
    words: [u32; 3],
    flags: u32,
    /// lo_file_name, lo_crypt_name, lo_encrypt_key.
    names: [u8; 160],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Mounts the file system in an image; see [`mounts::detached`].
pub(crate) fn mount_image(image: &Path, access: Access) -> io::Result<OwnedFd> {
    let file = match access {
        Access::Read => files::open_regular(image)?.0,
        Access::Change => files::open_writable(image)?,
    };
    // The device lets go of the file when its last user, the mount, is gone.
    let (device, path) = attach(&file, access)?;
    mount_device(&device, &path, access)
}

/// Mounts the file system on a block device.
fn mount_device(device: &File, path: &Path, access: Access) -> io::Result<OwnedFd> {
    let source = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let kind = kind_on(device)?;
    match mounts::detached(kind, source, &[], &[], access) {
        // A journal is left, of a system that was cut: what is in it cannot be taken over.
        Err(_) if access == Access::Read && matches!(kind, "ext4" | "xfs") => {
            mounts::detached(kind, source, &[], &["norecovery"], access)
        }
        result => result,
    }
}

/// Attaches a file to a free loop device. Gives the device and its path.
fn attach(file: &File, access: Access) -> io::Result<(File, PathBuf)> {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
    const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    /// Others may take the free device first.
    const TRIES: u32 = 32;
    let control = File::open("/dev/loop-control")?;
    let read_only = access == Access::Read;
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
        block_size: 0,
        numbers: [0; 5],
        words: [0; 3],
        flags: LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 },
        names: [0; 160],
        init: [0; 2],
        reserved: [0; 8],
    };
    let mut tries = 0;
    loop {
        // SAFETY: the request takes no argument and gives a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::options().read(true).write(!read_only).open(&path)?;
        // SAFETY: the kernel reads one structure of the type that it expects.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
        if result >= 0 {
            return Ok((device, path));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EBUSY) && tries < TRIES => tries += 1,
            error => return Err(error),
        }
    }
}

/// The file system on a device by its mark.
fn kind_on(device: &File) -> io::Result<&'static str> {
    const MARKS: [(u64, &[u8], &str); 4] = [
        (0x438, &[0x53, 0xef], "ext4"),
        (0, b"XFSB", "xfs"),
        (0x1_0040, b"_BHRfS_M", "btrfs"),
        (0x400, &[0x10, 0x20, 0xf5, 0xf2], "f2fs"),
    ];
    for (offset, mark, kind) in MARKS {
        let mut found = vec![0; mark.len()];
        if device.read_exact_at(&mut found, offset).is_ok() && found == mark {
            return Ok(kind);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "there is none of ext4, xfs, btrfs and f2fs on it",
    ))
}
