//! Images of OCI: a layout in a directory or an archive (the image specification's
//! image-layout.md), or of a registry (the distribution specification).

pub(crate) mod document;
mod registry;
mod settle;

use super::cache::Workshop;
use super::confined::Workers;
use super::download::{Freshness, sha256};
use super::fetch;
use super::id::ImageId;
use super::outside::{Blob, Choice, Document, ImageConfig};
use super::server::Server;
use super::stream::Stream;
use super::unpack::{self, Layer, Target};
use crate::error::{Error, Result};
use crate::linux::{files, memfd};
use crate::work::Work;
use gantry_core::idmap::IdMaps;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

pub(crate) use settle::Settled;

/// The registry of those who name none.
pub(crate) const DEFAULT: &str = "https://registry-1.docker.io";
/// What it is called in names of images.
const NICKNAMES: [&str; 3] = ["docker.io", "https://docker.io", "https://index.docker.io"];
/// The most bytes of a document.
const MOST_DOCUMENT: u64 = 4 << 20;
/// How many indexes may lead to an image.
const MOST_INDEXES: usize = 4;

/// Which image to make a container of.
#[derive(Debug)]
pub(crate) struct OciRequest {
    /// Where it is; none: what the caller gave has it.
    pub(crate) registry: Option<Server>,
    /// Which; in a registry alone all of it counts.
    pub(crate) name: Name,
    /// How new.
    pub(crate) freshness: Freshness,
    /// Also by a tag, which nothing vouches for.
    pub(crate) untrusted: bool,
}

/// How an image is called.
#[derive(Debug)]
pub(crate) enum Name {
    /// In a registry.
    Registry(ImageId),
    /// In a layout, by its tag and its architecture; the empty tag is any.
    Layout { tag: String, architecture: String },
}

/// An image that is at hand.
#[derive(Debug)]
pub(crate) struct OciImage {
    /// What it runs.
    pub(crate) config: ImageConfig,
    layers: Vec<Layer>,
}

/// The registry of this address; the empty text is [`DEFAULT`].
pub(crate) fn registry(text: &str) -> Result<Server> {
    match text {
        "" => Server::parse(DEFAULT),
        text if NICKNAMES.contains(&text) => Server::parse(DEFAULT),
        text => Server::parse(text),
    }
}

/// Refuses what is neither a layout nor an archive of one.
pub(crate) fn check(given: &OwnedFd) -> Result<()> {
    if is_directory(given)? {
        return Ok(());
    }
    Stream::check(given).map(drop)
}

fn is_directory(fd: &OwnedFd) -> Result<bool> {
    let failed = |error: rustix::io::Errno| Error::io("looking at the image", &error.into());
    let stat = fstat(fd).map_err(failed)?;
    let flags = rustix::fs::fcntl_getfl(fd).map_err(failed)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory && flags.contains(OFlags::PATH) {
        return Err(Error::InvalidArgument(
            "the directory is not open for reading; open it without O_PATH".to_owned(),
        ));
    }
    Ok(is_directory)
}

/// Where the parts of an image are.
trait Blobs: Sync {
    /// A part, which is what its checksum says, and which nobody else can change.
    fn blob(&self, blob: &Blob, work: &Work) -> impl Future<Output = Result<File>> + Send;
}

/// The image that an index or a manifest leads to.
async fn resolve(
    workers: &impl Workers,
    blobs: &impl Blobs,
    first: Document,
    request: &OciRequest,
    work: &Work,
) -> Result<(ImageConfig, Vec<Blob>)> {
    let mut document = first;
    for _ in 0..MOST_INDEXES {
        match document {
            Document::Index(choices) => {
                let blob = request.name.choose(choices)?;
                document = read(workers, blobs, &blob, work).await?;
            }
            Document::Manifest { config, layers } => {
                let Document::Image(config) = read(workers, blobs, &config, work).await? else {
                    return Err(no_image("it runs nothing"));
                };
                if config.layers.len() != layers.len() {
                    return Err(no_image("its layers are not those it should have"));
                }
                if let Some(other) = layers.iter().find(|layer| !is_tar(&layer.kind)) {
                    return Err(Error::Unsupported(format!(
                        "a layer of the image is of the kind {}; only those in tar archives can be unpacked",
                        other.kind
                    )));
                }
                return Ok((config, layers));
            }
            Document::Image(_) => break,
        }
    }
    Err(no_image("no manifest is where one should be"))
}

fn is_tar(kind: &str) -> bool {
    [".tar", ".tar+gzip", ".tar+zstd", ".tar.gzip", ".tar.zstd"]
        .iter()
        .any(|end| kind.ends_with(end))
}

fn no_image(why: &str) -> Error {
    Error::InvalidArgument(format!("this is no image of a container: {why}"))
}

/// Reads a document.
async fn read(
    workers: &impl Workers,
    blobs: &impl Blobs,
    blob: &Blob,
    work: &Work,
) -> Result<Document> {
    if blob.size > MOST_DOCUMENT {
        return Err(no_image("one of its documents is too long"));
    }
    understand(workers, &blobs.blob(blob, work).await?).await
}

async fn understand(workers: &impl Workers, file: &File) -> Result<Document> {
    let found = fetch::read_document(workers, file).await?;
    found
        // The worker has read what nobody trusts.
        .filter(Document::is_sound)
        .ok_or_else(|| no_image("one of its documents makes no sense"))
}

impl Name {
    fn architecture(&self) -> &str {
        match self {
            Self::Registry(id) => &id.architecture,
            Self::Layout { architecture, .. } => architecture,
        }
    }

    fn tag(&self) -> &str {
        match self {
            Self::Registry(_) => "",
            Self::Layout { tag, .. } => tag,
        }
    }

    /// The image of an index that is meant.
    fn choose(&self, choices: Vec<Choice>) -> Result<Blob> {
        let tag = self.tag();
        // Images of one name for several architectures are in an index of their own, which
        // has no names.
        let is_named = |choice: &&Choice| {
            choice.name == tag
                || choice.name.is_empty()
                || choice.name.ends_with(&format!(":{tag}"))
        };
        let named: Vec<&Choice> = choices
            .iter()
            .filter(|choice| tag.is_empty() || is_named(choice))
            .collect();
        if named.is_empty() {
            let names: Vec<&str> = choices.iter().map(|choice| choice.name.as_str()).collect();
            return Err(Error::NotFound(format!(
                "there is no image '{}'; there are {}",
                tag.escape_debug(),
                names.join(", ")
            )));
        }
        let platform = platform(self.architecture());
        let is_of = |choice: &&Choice| {
            let short = choice.platform.split('/').next().unwrap_or_default();
            choice.platform == platform || (short == platform && platform != "arm")
        };
        let fitting = named.iter().copied().filter(is_of);
        let any = named.iter().copied().filter(|c| c.platform.is_empty());
        let mut found: Vec<&Choice> = fitting.chain(any).collect();
        found.dedup_by(|a, b| a.blob.sha256 == b.blob.sha256);
        match found.as_slice() {
            [] => {
                let platforms: Vec<&str> = named.iter().map(|c| c.platform.as_str()).collect();
                Err(Error::NotFound(format!(
                    "there is no image for {}; there are those for {}",
                    self.architecture(),
                    platforms.join(", ")
                )))
            }
            [_, other, ..] if tag.is_empty() && !other.name.is_empty() => {
                let names: Vec<&str> = found.iter().map(|choice| choice.name.as_str()).collect();
                Err(Error::InvalidArgument(format!(
                    "there are several images; choose one with the option 'release': {}",
                    names.join(", ")
                )))
            }
            [first, ..] => Ok(first.blob.clone()),
        }
    }
}

/// What OCI, and Go, call an architecture that Debian calls so.
fn platform(architecture: &str) -> &str {
    match architecture {
        "armhf" => "arm/v7",
        "armel" => "arm/v5",
        "i386" => "386",
        "ppc64el" => "ppc64le",
        other => other,
    }
}

/// A layout in a directory.
struct Layout {
    directory: OwnedFd,
    /// Nobody else can change it.
    own: bool,
    /// Where copies are made.
    scratch: OwnedFd,
}

impl Layout {
    /// Opens a file below it, and nothing else.
    fn open(&self, path: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let file = rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve);
        let file = File::from(file.map_err(|error| match error {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => {
                Error::InvalidArgument(format!("this is no whole layout of OCI: {path} is missing"))
            }
            error => Error::path("opening", Path::new(path), &error.into()),
        })?);
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            _ => Err(no_image(&format!("{path} is no file"))),
        }
    }

    /// A copy that nobody else can change.
    fn copy(&self, file: &File, limit: u64) -> Result<File> {
        let failed = |error: io::Error| Error::io("copying a part of the image", &error);
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(&self.scratch, ".", flags, Mode::from_raw_mode(0o600));
        let mut copy = File::from(copy.map_err(|error| failed(error.into()))?);
        let copied = io::copy(&mut file.take(limit.saturating_add(1)), &mut copy);
        match copied.map_err(failed)? {
            bytes if bytes > limit => Err(no_image("a part of it is longer than it says")),
            _ => Ok(copy),
        }
    }
}

impl Blobs for Layout {
    async fn blob(&self, blob: &Blob, work: &Work) -> Result<File> {
        work.check()?;
        let file = self.open(&format!("blobs/sha256/{}", blob.sha256))?;
        let file = if self.own {
            file
        } else {
            self.copy(&file, blob.size)?
        };
        if sha256(&file, work).await? != blob.sha256 {
            return Err(Error::VerificationFailed(format!(
                "the part sha256:{} of the image is not what its checksum says; it is damaged or was changed",
                blob.sha256
            )));
        }
        Ok(file)
    }
}

/// The image in what a caller gave: a directory, or an archive, which is unpacked in the
/// empty directory `scratch`.
pub(crate) async fn open(
    workers: &impl Workers,
    given: OwnedFd,
    scratch: &Path,
    request: &OciRequest,
    work: &Work,
) -> Result<OciImage> {
    let own = !is_directory(&given)?;
    let place = files::open_directory(scratch);
    let place = place.map_err(|error| Error::path("opening", scratch, &error))?;
    let mut directory = given;
    if own {
        let target = Target::directory(scratch);
        unpack::unpack(workers, directory, target, &IdMaps::default(), &[], work).await?;
        directory = place
            .try_clone()
            .map_err(|error| Error::path("opening", scratch, &error))?;
    }
    let layout = Layout {
        directory,
        own,
        scratch: place,
    };
    work.stage("reading the image");
    let index = layout.open("index.json")?;
    let text = files::read_bounded(&index, MOST_DOCUMENT);
    let text = text.map_err(|error| Error::io("reading index.json", &error))?;
    let index = memfd::sealed_bytes("index", &text)
        .map_err(|error| Error::io("reading index.json", &error))?;
    let index = understand(workers, &index.into()).await?;
    let (config, blobs) = resolve(workers, &layout, index, request, work).await?;
    let mut layers = Vec::new();
    for blob in &blobs {
        layers.push(layout.blob(blob, work).await?);
    }
    Ok(OciImage::new(config, &blobs, layers))
}

/// The image of a registry, or of the cache.
pub(crate) async fn obtain(
    workers: &impl Workers,
    server: &Server,
    id: &ImageId,
    request: &OciRequest,
    work: &Work,
) -> Result<OciImage> {
    registry::obtain(workers, server, id, request, work).await
}

impl OciImage {
    fn new(config: ImageConfig, blobs: &[Blob], files: Vec<File>) -> Self {
        let layers = blobs.iter().zip(files).zip(&config.layers);
        let layers = layers.map(|((blob, file), sum)| Layer {
            file,
            size: blob.size,
            sha256: sum.clone(),
        });
        Self {
            layers: layers.collect(),
            config,
        }
    }

    /// Unpacks its layers into what is empty, and leaves its config.
    pub(crate) async fn unpack(
        self,
        workers: &impl Workers,
        target: Target<'_>,
        maps: &IdMaps,
        left_out: &[&str],
        work: &Work,
    ) -> Result<ImageConfig> {
        let count = self.layers.len();
        work.total(self.layers.iter().map(|layer| layer.size).sum());
        let mut before = 0;
        for (number, layer) in self.layers.into_iter().enumerate() {
            work.stage(&format!("unpacking layer {} of {count}", number + 1));
            let size = layer.size;
            unpack::unpack_layer(workers, layer, target, maps, left_out, before, work).await?;
            before += size;
            work.bytes(before);
        }
        Ok(self.config)
    }
}
