//! Ids of the host for containers' users: each container's are its own.

use super::{Engine, Error, Result, disk};
use gantry_core::config::Config;
use gantry_core::idmap::{
    IdKind, IdMap, IdMaps, IdRange, RANGE_SIZE, SubordinateIds, allocate, parse_subordinate,
};
use std::path::Path;
use std::process::{Command, Stdio};

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";
const USERMOD: &str = "/usr/sbin/usermod";

impl Engine {
    /// Maps for a new container onto ids that nobody uses. Hold the lock on
    /// the ranges until they stand in a config. Blocks.
    pub(super) fn choose_ids(&self) -> Result<IdMaps> {
        delegate_to_root()?;
        let used = self.used_ids()?;
        let choose = |kind: IdKind, file: &str| {
            let of_kind = used.iter().filter(|map| map.kind == kind);
            let used: Vec<IdRange> = of_kind.map(IdMap::host_range).collect();
            allocate(&subordinate(file)?, &used)
                .map_err(|error| Error::Unsupported(error.to_string()))
        };
        Ok(IdMaps::for_range(
            choose(IdKind::User, SUBUID)?,
            choose(IdKind::Group, SUBGID)?,
        ))
    }

    /// Whether neither a container nor another user of this host has one of these ids.
    pub(super) fn are_free(&self, maps: &IdMaps) -> Result<bool> {
        if IdMaps(self.used_ids()?).overlaps(maps) {
            return Ok(false);
        }
        for (kind, file) in [(IdKind::User, SUBUID), (IdKind::Group, SUBGID)] {
            let of_others = subordinate(file)?;
            let mut of_others = of_others
                .iter()
                .filter(|ids| !matches!(ids.owner.as_str(), "root" | "0"));
            if of_others.any(|ids| {
                maps.of(kind)
                    .any(|map| map.host_range().overlaps(ids.range))
            }) {
                return Ok(false);
            }
        }
        Ok(true)
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
pub(super) fn maps_of(config: &Config) -> IdMaps {
    let lines = config.values("lxc.idmap").into_iter();
    IdMaps(lines.filter_map(|line| IdMap::parse(line).ok()).collect())
}

/// Gives root subordinate ids if it has none: newuidmap(1), which LXC's tools
/// use for root as well, allows no others, and useradd(8) keeps clear of them.
fn delegate_to_root() -> Result<()> {
    let mut args = Vec::new();
    for (file, option) in [(SUBUID, "--add-subuids"), (SUBGID, "--add-subgids")] {
        let delegated = subordinate(file)?;
        if !delegated
            .iter()
            .any(|ids| matches!(ids.owner.as_str(), "root" | "0"))
            && let Some(IdRange { first, count }) = free_area(&delegated)
        {
            args.extend([option.to_owned(), format!("{first}-{}", first + count - 1)]);
        }
    }
    let usermod = Path::new(USERMOD);
    if args.is_empty() || !usermod.exists() {
        return Ok(());
    }
    tracing::info!("giving root subordinate ids: {}", args.join(" "));
    let output = Command::new(usermod)
        .args(&args)
        .arg("root")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::path("running", usermod, &error))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        tracing::warn!(
            "LXC's own tools will not start new containers: {}",
            reason.trim()
        );
    }
    Ok(())
}

/// Room for up to a thousand containers, clear of everybody's ranges.
fn free_area(delegated: &[SubordinateIds]) -> Option<IdRange> {
    const CONTAINERS: u32 = 1000;
    let first = allocate(delegated, &[]).ok()?.first;
    let starts = delegated.iter().map(|ids| ids.range.first);
    let next = starts
        .filter(|start| *start > first)
        .min()
        .unwrap_or(u32::MAX);
    let containers = ((next - first) / RANGE_SIZE).min(CONTAINERS);
    Some(IdRange {
        first,
        count: containers * RANGE_SIZE,
    })
}

fn subordinate(file: &str) -> Result<Vec<SubordinateIds>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(parse_subordinate(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::path("reading", Path::new(file), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(owner: &str, first: u32, count: u32) -> SubordinateIds {
        SubordinateIds {
            owner: owner.to_owned(),
            range: IdRange { first, count },
        }
    }

    #[test]
    fn roots_area_keeps_clear_of_users() {
        let area = free_area(&[]).unwrap();
        assert_eq!((area.first, area.count), (1_000_000, 65_536_000));
        let users = [ids("alice", 100_000, 65_536), ids("bob", 1_300_000, 65_536)];
        let area = free_area(&users).unwrap();
        assert!(area.count >= RANGE_SIZE);
        assert!(users.iter().all(|user| !user.range.overlaps(area)));
        // The gap before bob is too small for a container.
        let area = free_area(&[ids("bob", 1_010_000, 65_536)]).unwrap();
        assert!(area.first >= 1_075_536 && area.count >= RANGE_SIZE);
    }
}
