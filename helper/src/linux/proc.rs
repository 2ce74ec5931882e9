//! Reading /proc (proc(5)): what the kernel tells of processes and of the system, with
//! names in it that others have chosen.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file of /proc. A process, a mount point or a socket may have any bytes
/// as its name: what is not UTF-8 in it is replaced, and does not hide the rest.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    // Most fit: else it would be asked for a few bytes first, as the size is not known.
    let mut bytes = Vec::with_capacity(4096);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
