//! Files in memory that nobody can change (memfd_create(2)).

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may hold what was written before it can be sealed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// A copy of a program, to be executed instead of the file: what is executed
/// inside a container could otherwise be opened through /proc and overwritten
/// (CVE-2019-5736).
pub(crate) fn sealed_program(path: &Path) -> io::Result<OwnedFd> {
    let memfd = rustix::fs::memfd_create(
        path.file_name().unwrap_or(path.as_os_str()),
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC,
    )?;
    let mut file = File::from(memfd);
    io::copy(&mut File::open(path)?, &mut file)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o500))?;
    seal(&file)?;
    // Out of the way of the numbers that a child's descriptors get.
    Ok(rustix::io::fcntl_dupfd_cloexec(&file, 100)?)
}

/// A read-only file of these bytes, at its beginning.
pub(crate) fn sealed_bytes(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    sealed(name, |mut file| file.write_all(bytes))
}

/// A read-only file of what `fill` writes, at its beginning.
pub(crate) fn sealed(
    name: &str,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let memfd = rustix::fs::memfd_create(
        name,
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL,
    )?;
    let mut file = File::from(memfd);
    fill(&file)?;
    io::Seek::rewind(&mut file)?;
    seal(&file)?;
    Ok(file.into())
}

fn seal(file: &File) -> io::Result<()> {
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::fcntl_add_seals(file, all) {
            // On a loaded host the kernel may hold pages a while that were just written;
            // it waits for them itself, but not for long (memfd_wait_for_pins).
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn nobody_writes_to_a_sealed_file() {
        let mut file = File::from(sealed_bytes("log", b"hello").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }
}
