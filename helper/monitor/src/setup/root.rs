//! The container's root, seen from outside of it: every path below is
//! resolved by the kernel inside of it and without following any symbolic
//! link, and everything is mounted onto what was opened so.

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// The directory that becomes the container's `/`.
pub(crate) struct Root {
    directory: OwnedFd,
}

impl Root {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Opens what is at `path`. A symbolic link anywhere in it is an error.
    pub(crate) fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = path.as_ref();
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        Ok(openat2(
            &self.directory,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )?)
    }

    /// A handle of what is at `path`, to mount on. (O_NOFOLLOW would make it
    /// one of a symbolic link at the end, instead of an error.)
    pub(crate) fn handle(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH)
    }

    /// A handle of the directory at `path`, made with its parents if missing.
    pub(crate) fn make_directory(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        let mut reached = PathBuf::new();
        let mut handle = self.open("", OFlags::PATH | OFlags::DIRECTORY)?;
        for component in path.as_ref().components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL.into()),
            };
            reached.push(name);
            handle = match self.open(&reached, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match mkdirat(&handle, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                    self.open(&reached, OFlags::PATH | OFlags::DIRECTORY)?
                }
                opened => opened?,
            };
        }
        Ok(handle)
    }

    /// A handle of the file at `path`, made with its parents if missing.
    pub(crate) fn make_file(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        let path = path.as_ref();
        match self.handle(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let parent = self.make_directory(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        drop(rustix::fs::openat(
            &parent,
            name,
            flags,
            Mode::from_raw_mode(0o644),
        )?);
        self.handle(path)
    }
}

/// Puts a detached mount onto an open directory or file.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> (PathBuf, Root) {
        let path = std::env::temp_dir().join(format!("gantry-root-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let handle =
            rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        (path, Root::new(handle))
    }

    #[test]
    fn checklist_1_symbolic_links_in_targets_are_refused() {
        let (path, root) = scratch("links");
        std::os::unix::fs::symlink("/", path.join("out")).unwrap();
        std::os::unix::fs::symlink("dir", path.join("in")).unwrap();
        std::fs::create_dir(path.join("dir")).unwrap();
        for bad in ["out/etc", "out", "in", "in/x"] {
            assert!(root.make_directory(bad).is_err(), "{bad}");
            assert!(root.make_file(bad).is_err(), "{bad}");
        }
        assert!(root.make_directory("../escape").is_err());
        assert!(root.handle("dir").is_ok());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn missing_targets_are_made_with_their_parents() {
        let (path, root) = scratch("make");
        root.make_directory("/a/b").unwrap();
        root.make_file("c/d/file").unwrap();
        assert!(path.join("a/b").is_dir() && path.join("c/d/file").is_file());
        root.make_directory("a/b").unwrap();
        std::fs::remove_dir_all(path).unwrap();
    }
}
