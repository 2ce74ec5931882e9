//! Which devices a container may use: the rules of `devices.allow` and
//! `devices.deny`, as version 1 of the kernel's interface keeps them
//! (admin-guide/cgroup-v1/devices.rst). Version 2 has no files for this.

use crate::command::{DeviceAccess, DeviceKind};
use crate::settings::{CgroupSetting, CgroupVersion};

/// Of which version the device rules are that count on a host: those of its
/// own version, or, where a config has none, the other's. None without rules.
pub fn rules_in_force(settings: &[CgroupSetting], host: CgroupVersion) -> Option<CgroupVersion> {
    let has = |version: &CgroupVersion| {
        let mut rules = settings.iter().filter(|one| one.is_device_rule());
        rules.any(|rule| rule.version == *version)
    };
    [host, host.other()].into_iter().find(has)
}

/// The device rules of a version, in order. The error names the key.
pub fn rules_of(
    settings: &[CgroupSetting],
    version: CgroupVersion,
) -> Result<Vec<DeviceAccess>, String> {
    let of_version = |one: &&CgroupSetting| one.is_device_rule() && one.version == version;
    let parse = |rule: &CgroupSetting| {
        let parsed = match rule.file.as_str() {
            "devices.allow" => DeviceAccess::parse(&rule.value, true),
            "devices.deny" => DeviceAccess::parse(&rule.value, false),
            _ => Err("it is neither devices.allow nor devices.deny".to_owned()),
        };
        parsed.map_err(|reason| format!("{}: {reason}", rule.key()))
    };
    settings.iter().filter(of_version).map(parse).collect()
}

/// What is allowed, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePolicy {
    /// Whether what no exception is about is allowed.
    pub allows: bool,
    /// What is otherwise: no two are about the same devices.
    pub exceptions: Vec<DeviceAccess>,
}

impl Default for DevicePolicy {
    /// Everything is allowed.
    fn default() -> Self {
        Self {
            allows: true,
            exceptions: Vec::new(),
        }
    }
}

impl DevicePolicy {
    /// The policy of a config's rules, in order. No rules allow everything.
    /// Without a rule for all (`a`) those of version 2 say what alone is allowed,
    /// as stock LXC has it; with version 1 the kernel begins with everything.
    pub fn from_rules(version: CgroupVersion, rules: &[DeviceAccess]) -> Self {
        let mut policy = Self {
            allows: version == CgroupVersion::V1 || rules.is_empty(),
            exceptions: Vec::new(),
        };
        rules.iter().for_each(|rule| policy.change(rule));
        policy
    }

    /// Takes in one more rule.
    pub fn change(&mut self, rule: &DeviceAccess) {
        if rule.kind == DeviceKind::All {
            self.allows = rule.allow;
            self.exceptions.clear();
            return;
        }
        let same = |other: &DeviceAccess| {
            (other.kind, other.major, other.minor) == (rule.kind, rule.major, rule.minor)
        };
        let found = self.exceptions.iter_mut().find(|other| same(other));
        match (found, rule.allow == self.allows) {
            (Some(known), false) => {
                known.read |= rule.read;
                known.write |= rule.write;
                known.mknod |= rule.mknod;
            }
            (None, false) => self.exceptions.push(*rule),
            (Some(known), true) => {
                known.read &= !rule.read;
                known.write &= !rule.write;
                known.mknod &= !rule.mknod;
                self.exceptions
                    .retain(|rule| rule.read || rule.write || rule.mknod);
            }
            (None, true) => {}
        }
    }

    /// Whether it allows all that a rule is about.
    pub fn covers(&self, rule: &DeviceAccess) -> bool {
        let meets = |number: Option<u32>, other: Option<u32>| {
            number.is_none() || other.is_none() || number == other
        };
        let about = |other: &&DeviceAccess| {
            other.kind == rule.kind
                && meets(other.major, rule.major)
                && meets(other.minor, rule.minor)
        };
        let mut about = self.exceptions.iter().filter(about);
        if self.allows {
            return !about.any(|other| {
                (other.read && rule.read)
                    || (other.write && rule.write)
                    || (other.mknod && rule.mknod)
            });
        }
        about.any(|other| {
            other.read >= rule.read && other.write >= rule.write && other.mknod >= rule.mknod
        })
    }

    /// Whether it restricts nothing.
    pub fn is_open(&self) -> bool {
        self.allows && self.exceptions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<DeviceAccess> {
        texts
            .iter()
            .map(|text| match text.split_once(' ').unwrap() {
                ("allow", rule) => DeviceAccess::parse(rule, true).unwrap(),
                (_, rule) => DeviceAccess::parse(rule, false).unwrap(),
            })
            .collect()
    }

    fn policy(texts: &[&str]) -> DevicePolicy {
        DevicePolicy::from_rules(CgroupVersion::V2, &rules(texts))
    }

    #[test]
    fn no_rules_allow_everything_and_some_only_what_they_say() {
        assert!(policy(&[]).is_open());
        let one = policy(&["allow c 1:3 rwm"]);
        assert_eq!((one.allows, one.exceptions.len()), (false, 1));
        let none = policy(&["deny a"]);
        assert!(!none.allows && none.exceptions.is_empty() && !none.is_open());
        assert!(policy(&["deny a", "allow c 1:3 rwm", "allow a"]).is_open());
    }

    #[test]
    fn rules_of_version_1_begin_with_everything() {
        let one = DevicePolicy::from_rules(CgroupVersion::V1, &rules(&["deny c 1:3 w"]));
        assert_eq!(one.exceptions, rules(&["deny c 1:3 w"]));
        assert!(one.allows);
        let old = rules(&["deny a", "allow c 1:3 rwm"]);
        let of = |version| DevicePolicy::from_rules(version, &old);
        assert_eq!(of(CgroupVersion::V1), of(CgroupVersion::V2));
    }

    #[test]
    fn rules_of_the_other_version_count_where_there_are_none_of_the_hosts() {
        let rule = |version, file: &str, value: &str| CgroupSetting {
            version,
            file: file.to_owned(),
            value: value.to_owned(),
        };
        let (v1, v2) = (CgroupVersion::V1, CgroupVersion::V2);
        let old = rule(v1, "devices.deny", "a");
        let new = rule(v2, "devices.allow", "c 1:3 rwm");
        let none = [rule(v2, "memory.max", "1G")];
        assert_eq!(rules_in_force(&none, v2), None);
        let one = [old.clone(), none[0].clone()];
        assert_eq!(rules_in_force(&one, v2), Some(v1));
        assert_eq!(rules_in_force(&one, v1), Some(v1));
        let both = [old, new];
        assert_eq!(rules_in_force(&both, v1), Some(v1));
        assert_eq!(rules_in_force(&both, v2), Some(v2));
        assert_eq!(rules_of(&both, v2), Ok(rules(&["allow c 1:3 rwm"])));
        let wrong = rules_of(&[rule(v2, "devices.allow", "tun")], v2).unwrap_err();
        assert!(wrong.starts_with("lxc.cgroup2.devices.allow: "), "{wrong}");
    }

    #[test]
    fn rules_add_to_and_take_from_exceptions() {
        let base = ["deny a", "allow c 1:3 rwm", "allow b 7:* rm"];
        let mut changed = policy(&base);
        for rule in rules(&["allow b 7:* w", "deny c 1:3 w"]) {
            changed.change(&rule);
        }
        assert_eq!(
            changed.exceptions,
            rules(&["allow c 1:3 rm", "allow b 7:* rwm"])
        );
        for rule in rules(&["deny c 1:3 rwm", "deny c 9:9 rwm"]) {
            changed.change(&rule);
        }
        assert_eq!(changed.exceptions, rules(&["allow b 7:* rwm"]));
    }

    #[test]
    fn a_rule_is_covered_by_what_allows_all_of_it() {
        let some = policy(&["deny a", "allow c 1:3 rwm", "allow b 7:* rm"]);
        let covers = |policy: &DevicePolicy, rule: &str| policy.covers(&rules(&[rule])[0]);
        assert!(covers(&some, "allow c 1:3 rw") && covers(&some, "allow b 7:4 r"));
        assert!(!covers(&some, "allow b 7:4 rw") && !covers(&some, "allow b 1:3 r"));
        let open = policy(&["allow a", "deny c 1:3 w"]);
        assert!(covers(&open, "allow b 1:3 rwm") && !covers(&open, "allow c 1:3 rwm"));
    }

    #[test]
    fn where_all_is_allowed_denials_are_the_exceptions() {
        let mut open = policy(&["allow a", "deny c 1:3 w", "allow c 5:1 rwm"]);
        assert_eq!(open.exceptions, rules(&["deny c 1:3 w"]));
        open.change(&rules(&["allow c 1:3 w"])[0]);
        assert!(open.is_open());
    }
}
