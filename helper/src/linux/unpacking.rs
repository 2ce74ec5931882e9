//! The worker that unpacks an archive by tar(1).

use super::seal::{self, BLOCK, Seal, TRAILER};
use super::worker::{self, CHUNK, DAMAGED, ENVIRONMENT, Helper, MOUNT, MOUNT_FD, Profile, widen};
use nix::mount::{MsFlags, mount};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs::create_dir;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// `unpack-worker directory|mount TARGET TAR PACKER ARG…`, with the archive on standard
/// input. PACKER is the program that unpacks the stream; empty: none. Gives the exit status of what has
/// failed.
pub(super) fn run(args: &[String]) -> io::Result<i32> {
    enter_target(args, |_| Ok(()), unpack)
}

/// Shuts this process in with the target and what `lend` puts beside it, and does `work` there,
/// with the paths of tar and of the packer and the arguments that follow.
pub(super) fn enter_target(
    args: &[String],
    lend: impl FnOnce(&Path) -> io::Result<()>,
    work: impl FnOnce(Helper, &str, &str, &[String]) -> io::Result<i32>,
) -> io::Result<i32> {
    let [kind, target, tar, packer, args @ ..] = args else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let profile = Profile::prepare()?;
    worker::begin()?;
    // The target's place, of which the worker has a copy, is where its own tree begins.
    let root = Path::new(target);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = if kind == MOUNT {
        worker::adopt(MOUNT_FD)?
    } else {
        open_tree(CWD, root, flags)?
    };
    worker::make_root(root, "64k")?;
    let place = root.join("target");
    create_dir(&place)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", CWD, &place, flags)?;
    drop(tree);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, &place, None::<&str>, flags, None::<&str>)?;
    lend(root)?;
    worker::shut_in(root, "/target", profile)?;
    worker::inside(|helper| work(helper, tar, packer, args))
}

/// Standard input as it is unpacked, and what does that.
pub(super) fn unpacker(packer: &str) -> io::Result<(Box<dyn Read>, Option<Child>)> {
    if packer.is_empty() {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let mut child = Command::new(packer)
        .args(["-d", "-c"])
        .env_clear()
        .envs(ENVIRONMENT)
        .stdout(Stdio::piped())
        .spawn()?;
    let stream = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
    widen(&stream);
    Ok((Box::new(stream), Some(child)))
}

fn unpack(mut helper: Helper, tar: &str, packer: &str, args: &[String]) -> io::Result<i32> {
    let (mut source, mut unpacker) = unpacker(packer)?;
    let mut start = read_whole(&mut source, BLOCK)?;
    let manifest = match seal::manifest_length(&start) {
        Some(length) => {
            let content = read_whole(&mut source, length.next_multiple_of(BLOCK))?;
            start.extend_from_slice(&content);
            let text = content.get(..length).unwrap_or_default();
            Some(String::from_utf8_lossy(text).into_owned())
        }
        None => None,
    };
    let sealed = manifest.is_some();
    helper.become_root(manifest)?;
    let mut tar = Command::new(tar)
        .args(args)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::piped())
        .spawn()?;
    let sink = tar.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
    widen(&sink);
    let passed = if sealed {
        pass_sealed(&start, &mut source, sink)?
    } else {
        pass(&start, &mut source, sink)?
    };
    drop(source);
    if matches!(passed, Passed::Damaged) {
        // What it has made is not to be used.
        tar.kill()?;
        tar.wait()?;
        return Ok(DAMAGED);
    }
    let unpacked = tar.wait()?;
    match unpacker.as_mut().map(Child::wait).transpose()? {
        // Tar needs nothing of what follows the archive's end; before it, what cannot be
        // unpacked is cut short or damaged, whatever tar says of it.
        Some(status) if !status.success() && matches!(passed, Passed::All) => Ok(DAMAGED),
        _ => Ok(code(unpacked)),
    }
}

pub(super) enum Passed {
    All,
    /// Tar wants no more: it is through, or has failed.
    Enough,
    /// The checksum is wrong or missing.
    Damaged,
}

/// Passes a stream on that begins with `start`.
pub(super) fn pass(
    start: &[u8],
    source: &mut impl Read,
    mut sink: impl Write,
) -> io::Result<Passed> {
    let mut chunk = start.to_vec();
    while !chunk.is_empty() {
        if !write(&mut sink, &chunk)? {
            return Ok(Passed::Enough);
        }
        chunk.resize(CHUNK, 0);
        let length = source.read(&mut chunk)?;
        chunk.truncate(length);
    }
    Ok(Passed::All)
}

/// As [`pass`], of an archive that ends in its checksum. Tar sees the end only if that is
/// right.
fn pass_sealed(start: &[u8], source: &mut impl Read, mut sink: impl Write) -> io::Result<Passed> {
    let mut seal = Seal::default();
    let mut held = start.to_vec();
    let mut chunk = vec![0; CHUNK];
    loop {
        let through = held.len().saturating_sub(TRAILER);
        let ready = held.get(..through).unwrap_or_default();
        seal.update(ready);
        if !write(&mut sink, ready)? {
            return Ok(Passed::Enough);
        }
        held.drain(..through);
        match source.read(&mut chunk)? {
            0 => break,
            length => held.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    if held != seal.trailer() {
        return Ok(Passed::Damaged);
    }
    write(&mut sink, &[0; 2 * BLOCK])?;
    Ok(Passed::All)
}

/// Whether the bytes were taken.
fn write(sink: &mut impl Write, bytes: &[u8]) -> io::Result<bool> {
    match sink.write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// As many bytes as are wanted, or as there are.
pub(super) fn read_whole(source: &mut impl Read, wanted: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(wanted);
    source.take(wanted as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The exit status, or 128 and the number of the signal.
pub(super) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut seal = Seal::default();
        seal.update(content);
        [content, &seal.trailer()].concat()
    }

    #[test]
    fn only_a_whole_archive_passes() {
        let content = vec![7; 3 * BLOCK];
        let whole = sealed(&content);
        let mut sink = Vec::new();
        let (start, mut rest) = whole.split_at(BLOCK);
        let passed = pass_sealed(start, &mut rest, &mut sink).unwrap();
        assert!(matches!(passed, Passed::All));
        assert_eq!(sink, [content, vec![0; 2 * BLOCK]].concat());
        for cut in [BLOCK, 2 * BLOCK, whole.len() - 1] {
            let mut rest = whole.get(BLOCK..cut).unwrap();
            let passed = pass_sealed(start, &mut rest, &mut Vec::new()).unwrap();
            assert!(matches!(passed, Passed::Damaged), "{cut}");
        }
        let mut changed = whole.clone();
        changed[2 * BLOCK] ^= 1;
        let (start, mut rest) = changed.split_at(BLOCK);
        let passed = pass_sealed(start, &mut rest, &mut Vec::new()).unwrap();
        assert!(matches!(passed, Passed::Damaged));
    }
}
