//! Giving memory back once a monitor has nothing to do but wait.

use std::ffi::c_void;

/// Returns the allocator's free pages, and unmaps the pages of program and
/// libraries that only the start needed: they are read-only file pages, which
/// come back by themselves when they are touched.
pub(crate) fn release_unused_memory() {
    // SAFETY: only gives free memory of the allocator back.
    unsafe { libc::malloc_trim(0) };
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (start, length) in maps.lines().filter_map(clean_file_mapping) {
        // SAFETY: the range is a private mapping of a file without write
        // permission. Whether a page of it was written before it became
        // read-only (relocations) is excluded by `clean_file_mapping`.
        unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of a line of /proc/PID/maps that maps executable code.
/// Read-only data is left alone: the dynamic linker may have relocated it.
fn clean_file_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let path = fields.nth(3)?;
    if permissions != "r-xp" || path.starts_with('[') {
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
    fn only_code_is_given_back() {
        let code =
            "55d0c8a00000-55d0c8a10000 r-xp 00004000 fe:00 1234   /usr/libexec/gantry-monitor";
        assert_eq!(clean_file_mapping(code), Some((0x55d0_c8a0_0000, 0x10000)));
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
