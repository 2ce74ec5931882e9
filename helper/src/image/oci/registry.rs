//! Images of registries: fetched part by part, of which those that the cache has are kept.

use super::super::cache::{self, RegistryRecord};
use super::super::download::turn;
use super::super::fetch::{Fetched, Fetcher, Wanted};
use super::super::outside::ImageConfig;
use super::{
    Blob, Blobs, Document, Error, File, Freshness, ImageId, MOST_DOCUMENT, OciImage, OciRequest,
    Result, Server, Work, Workers, Workshop, files, resolve, sha256, understand,
};

/// The kinds of documents that are understood.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// The most bytes of a layer; the disk's free space is less, mostly.
const MOST_LAYER: u64 = 256 << 30;

/// A repository of a registry.
struct Repository<'a, W> {
    fetcher: Fetcher<'a, W>,
    id: &'a ImageId,
    workshop: Workshop,
    /// What is in the cache.
    old: Option<RegistryRecord>,
}

/// The image, from the cache if that has what the registry has now.
pub(super) async fn obtain(
    workers: &impl Workers,
    server: &Server,
    id: &ImageId,
    request: &OciRequest,
    work: &Work,
) -> Result<OciImage> {
    work.stage("looking for the image");
    let pinned = id.release.strip_prefix("sha256:");
    if pinned.is_none() && !request.untrusted {
        return Err(Error::VerificationFailed(format!(
            "nothing vouches for what a registry has under the tag {}: name the image by its digest (sha256:…) as 'release', or allow it with the option 'untrusted'",
            id.release
        )));
    }
    let _lock = turn(id, work).await?;
    let workshop = Workshop::of(id);
    files::create_dirs(&workshop.path, 0o700)
        .map_err(|error| Error::path("making", &workshop.path, &error))?;
    let cached = match cache::open_layers(id).filter(|(record, _)| record.server == server.url()) {
        Some((record, files)) if are_whole(&record, &files, work).await? => Some((record, files)),
        _ => None,
    };
    let asks = match request.freshness {
        Freshness::Cached => false,
        Freshness::Newest => true,
        Freshness::Usual => pinned.is_none() || cached.is_none(),
    };
    let found = if asks {
        let repository = Repository {
            fetcher: Fetcher {
                workers,
                server,
                place: &workshop.path.clone(),
                work,
            },
            id,
            workshop,
            old: cached.map(|(record, _)| record),
        };
        repository.fetch(request, pinned).await?;
        cache::open_layers(id)
    } else {
        cached
    };
    let (record, files) = found.ok_or_else(|| {
        Error::NotFound(format!(
            "there is no image {id} of {} in the cache; leave the option 'cache' out",
            server.url()
        ))
    })?;
    cache::touch_layers(id)?;
    Ok(OciImage::new(record.config, &record.layers, files))
}

/// Whether the disk has kept the layers as they were.
async fn are_whole(record: &RegistryRecord, files: &[File], work: &Work) -> Result<bool> {
    for (blob, file) in record.layers.iter().zip(files) {
        if sha256(file, work).await? != blob.sha256 {
            work.log("an image in the cache is damaged; it is downloaded again");
            return Ok(false);
        }
    }
    Ok(true)
}

impl<W: Workers> Repository<'_, W> {
    async fn fetch(&self, request: &OciRequest, pinned: Option<&str>) -> Result<()> {
        let work = self.fetcher.work;
        let path = format!("manifests/{}", self.id.release);
        let (manifest, sum) = self.document(&path, pinned).await?;
        if self.old.as_ref().is_some_and(|old| old.manifest == sum) {
            return Ok(());
        }
        let first = understand(self.fetcher.workers, &manifest).await?;
        let (config, layers) = self.follow(first, request).await?;
        for layer in &layers {
            self.blob(layer, work).await?;
        }
        let record = RegistryRecord {
            server: self.fetcher.server.url().to_owned(),
            manifest: sum,
            config,
            layers,
        };
        self.workshop.publish_layers(&record)
    }

    async fn follow(
        &self,
        first: Document,
        request: &OciRequest,
    ) -> Result<(ImageConfig, Vec<Blob>)> {
        let documents = Documents(self);
        resolve(
            self.fetcher.workers,
            &documents,
            first,
            request,
            self.fetcher.work,
        )
        .await
    }

    /// A document by its path, with its checksum, which is that which was promised.
    async fn document(&self, path: &str, promised: Option<&str>) -> Result<(File, String)> {
        let file = self.workshop.file("document")?;
        let whole = format!("v2/{}/{path}", self.id.distribution);
        let wanted = Wanted {
            path: &whole,
            limit: MOST_DOCUMENT,
            accept: if path.starts_with("manifests/") {
                MANIFESTS
            } else {
                ""
            },
            ..Wanted::default()
        };
        if self.fetcher.fetch(&wanted, &file).await? == Fetched::Missing {
            return Err(self.not_there());
        }
        let sum = sha256(&file, self.fetcher.work).await?;
        match promised {
            Some(promised) if promised != sum => Err(self.changed(&whole)),
            _ => Ok((file, sum)),
        }
    }

    fn not_there(&self) -> Error {
        Error::NotFound(format!(
            "{} has no image {}:{}, or shows it to those alone whom it knows",
            self.fetcher.server.url(),
            self.id.distribution,
            self.id.release
        ))
    }

    fn changed(&self, path: &str) -> Error {
        Error::VerificationFailed(format!(
            "{} is not what its checksum says; it may have been changed on its way, so nothing was used",
            self.fetcher.server.file(path)
        ))
    }
}

impl<W: Workers> Blobs for Repository<'_, W> {
    async fn blob(&self, blob: &Blob, work: &Work) -> Result<File> {
        let has = |old: &RegistryRecord| old.layers.iter().any(|l| l.sha256 == blob.sha256);
        if self.old.as_ref().is_some_and(has) {
            self.workshop.adopt(&blob.sha256)?;
            return self.workshop.file(&blob.sha256);
        }
        let file = self.workshop.file(&blob.sha256)?;
        let path = format!("v2/{}/blobs/sha256:{}", self.id.distribution, blob.sha256);
        // What is there from before may be whole, a part, or rubbish.
        for resume in [true, false] {
            let length = file.metadata().map_or(0, |found| found.len());
            if resume && length == 0 {
                continue;
            }
            if length != blob.size || blob.size == 0 {
                let wanted = Wanted {
                    path: &path,
                    limit: blob.size.min(MOST_LAYER),
                    resume,
                    shown: true,
                    ..Wanted::default()
                };
                if self.fetcher.fetch(&wanted, &file).await? == Fetched::Missing {
                    return Err(self.not_there());
                }
            }
            if sha256(&file, work).await? == blob.sha256 {
                return Ok(file);
            }
            file.set_len(0)
                .map_err(|error| Error::io("emptying a file", &error))?;
        }
        Err(self.changed(&path))
    }
}

/// The documents of a repository: manifests have another place than the rest.
struct Documents<'a, 'b, W>(&'a Repository<'b, W>);

impl<W: Workers> Blobs for Documents<'_, '_, W> {
    async fn blob(&self, blob: &Blob, _work: &Work) -> Result<File> {
        let place = match blob.kind.contains("manifest") || blob.kind.contains("index") {
            true => "manifests",
            false => "blobs",
        };
        let path = format!("{place}/sha256:{}", blob.sha256);
        Ok(self.0.document(&path, Some(&blob.sha256)).await?.0)
    }
}
