//! The worker that puts a layer of an OCI image on those below it: first what it hides
//! of them goes, then tar(1) unpacks it.

use super::files;
use super::survey::{self, Survey, WHITEOUT};
use super::tree;
use super::unpacking::{self, code, pass, read_whole, unpacker};
use super::worker::{DAMAGED, ENVIRONMENT, Helper, Report};
use rustix::fs::{Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// `layer-worker directory|mount TARGET TAR PACKER SHA256 ARG…`, with the layer, a file,
/// on standard input; SHA256 is that of the layer without its packing.
pub(super) fn run(args: &[String]) -> io::Result<i32> {
    unpacking::enter_target(args, |_| Ok(()), apply)
}

fn apply(mut helper: Helper, tar: &str, packer: &str, args: &[String]) -> io::Result<i32> {
    let [sum, args @ ..] = args else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let (mut source, child) = unpacker(packer)?;
    let found = survey::survey(&mut source);
    drop(source);
    let whole = match child {
        Some(mut child) => child.wait()?.success(),
        None => true,
    };
    let found = match found {
        Ok(found) if whole && found.sha256 == *sum => found,
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(2);
        }
        _ => return Ok(DAMAGED),
    };
    helper.become_root(None)?;
    if !has_room(&found)? {
        writeln!(io::stderr(), "the layer: No space left on device")?;
        return Ok(2);
    }
    make_way(&found)?;
    rustix::fs::seek(io::stdin(), SeekFrom::Start(0))?;
    let (mut source, child) = unpacker(packer)?;
    let mut tar = Command::new(tar)
        .args(args)
        .args(["--no-anchored", &format!("--exclude={WHITEOUT}*")])
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::piped())
        .spawn()?;
    let sink = tar.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
    let start = read_whole(&mut source, 1)?;
    let mut told = Told {
        source: &mut source,
        helper: &mut helper,
        bytes: 0,
    };
    pass(&start, &mut told, sink)?;
    drop(source);
    let status = tar.wait()?;
    if let Some(mut child) = child {
        // It was whole a moment ago; tar needs nothing of what follows the end.
        child.wait()?;
    }
    Ok(code(status))
}

/// Whether there is room for what the layer brings, so that one that is all promises is
/// not begun with.
fn has_room(found: &Survey) -> io::Result<bool> {
    let space = rustix::fs::statvfs(".")?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let counted = space.f_files > 0;
    Ok(found.bytes <= free && (!counted || found.members <= space.f_ffree))
}

/// Takes away what the layer hides, and directories that it has something else for.
fn make_way(found: &Survey) -> io::Result<()> {
    let root = files::open_directory(Path::new("."))?;
    for directory in &found.opaque {
        if let Some(directory) = below(&root, directory, OFlags::empty())? {
            for name in tree::names(&directory)? {
                remove(&directory, &name)?;
            }
        }
    }
    for (directory, name) in &found.hidden {
        if let Some(directory) = below(&root, directory, OFlags::empty())? {
            remove(&directory, OsStr::new(name))?;
        }
    }
    if tree::names(&root)?.is_empty() {
        return Ok(());
    }
    for path in &found.others {
        if below(&root, path, OFlags::NOFOLLOW)?.is_none() {
            continue;
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(directory) = below(&root, above, OFlags::empty())? {
            remove(&directory, OsStr::new(name))?;
        }
    }
    rustix::process::fchdir(&root)?;
    Ok(())
}

/// A directory of the lower layers as the container sees it; none if there is none.
fn below(root: &OwnedFd, path: &str, more: OFlags) -> io::Result<Option<OwnedFd>> {
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes what a directory has under a name; nobody else works here.
fn remove(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    rustix::process::fchdir(directory)?;
    files::remove(Path::new(name))
}

/// A stream of which the helper is told how much of the layer, as it is packed, is
/// through.
struct Told<'a, R> {
    source: R,
    helper: &'a mut Helper,
    bytes: u64,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The packer reads from the same open file.
        let bytes = rustix::fs::tell(io::stdin())?;
        if bytes >= self.bytes + (1 << 20) {
            self.bytes = bytes;
            self.helper.tell(&Report::Bytes(bytes))?;
        }
        self.source.read(buffer)
    }
}
