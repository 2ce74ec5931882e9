//! Control groups of either version (cgroups(7)), by file descriptors of
//! their directories.

mod usage;

pub(crate) use usage::Groups;

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// One hierarchy a controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// Reads a group's file.
pub(crate) fn read(group: &OwnedFd, file: &str) -> io::Result<String> {
    let mut text = String::new();
    open(group, file, OFlags::RDONLY)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes to a group's file.
pub(crate) fn write(group: &OwnedFd, file: &str, value: &str) -> io::Result<()> {
    open(group, file, OFlags::WRONLY)?.write_all(value.as_bytes())
}

/// Opens a group's file.
fn open(group: &OwnedFd, file: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::openat(
        group.as_fd(),
        file,
        flags,
        Mode::empty(),
    )?))
}

/// The number after a word at the start of a line.
pub(crate) fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(word)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// Whether the host's controllers sit in version 1 hierarchies, version 2, or
/// both; and which controllers there are.
pub(crate) fn host() -> io::Result<Vec<(String, Version)>> {
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    for line in mounts.lines() {
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        let mut kind = kind.split(' ');
        match (kind.next(), kind.next(), kind.next()) {
            (Some("cgroup2"), ..) => {
                let point = place.split(' ').nth(4).unwrap_or_default();
                let controllers = std::fs::read_to_string(format!("{point}/cgroup.controllers"))
                    .unwrap_or_default();
                found.extend(
                    controllers
                        .split_whitespace()
                        .map(|name| (name.to_owned(), Version::Two)),
                );
            }
            (Some("cgroup"), _, Some(options)) => {
                let names = options.split(',').filter(|word| CONTROLLERS.contains(word));
                found.extend(names.map(|name| (name.to_owned(), Version::One)));
            }
            _ => {}
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup();
    Ok(found)
}

/// Controllers of version 1, to tell them from mount options.
const CONTROLLERS: [&str; 10] = [
    "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls",
    "pids",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_word() {
        let text = "populated 1\nfrozen 0\nfrozen_x 7\n";
        assert_eq!(field(text, "frozen"), Some(0));
        assert_eq!(field(text, "froz"), None);
        assert_eq!(field(text, "absent"), None);
    }
}
