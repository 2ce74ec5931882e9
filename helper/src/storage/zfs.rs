//! A root file system in a dataset of ZFS, zfs(8).

use super::elsewhere::{self, Elsewhere};
use super::volumes::{self, Volumes, free_name, new_mark};
use super::{Backend, Files, Made, Place, Places, Wish, file_system, zfs_diff};
use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::values::rootfs::RootfsPath;
use std::path::{Path, PathBuf};

pub(super) struct Zfs;

/// The property that has a mark; zfsprops(7) wants a colon in it.
const MARK: &str = "io.gantry:mark";
/// The property that bounds what a dataset's files take, snapshots apart.
const QUOTA: &str = "refquota";
/// What the files of a container need: access lists, which ZFS has not by default.
const FILES: [&str; 4] = ["-o", "acltype=posixacl", "-o", "xattr=sa"];
/// The longest name of a dataset.
const LONGEST: usize = 255;

impl Backend for Zfs {
    fn options(&self) -> &'static [&'static str] {
        &["zfsroot", "fssize"]
    }

    fn check(&self, wish: &Wish, _lxc_path: &Path) -> Result<()> {
        if wish.fssize.is_some() {
            file_system::check_size(wish)?;
        }
        let root = root(wish);
        if !is_dataset(root) || root.contains('@') {
            return Err(Error::InvalidArgument(format!(
                "'zfsroot' is '{}', which is no name of a dataset; give POOL or POOL/PATH",
                root.escape_debug()
            )));
        }
        let pool = root.split('/').next().unwrap_or_default();
        match exists(pool)? {
            true => Ok(()),
            false => Err(Error::Unsupported(format!(
                "there is no ZFS pool '{pool}'; make one with zpool create, or name another with 'zfsroot' or lxc.bdev.zfs.root in lxc.conf"
            ))),
        }
    }

    fn create(&self, wish: &Wish, place: &Place) -> Result<Made> {
        let root = root(wish);
        if !exists(root)? {
            zfs(&["create", "-p", root])?;
        }
        let name = free_name(self, &place.volume, |name| format!("{root}/{name}"))?;
        let dataset = format!("{root}/{name}");
        let mark = new_mark()?;
        elsewhere::note(&place.here, &[volume(&dataset, &mark)])?;
        make("create", place, &mark, wish.fssize, &[&dataset])?;
        made(place, &dataset)
    }

    /// Beside the source.
    fn like(&self, source: &RootfsPath, wish: &mut Wish) -> Result<()> {
        let dataset = existing(&source.path)?;
        if wish.fssize.is_none() {
            wish.fssize = quota(&dataset)?;
        }
        if let Some((parent, _)) = dataset.rsplit_once('/') {
            wish.zfsroot = Some(parent.to_owned());
        }
        Ok(())
    }

    /// As LXC: a snapshot of the dataset, and a clone of that.
    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        let origin = existing(&source.path)?;
        let parent = origin
            .rsplit_once('/')
            .map_or(origin.as_str(), |(parent, _)| parent);
        let name = free_name(self, &place.volume, |name| format!("{parent}/{name}"))?;
        let dataset = format!("{parent}/{name}");
        let mark = new_mark()?;
        // It may come to be another dataset's, which has one of the clone's name already.
        let snapshot = format!("{origin}@{name}-{mark}");
        elsewhere::note(
            &place.here,
            &[volume(&dataset, &mark), volume(&snapshot, &mark)],
        )?;
        zfs(&["snapshot", "-o", &format!("{MARK}={mark}"), &snapshot])?;
        let quota = quota(&origin)?;
        make("clone", place, &mark, quota, &[&snapshot, &dataset])?;
        made(place, &dataset)
    }

    fn keeps_moments(&self, _rootfs: &RootfsPath) -> Result<bool> {
        Ok(true)
    }

    /// LXC destroys the snapshots first, which no clone may need then.
    fn went_back(&self, rootfs: &RootfsPath) -> Result<()> {
        let dataset = existing(&rootfs.path)?;
        match get("origin", &dataset, false)?.contains('@') {
            true => zfs(&["promote", &dataset]).map(drop),
            false => Ok(()),
        }
    }

    fn size(&self, rootfs: &RootfsPath) -> Result<Option<u64>> {
        quota(&existing(&rootfs.path)?)
    }

    /// A dataset has what its pool has, unless it has a quota: that is what `fssize` gave
    /// it, and can be more from now on.
    fn enlarge(&self, rootfs: &RootfsPath, size: u64) -> Result<()> {
        let dataset = existing(&rootfs.path)?;
        if quota(&dataset)?.is_none() {
            return Err(Error::Unsupported(format!(
                "the dataset {dataset} has no size of its own and takes what its pool has; to bound it, use zfs set refquota={size} {dataset}"
            )));
        }
        zfs(&["set", &format!("{QUOTA}={size}"), &dataset]).map(drop)
    }

    fn sources(&self, rootfs: &RootfsPath) -> Result<Vec<PathBuf>> {
        Ok(vec![existing(&rootfs.path)?.into()])
    }

    fn files(&self, rootfs: &RootfsPath) -> Files {
        match rootfs.path.starts_with('/') {
            // A config of old: where the dataset is mounted.
            true => Files::At(rootfs.path.clone().into()),
            false => Files::In(format!("zfs:{}", rootfs.path)),
        }
    }

    /// What `zfs diff` tells of.
    fn differing(&self, from: &RootfsPath, to: &RootfsPath, scratch: &Path) -> Result<Places> {
        zfs_diff::between(&existing(&from.path)?, &existing(&to.path)?, scratch)
    }
}

impl Volumes for Zfs {
    fn find(&self, path: &str) -> Result<Option<String>> {
        look(path)
    }

    fn mark(&self, volume: &str, mark: &str) -> Result<()> {
        zfs(&["set", &format!("{MARK}={mark}"), volume]).map(drop)
    }

    /// What was cloned of it stands by itself first; a snapshot that it is a clone of goes
    /// with the last of its clones.
    fn remove(&self, volume: &str, mark: &str) -> Result<()> {
        if look(volume)?.is_none() || get(MARK, volume, true)? != mark {
            return Ok(());
        }
        if volume.contains('@') {
            return zfs(&["destroy", "-d", volume]).map(drop);
        }
        while let Some(clone) = a_clone_of(volume)? {
            zfs(&["promote", &clone])?;
        }
        let origin = get("origin", volume, false)?;
        if origin.contains('@') {
            zfs(&["destroy", "-d", &origin])?;
        }
        zfs(&["destroy", "-r", volume]).map(drop)
    }

    fn renamed(&self, volume: &str, name: &str) -> Result<String> {
        match volume.rsplit_once('/') {
            Some((parent, _)) => Ok(format!("{parent}/{name}")),
            None => Err(no_dataset(volume)),
        }
    }

    fn rename(&self, volume: &str, new: &str, root: &Path) -> Result<()> {
        if look(volume)?.is_some() || look(new)?.is_none() {
            zfs(&["rename", volume, new])?;
        }
        zfs(&["set", &format!("mountpoint={}", root.display()), new]).map(drop)
    }
}

const PROGRAM: &str = "zfs";
/// What brings it.
const PACKAGE: &str = "zfsutils-linux and zfs-dkms";

pub(super) fn zfs(args: &[&str]) -> Result<String> {
    volumes::run(PROGRAM, PACKAGE, args)
}

pub(super) fn program() -> Result<PathBuf> {
    volumes::program(PROGRAM, PACKAGE)
}

/// Makes a dataset that is mounted where LXC mounts it, and not by itself.
fn make(how: &str, place: &Place, mark: &str, size: Option<u64>, names: &[&str]) -> Result<()> {
    let mountpoint = format!("mountpoint={}", place.there.join("rootfs").display());
    let mark = format!("{MARK}={mark}");
    let mut args = vec![how, "-o", &mountpoint, "-o", "canmount=noauto", "-o", &mark];
    args.extend(FILES);
    let quota = size.map(|size| format!("{QUOTA}={size}"));
    if let Some(quota) = &quota {
        args.extend(["-o", quota]);
    }
    args.extend(names);
    zfs(&args).map(drop)
}

fn volume(dataset: &str, mark: &str) -> Elsewhere {
    Elsewhere::Volume {
        rootfs: format!("zfs:{dataset}"),
        mark: mark.to_owned(),
    }
}

fn root(wish: &Wish) -> &str {
    wish.zfsroot.as_deref().unwrap_or(&wish.system.zfs_root)
}

/// Names of datasets and of their snapshots, zfs(8).
fn is_dataset(name: &str) -> bool {
    let (dataset, snapshot) = name.split_once('@').unwrap_or((name, "x"));
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.:- ".contains(&byte))
    };
    name.len() <= LONGEST && dataset.split('/').all(is_part) && is_part(snapshot)
}

fn no_dataset(path: &str) -> Error {
    Error::InvalidArgument(format!(
        "'{}' is no dataset below a pool",
        path.escape_debug()
    ))
}

/// The dataset of a config's path, which may be that of its mount; none if there is none.
fn look(path: &str) -> Result<Option<String>> {
    if !path.starts_with('/') && !is_dataset(path) {
        return Err(no_dataset(path));
    }
    let args = ["list", "-H", "-t", "filesystem,snapshot"];
    let listed = match zfs(&[&args[..], &["-o", "name,mountpoint", path]].concat()) {
        Err(Error::NotFound(_)) => return Ok(None),
        result => result?,
    };
    // Of a path that nothing is mounted on it is the dataset that holds it.
    let found = listed.trim_end().split_once('\t');
    Ok(found
        .filter(|(name, point)| is_dataset(name) && (*name == path || *point == path))
        .map(|(name, _)| name.to_owned()))
}

fn exists(dataset: &str) -> Result<bool> {
    Ok(look(dataset)?.is_some())
}

fn existing(path: &str) -> Result<String> {
    look(path)?
        .ok_or_else(|| Error::NotFound(format!("there is no dataset {path}; look at zfs list")))
}

/// A property of a dataset; `own`: not what it has from others.
pub(super) fn get(property: &str, dataset: &str, own: bool) -> Result<String> {
    let mut args = vec!["get", "-H", "-o", "value"];
    if own {
        args.extend(["-s", "local"]);
    }
    args.extend([property, dataset]);
    Ok(zfs(&args)?.trim_end_matches('\n').to_owned())
}

/// What a dataset may take, if it may not take all.
fn quota(dataset: &str) -> Result<Option<u64>> {
    let value = zfs(&["get", "-H", "-p", "-o", "value", QUOTA, dataset])?;
    Ok(value.trim().parse().ok().filter(|size| *size > 0))
}

/// One of the datasets that need a snapshot of this one.
fn a_clone_of(dataset: &str) -> Result<Option<String>> {
    let listed = zfs(&[
        "list", "-H", "-t", "snapshot", "-d", "1", "-o", "clones", dataset,
    ])?;
    let mut clones = listed.lines().flat_map(|line| line.split(','));
    Ok(clones.find(|clone| is_dataset(clone)).map(str::to_owned))
}

/// Beside the config is where it is mounted.
fn made(place: &Place, dataset: &str) -> Result<Made> {
    let root = place.here.join("rootfs");
    files::ensure_directory(&root, 0o755).map_err(|error| Error::path("making", &root, &error))?;
    let path = format!("zfs:{dataset}");
    Ok(Made {
        files: Files::In(path.clone()),
        path,
        copies: Vec::new(),
        depends: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_datasets_hold_no_options() {
        for right in ["lxc", "tank/lxc/web", "tank/my data/web@snap0-x"] {
            assert!(is_dataset(right), "{right}");
        }
        for wrong in [
            "",
            "-r",
            "tank/-r",
            "tank//web",
            "tank/web\n",
            "/tank",
            "a@",
            "a@b@c",
        ] {
            assert!(!is_dataset(wrong), "{wrong:?}");
        }
    }
}
