//! Kinds of namespaces and their spellings.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of namespace, see namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// User and group ids. Always first: joining the others needs its rights.
    User,
    /// Mounts.
    Mount,
    /// Process ids.
    Pid,
    /// Host name.
    Uts,
    /// System V and POSIX message queues.
    Ipc,
    /// Network.
    Net,
    /// Cgroup root.
    Cgroup,
    /// Boot and monotonic clocks.
    Time,
}

impl Namespace {
    /// Every kind, in the order in which they are to be joined.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Mount,
        Self::Pid,
        Self::Uts,
        Self::Ipc,
        Self::Net,
        Self::Cgroup,
        Self::Time,
    ];

    /// Reads a name in the spelling of `lxc.namespace.*` (`mnt`, `net`).
    pub fn from_name(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.proc_name() == text)
    }

    /// Reads a name in that spelling, in its long forms (`mount`, `network`, `utsname`) or in
    /// that of `lxc-attach -s` (the long forms in upper case).
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "user" => Some(Self::User),
            "mnt" | "mount" => Some(Self::Mount),
            "pid" => Some(Self::Pid),
            "uts" | "utsname" => Some(Self::Uts),
            "ipc" => Some(Self::Ipc),
            "net" | "network" => Some(Self::Net),
            "cgroup" => Some(Self::Cgroup),
            "time" => Some(Self::Time),
            _ => None,
        }
    }

    /// Its file in `/proc/PID/ns/`, which is also LXC's short name.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The CLONE_NEW* bit of clone(2), as command 5 reports it.
    pub fn clone_flag(self) -> u64 {
        match self {
            Self::User => 0x1000_0000,
            Self::Mount => 0x0002_0000,
            Self::Pid => 0x2000_0000,
            Self::Uts => 0x0400_0000,
            Self::Ipc => 0x0800_0000,
            Self::Net => 0x4000_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Time => 0x0000_0080,
        }
    }

    /// The kinds whose bits are set in a mask of CLONE_NEW* flags.
    pub fn from_clone_flags(flags: u64) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|kind| flags & kind.clone_flag() != 0)
            .collect()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.proc_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet() {
        for kind in Namespace::ALL {
            assert_eq!(Namespace::parse(kind.proc_name()), Some(kind));
            assert_eq!(Namespace::from_name(kind.proc_name()), Some(kind));
        }
        assert_eq!(Namespace::parse("NETWORK"), Some(Namespace::Net));
        assert_eq!(Namespace::parse("utsname"), Some(Namespace::Uts));
        assert_eq!(Namespace::parse("all"), None);
        // LXC refuses a config with it.
        assert_eq!(Namespace::from_name("network"), None);
    }

    #[test]
    fn flags_round_trip() {
        let flags = Namespace::Net.clone_flag() | Namespace::Mount.clone_flag();
        assert_eq!(
            Namespace::from_clone_flags(flags),
            [Namespace::Mount, Namespace::Net]
        );
    }
}
