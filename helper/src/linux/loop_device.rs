//! Loop devices, loop(4).

use std::ffi::OsStr;
use std::fs::{File, read_dir, read_to_string};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The devices that show an image.
pub(crate) fn showing(image: &Path) -> io::Result<Vec<PathBuf>> {
    let image = image.canonicalize()?;
    let mut found = Vec::new();
    for entry in read_dir("/sys/block")? {
        let entry = entry?;
        // Devices that show nothing have no such file.
        let Ok(shown) = read_to_string(entry.path().join("loop/backing_file")) else {
            continue;
        };
        if OsStr::from_bytes(shown.trim_end_matches('\n').as_bytes()) == image {
            found.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    Ok(found)
}

/// Has the devices that show an image take note of its new size.
pub(crate) fn refresh(image: &Path) -> io::Result<()> {
    const LOOP_SET_CAPACITY: libc::Ioctl = 0x4c07;
    for device in showing(image)? {
        let device = File::open(device)?;
        // SAFETY: the request takes no argument.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
