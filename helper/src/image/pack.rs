//! Packing containers by a confined tar(1).

use super::confined::{self, Confined, Workers, blocking, flatten};
use super::sink::Sink;
use super::stream::Compression;
use crate::error::{Error, Result};
use crate::linux::memfd;
pub(crate) use crate::linux::packing::{Content, Plan, Store};
use crate::linux::worker::{PACKER, Report, widen};
use crate::work::Work;
use gantry_core::idmap::IdMaps;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::available_parallelism;
use tokio::task::JoinHandle;

/// The path of tar, for a [`Plan`].
pub(crate) fn tar() -> Result<String> {
    confined::tar().map(str::to_owned)
}

/// The program that packs, with its arguments, for a [`Plan`]: on all cores where it can.
pub(crate) fn packer(compression: Compression) -> Result<Vec<String>> {
    let Some(program) = confined::packer(compression)? else {
        return Ok(Vec::new());
    };
    // The worker has no /proc to count them in.
    let cores = available_parallelism().map_or(1, usize::from);
    let mut words = vec![program, "-c".to_owned()];
    if matches!(compression, Compression::Zstd | Compression::Xz) {
        words.extend(["-q".to_owned(), format!("-T{cores}")]);
    }
    if compression == Compression::Zstd {
        // A third less work than the usual third level, and still smaller than gzip's.
        words.push("-2".to_owned());
    }
    Ok(words)
}

/// Packs what the plan says, which names `mounts` by their numbers, into a client's file,
/// pipe or socket. Owners are written as the container sees them, by `maps`. Gives how many
/// bytes there are.
///
/// When this fails or is cancelled a client's file is as long as before; whoever reads
/// from a pipe has a part of an archive.
pub(crate) async fn pack(
    workers: &impl Workers,
    plan: &Plan,
    mounts: &[OwnedFd],
    maps: &IdMaps,
    sink: Sink,
    work: &Work,
) -> Result<u64> {
    work.stage("packing");
    let failed = |error: io::Error| Error::io("starting to pack", &error);
    let text = serde_json::to_vec(plan).map_err(|error| failed(error.into()))?;
    let stdin = memfd::sealed_bytes("plan", &text).map_err(failed)?;
    let (source, archive) = io::pipe().map_err(failed)?;
    widen(&archive);
    let mounts: Vec<BorrowedFd<'_>> = mounts.iter().map(AsFd::as_fd).collect();
    let archive = Some(archive.into());
    let mut worker = Confined::start(workers, &[PACKER], stdin, archive, &mounts, work)?;
    drop(mounts);
    let (for_pump, beginning) = (work.clone(), sink.beginning()?);
    let mut pump = tokio::spawn(blocking(move || sink.pump(source.into(), &for_pump)));
    let packed = match drive(&mut worker, &mut pump, maps, work).await {
        Ok(written) => match worker.ended().await {
            (0, _) => match written {
                Some(written) => return Ok(written),
                None => flatten((&mut pump).await),
            },
            (status, said) => Err(failure(status, &said)),
        },
        Err(error) => {
            worker.end().await;
            Err(error)
        }
    };
    if let (Err(_), Some(beginning)) = (&packed, beginning) {
        // The worker has ended, and with it what there is to write.
        if !pump.is_finished() {
            flatten((&mut pump).await).unwrap_or_default();
        }
        beginning.restore();
    }
    packed
}

/// Sees a worker through to its last report. Gives how many bytes have gone to the
/// client, if that is through.
async fn drive(
    worker: &mut Confined,
    pump: &mut JoinHandle<Result<u64>>,
    maps: &IdMaps,
    work: &Work,
) -> Result<Option<u64>> {
    let mut written = None;
    loop {
        tokio::select! {
            report = worker.report() => match report? {
                None => return Ok(written),
                Some(Report::Ready(_)) => worker.map(maps)?,
                Some(Report::Bytes(bytes)) => work.bytes(bytes),
                Some(Report::Total(total)) => work.total(total),
            },
            () = work.cancelled() => {
                return Err(Error::Cancelled("packing was cancelled".to_owned()));
            }
            result = &mut *pump, if written.is_none() => written = Some(flatten(result)?),
        }
    }
}

/// What a worker's failure means.
fn failure(status: i32, said: &[String]) -> Error {
    confined::failure(status, said).unwrap_or_else(|cause| {
        if said.iter().any(|line| line.contains("Permission denied")) {
            return Error::Failed(format!(
                "some files belong to nobody in the container, by its lxc.idmap ({cause}); give them an owner of the container's, or export with the format 'tar'"
            ));
        }
        Error::Failed(format!("the container cannot be packed: {cause}"))
    })
}
