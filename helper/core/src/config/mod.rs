//! LXC's configuration language (lxc.container.conf(5)), both generations.
//!
//! A [`Config`] keeps two things, as LXC does: the text of the file itself,
//! byte for byte, which is what is saved; and the items that result from it
//! with all includes read, which is what counts.

mod convert;
mod edit;
#[cfg(test)]
mod edit_tests;
mod error;
mod reader;
mod safety;
mod scan;
mod stock;
#[cfg(test)]
mod tests;
mod wires;

pub use convert::Modern;
pub use error::{ConfigError, ConfigErrorKind};
pub use scan::included_by_directory;

use crate::keys::Key;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is found where an include points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Included {
    /// A file's text.
    File(String),
    /// A directory: path and text of those members for which
    /// [`included_by_directory`] is true. The order does not matter.
    Directory(Vec<(PathBuf, String)>),
    /// Nothing is there.
    Missing,
}

/// Reads what a config includes, on behalf of this crate, which does no I/O.
pub trait Includes {
    /// Reads the file or directory at `path`, which is as written in the
    /// config. Relative paths begin at `/`. An error becomes a
    /// [`ConfigErrorKind::Include`] at the line.
    fn read(&mut self, path: &Path) -> std::io::Result<Included>;
}

/// For texts whose includes do not matter: each is an empty file.
#[derive(Debug, Clone, Copy, Default)]
pub struct SkipIncludes;

impl Includes for SkipIncludes {
    fn read(&mut self, _: &Path) -> std::io::Result<Included> {
        Ok(Included::File(String::new()))
    }
}

/// One setting in force.
#[derive(Debug, Clone)]
pub struct Item {
    /// The modern name, with the network's number: `lxc.net.0.link`.
    pub key: String,
    /// The name as written, perhaps of LXC 1.x.
    pub written: String,
    /// The value, without the quotes around it. Never empty.
    pub value: String,
    /// The file it comes from.
    pub file: Arc<Path>,
    /// The line in that file, counted from 1.
    pub line: u32,
    /// The key's description.
    pub description: &'static Key,
    /// What stands for the part in capitals of the description's name.
    pub suffix: String,
}

impl Item {
    /// An error at this item.
    pub fn error(&self, kind: ConfigErrorKind, reason: String) -> ConfigError {
        ConfigError {
            file: self.file.to_path_buf(),
            line: self.line,
            key: self.written.clone(),
            kind,
            reason,
        }
    }
}

/// A container's config.
#[derive(Debug, Clone)]
pub struct Config {
    path: Arc<Path>,
    text: String,
    items: Vec<Item>,
    errors: Vec<ConfigError>,
    lines: Vec<scan::KeyLine>,
    files: BTreeSet<PathBuf>,
}

impl Config {
    /// Reads a config. This never fails: what could not be understood is in
    /// [`Config::errors`], so that a container with a broken config can be
    /// shown and mended.
    pub fn read(path: &Path, text: String, includes: &mut dyn Includes) -> Self {
        reader::read(path.into(), text, includes)
    }

    /// Reads a config and refuses one with errors, giving the first.
    pub fn parse(
        path: &Path,
        text: String,
        includes: &mut dyn Includes,
    ) -> Result<Self, ConfigError> {
        let config = Self::read(path, text, includes);
        config.check()?;
        Ok(config)
    }

    /// The path it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of the file itself: as it was read, but for edits.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every setting in force, in the order in which they were read.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What is wrong, in the order of the text.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// The first of [`Config::errors`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.errors
            .first()
            .map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Every file and directory that was looked at for includes, also those
    /// that are missing.
    pub fn included(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// The items of a key, by its modern name.
    pub fn items_of<'a, 'k>(
        &'a self,
        key: &'k str,
    ) -> impl DoubleEndedIterator<Item = &'a Item> + use<'a, 'k> {
        self.items.iter().filter(move |item| item.key == key)
    }

    /// The value of a key that has one, by its modern name.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.items_of(key)
            .next_back()
            .map(|item| item.value.as_str())
    }

    /// Every value of a key, by its modern name.
    pub fn values(&self, key: &str) -> Vec<&str> {
        self.items_of(key).map(|item| item.value.as_str()).collect()
    }

    /// The keys, by modern name, whose values differ from another config's.
    pub fn changed_keys(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&str> = self
            .items
            .iter()
            .chain(&other.items)
            .map(|item| item.key.as_str())
            .collect();
        names
            .into_iter()
            .filter(|name| self.values(name) != other.values(name))
            .map(str::to_owned)
            .collect()
    }

    /// The keys that differ from those that a running container goes by, and
    /// count from its next start on.
    pub fn needing_restart(&self, running: &Self) -> Vec<String> {
        let waits = |name: &String| {
            let mut items = self.items_of(name).chain(running.items_of(name));
            items.next().is_some_and(|item| item.description.is_held())
        };
        self.changed_keys(running)
            .into_iter()
            .filter(waits)
            .collect()
    }
}

/// Takes the bytes of a file as text. A config that is not UTF-8 is an error
/// at the line where it ceases to be.
pub fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
        ConfigError {
            file: path.to_path_buf(),
            line,
            key: String::new(),
            kind: ConfigErrorKind::Syntax,
            reason: "the text is not UTF-8; save the file in that encoding".to_owned(),
        }
    })
}
