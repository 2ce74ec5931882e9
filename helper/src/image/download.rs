//! Images of servers: fetched when the cache has none that will do.

use super::cache::{self, Cached, ROOTFS, Record, Stamp, Workshop};
use super::catalog::checksums;
use super::confined::Workers;
use super::fetch::{self, Fetched, Fetcher, Wanted};
use super::id::ImageId;
use super::lists::{Catalog, MOST_SUMS, catalog};
use super::metadata::Metadata;
use super::outside::Entry;
use super::server::Server;
use super::squash::{self, SQUASHED};
use super::unpack::{self, Target};
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::work::Work;
use gantry_core::idmap::IdMaps;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The texts of an image.
const META: &str = "meta.tar.xz";
/// The checksums of a build's files.
const SUMS: &str = "SHA256SUMS";
/// The images for Incus and LXD, which lie beside, and what in them says which they are.
const TWINS: [&str; 2] = ["incus.tar.xz", "lxd.tar.xz"];
const PROPERTIES: &str = "metadata.yaml";
/// The most bytes of the texts.
const MOST_META: u64 = 64 << 20;
/// The most bytes of a root file system; the disk's free space is less, mostly.
const MOST_ROOTFS: u64 = 256 << 30;
/// How often it is looked whether another download of the same image has ended.
const TURN: Duration = Duration::from_millis(200);
/// Which copy will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The cached one until it expires, as LXC's template has it.
    #[default]
    Usual,
    /// The cached one, whatever its age; nothing is fetched.
    Cached,
    /// What the server has now.
    Newest,
}

/// An image to have.
#[derive(Debug, Clone)]
pub(crate) struct ImageRequest {
    /// Which.
    pub(crate) id: ImageId,
    /// Whose.
    pub(crate) server: Server,
    /// How new.
    pub(crate) freshness: Freshness,
    /// Also without a signature.
    pub(crate) untrusted: bool,
}

/// What a file is to be, and who says so.
#[derive(Debug, Clone)]
struct Sum {
    sha256: String,
    signed: bool,
}

/// Fetches what images are made of.
struct Download<'a, W> {
    request: &'a ImageRequest,
    fetcher: Fetcher<'a, W>,
    workshop: Workshop,
}

/// The image, from the cache or from the server.
///
/// # Errors
/// `VerificationFailed` when it is not what was signed, or was not signed and that was not
/// allowed; `NotFound` when the server has none; what the network's faults are.
pub(crate) async fn obtain(
    workers: &impl Workers,
    request: &ImageRequest,
    work: &Work,
) -> Result<Cached> {
    work.stage("looking for the image");
    let _lock = turn(&request.id, work).await?;
    let workshop = Workshop::of(&request.id);
    let lists = Workshop::lists();
    files::create_dirs(&lists, 0o700).map_err(|error| Error::path("making", &lists, &error))?;
    cache::expire()?;
    let fetcher = Fetcher {
        workers,
        server: &request.server,
        place: &lists,
        work,
    };
    let download = Download {
        request,
        fetcher,
        workshop,
    };
    let image = download.run().await?;
    image.touch()?;
    Ok(image)
}

/// Waits until nobody else works on the image.
pub(super) async fn turn(id: &ImageId, work: &Work) -> Result<FileLock> {
    loop {
        if let Some(lock) = Workshop::lock(id)? {
            return Ok(lock);
        }
        work.stage("waiting for another download of the image");
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            () = work.cancelled() => work.check()?,
        }
    }
}

impl<W: Workers> Download<'_, W> {
    async fn run(&self) -> Result<Cached> {
        let (request, work) = (self.request, self.fetcher.work);
        let cached = cache::open(&request.id)?;
        let mut usable = cached.filter(|image| self.is_allowed(image));
        if let Some(image) = &mut usable
            && !self.is_whole(image).await?
        {
            usable = None;
        }
        let asks = match request.freshness {
            Freshness::Usual => usable.as_ref().is_none_or(Cached::has_expired),
            Freshness::Cached => false,
            Freshness::Newest => true,
        };
        if !asks {
            return usable.take().ok_or_else(|| {
                Error::NotFound(format!(
                    "there is no image {} of {} in the cache that may be used; download it",
                    request.id,
                    request.server.url()
                ))
            });
        }
        let catalog = catalog(self.fetcher.workers, &request.server, work).await?;
        let entry = catalog
            .entries
            .iter()
            .find(|entry| request.id.is(entry))
            .ok_or_else(|| self.not_there(&catalog))?;
        if let Some(image) = usable.take_if(|image| image.serial == entry.serial) {
            return Ok(image);
        }
        if let Some(image) = usable.take_if(|image| is_later(&image.serial, &entry.serial)) {
            work.log(format!(
                "{} has an older build ({}) than the cache ({}), which is kept; delete the image to go back",
                request.server.url(),
                entry.serial,
                image.serial
            ));
            return Ok(image);
        }
        self.fetch(entry, catalog.signed).await?;
        let image = cache::open(&request.id)?;
        image.ok_or_else(|| Error::Failed(format!("the image {} has gone again", request.id)))
    }

    /// Whether what is known of an image's origin will do.
    fn is_allowed(&self, image: &Cached) -> bool {
        let untrusted = self.request.untrusted;
        match &image.record {
            Some(record) => {
                record.server == self.request.server.url() && (record.signed || untrusted)
            }
            None => {
                untrusted && Server::parse("").is_ok_and(|server| server == self.request.server)
            }
        }
    }

    /// Whether the disk has kept it as it was: read whole only if somebody has written to
    /// it since that was done last. What unpacks it looks for damage, too.
    async fn is_whole(&self, image: &mut Cached) -> Result<bool> {
        let Some(record) = &image.record else {
            return Ok(true);
        };
        let stamp = Stamp::of(&image.rootfs)?;
        if record.stamp == Some(stamp) {
            return Ok(true);
        }
        let whole = sha256(&image.rootfs, self.fetcher.work).await? == record.sha256;
        if whole {
            image.note_whole(&self.request.id, stamp)?;
        } else {
            self.fetcher.work.log(format!(
                "the image {} in the cache is damaged; it is downloaded again",
                self.request.id
            ));
        }
        Ok(whole)
    }

    fn not_there(&self, catalog: &Catalog) -> Error {
        let id = &self.request.id;
        let mut near: Vec<&str> = catalog
            .entries
            .iter()
            .filter(|entry| {
                entry.distribution == id.distribution && entry.architecture == id.architecture
            })
            .map(|entry| entry.release.as_str())
            .collect();
        near.dedup();
        let hint = match near.as_slice() {
            [] => "ListRemoteImages tells what it has".to_owned(),
            releases => format!("of {} it has {}", id.distribution, releases.join(", ")),
        };
        Error::NotFound(format!(
            "{} has no image {id}; {hint}",
            self.request.server.url()
        ))
    }

    async fn fetch(&self, entry: &Entry, list_signed: bool) -> Result<()> {
        let (request, work) = (self.request, self.fetcher.work);
        self.workshop.prepare(request.server.url(), &entry.serial)?;
        let sums = self.sums(entry, list_signed).await?;
        let trusted = |name: &str| sums.get(name).is_some_and(|sum| sum.signed);
        let root = match sums.contains_key(SQUASHED) && !sums.contains_key(ROOTFS) {
            true => SQUASHED,
            false => ROOTFS,
        };
        if !request.untrusted && !trusted(root) {
            return Err(Error::VerificationFailed(format!(
                "the image {} of {} is not signed with a key that this host knows, or not as this image; put the server's key in /etc/gantry/image-keys, or allow it with the option 'untrusted'",
                request.id,
                request.server.url()
            )));
        }
        let sha256 = self.rootfs(entry, root, sums.get(root)).await?;
        let meta = match self.file(entry, META, MOST_META, sums.get(META)).await? {
            Some(_) if request.untrusted || trusted(META) => self.unpack_meta().await?,
            Some(_) => {
                return Err(Error::VerificationFailed(format!(
                    "{META} of the image {} is not signed; allow it with the option 'untrusted'",
                    request.id
                )));
            }
            None => {
                work.log(format!(
                    "{} has no {META} of this image: the config is that of every container",
                    request.server.url()
                ));
                self.workshop.path.join("meta")
            }
        };
        let record = Record {
            server: request.server.url().to_owned(),
            signed: trusted(root),
            sha256,
            stamp: None,
        };
        self.workshop.publish(&meta, &entry.serial, &record)
    }

    /// The checksums of a build. Those that are signed are signed for this image.
    async fn sums(&self, entry: &Entry, list_signed: bool) -> Result<BTreeMap<String, Sum>> {
        let path = format!("{}/{SUMS}", entry.folder);
        let mut sums = BTreeMap::new();
        if let Some(file) = self.fetcher.small(&path).await? {
            let mut signed = self
                .fetcher
                .is_signed(&file.file, &format!("{path}.asc"))
                .await?;
            fetch::rewind(&file.file)?;
            let bytes = files::read_bounded(&file.file, MOST_SUMS);
            let bytes = bytes.map_err(|error| Error::io("reading checksums", &error))?;
            let found = checksums(&String::from_utf8_lossy(&bytes));
            signed = signed && self.are_of(entry, &found).await?;
            let sums_found = found.into_iter();
            sums.extend(sums_found.map(|(name, sha256)| (name, Sum { sha256, signed })));
        }
        for (name, listed) in &entry.files {
            if list_signed || !sums.contains_key(name) {
                sums.insert(
                    name.clone(),
                    Sum {
                        sha256: listed.sha256.clone(),
                        signed: list_signed,
                    },
                );
            }
        }
        Ok(sums)
    }

    /// Whether signed checksums are those of this build of this image: they name files
    /// without their folders, so that those of another image could lie here. The twin of
    /// the image for Incus says which it is, and its checksum is among them.
    ///
    /// # Errors
    /// `VerificationFailed` when they are those of another.
    async fn are_of(&self, entry: &Entry, sums: &BTreeMap<String, String>) -> Result<bool> {
        let work = self.fetcher.work;
        for name in TWINS {
            let Some(sum) = sums.get(name) else {
                continue;
            };
            let path = format!("{}/{name}", entry.folder);
            let Some(twin) = self.fetcher.small(&path).await? else {
                continue;
            };
            if sha256(&twin.file, work).await? != *sum {
                return Err(Error::VerificationFailed(format!(
                    "{} is not what its checksum says; it may have been changed on its way, so nothing was used",
                    self.request.server.file(&path)
                )));
            }
            let place = self.workshop.path.join("twin");
            self.unpack(twin.file.try_clone(), &place).await?;
            let told = files::open_regular(&place.join(PROPERTIES));
            let told = told.map_err(|error| Error::path("opening", &place, &error))?;
            let told = fetch::read_properties(self.fetcher.workers, &told.0).await?;
            let wanted = [
                ("os", &entry.distribution),
                ("release", &entry.release),
                ("architecture", &entry.architecture),
                ("variant", &entry.variant),
                ("serial", &entry.serial),
            ];
            let differs = |(key, value): &(&str, &String)| {
                let other = told.get(*key);
                other.is_none_or(|other| !other.eq_ignore_ascii_case(value))
            };
            if let Some((key, value)) = wanted.into_iter().find(differs) {
                return Err(Error::VerificationFailed(format!(
                    "what is signed in {} is of another image or build: its {key} is {}, not {value}; nothing was used",
                    self.request.server.file(&entry.folder),
                    told.get(key).map_or("missing", String::as_str)
                )));
            }
            return Ok(true);
        }
        work.log(format!(
            "{} are signed, but nothing signed says of which image they are ({} would)",
            self.request
                .server
                .file(&format!("{}/{SUMS}", entry.folder)),
            TWINS[0]
        ));
        Ok(false)
    }

    /// Has the root file system in place, which is `name` there, from the cached image if
    /// that is the same. Gives its checksum.
    async fn rootfs(&self, entry: &Entry, name: &str, sum: Option<&Sum>) -> Result<String> {
        let work = self.fetcher.work;
        if let (Some(sum), Some(image)) = (sum, cache::open(&self.request.id)?)
            && sha256(&image.rootfs, work).await? == sum.sha256
        {
            self.workshop.adopt(ROOTFS)?;
            return Ok(sum.sha256.clone());
        }
        if name == SQUASHED {
            squash::program()?;
        }
        let fetched = self.file(entry, name, MOST_ROOTFS, sum).await?;
        let fetched = fetched.ok_or_else(|| {
            Error::NotFound(format!(
                "{} has no {name} of the image {}; it may be for other programs only",
                self.request.server.url(),
                self.request.id
            ))
        })?;
        if name != SQUASHED {
            return Ok(fetched);
        }
        let (workers, workshop) = (self.fetcher.workers, &self.workshop);
        let archive = || workshop.file(ROOTFS);
        squash::to_archive(workers, &workshop.path, archive()?, work).await?;
        sha256(&archive()?, work).await
    }

    /// Has a file of the build in the workshop, and gives its checksum, which is that which
    /// was promised.
    async fn file(
        &self,
        entry: &Entry,
        name: &str,
        limit: u64,
        sum: Option<&Sum>,
    ) -> Result<Option<String>> {
        let called = entry.files.get(name).map_or(name, |listed| &listed.name);
        let path = format!("{}/{called}", entry.folder);
        let file = self.workshop.file(name)?;
        // Only a checksum tells whether the parts are of one file.
        let mut resumed = sum.is_some() && file.metadata().is_ok_and(|found| found.len() > 0);
        loop {
            let wanted = Wanted {
                path: &path,
                limit,
                resume: resumed,
                tag: None,
                shown: true,
                ..Wanted::default()
            };
            let fetched = self.fetcher.fetch(&wanted, &file).await?;
            if fetched == Fetched::Missing {
                return Ok(None);
            }
            let found = sha256(&file, self.fetcher.work).await?;
            match sum {
                Some(sum) if sum.sha256 != found => {}
                _ => return Ok(Some(found)),
            }
            file.set_len(0)
                .map_err(|error| Error::io("emptying a file", &error))?;
            // What was there from before may be of another time.
            if !resumed {
                return Err(Error::VerificationFailed(format!(
                    "{} is not what its checksum says; it may have been changed on its way, so nothing was used",
                    self.request.server.file(&path)
                )));
            }
            resumed = false;
        }
    }

    async fn unpack_meta(&self) -> Result<PathBuf> {
        let meta = self.workshop.path.join("meta");
        self.unpack(Ok(self.workshop.file(META)?), &meta).await?;
        // Refused now, not when the next container is made.
        Metadata::load(&meta)?;
        Ok(meta)
    }

    /// Unpacks an archive of texts in an empty directory of the workshop.
    async fn unpack(&self, archive: io::Result<File>, place: &Path) -> Result<()> {
        let failed = |error: io::Error| Error::path("making", place, &error);
        files::remove(place).map_err(failed)?;
        files::create_dirs(place, 0o700).map_err(failed)?;
        unpack::unpack(
            self.fetcher.workers,
            archive.map_err(failed)?.into(),
            Target::directory(place),
            &IdMaps::default(),
            &[],
            &self.fetcher.work.unshown(),
        )
        .await
    }
}

/// Whether a build is known to be later than another, by their dates.
fn is_later(build: &str, other: &str) -> bool {
    let is_dated = |build: &str| build.bytes().take(8).all(|byte| byte.is_ascii_digit());
    build.len() == other.len() && is_dated(build) && is_dated(other) && build > other
}

/// The SHA-256 of a file, which is at its beginning afterwards.
pub(super) async fn sha256(file: &File, work: &Work) -> Result<String> {
    let failed = |error: io::Error| Error::io("reading what was fetched", &error);
    let mut file = file.try_clone().map_err(failed)?;
    let work = work.clone();
    let hash = move || -> Result<String> {
        fetch::rewind(&file)?;
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            work.check()?;
            let count = file.read(&mut chunk).map_err(failed)?;
            if count == 0 {
                break;
            }
            hash.update(chunk.get(..count).unwrap_or_default());
        }
        fetch::rewind(&file)?;
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    };
    let lost = |error: tokio::task::JoinError| {
        Error::Failed(format!("a part of the work was lost: {error}"))
    };
    tokio::task::spawn_blocking(hash).await.map_err(lost)?
}
