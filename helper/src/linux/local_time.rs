//! The time of day where the host is, localtime_r(3).

use std::ffi::{CStr, CString};

/// Now, as strftime(3) writes it; empty if the result has more than 64 bytes.
pub(crate) fn now(format: &str) -> String {
    let Ok(format) = CString::new(format) else {
        return String::new();
    };
    let mut buffer = [0_u8; 65];
    // SAFETY: time() takes no pointer here; the structure is valid as zeroes and filled
    // by localtime_r; strftime writes at most the length that is passed, with a NUL.
    let length = unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        let mut parts = std::mem::zeroed::<libc::tm>();
        if libc::localtime_r(&raw const seconds, &raw mut parts).is_null() {
            return String::new();
        }
        libc::strftime(
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            format.as_ptr(),
            &raw const parts,
        )
    };
    let text = buffer.get(..=length).map(CStr::from_bytes_until_nul);
    match text {
        Some(Ok(text)) => text.to_string_lossy().into_owned(),
        _ => String::new(),
    }
}

/// What clocks here are ahead of UTC at a moment, in seconds; the moment is in seconds
/// since 1970.
pub(crate) fn ahead_at(moment: i64) -> i64 {
    // SAFETY: the structure is valid as zeroes and filled by localtime_r.
    unsafe {
        let mut parts = std::mem::zeroed::<libc::tm>();
        if libc::localtime_r(&raw const moment, &raw mut parts).is_null() {
            return 0;
        }
        parts.tm_gmtoff
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn clocks_are_ahead_by_less_than_a_day_and_a_bit() {
        assert!(super::ahead_at(0).abs() < 27 * 3600);
    }

    #[test]
    fn a_time_has_its_parts() {
        let text = super::now("%Y:%m:%d %H:%M:%S");
        assert_eq!(text.len(), 19, "{text}");
        assert_eq!(super::now(&"%Y".repeat(40)), "");
    }
}
