//! Limits: values of control groups' files, live and in the config.

use super::client::Client;
use super::config::{prepare, put_in_place};
use super::disk::{self, DiskIncludes};
use super::{ContainerId, Engine, Error, Result};
use crate::cgroup::{self, Host};
use gantry_core::cgroup::{
    CgroupError, CgroupFile, Present, Write, reading, rules_in_force, took_effect, writes,
};
use gantry_core::command::DeviceAccess;
use gantry_core::config::Config;
use gantry_core::settings::{CgroupVersion, Settings};
use std::io;
use std::os::fd::OwnedFd;

/// Where a limit is.
struct Place<'f> {
    version: CgroupVersion,
    /// The controller of version 1; none for the unified hierarchy.
    controller: Option<&'f str>,
}

impl Engine {
    /// Sets a file of a container's control groups, of either version: now if
    /// it runs, and with `persist` from its next start on.
    pub(crate) async fn set_limit(
        &self,
        id: &ContainerId,
        file: &CgroupFile,
        value: &str,
        persist: bool,
    ) -> Result<()> {
        self.need_system(id)?;
        if matches!(file.name(), "freezer.state" | "cgroup.freeze") {
            return Err(Error::InvalidArgument(format!(
                "{} is not a limit; use Freeze and Unfreeze, so that everybody sees the state",
                file.name()
            )));
        }
        let place = place_of(file)?;
        let path = self.layout(&id.name).config();
        let _lock = match persist {
            true => Some(self.lock(&id.name).await?),
            false => None,
        };
        let group = self.limit_group(id, &place).await?;
        if group.is_none() && !persist {
            return Err(Error::WrongState(format!(
                "container '{}' is not running; start it, or save the limit with the option persist",
                id.name
            )));
        }
        let rule = file
            .device_rule()
            .map(|allow| DeviceAccess::parse(value, allow).map_err(Error::InvalidArgument))
            .transpose()?;
        let config = disk::read_config(&path)?.config;
        let present = |name: &str| present(name, group.as_ref(), &config, &place);
        let writes = match rule {
            Some(_) => vec![Write {
                file: file.clone(),
                value: value.to_owned(),
            }],
            None => writes(file, value, place.version, &present)?,
        };
        let edited = match persist {
            true => Some(with_limits(&config, &writes, &place)?),
            false => None,
        };
        // Neither is done without the other.
        let replacement = edited
            .as_ref()
            .map(|edited| prepare(&path, edited.text()))
            .transpose()?;
        match (&group, rule) {
            (Some(_), Some(rule)) => self.set_device_rule(id, &rule).await?,
            (Some(group), None) => apply(id, group, &writes)?,
            (None, _) => {}
        }
        if let Some((replacement, edited)) = replacement.zip(edited) {
            put_in_place(replacement, &path)?;
            // Its monitor is to know what it goes by.
            self.apply_live(id, &config, &edited).await?;
            self.refresh().await?;
        }
        Ok(())
    }

    /// Allows or denies devices to a container that runs.
    pub(super) async fn set_device_rule(
        &self,
        id: &ContainerId,
        rule: &DeviceAccess,
    ) -> Result<()> {
        let client = Client::new(&self.layout(&id.name));
        if self.device_version()? == CgroupVersion::V2 {
            return client.device_rule(rule).await;
        }
        let file = match rule.allow {
            true => "devices.allow",
            false => "devices.deny",
        };
        let group = client.cgroup(Some("devices")).await?;
        let write = Write {
            file: CgroupFile::parse(file)?,
            value: rule.text(),
        };
        write_one(id, &group, &write)
    }

    /// Which version of the kernel's interface decides on devices.
    pub(super) fn device_version(&self) -> Result<CgroupVersion> {
        let file = CgroupFile::parse("devices.allow")?;
        place_of(&file).map(|place| place.version)
    }

    /// What a file of a container's control groups has: the kernel's word if
    /// it runs, else what its config says, and nothing if that says nothing.
    pub(crate) async fn limit(&self, id: &ContainerId, file: &CgroupFile) -> Result<String> {
        self.need_system(id)?;
        let place = place_of(file)?;
        let group = self.limit_group(id, &place).await?;
        let config = disk::read_config(&self.layout(&id.name).config())?.config;
        let present = |name: &str| present(name, group.as_ref(), &config, &place);
        match reading(file, place.version, &present)? {
            Some(value) => Ok(value.trim_end().to_owned()),
            None if group.is_none() => Ok(String::new()),
            None => Err(missing(file)),
        }
    }

    /// The group that has the limits of a container that runs.
    async fn limit_group(&self, id: &ContainerId, place: &Place<'_>) -> Result<Option<OwnedFd>> {
        if self.get(id).await?.init_pid == 0 {
            return Ok(None);
        }
        let client = Client::new(&self.layout(&id.name));
        client.cgroup(place.controller).await.map(Some)
    }
}

fn place_of(file: &CgroupFile) -> Result<Place<'_>> {
    let host =
        Host::read().map_err(|error| Error::io("reading the host's control groups", &error))?;
    match host.place_of(file) {
        Some((version, controller)) => Ok(Place {
            version,
            controller,
        }),
        None => Err(Error::Unsupported(format!(
            "the host has no cgroup controller for {}; enable it at boot, or use another key",
            file.name()
        ))),
    }
}

/// A file's value in the group, or in the config of a container that does not
/// run.
fn present(
    name: &str,
    group: Option<&OwnedFd>,
    config: &Config,
    place: &Place<'_>,
) -> Option<String> {
    match group {
        Some(group) => cgroup::read(group, name).ok(),
        None => {
            let own = |name: &str| {
                let key = CgroupFile::parse(name).ok()?.key(place.version);
                let values = config.values(&key);
                (!values.is_empty()).then(|| values.join("\n"))
            };
            own(name).or_else(|| translated(name, config, place.version, &own))
        }
    }
}

/// A file's value by keys of the version that the host does not have, as a start
/// takes them.
fn translated(
    name: &str,
    config: &Config,
    host: CgroupVersion,
    own: Present<'_>,
) -> Option<String> {
    let settings = Settings::from_config(config).ok()?.cgroup;
    let foreign = settings.iter().filter(|one| one.version != host);
    let values: Vec<String> = foreign
        .filter_map(|one| writes(&CgroupFile::parse(&one.file).ok()?, &one.value, host, own).ok())
        .flatten()
        .filter(|write| write.file.name() == name)
        .map(|write| write.value)
        .collect();
    (!values.is_empty()).then(|| values.join("\n"))
}

/// The config with limits, each in place of what it had for the same file, and
/// for the same device if it is about one.
fn with_limits(config: &Config, writes: &[Write], place: &Place<'_>) -> Result<Config> {
    let mut edited = config.clone();
    for Write { file, value } in writes {
        let key = file.key(place.version);
        let old = edited.values(&key);
        if file.device_rule().is_some() {
            // A list whose order counts, and of which only one version's does.
            let settings = Settings::from_config(&edited)?.cgroup;
            let version = rules_in_force(&settings, place.version);
            let key = file.key(version.unwrap_or(place.version));
            let old = edited.values(&key);
            if old.last() != Some(&value.as_str()) {
                edited.append(&key, value, &mut DiskIncludes)?;
            }
            continue;
        }
        let device = |value: &str| {
            let first = value.split_whitespace().next()?;
            first.contains(':').then(|| first.to_owned())
        };
        let about = device(value);
        let mut values: Vec<String> = old
            .into_iter()
            .filter(|old| about.is_some() && device(old) != about)
            .map(str::to_owned)
            .collect();
        values.push(value.clone());
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        edited.set(&key, &values, &mut DiskIncludes)?;
    }
    Ok(edited)
}

/// Writes and looks whether it took effect. What was done before a failure is
/// undone.
fn apply(id: &ContainerId, group: &OwnedFd, writes: &[Write]) -> Result<()> {
    let mut done: Vec<(&CgroupFile, String)> = Vec::new();
    for write in writes {
        let old = cgroup::read(group, write.file.name()).ok();
        let result = write_one(id, group, write);
        done.extend(old.map(|old| (&write.file, old)));
        if let Err(error) = result {
            for (file, old) in done.iter().rev() {
                // Files of several lines take one a time, and only a change.
                for line in old.lines() {
                    if let Err(error) = cgroup::write(group, file.name(), line) {
                        tracing::debug!("{} stays as it is: {error}", file.name());
                    }
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

fn write_one(id: &ContainerId, group: &OwnedFd, Write { file, value }: &Write) -> Result<()> {
    let name = file.name();
    let what = format!("{name} = {value} of container '{}'", id.name);
    cgroup::write(group, name, value).map_err(|error| match error.raw_os_error() {
        _ if error.kind() == io::ErrorKind::NotFound => missing(file),
        Some(libc::EINVAL | libc::ERANGE | libc::ENODEV) => Error::InvalidArgument(format!(
            "the kernel does not take {what}: {error}; give a value that {name} can have"
        )),
        Some(libc::EBUSY) => Error::Busy(format!(
            "the kernel does not take {what} while more is in use; give more, or stop something in the container"
        )),
        Some(libc::EACCES | libc::EPERM) => Error::InvalidArgument(format!(
            "the kernel does not take {what}: {name} cannot be written, or a group above forbids it"
        )),
        _ => Error::io(format_args!("setting {what}"), &error),
    })?;
    match cgroup::read(group, name) {
        Ok(shown) if !took_effect(file, value, &shown) => Err(Error::InvalidArgument(format!(
            "the kernel made '{}' of {what}; give a value in its range",
            shown.trim_end()
        ))),
        // Some can only be written.
        _ => Ok(()),
    }
}

fn missing(file: &CgroupFile) -> Error {
    Error::Unsupported(format!(
        "the host's kernel has no {}; look for the right name, or use a kernel that has it",
        file.name()
    ))
}

impl From<CgroupError> for Error {
    fn from(error: CgroupError) -> Self {
        match error {
            CgroupError::Invalid(text) => Self::InvalidArgument(text),
            CgroupError::NoEquivalent(text) => Self::Unsupported(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn edited(text: &str, version: CgroupVersion, file: &str, value: &str) -> String {
        let config =
            Config::parse(Path::new("/x/config"), text.to_owned(), &mut DiskIncludes).unwrap();
        let write = Write {
            file: CgroupFile::parse(file).unwrap(),
            value: value.to_owned(),
        };
        let place = Place {
            version,
            controller: None,
        };
        let edited = with_limits(&config, &[write], &place).unwrap();
        edited.text().to_owned()
    }

    #[test]
    fn a_limit_replaces_its_line_alone() {
        let text = "# mine\nlxc.cgroup2.memory.max = 1G\nlxc.cgroup.memory.limit_in_bytes = 2G\nlxc.uts.name = a";
        assert_eq!(
            edited(text, CgroupVersion::V2, "memory.max", "3G"),
            text.replace("1G", "3G")
        );
        assert_eq!(
            edited(text, CgroupVersion::V1, "pids.max", "5"),
            format!("{text}\nlxc.cgroup.pids.max = 5\n")
        );
    }

    #[test]
    fn limits_of_other_devices_stay() {
        let text = "lxc.cgroup2.io.max = 8:0 rbps=1\nlxc.cgroup2.io.max = 8:16 rbps=1\n";
        assert_eq!(
            edited(text, CgroupVersion::V2, "io.max", "8:0 rbps=2"),
            "lxc.cgroup2.io.max = 8:16 rbps=1\nlxc.cgroup2.io.max = 8:0 rbps=2\n"
        );
    }

    #[test]
    fn device_rules_are_added() {
        let text = "lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c 1:3 rwm\n";
        let more = format!("{text}lxc.cgroup2.devices.allow = c 7:0 rwm\n");
        let with = |text| edited(text, CgroupVersion::V2, "devices.allow", "c 7:0 rwm");
        assert_eq!(with(text), more);
        assert_eq!(with(&more), more);
        // Those of the other version count as long as there are no others.
        let old = text.replace("cgroup2", "cgroup");
        assert_eq!(with(&old), more.replace("cgroup2", "cgroup"));
    }
}
