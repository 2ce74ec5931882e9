//! `lxc.cgroup.*` and `lxc.cgroup2.*`.

use super::{Cgroups, Hierarchy, STEP, Version};
use crate::failure::{At, Step, failed, failure};
use crate::log;
use gantry_core::cgroup::{self, CgroupError, CgroupFile, DevicePolicy, Write};
use gantry_core::command::{DeviceAccess, DeviceKind};
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{CgroupSetting, CgroupVersion};
use std::io;
use std::os::fd::OwnedFd;

impl Cgroups {
    /// Applies those of the limits that are `wanted`, but no device rules, and
    /// tells whether all of them count. A limit that cannot be set is a failure:
    /// the container would not be held by it.
    ///
    /// One for the version of cgroups that the host does not have is translated,
    /// and gives way to one of the host's own. Where there is nothing like it, as
    /// in LXC, it has no effect: configs for hosts of both kinds have both keys.
    pub(crate) fn apply_limits(
        &self,
        settings: &[CgroupSetting],
        wanted: impl Fn(&CgroupSetting) -> bool,
    ) -> Step<bool> {
        let mut limits: Vec<(&CgroupSetting, Option<&Hierarchy>)> = settings
            .iter()
            .filter(|setting| !setting.is_device_rule() && wanted(setting))
            .map(|setting| (setting, self.hierarchy_of(setting)))
            .collect();
        // The kernel wants the limit on memory before the one on memory and
        // swap together, and so does a translation.
        limits.sort_by_key(|(limit, hierarchy)| {
            let on_swap = ["memory.memsw.", "memory.swap."];
            let on_swap = on_swap.iter().any(|start| limit.file.starts_with(start));
            (on_swap, hierarchy.is_none())
        });
        let mut all_count = true;
        for (limit, hierarchy) in limits {
            match hierarchy {
                Some(hierarchy) => self.apply(hierarchy, limit)?,
                None => all_count &= self.translate(limit, settings)?,
            }
        }
        Ok(all_count)
    }

    /// Sets what stands for a limit in the other version of cgroups, unless a
    /// setting of the host's own says otherwise. False: nothing does.
    fn translate(&self, limit: &CgroupSetting, settings: &[CgroupSetting]) -> Step<bool> {
        let key = limit.key();
        let host = limit.version.other();
        let file = CgroupFile::parse(&limit.file).ok();
        let found = file.as_ref().and_then(|file| {
            let hierarchy = match (host, file.controllers()) {
                (CgroupVersion::V1, (Some(name), _)) => self.version_1(name)?,
                (CgroupVersion::V2, (_, Some(_))) => self.unified()?,
                _ => return None,
            };
            Some((file, hierarchy))
        });
        let path = self.limit().unwrap_or_default();
        let mut writes = Vec::new();
        if let Some((file, hierarchy)) = found {
            let group = hierarchy.directory(path);
            let present = |name: &str| std::fs::read_to_string(group.join(name)).ok();
            writes = match cgroup::writes(file, &limit.value, host, &present) {
                Ok(writes) => writes,
                Err(CgroupError::NoEquivalent(_)) => Vec::new(),
                Err(CgroupError::Invalid(reason)) => {
                    let message = format!("{key} = {}: {reason}.", limit.value);
                    return failed(FailureKind::InvalidConfig, STEP, message);
                }
            };
            let is_own = |write: &Write| {
                let mut own = settings.iter().filter(|own| own.version == host);
                own.any(|own| own.file == write.file.name())
            };
            let has = |write: &Write| is_own(write) || group.join(write.file.name()).exists();
            if !writes.iter().all(has) {
                writes.clear();
            }
            for Write { file, value } in writes.iter().filter(|write| !is_own(write)) {
                hierarchy.write(path, file.name(), value).at(STEP, || {
                    let is = format!("{key} = {}", limit.value);
                    format!("cannot set {is}, which here is {} = {value}", file.name())
                })?;
            }
        }
        if !writes.is_empty() {
            return Ok(true);
        }
        if self.has_v1() == (host == CgroupVersion::V1) {
            log::notice(format!(
                "{key} has no effect: there is nothing like it in the version of cgroups that this host has"
            ));
            return Ok(false);
        }
        let message = format!(
            "The container's cgroup has no file for {key}; remove the key, or enable its controller in the cgroups above."
        );
        failed(FailureKind::Unsupported, STEP, message)
    }

    /// Applies the device rules, once the container's device nodes are made.
    pub(crate) fn apply_device_rules(&mut self, settings: &[CgroupSetting]) -> Step<()> {
        let Some(version) = cgroup::rules_in_force(settings, self.device_version()) else {
            return Ok(());
        };
        let rules = cgroup::rules_of(settings, version)
            .map_err(|reason| failure(FailureKind::InvalidConfig, STEP, format!("{reason}.")))?;
        let policy = DevicePolicy::from_rules(version, &rules);
        if let Some(devices) = self.version_1("devices") {
            // Where the kernel begins with everything.
            let all = DeviceAccess::parse("a", false)
                .map_err(|reason| failure(FailureKind::InvalidConfig, STEP, reason))?;
            let first = rules.first().filter(|rule| rule.kind == DeviceKind::All);
            let before = (version == CgroupVersion::V2 && first.is_none()).then_some(&all);
            return before
                .into_iter()
                .chain(&rules)
                .try_for_each(|rule| self.write_rule(devices, rule))
                .at(STEP, || "cannot set the rules for devices".to_owned());
        }
        if policy.is_open() {
            return Ok(());
        }
        self.unified_limit()
            .and_then(|group| self.devices.enforce(&group, policy))
            .map_err(|error| {
                let message = format!(
                    "The kernel does not take the rules for devices: {error}. Remove them, or use a kernel with CONFIG_CGROUP_BPF."
                );
                failure(FailureKind::Unsupported, STEP, message)
            })
    }

    /// Takes in one more device rule while the container runs.
    pub(crate) fn change_device_rule(&mut self, rule: &DeviceAccess) -> io::Result<()> {
        if let Some(devices) = self.version_1("devices") {
            return self.write_rule(devices, rule);
        }
        let group = self.unified_limit()?;
        self.devices.change(&group, rule)
    }

    fn write_rule(&self, devices: &Hierarchy, rule: &DeviceAccess) -> io::Result<()> {
        let file = match rule.allow {
            true => "devices.allow",
            false => "devices.deny",
        };
        devices.write(self.limit().unwrap_or_default(), file, &rule.text())
    }

    /// Which version of the kernel's interface decides on devices.
    pub(crate) fn device_version(&self) -> CgroupVersion {
        match self.version_1("devices") {
            Some(_) => CgroupVersion::V1,
            None => CgroupVersion::V2,
        }
    }

    /// A controller's hierarchy of version 1.
    fn version_1(&self, controller: &str) -> Option<&Hierarchy> {
        let has = |h: &&Hierarchy| h.controllers.iter().any(|name| name == controller);
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
            CgroupVersion::V1 => self.version_1(limit.file.split('.').next()?),
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
                limit.key()
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
                format!("cannot set {} = {}", limit.key(), limit.value)
            })
    }
}
