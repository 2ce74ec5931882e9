//! A config as the runtime wants it: typed, with defaults filled in.

mod network;
mod parts;
mod stock;
#[cfg(test)]
mod tests;
mod wiring;

pub use network::{Network, NetworkKind, Veth};
pub use parts::{
    AppArmor, Autostart, Capabilities, CgroupDirs, CgroupSetting, CgroupVersion, Console,
    ConsolePath, HookStage, Hooks, Init, Log, Monitor, NamespaceChoice, RENAMING_HOOK, Rootfs,
    Seccomp, Selinux, Signals, TimeOffsets,
};
pub use stock::{stock_groups, stock_value};
pub use wiring::{WiringFault, check as check_wiring, inner_names};

use crate::arch::Personality;
use crate::config::{Config, ConfigError, ConfigErrorKind, Item};
use crate::idmap::{IdMap, IdMaps};
use crate::namespaces::Namespace;
use crate::values::mount::{AutoMounts, MountEntry, MountOptions};
use crate::values::rootfs::{RootfsKind, RootfsPath};
use crate::values::{self, Limit, LogLevel, ShareSource, TimeOffset, Variable, VariableScope};
use crate::{keys, signals};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything a config says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `lxc.arch`; none leaves the personality as it is.
    pub personality: Option<Personality>,
    /// `lxc.uts.name`; none keeps the host's name.
    pub uts_name: Option<String>,
    /// `lxc.ephemeral`
    pub ephemeral: bool,
    /// `lxc.rootfs.*`; none shares the host's root.
    pub rootfs: Option<Rootfs>,
    /// `lxc.mount.entry`, in order.
    pub mounts: Vec<MountEntry>,
    /// `lxc.mount.auto`
    pub auto_mounts: AutoMounts,
    /// `lxc.mount.fstab`; its mounts come before [`Settings::mounts`].
    pub fstab: Option<PathBuf>,
    /// `lxc.autodev`
    pub autodev: bool,
    /// `lxc.autodev.tmpfs.size`, in bytes.
    pub autodev_size: u64,
    /// `lxc.tty.max`
    pub tty_max: u32,
    /// `lxc.tty.dir`, below /dev.
    pub tty_dir: Option<String>,
    /// `lxc.pty.max`; 0 stands for the kernel's limit.
    pub pty_max: u32,
    /// `lxc.console.*`
    pub console: Console,
    /// `lxc.cap.*`
    pub capabilities: Capabilities,
    /// `lxc.apparmor.*`
    pub apparmor: AppArmor,
    /// `lxc.selinux.*`
    pub selinux: Selinux,
    /// `lxc.seccomp.*`
    pub seccomp: Seccomp,
    /// `lxc.no_new_privs`
    pub no_new_privs: bool,
    /// `lxc.keyring.session` as written. Stock LXC takes 1 for "make none".
    pub keyring_session: Option<bool>,
    /// `lxc.idmap`; empty makes the container privileged.
    pub idmaps: IdMaps,
    /// `lxc.cgroup.FILE` and `lxc.cgroup2.FILE`, in order.
    pub cgroup: Vec<CgroupSetting>,
    /// `lxc.cgroup.dir*` and `lxc.cgroup.relative`
    pub cgroup_dirs: CgroupDirs,
    /// `lxc.sched.core`
    pub core_scheduling: bool,
    /// `lxc.namespace.*`
    pub namespaces: NamespaceChoice,
    /// `lxc.time.offset.*`
    pub time: TimeOffsets,
    /// `lxc.prlimit.NAME`
    pub prlimits: BTreeMap<String, Limit>,
    /// `lxc.sysctl.KEY`, in order; keys with dots.
    pub sysctls: Vec<(String, String)>,
    /// `lxc.proc.FILE`, in order.
    pub proc: Vec<(String, String)>,
    /// `lxc.hook.*`
    pub hooks: Hooks,
    /// `lxc.start.*`
    pub autostart: Autostart,
    /// `lxc.group`
    pub groups: Vec<String>,
    /// `lxc.signal.*`
    pub signals: Signals,
    /// `lxc.monitor.*`
    pub monitor: Monitor,
    /// `lxc.log.*`
    pub log: Log,
    /// `lxc.init.*` and `lxc.execute.cmd`
    pub init: Init,
    /// `lxc.environment*`, in order.
    pub environment: Vec<Variable>,
    /// `lxc.net.N.*` by N.
    pub networks: BTreeMap<u32, Network>,
}

impl Settings {
    /// Reads a config. Errors are the config's own first one, or one that
    /// shows only when keys are seen together.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        let reader = Reader { config };
        Ok(Self {
            personality: reader.text("lxc.arch").and_then(Personality::from_name),
            uts_name: reader.owned("lxc.uts.name"),
            ephemeral: reader.flag("lxc.ephemeral", false)?,
            rootfs: reader.rootfs()?,
            mounts: reader.all("lxc.mount.entry", MountEntry::parse)?,
            auto_mounts: reader.auto_mounts()?,
            fstab: reader.path("lxc.mount.fstab"),
            autodev: reader.flag("lxc.autodev", true)?,
            autodev_size: reader
                .one("lxc.autodev.tmpfs.size", values::bytes)?
                .unwrap_or(500_000),
            tty_max: reader.one("lxc.tty.max", values::unsigned)?.unwrap_or(0),
            tty_dir: reader.owned("lxc.tty.dir"),
            pty_max: reader.one("lxc.pty.max", values::unsigned)?.unwrap_or(0),
            console: reader.console()?,
            capabilities: reader.capabilities()?,
            apparmor: AppArmor {
                profile: reader.owned("lxc.apparmor.profile"),
                allow_incomplete: reader.flag("lxc.apparmor.allow_incomplete", false)?,
                allow_nesting: reader.flag("lxc.apparmor.allow_nesting", false)?,
                raw: reader.texts("lxc.apparmor.raw"),
            },
            selinux: Selinux {
                context: reader.owned("lxc.selinux.context"),
                keyring: reader.owned("lxc.selinux.context.keyring"),
            },
            seccomp: Seccomp {
                profile: reader.path("lxc.seccomp.profile"),
                allow_nesting: reader.flag("lxc.seccomp.allow_nesting", false)?,
                notify_proxy: reader.owned("lxc.seccomp.notify.proxy"),
                notify_cookie: reader.owned("lxc.seccomp.notify.cookie"),
            },
            no_new_privs: reader.flag("lxc.no_new_privs", false)?,
            keyring_session: reader.one("lxc.keyring.session", values::flag)?,
            idmaps: reader.idmaps()?,
            cgroup: reader.cgroup(),
            cgroup_dirs: CgroupDirs {
                base: reader.owned("lxc.cgroup.dir"),
                monitor: reader.owned("lxc.cgroup.dir.monitor"),
                monitor_pivot: reader.owned("lxc.cgroup.dir.monitor.pivot"),
                container: reader.owned("lxc.cgroup.dir.container"),
                inner: reader.owned("lxc.cgroup.dir.container.inner"),
                relative: reader.flag("lxc.cgroup.relative", false)?,
            },
            core_scheduling: reader.flag("lxc.sched.core", false)?,
            namespaces: reader.namespaces()?,
            time: TimeOffsets {
                boot: reader.one("lxc.time.offset.boot", TimeOffset::parse)?,
                monotonic: reader.one("lxc.time.offset.monotonic", TimeOffset::parse)?,
            },
            prlimits: reader
                .below("lxc.prlimit.", Limit::parse)?
                .into_iter()
                .collect(),
            sysctls: reader.pairs("lxc.sysctl."),
            proc: reader.pairs("lxc.proc."),
            hooks: reader.hooks()?,
            autostart: Autostart {
                auto: reader.flag("lxc.start.auto", false)?,
                delay: reader
                    .one("lxc.start.delay", values::unsigned)?
                    .unwrap_or(0),
                order: reader.one("lxc.start.order", values::integer)?.unwrap_or(0),
            },
            groups: groups(config),
            signals: Signals {
                halt: reader.signal("lxc.signal.halt")?,
                reboot: reader
                    .signal("lxc.signal.reboot")?
                    .unwrap_or(signals::SIGINT),
                stop: reader
                    .signal("lxc.signal.stop")?
                    .unwrap_or(signals::SIGKILL),
            },
            monitor: Monitor {
                unshare: reader
                    .one("lxc.monitor.unshare", values::unsigned)?
                    .is_some_and(|value| value != 0),
                death_signal: reader
                    .signal("lxc.monitor.signal.pdeath")?
                    .unwrap_or(signals::SIGKILL),
            },
            log: Log {
                level: reader
                    .one("lxc.log.level", LogLevel::parse)?
                    .unwrap_or(LogLevel::Error),
                file: reader.path("lxc.log.file"),
                syslog: reader.owned("lxc.log.syslog"),
            },
            init: reader.init()?,
            environment: reader.environment()?,
            networks: network::read(config)?,
        })
    }

    /// Whether the container's root is root on the host.
    pub fn is_privileged(&self) -> bool {
        self.idmaps.is_empty()
    }
}

/// The groups of a container: split at blanks and, as old manuals write them,
/// at commas. Works for configs with errors, too.
pub fn groups(config: &Config) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for word in config
        .items_of("lxc.group")
        .flat_map(|item| item.value.split([' ', '\t', ',']))
    {
        if !word.is_empty() && !groups.iter().any(|group| group == word) {
            groups.push(word.to_owned());
        }
    }
    groups
}

/// Reads typed values out of items. The items were validated when the config
/// was read; a value that nevertheless cannot be read is an error at its line.
struct Reader<'a> {
    config: &'a Config,
}

impl Reader<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key)
    }

    fn owned(&self, key: &str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        self.config
            .items_of(key)
            .map(|item| item.value.clone())
            .collect()
    }

    fn one<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.config
            .items_of(key)
            .next_back()
            .map(|item| parse_item(item, &parse))
            .transpose()
    }

    fn all<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        self.config
            .items_of(key)
            .map(|item| parse_item(item, &parse))
            .collect()
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        Ok(self.one(key, values::flag)?.unwrap_or(default))
    }

    fn signal(&self, key: &str) -> Result<Option<i32>, ConfigError> {
        self.one(key, |text| {
            signals::parse(text).ok_or_else(|| format!("'{text}' is not a signal"))
        })
    }

    /// The items whose names begin with `prefix`, as name's rest and value.
    fn below<T>(
        &self,
        prefix: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<(String, T)>, ConfigError> {
        let items = self
            .config
            .items()
            .iter()
            .filter(|item| item.key.starts_with(prefix));
        items
            .map(|item| Ok((item.suffix.clone(), parse_item(item, &parse)?)))
            .collect()
    }

    fn pairs(&self, prefix: &str) -> Vec<(String, String)> {
        let items = self
            .config
            .items()
            .iter()
            .filter(|item| item.key.starts_with(prefix));
        items
            .map(|item| (item.suffix.clone(), item.value.clone()))
            .collect()
    }

    fn rootfs(&self) -> Result<Option<Rootfs>, ConfigError> {
        let Some(text) = self.text("lxc.rootfs.path") else {
            return Ok(None);
        };
        let mut path = RootfsPath::parse(text);
        if let (RootfsKind::Unprefixed, Some(backend)) =
            (&path.kind, self.text("lxc.rootfs.backend"))
        {
            path.kind = RootfsKind::from_prefix(backend);
        }
        Ok(Some(Rootfs {
            path,
            mount: self.path("lxc.rootfs.mount"),
            options: self
                .one("lxc.rootfs.options", MountOptions::parse)?
                .unwrap_or_default(),
            managed: self.flag("lxc.rootfs.managed", true)?,
        }))
    }

    fn auto_mounts(&self) -> Result<AutoMounts, ConfigError> {
        let mut mounts = AutoMounts::default();
        for item in self.config.items_of("lxc.mount.auto") {
            mounts
                .apply(&item.value)
                .map_err(|reason| item.error(ConfigErrorKind::InvalidValue, reason))?;
        }
        Ok(mounts)
    }

    fn console(&self) -> Result<Console, ConfigError> {
        let size = |text: &str| values::size(text).and_then(values::buffer_size);
        Ok(Console {
            path: match self.text("lxc.console.path") {
                None => ConsolePath::Own,
                Some("none") => ConsolePath::None,
                Some(path) => ConsolePath::Peer(PathBuf::from(path)),
            },
            log_file: self.path("lxc.console.logfile"),
            buffer_size: self.one("lxc.console.buffer.size", size)?.unwrap_or(0),
            log_size: self.one("lxc.console.size", size)?.unwrap_or(0),
            rotate: self.flag("lxc.console.rotate", false)?,
        })
    }

    fn capabilities(&self) -> Result<Capabilities, ConfigError> {
        let keep: Vec<_> = self.all("lxc.cap.keep", |text| match text {
            "none" => Ok(None),
            text => keys::capabilities(text).map(Some),
        })?;
        if !keep.is_empty() {
            // It takes away what lines before it have named.
            let last = keep.iter().rposition(Option::is_none).unwrap_or(0);
            let kept = keep.into_iter().skip(last).flatten().flatten();
            return Ok(Capabilities::Keep(kept.collect()));
        }
        let drop = self.all("lxc.cap.drop", keys::capabilities)?;
        Ok(Capabilities::Drop(drop.into_iter().flatten().collect()))
    }

    fn idmaps(&self) -> Result<IdMaps, ConfigError> {
        let maps = IdMaps(self.all("lxc.idmap", IdMap::parse)?);
        match (maps.check(), self.config.items_of("lxc.idmap").next_back()) {
            (Err(reason), Some(item)) => Err(item.error(ConfigErrorKind::Conflict, reason)),
            _ => Ok(maps),
        }
    }

    fn cgroup(&self) -> Vec<CgroupSetting> {
        let setting = |item: &Item| {
            let version = match item.description.name {
                "lxc.cgroup.FILE" => CgroupVersion::V1,
                "lxc.cgroup2.FILE" => CgroupVersion::V2,
                _ => return None,
            };
            Some(CgroupSetting {
                version,
                file: item.suffix.clone(),
                value: item.value.clone(),
            })
        };
        self.config.items().iter().filter_map(setting).collect()
    }

    fn namespaces(&self) -> Result<NamespaceChoice, ConfigError> {
        let mut share = BTreeMap::new();
        for (name, source) in self.below("lxc.namespace.share.", ShareSource::parse)? {
            share.extend(Namespace::from_name(&name).map(|namespace| (namespace, source)));
        }
        Ok(NamespaceChoice {
            clone: self.one("lxc.namespace.clone", values::namespaces)?,
            keep: self
                .one("lxc.namespace.keep", values::namespaces)?
                .unwrap_or_default(),
            share,
        })
    }

    fn hooks(&self) -> Result<Hooks, ConfigError> {
        let commands = HookStage::ALL
            .into_iter()
            .map(|stage| (stage, self.texts(stage.key())))
            .filter(|(_, commands)| !commands.is_empty())
            .collect();
        Ok(Hooks {
            version: self.one("lxc.hook.version", values::unsigned)?.unwrap_or(0),
            commands,
        })
    }

    fn init(&self) -> Result<Init, ConfigError> {
        let groups = self.all("lxc.init.groups", keys::group_ids)?;
        Ok(Init {
            command: self.owned("lxc.init.cmd"),
            execute_command: self.owned("lxc.execute.cmd"),
            uid: self.one("lxc.init.uid", values::unsigned)?.unwrap_or(0),
            gid: self.one("lxc.init.gid", values::unsigned)?.unwrap_or(0),
            groups: (!groups.is_empty()).then(|| groups.into_iter().flatten().collect()),
            cwd: self.path("lxc.init.cwd"),
        })
    }

    fn environment(&self) -> Result<Vec<Variable>, ConfigError> {
        let scope = |item: &Item| match item.description.name {
            "lxc.environment" => Some(VariableScope::Everyone),
            "lxc.environment.runtime" => Some(VariableScope::Runtime),
            "lxc.environment.hooks" => Some(VariableScope::Hooks),
            _ => None,
        };
        let items = self
            .config
            .items()
            .iter()
            .filter_map(|item| Some((item, scope(item)?)));
        items
            .map(|(item, scope)| parse_item(item, |text| Variable::parse(text, scope)))
            .collect()
    }
}

fn parse_item<T>(item: &Item, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
    parse(&item.value).map_err(|reason| item.error(ConfigErrorKind::InvalidValue, reason))
}
