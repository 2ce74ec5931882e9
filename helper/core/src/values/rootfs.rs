//! `lxc.rootfs.path`: which store keeps a root file system, and where.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A store of LXC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootfsKind {
    /// No prefix: to be found out from what the path is.
    Unprefixed,
    /// A directory.
    Dir,
    /// An overlay of directories.
    Overlay,
    /// Like overlay; removed in LXC 3.0.
    Aufs,
    /// A btrfs subvolume.
    Btrfs,
    /// A ZFS dataset.
    Zfs,
    /// A logical volume.
    Lvm,
    /// An image file.
    Loop,
    /// A network block device.
    Nbd,
    /// A RADOS block device.
    Rbd,
    /// A prefix that no version of LXC knows. Such a config loads, but the
    /// container does not start.
    Other(String),
}

impl RootfsKind {
    /// The store of a prefix.
    pub fn from_prefix(prefix: &str) -> Self {
        match prefix {
            "dir" => Self::Dir,
            "overlay" | "overlayfs" => Self::Overlay,
            "aufs" => Self::Aufs,
            "btrfs" => Self::Btrfs,
            "zfs" => Self::Zfs,
            "lvm" => Self::Lvm,
            "loop" => Self::Loop,
            "nbd" => Self::Nbd,
            "rbd" => Self::Rbd,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The prefix to write; empty for an unprefixed path.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Unprefixed => "",
            Self::Dir => "dir",
            Self::Overlay => "overlay",
            Self::Aufs => "aufs",
            Self::Btrfs => "btrfs",
            Self::Zfs => "zfs",
            Self::Lvm => "lvm",
            Self::Loop => "loop",
            Self::Nbd => "nbd",
            Self::Rbd => "rbd",
            Self::Other(prefix) => prefix,
        }
    }
}

/// A `[type:]path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootfsPath {
    /// The store.
    pub kind: RootfsKind,
    /// What follows the prefix.
    pub path: String,
}

impl RootfsPath {
    /// Splits at the first `:`. A text that begins with `/` has no prefix.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((prefix, path)) if !text.starts_with('/') => Self {
                kind: RootfsKind::from_prefix(prefix),
                path: path.to_owned(),
            },
            _ => Self {
                kind: RootfsKind::Unprefixed,
                path: text.to_owned(),
            },
        }
    }

    /// The directories of an overlay, when the path has that form.
    pub fn overlay(&self) -> Option<OverlayPaths> {
        let start = self.path.rfind(":/")?;
        let (lower, upper) = (self.path.get(..start)?, self.path.get(start + 1..)?);
        // A type may stand once more before the lower directories.
        let lower = lower.get(lower.find('/')?..)?;
        Some(OverlayPaths {
            lower: lower.split(':').map(PathBuf::from).collect(),
            upper: PathBuf::from(upper),
        })
    }
}

/// The directories of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayPaths {
    /// Read-only layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
}

impl OverlayPaths {
    /// The kernel's work directory: `olwork` beside `delta0` (before LXC 4),
    /// else `work` beside the upper directory.
    pub fn work(&self) -> PathBuf {
        let name = if self.upper.file_name().is_some_and(|name| name == "delta0") {
            "olwork"
        } else {
            "work"
        };
        self.upper.with_file_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let parse = |text| {
            let RootfsPath { kind, path } = RootfsPath::parse(text);
            (kind, path)
        };
        assert_eq!(
            parse("/var/lib/lxc/a/rootfs"),
            (RootfsKind::Unprefixed, "/var/lib/lxc/a/rootfs".into())
        );
        assert_eq!(parse("dir:/a:b"), (RootfsKind::Dir, "/a:b".into()));
        assert_eq!(
            parse("overlayfs:/l:/u"),
            (RootfsKind::Overlay, "/l:/u".into())
        );
        assert_eq!(
            parse("zfs:pool/lxc/a"),
            (RootfsKind::Zfs, "pool/lxc/a".into())
        );
        assert_eq!(
            parse("ceph:x"),
            (RootfsKind::Other("ceph".into()), "x".into())
        );
        assert_eq!(parse("/a:/b").0, RootfsKind::Unprefixed);
    }

    #[test]
    fn overlays() {
        let overlay = RootfsPath::parse("overlay:/a/rootfs:/b:/c/overlay/delta")
            .overlay()
            .unwrap();
        assert_eq!(
            overlay.lower,
            [PathBuf::from("/a/rootfs"), PathBuf::from("/b")]
        );
        assert_eq!(overlay.upper, PathBuf::from("/c/overlay/delta"));
        assert_eq!(overlay.work(), PathBuf::from("/c/overlay/work"));
        let old = RootfsPath::parse("overlayfs:/a:/c/delta0")
            .overlay()
            .unwrap();
        assert_eq!(old.work(), PathBuf::from("/c/olwork"));
        assert_eq!(RootfsPath::parse("dir:/a/rootfs").overlay(), None);
    }
}
