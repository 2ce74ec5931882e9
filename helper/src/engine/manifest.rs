//! What an archive of Gantry's says of itself.

use super::{Error, Result};
use gantry_core::idmap::{IdMap, IdMaps};
use gantry_core::layout::ContainerLayout;
use serde::{Deserialize, Serialize};

/// The version of what is written here.
const VERSION: u32 = 1;

/// The first member of an archive: what must be known before the rest is unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The form of the archive.
    gantry: u32,
    /// The container's name.
    pub(super) name: String,
    /// The directory that the paths in its config are below.
    pub(super) directory: String,
    /// How its root file system was stored.
    pub(super) backend: String,
    /// The values of `lxc.idmap`, by which the owners in the archive are the container's.
    pub(super) idmap: Vec<String>,
    /// The names of the snapshots that came along.
    pub(super) snapshots: Vec<String>,
    /// When it was packed, in seconds since 1970.
    pub(super) created: u64,
}

impl Manifest {
    /// A manifest of this version.
    pub(super) fn new(
        layout: &ContainerLayout,
        backend: &str,
        maps: &IdMaps,
        snapshots: Vec<String>,
    ) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            gantry: VERSION,
            name: layout.name().to_string(),
            directory: layout.directory().display().to_string(),
            backend: backend.to_owned(),
            idmap: maps.0.iter().map(ToString::to_string).collect(),
            snapshots,
            created: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// The container's maps; empty for one without.
    pub(super) fn maps(&self) -> Result<IdMaps> {
        let maps = self.idmap.iter().map(|line| IdMap::parse(line));
        let maps = maps.collect::<std::result::Result<_, _>>().map(IdMaps);
        maps.and_then(|maps| maps.check().map(|()| maps))
            .map_err(|reason| {
                Error::InvalidArgument(format!("the archive's gantry.json: {reason}"))
            })
    }

    /// Its text.
    pub(super) fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n")
            .map_err(|error| Error::Failed(error.to_string()))
    }

    /// Reads one of whoever has written it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let version = serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|value| value.get("gantry")?.as_u64());
        if let Some(version) = version.filter(|version| *version > u64::from(VERSION)) {
            return Err(Error::Unsupported(format!(
                "the archive has the form {version}, which a newer Gantry made; this one knows forms up to {VERSION}"
            )));
        }
        serde_json::from_str(text).map_err(|error| {
            Error::InvalidArgument(format!("the archive's gantry.json cannot be read: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let name = gantry_core::name::ContainerName::new("web").unwrap();
        let layout = ContainerLayout::new("/var/lib/lxc", name);
        let maps = IdMaps(vec![
            IdMap::parse("u 0 100000 65536").unwrap(),
            IdMap::parse("g 0 100000 65536").unwrap(),
        ]);
        let manifest = Manifest::new(&layout, "btrfs", &maps, vec!["snap0".to_owned()]);
        assert_eq!(manifest.maps().unwrap(), maps);
        let text = manifest.text().unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        let newer = text.replace("\"gantry\": 1", "\"gantry\": 2");
        assert!(matches!(
            Manifest::parse(&newer),
            Err(Error::Unsupported(_))
        ));
        assert!(matches!(
            Manifest::parse("{}"),
            Err(Error::InvalidArgument(_))
        ));
    }
}
