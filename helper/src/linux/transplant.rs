//! Single paths, copied with all below from one tree to another, and the hard links among
//! them; whole trees are copied by tree_copy.rs. No link is followed, in neither tree.

use super::replica;
use super::tree::{self, Tree, kind};
use rustix::fs::{AtFlags, FileType, Mode, Stat};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Copying from one tree to another.
pub(crate) struct Transplant<'a> {
    from: &'a Tree,
    to: &'a Tree,
    /// Told how many bytes were copied; its error ends the work.
    step: &'a dyn Fn(u64) -> io::Result<()>,
    /// Where files of several names are by now.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Transplant<'a> {
    /// Nothing is copied yet.
    pub(crate) fn new(
        from: &'a Tree,
        to: &'a Tree,
        step: &'a dyn Fn(u64) -> io::Result<()>,
    ) -> Self {
        Self {
            from,
            to,
            step,
            links: HashMap::new(),
        }
    }

    /// Copies what is at a path, with all below it, to a path at which nothing is.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut waiting = vec![(from.to_path_buf(), to.to_path_buf())];
        let mut directories = Vec::new();
        while let Some((from, to)) = waiting.pop() {
            (self.step)(0)?;
            let (here, name) = parent(self.from, &from)?;
            let status = tree::look(&here, name)?.ok_or(io::ErrorKind::NotFound)?;
            if kind(&status) == FileType::Directory {
                self.make_directory(&to)?;
                let listed = tree::names(directory(self.from, &from)?)?;
                waiting.extend(listed.iter().map(|name| (from.join(name), to.join(name))));
                directories.push((from, to));
            } else {
                self.one((&here, name), &status, &to)?;
            }
        }
        // The innermost first: what comes into a directory changes its time.
        for (from, to) in directories.into_iter().rev() {
            self.dress(&from, &to)?;
        }
        Ok(())
    }

    /// Makes a directory that only root may enter.
    fn make_directory(&self, to: &Path) -> io::Result<()> {
        let (there, name) = parent(self.to, to)?;
        Ok(rustix::fs::mkdirat(
            &there,
            name,
            Mode::from_raw_mode(0o700),
        )?)
    }

    /// Gives a directory what another has, but for what is in it.
    pub(crate) fn dress(&self, from: &Path, to: &Path) -> io::Result<()> {
        let here = directory(self.from, from)?;
        let there = directory(self.to, to)?;
        let status = rustix::fs::fstat(&here)?;
        let attributes = tree::attributes(&here, OsStr::new("."))?;
        replica::dress(&there, &status, &attributes)
    }

    /// What was copied below `old` is below `new` from now on.
    pub(crate) fn moved(&mut self, old: &Path, new: &Path) {
        for path in self.links.values_mut() {
            if let Ok(rest) = path.strip_prefix(old) {
                *path = if rest.as_os_str().is_empty() {
                    new.to_path_buf()
                } else {
                    new.join(rest)
                };
            }
        }
    }

    fn one(
        &mut self,
        (here, name): (&OwnedFd, &OsStr),
        status: &Stat,
        to: &Path,
    ) -> io::Result<()> {
        let (there, new) = parent(self.to, to)?;
        let inode = (status.st_dev, status.st_ino);
        if status.st_nlink > 1 {
            if let Some(path) = self.links.get(&inode) {
                let (other, name) = parent(self.to, path)?;
                return Ok(rustix::fs::linkat(
                    &other,
                    name,
                    &there,
                    new,
                    AtFlags::empty(),
                )?);
            }
            self.links.insert(inode, to.to_path_buf());
        }
        let attributes = tree::attributes(here, name)?;
        if kind(status) == FileType::RegularFile {
            let (from, status) = tree::open_file(here, name)?;
            let file = replica::create(&there, new, &status)?;
            replica::content(&from, &status, &file, self.step)?;
            return replica::dress(&file, &status, &attributes);
        }
        replica::create_other((here, name), status, (&there, new))?;
        replica::dress_other(&there, new, status, &attributes)
    }
}

/// The directory at a path, and an error where there is none.
pub(crate) fn directory(tree: &Tree, path: &Path) -> io::Result<OwnedFd> {
    Ok(tree.directory(path)?.ok_or(io::ErrorKind::NotFound)?)
}

/// The directory that holds what a path names, and its name there.
pub(crate) fn parent<'a>(tree: &Tree, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((
        directory(tree, path.parent().unwrap_or(Path::new("")))?,
        name,
    ))
}
