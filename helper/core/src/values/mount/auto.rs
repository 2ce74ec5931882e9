//! `lxc.mount.auto`: the standard mounts.

use crate::values::words;
use std::fmt;
use std::path::PathBuf;

/// How /proc is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcMode {
    /// /proc/sys (but its `net`) and sysrq-trigger read-only.
    Mixed,
    /// As the kernel gives it.
    ReadWrite,
}

/// How /sys is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysMode {
    /// Read-only, but /sys/devices/virtual/net.
    Mixed,
    /// Read-only.
    ReadOnly,
    /// As the kernel gives it.
    ReadWrite,
}

/// Which cgroups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupTree {
    /// `cgroup`: the container's own.
    Own,
    /// `cgroup-full`: everything.
    Full,
    /// `cgroup2`: the unified hierarchy, always.
    Unified,
}

/// How cgroups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Writable if CAP_SYS_ADMIN is kept, else mixed.
    ByCapability,
    /// The container's own group writable, the rest read-only.
    Mixed,
    /// Read-only.
    ReadOnly,
    /// Writable.
    ReadWrite,
}

/// The cgroup class of `lxc.mount.auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupMount {
    /// Which.
    pub tree: CgroupTree,
    /// How.
    pub mode: CgroupMode,
    /// Also when a cgroup namespace exists.
    pub force: bool,
}

/// The shmounts class of `lxc.mount.auto`: a shared host directory through
/// which mounts reach a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMounts {
    /// On the host; must be a shared mount.
    pub host: PathBuf,
    /// In the container.
    pub container: PathBuf,
}

/// `lxc.mount.auto`, with its four classes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AutoMounts {
    /// /proc
    pub proc: Option<ProcMode>,
    /// /sys
    pub sys: Option<SysMode>,
    /// /sys/fs/cgroup
    pub cgroup: Option<CgroupMount>,
    /// Mount injection.
    pub shared: Option<SharedMounts>,
}

impl AutoMounts {
    /// Applies one line's tokens: within each class a later one counts.
    pub fn apply(&mut self, text: &str) -> Result<(), String> {
        words(text).try_for_each(|token| self.apply_token(token))
    }

    fn apply_token(&mut self, token: &str) -> Result<(), String> {
        let refuse = || format!("'{token}' is not a mount that can be made automatically");
        match token {
            "proc" | "proc:mixed" => self.proc = Some(ProcMode::Mixed),
            "proc:rw" => self.proc = Some(ProcMode::ReadWrite),
            "sys" | "sys:mixed" => self.sys = Some(SysMode::Mixed),
            "sys:ro" => self.sys = Some(SysMode::ReadOnly),
            "sys:rw" => self.sys = Some(SysMode::ReadWrite),
            _ => match token.split_once(':') {
                Some(("shmounts", paths)) => {
                    let (host, container) =
                        paths.split_once(':').unwrap_or((paths, "/dev/.lxc-mounts"));
                    if host.is_empty() || container.is_empty() {
                        return Err(format!(
                            "'{token}' names no directory; write shmounts:HOST[:CONTAINER]"
                        ));
                    }
                    self.shared = Some(SharedMounts {
                        host: host.into(),
                        container: container.into(),
                    });
                }
                _ => self.cgroup = Some(cgroup_token(token).ok_or_else(refuse)?),
            },
        }
        Ok(())
    }
}

impl fmt::Display for AutoMounts {
    /// The tokens, as stock LXC gives them back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proc = self.proc.map(|mode| match mode {
            ProcMode::Mixed => "proc:mixed".to_owned(),
            ProcMode::ReadWrite => "proc:rw".to_owned(),
        });
        let sys = self.sys.map(|mode| match mode {
            SysMode::Mixed => "sys:mixed".to_owned(),
            SysMode::ReadOnly => "sys:ro".to_owned(),
            SysMode::ReadWrite => "sys:rw".to_owned(),
        });
        let cgroup = self.cgroup.map(|mount| {
            let tree = match mount.tree {
                CgroupTree::Own => "cgroup",
                CgroupTree::Full => "cgroup-full",
                CgroupTree::Unified => "cgroup2",
            };
            let mode = match mount.mode {
                CgroupMode::ByCapability => "",
                CgroupMode::Mixed => ":mixed",
                CgroupMode::ReadOnly => ":ro",
                CgroupMode::ReadWrite if mount.tree == CgroupTree::Unified => "",
                CgroupMode::ReadWrite => ":rw",
            };
            format!("{tree}{mode}{}", if mount.force { ":force" } else { "" })
        });
        let shared = self.shared.as_ref().map(|mounts| {
            format!(
                "shmounts:{}:{}",
                mounts.host.display(),
                mounts.container.display()
            )
        });
        let tokens: Vec<String> = [proc, sys, cgroup, shared].into_iter().flatten().collect();
        f.write_str(&tokens.join(" "))
    }
}

fn cgroup_token(token: &str) -> Option<CgroupMount> {
    let (token, force) = match token.strip_suffix(":force") {
        Some(rest) => (rest, true),
        None => (token, false),
    };
    let (name, mode) = token
        .split_once(':')
        .map_or((token, None), |(name, mode)| (name, Some(mode)));
    let tree = match name {
        "cgroup" => CgroupTree::Own,
        "cgroup-full" => CgroupTree::Full,
        "cgroup2" => CgroupTree::Unified,
        _ => return None,
    };
    let mode = match (mode, tree) {
        (None, CgroupTree::Unified) => CgroupMode::ReadWrite,
        (Some("ro"), _) => CgroupMode::ReadOnly,
        // There is no word for what goes without saying.
        (Some(_), CgroupTree::Unified) => return None,
        (None, _) => CgroupMode::ByCapability,
        (Some("rw"), _) => CgroupMode::ReadWrite,
        (Some("mixed"), _) => CgroupMode::Mixed,
        _ => return None,
    };
    Some(CgroupMount { tree, mode, force })
}
