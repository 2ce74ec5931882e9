//! Control groups of either version (cgroups(7)), by file descriptors of
//! their directories.

mod usage;

pub(crate) use usage::{Groups, Sample};

use crate::linux::proc;
use crate::linux::process::started_at;
use gantry_core::cgroup::CgroupFile;
use gantry_core::layout::{ContainerLayout, GROUPS};
use gantry_core::name::ContainerName;
use gantry_core::settings::CgroupVersion;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Reads a group's file.
pub(crate) fn read(group: &OwnedFd, file: &str) -> io::Result<String> {
    let mut text = String::new();
    open(group, file, OFlags::RDONLY)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes to a group's file.
pub(crate) fn write(group: &OwnedFd, file: &str, value: &str) -> io::Result<()> {
    open(group, file, OFlags::WRONLY)?.write_all(value.as_bytes())
}

/// Opens a group's file.
fn open(group: &OwnedFd, file: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::openat(
        group.as_fd(),
        file,
        flags,
        Mode::empty(),
    )?))
}

/// The number after a word at the start of a line.
pub(crate) fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(word)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// What the host has mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Host {
    /// The versions of the hierarchies.
    pub(crate) versions: Vec<CgroupVersion>,
    /// The controllers, and which version each is of.
    pub(crate) controllers: Vec<(String, CgroupVersion)>,
}

impl Host {
    /// Reads what is mounted where we are.
    pub(crate) fn read() -> io::Result<Self> {
        let mut host = Self::default();
        let mounts = proc::text("/proc/self/mountinfo")?;
        for line in mounts.lines() {
            let Some((place, kind)) = line.split_once(" - ") else {
                continue;
            };
            let mut kind = kind.split(' ');
            match (kind.next(), kind.next(), kind.next()) {
                (Some("cgroup2"), ..) => {
                    let point = place.split(' ').nth(4).unwrap_or_default();
                    let names = std::fs::read_to_string(format!("{point}/cgroup.controllers"))?;
                    host.add(CgroupVersion::V2, names.split_whitespace());
                }
                (Some("cgroup"), _, Some(options)) => {
                    host.add(
                        CgroupVersion::V1,
                        options.split(',').filter(|word| CONTROLLERS.contains(word)),
                    );
                }
                _ => {}
            }
        }
        Ok(host)
    }

    fn add<'a>(&mut self, version: CgroupVersion, names: impl Iterator<Item = &'a str>) {
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
        for name in names.map(|name| (name.to_owned(), version)) {
            if !self.controllers.contains(&name) {
                self.controllers.push(name);
            }
        }
    }

    /// The version of a controller; none if there is no such controller.
    pub(crate) fn version_of(&self, controller: &str) -> Option<CgroupVersion> {
        self.controllers
            .iter()
            .find(|(name, _)| name == controller)
            .map(|(_, version)| *version)
    }

    /// In which controller's hierarchy (none for the unified one) a file is,
    /// or what stands for it; none if the host has no such controller.
    pub(crate) fn place_of<'f>(
        &self,
        file: &'f CgroupFile,
    ) -> Option<(CgroupVersion, Option<&'f str>)> {
        let (v1, v2) = file.controllers();
        let has = |name: &str, version| {
            let mut known = self.controllers.iter();
            known.any(|(known, of)| known == name && *of == version)
        };
        match (v1, v2) {
            (Some(name), _) if has(name, CgroupVersion::V1) => {
                Some((CgroupVersion::V1, Some(name)))
            }
            (_, Some("")) if self.versions.contains(&CgroupVersion::V2) => {
                Some((CgroupVersion::V2, None))
            }
            (_, Some(name)) if has(name, CgroupVersion::V2) => Some((CgroupVersion::V2, None)),
            _ => None,
        }
    }
}

/// The containers that have groups: of their name at the top of some hierarchy, or
/// where their monitors have noted.
pub(crate) fn with_groups() -> BTreeSet<ContainerName> {
    let mounts = proc::text("/proc/self/mountinfo").unwrap_or_default();
    let noted = names_in(Path::new(GROUPS)).filter_map(|name| ContainerName::new(&name).ok());
    hierarchies(&mounts)
        .into_iter()
        .flat_map(|hierarchy| names_in(Path::new(hierarchy)))
        .filter_map(|group| {
            let name = group
                .strip_prefix("lxc.payload.")
                .or(group.strip_prefix("lxc.monitor."))?;
            ContainerName::new(name).ok()
        })
        .chain(noted)
        .collect()
}

/// The names in a folder; none if it cannot be read.
fn names_in(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// The init of a container, by the groups of its name: of their processes the one
/// that is the first of a pid namespace, or the oldest. None if there is no process.
pub(crate) fn init_of(container: &ContainerLayout) -> Option<u32> {
    let mut pids = BTreeSet::new();
    for group in groups(container, "payload") {
        add_processes(&group, &mut pids);
    }
    pids.into_iter().min_by_key(|pid| {
        let status = proc::text(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let numbers: Vec<&str> = numbers.unwrap_or_default().split_whitespace().collect();
        let is_first = numbers.last() == Some(&"1");
        (!is_first, numbers.len(), started_at(*pid))
    })
}

/// Kills every process in the groups of a container, where the kernel can.
pub(crate) fn kill_all(container: &ContainerLayout) {
    write_to_all(container, &[("cgroup.kill", "1")]);
    thaw(container);
}

/// Lets a container go on that is frozen.
pub(crate) fn thaw(container: &ContainerLayout) {
    write_to_all(
        container,
        &[("cgroup.freeze", "0"), ("freezer.state", "THAWED")],
    );
}

fn write_to_all(container: &ContainerLayout, values: &[(&str, &str)]) {
    for group in groups(container, "payload") {
        for (file, value) in values {
            let opened = File::options().write(true).open(group.join(file));
            match opened.and_then(|mut file| file.write_all(value.as_bytes())) {
                // Each hierarchy has files of its own.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!("writing to {}/{file}: {error}", group.display()),
                Ok(()) => {}
            }
        }
    }
}

/// What a container's monitor has noted; none if it is of one in another LXC path that
/// has the same name.
fn note_of(container: &ContainerLayout) -> Option<String> {
    let note = std::fs::read_to_string(container.groups()).ok()?;
    let (lxc_path, groups) = note.split_once('\n')?;
    (lxc_path == container.lxc_path()).then(|| groups.to_owned())
}

/// The groups of a container, `payload` or `monitor`: of its name at the tops of the
/// hierarchies, and where its monitor has noted.
fn groups(container: &ContainerLayout, kind: &str) -> Vec<PathBuf> {
    let mounts = proc::text("/proc/self/mountinfo").unwrap_or_default();
    let usual = format!("lxc.{kind}.{}", container.name());
    let usual = hierarchies(&mounts)
        .into_iter()
        .map(|hierarchy| Path::new(hierarchy).join(&usual));
    let note = note_of(container).unwrap_or_default();
    let noted = note
        .lines()
        .filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    let groups = usual.chain(noted.map(PathBuf::from));
    groups.filter(|group| group.is_dir()).collect()
}

fn add_processes(group: &Path, pids: &mut BTreeSet<u32>) {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_processes(&entry.path(), pids);
        }
    }
}

/// Removes what a monitor that was killed left of a stopped container: its groups
/// without any process. Gives back whether none are left.
pub(crate) fn remove_empty(container: &ContainerLayout) -> bool {
    for kind in ["payload", "monitor"] {
        for group in groups(container, kind) {
            match remove_tree(&group) {
                Ok(()) => tracing::info!("removed {}, which was left", group.display()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!("removing {} failed: {error}", group.display()),
            }
        }
    }
    let are_gone = |kind: &str| groups(container, kind).is_empty();
    let done = are_gone("payload") && are_gone("monitor");
    if done
        && note_of(container).is_some()
        && let Err(error) = std::fs::remove_file(container.groups())
    {
        tracing::debug!("removing {} failed: {error}", container.groups().display());
    }
    done
}

/// Where the hierarchies are mounted, by the text of /proc/self/mountinfo:
/// each once, and only those whose top is the top of our cgroup namespace.
fn hierarchies(mounts: &str) -> Vec<&str> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let mut fields = line.split(' ').skip(2);
        if let (Some(device), Some("/"), Some(point)) =
            (fields.next(), fields.next(), fields.next())
            && !seen.contains(&device)
        {
            seen.push(device);
            found.push(point);
        }
    }
    found
}

/// Removes a group and those in it. The kernel refuses to remove one with
/// processes.
fn remove_tree(group: &Path) -> io::Result<()> {
    match std::fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
        result => return result,
    }
    for entry in std::fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}

/// Controllers of version 1, to tell them from mount options.
const CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_hierarchies_count() {
        let mounts = "\
30 25 0:26 /.. /host/cgroup rw - cgroup2 cgroup2 rw
31 25 0:26 / /sys/fs/cgroup rw,nosuid shared:1 - cgroup2 cgroup2 rw
32 25 0:26 / /again rw - cgroup2 cgroup2 rw
33 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 25 8:1 / / rw - ext4 /dev/sda1 rw
";
        assert_eq!(
            hierarchies(mounts),
            ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"]
        );
    }

    #[test]
    fn fields_are_found_by_their_whole_word() {
        let text = "populated 1\nfrozen 0\nfrozen_x 7\n";
        assert_eq!(field(text, "frozen"), Some(0));
        assert_eq!(field(text, "froz"), None);
        assert_eq!(field(text, "absent"), None);
    }
}
