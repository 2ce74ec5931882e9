//! The worker that packs a container by tar(1). What it packs it sees through mounts of
//! its own that nothing can be changed by.

use super::files;
use super::seal::{self, BLOCK, Seal};
use super::space::occupied;
use super::unpacking::code;
use super::worker::{self, BLOCKING, CHUNK, ENVIRONMENT, Helper, MOUNT_FD, Profile, Report, widen};
use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, Gid, Uid};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions, create_dir_all, set_permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The least time between two reports.
const PACE: Duration = Duration::from_millis(100);
/// The most that files beside the root file systems may take.
const BESIDE: &str = "64m";

/// What to pack, and how. It comes as JSON on standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// A directory that the worker may cover with its own.
    pub(crate) root: PathBuf,
    /// The path of tar.
    pub(crate) tar: String,
    /// The program that packs the stream, with its arguments; empty: none.
    pub(crate) packer: Vec<String>,
    /// With it the archive is sealed: it begins with this, and ends in a checksum.
    pub(crate) manifest: Option<String>,
    /// The host's ids of whoever owns the files beside root file systems in the archive.
    pub(crate) owner: (u32, u32),
    /// Where in the archive which file is.
    pub(crate) files: Vec<(PathBuf, Content)>,
    /// Where in the archive which root file system is.
    pub(crate) trees: Vec<(PathBuf, Store)>,
    /// The members at the top, in order. The last of a sealed archive is a text.
    pub(crate) members: Vec<String>,
}

/// What a file has in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Content {
    /// This.
    Text(String),
    /// What a file of root's has, also as its mode and time.
    Copy(PathBuf),
}

/// How a root file system is seen.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Store {
    /// As it lies.
    Tree(PathBuf),
    /// By a mount that the worker is started with.
    Mount {
        /// Which of them.
        number: i32,
        /// Of a device or an image, which has a `lost+found`.
        device: bool,
    },
}

/// `pack-worker`, with the [`Plan`] on standard input and the archive on standard output.
/// Gives the exit status of what has failed.
pub(super) fn run(_args: &[String]) -> io::Result<i32> {
    let plan: Plan = serde_json::from_reader(io::stdin().lock())?;
    let profile = Profile::prepare()?;
    worker::begin()?;
    let stores = plan
        .trees
        .iter()
        .map(|(place, store)| Ok((place, store.open()?)))
        .collect::<io::Result<Vec<_>>>()?;
    let copies = plan
        .files
        .iter()
        .map(|(place, content)| Ok((place, content.open()?)))
        .collect::<io::Result<Vec<_>>>()?;
    worker::make_root(&plan.root, BESIDE)?;
    let top = plan.root.join("pack");
    for (place, content) in copies {
        let path = top.join(place);
        plan.make_folders(&top, place.parent())?;
        content.write(&path)?;
        plan.own(&path)?;
    }
    for (place, tree) in stores {
        plan.make_folders(&top, Some(place))?;
        show(&tree, &top.join(place))?;
    }
    worker::shut_in(&plan.root, "/pack", profile)?;
    worker::inside(|helper| pack(helper, &plan))
}

impl Plan {
    /// A file system's own directory for what it has lost is nobody's in a container.
    fn excluded(&self) -> impl Iterator<Item = String> {
        self.trees
            .iter()
            .filter(|(_, store)| matches!(store, Store::Mount { device: true, .. }))
            .map(|(place, _)| format!("--exclude={}/lost+found", place.display()))
    }

    fn make_folders(&self, top: &Path, folder: Option<&Path>) -> io::Result<()> {
        let mut path = top.to_path_buf();
        create_dir_all(&path)?;
        for part in folder.into_iter().flat_map(Path::components) {
            path.push(part);
            if !path.is_dir() {
                create_dir_all(&path)?;
                self.own(&path)?;
            }
        }
        Ok(())
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        let (uid, gid) = self.owner;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // Nobody else can reach what is made here.
        Ok(rustix::fs::chownat(
            CWD,
            path,
            Some(uid),
            Some(gid),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}

/// A file beside root file systems, opened.
enum Opened<'a> {
    Text(&'a str),
    File(File, std::fs::Metadata),
}

impl Content {
    fn open(&self) -> io::Result<Opened<'_>> {
        match self {
            Self::Text(text) => Ok(Opened::Text(text)),
            Self::Copy(path) => {
                files::open_regular(path).map(|(file, metadata)| Opened::File(file, metadata))
            }
        }
    }
}

impl Opened<'_> {
    fn write(self, path: &Path) -> io::Result<()> {
        let mut new = File::create_new(path)?;
        match self {
            Self::Text(text) => {
                new.write_all(text.as_bytes())?;
                set_permissions(path, Permissions::from_mode(0o640))
            }
            Self::File(mut file, metadata) => {
                io::copy(&mut file, &mut new)?;
                new.set_modified(metadata.modified()?)?;
                set_permissions(path, Permissions::from_mode(metadata.mode() & 0o777))
            }
        }
    }
}

impl Store {
    /// Opens what lies where the worker's own tree may cover it.
    fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tree(path) => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                open_tree(CWD, path, flags).map_err(|error| {
                    let error = io::Error::from(error);
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })
            }
            Self::Mount { number, .. } => worker::adopt(MOUNT_FD + number),
        }
    }
}

/// Puts a tree in its place, where nothing can be changed by it.
fn show(tree: &OwnedFd, place: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree, "", CWD, place, flags)?;
    let none = None::<&str>;
    let flags = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    Ok(mount(none, place, none, flags, none)?)
}

fn pack(mut helper: Helper, plan: &Plan) -> io::Result<i32> {
    helper.become_root(None)?;
    let mut counter = helper.try_clone()?;
    // Ends with the process at the latest; who only looks at numbers misses nothing.
    std::thread::spawn(move || counter.tell(&Report::Total(occupied(Path::new(".")))).ok());
    let mut tar = Command::new(&plan.tar)
        .args([
            "--create",
            "--file=-",
            BLOCKING,
            "--format=posix",
            "--pax-option=delete=atime,delete=ctime",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--sparse",
            // Sockets are of processes.
            "--warning=no-file-ignored",
            "--anchored",
        ])
        .args(plan.excluded())
        .arg("--")
        .args(&plan.members)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let source = tar.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
    widen(&source);
    let (mut packer, sink): (_, Box<dyn Write>) = match plan.packer.as_slice() {
        [] => (
            None,
            Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        ),
        [program, args @ ..] => {
            let mut child = Command::new(program)
                .args(args)
                .env_clear()
                .envs(ENVIRONMENT)
                .stdin(Stdio::piped())
                .spawn()?;
            let sink = child.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
            widen(&sink);
            (Some(child), Box::new(sink))
        }
    };
    let passed = pass(source, sink, plan.manifest.as_deref(), &mut helper);
    if passed.is_err() {
        tar.kill()?;
    }
    let status = code(tar.wait()?);
    let packed = packer.as_mut().map(std::process::Child::wait).transpose()?;
    match (passed, packed) {
        // Status 1: something that was read differs from what was listed; it was said.
        (Ok(()), None) if status == 1 => Ok(0),
        (Ok(()), Some(packed)) if status <= 1 => Ok(code(packed)),
        (Ok(()), _) => Ok(status),
        // Nobody takes the archive any more; the helper knows why.
        (Err(error), _) if error.kind() == ErrorKind::BrokenPipe => Ok(1),
        (Err(error), _) => Err(error),
    }
}

/// Passes tar's stream on; with a manifest it is sealed.
fn pass(
    mut source: impl Read,
    mut sink: impl Write,
    manifest: Option<&str>,
    helper: &mut Helper,
) -> io::Result<()> {
    let mut seal = Seal::default();
    let mut chunk = Vec::new();
    if let Some(manifest) = manifest {
        chunk = seal::member(seal::MANIFEST, manifest.as_bytes());
        seal.update(&chunk);
        sink.write_all(&chunk)?;
    }
    // Blocks of zeros end tar's archive, which is to go on: they are held until
    // something follows.
    let (mut zeros, mut bytes) = (0, 0);
    let mut told = Instant::now();
    loop {
        chunk.resize(CHUNK, 0);
        let length = source.read(&mut chunk)?;
        let read = chunk.get(..length).unwrap_or_default();
        if length == 0 {
            break;
        }
        bytes += length as u64;
        if manifest.is_none() {
            sink.write_all(read)?;
        } else if let Some(last) = read.iter().rposition(|byte| *byte != 0) {
            let (solid, rest) = read.split_at(last + 1);
            release(zeros, &mut seal, &mut sink)?;
            seal.update(solid);
            sink.write_all(solid)?;
            zeros = rest.len();
        } else {
            zeros += length;
        }
        if told.elapsed() >= PACE {
            helper.tell(&Report::Bytes(bytes))?;
            told = Instant::now();
        }
    }
    helper.tell(&Report::Bytes(bytes))?;
    if manifest.is_some() {
        // The block that the last byte is in goes on to its end.
        let written = bytes - zeros as u64;
        let padding = written.next_multiple_of(BLOCK as u64) - written;
        release(
            usize::try_from(padding).unwrap_or_default(),
            &mut seal,
            &mut sink,
        )?;
        sink.write_all(&seal.trailer())?;
    }
    sink.flush()
}

/// Writes zeros that were held.
fn release(mut count: usize, seal: &mut Seal, sink: &mut impl Write) -> io::Result<()> {
    while count > 0 {
        let zeros = [0; 64 * BLOCK];
        let some = zeros.get(..count.min(zeros.len())).unwrap_or_default();
        seal.update(some);
        sink.write_all(some)?;
        count -= some.len();
    }
    Ok(())
}
