//! What of a container lies outside of its directory: noted in the directory, so that it
//! goes with it, also by another process.

use super::dir;
use crate::error::{Error, Result};
use crate::linux::files;
use std::path::Path;

/// The note: a line for each thing that is to go.
pub(crate) const NOTE: &str = ".gantry-elsewhere";

/// Notes in `directory` that a directory elsewhere is part of it.
pub(crate) fn note(directory: &Path, elsewhere: &Path) -> Result<()> {
    let note = directory.join(NOTE);
    files::replace(&note, elsewhere.as_os_str().as_encoded_bytes(), 0o600)
        .map_err(|error| Error::path("writing", &note, &error))
}

/// Removes what was noted in `directory`.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    let note = directory.join(NOTE);
    match std::fs::read_to_string(&note) {
        Ok(elsewhere) => {
            let path = Path::new(&elsewhere);
            dir::remove(path).map_err(|error| Error::path("removing", path, &error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::path("reading", &note, &error)),
    }
}
