//! What a backup of Incus or LXD says in its YAML, as a worker reads it and tells it the
//! helper.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key of the maps that were in force on the disk, as JSON.
const LAST_MAPS: &str = "volatile.last_state.idmap";

/// Words by their keys.
pub(crate) type Words = BTreeMap<String, String>;

/// What `index.yaml` says; or `backup.yaml`, which has but the container.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Root file systems are in the form of a storage pool.
    pub(crate) optimized: bool,
    pub(crate) snapshots: Vec<String>,
    /// As LXD has it since version 4.
    pub(crate) config: Option<Described>,
    #[serde(alias = "instance")]
    container: Option<Instance>,
}

/// What a backup says of its container.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Described {
    #[serde(alias = "instance")]
    container: Option<Instance>,
}

/// A container.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Instance {
    pub(crate) architecture: String,
    pub(crate) ephemeral: bool,
    pub(crate) config: Words,
    pub(crate) devices: BTreeMap<String, Words>,
    pub(crate) expanded_config: Words,
    pub(crate) expanded_devices: BTreeMap<String, Words>,
    /// What stands in the config as JSON.
    pub(crate) last_maps: Vec<LastMap>,
}

/// One of the maps by which the owners of files were shifted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LastMap {
    pub(crate) isuid: bool,
    pub(crate) isgid: bool,
    pub(crate) hostid: u32,
    pub(crate) nsid: u32,
    pub(crate) maprange: u32,
}

impl Told {
    /// Reads one of the two files.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let mut told: Self =
            serde_saphyr::from_str(&String::from_utf8_lossy(text)).map_err(|error| {
                let reason = error.to_string();
                let first = reason.lines().next().unwrap_or_default();
                first.escape_debug().to_string()
            })?;
        let inner = told
            .config
            .as_mut()
            .and_then(|config| config.container.as_mut());
        for instance in inner.into_iter().chain(told.container.as_mut()) {
            instance.last_maps = match instance.config.get(LAST_MAPS) {
                Some(text) => serde_json::from_str(text)
                    .map_err(|error| format!("its {LAST_MAPS}: {error}"))?,
                None => Vec::new(),
            };
        }
        Ok(told)
    }

    /// The container that it is about.
    pub(crate) fn instance(self) -> Instance {
        let inner = self.config.and_then(|config| config.container);
        inner.or(self.container).unwrap_or_default()
    }
}
