//! Which changes of a config equal root on the host.

use super::{Config, Item};
use crate::keys::Safety;

impl Config {
    /// The keys whose change from `old` to this config can give whoever makes
    /// it the rights of root on the host, each once: a value comes that is not
    /// harmless, or one goes whose loss is not. What stays is not counted.
    ///
    /// Both must have been read with their includes; what an include brings
    /// is judged like what the file itself says.
    pub fn unsafe_changes(&self, old: &Self) -> Vec<String> {
        let mut keys = self.changed_keys(old);
        keys.retain(|key| self.is_unsafe_change(old, key));
        // Allowing and denying are two keys, but their common order counts.
        let rules = |config: &Self| -> Vec<(String, String)> {
            let rules = config.items.iter().filter(|item| is_device_rule(item));
            rules
                .map(|item| (item.key.clone(), item.value.clone()))
                .collect()
        };
        let (before, after) = (rules(old), rules(self));
        if before != after
            && !keys
                .iter()
                .any(|key| after.iter().chain(&before).any(|(rule, _)| rule == key))
        {
            keys.extend(after.into_iter().map(|(key, _)| key).take(1));
        }
        keys
    }

    fn is_unsafe_change(&self, old: &Self, key: &str) -> bool {
        let Some(item) = self.items_of(key).chain(old.items_of(key)).next() else {
            return false;
        };
        if self.has_unsafe_network(key) || (!self.is_confined() && relies_on_confinement(item)) {
            return true;
        }
        match item.description.safety {
            Safety::Safe => false,
            Safety::Unsafe => true,
            Safety::ByValue(_) => {
                let (before, after) = (old.values(key), self.values(key));
                let is_safe = |value: &str| item.description.safety.is_safe(&item.suffix, value);
                let only_added = after.starts_with(&before);
                let comes =
                    |value: &&&str| occurrences(&after, value) > occurrences(&before, value);
                !after.iter().filter(comes).all(|value| is_safe(value))
                    || (!only_added && !is_safe(""))
            }
        }
    }

    /// Whether a key is about a network whose type is not harmless: then all
    /// about it is not.
    fn has_unsafe_network(&self, key: &str) -> bool {
        let number = key
            .strip_prefix("lxc.net.")
            .and_then(|rest| rest.split('.').next());
        number.is_some_and(|number| {
            let network_type = format!("lxc.net.{number}.type");
            self.items_of(&network_type)
                .any(|item| !item.description.safety.is_safe("", &item.value))
        })
    }

    /// Whether the container has a root file system and ids of its own, so
    /// that what runs in it has no rights on the host.
    fn is_confined(&self) -> bool {
        self.get("lxc.rootfs.path").is_some() && self.get("lxc.idmap").is_some()
    }
}

/// Keys that decide what runs in the container and what it reaches there, and
/// settings of the kernel for namespaces, which may be the host's: harmless only
/// where the container itself is.
fn relies_on_confinement(item: &Item) -> bool {
    let name = item.description.name;
    name.starts_with("lxc.init.")
        || name.starts_with("lxc.environment")
        || name.starts_with("lxc.sysctl.")
        || matches!(name, "lxc.execute.cmd" | "lxc.mount.entry")
}

fn is_device_rule(item: &Item) -> bool {
    item.key.starts_with("lxc.cgroup") && item.suffix.starts_with("devices.")
}

fn occurrences(values: &[&str], value: &str) -> usize {
    values.iter().filter(|other| **other == value).count()
}
