//! Architecture names (`lxc.arch`) and the execution domain they stand for.

use serde::{Deserialize, Serialize};

/// The execution domain of a container's processes, see personality(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Personality {
    /// `PER_LINUX32`: uname(2) reports a 32-bit machine.
    Linux32,
    /// `PER_LINUX`.
    Linux,
}

const NAMES_32: &[&str] = &[
    "arm", "armel", "armhf", "armv7l", "athlon", "i386", "i486", "i586", "i686", "linux32", "mips",
    "mipsel", "ppc", "powerpc", "x32", "x86",
];
const NAMES_64: &[&str] = &[
    "aarch64",
    "amd64",
    "arm64",
    "linux64",
    "loong64",
    "loongarch64",
    "mips64",
    "mips64el",
    "ppc64",
    "ppc64el",
    "ppc64le",
    "powerpc64",
    "riscv64",
    "s390x",
    "x86_64",
];

impl Personality {
    /// The execution domain of an architecture name of LXC.
    pub fn from_name(name: &str) -> Option<Self> {
        if NAMES_32.contains(&name) {
            Some(Self::Linux32)
        } else if NAMES_64.contains(&name) {
            Some(Self::Linux)
        } else {
            None
        }
    }

    /// The number personality(2) takes.
    pub fn number(self) -> u32 {
        match self {
            Self::Linux32 => 0x0008,
            Self::Linux => 0x0000,
        }
    }

    /// The only two names stock LXC gives back for `lxc.arch`.
    pub fn stock_name(self) -> &'static str {
        match self {
            Self::Linux32 => "i686",
            Self::Linux => "x86_64",
        }
    }
}

/// Every architecture name that is understood.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES_32.iter().chain(NAMES_64).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_to_their_width() {
        assert_eq!(Personality::from_name("i686"), Some(Personality::Linux32));
        assert_eq!(Personality::from_name("linux64"), Some(Personality::Linux));
        assert_eq!(Personality::from_name("AMD64"), None);
        assert!(names().all(|name| Personality::from_name(name).is_some()));
        assert_eq!(Personality::Linux32.stock_name(), "i686");
    }
}
