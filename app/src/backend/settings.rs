use std::{collections::HashMap, fs};

use gantry_api::{ResourcesProxy, Result};

use super::{Backend, calls::path};

/// Something of a container that its page of settings changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Whether it starts with the computer: 1 or nothing.
    Autostart,
    /// Its place in the order of starting.
    Order,
    /// Seconds to wait after it was started.
    Delay,
    /// The groups it is in.
    Groups,
    /// Bytes of memory at most.
    Memory,
    /// Its share of the processors, from 1 to 10000.
    Processors,
    /// So many processors' time at most, in decimals.
    Quota,
    /// The processors it may run on, by number: 0-1,3.
    Which,
    /// Processes at most.
    Processes,
}

/// Where a setting is kept.
enum Place {
    /// A key of the configuration.
    Config(&'static str),
    /// A file of the control groups, and those that stand for it in version 1.
    Limit(&'static str, &'static [&'static str]),
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 9] = [
        Self::Autostart,
        Self::Order,
        Self::Delay,
        Self::Groups,
        Self::Memory,
        Self::Processors,
        Self::Quota,
        Self::Which,
        Self::Processes,
    ];

    fn place(self) -> Place {
        match self {
            Self::Autostart => Place::Config("lxc.start.auto"),
            Self::Order => Place::Config("lxc.start.order"),
            Self::Delay => Place::Config("lxc.start.delay"),
            Self::Groups => Place::Config("lxc.group"),
            Self::Memory => Place::Limit("memory.max", &["memory.limit_in_bytes"]),
            Self::Processors => Place::Limit("cpu.weight", &["cpu.shares"]),
            Self::Quota => Place::Limit("cpu.max", &["cpu.cfs_quota_us", "cpu.cfs_period_us"]),
            Self::Which => Place::Limit("cpuset.cpus", &[]),
            Self::Processes => Place::Limit("pids.max", &[]),
        }
    }

    /// Whether `key` is one by which a configuration keeps it.
    #[must_use]
    pub fn is_saved_as(self, key: &str) -> bool {
        match self.place() {
            Place::Config(own) => key == own,
            Place::Limit(file, others) => {
                let rest = key.strip_prefix("lxc.cgroup");
                let found = rest.and_then(|rest| rest.trim_start_matches('2').strip_prefix('.'));
                found.is_some_and(|found| found == file || others.contains(&found))
            }
        }
    }

    /// What a person reads for a file's value: nothing where that is no limit.
    fn shown(self, value: &str) -> String {
        match (self, value) {
            (Self::Memory, value) => in_units(value),
            (Self::Quota, value) => quota(value),
            (Self::Processors, "100") => String::new(),
            (Self::Which, value) if value == every_processor() => String::new(),
            (_, "max") => String::new(),
            (_, value) => value.to_owned(),
        }
    }

    /// The file's value for what a person has typed.
    fn told(self, text: &str) -> String {
        match (self, text.trim()) {
            (Self::Processors, "") => "100".to_owned(),
            (Self::Which, "") => every_processor(),
            (_, "") => "max".to_owned(),
            (Self::Quota, text) => match text.replace(',', ".").parse::<f64>() {
                Ok(processors) => format!("{:.0} {PERIOD}", processors * f64::from(PERIOD)),
                // The helper says what is wrong with it.
                Err(_) => text.to_owned(),
            },
            (_, text) => text.to_owned(),
        }
    }
}

/// The time over which the kernel shares processors out, in microseconds.
const PERIOD: u32 = 100_000;

/// A number of bytes by the largest unit that divides it.
fn in_units(value: &str) -> String {
    if value == "max" {
        return String::new();
    }
    let Ok(bytes) = value.parse::<u64>() else {
        return value.to_owned();
    };
    let units = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    let unit = units
        .into_iter()
        .find(|(_, size)| bytes != 0 && bytes % size == 0);
    unit.map_or(value.to_owned(), |(name, size)| {
        format!("{}{name}", bytes / size)
    })
}

/// So many processors' time as `cpu.max` says it: a quota and its period.
fn quota(value: &str) -> String {
    let mut words = value.split_whitespace();
    match (words.next(), words.next()) {
        (None | Some("max"), _) => String::new(),
        (Some(quota), period) => {
            let period = period.and_then(|text| text.parse::<f64>().ok());
            match quota.parse::<f64>() {
                Ok(quota) => format!("{}", quota / period.unwrap_or_else(|| PERIOD.into())),
                Err(_) => value.to_owned(),
            }
        }
    }
}

/// The numbers of all processors of this computer, as control groups write them.
fn every_processor() -> String {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    online.trim().to_owned()
}

impl Backend {
    /// What a setting is now; nothing when it is not set.
    ///
    /// # Errors
    /// Those of `Container.GetConfigItem` and `Resources.GetLimit` in the contract.
    pub async fn setting(&self, container: &str, setting: Setting) -> Result<String> {
        match setting.place() {
            Place::Config(key) => {
                let proxy = self.container(container).await?;
                Ok(proxy.get_config_item(key).await?.join(", "))
            }
            Place::Limit(key, _) => {
                let value = self.resources(container).await?.get_limit(key).await?;
                Ok(setting.shown(&value))
            }
        }
    }

    /// Saves a setting; nothing takes it away. Limits apply at once, too.
    ///
    /// # Errors
    /// Those of `Container.SetConfigItem` and `Resources.SetLimit` in the contract.
    pub async fn set_setting(&self, container: &str, setting: Setting, value: &str) -> Result<()> {
        match setting.place() {
            Place::Config(key) => {
                let parts = value.split([',', ' ']).filter(|part| !part.is_empty());
                let parts: Vec<&str> = parts.collect();
                let proxy = self.container(container).await?;
                proxy.set_config_item(key, &parts, HashMap::new()).await
            }
            Place::Limit(key, _) => {
                let value = setting.told(value);
                let options = HashMap::from([("persist", true.into())]);
                let proxy = self.resources(container).await?;
                proxy.set_limit(key, &value, options).await
            }
        }
    }

    pub(super) async fn resources(&self, container: &str) -> Result<ResourcesProxy<'static>> {
        let bus = self.bus()?;
        Ok(ResourcesProxy::builder(&bus)
            .path(path(container)?)?
            .build()
            .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_are_typed() {
        for (setting, value, text) in [
            (Setting::Memory, "67108864", "64M"),
            (Setting::Memory, "max", ""),
            (Setting::Memory, "1G", "1G"),
            (Setting::Quota, "150000 100000", "1.5"),
            (Setting::Quota, "max 100000", ""),
            (Setting::Processors, "100", ""),
            (Setting::Processes, "7", "7"),
        ] {
            assert_eq!(setting.shown(value), text);
        }
        assert_eq!(Setting::Quota.told("0,5"), "50000 100000");
        assert_eq!(Setting::Quota.told("much"), "much");
        assert_eq!(Setting::Memory.told(" "), "max");
    }

    #[test]
    fn a_limit_is_known_by_the_keys_of_both_versions() {
        for key in ["lxc.cgroup2.memory.max", "lxc.cgroup.memory.limit_in_bytes"] {
            assert!(Setting::Memory.is_saved_as(key), "{key}");
        }
        assert!(!Setting::Memory.is_saved_as("lxc.cgroup2.memory.high"));
        assert!(Setting::Groups.is_saved_as("lxc.group"));
    }
}
