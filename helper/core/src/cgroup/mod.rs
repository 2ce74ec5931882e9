//! Files of control groups (cgroups(7)), and what stands for each in the other
//! version of the kernel's interface.

mod devices;
mod equivalents;
#[cfg(test)]
mod tests;
mod values;

pub use devices::{DevicePolicy, rules_in_force, rules_of};
pub use values::took_effect;

use crate::keys::{self, Match};
use crate::settings::CgroupVersion;
use equivalents::{Equivalent, TABLE};

/// The longest value: the kernel takes less than a page at once.
pub const MAX_VALUE: usize = 4095;

/// Why a key or a value cannot be used. The text is a sentence's part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CgroupError {
    /// The name or the value is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The host's version has nothing of the kind.
    #[error("{0}")]
    NoEquivalent(String),
}

fn invalid<T>(reason: String) -> Result<T, CgroupError> {
    Err(CgroupError::Invalid(reason))
}

/// The name of a controller's file: `memory.max`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CgroupFile(String);

impl CgroupFile {
    /// Checks a name: a controller, a dot, and more of letters, digits, `.`,
    /// `_` and `-`.
    pub fn parse(text: &str) -> Result<Self, CgroupError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let has_controller = text
            .split_once('.')
            .is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
        if has_controller && text.len() <= 128 && text.chars().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            invalid(format!(
                "{:?} is not a control group's file; write one such as memory.max",
                text.chars().take(80).collect::<String>()
            ))
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The key by which a config sets it in a version's hierarchy.
    pub fn key(&self, version: CgroupVersion) -> String {
        match version {
            CgroupVersion::V1 => format!("lxc.cgroup.{}", self.0),
            CgroupVersion::V2 => format!("lxc.cgroup2.{}", self.0),
        }
    }

    /// Whether writing it can give nobody the rights of root on the host.
    pub fn is_safe(&self) -> bool {
        match keys::find(&self.key(CgroupVersion::V1)) {
            Some(Match::Key(found)) => found.key.safety.is_safe(found.suffix, "x"),
            _ => false,
        }
    }

    /// Whether it is `devices.allow` (true) or `devices.deny` (false).
    pub fn device_rule(&self) -> Option<bool> {
        match self.0.as_str() {
            "devices.allow" => Some(true),
            "devices.deny" => Some(false),
            _ => None,
        }
    }

    /// The controllers of version 1 and of version 2 that have this file or
    /// what stands for it. None: that version has none; empty: every group of
    /// version 2.
    pub fn controllers(&self) -> (Option<&str>, Option<&str>) {
        let controller = self.0.split('.').next().unwrap_or_default();
        if self.0.ends_with(".pressure") {
            return (None, Some(""));
        }
        match controller {
            "blkio" | "io" => (Some("blkio"), Some("io")),
            "cpuacct" => (Some("cpuacct"), Some("cpu")),
            "freezer" => (Some("freezer"), Some("")),
            "devices" => (Some("devices"), Some("")),
            "cgroup" if self.0 == "cgroup.freeze" => (Some("freezer"), Some("")),
            "cgroup" => (None, Some("")),
            other => (Some(other), Some(other)),
        }
    }

    /// What it is on a host with this version.
    fn meaning(&self, host: CgroupVersion, present: Present<'_>) -> Result<Meaning, CgroupError> {
        if TABLE.iter().any(|entry| entry.of(host) == self.0) {
            return Ok(Meaning::Own);
        }
        let found: Vec<&Equivalent> = TABLE
            .iter()
            .filter(|entry| entry.of(host.other()) == self.0)
            .collect();
        let is_part = |entry: &&Equivalent| entry.rule.is_part();
        if host == CgroupVersion::V1 && !found.is_empty() && found.iter().all(is_part) {
            return Ok(Meaning::Parts(found));
        }
        let there = |entry: &&&Equivalent| present(entry.of(host)).is_some();
        if let Some(entry) = found.iter().find(there).or(found.first()) {
            return Ok(Meaning::Equal(entry));
        }
        // What the table does not know may be a file of both versions.
        let (v1, v2) = self.controllers();
        let controller = match host {
            CgroupVersion::V1 => v1,
            CgroupVersion::V2 => v2,
        };
        let is_core = self.0.starts_with("cgroup.") || self.0.ends_with(".pressure");
        match controller {
            Some("") if is_core => Ok(Meaning::Own),
            Some(name) if self.0.split('.').next() == Some(name) => Ok(Meaning::Own),
            _ => Err(CgroupError::NoEquivalent(format!(
                "there is nothing like {} in cgroup version {}, which this host has; use a key of that version",
                self.0,
                match host {
                    CgroupVersion::V1 => 1,
                    CgroupVersion::V2 => 2,
                }
            ))),
        }
    }
}

/// What a file is on a host.
enum Meaning {
    /// One of the host's own.
    Own,
    /// It says in one what these say together.
    Parts(Vec<&'static Equivalent>),
    /// It is called otherwise there.
    Equal(&'static Equivalent),
}

/// One value for one file of the host's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The file.
    pub file: CgroupFile,
    /// What to write.
    pub value: String,
}

/// What a group has now, by the names of its own files; none where there is no
/// such file, or no such line in a config.
pub type Present<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What to write, in order, so that a host whose controller is of version
/// `host` has `file` = `value`.
pub fn writes(
    file: &CgroupFile,
    value: &str,
    host: CgroupVersion,
    present: Present<'_>,
) -> Result<Vec<Write>, CgroupError> {
    let value = checked(value)?;
    let write = |name: &str, value: String| Write {
        file: CgroupFile(name.to_owned()),
        value,
    };
    match file.meaning(host, present)? {
        Meaning::Own => Ok(vec![write(file.name(), value.to_owned())]),
        Meaning::Equal(entry) => {
            let value = match host {
                CgroupVersion::V1 => entry.rule.to_v1(value, host, present)?,
                CgroupVersion::V2 => entry.rule.to_v2(value, host, present)?,
            };
            Ok(vec![write(entry.of(host), value)])
        }
        Meaning::Parts(entries) => {
            let mut parts = Vec::new();
            for entry in entries {
                let value = entry.rule.to_v1(value, host, present)?;
                if !value.is_empty() {
                    parts.push(write(entry.v1, value));
                }
            }
            match parts.is_empty() {
                true => invalid(format!("{value:?} sets nothing of {}", file.name())),
                false => Ok(parts),
            }
        }
    }
}

/// What `file` has on such a host; none if there is no such file.
pub fn reading(
    file: &CgroupFile,
    host: CgroupVersion,
    present: Present<'_>,
) -> Result<Option<String>, CgroupError> {
    match file.meaning(host, present)? {
        Meaning::Own => Ok(present(file.name())),
        Meaning::Equal(entry) => {
            let Some(value) = present(entry.of(host)) else {
                return Ok(None);
            };
            let value = value.trim();
            match host {
                CgroupVersion::V1 => entry.rule.to_v2(value, host, present),
                CgroupVersion::V2 => entry.rule.to_v1(value, host, present).map(set_lines),
            }
            .map(Some)
        }
        Meaning::Parts(entries) => Ok(equivalents::together(&entries, present)),
    }
}

/// Without the lines that say that a device is not limited: version 1 shows
/// none for these.
fn set_lines(text: String) -> String {
    let is_unset = |line: &&str| line.contains(':') && line.ends_with(" 0");
    if text.lines().any(|line| is_unset(&line)) {
        let lines: Vec<&str> = text.lines().filter(|line| !is_unset(line)).collect();
        lines.join("\n")
    } else {
        text
    }
}

/// A value that may be written at all.
fn checked(value: &str) -> Result<&str, CgroupError> {
    let value = value.trim();
    match value {
        "" => invalid("the value is empty; give one".to_owned()),
        _ if value.len() > MAX_VALUE => invalid(format!(
            "the value has {} bytes; at most {MAX_VALUE} can be written",
            value.len()
        )),
        _ if value.chars().any(char::is_control) => {
            invalid("the value has a control character; remove it".to_owned())
        }
        _ => Ok(value),
    }
}
