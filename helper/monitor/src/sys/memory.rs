//! Giving memory back while a monitor has nothing to do but wait.

use nix::poll::PollFd;
use std::ffi::c_void;
use std::io;

/// How long nothing has to happen for memory to be given back, in
/// milliseconds.
const PAUSE: libc::c_int = 500;

/// Memory that can be given back at any time.
pub(crate) struct Spare {
    /// Start and length of mappings of files that are never written.
    clean: Vec<(usize, usize)>,
}

impl Spare {
    /// Looks at this process's mappings.
    pub(crate) fn find() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self {
            clean: maps.lines().filter_map(clean_file_mapping).collect(),
        }
    }

    /// Waits as poll(2) does, without limit. If nothing happens for a while
    /// it first returns the allocator's free pages and unmaps the pages of
    /// program and libraries: they come back by themselves when they are
    /// touched, and until then hardly more than this function stays.
    #[inline(never)]
    pub(crate) fn wait(&self, waiting: &mut [PollFd<'_>]) -> io::Result<()> {
        let count = waiting.len() as libc::nfds_t;
        // PollFd is declared to have the layout of `struct pollfd`.
        let first = waiting.as_mut_ptr().cast::<libc::pollfd>();
        // SAFETY: the list is as long as is said; only free memory of the
        // allocator is given back; and the ranges map files privately and were
        // never written, so that the kernel can read them again.
        let result = unsafe {
            let result = libc::poll(first, count, PAUSE);
            if result == 0 {
                libc::malloc_trim(0);
                for (start, length) in &self.clean {
                    libc::madvise(*start as *mut c_void, *length, libc::MADV_DONTNEED);
                }
                libc::poll(first, count, -1)
            } else {
                result
            }
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// Start and length of a line of /proc/PID/maps that maps what is never
/// written: code, and the read-only data at the beginning of a file. Such
/// data further on is left alone: the dynamic linker may have relocated it.
fn clean_file_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, offset) = (fields.next()?, fields.next()?);
    let path = fields.nth(2)?;
    let is_start = u64::from_str_radix(offset, 16) == Ok(0);
    let never_written = permissions == "r-xp" || (permissions == "r--p" && is_start);
    if !never_written || !path.starts_with('/') {
        return None;
    }
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::clean_file_mapping;

    #[test]
    fn only_what_is_never_written_is_given_back() {
        for clean in [
            "55d0c8a00000-55d0c8a10000 r-xp 00004000 fe:00 1234   /usr/libexec/gantry-monitor",
            "55d0c8a00000-55d0c8a10000 r--p 00000000 fe:00 1234   /usr/libexec/gantry-monitor",
        ] {
            assert_eq!(
                clean_file_mapping(clean),
                Some((0x55d0_c8a0_0000, 0x10000)),
                "{clean}"
            );
        }
        for other in [
            "55d0c8a00000-55d0c8a10000 r--p 00004000 fe:00 1234   /usr/libexec/gantry-monitor",
            "55d0c8a00000-55d0c8a10000 rw-p 00004000 fe:00 1234   /usr/libexec/gantry-monitor",
            "7ffd1c1e9000-7ffd1c1eb000 r-xp 00000000 00:00 0      [vdso]",
            "7ffd1c1e9000-7ffd1c1eb000 r-xp 00000000 00:00 0",
            "nonsense",
        ] {
            assert_eq!(clean_file_mapping(other), None, "{other}");
        }
    }
}
