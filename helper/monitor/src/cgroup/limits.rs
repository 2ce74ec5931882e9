//! `lxc.cgroup.*` and `lxc.cgroup2.*`.

use super::{Cgroups, Hierarchy, STEP, Version};
use crate::failure::{At, Step, failed, failure};
use crate::log;
use gantry_core::cgroup::DevicePolicy;
use gantry_core::command::DeviceAccess;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{CgroupSetting, CgroupVersion};
use std::io;
use std::os::fd::OwnedFd;

fn is_device_rule(setting: &CgroupSetting) -> bool {
    setting.file.starts_with("devices.")
}

fn parse_rule(setting: &CgroupSetting) -> Result<DeviceAccess, String> {
    match setting.file.as_str() {
        "devices.allow" => DeviceAccess::parse(&setting.value, true),
        "devices.deny" => DeviceAccess::parse(&setting.value, false),
        other => Err(format!(
            "'{other}' is neither devices.allow nor devices.deny"
        )),
    }
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
                        "The container's cgroup has no file for {}; remove the key, or enable its controller in the cgroups above.",
                        key(limit)
                    );
                    return failed(FailureKind::Unsupported, STEP, message);
                }
            }
        }
        Ok(())
    }

    /// Applies the device rules, once the container's device nodes are made.
    pub(crate) fn apply_device_rules(&mut self, settings: &[CgroupSetting]) -> Step<()> {
        let of = |version| {
            let rules = settings.iter();
            rules.filter(move |s| is_device_rule(s) && s.version == version)
        };
        if let Some(devices) = self.version_1_devices() {
            // Both versions' rules read alike; a config for one only is meant
            // to hold wherever the container runs.
            let version = if of(CgroupVersion::V1).next().is_some() {
                CgroupVersion::V1
            } else {
                CgroupVersion::V2
            };
            return of(version).try_for_each(|rule| self.apply(devices, rule));
        }
        let rules = of(CgroupVersion::V2)
            .map(|setting| match parse_rule(setting) {
                Ok(rule) => Ok(rule),
                Err(reason) => failed(
                    FailureKind::InvalidConfig,
                    STEP,
                    format!("{}: {reason}.", key(setting)),
                ),
            })
            .collect::<Step<Vec<DeviceAccess>>>()?;
        if rules.is_empty() && of(CgroupVersion::V1).next().is_some() {
            log::notice(
                "lxc.cgroup.devices has no effect: this host has cgroup version 2; use lxc.cgroup2 keys",
            );
        }
        let policy = DevicePolicy::from_rules(&rules);
        if policy.is_open() {
            return Ok(());
        }
        self.unified_limit()
            .and_then(|group| self.devices.enforce(&group, policy))
            .map_err(|error| {
                let message = format!(
                    "The kernel does not take the rules of lxc.cgroup2.devices: {error}. Remove them, or use a kernel with CONFIG_CGROUP_BPF."
                );
                failure(FailureKind::Unsupported, STEP, message)
            })
    }

    /// Takes in one more device rule while the container runs.
    pub(crate) fn change_device_rule(&mut self, rule: &DeviceAccess) -> io::Result<()> {
        if let Some(devices) = self.version_1_devices() {
            let file = if rule.allow {
                "devices.allow"
            } else {
                "devices.deny"
            };
            return devices.write(self.limit().unwrap_or_default(), file, &rule.text());
        }
        let group = self.unified_limit()?;
        self.devices.change(&group, rule)
    }

    fn version_1_devices(&self) -> Option<&Hierarchy> {
        let has = |h: &&Hierarchy| h.controllers.iter().any(|name| name == "devices");
        self.hierarchies.iter().find(has)
    }

    /// The group with the limits, as programs are attached to it.
    fn unified_limit(&self) -> io::Result<OwnedFd> {
        match (self.unified(), self.limit()) {
            (Some(unified), Some(path)) => unified.open_for_program(path),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
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
