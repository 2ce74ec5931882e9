//! LXC's stores: each gives its root file system as a mount that is attached
//! nowhere yet, and gone with its last user.

use super::mounts::{copy_tree, filesystem, filesystem_with};
use crate::failure::{At, Step, failed};
use crate::sys::attach_loop_device;
use gantry_core::monitor::FailureKind;
use gantry_core::values::mount::{MountFlags, MountOptions};
use gantry_core::values::rootfs::{OverlayPaths, RootfsKind, RootfsPath};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, open, stat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

const STEP: &str = "mounting the root file system";

/// What is mounted as a root file system.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// A directory or btrfs subvolume, with what is mounted below it.
    Tree(PathBuf),
    /// Layers of directories, the topmost of which takes the changes.
    Overlay(OverlayPaths),
    /// A block device.
    Device(PathBuf),
    /// A file with a file system in it.
    Image(PathBuf),
    /// A dataset of ZFS.
    Dataset(String),
}

impl Store {
    /// Finds what a path of the config means, and refuses what is not there or
    /// cannot be mounted. A path without a prefix says it by what it is.
    pub(super) fn find(rootfs: &RootfsPath) -> Step<Self> {
        let path = PathBuf::from(&rootfs.path);
        match &rootfs.kind {
            RootfsKind::Dir | RootfsKind::Btrfs => {
                expect(&path, &[FileType::Directory], "a directory").map(|_| Self::Tree(path))
            }
            RootfsKind::Overlay => {
                let Some(layers) = rootfs.overlay() else {
                    let message = format!(
                        "lxc.rootfs.path = overlay:{} is not of the form overlay:LOWER:UPPER.",
                        rootfs.path
                    );
                    return failed(FailureKind::InvalidConfig, STEP, message);
                };
                for layer in layers.lower.iter().chain([&layers.upper]) {
                    expect(layer, &[FileType::Directory], "a directory")?;
                }
                Ok(Self::Overlay(layers))
            }
            RootfsKind::Lvm | RootfsKind::Rbd => {
                expect(&path, &[FileType::BlockDevice], "a block device")
                    .map(|_| Self::Device(path))
            }
            RootfsKind::Loop => {
                expect(&path, &[FileType::RegularFile], "an image file").map(|_| Self::Image(path))
            }
            RootfsKind::Zfs if !rootfs.path.starts_with('/') => {
                Ok(Self::Dataset(rootfs.path.clone()))
            }
            RootfsKind::Zfs | RootfsKind::Unprefixed => Self::by_type(path),
            kind => {
                let remedy = match kind {
                    RootfsKind::Aufs => "LXC 3 dropped it; copy the container to overlay or dir",
                    RootfsKind::Nbd => "connect the image with qemu-nbd and give the device",
                    _ => "use dir, overlay, btrfs, zfs, lvm or loop",
                };
                let message = format!(
                    "lxc.rootfs.path: the store '{}' is not supported; {remedy}.",
                    kind.prefix()
                );
                failed(FailureKind::Unsupported, STEP, message)
            }
        }
    }

    fn by_type(path: PathBuf) -> Step<Self> {
        let kinds = [
            FileType::Directory,
            FileType::BlockDevice,
            FileType::RegularFile,
        ];
        Ok(
            match expect(&path, &kinds, "a directory, block device or image file")? {
                FileType::Directory => Self::Tree(path),
                FileType::BlockDevice => Self::Device(path),
                _ => Self::Image(path),
            },
        )
    }

    /// The mount. What `options` say about the file system itself is for stores
    /// that have one of their own.
    pub(super) fn mount(&self, options: &MountOptions) -> Step<OwnedFd> {
        let made = match self {
            Self::Tree(path) => copy_tree(CWD, path, true),
            Self::Overlay(layers) => overlay(layers, options),
            Self::Device(path) => {
                File::open(path).and_then(|device| mount_device(&device, path, options))
            }
            Self::Image(path) => image(path, options),
            Self::Dataset(name) => {
                filesystem("zfs", name, &[("zfsutil", None)], MountAttrFlags::empty())
            }
        };
        made.at(STEP, || format!("cannot mount {self}"))
    }
}

/// A mount of what a path of the config means: for whoever reads it, or is the only
/// one to write in it.
pub(crate) fn mount_store(rootfs: &RootfsPath, to_read: bool) -> Step<OwnedFd> {
    let store = Store::find(rootfs)?;
    if !to_read {
        return store.mount(&MountOptions {
            flags: MountFlags::NO_SUID | MountFlags::NO_DEV,
            ..MountOptions::default()
        });
    }
    let made = match &store {
        Store::Tree(path) => copy_tree(CWD, path, true),
        Store::Overlay(layers) => view(layers),
        Store::Device(path) => File::open(path).and_then(|device| read_device(&device, path)),
        Store::Image(path) => File::open(path).and_then(|file| {
            let (device, name) = attach_loop_device(&file, true)?;
            read_device(&File::from(device), &name)
        }),
        Store::Dataset(name) => read("zfs", name, &[("zfsutil", None)]),
    };
    made.at(STEP, || format!("cannot mount {store}"))
}

fn read_device(device: &File, path: &Path) -> io::Result<OwnedFd> {
    let source = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    first_of(kinds_on(device)?, |kind| read(kind, source, &own_of(kind)))
}

/// A mount by which nothing can be changed.
fn read(kind: &str, source: &str, own: &[(&str, Option<&str>)]) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let with = |more: &[&str]| {
        let more = more.iter().map(|flag| (*flag, None));
        let data: Vec<_> = own.iter().copied().chain(more).collect();
        filesystem(kind, source, &data, attributes)
    };
    match with(&["ro"]) {
        // The container runs: its file system can be written to, and this is the same.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => with(&[]),
        // A journal is left, of a system that was cut: what is in it cannot be taken over.
        Err(_) if matches!(kind, "ext4" | "xfs") => with(&["ro", "norecovery"]),
        result => result,
    }
}

/// What a file system must be told: a snapshot of XFS has the id of its origin.
fn own_of(kind: &str) -> Vec<(&'static str, Option<&'static str>)> {
    match kind {
        "xfs" => vec![("nouuid", None)],
        _ => Vec::new(),
    }
}

fn first_of(
    kinds: Vec<String>,
    mount: impl Fn(&str) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let mut last = io::Error::new(
        io::ErrorKind::InvalidData,
        "no file system that this kernel knows is on it",
    );
    for kind in kinds {
        match mount(&kind) {
            Ok(mount) => return Ok(mount),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What an overlay shows, without what the kernel does to the upper directory of one
/// that is written to: somebody may have that mounted.
fn view(layers: &OverlayPaths) -> io::Result<OwnedFd> {
    let opened: Vec<OwnedFd> = [&layers.upper]
        .into_iter()
        .chain(&layers.lower)
        .map(open_layer)
        .collect::<io::Result<_>>()?;
    let lower = names(&opened).join(":");
    let data = [("lowerdir", Some(lower.as_str())), ("index", Some("off"))];
    filesystem(
        "overlay",
        "overlay",
        &data,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

/// A directory of an overlay.
pub(super) fn open_layer(path: impl AsRef<Path>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(path.as_ref(), flags, Mode::empty())?)
}

/// Short names of open directories, for as long as they are open: the kernel takes
/// 255 bytes for each option (fsconfig(2)).
pub(super) fn names(opened: &[OwnedFd]) -> Vec<String> {
    let name = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
    opened.iter().map(name).collect()
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tree(path) | Self::Device(path) | Self::Image(path) => path.display().fmt(f),
            Self::Overlay(layers) => write!(f, "the overlay of {}", layers.upper.display()),
            Self::Dataset(name) => write!(f, "the dataset {name}"),
        }
    }
}

/// What is at a path, which must be of one of these types.
fn expect(path: &Path, kinds: &[FileType], words: &str) -> Step<FileType> {
    let status = stat(path).at(STEP, || {
        format!("cannot find the root file system {}", path.display())
    })?;
    let found = FileType::from_raw_mode(status.st_mode);
    if kinds.contains(&found) {
        return Ok(found);
    }
    let message = format!("lxc.rootfs.path: {} is not {words}.", path.display());
    failed(FailureKind::InvalidConfig, STEP, message)
}

/// Layers go by descriptor: their paths may be longer than the kernel takes, and
/// have the characters in them that separate layers.
///
/// What the kernel makes in the work directory is given to the owner of the upper one:
/// stock LXC mounts as the container's root and must be able to take it away again.
fn overlay(layers: &OverlayPaths, options: &MountOptions) -> io::Result<OwnedFd> {
    let path = layers.work();
    match std::fs::DirBuilder::new().mode(0o755).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let opened: Vec<OwnedFd> = layers
        .lower
        .iter()
        .chain([&layers.upper, &path])
        .map(open_layer)
        .collect::<io::Result<_>>()?;
    let named = names(&opened);
    let ([.., upper, work], [lower @ .., upper_name, work_name]) =
        (opened.as_slice(), named.as_slice())
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let lower = lower.join(":");
    let data = [
        ("lowerdir", Some(lower.as_str())),
        ("upperdir", Some(upper_name)),
        ("workdir", Some(work_name)),
    ];
    let mount = filesystem_with("overlay", "overlay", &data, options)?;
    let owner = fstat(upper)?;
    let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    chownat(work, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    match chownat(
        work,
        "work",
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    ) {
        Ok(()) | Err(Errno::NOENT) => Ok(mount),
        Err(error) => Err(error.into()),
    }
}

fn image(path: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let read_only = options.flags.contains(MountFlags::READ_ONLY);
    let file = File::options().read(true).write(!read_only).open(path)?;
    // The device lets go of the file when its last user, the mount, is gone.
    let (device, name) = attach_loop_device(&file, read_only)?;
    mount_device(&File::from(device), &name, options)
}

fn mount_device(device: &File, path: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let source = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    first_of(kinds_on(device)?, |kind| {
        filesystem_with(kind, source, &own_of(kind), options)
    })
}

/// The file system on a device by its mark, which makes the kernel load what it
/// needs; else those the kernel has.
fn kinds_on(device: &File) -> io::Result<Vec<String>> {
    const MARKS: [(u64, &[u8], &str); 6] = [
        (0x438, &[0x53, 0xef], "ext4"),
        (0, b"XFSB", "xfs"),
        (0x1_0040, b"_BHRfS_M", "btrfs"),
        (0x400, &[0x10, 0x20, 0xf5, 0xf2], "f2fs"),
        (0, b"hsqs", "squashfs"),
        (0x400, &[0xe2, 0xe1, 0xf5, 0xe0], "erofs"),
    ];
    for (offset, mark, kind) in MARKS {
        let mut found = vec![0; mark.len()];
        if device.read_exact_at(&mut found, offset).is_ok() && found == mark {
            return Ok(vec![kind.to_owned()]);
        }
    }
    let known = std::fs::read_to_string("/proc/filesystems")?;
    Ok(known
        .lines()
        .filter_map(|line| line.strip_prefix('\t'))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_the_path_counts_where_no_prefix_does() {
        let folder = tempfile();
        let find = |text: String| Store::find(&RootfsPath::parse(&text));
        let path = folder.join("rootdev");
        std::fs::write(&path, "").unwrap();
        assert_eq!(
            find(folder.display().to_string()).unwrap(),
            Store::Tree(folder.clone())
        );
        assert_eq!(
            find(path.display().to_string()).unwrap(),
            Store::Image(path.clone())
        );
        let wrong = find(format!("dir:{}", path.display())).unwrap_err();
        assert_eq!(wrong.kind, FailureKind::InvalidConfig);
        let aufs = find("aufs:/a:/b".to_owned()).unwrap_err();
        assert_eq!(aufs.kind, FailureKind::Unsupported);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn file_systems_are_known_by_their_marks() {
        let folder = tempfile();
        let path = folder.join("disk");
        let mut bytes = vec![0; 0x1_1000];
        bytes[0x1_0040..0x1_0048].copy_from_slice(b"_BHRfS_M");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(kinds_on(&File::open(&path).unwrap()).unwrap(), ["btrfs"]);
        std::fs::write(&path, "hsqs").unwrap();
        assert_eq!(kinds_on(&File::open(&path).unwrap()).unwrap(), ["squashfs"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn tempfile() -> PathBuf {
        let name: [u8; 8] = crate::sys::random().unwrap();
        let path = std::env::temp_dir().join(format!("gantry-{:x}", u64::from_ne_bytes(name)));
        std::fs::create_dir(&path).unwrap();
        path
    }
}
