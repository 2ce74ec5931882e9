//! Two trees of files, compared: what was added, removed, changed.

use super::{Error, Result, Work};
use crate::linux::tree::{self, Tree};
use crate::storage::{Below, Places};
use rustix::fs::{FileType, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the progress is told.
const PACE: Duration = Duration::from_millis(200);
/// The most bytes of paths that are given: what fits into a message well.
const MOST_BYTES: usize = 16 << 20;

/// In what way a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// It is in the second tree only.
    Added,
    /// It is in the first tree only.
    Removed,
    /// It has another content, or is of another type.
    Changed,
    /// Owner, mode, attributes or time alone are others.
    Metadata,
}

impl Change {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Metadata => "metadata",
        }
    }
}

/// What a comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The files that differ, by path from the root, `/` first.
    pub(crate) changes: Vec<(String, Change)>,
    /// There is more: it was too much, or lies too deep.
    pub(crate) truncated: bool,
}

/// Which changes are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiffOptions {
    /// Read also files of one size and time of change; else these count as the same
    /// where every file must be looked at.
    pub(crate) content: bool,
    /// Give at most so many changes.
    pub(crate) limit: usize,
}

/// Compares two trees at these places. The times of directories do not count.
pub(super) fn compare(
    from: Tree,
    to: Tree,
    places: Places,
    options: DiffOptions,
    work: &Work,
) -> Result<Difference> {
    let mut walk = Walk {
        from,
        to,
        work,
        limit: options.limit,
        // Where something is known to have changed, time proves nothing.
        content: options.content || places != Places::Everywhere,
        bytes: 0,
        found: Difference::default(),
        links: None,
        seen: 0,
        told: Instant::now(),
    };
    match walk.at(places) {
        Ok(()) | Err(Stop::Enough) => {}
        Err(Stop::Failed(error)) => return Err(error),
    }
    walk.found.changes.sort();
    Ok(walk.found)
}

/// Why a walk ends early.
enum Stop {
    Enough,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Walk<'a> {
    from: Tree,
    to: Tree,
    work: &'a Work,
    limit: usize,
    content: bool,
    bytes: usize,
    found: Difference,
    /// The files with other names that were looked at, by inode of the second tree; none
    /// where everything is looked at.
    links: Option<BTreeMap<u64, Links>>,
    seen: u64,
    told: Instant,
}

/// A file of which there are several names.
struct Links {
    /// How many.
    names: usize,
    seen: BTreeSet<PathBuf>,
    /// By one of them it differs: by those that nobody named it does, too, if there they
    /// are the same file.
    differs: bool,
}

impl Links {
    fn unseen(&self) -> usize {
        self.names.saturating_sub(self.seen.len())
    }
}

/// The directory in which something is on either side.
type Pair = (Option<OwnedFd>, Option<OwnedFd>);

impl Walk<'_> {
    fn at(&mut self, places: Places) -> std::result::Result<(), Stop> {
        let Places::Paths(paths) = places else {
            return self.everything_below(PathBuf::new());
        };
        let paths = self.with_names(paths)?;
        self.links = Some(BTreeMap::new());
        let top = self.both(Path::new(""))?;
        self.look_at(&top, OsStr::new("."), Path::new(""))?;
        // Paths are in order: what lies below another comes right after it.
        let mut done: Option<PathBuf> = None;
        for (path, below) in paths {
            if done.as_ref().is_some_and(|done| path.starts_with(done)) {
                continue;
            }
            let Some(name) = path.file_name().map(OsStr::to_owned) else {
                continue;
            };
            let parent = path.parent().unwrap_or(Path::new("")).to_path_buf();
            let parents = self.both(&parent)?;
            let other = match self.look_at(&parents, &name, &path)? {
                Directories::None => false,
                Directories::One => true,
                Directories::Both { same } => match below {
                    Below::Listed => false,
                    Below::AllOfOthers | Below::Names => !same,
                    Below::All => true,
                },
            };
            if other {
                self.everything_below(path.clone())?;
                done = Some(path);
            }
        }
        self.other_names()
    }

    /// The paths, and with them the names in directories of which more is not known than
    /// that some changed.
    fn with_names(
        &mut self,
        mut paths: BTreeMap<PathBuf, Below>,
    ) -> std::result::Result<BTreeMap<PathBuf, Below>, Stop> {
        let changed: Vec<PathBuf> = paths
            .iter()
            .filter(|(_, below)| **below == Below::Names)
            .map(|(path, _)| path.clone())
            .collect();
        for path in changed {
            self.tell()?;
            // What is on one side only differs with all that is below it.
            let (Some(from), Some(to)) = self.both(&path)? else {
                continue;
            };
            let inodes = |directory: &OwnedFd| -> std::result::Result<BTreeSet<_>, Stop> {
                let entries = entries(directory, &path)?.into_iter();
                Ok(entries.map(|entry| (entry.name, entry.inode)).collect())
            };
            for (name, _) in inodes(&from)?.symmetric_difference(&inodes(&to)?) {
                paths.entry(path.join(name)).or_insert(Below::AllOfOthers);
            }
        }
        Ok(paths)
    }

    /// Looks at the names that nobody named of files that differ, which takes a look at
    /// every directory.
    fn other_names(&mut self) -> std::result::Result<(), Stop> {
        let mut links = self.links.take().unwrap_or_default();
        links.retain(|_, file| file.differs && file.unseen() > 0);
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            if links.is_empty() {
                return Ok(());
            }
            self.tell()?;
            let directories = self.both(&path)?;
            let Some(directory) = &directories.1 else {
                continue;
            };
            for entry in entries(directory, &path)? {
                let path = path.join(&entry.name);
                if let Some(file) = links.get_mut(&entry.inode)
                    && file.seen.insert(path.clone())
                {
                    if file.unseen() == 0 {
                        links.remove(&entry.inode);
                    }
                    self.look_at(&directories, &entry.name, &path)?;
                }
                if matches!(entry.kind, FileType::Directory | FileType::Unknown) {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    fn everything_below(&mut self, path: PathBuf) -> std::result::Result<(), Stop> {
        if path.as_os_str().is_empty() {
            let top = self.both(&path)?;
            self.look_at(&top, OsStr::new("."), &path)?;
        }
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            let directories = self.both(&path)?;
            let mut names: BTreeSet<OsString> = BTreeSet::new();
            for directory in [&directories.0, &directories.1].into_iter().flatten() {
                let entries = entries(directory, &path)?.into_iter();
                names.extend(entries.map(|entry| entry.name));
            }
            for name in names {
                let path = path.join(&name);
                if self.look_at(&directories, &name, &path)? != Directories::None {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    fn both(&mut self, path: &Path) -> std::result::Result<Pair, Stop> {
        let from = self.from.directory(path);
        let to = self.to.directory(path);
        let mut open = |side: io::Result<Option<OwnedFd>>| match side {
            Ok(directory) => Ok(directory),
            // Deeper than any path that a program can name.
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                self.found.truncated = true;
                Ok(None)
            }
            Err(error) => Err(failed(path, &error)),
        };
        Ok((open(from)?, open(to)?))
    }

    /// Compares one file, and says whether it is a directory.
    fn look_at(
        &mut self,
        parents: &Pair,
        name: &OsStr,
        path: &Path,
    ) -> std::result::Result<Directories, Stop> {
        self.tell()?;
        let look = |directory: &Option<OwnedFd>| match directory {
            Some(directory) => tree::look(directory, name).map_err(|error| failed(path, &error)),
            None => Ok(None),
        };
        let (from, to) = (look(&parents.0)?, look(&parents.1)?);
        let covered = |tree: &Tree, status: &Option<Stat>| {
            status
                .as_ref()
                .is_some_and(|status| tree.is_covered_by(status))
        };
        if covered(&self.from, &from) || covered(&self.to, &to) {
            return Ok(Directories::None);
        }
        let is_directory = |status: &Stat| tree::kind(status) == FileType::Directory;
        let directories = match (
            from.as_ref().filter(|from| is_directory(from)),
            to.as_ref().filter(|to| is_directory(to)),
        ) {
            (Some(from), Some(to)) => Directories::Both {
                same: from.st_ino == to.st_ino,
            },
            (None, None) => Directories::None,
            _ => Directories::One,
        };
        let change = match (from, to) {
            (None, None) => None,
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            (Some(from), Some(to)) => match (&parents.0, &parents.1) {
                (Some(here), Some(there)) => self
                    .change((here, &from), (there, &to), name)
                    .or_else(|error| match error {
                        // It is just being replaced or removed.
                        Unread::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                            Ok(Some(Change::Changed))
                        }
                        Unread::Io(error) => Err(failed(path, &error)),
                        Unread::Cancelled(error) => Err(Stop::Failed(error)),
                    })?,
                _ => None,
            },
        };
        if let (Some(links), Some(to)) = (&mut self.links, &to)
            && to.st_nlink > 1
            && !is_directory(to)
        {
            let file = links.entry(to.st_ino).or_insert_with(|| Links {
                names: usize::try_from(to.st_nlink).unwrap_or(usize::MAX),
                seen: BTreeSet::new(),
                differs: false,
            });
            file.seen.insert(path.to_owned());
            file.differs |= change.is_some() || from.is_none_or(|from| from.st_ino != to.st_ino);
        }
        if let Some(change) = change {
            self.record(path, change)?;
        }
        Ok(directories)
    }

    fn change(
        &self,
        (here, from): (&OwnedFd, &Stat),
        (there, to): (&OwnedFd, &Stat),
        name: &OsStr,
    ) -> std::result::Result<Option<Change>, Unread> {
        let kind = tree::kind(from);
        if kind != tree::kind(to) {
            return Ok(Some(Change::Changed));
        }
        let times = |status: &Stat| (status.st_mtime, status.st_mtime_nsec);
        let same_time = times(from) == times(to);
        let same_content = match kind {
            FileType::RegularFile => {
                from.st_size == to.st_size
                    && ((same_time && !self.content) || self.same_bytes((here, there), name)?)
            }
            FileType::Symlink => target(here, name)? == target(there, name)?,
            FileType::CharacterDevice | FileType::BlockDevice => from.st_rdev == to.st_rdev,
            _ => true,
        };
        if !same_content {
            return Ok(Some(Change::Changed));
        }
        let facts = |status: &Stat| (status.st_mode, status.st_uid, status.st_gid);
        let same = facts(from) == facts(to)
            && (same_time || kind == FileType::Directory)
            && tree::attributes(here, name)? == tree::attributes(there, name)?;
        Ok((!same).then_some(Change::Metadata))
    }

    fn same_bytes(
        &self,
        (here, there): (&OwnedFd, &OwnedFd),
        name: &OsStr,
    ) -> std::result::Result<bool, Unread> {
        const PIECE: u64 = 256 << 10;
        let mut files = [
            tree::open_file(here, name)?.0,
            tree::open_file(there, name)?.0,
        ];
        loop {
            self.work.check().map_err(Unread::Cancelled)?;
            let mut read = |index: usize| -> io::Result<Vec<u8>> {
                let mut piece = Vec::new();
                if let Some(file) = files.get_mut(index) {
                    file.take(PIECE).read_to_end(&mut piece)?;
                }
                Ok(piece)
            };
            let (one, other) = (read(0)?, read(1)?);
            if one != other {
                return Ok(false);
            }
            if one.is_empty() {
                return Ok(true);
            }
        }
    }

    fn record(&mut self, path: &Path, change: Change) -> std::result::Result<(), Stop> {
        let path = format!("/{}", path.to_string_lossy());
        if self.found.changes.len() >= self.limit || self.bytes + path.len() > MOST_BYTES {
            self.found.truncated = true;
            return Err(Stop::Enough);
        }
        self.bytes += path.len();
        self.found.changes.push((path, change));
        Ok(())
    }

    fn tell(&mut self) -> Result<()> {
        self.seen += 1;
        if self.told.elapsed() > PACE {
            self.told = Instant::now();
            self.work.stage(&format!("comparing, {} files", self.seen));
        }
        self.work.check()
    }
}

/// Whether what was compared is a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directories {
    /// On neither side.
    None,
    /// On one.
    One,
    /// On both; `same`: the same inode of two snapshots.
    Both { same: bool },
}

/// Why a file was not compared.
enum Unread {
    Cancelled(Error),
    Io(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is in a directory, which may have gone meanwhile.
fn entries(directory: &OwnedFd, path: &Path) -> std::result::Result<Vec<tree::Entry>, Stop> {
    match tree::entries(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| failed(path, &error)),
    }
}

fn target(directory: &OwnedFd, name: &OsStr) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes())
}

fn failed(path: &Path, error: &io::Error) -> Stop {
    let path = Path::new("/").join(path);
    Stop::Failed(Error::path("comparing", &path, error))
}
