//! One cgroup hierarchy of the host.

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdir, open, openat};
use rustix::process::umask;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Which interface a hierarchy has, see cgroups(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    /// Version 1: controllers, or `name=systemd`. Version 2: nothing.
    pub(crate) controllers: Vec<String>,
    mount: PathBuf,
    /// The group below which containers' groups are made: begins with `/`,
    /// and is just that for the root.
    base: String,
}

/// Every hierarchy that this process can see and write to, each once. The base
/// is the root, or with `relative` this process's own group; and also that
/// where systemd has delegated it to this process.
pub(super) fn find(relative: bool) -> io::Result<Vec<Hierarchy>> {
    let mut found = parse(
        &crate::proc::text("/proc/self/mountinfo")?,
        Hierarchy::is_visible,
    );
    let own = own_groups(&std::fs::read_to_string("/proc/self/cgroup")?);
    for hierarchy in &mut found {
        let key = hierarchy.controllers.join(",");
        let Some(group) = own.get(&key) else { continue };
        let own = hierarchy.directory(group.trim_start_matches('/'));
        if relative || (hierarchy.version == Version::V2 && is_delegated(&own)) {
            hierarchy.base.clone_from(group);
        }
    }
    Ok(found)
}

/// Whether systemd says that a group is its processes' to manage
/// (systemd.io/CGROUP_DELEGATION).
fn is_delegated(group: &Path) -> bool {
    let mut value = [0_u8; 1];
    rustix::fs::getxattr(group, "trusted.delegate", &mut value).is_ok_and(|_| value == *b"1")
}

fn parse(mountinfo: &str, is_visible: impl Fn(&Hierarchy) -> bool) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, superblock)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = mount.split(' ');
        let (Some(point), Some(options)) = (fields.nth(4), fields.next()) else {
            continue;
        };
        let mut fields = superblock.split(' ');
        let (Some(kind), Some(super_options)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let version = match kind {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => continue,
        };
        if options.split(',').any(|option| option == "ro") {
            continue;
        }
        let controllers = match version {
            Version::V2 => Vec::new(),
            Version::V1 => super_options
                .split(',')
                .filter(|option| is_controller(option))
                .map(str::to_owned)
                .collect(),
        };
        let hierarchy = Hierarchy {
            version,
            controllers,
            mount: PathBuf::from(point),
            base: "/".to_owned(),
        };
        let same = |h: &Hierarchy| h.version == version && h.controllers == hierarchy.controllers;
        if !found.iter().any(same) && is_visible(&hierarchy) {
            found.push(hierarchy);
        }
    }
    found
}

/// Whether a version 1 mount's option names what the hierarchy is for.
fn is_controller(option: &str) -> bool {
    !matches!(
        option,
        "rw" | "ro"
            | "xattr"
            | "noprefix"
            | "clone_children"
            | "cpuset_v2_mode"
            | "favordynmods"
            | "none"
    ) && !option.starts_with("release_agent=")
}

/// The groups of a process by hierarchy (`/proc/self/cgroup`).
fn own_groups(text: &str) -> BTreeMap<String, String> {
    let fields = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    text.lines().filter_map(fields).collect()
}

impl Hierarchy {
    /// Whether it is what is found at its place: another mount may hide it.
    fn is_visible(&self) -> bool {
        let magic = match self.version {
            Version::V1 => libc::CGROUP_SUPER_MAGIC,
            Version::V2 => libc::CGROUP2_SUPER_MAGIC,
        };
        rustix::fs::statfs(&self.mount).is_ok_and(|found| found.f_type == magic)
    }

    /// Whether a controller belongs to this hierarchy. `cgroup` stands for the
    /// files that every version 2 group has.
    pub(super) fn has_controller(&self, controller: &str) -> bool {
        match self.version {
            Version::V1 => self.controllers.iter().any(|name| name == controller),
            Version::V2 => {
                let text = std::fs::read_to_string(self.directory("").join("cgroup.controllers"));
                controller == "cgroup"
                    || text.is_ok_and(|text| {
                        text.split_ascii_whitespace().any(|name| name == controller)
                    })
            }
        }
    }

    /// Whether the base is the group of a service of systemd's, with which all
    /// below it goes.
    pub(super) fn is_of_service(&self) -> bool {
        self.base.ends_with(".service")
    }

    /// Whether the base is the root, which may hold processes and groups.
    pub(super) fn is_root(&self) -> bool {
        self.base == "/"
    }

    /// The directory of a group below the base; an empty path is the base.
    pub(crate) fn directory(&self, path: &str) -> PathBuf {
        self.mount
            .join(self.base.trim_start_matches('/'))
            .join(path)
    }

    /// The group as `/proc/PID/cgroup` names it.
    pub(crate) fn group(&self, path: &str) -> String {
        format!("{}/{path}", self.base.trim_end_matches('/'))
    }

    /// The directory, as a handle to work below.
    pub(crate) fn open_directory(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(open(self.directory(path), flags, Mode::empty())?)
    }

    /// The directory, to attach a program to (O_PATH is not enough before
    /// Linux 6.2).
    pub(super) fn open_for_program(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(open(self.directory(path), flags, Mode::empty())?)
    }

    /// A version 1 group's list of threads, to enter it.
    pub(super) fn open_tasks(&self, path: &str) -> io::Result<OwnedFd> {
        Ok(open(
            self.directory(path).join("tasks"),
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    /// Makes a group and what is missing above it. The group itself must be
    /// new.
    pub(super) fn make(&self, path: &str) -> io::Result<()> {
        let mut directory = self.directory("");
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if self.version == Version::V2 {
                enable_controllers(&directory);
            }
            let child = directory.join(part);
            // Who is not root in the container reads its limits, too.
            let mask = umask(Mode::from_raw_mode(0o022));
            let made = mkdir(&child, Mode::from_raw_mode(0o755));
            umask(mask);
            match made {
                Ok(()) if self.controllers.iter().any(|name| name == "cpuset") => {
                    if let Err(error) = inherit_cpuset(&directory, &child) {
                        std::fs::remove_dir(&child)?;
                        return Err(error);
                    }
                }
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) if parts.peek().is_some() => {}
                Err(errno) => return Err(errno.into()),
            }
            directory = child;
        }
        Ok(())
    }

    /// Writes a value to a file of a group. The kernel's refusal is an error.
    pub(crate) fn write(&self, path: &str, file: &str, value: &str) -> io::Result<()> {
        let file = openat(
            self.open_directory(path)?,
            file,
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let written = rustix::io::write(&file, value.as_bytes())?;
        if written == value.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Gives a group's directory and the files for making and filling groups
    /// below to a user.
    pub(super) fn delegate(&self, path: &str, uid: u32, gid: u32) -> io::Result<()> {
        let directory = self.directory(path);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chownat(CWD, &directory, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(
            CWD,
            &directory,
            Mode::from_raw_mode(0o775),
            AtFlags::empty(),
        )?;
        let files: &[&str] = match self.version {
            Version::V1 => &["tasks", "cgroup.procs"],
            Version::V2 => &[
                "cgroup.procs",
                "cgroup.threads",
                "cgroup.subtree_control",
                "memory.oom.group",
                "memory.reclaim",
            ],
        };
        for file in files {
            let file = directory.join(file);
            match chownat(CWD, &file, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => continue,
                result => result?,
            }
            chmodat(CWD, &file, Mode::from_raw_mode(0o664), AtFlags::empty())?;
        }
        Ok(())
    }
}

/// Lets groups below use every controller that this one has. What cannot be
/// enabled shows when a limit is written.
///
/// A group that holds processes is left alone, unless it is the root: with the
/// first controller that it hands out it would become a threaded one, below
/// which the kernel takes no process of another (cgroups(7)).
fn enable_controllers(directory: &Path) {
    let is_root = !directory.join("cgroup.type").exists();
    let is_empty = std::fs::read_to_string(directory.join("cgroup.procs"))
        .is_ok_and(|processes| processes.is_empty());
    if !is_root && !is_empty {
        return;
    }
    let Ok(available) = std::fs::read_to_string(directory.join("cgroup.controllers")) else {
        return;
    };
    let enabled =
        std::fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
    for controller in available.split_ascii_whitespace() {
        if !enabled
            .split_ascii_whitespace()
            .any(|name| name == controller)
            && let Err(error) = std::fs::write(
                directory.join("cgroup.subtree_control"),
                format!("+{controller}"),
            )
        {
            crate::log::debug(format!(
                "cannot enable {controller} below {}: {error}",
                directory.display()
            ));
        }
    }
}

/// A new version 1 cpuset group has no processors and takes no process until
/// it is given some.
fn inherit_cpuset(parent: &Path, child: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        std::fs::write(child.join(file), std::fs::read(parent.join(file))?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /elsewhere rw,relatime - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
35 31 0:33 / /sys/fs/cgroup/devices ro,relatime - cgroup cgroup rw,devices
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hierarchies_are_found_once() {
        let found = parse(HYBRID, |_| true);
        let controllers: Vec<String> = found.iter().map(|h| h.controllers.join(",")).collect();
        assert_eq!(controllers, ["cpu,cpuacct", "name=systemd", ""]);
        assert_eq!(
            found[0].directory("lxc.payload.c1"),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/lxc.payload.c1")
        );
        assert_eq!(found[2].version, Version::V2);
        assert_eq!(found[2].group("lxc.payload.c1"), "/lxc.payload.c1");
    }

    #[test]
    fn a_hidden_mount_gives_way_to_the_next() {
        let found = parse(HYBRID, |h| !h.mount.ends_with("cpu,cpuacct"));
        assert_eq!(found[0].mount, Path::new("/elsewhere"));
    }

    #[test]
    fn own_groups_by_hierarchy() {
        let own = own_groups("4:cpu,cpuacct:/a/b\n1:name=systemd:/c\n0::/d:e\n");
        assert_eq!(own.get("cpu,cpuacct").map(String::as_str), Some("/a/b"));
        assert_eq!(own.get("").map(String::as_str), Some("/d:e"));
    }
}
