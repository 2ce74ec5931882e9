//! The parts of [`super::Settings`].

use crate::caps::{Capability, CapabilitySet};
use crate::namespaces::Namespace;
use crate::values::mount::MountOptions;
use crate::values::rootfs::RootfsPath;
use crate::values::{LogLevel, ShareSource, TimeOffset, command_words};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// Which store, and where in it.
    pub path: RootfsPath,
    /// Where it is put together; none for the default directory.
    pub mount: Option<PathBuf>,
    /// Its mount options; `idmap` among them.
    pub options: MountOptions,
    /// Whether destroying the container deletes it.
    pub managed: bool,
}

/// `lxc.console.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// What is at the other end.
    pub path: ConsolePath,
    /// A copy of all output on the host.
    pub log_file: Option<PathBuf>,
    /// Bytes of output kept in memory: 0 or a power of two.
    pub buffer_size: u64,
    /// Bytes the copy may grow to: 0 (no limit) or a power of two.
    pub log_size: u64,
    /// Whether a full copy is rotated.
    pub rotate: bool,
}

/// The console's other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsolePath {
    /// The monitor.
    Own,
    /// There is no console.
    None,
    /// A terminal or file of the host.
    Peer(PathBuf),
}

/// What init may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capabilities {
    /// All but these.
    Drop(CapabilitySet),
    /// Only these.
    Keep(CapabilitySet),
}

impl Capabilities {
    /// Whether a capability is left to the container.
    pub fn leave(self, capability: Capability) -> bool {
        match self {
            Self::Drop(dropped) => !dropped.contains(capability),
            Self::Keep(kept) => kept.contains(capability),
        }
    }
}

/// `lxc.apparmor.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppArmor {
    /// A profile's name, `unconfined`, `unchanged` or `generated`.
    pub profile: Option<String>,
    /// Start although the kernel cannot confine mounts.
    pub allow_incomplete: bool,
    /// Containers may run inside.
    pub allow_nesting: bool,
    /// Lines for a generated profile.
    pub raw: Vec<String>,
}

/// `lxc.selinux.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selinux {
    /// The context of init.
    pub context: Option<String>,
    /// The context of its keyring; none for the same.
    pub keyring: Option<String>,
}

/// `lxc.seccomp.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seccomp {
    /// The profile's file.
    pub profile: Option<PathBuf>,
    /// Load it even when a filter is in force.
    pub allow_nesting: bool,
    /// A socket for notifications.
    pub notify_proxy: Option<String>,
    /// What is sent with each.
    pub notify_cookie: Option<String>,
}

/// Which cgroup hierarchy a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CgroupVersion {
    /// A controller's own hierarchy.
    V1,
    /// The unified hierarchy.
    V2,
}

impl CgroupVersion {
    /// The one that it is not.
    pub fn other(self) -> Self {
        match self {
            Self::V1 => Self::V2,
            Self::V2 => Self::V1,
        }
    }
}

/// One value to write into a cgroup's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupSetting {
    /// In which hierarchy.
    pub version: CgroupVersion,
    /// `memory.max`
    pub file: String,
    /// What to write.
    pub value: String,
}

impl CgroupSetting {
    /// Whether it is a rule for devices, of which there are lists.
    pub fn is_device_rule(&self) -> bool {
        self.file.starts_with("devices.")
    }

    /// The key as the config has it.
    pub fn key(&self) -> String {
        let prefix = match self.version {
            CgroupVersion::V1 => "lxc.cgroup",
            CgroupVersion::V2 => "lxc.cgroup2",
        };
        format!("{prefix}.{}", self.file)
    }
}

/// Where cgroups are made. Paths are relative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupDirs {
    /// `lxc.cgroup.dir`
    pub base: Option<String>,
    /// `lxc.cgroup.dir.monitor`
    pub monitor: Option<String>,
    /// `lxc.cgroup.dir.monitor.pivot`
    pub monitor_pivot: Option<String>,
    /// `lxc.cgroup.dir.container`
    pub container: Option<String>,
    /// `lxc.cgroup.dir.container.inner`, one part of a path.
    pub inner: Option<String>,
    /// Below the starter's own cgroup instead of the root.
    pub relative: bool,
}

/// `lxc.namespace.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceChoice {
    /// Exactly these are made; none for all that make sense.
    pub clone: Option<Vec<Namespace>>,
    /// These stay the starter's.
    pub keep: Vec<Namespace>,
    /// These are another's.
    pub share: BTreeMap<Namespace, ShareSource>,
}

/// `lxc.time.offset.*`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOffsets {
    /// Of CLOCK_BOOTTIME.
    pub boot: Option<TimeOffset>,
    /// Of CLOCK_MONOTONIC.
    pub monotonic: Option<TimeOffset>,
}

impl TimeOffsets {
    /// Whether any clock differs, and a time namespace is needed.
    pub fn is_set(&self) -> bool {
        [self.boot, self.monotonic]
            .into_iter()
            .flatten()
            .any(|offset| offset.seconds != 0 || offset.nanoseconds != 0)
    }
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookStage {
    /// On the host, first of all.
    PreStart,
    /// In the mount namespace, before the root is mounted.
    PreMount,
    /// In the mount namespace, after all mounts.
    Mount,
    /// In the mount namespace, before /dev is filled.
    Autodev,
    /// On the host, before init is executed.
    StartHost,
    /// In the container, just before init.
    Start,
    /// On the host, when init has ended.
    Stop,
    /// On the host, when all is cleaned up.
    PostStop,
    /// On the host, for a new clone.
    Clone,
    /// On the host, before the container is destroyed.
    Destroy,
}

impl HookStage {
    /// Every stage.
    pub const ALL: [Self; 10] = [
        Self::PreStart,
        Self::PreMount,
        Self::Mount,
        Self::Autodev,
        Self::StartHost,
        Self::Start,
        Self::Stop,
        Self::PostStop,
        Self::Clone,
        Self::Destroy,
    ];

    /// Its key.
    pub fn key(self) -> &'static str {
        match self {
            Self::PreStart => "lxc.hook.pre-start",
            Self::PreMount => "lxc.hook.pre-mount",
            Self::Mount => "lxc.hook.mount",
            Self::Autodev => "lxc.hook.autodev",
            Self::StartHost => "lxc.hook.start-host",
            Self::Start => "lxc.hook.start",
            Self::Stop => "lxc.hook.stop",
            Self::PostStop => "lxc.hook.post-stop",
            Self::Clone => "lxc.hook.clone",
            Self::Destroy => "lxc.hook.destroy",
        }
    }

    /// Its word, as hooks are told (`LXC_HOOK_TYPE`).
    pub fn word(self) -> &'static str {
        self.key().trim_start_matches("lxc.hook.")
    }
}

/// `lxc.hook.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// 0: told by arguments, 1: by variables.
    pub version: u32,
    /// Command lines by stage, in order.
    pub commands: BTreeMap<HookStage, Vec<String>>,
}

/// LXC's own hook for clones, which puts the clone's name in the place of its origin's.
/// Gantry does its work without it.
pub const RENAMING_HOOK: &str = "/usr/share/lxc/hooks/clonehostname";

impl Hooks {
    /// The command lines of a stage.
    pub fn of(&self, stage: HookStage) -> &[String] {
        self.commands.get(&stage).map_or(&[], Vec::as_slice)
    }

    /// Those that are run: all but [`RENAMING_HOOK`].
    pub fn run_at(&self, stage: HookStage) -> impl Iterator<Item = &str> {
        let lines = self.of(stage).iter().map(String::as_str);
        lines.filter(move |line| stage != HookStage::Clone || *line != RENAMING_HOOK)
    }
}

/// `lxc.start.*`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autostart {
    /// With the host.
    pub auto: bool,
    /// Seconds to wait after it.
    pub delay: u32,
    /// Lower ones first.
    pub order: i32,
}

/// `lxc.signal.*`, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    /// Shut down; none depends on what init understands.
    pub halt: Option<i32>,
    /// Reboot.
    pub reboot: i32,
    /// End at once.
    pub stop: i32,
}

/// `lxc.monitor.*`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitor {
    /// A mount namespace of its own.
    pub unshare: bool,
    /// What init gets when the monitor dies; 0 is nothing.
    pub death_signal: i32,
}

/// `lxc.log.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// Where; none for the default place.
    pub file: Option<PathBuf>,
    /// A syslog facility, too.
    pub syslog: Option<String>,
}

/// What runs first in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// `lxc.init.cmd`
    pub command: Option<String>,
    /// `lxc.execute.cmd`
    pub execute_command: Option<String>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups; none says nothing about them.
    pub groups: Option<Vec<u32>>,
    /// The directory it begins in; none for `/`.
    pub cwd: Option<PathBuf>,
}

impl Init {
    /// The program and its arguments. Quotes keep blanks together.
    pub fn argv(&self) -> Vec<String> {
        let argv = self
            .command
            .as_deref()
            .map(command_words)
            .unwrap_or_default();
        if argv.is_empty() {
            vec!["/sbin/init".to_owned()]
        } else {
            argv
        }
    }
}
