//! What can be wrong with a config.

use std::path::PathBuf;

/// An error in a config, at a line where it can be mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}", place = self.place())]
pub struct ConfigError {
    /// The file: the config itself or one it includes.
    pub file: PathBuf,
    /// The line, counted from 1; 0 if it is about the file as a whole.
    pub line: u32,
    /// The key as written; empty if it is about no key.
    pub key: String,
    /// What sort of error.
    pub kind: ConfigErrorKind,
    /// What is wrong, without a full stop.
    pub reason: String,
}

impl ConfigError {
    fn place(&self) -> String {
        let mut place = self.file.display().to_string();
        if self.line > 0 {
            place.push_str(&format!(", line {}", self.line));
        }
        if !self.key.is_empty() {
            // Whatever stands before a '=' gets here.
            place.push_str(&format!(", {}", self.key.escape_debug()));
        }
        place
    }
}

/// The sort of a [`ConfigError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigErrorKind {
    /// A line that begins with `lxc.` is no `key = value`, or a file is not
    /// text.
    Syntax,
    /// No version of LXC has this key.
    UnknownKey,
    /// The value is not what the key takes.
    InvalidValue,
    /// Two keys exclude each other, or one misses another.
    Conflict,
    /// An included file is missing, unreadable or includes itself.
    Include,
}
