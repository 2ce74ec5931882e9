//! Reading /proc (proc(5)): what the kernel tells of processes and of the system, with
//! names in it that others have chosen.

use std::io;
use std::path::Path;

/// The text of a file of /proc. A process, a mount point or a socket may have any bytes
/// as its name: what is not UTF-8 in it is replaced, and does not hide the rest.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_hides_nothing() {
        std::thread::spawn(|| {
            std::fs::write("/proc/thread-self/comm", b"\xff\n").unwrap();
            let status = text("/proc/thread-self/status").unwrap();
            assert!(status.contains("CapBnd:"), "{status}");
        })
        .join()
        .unwrap();
    }
}
