//! What is known about a container.

use super::ConfigFault;
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use std::fmt;

/// Whose a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// In the system's LXC path.
    System,
    /// In that user's own LXC path.
    User(u32),
}

impl Owner {
    /// The user whose rights the container has.
    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::System => 0,
            Self::User(uid) => uid,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::User(uid) => write!(f, "u{uid}"),
        }
    }
}

/// Which container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContainerId {
    /// Whose.
    pub(crate) owner: Owner,
    /// Its name.
    pub(crate) name: ContainerName,
}

impl ContainerId {
    /// A container in the system's LXC path.
    pub(crate) fn system(name: ContainerName) -> Self {
        Self {
            owner: Owner::System,
            name,
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// What is known about a container: plain memory, cheap to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Which container.
    pub(crate) id: ContainerId,
    /// What it is doing.
    pub(crate) state: State,
    /// Its init as the host counts; 0 when there is none.
    pub(crate) init_pid: u32,
    /// When its init started, in microseconds since 1970; 0 when there is none.
    pub(crate) started_at: i64,
    /// Its addresses, those of `lo` and link-local ones left out.
    pub(crate) addresses: Vec<String>,
    /// Whether it starts with the host (`lxc.start.auto`).
    pub(crate) autostart: bool,
    /// Seconds to wait after starting it (`lxc.start.delay`).
    pub(crate) autostart_delay: u32,
    /// Its place in the order, low first (`lxc.start.order`).
    pub(crate) autostart_order: i32,
    /// Its groups (`lxc.group`).
    pub(crate) groups: Vec<String>,
    /// Where its root file system is stored: `dir`, `overlay`, …
    pub(crate) backend: String,
    /// Whether its root is the host's root (no `lxc.idmap`).
    pub(crate) privileged: bool,
    /// Whether it is destroyed when it stops (`lxc.ephemeral`).
    pub(crate) ephemeral: bool,
    /// Its architecture (`lxc.arch`); the host's when unset.
    pub(crate) architecture: String,
    /// Changes whenever the config file does.
    pub(crate) config_revision: u64,
    /// Why the config cannot be used. Facts that come from the config have
    /// their defaults then.
    pub(crate) config_error: Option<ConfigFault>,
    /// Whether the config has keys of LXC 1.x or 2.0, which LXC of today refuses.
    pub(crate) legacy_config: bool,
    /// Keys whose saved value is not the running one.
    pub(crate) needs_restart: Vec<String>,
    /// Containers that were made from this one and need it.
    pub(crate) dependents: Vec<String>,
    /// A word from its user: the first `# Description:` comment of the config.
    pub(crate) description: String,
}

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is there now.
    Added(ContainerId),
    /// It is gone.
    Removed(ContainerId),
    /// Its state changed. No change is left out, none is told twice.
    StateChanged {
        /// Which container.
        id: ContainerId,
        /// The state it had.
        old: State,
        /// The state it has.
        new: State,
    },
    /// Other facts changed.
    Changed(ContainerId),
}
