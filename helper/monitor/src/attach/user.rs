//! The container's user, from its own /etc/passwd.

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use std::fs::File;
use std::io::Read;

/// The most that is read of a file of the container.
const MAX_FILE: u64 = 1 << 20;

/// An entry of passwd(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) home: String,
    pub(super) shell: String,
}

impl User {
    /// The user of an id, once this process is in the container. A user
    /// without an entry has `/` and `/bin/sh`.
    pub(super) fn find(uid: u32) -> Self {
        let text = read("/etc/passwd").unwrap_or_default();
        Self::parse(&text, uid).unwrap_or_else(|| Self {
            name: if uid == 0 {
                "root".to_owned()
            } else {
                uid.to_string()
            },
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        })
    }

    fn parse(passwd: &str, uid: u32) -> Option<Self> {
        let entry = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| {
                fields.get(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid)
            })?;
        let field = |index: usize, default: &str| match entry.get(index) {
            Some(text) if text.starts_with('/') => (*text).to_owned(),
            _ => default.to_owned(),
        };
        Some(Self {
            name: (*entry.first()?).to_owned(),
            home: field(5, "/"),
            shell: field(6, "/bin/sh"),
        })
    }
}

/// Reads a regular file: a FIFO must not hold us up.
fn read(path: &str) -> Option<String> {
    let file = open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    if FileType::from_raw_mode(fstat(&file).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut text = String::new();
    File::from(file)
        .take(MAX_FILE)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_id() {
        let passwd = "broken\nroot:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody::\n";
        let root = User {
            name: "root".into(),
            home: "/root".into(),
            shell: "/bin/bash".into(),
        };
        assert_eq!(User::parse(passwd, 0), Some(root));
        let nobody = User {
            name: "nobody".into(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        assert_eq!(User::parse(passwd, 65534), Some(nobody));
        assert_eq!(User::parse(passwd, 7), None);
    }
}
