//! `lxc.cgroup.*` and `lxc.cgroup2.*`.

use super::{Cgroups, Hierarchy, STEP, Version};
use crate::failure::{At, Step, failed};
use crate::log;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{CgroupSetting, CgroupVersion};
use std::io;

fn is_device_rule(setting: &CgroupSetting) -> bool {
    setting.file.starts_with("devices.")
}

/// The key as the config has it.
fn key(setting: &CgroupSetting) -> String {
    let prefix = match setting.version {
        CgroupVersion::V1 => "lxc.cgroup",
        CgroupVersion::V2 => "lxc.cgroup2",
    };
    format!("{prefix}.{}", setting.file)
}

impl Cgroups {
    /// Applies every limit but the device rules. A limit that cannot be set
    /// is a failure: the container would not be held by it.
    pub(crate) fn apply_limits(&self, settings: &[CgroupSetting]) -> Step<()> {
        let mut limits: Vec<&CgroupSetting> = settings
            .iter()
            .filter(|setting| !is_device_rule(setting))
            .collect();
        // The kernel wants the limit on memory before the one on memory and
        // swap together.
        limits.sort_by_key(|setting| setting.file.starts_with("memory.memsw."));
        for limit in limits {
            match self.hierarchy_of(limit) {
                Some(hierarchy) => self.apply(hierarchy, limit)?,
                // Configs for hosts of both kinds have both keys, and LXC goes on, too.
                None if limit.version == CgroupVersion::V1 && !self.has_v1() => {
                    log::notice(format!(
                        "{} has no effect: this host has cgroup version 2 only; use lxc.cgroup2 keys",
                        key(limit)
                    ));
                }
                None if limit.version == CgroupVersion::V2 && self.has_v1() => {
                    log::notice(format!(
                        "{} has no effect: this host has the controller in cgroup version 1; use lxc.cgroup keys",
                        key(limit)
                    ));
                }
                None => {
                    let message = format!(
                        "The host has no cgroup controller for {}; remove the key or enable the controller.",
                        key(limit)
                    );
                    return failed(FailureKind::Unsupported, STEP, message);
                }
            }
        }
        Ok(())
    }

    /// Applies the device rules, once the container's device nodes are made.
    pub(crate) fn apply_device_rules(&self, settings: &[CgroupSetting]) -> Step<()> {
        let of = |version| {
            settings
                .iter()
                .filter(move |s| is_device_rule(s) && s.version == version)
        };
        let devices = self
            .hierarchies
            .iter()
            .find(|h| h.controllers.iter().any(|name| name == "devices"));
        let Some(devices) = devices else {
            if of(CgroupVersion::V2)
                .chain(of(CgroupVersion::V1))
                .next()
                .is_some()
            {
                log::warn(
                    "device rules are set but not enforced: this version does so in cgroup version 1 only",
                );
            }
            return Ok(());
        };
        // Both versions' rules read alike; a config for one only is meant to
        // hold wherever the container runs.
        let version = if of(CgroupVersion::V1).next().is_some() {
            CgroupVersion::V1
        } else {
            CgroupVersion::V2
        };
        of(version).try_for_each(|rule| self.apply(devices, rule))
    }

    fn has_v1(&self) -> bool {
        self.hierarchies
            .iter()
            .any(|hierarchy| hierarchy.version == Version::V1)
    }

    /// Where a limit's file is.
    fn hierarchy_of(&self, limit: &CgroupSetting) -> Option<&Hierarchy> {
        match limit.version {
            CgroupVersion::V1 => {
                let controller = limit.file.split('.').next()?;
                self.hierarchies
                    .iter()
                    .find(|h| h.controllers.iter().any(|name| name == controller))
            }
            CgroupVersion::V2 => {
                let unified = self.unified()?;
                let exists = unified.directory(self.limit()?).join(&limit.file).exists();
                exists.then_some(unified)
            }
        }
    }

    fn apply(&self, hierarchy: &Hierarchy, limit: &CgroupSetting) -> Step<()> {
        if limit.file.contains('/') {
            let message = format!(
                "{} is not the name of a cgroup file; correct the key.",
                key(limit)
            );
            return failed(FailureKind::InvalidConfig, STEP, message);
        }
        let path = self.limit().unwrap_or_default();
        hierarchy
            .write(path, &limit.file, &limit.value)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::other("the kernel has no such file"),
                _ => error,
            })
            .at(STEP, || {
                format!("cannot set {} = {}", key(limit), limit.value)
            })
    }
}
