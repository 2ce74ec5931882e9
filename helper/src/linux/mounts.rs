//! What is mounted where.

use gantry_core::values::mount::unescape;
use std::io;
use std::path::{Path, PathBuf};

/// The first thing that is mounted on `directory` or below it, as
/// /proc/self/mountinfo has it (proc_pid_mountinfo(5)).
pub(crate) fn mounted_below(directory: &Path) -> io::Result<Option<PathBuf>> {
    let directory = std::fs::canonicalize(directory)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(first_below(&mounts, &directory))
}

fn first_below(mounts: &str, directory: &Path) -> Option<PathBuf> {
    mounts
        .lines()
        .filter_map(|line| unescape(line.split(' ').nth(4)?).ok())
        .map(PathBuf::from)
        .find(|point| point.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_counts() {
        let mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 21 0:30 / /var/lib/lxc/web10 rw - tmpfs none rw\n\
            31 21 0:31 / /var/lib/lxc/web1/root\\040fs rw - tmpfs none rw\n";
        let below = |path: &str| first_below(mounts, Path::new(path));
        assert_eq!(
            below("/var/lib/lxc/web1"),
            Some("/var/lib/lxc/web1/root fs".into())
        );
        assert_eq!(
            below("/var/lib/lxc/web10"),
            Some("/var/lib/lxc/web10".into())
        );
        assert_eq!(below("/var/lib/lxc/web"), None);
    }
}
