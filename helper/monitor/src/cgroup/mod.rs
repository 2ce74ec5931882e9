//! Control groups of one container: its monitor's and its payload's, in every
//! hierarchy of the host, of version 1 and of version 2.

mod bpf;
mod hierarchy;
mod limits;
mod tree;

pub(crate) use hierarchy::{Hierarchy, Version};

use crate::failure::{At, Step, failed};
use crate::log;
use gantry_core::command::CgroupLayout;
use gantry_core::idmap::{IdKind, IdMaps};
use gantry_core::layout::{ContainerLayout, GROUPS};
use gantry_core::monitor::FailureKind;
use gantry_core::settings::CgroupDirs;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(super) const STEP: &str = "making the cgroups";

/// Where the monitor goes to remove its own group, unless the config says or
/// the root of the hierarchy takes it.
const PIVOT: &str = "lxc.pivot";

/// How many names are tried for a group: NAME, NAME-1, ...
const ATTEMPTS: u32 = 1000;

/// The groups of one container in all hierarchies.
pub(crate) struct Cgroups {
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Below each hierarchy's base, without leading slash.
    monitor: Option<String>,
    /// The group that carries the limits.
    limit: Option<String>,
    /// One level more for the container's processes.
    inner: Option<String>,
    pivot: Option<String>,
    /// What the unified hierarchy does about devices.
    devices: bpf::Devices,
    /// Whether everything lies in groups that systemd has delegated to this
    /// process's unit, and removes with the unit.
    delegated: bool,
    /// Where it is noted which groups there are.
    note: Option<PathBuf>,
}

impl Cgroups {
    /// Finds the host's hierarchies. In a unit of systemd's the containers'
    /// groups lie below the unit's own, wherever it has one.
    pub(crate) fn find(dirs: &CgroupDirs, in_unit: bool) -> Step<Self> {
        let hierarchies = hierarchy::find(dirs.relative || in_unit)
            .at(STEP, || "cannot find the host's cgroups".to_owned())?;
        Ok(Self {
            hierarchies,
            monitor: None,
            limit: None,
            inner: None,
            pivot: dirs.monitor_pivot.clone(),
            devices: bpf::Devices::default(),
            delegated: in_unit,
            note: None,
        })
    }

    /// How the host arranges its hierarchies.
    pub(crate) fn layout(&self) -> CgroupLayout {
        let v1 = self.hierarchies.iter().any(|h| h.version == Version::V1);
        let v2 = self.unified().is_some();
        match (v1, v2) {
            (true, true) => CgroupLayout::Hybrid,
            (true, false) => CgroupLayout::Legacy,
            (false, true) => CgroupLayout::Unified,
            (false, false) => CgroupLayout::Unknown,
        }
    }

    /// The version 2 hierarchy.
    pub(crate) fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// The hierarchy of a controller; an empty name is the unified one.
    pub(crate) fn of_controller(&self, controller: &str) -> Option<&Hierarchy> {
        if controller.is_empty() {
            return self.unified();
        }
        let has = |hierarchy: &&Hierarchy| hierarchy.has_controller(controller);
        let found = self.hierarchies.iter().find(has);
        // Version 2 does without these, by other means.
        found.or(self
            .unified()
            .filter(|_| matches!(controller, "devices" | "freezer")))
    }

    /// Makes the monitor's group, `lxc.monitor.NAME`.
    pub(crate) fn make_monitor(&mut self, layout: &ContainerLayout, dirs: &CgroupDirs) -> Step<()> {
        let name = layout.name();
        let wanted = dirs
            .monitor
            .clone()
            .unwrap_or_else(|| below(dirs.base.as_deref(), &format!("lxc.monitor.{name}")));
        let monitor = self.make(&wanted)?;
        // A group whose children have controllers may hold no process itself,
        // and this one is in the base if that is its own.
        if let Some(unified) = self.unified().filter(|unified| !unified.is_root()) {
            unified.write(&monitor, "cgroup.procs", "0").at(STEP, || {
                format!("cannot enter {}", unified.directory(&monitor).display())
            })?;
        }
        self.monitor = Some(monitor);
        self.take_note(layout)
    }

    /// Notes where the groups are, if they are not where the helper looks for them
    /// anyway: it removes what is left of a monitor that was killed.
    fn take_note(&mut self, layout: &ContainerLayout) -> Step<()> {
        let name = layout.name();
        let groups = [("monitor", &self.monitor), ("payload", &self.limit)];
        let groups = groups.map(|(kind, group)| group.as_ref().map(|group| (kind, group)));
        let groups: Vec<(&str, &String)> = groups.into_iter().flatten().collect();
        let are_usual = self.hierarchies.iter().all(Hierarchy::is_root)
            && groups
                .iter()
                .all(|(kind, group)| **group == format!("lxc.{kind}.{name}"));
        if self.delegated || are_usual {
            return Ok(());
        }
        let mut text = format!("{}\n", layout.lxc_path());
        for hierarchy in &self.hierarchies {
            for (kind, group) in &groups {
                text.push_str(&format!(
                    "{kind} {}\n",
                    hierarchy.directory(group).display()
                ));
            }
        }
        let path = layout.groups();
        let mut folders = DirBuilder::new();
        let made = folders.recursive(true).mode(0o700).create(GROUPS);
        made.and_then(|()| std::fs::write(&path, text))
            .at(STEP, || format!("cannot write {}", path.display()))?;
        self.note = Some(path);
        Ok(())
    }

    /// Makes the payload's group, `lxc.payload.NAME`.
    pub(crate) fn make_payload(&mut self, layout: &ContainerLayout, dirs: &CgroupDirs) -> Step<()> {
        let name = layout.name();
        let wanted = dirs
            .container
            .clone()
            .unwrap_or_else(|| below(dirs.base.as_deref(), &format!("lxc.payload.{name}")));
        let limit = self.make(&wanted)?;
        self.limit = Some(limit.clone());
        if let Some(inner) = &dirs.inner {
            self.inner = Some(self.make(&format!("{limit}/{inner}"))?);
        }
        self.take_note(layout)
    }

    /// Makes a group in every hierarchy under the first name that is free in
    /// all, and gives back that name.
    fn make(&self, wanted: &str) -> Step<String> {
        if wanted.is_empty()
            || wanted
                .split('/')
                .any(|part| matches!(part, "" | "." | ".."))
        {
            let message =
                format!("'{wanted}' is not a cgroup below the host's; correct lxc.cgroup.dir.");
            return failed(FailureKind::InvalidConfig, STEP, message);
        }
        for attempt in 0..ATTEMPTS {
            let path = if attempt == 0 {
                wanted.to_owned()
            } else {
                format!("{wanted}-{attempt}")
            };
            let mut made = Vec::new();
            let failure =
                self.hierarchies
                    .iter()
                    .find_map(|hierarchy| match hierarchy.make(&path) {
                        Ok(()) => {
                            made.push(hierarchy);
                            None
                        }
                        Err(error) => Some((hierarchy, error)),
                    });
            let Some((hierarchy, error)) = failure else {
                return Ok(path);
            };
            for hierarchy in made {
                remove_logged(hierarchy, &path);
            }
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error).at(STEP, || {
                    format!("cannot make {}", hierarchy.directory(&path).display())
                });
            }
        }
        failed(
            FailureKind::Busy,
            STEP,
            format!("A thousand cgroups named '{wanted}' exist; remove those left behind."),
        )
    }

    /// Moves this process into its monitor's group. Into the unified hierarchy's
    /// it was born, but in a unit: there it leaves the unit's group, which can
    /// hand out controllers only when it holds no process (cgroups(7)).
    pub(crate) fn enter_monitor(&self) -> Step<()> {
        let Some(path) = &self.monitor else {
            return Ok(());
        };
        for hierarchy in &self.hierarchies {
            let entered = match hierarchy.version {
                Version::V1 => hierarchy.open_tasks(path).and_then(|tasks| enter(&tasks)),
                Version::V2 if self.delegated => hierarchy.write(path, "cgroup.procs", "0"),
                Version::V2 => continue,
            };
            entered.at(STEP, || {
                format!("cannot enter {}", hierarchy.directory(path).display())
            })?;
        }
        Ok(())
    }

    /// The directories of the payload's version 1 groups, opened so that init
    /// can enter them by itself.
    pub(crate) fn payload_tasks(&self) -> Step<Vec<OwnedFd>> {
        let path = self.payload().unwrap_or_default();
        self.hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.version == Version::V1)
            .map(|hierarchy| {
                hierarchy.open_tasks(path).at(STEP, || {
                    format!("cannot open {}", hierarchy.directory(path).display())
                })
            })
            .collect()
    }

    /// The monitor's group in the unified hierarchy, to be born in.
    pub(crate) fn monitor_unified(&self) -> Option<OwnedFd> {
        self.unified()?
            .open_directory(self.monitor.as_deref()?)
            .ok()
    }

    /// The payload's group in the unified hierarchy, to be born in.
    pub(crate) fn payload_unified(&self) -> Option<OwnedFd> {
        self.unified()?.open_directory(self.payload()?).ok()
    }

    /// The group of the container's processes, below each base.
    pub(crate) fn payload(&self) -> Option<&str> {
        self.inner.as_deref().or(self.limit.as_deref())
    }

    /// The group that carries the limits, below each base.
    pub(crate) fn limit(&self) -> Option<&str> {
        self.limit.as_deref()
    }

    /// Gives the payload's groups to the container's root, as far as a
    /// delegated group goes (cgroups(7)).
    pub(crate) fn delegate(&self, maps: &IdMaps) -> Step<()> {
        let (Some(path), Some(uid), Some(gid)) = (
            self.payload(),
            maps.host_of(IdKind::User, 0),
            maps.host_of(IdKind::Group, 0),
        ) else {
            return Ok(());
        };
        for hierarchy in &self.hierarchies {
            hierarchy.delegate(path, uid, gid).at(STEP, || {
                format!(
                    "cannot give {} to the container",
                    hierarchy.directory(path).display()
                )
            })?;
        }
        Ok(())
    }

    /// Lets everything in the container run again, so that it can die.
    pub(crate) fn thaw(&self) {
        let Some(path) = self.limit() else { return };
        for hierarchy in &self.hierarchies {
            let (file, value) = match hierarchy.version {
                Version::V2 => ("cgroup.freeze", "0"),
                Version::V1 if hierarchy.controllers.iter().any(|c| c == "freezer") => {
                    ("freezer.state", "THAWED")
                }
                Version::V1 => continue,
            };
            if let Err(error) = hierarchy.write(path, file, value) {
                log::debug(format!(
                    "cannot thaw {}: {error}",
                    hierarchy.directory(path).display()
                ));
            }
        }
    }

    /// Removes the payload's groups with all below, and ends what is still in
    /// them: not everything dies with an init that shares its pid namespace.
    pub(crate) fn remove_payload(&mut self) {
        self.inner = None;
        self.devices = bpf::Devices::default();
        if let Some(path) = self.limit.take() {
            if let Some(unified) = self.unified()
                && let Err(error) = unified.write(&path, "cgroup.kill", "1")
            {
                log::debug(format!(
                    "cannot end what is in {}: {error}",
                    unified.directory(&path).display()
                ));
            }
            self.hierarchies
                .iter()
                .for_each(|hierarchy| remove_logged(hierarchy, &path));
        }
    }

    /// Leaves and removes the monitor's groups.
    pub(crate) fn remove_monitor(&mut self) {
        let Some(path) = self.monitor.take() else {
            return;
        };
        let ours = |hierarchy: &&Hierarchy| !(self.delegated && hierarchy.is_of_service());
        for hierarchy in self.hierarchies.iter().filter(ours) {
            let pivot = match &self.pivot {
                Some(pivot) => pivot.clone(),
                None if hierarchy.is_root() => String::new(),
                None => PIVOT.to_owned(),
            };
            if !pivot.is_empty()
                && let Err(error) = hierarchy.make(&pivot)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                log::debug(format!(
                    "cannot make {}: {error}",
                    hierarchy.directory(&pivot).display()
                ));
            }
            let left = match hierarchy.version {
                Version::V1 => hierarchy.open_tasks(&pivot).and_then(|tasks| enter(&tasks)),
                Version::V2 => hierarchy.write(&pivot, "cgroup.procs", "0"),
            };
            if let Err(error) = left {
                log::debug(format!(
                    "cannot leave {}: {error}",
                    hierarchy.directory(&path).display()
                ));
            }
            remove_logged(hierarchy, &path);
        }
        if let Some(note) = self.note.take()
            && let Err(error) = std::fs::remove_file(&note)
        {
            log::error(format!("cannot remove {}: {error}", note.display()));
        }
    }
}

/// Moves this process, which has one thread, into the group of an open
/// `tasks` file. "0" is the writer itself: the kernel then needs no lock
/// against forks, which would cost a grace period.
pub(crate) fn enter(tasks: &OwnedFd) -> io::Result<()> {
    rustix::io::write(tasks, b"0")?;
    Ok(())
}

fn below(base: Option<&str>, group: &str) -> String {
    match base.map(|base| base.trim_matches('/')) {
        Some(base) if !base.is_empty() => format!("{base}/{group}"),
        _ => group.to_owned(),
    }
}

fn remove_logged(hierarchy: &Hierarchy, path: &str) {
    let directory: PathBuf = hierarchy.directory(path);
    if let Err(error) = tree::remove(Path::new(&directory)) {
        log::error(format!("cannot remove {}: {error}", directory.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn groups_lie_below_the_base() {
        assert_eq!(below(None, "lxc.payload.c1"), "lxc.payload.c1");
        assert_eq!(
            below(Some("/my/base/"), "lxc.payload.c1"),
            "my/base/lxc.payload.c1"
        );
        assert_eq!(below(Some("/"), "lxc.payload.c1"), "lxc.payload.c1");
    }
}
