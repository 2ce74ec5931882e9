//! The root file system: made ready by the monitor, entered by init.

use super::mounts::{change_attributes, copy_tree, map_ids};
use super::root::{Root, attach};
use super::store::Store;
use crate::failure::{At, Step, failed};
use crate::log;
use crate::sys::{MountAttributes, mount_setattr};
use gantry_core::layout::RUN_DIR;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{Rootfs, Settings};
use gantry_core::values::mount::MountIdmap;
use rustix::fs::{Mode, OFlags, open, stat};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, unmount};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const STEP: &str = "mounting the root file system";

/// The directory on which the root is put together, made if it is missing.
/// Root of a mapped container must be able to reach it, so it is searchable.
pub(crate) fn mount_point(rootfs: &Rootfs) -> Step<PathBuf> {
    if let Some(path) = &rootfs.mount {
        return Ok(path.clone());
    }
    let base = Path::new(RUN_DIR).join("gantry");
    let path = base.join("rootfs");
    for directory in [&base, &path] {
        use std::os::unix::fs::DirBuilderExt;
        match std::fs::DirBuilder::new().mode(0o711).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).at(STEP, || format!("cannot make {}", directory.display()));
            }
            _ => {}
        }
    }
    Ok(path)
}

/// Refuses, before anything is made, a root that is not there or cannot be mounted.
pub(crate) fn check(rootfs: &Rootfs) -> Step<()> {
    Store::find(&rootfs.path).map(drop)
}

/// Makes, in the monitor, a detached mount of the root with its options.
/// `namespace` is the container's user namespace, if it has one.
pub(crate) fn prepare(rootfs: &Rootfs, namespace: Option<&OwnedFd>) -> Step<OwnedFd> {
    let store = Store::find(&rootfs.path)?;
    let tree = store.mount(&rootfs.options)?;
    // Mounts made on the host below it go on to appear; none go back.
    let slave = MountAttributes::propagate(MountPropagationFlags::DOWNSTREAM);
    mount_setattr(&tree, true, &slave)
        .at(STEP, || "cannot cut it off the host's mounts".to_owned())?;
    let mapping = match &rootfs.options.idmap {
        None => None,
        Some(MountIdmap::Container) => match namespace {
            Some(namespace) => Some(
                namespace
                    .try_clone()
                    .at(STEP, || "cannot copy a descriptor".to_owned())?,
            ),
            None => {
                log::warn(
                    "lxc.rootfs.options = idmap=container maps nothing, as with LXC, because there is no lxc.idmap",
                );
                None
            }
        },
        Some(MountIdmap::Path(path)) => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            Some(
                open(path, flags, Mode::empty())
                    .at(STEP, || format!("cannot open {}", path.display()))?,
            )
        }
    };
    if let Some(namespace) = mapping {
        map_ids(&tree, true, &namespace).at(STEP, || format!("cannot map the ids of {store}"))?;
    }
    change_attributes(&tree, &rootfs.options)
        .at(STEP, || "cannot apply lxc.rootfs.options".to_owned())?;
    Ok(tree)
}

/// Makes the root `/` and lets go of the host's.
pub(crate) fn pivot(root: &Root) -> Step<()> {
    let step = "entering the root file system";
    let enter = || -> io::Result<()> {
        rustix::process::fchdir(root.directory())?;
        rustix::process::pivot_root(".", ".")?;
        // The host's root now lies on top of the new one.
        Ok(unmount(".", UnmountFlags::DETACH)?)
    };
    enter().at(step, || "cannot change the root".to_owned())
}

/// Begins at `/`, whose mounts the container may share with what it makes, and
/// makes sure that it is the container's.
pub(crate) fn settle(root: &Root) -> Step<()> {
    let step = "entering the root file system";
    rustix::process::chdir("/").at(step, || "cannot enter /".to_owned())?;
    let shared = MountAttributes::propagate(MountPropagationFlags::SHARED);
    mount_setattr(root.directory(), true, &shared)
        .at(step, || "cannot share the mounts".to_owned())?;
    let same = stat("/").and_then(|now| Ok((now, rustix::fs::fstat(root.directory())?)));
    match same {
        Ok((now, wanted)) if (now.st_dev, now.st_ino) == (wanted.st_dev, wanted.st_ino) => Ok(()),
        _ => failed(
            FailureKind::StartFailed,
            step,
            "The root is not the container's; it was not started.",
        ),
    }
}

/// Shows a boot id of its own, so that the container can tell its boots apart.
pub(crate) fn hide_boot_id(root: &Root, settings: &Settings) {
    if settings.auto_mounts.proc.is_none() || !settings.autodev {
        return;
    }
    let hide = || -> io::Result<()> {
        const NAME: &str = ".lxc-boot-id";
        let place = root.handle("proc/sys/kernel/random/boot_id")?;
        let id = std::fs::read("/proc/sys/kernel/random/uuid")?;
        let dev = root.open("dev", OFlags::PATH | OFlags::DIRECTORY)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&dev, NAME, flags, Mode::from_raw_mode(0o444))?;
        rustix::io::write(&file, &id)?;
        let tree = copy_tree(&dev, NAME, false)?;
        let set = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        mount_setattr(
            &tree,
            false,
            &MountAttributes {
                set: set.bits().into(),
                ..MountAttributes::default()
            },
        )?;
        attach(tree, place)?;
        Ok(rustix::fs::unlinkat(
            &dev,
            NAME,
            rustix::fs::AtFlags::empty(),
        )?)
    };
    if let Err(error) = hide() {
        log::debug(format!("the container sees the host's boot id: {error}"));
    }
}
