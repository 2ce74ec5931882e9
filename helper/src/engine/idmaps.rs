//! Ids of the host for containers' users: each container's are its own.

use super::{Engine, Error, Result, disk};
use gantry_core::idmap::{
    IdKind, IdMap, IdMaps, IdRange, SubordinateIds, allocate, parse_subordinate,
};
use std::path::Path;

impl Engine {
    /// Maps for a new container onto ids that nobody uses. Hold the lock on
    /// the ranges until they stand in a config.
    pub(super) fn choose_ids(&self) -> Result<IdMaps> {
        let used = self.used_ids()?;
        let choose = |kind: IdKind, file: &str| {
            let used: Vec<IdRange> = used
                .iter()
                .filter(|map| map.kind == kind)
                .map(IdMap::host_range)
                .collect();
            allocate(&subordinate(Path::new(file))?, &used)
                .map_err(|error| Error::Unsupported(error.to_string()))
        };
        Ok(IdMaps::for_range(
            choose(IdKind::User, "/etc/subuid")?,
            choose(IdKind::Group, "/etc/subgid")?,
        ))
    }

    /// The maps of every container in the LXC path, and of those that are
    /// being made.
    fn used_ids(&self) -> Result<Vec<IdMap>> {
        let lxc_path = Path::new(self.lxc_path());
        let entries = std::fs::read_dir(lxc_path)
            .map_err(|error| Error::path("reading", lxc_path, &error))?;
        Ok(entries
            .filter_map(|entry| disk::read_config(&entry.ok()?.path().join("config")).ok())
            .flat_map(|file| maps_of(&file.config).0)
            .collect())
    }
}

/// The maps in a config; lines that are none are left out.
pub(super) fn maps_of(config: &gantry_core::config::Config) -> IdMaps {
    IdMaps(
        config
            .values("lxc.idmap")
            .into_iter()
            .filter_map(|line| IdMap::parse(line).ok())
            .collect(),
    )
}

fn subordinate(path: &Path) -> Result<Vec<SubordinateIds>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse_subordinate(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::path("reading", path, &error)),
    }
}
