//! What servers have, and the small files that come signed.

use super::cache::Workshop;
use super::confined::Workers;
use super::fetch::{self, Fetched, Fetcher, Wanted};
use super::outside::Entry;
use super::server::Server;
use super::worker::MOST_TEXT;
use crate::error::{Error, Result};
use crate::linux::files;
use crate::work::Work;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The most bytes of checksums and of a signature.
pub(super) const MOST_SUMS: u64 = 1 << 20;
/// Where servers keep their lists, in the layout of LXC's template and that of
/// simplestreams, and what the names of the signatures end in.
const LISTS: [(&str, &str); 2] = [
    ("meta/1.0/index-system", ".asc"),
    ("streams/v1/images.json", ".gpg"),
];
/// Where simplestreams names lists that are called otherwise.
const INDEX: &str = "streams/v1/index.json";

/// The images of a server.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) entries: Vec<Entry>,
    /// Whether the list is signed with a key of the server.
    pub(super) signed: bool,
}

/// What a server has. Fetched only if it has changed.
pub(crate) async fn catalog(
    workers: &impl Workers,
    server: &Server,
    work: &Work,
) -> Result<Catalog> {
    let place = Workshop::lists();
    files::create_dirs(&place, 0o700).map_err(|error| Error::path("making", &place, &error))?;
    let fetcher = Fetcher {
        workers,
        server,
        place: &place,
        work,
    };
    for (path, suffix) in LISTS {
        if let Some(list) = fetcher.list(path).await? {
            let signed = fetcher.is_signed(&list, &format!("{path}{suffix}")).await?;
            let entries = fetch::read(workers, &list).await?;
            return Ok(Catalog { entries, signed });
        }
    }
    let mut catalog = Catalog {
        entries: Vec::new(),
        signed: true,
    };
    let index = fetcher.list(INDEX).await?;
    let paths = match &index {
        Some(index) => fetch::read_index(workers, index).await?,
        None => Vec::new(),
    };
    let mut found = false;
    for path in paths {
        if let Some(list) = fetcher.list(&path).await? {
            found = true;
            catalog.signed &= fetcher.is_signed(&list, &format!("{path}.gpg")).await?;
            catalog.entries.extend(fetch::read(workers, &list).await?);
        }
    }
    if found {
        return Ok(catalog);
    }
    Err(Error::NotFound(format!(
        "{} is no image server: it has neither {}, {} nor {INDEX}",
        server.url(),
        LISTS[0].0,
        LISTS[1].0
    )))
}

impl<W: Workers> Fetcher<'_, W> {
    /// A server's list, kept with its ETag.
    async fn list(&self, path: &str) -> Result<Option<File>> {
        let name = format!("{}_{}", self.server.word(), path.replace('/', "_"));
        let (kept, tag_path) = (
            self.place.join(&name),
            self.place.join(format!("{name}.tag")),
        );
        let failed = |error: io::Error| Error::path("writing", &kept, &error);
        let tag = match kept.exists() {
            true => std::fs::read_to_string(&tag_path)
                .ok()
                .map(|tag| tag.trim().to_owned()),
            false => None,
        };
        let new = Temporary::new(self.place)?;
        let wanted = Wanted {
            path,
            limit: MOST_TEXT,
            resume: false,
            tag,
            shown: false,
            ..Wanted::default()
        };
        match self.fetch(&wanted, &new.file).await? {
            Fetched::Missing => return Ok(None),
            Fetched::Same => {}
            Fetched::Whole(tag) => {
                files::remove(&tag_path).map_err(failed)?;
                std::fs::rename(&new.path, &kept).map_err(failed)?;
                if let Some(tag) = tag {
                    files::replace(&tag_path, tag.as_bytes(), 0o600).map_err(failed)?;
                }
            }
        }
        let (file, _) = files::open_regular(&kept).map_err(failed)?;
        Ok(Some(file))
    }

    /// Whether a file is signed with a key of the server. Where there is no key or no
    /// signature, it is not; a wrong signature is an error.
    pub(super) async fn is_signed(&self, data: &File, signature: &str) -> Result<bool> {
        let Some(keys) = self.server.keys()? else {
            return Ok(false);
        };
        let Some(file) = self.small(signature).await? else {
            return Ok(false);
        };
        if fetch::is_signed(self.workers, data, &file.file, keys.as_fd()).await? {
            return Ok(true);
        }
        Err(Error::VerificationFailed(format!(
            "{} does not fit its signature by the keys of {}; somebody may have changed it, so nothing was used",
            self.server.file(
                signature
                    .rsplit_once('.')
                    .map_or(signature, |(path, _)| path)
            ),
            self.server.url()
        )))
    }

    /// A small file; none where the server has none.
    pub(super) async fn small(&self, path: &str) -> Result<Option<Temporary>> {
        let new = Temporary::new(self.place)?;
        let wanted = Wanted {
            path,
            limit: MOST_SUMS,
            resume: false,
            tag: None,
            shown: false,
            ..Wanted::default()
        };
        Ok(match self.fetch(&wanted, &new.file).await? {
            Fetched::Whole(_) => Some(new),
            Fetched::Same | Fetched::Missing => None,
        })
    }
}

/// A file that goes when it is dropped, if it has not been renamed.
pub(super) struct Temporary {
    path: PathBuf,
    pub(super) file: File,
}

impl Temporary {
    fn new(place: &Path) -> Result<Self> {
        let letters =
            files::random_letters(12).map_err(|error| Error::io("reading random bytes", &error))?;
        let path = place.join(format!(".{letters}"));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = file.map_err(|error| Error::path("making", &path, &error))?;
        Ok(Self { path, file })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = files::remove(&self.path) {
            tracing::warn!("removing {} failed: {error}", self.path.display());
        }
    }
}
