//! Unpacking archives by a confined tar(1).

use super::stream::{Compression, Stream};
use crate::error::{Error, Result};
use crate::linux::space;
use crate::linux::spawn::Child;
use crate::linux::worker::{MAPS_FD, NOT_CONFINED, WORKER};
use crate::work::Work;
use gantry_core::idmap::{IdKind, IdMaps, IdRange};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// Places of GNU tar.
const TARS: [&str; 2] = ["/usr/bin/tar", "/bin/tar"];
/// How often the free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(200);
/// The most lines of tar's that are passed on.
const MAX_LINES: usize = 200;
/// Never hang on a worker that does not come up.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What to unpack with.
pub(crate) trait Workers {
    /// Starts this program as a worker.
    fn start(&self, args: &[&str], fds: &[Option<BorrowedFd<'_>>]) -> Result<Child>;
}

/// The maps for whoever has no map: every id that a container can have.
fn identity() -> IdMaps {
    let all = IdRange {
        first: 0,
        count: 65_536,
    };
    IdMaps::for_range(all, all)
}

/// Every id there is, for archives of containers with ids of the host.
pub(crate) fn all_ids() -> IdMaps {
    let all = IdRange {
        first: 0,
        count: u32::MAX,
    };
    IdMaps::for_range(all, all)
}

/// Unpacks an archive into an empty directory. The owners in it are ids of
/// the container, and become those of the host by `maps`; an empty map leaves
/// them as they are. What the patterns `devices` match is left out; device
/// nodes elsewhere are an error.
///
/// When this fails or is cancelled the directory holds rubbish, but nothing
/// writes to it any more.
pub(crate) async fn unpack(
    workers: &impl Workers,
    archive: OwnedFd,
    target: &Path,
    maps: &IdMaps,
    devices: &[&str],
    work: &Work,
) -> Result<()> {
    work.stage("unpacking");
    refuse_full(target)?;
    let for_open = work.clone();
    let stream = blocking(move || Stream::open(archive, &for_open)).await?;
    let (mut child, sink, stderr) =
        start(workers, stream.compression, target, maps, devices).await?;
    let for_pump = work.clone();
    let mut pump = tokio::spawn(blocking(move || stream.pump(sink, &for_pump)));
    let mut lines = tokio::spawn(collect_lines(stderr, work.clone()));
    let mut space = tokio::time::interval(SPACE_INTERVAL);
    let mut pumped = false;
    let interrupted = loop {
        tokio::select! {
            status = child.ended() => break Ok(status),
            () = work.cancelled() => break Err(Error::Cancelled("unpacking was cancelled".to_owned())),
            _ = space.tick() => if let Err(error) = refuse_full(target) { break Err(error) },
            // Its failure ends the archive early; then tar is not to finish.
            result = &mut pump, if !pumped => match flatten(result) {
                Ok(()) => pumped = true,
                Err(error) => break Err(error),
            },
        }
    };
    let status = match interrupted {
        Ok(status) => status,
        Err(error) => {
            child.kill();
            child.ended().await;
            return Err(error);
        }
    };
    let said = (&mut lines).await.unwrap_or_default();
    if status != 0 {
        return Err(failure(status, &said));
    }
    if pumped { Ok(()) } else { flatten(pump.await) }
}

fn flatten(result: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    result.unwrap_or_else(|error| {
        Err(Error::Failed(format!(
            "reading the archive failed: {error}"
        )))
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let lost = |error: tokio::task::JoinError| {
        Error::Failed(format!("reading the archive failed: {error}"))
    };
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}

/// Starts a worker and maps its ids. Gives where the archive goes and where
/// messages come from.
async fn start(
    workers: &impl Workers,
    compression: Compression,
    target: &Path,
    maps: &IdMaps,
    devices: &[&str],
) -> Result<(Child, OwnedFd, pipe::Receiver)> {
    let failed = |error: io::Error| Error::io("starting to unpack", &error);
    let tar = TARS.into_iter().find(|path| Path::new(path).exists());
    let tar =
        tar.ok_or_else(|| Error::Unsupported("tar is missing; install GNU tar".to_owned()))?;
    if let Some(program) = compression.program()
        && !["/usr/bin", "/bin"]
            .iter()
            .any(|place| Path::new(place).join(program).exists())
    {
        return Err(Error::Unsupported(format!(
            "the archive is packed with {program}; install {program}"
        )));
    }
    let (archive, sink) = io::pipe().map_err(failed)?;
    let (said, stderr) = io::pipe().map_err(failed)?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    let target = target
        .to_str()
        .ok_or_else(|| Error::InvalidArgument("the path is not UTF-8".to_owned()))?;
    let mut args = vec![WORKER, target, tar];
    args.extend([
        "--extract",
        "--file=-",
        "--numeric-owner",
        "--same-owner",
        "--same-permissions",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--delay-directory-restore",
        "--warning=no-timestamp",
        "--anchored",
    ]);
    let packer = compression
        .program()
        .map(|program| format!("--use-compress-program={program}"));
    let options: Vec<String> = devices
        .iter()
        .map(|pattern| format!("--exclude={pattern}"))
        .chain(packer)
        .collect();
    args.extend(options.iter().map(String::as_str));
    debug_assert_eq!(MAPS_FD, 3);
    let fds = [
        Some(archive.as_fd()),
        None,
        Some(stderr.as_fd()),
        Some(theirs.as_fd()),
    ];
    let child = workers.start(&args, &fds)?;
    drop((archive, stderr, theirs));
    ours.set_nonblocking(true).map_err(failed)?;
    let mut ours = UnixStream::from_std(ours).map_err(failed)?;
    let mut said = pipe::Receiver::from_owned_fd(said.into()).map_err(failed)?;
    let maps = if maps.is_empty() {
        identity()
    } else {
        maps.clone()
    };
    let map = async {
        let mut ready = [0];
        ours.read_exact(&mut ready).await?;
        write_maps(child.pid(), &maps)?;
        ours.write_all(&ready).await
    };
    match tokio::time::timeout(START_PATIENCE, map).await {
        Ok(Ok(())) => Ok((child, sink.into(), said)),
        result => {
            child.kill();
            let mut reason = String::new();
            (&mut said)
                .take(4096)
                .read_to_string(&mut reason)
                .await
                .unwrap_or_default();
            if let Ok(Err(error)) = result {
                reason = if reason.is_empty() {
                    error.to_string()
                } else {
                    reason
                };
            }
            Err(Error::Failed(format!(
                "unpacking could not be confined: {}",
                reason.trim()
            )))
        }
    }
}

/// The worker has not been waited for, so that its pid is still its own.
fn write_maps(pid: u32, maps: &IdMaps) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/uid_map"), maps.proc_text(IdKind::User))?;
    std::fs::write(
        format!("/proc/{pid}/gid_map"),
        maps.proc_text(IdKind::Group),
    )
}

async fn collect_lines(stderr: pipe::Receiver, work: Work) -> Vec<String> {
    let mut lines = BufReader::new(stderr.take(1 << 20)).lines();
    let mut kept = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
        if kept.len() < MAX_LINES {
            work.log(line.clone());
            kept.push(line);
        }
    }
    kept
}

fn refuse_full(target: &Path) -> Result<()> {
    let space = space::free(target)
        .map_err(|error| Error::path("looking at the free space of", target, &error))?;
    if !space.is_exhausted() {
        return Ok(());
    }
    Err(Error::NoSpace(format!(
        "the disk of {} is full: {} MiB are kept free; free some space and try again",
        target.display(),
        space.reserve() >> 20
    )))
}

/// What tar says besides the cause of a failure.
const NOISE: [&str; 3] = ["Removing leading", "Exiting with", "Child returned"];

/// What tar's failure means.
fn failure(status: i32, said: &[String]) -> Error {
    let has = |text: &str| said.iter().any(|line| line.contains(text));
    let cause = said
        .iter()
        .find(|line| !line.is_empty() && !NOISE.iter().any(|noise| line.contains(noise)));
    let cause = cause.map_or_else(|| format!("tar ended with status {status}"), Clone::clone);
    // A short write is how tar first meets a full disk.
    if has("No space left on device") || has("Wrote only") || has("Disk quota exceeded") {
        return Error::NoSpace(format!(
            "the disk is full ({cause}); free some space and try again"
        ));
    }
    if status == NOT_CONFINED {
        return Error::Failed(cause);
    }
    if status > 128 {
        return Error::Failed(format!(
            "tar was ended by signal {}; the host may lack memory",
            status - 128
        ));
    }
    if has("Cannot mknod") {
        return Error::InvalidArgument(format!(
            "the archive has device nodes outside of /dev, which are refused: {cause}"
        ));
    }
    Error::InvalidArgument(format!("the archive cannot be unpacked: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_their_names() {
        let said = |lines: &[&str]| {
            failure(
                2,
                &lines
                    .iter()
                    .map(|line| (*line).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        for full in [
            "tar: x: Cannot write: No space left on device",
            "tar: ./big: Wrote only 5120 of 10240 bytes",
        ] {
            assert!(matches!(said(&[full]), Error::NoSpace(_)), "{full}");
        }
        let error = said(&[
            "tar: Removing leading `/' from member names",
            "tar: Unexpected EOF in archive",
        ]);
        assert!(error.to_string().contains("Unexpected EOF"), "{error}");
        assert!(matches!(
            said(&["tar: sda: Cannot mknod: Operation not permitted"]),
            Error::InvalidArgument(_)
        ));
        assert!(matches!(failure(NOT_CONFINED, &[]), Error::Failed(_)));
    }
}
