//! What the host can do, and what containers can be wired to.

use super::{Engine, Error, HostInterface, Result};
use crate::cgroup::{self, Version};
use crate::image::busybox::Busybox;
use crate::linux::space;
use crate::network::interfaces;
use gantry_core::idmap::{RANGE_SIZE, parse_subordinate};
use std::path::Path;

/// Something that was looked at on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A group of findings: `kernel`, `cgroups`, `ids`, `tools`, `network`,
    /// `storage`, `security`.
    pub(crate) topic: String,
    /// What was looked at.
    pub(crate) item: String,
    /// What was found and, when it is not well, the remedy.
    pub(crate) finding: String,
    /// Whether all is well.
    pub(crate) ok: bool,
}

/// Programs, and what for and from which package.
const TOOLS: [(&str, &str, &str); 6] = [
    ("tar", "unpacks root file systems", "tar"),
    ("gzip", "unpacks .gz archives", "gzip"),
    ("xz", "unpacks .xz archives", "xz-utils"),
    ("zstd", "unpacks .zst archives", "zstd"),
    ("bzip2", "unpacks .bz2 archives", "bzip2"),
    ("dnsmasq", "gives containers addresses", "dnsmasq-base"),
];
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Controllers without which limits or a clean stop do not work.
const CONTROLLERS: [&str; 5] = ["cpuset", "freezer", "io", "memory", "pids"];

impl Engine {
    /// What the host can and cannot do, with remedies.
    pub(crate) async fn check_host(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        kernel(&mut found);
        cgroups(&mut found);
        ids(&mut found);
        tools(&mut found);
        network(&mut found).await;
        stores(&mut found, Path::new(self.lxc_path()));
        security(&mut found);
        found
    }

    /// The host's network interfaces, but for `lo`.
    pub(crate) async fn host_interfaces(&self) -> Result<Vec<HostInterface>> {
        interfaces::list()
            .await
            .map_err(|error| Error::io("listing the network interfaces", &error))
    }
}

fn add(
    found: &mut Vec<Finding>,
    topic: &str,
    item: &str,
    result: std::result::Result<String, String>,
) {
    let ok = result.is_ok();
    let finding = result.unwrap_or_else(|problem| problem);
    found.push(Finding {
        topic: topic.to_owned(),
        item: item.to_owned(),
        finding,
        ok,
    });
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn kernel(found: &mut Vec<Finding>) {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let result = if version >= (5, 12) {
        Ok(release)
    } else {
        Err(format!(
            "{release} has no id-mapped mounts; use 5.12 or newer"
        ))
    };
    add(found, "kernel", "version", result);
    for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let there = Path::new("/proc/self/ns").join(name).exists();
        let result = if there {
            Ok("available".to_owned())
        } else {
            Err("missing; use a kernel that is built with it".to_owned())
        };
        add(found, "kernel", &format!("namespace {name}"), result);
    }
    let limit = read("/proc/sys/user/max_user_namespaces")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0_u64);
    let result = if limit > 0 {
        Ok(format!("up to {limit}"))
    } else {
        Err("none allowed; set the sysctl user.max_user_namespaces to 10000".to_owned())
    };
    add(found, "kernel", "user namespaces", result);
    let file_systems = read("/proc/filesystems").unwrap_or_default();
    let has_overlay = file_systems
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == "overlay");
    let result = if has_overlay {
        Ok("available".to_owned())
    } else {
        Err("not loaded; 'modprobe overlay' makes copy-on-write clones possible".to_owned())
    };
    add(found, "kernel", "overlay", result);
}

fn cgroups(found: &mut Vec<Finding>) {
    let host = match cgroup::Host::read() {
        Ok(host) => host,
        Err(error) => {
            return add(
                found,
                "cgroups",
                "hierarchies",
                Err(format!("cannot be read: {error}")),
            );
        }
    };
    let has = |version| host.versions.contains(&version);
    let result = match (has(Version::One), has(Version::Two)) {
        (false, true) => Ok("version 2".to_owned()),
        (true, false) => Ok("version 1".to_owned()),
        (true, true) => Ok("version 1 beside version 2".to_owned()),
        (false, false) => Err("none is mounted; mount cgroup2 on /sys/fs/cgroup".to_owned()),
    };
    add(found, "cgroups", "hierarchies", result);
    for name in CONTROLLERS {
        // Version 2 freezes without a controller, version 1 calls io blkio.
        let there = host.version_of(name).is_some()
            || (name == "io" && host.version_of("blkio").is_some())
            || (name == "freezer" && has(Version::Two));
        let result = if there {
            Ok("available".to_owned())
        } else {
            Err("missing; boot without cgroup_disable for it, or use another kernel".to_owned())
        };
        add(found, "cgroups", name, result);
    }
}

fn ids(found: &mut Vec<Finding>) {
    for path in ["/etc/subuid", "/etc/subgid"] {
        let all = parse_subordinate(&read(path).unwrap_or_default());
        let mut own = all
            .iter()
            .filter(|ids| matches!(ids.owner.as_str(), "root" | "0"))
            .map(|ids| ids.range);
        let result = match own
            .clone()
            .map(|range| range.count / RANGE_SIZE)
            .sum::<u32>()
        {
            0 if own.next().is_some() => Err(format!(
                "root's range is smaller than the {RANGE_SIZE} ids of one container; enlarge it"
            )),
            0 => Ok("root has no range; containers get free ids from 1000000 on".to_owned()),
            count => Ok(format!("root's range has room for {count} containers")),
        };
        add(found, "ids", path, result);
    }
}

fn tools(found: &mut Vec<Finding>) {
    for (tool, purpose, package) in TOOLS {
        let place = PLACES
            .iter()
            .map(|place| Path::new(place).join(tool))
            .find(|path| path.exists());
        let result = match place {
            Some(path) => Ok(path.display().to_string()),
            None => Err(format!("missing; it {purpose}: install {package}")),
        };
        add(found, "tools", tool, result);
    }
    let result = Busybox::find()
        .map(|_| "static, with init".to_owned())
        .map_err(|error| error.to_string());
    add(found, "tools", "busybox", result);
}

async fn network(found: &mut Vec<Finding>) {
    let bridges: Vec<String> = match interfaces::list().await {
        Ok(all) => all
            .into_iter()
            .filter(|one| one.kind == "bridge")
            .map(|one| one.name)
            .collect(),
        Err(error) => {
            return add(
                found,
                "network",
                "interfaces",
                Err(format!("cannot be listed: {error}")),
            );
        }
    };
    let result = if bridges.iter().any(|name| name == "lxcbr0") {
        Ok("is there".to_owned())
    } else if bridges.is_empty() {
        Err("missing, and there is no other bridge; start lxc-net.service to make it".to_owned())
    } else {
        Err(format!(
            "missing; start lxc-net.service, or wire containers to {}",
            bridges.join(", ")
        ))
    };
    add(found, "network", "lxcbr0", result);
    let forwards = read("/proc/sys/net/ipv4/ip_forward").as_deref() == Some("1");
    let result = if forwards {
        Ok("on".to_owned())
    } else {
        Err(
            "off, so that containers reach only the host; set the sysctl net.ipv4.ip_forward to 1"
                .to_owned(),
        )
    };
    add(found, "network", "forwarding", result);
}

fn stores(found: &mut Vec<Finding>, lxc_path: &Path) {
    let result = match space::free(lxc_path) {
        Ok(space) if space.read_only => Err("is read-only; mount it for writing".to_owned()),
        Ok(space) if space.is_exhausted() => Err(format!(
            "{} MiB are free; free some space",
            space.bytes >> 20
        )),
        Ok(space) => Ok(format!("{} MiB are free", space.bytes >> 20)),
        Err(error) => Err(format!("cannot be looked at: {error}")),
    };
    add(found, "storage", &lxc_path.display().to_string(), result);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(lxc_path)
        .map(|metadata| metadata.permissions().mode())
        .unwrap_or_default();
    let result = if mode & 0o001 != 0 {
        Ok("can be passed through by id-mapped containers".to_owned())
    } else {
        Err(format!(
            "id-mapped containers cannot reach their files; run chmod o+x {}",
            lxc_path.display()
        ))
    };
    add(found, "storage", "permissions", result);
}

fn security(found: &mut Vec<Finding>) {
    let result = match read("/sys/module/apparmor/parameters/enabled").as_deref() {
        Some("Y") => Ok("enabled".to_owned()),
        _ => Err("not enabled; privileged containers are held by less".to_owned()),
    };
    add(found, "security", "AppArmor", result);
    let polkit = [
        "/usr/lib/polkit-1/polkitd",
        "/usr/libexec/polkitd",
        "/usr/lib/policykit-1/polkitd",
    ];
    let result = match polkit.iter().find(|path| Path::new(path).exists()) {
        Some(path) => Ok((*path).to_owned()),
        None => Err("missing, so that only root is served; install polkitd".to_owned()),
    };
    add(found, "security", "polkit", result);
    let result = if Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        Ok("available".to_owned())
    } else {
        Err("missing; use a kernel that is built with it".to_owned())
    };
    add(found, "security", "seccomp", result);
}
