//! What a container that runs takes over of its config: keys that the table
//! calls live.

use super::Monitor;
use super::start::write_proc;
use crate::config::invalid;
use crate::failure::{At, Step, failure};
use crate::log;
use crate::process_limits;
use gantry_core::cgroup::rules_in_force;
use gantry_core::command::DeviceAccess;
use gantry_core::keys::{self, FoundKey, Match};
use gantry_core::monitor::{FailureKind, ItemReply, SetItem};
use gantry_core::settings::{CgroupSetting, CgroupVersion, Settings};
use std::rc::Rc;

const STEP: &str = "changing device rules";

impl Monitor {
    /// Goes by other values of a key from now on, if that is possible.
    pub(super) fn set_item(&mut self, item: &SetItem) -> ItemReply {
        match self.take_over(item) {
            Ok(true) => ItemReply::Applied,
            Ok(false) => ItemReply::AtNextStart,
            Err(failure) => ItemReply::Failed(failure),
        }
    }

    fn take_over(&mut self, item: &SetItem) -> Step<bool> {
        let found = match keys::find(&item.key) {
            Some(Match::Key(found)) if found.key.live => found,
            _ => return Ok(false),
        };
        let values: Vec<&str> = item.values.iter().map(String::as_str).collect();
        let mut config = self.config.clone();
        config
            .set(&item.key, &values, &mut self.included)
            .map_err(invalid)?;
        let settings = Settings::from_config(&config).map_err(invalid)?;
        if !self.apply(&found, &settings)? {
            return Ok(false);
        }
        self.config = config;
        self.settings = Rc::new(settings);
        Ok(true)
    }

    /// Makes the kernel and the rest of the monitor go by a key. What is looked
    /// up when it is needed wants nothing done.
    fn apply(&mut self, found: &FoundKey<'_>, settings: &Settings) -> Step<bool> {
        match found.key.name {
            "lxc.cgroup.FILE" | "lxc.cgroup2.FILE" => {
                let version = match found.key.name {
                    "lxc.cgroup.FILE" => CgroupVersion::V1,
                    _ => CgroupVersion::V2,
                };
                self.apply_limit(found.suffix, version, &settings.cgroup)
            }
            "lxc.prlimit.NAME" => {
                let limit = settings.prlimits.get(found.suffix);
                match (&self.init, limit) {
                    (Some(init), Some(limit)) => {
                        process_limits::apply(init.pid, found.suffix, *limit).map(|()| true)
                    }
                    _ => Ok(false),
                }
            }
            "lxc.proc.FILE" => {
                let value = settings.proc.iter().rfind(|(file, _)| file == found.suffix);
                match (&self.init, value) {
                    (Some(init), Some((file, value))) => {
                        write_proc(init.pid, file, value).map(|()| true)
                    }
                    _ => Ok(false),
                }
            }
            name if name.starts_with("lxc.console.") => {
                self.console.reconfigure(&settings.console).map(|()| true)
            }
            name if name.starts_with("lxc.log.") => {
                log::open(&self.layout, settings).map(|()| true)
            }
            _ => Ok(true),
        }
    }

    /// What a file of the cgroups was before its key is not known: a key that
    /// goes leaves it until the next start, and so do device rules that go.
    fn apply_limit(
        &mut self,
        file: &str,
        version: CgroupVersion,
        after: &[CgroupSetting],
    ) -> Step<bool> {
        let same = |setting: &CgroupSetting| setting.file == file && setting.version == version;
        let allow = match file {
            "devices.allow" => true,
            "devices.deny" => false,
            _ if !after.iter().any(same) => return Ok(false),
            _ => return self.cgroups.apply_limits(after, same),
        };
        let before = &self.settings.cgroup;
        let host = self.cgroups.device_version();
        let in_force = rules_in_force(after, host);
        if rules_in_force(before, host).is_some_and(|old| Some(old) != in_force) {
            return Ok(false);
        }
        let of = |settings: &[CgroupSetting]| -> Vec<CgroupSetting> {
            let mut rules = settings.to_vec();
            rules.retain(same);
            rules
        };
        let (before, after) = (of(before), of(after));
        let Some(added) = after.strip_prefix(before.as_slice()) else {
            return Ok(false);
        };
        for rule in added {
            let parsed = DeviceAccess::parse(&rule.value, allow).map_err(|reason| {
                let message = format!("{} = {}: {reason}.", rule.file, rule.value);
                failure(FailureKind::InvalidArgument, STEP, message)
            })?;
            // Those of the other version count only where there are no others.
            if in_force != Some(version) {
                continue;
            }
            self.cgroups.change_device_rule(&parsed).at(STEP, || {
                format!("cannot apply {} = {}", rule.file, rule.value)
            })?;
        }
        Ok(true)
    }
}
