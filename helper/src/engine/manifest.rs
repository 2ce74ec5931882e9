//! What an archive of Gantry's says of itself.

use super::{Error, Result};
use serde::Serialize;

/// The version of what is written here.
const VERSION: u32 = 1;

/// The first member of an archive. All else that there is to know stands in the config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Manifest {
    /// The form of the archive.
    gantry: u32,
    /// The container's name.
    name: String,
    /// The directory that the paths in its config are below.
    directory: String,
    /// How its root file system was stored.
    backend: String,
    /// The names of the snapshots that came along.
    snapshots: Vec<String>,
    /// When it was packed, in seconds since 1970.
    created: u64,
}

impl Manifest {
    /// A manifest of this version.
    pub(super) fn new(name: &str, directory: &str, backend: &str, snapshots: Vec<String>) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            gantry: VERSION,
            name: name.to_owned(),
            directory: directory.to_owned(),
            backend: backend.to_owned(),
            snapshots,
            created: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// Its text.
    pub(super) fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n")
            .map_err(|error| Error::Failed(error.to_string()))
    }
}
