//! Loop devices, loop(4).

use super::check;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

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

/// Attaches a file to a free loop device, which is free again once nobody uses
/// it any more. Gives the device and its path.
pub(crate) fn attach_loop_device(file: &File, read_only: bool) -> io::Result<(OwnedFd, PathBuf)> {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
    const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    /// Others may take the free device first.
    const TRIES: u32 = 32;
    let control = File::open("/dev/loop-control")?;
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
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }.into())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::options().read(true).write(!read_only).open(&path)?;
        let fd = device.as_raw_fd();
        // SAFETY: the kernel reads one structure of the type that it expects.
        match check(unsafe { libc::ioctl(fd, LOOP_CONFIGURE, &raw const config) }.into()) {
            Ok(_) => return Ok((device.into(), path)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
