//! Where root file systems are stored: one file a backend, each called as the prefix
//! in `lxc.rootfs.path`.

mod btrfs;
pub(crate) mod dir;
pub(crate) mod elsewhere;
mod file_system;
mod loopback;
mod lvm;
mod overlay;
mod send_stream;
mod volumes;
mod zfs;
mod zfs_diff;

pub(crate) use file_system::room_for;
pub(crate) use volumes::manager;

use crate::error::{Error, Result};
use gantry_core::name::ContainerName;
use gantry_core::values::rootfs::{RootfsKind, RootfsPath};
use rustix::fs::FsWord;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What each backend can do with a root file system that it keeps. Calls may run
/// programs and wait for them: they belong on a thread that may. What takes long is
/// left to whoever asked.
pub(crate) trait Backend: Send + Sync {
    /// The names of the options of creation that are for it.
    fn options(&self) -> &'static [&'static str];
    /// Refuses what [`Backend::create`] would refuse before its first change.
    fn check(&self, wish: &Wish, lxc_path: &Path) -> Result<()>;
    /// An empty root file system for a new container.
    fn create(&self, wish: &Wish, place: &Place) -> Result<Made>;
    /// What a new root file system is to be like to be like one of this backend, as far
    /// as it was not wished for.
    fn like(&self, _source: &RootfsPath, _wish: &mut Wish) -> Result<()> {
        Ok(())
    }
    /// A copy of a root file system of this backend that needs nothing of it.
    fn copy(&self, source: &RootfsPath, wish: &Wish, place: &Place) -> Result<Made> {
        copy_files(self, source, wish, place)
    }
    /// A copy that shares with its source what neither has changed.
    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made>;
    /// Whether a snapshot has all of a root file system as it is at one moment, and stays so
    /// while that goes on: by one a container that runs can be read.
    fn keeps_moments(&self, _rootfs: &RootfsPath) -> Result<bool> {
        Ok(false)
    }
    /// Called when a container went back to a snapshot: where one of them must need the
    /// other it is the snapshot, as if it had been taken of this state.
    fn went_back(&self, _rootfs: &RootfsPath) -> Result<()> {
        Ok(())
    }
    /// Whether a container's own snapshots are copies in full, as there are none that
    /// need nothing of it and outlive its going back.
    fn copies_in_full(&self, _rootfs: &RootfsPath) -> Result<bool> {
        Ok(false)
    }
    /// Where the files of a root file system are.
    fn files(&self, rootfs: &RootfsPath) -> Files {
        Files::In(text_of(rootfs))
    }
    /// What the kernel names as the source of a root file system that a container has
    /// mounted: one of these (of an overlay, as its upper layer).
    fn sources(&self, rootfs: &RootfsPath) -> Result<Vec<PathBuf>> {
        Ok(vec![PathBuf::from(&rootfs.path)])
    }
    /// The bytes that a root file system has for itself; none where it shares them with
    /// others.
    fn size(&self, _rootfs: &RootfsPath) -> Result<Option<u64>> {
        Ok(None)
    }
    /// Gives what a file system is in so many bytes; the file system itself does not know
    /// of them yet.
    fn enlarge(&self, rootfs: &RootfsPath, _size: u64) -> Result<()> {
        Err(Error::Unsupported(format!(
            "a root file system on {} takes what the file system it lies on has; there is nothing to grow",
            name_of(rootfs)
        )))
    }
    /// Where two root file systems of this backend may differ, as far as the backend
    /// knows it without a look at every file. `scratch` is an empty directory on the
    /// file system of containers, for what is needed meanwhile.
    fn differing(&self, _from: &RootfsPath, _to: &RootfsPath, _scratch: &Path) -> Result<Places> {
        Ok(Places::Everywhere)
    }
}

/// As [`Backend::copy`], file by file.
fn copy_files<B: Backend + ?Sized>(
    backend: &B,
    source: &RootfsPath,
    wish: &Wish,
    place: &Place,
) -> Result<Made> {
    let mut wish = wish.clone();
    backend.like(source, &mut wish)?;
    let mut made = backend.create(&wish, place)?;
    made.copies
        .push((backend.files(source), made.files.clone()));
    Ok(made)
}

/// What the root file system of a new container is to be like. What is not said is as
/// LXC has it.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The container's name.
    pub(crate) name: ContainerName,
    /// The host's ids of the container's root.
    pub(crate) owner: (u32, u32),
    /// For `dir`: the directory to hold it instead of `rootfs` beside the config. It
    /// is called after the container and must not exist; its parent must.
    pub(crate) directory: Option<PathBuf>,
    /// For backends with a file system of their own: its type, ext4 if none.
    pub(crate) fstype: Option<String>,
    /// And its size in bytes, 1 GiB if none; for `zfs` its quota, none if none.
    pub(crate) fssize: Option<u64>,
    /// For `lvm`: the volume's name, the container's if none; it must be free.
    pub(crate) lvname: Option<String>,
    /// And its volume group.
    pub(crate) vgname: Option<String>,
    /// And its thin pool, which must be one.
    pub(crate) thinpool: Option<String>,
    /// Not in a thin pool, even if there is one.
    pub(crate) classic: bool,
    /// For `zfs`: the dataset below which it is to be.
    pub(crate) zfsroot: Option<String>,
    /// What lxc.conf says.
    pub(crate) system: System,
}

/// Where lxc.conf(5) has volumes be that were given no place.
#[derive(Debug, Clone)]
pub(crate) struct System {
    /// `lxc.bdev.lvm.vg`
    pub(crate) volume_group: String,
    /// `lxc.bdev.lvm.thin_pool`
    pub(crate) thin_pool: String,
    /// `lxc.bdev.zfs.root`
    pub(crate) zfs_root: String,
}

impl Default for System {
    fn default() -> Self {
        let lxc = || "lxc".to_owned();
        Self {
            volume_group: lxc(),
            thin_pool: lxc(),
            zfs_root: lxc(),
        }
    }
}

impl Wish {
    /// For a container with everything as LXC has it.
    pub(crate) fn new(name: ContainerName) -> Self {
        Self {
            name,
            owner: (0, 0),
            directory: None,
            fstype: None,
            fssize: None,
            lvname: None,
            vgname: None,
            thinpool: None,
            classic: false,
            zfsroot: None,
            system: System::default(),
        }
    }

    /// The names of the options that were given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("dir", self.directory.is_some()),
            ("fstype", self.fstype.is_some()),
            ("fssize", self.fssize.is_some()),
            ("lvname", self.lvname.is_some()),
            ("vgname", self.vgname.is_some()),
            ("thinpool", self.thinpool.is_some()),
            ("zfsroot", self.zfsroot.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
    }
}

/// The places at which two root file systems may differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Every file must be looked at.
    Everywhere,
    /// Paths from the top. What is a directory on one side only differs with all that
    /// is below it; for one on both sides it says here.
    Paths(BTreeMap<PathBuf, Below>),
}

/// Where else two directories of one path may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Below {
    /// Nowhere but at other paths of the list.
    Listed,
    /// Everywhere below them if they are not one inode.
    AllOfOthers,
    /// That, and at the names in them that are not one inode on both sides.
    Names,
    /// Everywhere below them.
    All,
}

impl Places {
    /// With more paths than this, looking everywhere takes less.
    const MOST: usize = 1 << 20;
}

/// The directory of a container that is being made.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where it is now.
    pub(crate) here: PathBuf,
    /// Where it will be.
    pub(crate) there: PathBuf,
    /// What its volume is called, if it is to have one and the name is free.
    pub(crate) volume: String,
}

/// Where files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    /// In a directory, or one file.
    At(PathBuf),
    /// In what is mounted for a value of `lxc.rootfs.path`.
    In(String),
}

impl std::fmt::Display for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(path) => path.display().fmt(f),
            Self::In(rootfs) => f.write_str(rootfs),
        }
    }
}

/// A root file system that has been begun.
#[derive(Debug)]
pub(crate) struct Made {
    /// For `lxc.rootfs.path`.
    pub(crate) path: String,
    /// Where its files are now.
    pub(crate) files: Files,
    /// What is still to be copied, with all attributes: from and to.
    pub(crate) copies: Vec<(Files, Files)>,
    /// Whether it needs its source from now on.
    pub(crate) depends: bool,
}

const NAMES: &str = "dir, overlay, btrfs, zfs, lvm, loop or best";

/// The backend called `name`.
///
/// # Errors
/// [`Error::Unsupported`] for LXC's others, [`Error::InvalidArgument`] for words that
/// are none.
pub(crate) fn backend(name: &str) -> Result<&'static dyn Backend> {
    Ok(match RootfsKind::from_prefix(name) {
        RootfsKind::Dir => &dir::Directory,
        RootfsKind::Overlay => &overlay::Overlay,
        RootfsKind::Btrfs => &btrfs::Btrfs,
        RootfsKind::Zfs => &zfs::Zfs,
        RootfsKind::Lvm => &lvm::Lvm,
        RootfsKind::Loop => &loopback::Loopback,
        RootfsKind::Other(_) | RootfsKind::Unprefixed => {
            return Err(Error::InvalidArgument(format!(
                "there is no backend '{name}'; use {NAMES}"
            )));
        }
        _ => {
            return Err(Error::Unsupported(format!(
                "the backend '{name}' is not supported; use {NAMES}"
            )));
        }
    })
}

/// The backend called `name` for a new container; `best` is the first that there is
/// of btrfs, zfs, lvm and dir.
///
/// # Errors
/// As [`backend`], and those of [`Backend::check`]; [`Error::InvalidArgument`] for an
/// option that is for another backend.
pub(crate) fn backend_for(
    name: &str,
    wish: &Wish,
    lxc_path: &Path,
) -> Result<&'static dyn Backend> {
    if name == "best" {
        const PREFERRED: [&dyn Backend; 4] = [&btrfs::Btrfs, &zfs::Zfs, &lvm::Lvm, &dir::Directory];
        let fits = |backend: &&&dyn Backend| fitting(**backend, "best", wish, lxc_path).is_ok();
        return match PREFERRED.iter().find(fits) {
            Some(found) => Ok(*found),
            None => fitting(&dir::Directory, "dir", wish, lxc_path).map(|()| &dir::Directory as _),
        };
    }
    let found = backend(name)?;
    fitting(found, name, wish, lxc_path).map(|()| found)
}

fn fitting(backend: &dyn Backend, name: &str, wish: &Wish, lxc_path: &Path) -> Result<()> {
    if let Some(option) = wish
        .given()
        .find(|given| !backend.options().contains(given))
    {
        return Err(Error::InvalidArgument(format!(
            "the backend '{name}' has no option '{option}'; leave it out"
        )));
    }
    backend.check(wish, lxc_path)
}

/// A root file system as `lxc.rootfs.path` has it.
fn text_of(rootfs: &RootfsPath) -> String {
    match &rootfs.kind {
        RootfsKind::Unprefixed => rootfs.path.clone(),
        kind => format!("{}:{}", kind.prefix(), rootfs.path),
    }
}

/// Where the files of a root file system are, whoever keeps it.
pub(crate) fn files(rootfs: &RootfsPath) -> Files {
    match backend(&name_of(rootfs)) {
        Ok(backend) => backend.files(rootfs),
        Err(_) => Files::In(text_of(rootfs)),
    }
}

/// Whether a backend's root file systems are trees of files that can be read as
/// they lie.
pub(crate) fn is_tree(name: &str) -> bool {
    matches!(name, "dir" | "btrfs")
}

/// Whether a backend's root file system is mounted by its container alone, while that
/// runs.
pub(crate) fn is_device(name: &str) -> bool {
    matches!(name, "loop" | "lvm")
}

/// The name of the backend that keeps a root file system.
pub(crate) fn name_of(rootfs: &RootfsPath) -> String {
    match &rootfs.kind {
        RootfsKind::Unprefixed => detect(&rootfs.path).to_owned(),
        kind => kind.prefix().to_owned(),
    }
}

/// The store of a root file system whose path names none, as LXC finds it out.
pub(crate) fn detect(path: &str) -> &'static str {
    /// The inode of a btrfs subvolume's top.
    const SUBVOLUME: u64 = 256;
    const ZFS: FsWord = 0x2fc1_2fc1;
    let path = Path::new(path);
    let Ok(metadata) = std::fs::metadata(path) else {
        return "dir";
    };
    if metadata.is_file() {
        return "loop";
    }
    if !metadata.is_dir() {
        return "lvm";
    }
    match rustix::fs::statfs(path).map(|stat| stat.f_type) {
        Ok(btrfs::MAGIC) if metadata.ino() == SUBVOLUME => "btrfs",
        Ok(ZFS) => "zfs",
        _ => "dir",
    }
}
