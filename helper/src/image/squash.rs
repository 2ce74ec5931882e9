//! Root file systems that a server has as images of squashfs only: made the archive that the
//! cache keeps of every image, once.

use super::confined::{Confined, Workers, all_ids, blocking};
use super::pack::{self, Plan, Store};
use super::sink::Sink;
use super::stream::Compression;
use super::unpack::{self, Target};
use crate::error::{Error, Result};
use crate::linux::worker::{DIRECTORY, UNSQUASHER};
use crate::linux::{files, tool};
use crate::work::Work;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The root file system as an image.
pub(super) const SQUASHED: &str = "rootfs.squashfs";
/// The container gets a /dev of its own.
const DEVICES: &str = "dev/*";

/// The program that unpacks such images.
///
/// # Errors
/// `Unsupported` when it is missing.
pub(super) fn program() -> Result<PathBuf> {
    tool::find("unsquashfs").ok_or_else(|| {
        Error::Unsupported(
            "the server has the image as squashfs only; install squashfs-tools".to_owned(),
        )
    })
}

/// Makes an archive of an image in `workshop`, which only root may enter.
///
/// # Errors
/// `InvalidArgument` if it is none, or has what a container must not: device nodes outside of
/// /dev, owners that no container has.
pub(super) async fn to_archive(
    workers: &impl Workers,
    workshop: &Path,
    archive: File,
    work: &Work,
) -> Result<()> {
    let place = workshop.join("root");
    let failed = |error: io::Error| Error::path("making", &place, &error);
    files::remove(&place)
        .and_then(|()| files::create_dirs(&place, 0o700))
        .map_err(failed)?;
    unsquash(workers, &workshop.join(SQUASHED), &place, work).await?;
    let mut packer = pack::packer(Compression::Xz)?;
    // It is for this host's disk, and somebody waits for it.
    packer.push("-1".to_owned());
    let plan = Plan {
        root: place.clone(),
        tar: pack::tar()?,
        packer,
        manifest: None,
        owner: (0, 0),
        files: Vec::new(),
        trees: vec![(PathBuf::new(), Store::Tree(place.clone()))],
        members: vec![".".to_owned()],
    };
    archive.set_len(0).map_err(failed)?;
    let sink = Sink::open(archive.into())?;
    pack::pack(workers, &plan, &[], &all_ids(), sink, work).await?;
    let left = [place, workshop.join(SQUASHED)];
    blocking(move || {
        for path in left {
            files::remove(&path).map_err(|error| Error::path("removing", &path, &error))?;
        }
        Ok(())
    })
    .await
}

async fn unsquash(workers: &impl Workers, image: &Path, place: &Path, work: &Work) -> Result<()> {
    work.stage("unpacking");
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::InvalidArgument(format!("{} is not UTF-8", path.display())))
    };
    let (program, image, target) = (text(&program()?)?, text(image)?, text(place)?);
    let args = [UNSQUASHER, DIRECTORY, &target, &program, &image, DEVICES];
    let stdin = File::open("/dev/null").map_err(|error| Error::io("starting a worker", &error))?;
    let mut worker = Confined::start(workers, &args, stdin.into(), None, &[], work)?;
    unpack::see_through(&mut worker, Target::directory(place), work).await?;
    match worker.ended().await {
        (0, _) => Ok(()),
        (status, said) => Err(unpack::failure(status, &said)),
    }
}
