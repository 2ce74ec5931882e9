//! A whole tree of files, copied into an empty directory by several threads at once. Each
//! directory is opened once, by its name in the one above, and its files by theirs: no
//! link is followed, in neither tree, and no path is too long.

use super::replica;
use super::steps::{Steps, below, names};
use super::tree::{self, kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many files of one directory are one task: another thread can take the next.
const BATCH: usize = 64;
/// Room for what the kernel says at once of a directory.
const LISTING: usize = 32 << 10;
/// The fewest threads: while one waits for the disk another has work.
const FEWEST: usize = 4;
/// More than these hinder each other in the file system.
const MOST: usize = 16;
/// How long what was copied waits to be put on the disk.
const PACE: Duration = Duration::from_millis(100);

/// Copies what is in a directory, and what the directory itself has, to another that has
/// nothing but what its file system has put there. Nobody else may enter that, nor change
/// either meanwhile; who does gets files that are half old, but none from elsewhere.
///
/// # Errors
/// What could not be copied first, with its path. What was copied stays.
pub(super) fn copy(from: OwnedFd, to: OwnedFd) -> io::Result<()> {
    replica::undress(&to)?;
    let top = Place {
        path: None,
        from,
        to,
    };
    let copy = Copying {
        top: rustix::io::dup(&top.to)?,
        links: Mutex::default(),
        tasks: Mutex::default(),
        news: Condvar::new(),
    };
    copy.push(Task::Directory(Arc::new(top)));
    let threads = std::thread::available_parallelism().map_or(FEWEST, Into::into);
    let (working, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(FEWEST, MOST) {
            let (copy, working) = (&copy, working.clone());
            scope.spawn(move || {
                copy.work();
                drop(working);
            });
        }
        drop(working);
        copy.put_on_disk(&end)
    })?;
    lock(&copy.tasks).failure.take().map_or(Ok(()), Err)
}

/// A directory and its copy.
struct Place {
    path: Steps,
    from: OwnedFd,
    to: OwnedFd,
}

enum Task {
    /// A directory is to be listed.
    Directory(Arc<Place>),
    /// A directory in another is to be made, and listed.
    Below(Arc<Place>, OsString),
    /// These in a directory are to be copied.
    Files(Arc<Place>, Vec<Entry>),
}

/// What is in a directory, and is none itself.
struct Entry {
    name: OsString,
    is_regular: bool,
}

#[derive(Default)]
struct Tasks {
    waiting: Vec<Task>,
    /// How many are being done, and may bring others.
    begun: usize,
    failure: Option<io::Error>,
}

struct Copying {
    /// Of the copy.
    top: OwnedFd,
    /// The directories of files that have several names, and one of these, by what they are
    /// copies of.
    links: Mutex<HashMap<(u64, u64), (Steps, OsString)>>,
    tasks: Mutex<Tasks>,
    news: Condvar,
}

/// What is behind it comes and goes whole, whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Copying {
    fn push(&self, task: Task) {
        lock(&self.tasks).waiting.push(task);
        self.news.notify_one();
    }

    /// Puts on the disk what is there so far, again and again while threads work: they
    /// wait for the disk little, and whoever wants the whole there finds little left.
    fn put_on_disk(&self, end: &Receiver<()>) -> io::Result<()> {
        while end.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            rustix::fs::syncfs(&self.top)?;
        }
        Ok(())
    }

    /// Does tasks until there are none, or one has failed.
    fn work(&self) {
        while let Some(task) = self.next() {
            let result = self.run(task);
            let mut tasks = lock(&self.tasks);
            tasks.begun -= 1;
            if let Err(error) = result {
                tasks.failure.get_or_insert(error);
            }
            if tasks.begun == 0 || tasks.failure.is_some() {
                self.news.notify_all();
            }
        }
    }

    /// The last that came: so few directories are open at a time.
    fn next(&self) -> Option<Task> {
        let mut tasks = lock(&self.tasks);
        loop {
            if tasks.failure.is_some() {
                return None;
            }
            if let Some(task) = tasks.waiting.pop() {
                tasks.begun += 1;
                return Some(task);
            }
            if tasks.begun == 0 {
                return None;
            }
            tasks = self
                .news
                .wait(tasks)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, task: Task) -> io::Result<()> {
        let place = match task {
            Task::Directory(place) => {
                let rest = self.list(&place).map_err(|error| at(&place.path, error))?;
                self.files(&place, rest)?;
                place
            }
            Task::Below(above, name) => {
                let path = below(&above.path, &name);
                let place = begin(&above, &name, path.clone()).map_err(|error| at(&path, error))?;
                self.push(Task::Directory(Arc::new(place)));
                above
            }
            Task::Files(place, entries) => {
                self.files(&place, entries)?;
                place
            }
        };
        // Its last user gives a directory what it has: after that nothing comes into it.
        match Arc::into_inner(place) {
            Some(place) => dress(&place).map_err(|error| at(&place.path, error)),
            None => Ok(()),
        }
    }

    /// Has everything in a directory copied but for what it gives.
    fn list(&self, place: &Arc<Place>) -> io::Result<Vec<Entry>> {
        let mut files = Vec::new();
        let mut room = Vec::with_capacity(LISTING);
        let mut entries = RawDir::new(&place.from, room.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say it.
                FileType::Unknown => kind(&status(&place.from, name)?),
                kind => kind,
            };
            let name = name.to_owned();
            if kind == FileType::Directory {
                self.push(Task::Below(Arc::clone(place), name));
                continue;
            }
            files.push(Entry {
                name,
                is_regular: kind == FileType::RegularFile,
            });
            if files.len() == BATCH {
                let files = std::mem::take(&mut files);
                self.push(Task::Files(Arc::clone(place), files));
            }
        }
        Ok(files)
    }

    fn files(&self, place: &Place, entries: Vec<Entry>) -> io::Result<()> {
        for Entry { name, is_regular } in entries {
            let result = if is_regular {
                self.file(place, &name)
            } else {
                self.other(place, &name)
            };
            result.map_err(|error| at(&below(&place.path, &name), error))?;
        }
        Ok(())
    }

    fn file(&self, place: &Place, name: &OsStr) -> io::Result<()> {
        let (from, status) = tree::open_file(&place.from, name)?;
        let like = || replica::create(&place.to, name, &status);
        if let Some(to) = self.make(place, name, &status, like)? {
            replica::content(&from, &status, &to, &|_| Ok(()))?;
            replica::dress(&to, &status, &tree::attributes_of(&from)?)?;
        }
        Ok(())
    }

    fn other(&self, place: &Place, name: &OsStr) -> io::Result<()> {
        let status = status(&place.from, name)?;
        let (from, to) = ((&place.from, name), (&place.to, name));
        let like = || replica::create_other(from, &status, to);
        if self.make(place, name, &status, like)?.is_some() {
            let attributes = tree::attributes(&place.from, name)?;
            replica::dress_other(&place.to, name, &status, &attributes)?;
        }
        Ok(())
    }

    /// Makes something of this status, or another name for it where it is there already.
    fn make<T>(
        &self,
        place: &Place,
        name: &OsStr,
        status: &Stat,
        make: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        if status.st_nlink < 2 {
            return make().map(Some);
        }
        let mut links = lock(&self.links);
        let inode = (status.st_dev, status.st_ino);
        if let Some((above, first)) = links.get(&inode) {
            let above = self.directory(above)?;
            rustix::fs::linkat(&above, first, &place.to, name, AtFlags::empty())?;
            return Ok(None);
        }
        let made = make()?;
        links.insert(inode, (place.path.clone(), name.to_owned()));
        Ok(Some(made))
    }

    /// A directory of the copy; its path may be longer than any that the kernel takes.
    fn directory(&self, path: &Steps) -> io::Result<OwnedFd> {
        let mut here = open_directory(&self.top, OsStr::new("."))?;
        for name in names(path) {
            here = open_directory(&here, name)?;
        }
        Ok(here)
    }
}

/// Makes a directory's copy, which only root may enter yet.
fn begin(above: &Place, name: &OsStr, path: Steps) -> io::Result<Place> {
    let from = open_directory(&above.from, name)?;
    match rustix::fs::mkdirat(&above.to, name, Mode::from_raw_mode(0o700)) {
        // A new file system has some of its own.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let to = open_directory(&above.to, name)?;
    Ok(Place { path, from, to })
}

fn dress(place: &Place) -> io::Result<()> {
    let status = rustix::fs::fstat(&place.from)?;
    replica::dress(&place.to, &status, &tree::attributes_of(&place.from)?)
}

fn open_directory(above: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(above, name, flags, Mode::empty())?)
}

fn status(directory: &OwnedFd, name: &OsStr) -> io::Result<Stat> {
    Ok(rustix::fs::statat(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Says where something failed, on one line.
fn at(path: &Steps, error: io::Error) -> io::Error {
    let path = Path::new("/").join(names(path).iter().collect::<PathBuf>());
    let path = path.to_string_lossy();
    io::Error::new(error.kind(), format!("{}: {error}", path.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::files;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Trees {
        folder: tempfile::TempDir,
    }

    impl Trees {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("from")).unwrap();
            Self { folder }
        }

        fn from(&self, path: &str) -> PathBuf {
            self.folder.path().join("from").join(path)
        }

        /// Copies to a new place, which it gives.
        fn copy(&self, name: &str) -> io::Result<PathBuf> {
            let to = self.folder.path().join(name);
            fs::create_dir(&to)?;
            copy(
                files::open_directory(&self.from(""))?,
                files::open_directory(&to)?,
            )?;
            Ok(to)
        }
    }

    #[test]
    fn names_times_modes_and_holes_are_those_of_the_other() {
        let trees = Trees::new();
        for number in 0..3 * BATCH {
            fs::write(trees.from(&number.to_string()), number.to_string()).unwrap();
        }
        fs::create_dir_all(trees.from("a/b")).unwrap();
        fs::hard_link(trees.from("7"), trees.from("a/b/seven")).unwrap();
        fs::hard_link(trees.from("7"), trees.from("a/sept")).unwrap();
        symlink("/nowhere", trees.from("a/link")).unwrap();
        let hole = fs::File::create(trees.from("a/hole")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&hole, b"end", 9 << 20).unwrap();
        hole.set_len(20 << 20).unwrap();
        nix::unistd::mkfifo(&trees.from("a/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::set_permissions(trees.from("a"), fs::Permissions::from_mode(0o2511)).unwrap();
        let to = trees.copy("to").unwrap();
        for number in 0..3 * BATCH {
            let text = fs::read_to_string(to.join(number.to_string())).unwrap();
            assert_eq!(text, number.to_string());
        }
        for path in ["", "7", "a", "a/b", "a/link", "a/hole", "a/fifo"] {
            let facts = |path: PathBuf| {
                let found = path.symlink_metadata().unwrap();
                (found.mode(), found.mtime(), found.mtime_nsec(), found.len())
            };
            // The size of a directory says what it once had.
            let (from, to) = (facts(trees.from(path)), facts(to.join(path)));
            assert_eq!((from.0, from.1, from.2), (to.0, to.1, to.2), "{path}");
        }
        let inode = |path: &str| to.join(path).metadata().unwrap().ino();
        assert!(inode("7") == inode("a/b/seven") && inode("7") == inode("a/sept"));
        let hole = fs::read(to.join("a/hole")).unwrap();
        assert_eq!(
            (hole.len(), &hole[9 << 20..(9 << 20) + 4]),
            (20 << 20, &b"end\0"[..])
        );
        assert!(to.join("a/hole").metadata().unwrap().blocks() < 1000);
        assert_eq!(
            fs::read_link(to.join("a/link")).unwrap(),
            Path::new("/nowhere")
        );
    }

    #[test]
    fn no_path_is_too_long() {
        let trees = Trees::new();
        let name = OsString::from("d".repeat(200));
        let mut here = files::open_directory(&trees.from("")).unwrap();
        for _ in 0..50 {
            rustix::fs::mkdirat(&here, &name, Mode::from_raw_mode(0o755)).unwrap();
            here = open_directory(&here, &name).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        rustix::fs::openat(&here, "one", flags, Mode::from_raw_mode(0o600)).unwrap();
        rustix::fs::linkat(&here, "one", &here, "two", AtFlags::empty()).unwrap();
        let to = trees.copy("to").unwrap();
        let mut here = files::open_directory(&to).unwrap();
        for _ in 0..50 {
            here = open_directory(&here, &name).unwrap();
        }
        let inode = |name: &str| status(&here, OsStr::new(name)).unwrap().st_ino;
        assert_eq!(inode("one"), inode("two"));
    }

    #[test]
    fn no_tree_is_too_deep() {
        let trees = Trees::new();
        let mut here = files::open_directory(&trees.from("")).unwrap();
        for _ in 0..10_000 {
            rustix::fs::mkdirat(&here, "d", Mode::from_raw_mode(0o755)).unwrap();
            here = open_directory(&here, OsStr::new("d")).unwrap();
        }
        let mut here = files::open_directory(&trees.copy("to").unwrap()).unwrap();
        for _ in 0..10_000 {
            here = open_directory(&here, OsStr::new("d")).unwrap();
        }
        assert!(tree::names(&here).unwrap().is_empty());
        for name in ["from", "to"] {
            files::remove(&trees.folder.path().join(name)).unwrap();
        }
    }

    #[test]
    fn what_fails_is_named_on_one_line() {
        let trees = Trees::new();
        fs::create_dir(trees.from("a")).unwrap();
        fs::write(trees.from("a/new\nline"), "text").unwrap();
        let to = trees.folder.path().join("to");
        fs::create_dir_all(to.join("a/new\nline")).unwrap();
        let error = copy(
            files::open_directory(&trees.from("")).unwrap(),
            files::open_directory(&to).unwrap(),
        );
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("/a/new\\nline: "), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_link_in_place_of_a_directory_leads_nowhere() {
        let trees = Trees::new();
        let outside = trees.folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "text").unwrap();
        fs::create_dir(trees.from("real")).unwrap();
        symlink(&outside, trees.from("link")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (real, link) = (trees.from("real"), trees.from("link"));
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(
                        rustix::fs::CWD,
                        &real,
                        rustix::fs::CWD,
                        &link,
                        flags,
                    )
                    .unwrap();
                }
            });
            for round in 0..200 {
                // It may fail, for what it finds is not what it has just seen.
                trees.copy(&format!("to{round}")).ok();
                let to = trees.folder.path().join(format!("to{round}"));
                for name in ["real", "link"] {
                    let copied = to.join(name);
                    if copied.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                        assert!(!copied.join("secret").exists());
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
