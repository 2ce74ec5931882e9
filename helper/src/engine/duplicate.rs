//! Copying trees and files, by a worker (linux/copier.rs). Blocks are shared where the
//! file system can.

use super::launcher::{Access, Programs};
use super::{Error, Result, Work, blocking};
use crate::image::unpack::{Target, refuse_full};
use crate::linux::copier::COPIER;
use crate::linux::files;
use crate::linux::space::occupied;
use crate::linux::spawn::Child;
use crate::storage::Files;
use gantry_core::values::rootfs::{RootfsKind, RootfsPath};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// How often the progress is looked at.
const PACE: Duration = Duration::from_millis(200);
/// The most of what the copier says that is kept, in bytes.
const MOST_SAID: u64 = 4096;

/// Opens the directory in which files are, mounting it where it must be.
pub(super) async fn open(programs: &Programs, files: &Files, how: Access) -> Result<OwnedFd> {
    match files {
        Files::At(path) => {
            files::open_directory(path).map_err(|error| Error::path("opening", path, &error))
        }
        Files::In(rootfs) => programs.mount(rootfs, how).await,
    }
}

/// The bytes that files take on their disk.
pub(super) async fn occupied_by(programs: &Programs, files: &Files) -> Result<u64> {
    let (path, mount) = match files {
        Files::At(path) => (path.clone(), None),
        Files::In(rootfs) => {
            let mount = programs.mount(rootfs, Access::Read).await?;
            let path = format!("/proc/self/fd/{}/.", mount.as_raw_fd());
            (PathBuf::from(path), Some(mount))
        }
    };
    blocking(move || {
        let bytes = occupied(&path);
        drop(mount);
        Ok(bytes)
    })
    .await
}

/// Puts what was written into a mount on its disk: what fails there is heard of only so.
pub(super) async fn put_on_disk(mount: OwnedFd) -> Result<()> {
    blocking(move || {
        // A mount's descriptor is only a path.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&mount, ".", flags, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .map_err(|error| Error::io("putting the files on their disk", &error.into()))
    })
    .await
}

/// What a copier is told to take for files, and the mount they are in.
struct End {
    word: String,
    mount: Option<OwnedFd>,
}

async fn end(programs: &Programs, files: &Files, how: Access, number: usize) -> Result<End> {
    Ok(match files {
        Files::At(path) => End {
            word: path
                .to_str()
                .ok_or_else(|| Error::InvalidArgument(format!("{} is not UTF-8", path.display())))?
                .to_owned(),
            mount: None,
        },
        Files::In(rootfs) => End {
            word: format!("/proc/self/fd/{number}/."),
            mount: Some(programs.mount(rootfs, how).await?),
        },
    })
}

/// The directory on whose file system copying takes space that others need, too; none
/// where what is copied into has its own.
fn place_of(to: &Files) -> Option<PathBuf> {
    let file = match to {
        Files::At(path) => path.clone(),
        Files::In(rootfs) => {
            let rootfs = RootfsPath::parse(rootfs);
            match rootfs.kind {
                RootfsKind::Loop => PathBuf::from(rootfs.path),
                _ => rootfs.overlay()?.upper,
            }
        }
    };
    file.parent().map(Path::to_path_buf)
}

/// Copies `from`, which nobody changes meanwhile, to `to`: a directory into one that is
/// there as its own maker left it, a file to where there is none. Links are copied, not
/// followed. Some space stays free for those who run.
///
/// # Errors
/// [`Error::NoSpace`]; [`Error::Cancelled`]; what the copier says.
pub(super) async fn copy(programs: &Programs, from: &Files, to: &Files, work: &Work) -> Result<()> {
    let failed = |error: io::Error| Error::io(format_args!("copying {from}"), &error);
    let place = place_of(to);
    let refuse_full = || match &place {
        Some(place) => refuse_full(Target::directory(place)),
        None => Ok(()),
    };
    refuse_full()?;
    let (mut child, said, mount) = start(programs, from, to).await?;
    let mut said = pipe::Receiver::from_owned_fd(said).map_err(failed)?;
    let said = tokio::spawn(async move {
        let mut text = String::new();
        (&mut said)
            .take(MOST_SAID)
            .read_to_string(&mut text)
            .await
            .ok();
        // More than is kept must not hold it up.
        tokio::io::copy(&mut said, &mut tokio::io::sink())
            .await
            .ok();
        text
    });
    let mut pace = tokio::time::interval(PACE);
    let before = work.bytes_done();
    let status = loop {
        tokio::select! {
            status = child.ended() => break status,
            () = work.cancelled() => {
                child.kill();
                child.ended().await;
                return Err(Error::Cancelled("the copying was cancelled".to_owned()));
            }
            _ = pace.tick() => {
                work.bytes(before + written(&child));
                if let Err(error) = refuse_full() {
                    child.kill();
                    child.ended().await;
                    return Err(error);
                }
            }
        }
    };
    let said = said.await.unwrap_or_default();
    match (status, said.lines().next()) {
        (0, _) => {
            refuse_full()?;
            match mount {
                Some(mount) => put_on_disk(mount).await,
                None => Ok(()),
            }
        }
        (_, Some(line)) if said.contains("No space left") || said.contains("quota exceeded") => {
            Err(Error::NoSpace(format!(
                "the disk is full ({}); free some space and try again",
                line.escape_debug()
            )))
        }
        (_, line) => Err(Error::Failed(format!(
            "copying {from} failed: {}",
            line.map_or_else(
                || format!("the copier ended with status {status}"),
                |line| line.escape_debug().to_string()
            )
        ))),
    }
}

/// Gives the copier, what it says, and the mount into which it copies.
async fn start(
    programs: &Programs,
    from: &Files,
    to: &Files,
) -> Result<(Child, OwnedFd, Option<OwnedFd>)> {
    let from = end(programs, from, Access::Read, 3).await?;
    let to = end(programs, to, Access::Write, 4).await?;
    let (said, stderr) = io::pipe().map_err(|error| Error::io("making a pipe", &error))?;
    let helper = std::process::id().to_string();
    let args = [COPIER, &helper, &from.word, &to.word];
    let fds = [
        None,
        None,
        Some(stderr.as_fd()),
        from.mount.as_ref().map(AsFd::as_fd),
        to.mount.as_ref().map(AsFd::as_fd),
    ];
    Ok((programs.worker(&args, &fds)?, said.into(), to.mount))
}

/// The bytes that a process has written: `wchar` counts calls that have returned, and
/// `write_bytes` what a long one has put on the way to the disk.
fn written(child: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/io", child.pid())).unwrap_or_default();
    let count = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.parse().ok())
    };
    count("wchar: ")
        .max(count("write_bytes: "))
        .unwrap_or_default()
}
