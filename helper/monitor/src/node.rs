//! `node`: makes, removes and lists device nodes in a running container, for
//! the helper, which never enters one itself.
//!
//! Only the mount namespace is entered, and every path is resolved inside of
//! the container's root without following links.

use crate::attach::container_root;
use crate::failure::{At, Step, failed};
use crate::message;
use crate::setup::{Root, attach, copy_tree, filesystem};
use crate::sys;
use gantry_core::monitor::{FailureKind, Node, NodeReply, NodeRequest};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fstat, major, makedev,
    minor, mknodat, open, openat, statat, statx, unlinkat,
};
use rustix::fs::{StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, unmount};
use rustix::process::DumpableBehavior;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

const STEP: &str = "changing the container's devices";
/// Where a node's own file system is mounted, in a namespace of our own.
const WORKSHOP: &str = "/run/gantry";
/// The most nodes that are listed, and how deep below /dev.
const MOST: usize = 1024;
const DEEPEST: usize = 4;
/// What every container has in /dev.
const USUAL: [&str; 9] = [
    "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "kmsg",
];

/// Answers one request about the container of an init.
pub(crate) fn main(starter: &OwnedFd, init: &OwnedFd) -> ExitCode {
    let reply = match serve(starter, init) {
        Ok(nodes) => NodeReply::Done { nodes },
        Err(failure) => NodeReply::Failed(failure),
    };
    match message::send(starter, &reply, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(starter: &OwnedFd, init: &OwnedFd) -> Step<Vec<Node>> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(STEP, || "cannot hide from the container".to_owned())?;
    let received = message::receive::<NodeRequest>(starter)
        .at(STEP, || "cannot read the request".to_owned())?;
    let Some((request, _)) = received else {
        return failed(FailureKind::Cancelled, STEP, "The request was withdrawn.");
    };
    let owner = container_root(init)?;
    let own = match &request {
        NodeRequest::Add { node, mode } if owner.0 != 0 => {
            Some(make_apart(node, *mode, owner).at(STEP, || format!("cannot make {}", node.path))?)
        }
        _ => None,
    };
    let root = enter(init, owner).at(STEP, || "cannot enter the container".to_owned())?;
    match request {
        NodeRequest::Add { node, mode } => add(&root, node, mode, own),
        NodeRequest::Remove { path } => remove(&root, path),
        NodeRequest::List => {
            let mut found = Vec::new();
            if let Ok(dev) = root.open("dev", OFlags::RDONLY | OFlags::DIRECTORY) {
                list(&dev, "/dev", 0, &mut found)
                    .at(STEP, || "cannot list the container's /dev".to_owned())?;
            }
            Ok(found)
        }
    }
}

/// The container's root, seen from its mount namespace. Files are made as the
/// container's root: the host's may have no id there.
fn enter(init: &OwnedFd, (uid, gid): (u32, u32)) -> io::Result<Root> {
    setns(init, CloneFlags::CLONE_NEWNS)?;
    rustix::process::umask(Mode::empty());
    if uid != 0 {
        nix::unistd::setfsgid(nix::unistd::Gid::from_raw(gid));
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(uid));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Root::new(open("/", flags, Mode::empty())?))
}

fn kind(node: &Node) -> FileType {
    match node.block {
        true => FileType::BlockDevice,
        false => FileType::CharacterDevice,
    }
}

/// The node of a status; none if it is another file.
fn node_of(status: &Stat, path: String) -> Option<Node> {
    let block = match FileType::from_raw_mode(status.st_mode) {
        FileType::BlockDevice => true,
        FileType::CharacterDevice => false,
        _ => return None,
    };
    Some(Node {
        path,
        block,
        major: major(status.st_rdev),
        minor: minor(status.st_rdev),
    })
}

/// A node on a file system of its own, owned by the container's root, to be
/// mounted: in file systems of a container with mapped ids none can be used.
fn make_apart(node: &Node, mode: u32, (uid, gid): (u32, u32)) -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let private = sys::MountAttributes::propagate(MountPropagationFlags::PRIVATE);
    sys::mount_setattr(&root, true, &private)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = filesystem("tmpfs", "gantry", &[("size", Some("4k"))], attributes)?;
    attach(tree, open(WORKSHOP, flags, Mode::empty())?)?;
    let place = open(WORKSHOP, flags, Mode::empty())?;
    let device = makedev(node.major, node.minor);
    mknodat(&place, "node", kind(node), Mode::empty(), device)?;
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    chownat(&place, "node", uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    chmodat(&place, "node", Mode::from_raw_mode(mode), AtFlags::empty())?;
    copy_tree(&place, "node", false)
}

fn add(root: &Root, node: Node, mode: u32, own: Option<OwnedFd>) -> Step<Vec<Node>> {
    let what = || format!("cannot make {} in the container", node.path);
    let exists = || {
        let message = format!(
            "There is already a {} in the container; remove it first, or choose another path.",
            node.path
        );
        failed(FailureKind::Exists, STEP, message)
    };
    let (parent, name) = split(root, &node.path, true).at(STEP, what)?;
    match own {
        Some(tree) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            match openat(&parent, name, flags, Mode::from_raw_mode(0o600)) {
                Err(Errno::EXIST) => return exists(),
                made => drop(made.at(STEP, what)?),
            }
            let place = root.handle(&node.path).at(STEP, what)?;
            attach(tree, place).at(STEP, what)?;
        }
        None => {
            let device = makedev(node.major, node.minor);
            match mknodat(
                &parent,
                name,
                kind(&node),
                Mode::from_raw_mode(mode),
                device,
            ) {
                Err(Errno::EXIST) => return exists(),
                made => made.at(STEP, what)?,
            }
        }
    }
    let made = root.handle(&node.path).and_then(|file| Ok(fstat(&file)?));
    match node_of(&made.at(STEP, what)?, node.path.clone()) {
        Some(made) if made == node => Ok(vec![made]),
        _ => {
            let message = format!(
                "What is at {} is not what was made; look who else works there.",
                node.path
            );
            failed(FailureKind::StartFailed, STEP, message)
        }
    }
}

fn remove(root: &Root, path: String) -> Step<Vec<Node>> {
    let what = || format!("cannot remove {path} from the container");
    let missing = || {
        let message = format!("There is no device {path} in the container.");
        failed(FailureKind::NotFound, STEP, message)
    };
    let (parent, name) = match split(root, &path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(),
        found => found.at(STEP, what)?,
    };
    let status = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return missing(),
        status => status.at(STEP, what)?,
    };
    let Some(node) = node_of(&status, path.clone()) else {
        return missing();
    };
    if is_mount(&parent, name).at(STEP, what)? {
        // By a name in the directory we are in: there is no other way to name
        // it that the container could not bend.
        rustix::process::fchdir(&parent).at(STEP, what)?;
        unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).at(STEP, what)?;
    }
    unlinkat(&parent, name, AtFlags::empty()).at(STEP, what)?;
    Ok(vec![node])
}

fn is_mount(parent: &OwnedFd, name: &str) -> io::Result<bool> {
    let status = statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)?;
    Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The directory of a path, made if it is missing and wanted, and the last
/// part.
fn split<'p>(root: &Root, path: &'p str, make: bool) -> io::Result<(OwnedFd, &'p str)> {
    let (parent, name) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
    let parent = match make {
        true => root.make_directory(parent)?,
        false => root.open(parent, OFlags::PATH | OFlags::DIRECTORY)?,
    };
    Ok((parent, name))
}

/// The nodes below a directory that not every container has.
fn list(directory: &OwnedFd, path: &str, depth: usize, found: &mut Vec<Node>) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if found.len() >= MOST || matches!(name, "." | "..") {
            continue;
        }
        let status = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            status => status?,
        };
        let inner = format!("{path}/{name}");
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        if is_directory && depth < DEEPEST && inner != "/dev/pts" {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(directory, name, flags, Mode::empty()) {
                Ok(child) => list(&child, &inner, depth + 1, found)?,
                Err(errno) => crate::log::debug(format!("{inner} is not listed: {errno}")),
            }
        } else if let Some(node) = node_of(&status, inner)
            && !is_usual(&node)
        {
            found.push(node);
        }
    }
    Ok(())
}

fn is_usual(node: &Node) -> bool {
    let name = Path::new(&node.path)
        .file_name()
        .and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    // Terminals' numbers begin at 136 (devices.txt).
    USUAL.contains(&name) || (!node.block && (136..144).contains(&node.major))
}
