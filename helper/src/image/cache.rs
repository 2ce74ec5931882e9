//! The cache of images, where and as LXC's download template keeps it: each uses what
//! the other has fetched.

use super::catalog::is_word;
use super::id::{CACHE, ImageId, REGISTRIES};
use super::metadata::Metadata;
use super::outside::{Blob, ImageConfig};
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is not there whole; no distribution has such a name.
const WORKSHOP: &str = "/var/cache/lxc/download/.gantry";
/// In it: what servers have.
const LISTS: &str = "lists";
/// How long what has come of an image waits for the rest.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The root file system of an image.
pub(crate) const ROOTFS: &str = "rootfs.tar.xz";
/// Which build it is.
const SERIAL: &str = "build_id";
/// What only Gantry notes of an image.
const RECORD: &str = ".gantry.json";
/// The most bytes of a note.
const MOST: u64 = 1 << 20;

/// What is noted of an image that Gantry has fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The server it is from.
    pub(crate) server: String,
    /// Whether its checksums were signed with a key of that server.
    pub(crate) signed: bool,
    /// The SHA-256 of the root file system.
    pub(crate) sha256: String,
    /// The root file system's when it was last looked at whole.
    #[serde(default)]
    pub(crate) stamp: Option<Stamp>,
}

/// What a file has that nobody has written to since: inode, bytes, seconds, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp(u64, u64, i64, i64);

impl Stamp {
    /// That of an open file.
    pub(crate) fn of(file: &File) -> Result<Self> {
        let found = file
            .metadata()
            .map_err(|error| Error::io("looking at an image", &error))?;
        Ok(Self(
            found.ino(),
            found.size(),
            found.mtime(),
            found.mtime_nsec(),
        ))
    }
}

/// What is noted of an image of a registry; its layers are beside, by their checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistryRecord {
    /// The registry it is from.
    pub(crate) server: String,
    /// The SHA-256 of its manifest.
    pub(crate) manifest: String,
    pub(crate) config: ImageConfig,
    /// From the lowest on.
    pub(crate) layers: Vec<Blob>,
}

/// An image of a registry, if it is there, with its layers.
pub(crate) fn open_layers(id: &ImageId) -> Option<(RegistryRecord, Vec<File>)> {
    let directory = id.directory();
    let record: RegistryRecord = serde_json::from_str(&note(&directory.join(RECORD))?).ok()?;
    let open = |blob: &Blob| Some(files::open_regular(&directory.join(&blob.sha256)).ok()?.0);
    let layers = record.layers.iter().map(open).collect::<Option<_>>()?;
    Some((record, layers))
}

/// Notes that an image of a registry is used.
pub(crate) fn touch_layers(id: &ImageId) -> Result<()> {
    let path = id.directory().join(RECORD);
    let file = files::open_regular(&path);
    touch(
        &file
            .map_err(|error| Error::path("opening", &path, &error))?
            .0,
    )
}

/// An image that is there.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) serial: String,
    /// None: LXC's template has fetched it.
    pub(crate) record: Option<Record>,
    pub(crate) metadata: Metadata,
    pub(crate) rootfs: File,
}

/// What is known of an image without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: ImageId,
    pub(crate) serial: String,
    /// Bytes on the disk.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) last_used: i64,
}

/// The image, if it is there.
pub(crate) fn open(id: &ImageId) -> Result<Option<Cached>> {
    let directory = id.directory();
    let rootfs = match files::open_regular(&directory.join(ROOTFS)) {
        Ok((file, _)) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::path("opening", &directory.join(ROOTFS), &error)),
    };
    Ok(Some(Cached {
        serial: note(&directory.join(SERIAL))
            .unwrap_or_default()
            .trim()
            .to_owned(),
        record: note(&directory.join(RECORD)).and_then(|text| serde_json::from_str(&text).ok()),
        metadata: Metadata::load(&directory)?,
        rootfs,
    }))
}

fn note(path: &Path) -> Option<String> {
    let (file, _) = files::open_regular(path).ok()?;
    String::from_utf8(files::read_bounded(&file, MOST).ok()?).ok()
}

impl Cached {
    /// Whether it is time to look for a newer build.
    pub(crate) fn has_expired(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.metadata
            .expiry()
            .is_some_and(|expiry| expiry < now.as_secs())
    }

    /// Notes that its root file system, which has this stamp, is what its checksum says.
    pub(crate) fn note_whole(&mut self, id: &ImageId, stamp: Stamp) -> Result<()> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        record.stamp = Some(stamp);
        let path = id.directory().join(RECORD);
        let failed = |error: io::Error| Error::path("writing", &path, &error);
        let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        files::replace(&path, &text, 0o644).map_err(failed)
    }

    /// Notes that it is used, in the file's time of access.
    pub(crate) fn touch(&self) -> Result<()> {
        touch(&self.rootfs)
    }
}

fn touch(file: &File) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: i64::try_from(now.as_secs()).unwrap_or_default(),
            tv_nsec: 0,
        },
        last_modification: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
    };
    rustix::fs::futimens(file, &times)
        .map_err(|error| Error::io("noting the use of an image", &error.into()))
}

/// Takes away what has come of images that nobody has gone on with for long.
pub(crate) fn expire() -> Result<()> {
    expire_in(Path::new(WORKSHOP), SystemTime::now())
        .map_err(|error| Error::path("removing old files in", Path::new(WORKSHOP), &error))
}

fn expire_in(workshops: &Path, now: SystemTime) -> io::Result<()> {
    for entry in std::fs::read_dir(workshops)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || entry.file_name() == LISTS {
            continue;
        }
        let changed = |path: PathBuf| path.symlink_metadata()?.modified();
        let mut last = changed(entry.path())?;
        for file in std::fs::read_dir(entry.path())? {
            last = last.max(changed(file?.path())?);
        }
        if now.duration_since(last).is_ok_and(|age| age > LIFE) {
            let lock = format!("{}.lock", entry.file_name().display());
            if FileLock::try_take(&workshops.join(lock))?.is_some() {
                files::remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// Every image there is.
pub(crate) fn list() -> Vec<Facts> {
    let mut found = Vec::new();
    let of_server = |[distribution, release, architecture, variant]: [&str; 4]| {
        ImageId::new(distribution, release, architecture, variant)
    };
    collect(Path::new(CACHE), &of_server, &mut Vec::new(), &mut found);
    let of_registry = |[repository, tag, architecture, _]: [&str; 4]| {
        ImageId::of_registry(&repository.replace('+', "/"), tag, architecture)
    };
    collect(
        Path::new(REGISTRIES),
        &of_registry,
        &mut Vec::new(),
        &mut found,
    );
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn collect(
    directory: &Path,
    id: &impl Fn([&str; 4]) -> Result<ImageId>,
    words: &mut Vec<String>,
    found: &mut Vec<Facts>,
) {
    if let [distribution, release, architecture, variant] = words.as_slice() {
        let id = id([distribution, release, architecture, variant]);
        found.extend(id.ok().and_then(|id| facts(directory, id)));
        return;
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().unwrap_or_default();
        if is_directory && is_word(&name) {
            words.push(name);
            collect(&entry.path(), id, words, found);
            words.pop();
        }
    }
}

fn facts(directory: &Path, id: ImageId) -> Option<Facts> {
    let name = if id.registry { RECORD } else { ROOTFS };
    let rootfs = directory
        .join(name)
        .symlink_metadata()
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    let sizes = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter_map(|entry| Some(entry.metadata().ok()?.len()));
    Some(Facts {
        serial: note(&directory.join(SERIAL))
            .unwrap_or_default()
            .trim()
            .to_owned(),
        size: sizes.sum(),
        last_used: rootfs.atime(),
        id,
    })
}

/// Takes an image away.
pub(crate) fn delete(id: &ImageId) -> Result<()> {
    let directory = id.directory();
    let failed = |error: io::Error| Error::path("removing", &directory, &error);
    let _lock = Workshop::lock(id)?.ok_or_else(|| {
        Error::Busy(format!(
            "the image {id} is being downloaded; cancel that first"
        ))
    })?;
    let workshop = Workshop::of(id);
    workshop.clear()?;
    files::create_dirs(&workshop.path, 0o700).map_err(failed)?;
    match std::fs::rename(&directory, workshop.path.join("old")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NotFound(format!("there is no image {id}")));
        }
        result => result.map_err(failed)?,
    }
    workshop.clear()?;
    // Those above it, as far as they are empty.
    for above in directory.ancestors().skip(1).take(3) {
        if std::fs::remove_dir(above).is_err() {
            break;
        }
    }
    Ok(())
}

/// Where an image is put together.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) path: PathBuf,
    id: ImageId,
}

impl Workshop {
    /// That of an image. It need not be there.
    pub(crate) fn of(id: &ImageId) -> Self {
        Self {
            path: Path::new(WORKSHOP).join(id.word()),
            id: id.clone(),
        }
    }

    /// The place for lists.
    pub(crate) fn lists() -> PathBuf {
        Path::new(WORKSHOP).join(LISTS)
    }

    /// Makes the image nobody else's business. None: it is somebody's.
    pub(crate) fn lock(id: &ImageId) -> Result<Option<FileLock>> {
        let path = Path::new(WORKSHOP).join(format!("{}.lock", id.word()));
        // Others may look into the cache, as LXC's template leaves it.
        files::ensure_directory(Path::new(CACHE), 0o755)
            .and_then(|()| FileLock::try_take(&path))
            .map_err(|error| Error::path("locking", &path, &error))
    }

    /// Keeps what has come of a build, and takes away what has come of others.
    pub(crate) fn prepare(&self, server: &str, serial: &str) -> Result<()> {
        let origin = format!("{server} {serial}\n");
        let path = self.path.join("origin");
        if note(&path).is_some_and(|found| found == origin) {
            return Ok(());
        }
        self.clear()?;
        files::create_dirs(&self.path, 0o700)
            .and_then(|()| files::replace(&path, origin.as_bytes(), 0o600))
            .map_err(|error| Error::path("writing", &path, &error))
    }

    /// Takes everything away.
    pub(crate) fn clear(&self) -> Result<()> {
        files::remove(&self.path).map_err(|error| Error::path("removing", &self.path, &error))
    }

    /// A file in it, with what it holds already.
    pub(crate) fn file(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::path("opening", &path, &error))
    }

    /// Makes what lies here the image: the root file system, and the texts in `meta`.
    pub(crate) fn publish(&self, meta: &Path, serial: &str, record: &Record) -> Result<()> {
        let directory = self.id.directory();
        let failed = |error: io::Error| Error::path("making", &directory, &error);
        let new = self.path.join("new");
        files::remove(&new).map_err(failed)?;
        files::ensure_directory(&new, 0o755).map_err(failed)?;
        if meta.is_dir() {
            for entry in std::fs::read_dir(meta).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if !name.to_str().is_some_and(Metadata::is_read) {
                    continue;
                }
                let (file, _) = files::open_regular(&meta.join(&name)).map_err(failed)?;
                let bytes = files::read_bounded(&file, 1 << 20).map_err(failed)?;
                files::replace(&new.join(&name), &bytes, 0o644).map_err(failed)?;
            }
        }
        let (rootfs, _) = files::open_regular(&self.path.join(ROOTFS)).map_err(failed)?;
        let record = Record {
            stamp: Some(Stamp::of(&rootfs)?),
            ..record.clone()
        };
        let record = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        self.complete(&new, [ROOTFS], serial, &record)
    }

    /// Makes what lies here the image of a registry.
    pub(crate) fn publish_layers(&self, record: &RegistryRecord) -> Result<()> {
        let new = self.path.join("new");
        let failed = |error: io::Error| Error::path("making", &new, &error);
        files::remove(&new).map_err(failed)?;
        files::ensure_directory(&new, 0o755).map_err(failed)?;
        let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        let mut names: Vec<&str> = record.layers.iter().map(|b| b.sha256.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        self.complete(&new, names, &record.manifest, &text)
    }

    /// Moves files to the new directory, and that to where the image is.
    fn complete<'n>(
        &self,
        new: &Path,
        names: impl IntoIterator<Item = &'n str>,
        serial: &str,
        record: &[u8],
    ) -> Result<()> {
        let directory = self.id.directory();
        let failed = |error: io::Error| Error::path("making", &directory, &error);
        for name in names {
            std::fs::rename(self.path.join(name), new.join(name)).map_err(failed)?;
        }
        files::replace(&new.join(RECORD), record, 0o644).map_err(failed)?;
        files::replace(&new.join(SERIAL), format!("{serial}\n").as_bytes(), 0o644)
            .map_err(failed)?;
        files::ensure_directory(directory.parent().unwrap_or(Path::new(CACHE)), 0o755)
            .map_err(failed)?;
        match rustix::fs::renameat_with(CWD, new, CWD, &directory, RenameFlags::EXCHANGE) {
            Err(rustix::io::Errno::NOENT) => std::fs::rename(new, &directory).map_err(failed)?,
            result => result.map_err(|error| failed(error.into()))?,
        }
        self.clear()
    }

    /// Takes a file from the image that is there.
    pub(crate) fn adopt(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        files::remove(&path)
            .and_then(|()| {
                Ok(rustix::fs::linkat(
                    CWD,
                    self.id.directory().join(name),
                    CWD,
                    &path,
                    AtFlags::empty(),
                )?)
            })
            .map_err(|error| Error::path("linking", &path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_goes_on_with_expires() {
        let workshops = tempfile::tempdir().unwrap();
        let path = |name: &str| workshops.path().join(name);
        for name in ["busy", "left", LISTS] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join(ROOTFS), "half").unwrap();
        }
        let _lock = FileLock::try_take(&path("busy.lock")).unwrap().unwrap();
        let now = SystemTime::now();
        expire_in(workshops.path(), now + LIFE / 2).unwrap();
        assert!(path("left").exists());
        expire_in(workshops.path(), now + LIFE * 2).unwrap();
        assert!(!path("left").exists() && path("busy").exists() && path(LISTS).exists());
    }

    #[test]
    fn a_file_that_was_written_to_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ROOTFS);
        let stamp = || Stamp::of(&File::open(&path).unwrap()).unwrap();
        std::fs::write(&path, "text").unwrap();
        let first = stamp();
        touch(&File::open(&path).unwrap()).unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        std::fs::rename(folder.path().join("moved"), &path).unwrap();
        assert_eq!(first, stamp());
        let later = SystemTime::now() + Duration::from_secs(2);
        std::fs::write(&path, "txet").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_ne!(first, stamp());
    }
}
