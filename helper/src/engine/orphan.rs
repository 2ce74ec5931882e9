//! Containers that go on without their monitor: it was killed, and init was told not
//! to die with it (`lxc.monitor.signal.pdeath = 0`). What can be done from outside
//! can be done to them, which is to end them.

use super::client::Client;
use super::{ContainerId, Engine, Error, Facts, Result, disk};
use crate::cgroup;
use crate::linux::process::{self, Process};
use gantry_core::signals;
use gantry_core::states::State;

impl Facts {
    /// Whether the init that was last known of still lives.
    pub(super) fn has_init(&self) -> bool {
        /// In microseconds: the clock may have been set a little meanwhile.
        const TOLERANCE: u64 = 1_000_000;
        self.init_pid != 0
            && process::started_at(self.init_pid)
                .is_some_and(|began| began.abs_diff(self.started_at) < TOLERANCE)
    }
}

impl Engine {
    /// Init of a container that goes on without its monitor; none if it does not.
    pub(super) async fn orphan(&self, id: &ContainerId) -> Option<Process> {
        let facts = self.facts(id)?;
        if Client::new(&self.layout(&id.name)).is_alive().await {
            return None;
        }
        let init = Process::open(facts.init_pid).ok()?;
        // Looked at once more, now that it is held.
        facts.has_init().then_some(init)
    }

    /// The error of what needs a monitor.
    pub(super) fn lost_its_monitor(id: &ContainerId) -> Error {
        Error::WrongState(format!(
            "container '{}' goes on without its monitor, which was killed: stop or kill it, and start it again",
            id.name
        ))
    }

    /// Ends every process of such a container.
    pub(super) fn kill_orphan(&self, id: &ContainerId, init: &Process) -> Result<()> {
        cgroup::kill_all(&self.layout(&id.name));
        match init.send(signals::SIGKILL) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(Error::io(
                format_args!("killing container '{}'", id.name),
                &error,
            )),
            _ => Ok(()),
        }
    }

    /// What such a container's config says now, as nobody has what it was started with.
    pub(super) fn saved_item(&self, id: &ContainerId, key: &str) -> Result<Option<String>> {
        let config = disk::read_config(&self.layout(&id.name).config())?.config;
        Ok(config.get(key).map(str::to_owned))
    }

    /// Takes up, at the helper's start, what goes on without a monitor.
    pub(super) fn adopt_orphans(&self) {
        let stopped = self.registry().stopped();
        for name in stopped {
            if let Some(pid) = cgroup::init_of(&self.layout(&name)) {
                tracing::warn!(container = %name, "it goes on without its monitor, which was killed");
                self.registry().set_state(&name, State::Running, pid);
                self.watch(&name);
            }
        }
    }
}
