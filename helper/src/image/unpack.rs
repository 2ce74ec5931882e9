//! Unpacking archives by a confined tar(1).

use super::confined::{self, Confined, Workers, blocking, flatten};
use super::stream::{Compression, Stream};
use crate::error::{Error, Result};
use crate::linux::space;
use crate::linux::worker::{BLOCKING, DAMAGED, DIRECTORY, LAYERER, MOUNT, Report, UNPACKER, widen};
use crate::work::Work;
use futures_util::future::BoxFuture;
use gantry_core::idmap::{IdMaps, IdRange};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(200);

/// Where to unpack: a directory, or a mount that is attached nowhere, which the worker
/// attaches there for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The directory, which is empty.
    pub(crate) place: &'a Path,
    /// The mount.
    pub(crate) mount: Option<BorrowedFd<'a>>,
}

impl<'a> Target<'a> {
    /// A directory.
    pub(crate) fn directory(place: &'a Path) -> Self {
        Self { place, mount: None }
    }
}

/// The maps for whoever has no map: every id that a container can have.
fn identity() -> IdMaps {
    let all = IdRange {
        first: 0,
        count: 65_536,
    };
    IdMaps::for_range(all, all)
}

/// Unpacks an archive into what is empty. The owners in it are ids of
/// the container, and become those of the host by `maps`; an empty map leaves
/// them as they are. What the patterns `devices` match is left out; device
/// nodes elsewhere are an error.
///
/// When this fails or is cancelled the directory holds rubbish, but nothing
/// writes to it any more.
pub(crate) async fn unpack(
    workers: &impl Workers,
    archive: OwnedFd,
    target: Target<'_>,
    maps: &IdMaps,
    devices: &[&str],
    work: &Work,
) -> Result<()> {
    let maps = if maps.is_empty() {
        identity()
    } else {
        maps.clone()
    };
    let choose = |_| -> BoxFuture<'_, Result<IdMaps>> { Box::pin(async { Ok(maps) }) };
    unpack_by(workers, archive, target, choose, devices, work).await
}

/// As [`unpack`], with maps that are chosen when it is known which manifest the archive
/// begins with, if any. One with a manifest must end in the right checksum.
///
/// # Errors
/// [`Error::VerificationFailed`] if it does not.
pub(crate) async fn unpack_by<'a>(
    workers: &impl Workers,
    archive: OwnedFd,
    target: Target<'_>,
    choose: impl FnOnce(Option<String>) -> BoxFuture<'a, Result<IdMaps>> + Send,
    devices: &[&str],
    work: &Work,
) -> Result<()> {
    work.stage("unpacking");
    refuse_full(target)?;
    let for_open = work.clone();
    let stream = blocking(move || Stream::open(archive, &for_open)).await?;
    let (mut worker, sink) = start(workers, &stream, target, devices, work)?;
    let for_pump = work.clone();
    let mut pump = tokio::spawn(blocking(move || stream.pump(sink, &for_pump)));
    let unpacked = drive(&mut worker, &mut pump, target, choose, 0, work).await;
    let pumped = match unpacked {
        Ok(pumped) => pumped,
        Err(error) => {
            worker.end().await;
            return Err(error);
        }
    };
    match worker.ended().await {
        (0, _) if pumped => Ok(()),
        (0, _) => flatten(pump.await),
        (status, said) => Err(failure(status, &said)),
    }
}

/// Sees a worker through that has no archive to be passed to it, and gives it the ids of any
/// container.
pub(super) async fn see_through(
    worker: &mut Confined,
    target: Target<'_>,
    work: &Work,
) -> Result<()> {
    let choose = |_| -> BoxFuture<'_, Result<IdMaps>> { Box::pin(async { Ok(identity()) }) };
    let mut passed = tokio::spawn(async { Ok(()) });
    let seen = drive(worker, &mut passed, target, choose, 0, work).await;
    if seen.is_err() {
        worker.end().await;
    }
    seen.map(drop)
}

/// Sees a worker through to its last report. Gives whether all of the archive has gone
/// to it without a fault.
async fn drive<'a>(
    worker: &mut Confined,
    pump: &mut JoinHandle<Result<()>>,
    target: Target<'_>,
    choose: impl FnOnce(Option<String>) -> BoxFuture<'a, Result<IdMaps>> + Send,
    before: u64,
    work: &Work,
) -> Result<bool> {
    let mut space = tokio::time::interval(SPACE_INTERVAL);
    let (mut choose, mut pumped) = (Some(choose), false);
    loop {
        tokio::select! {
            report = worker.report() => match report? {
                None => return Ok(pumped),
                Some(Report::Ready(manifest)) => if let Some(choose) = choose.take() {
                    worker.map(&choose(manifest).await?)?;
                },
                Some(Report::Bytes(bytes)) => work.bytes(before + bytes),
                Some(Report::Total(_)) => {}
            },
            () = work.cancelled() => {
                return Err(Error::Cancelled("unpacking was cancelled".to_owned()));
            }
            _ = space.tick() => refuse_full(target)?,
            // Its failure ends the archive early; then tar is not to finish.
            result = &mut *pump, if !pumped => flatten(result).map(|()| pumped = true)?,
        }
    }
}

/// A layer of an image.
#[derive(Debug)]
pub(crate) struct Layer {
    /// As it is packed.
    pub(crate) file: File,
    /// Its bytes.
    pub(crate) size: u64,
    /// The SHA-256 of what it is without its packing.
    pub(crate) sha256: String,
}

/// Puts a layer on those that were unpacked before it, `before` bytes in all.
///
/// # Errors
/// [`Error::VerificationFailed`] if it is not what it should be.
pub(crate) async fn unpack_layer(
    workers: &impl Workers,
    layer: Layer,
    target: Target<'_>,
    maps: &IdMaps,
    devices: &[&str],
    before: u64,
    work: &Work,
) -> Result<()> {
    refuse_full(target)?;
    let mut start = [0; 8];
    let count = layer.file.read_at(&mut start, 0);
    let count = count.map_err(|error| Error::io("reading a layer", &error))?;
    let compression = Compression::detect(start.get(..count).unwrap_or_default());
    let words = [LAYERER, &layer.sha256];
    let mut worker = start_worker(
        workers,
        words,
        compression,
        layer.file.into(),
        target,
        devices,
        work,
    )?;
    let maps = if maps.is_empty() {
        identity()
    } else {
        maps.clone()
    };
    let choose = |_| -> BoxFuture<'_, Result<IdMaps>> { Box::pin(async { Ok(maps) }) };
    let mut passed = tokio::spawn(async { Ok(()) });
    if let Err(error) = drive(&mut worker, &mut passed, target, choose, before, work).await {
        worker.end().await;
        return Err(error);
    }
    match worker.ended().await {
        (0, _) => Ok(()),
        (DAMAGED, _) => Err(Error::VerificationFailed(
            "a layer of the image is not what the image says it is, or is cut short; nothing was used".to_owned(),
        )),
        (status, said) => Err(failure(status, &said)),
    }
}

/// Starts a worker. Gives where the archive goes, too.
fn start(
    workers: &impl Workers,
    stream: &Stream,
    target: Target<'_>,
    devices: &[&str],
    work: &Work,
) -> Result<(Confined, OwnedFd)> {
    let (archive, sink) = io::pipe().map_err(|error| Error::io("starting to unpack", &error))?;
    widen(&sink);
    let worker = start_worker(
        workers,
        [UNPACKER, ""],
        stream.compression,
        archive.into(),
        target,
        devices,
        work,
    )?;
    Ok((worker, sink.into()))
}

/// Starts a worker of this kind; what is its alone, unless it is empty, comes before the
/// arguments of tar.
fn start_worker(
    workers: &impl Workers,
    [kind_of_worker, own]: [&str; 2],
    compression: Compression,
    stdin: OwnedFd,
    target: Target<'_>,
    devices: &[&str],
    work: &Work,
) -> Result<Confined> {
    let packer = confined::packer(compression)?.unwrap_or_default();
    let place = target
        .place
        .to_str()
        .ok_or_else(|| Error::InvalidArgument("the path is not UTF-8".to_owned()))?;
    let kind = if target.mount.is_some() {
        MOUNT
    } else {
        DIRECTORY
    };
    let mut args = vec![kind_of_worker, kind, place, confined::tar()?, &packer];
    args.extend(Some(own).filter(|own| !own.is_empty()));
    args.extend([
        "--extract",
        "--file=-",
        BLOCKING,
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
    let excluded: Vec<String> = devices
        .iter()
        .map(|pattern| format!("--exclude={pattern}"))
        .collect();
    args.extend(excluded.iter().map(String::as_str));
    Confined::start(workers, &args, stdin, None, target.mount.as_slice(), work)
}

pub(crate) fn refuse_full(target: Target<'_>) -> Result<()> {
    let mount = target.mount.map(|mount| mount.as_raw_fd());
    let mount = mount.map(|number| PathBuf::from(format!("/proc/self/fd/{number}")));
    let target = target.place;
    let space = space::free(mount.as_deref().unwrap_or(target))
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

/// What a worker's failure means.
pub(super) fn failure(status: i32, said: &[String]) -> Error {
    if status == DAMAGED {
        return Error::VerificationFailed(
            "the archive is cut short, damaged or was changed: it does not end as it should; fetch or export it anew".to_owned(),
        );
    }
    confined::failure(status, said).unwrap_or_else(|cause| {
        let is_device = |line: &String| {
            line.contains("Cannot mknod")
                || (line.contains("failed to create") && line.contains(" device "))
        };
        if said.iter().any(is_device) {
            return Error::InvalidArgument(format!(
                "the archive has device nodes outside of /dev, which are refused: {cause}"
            ));
        }
        Error::InvalidArgument(format!("the archive cannot be unpacked: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::worker::NOT_CONFINED;

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
