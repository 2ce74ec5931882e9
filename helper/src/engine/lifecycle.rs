//! Starting, stopping and what lies between.

use super::{ContainerId, Engine, Error, Result, Work};
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use std::time::Duration;

/// How to stop or reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopOptions {
    /// How long a clean stop may take.
    pub(crate) timeout: Duration,
    /// Kill when the time has passed; otherwise [`Error::TimedOut`].
    pub(crate) force: bool,
}

impl Default for StopOptions {
    /// As lxc-stop: 60 seconds, then kill.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            force: true,
        }
    }
}

/// How to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DestroyOptions {
    /// Kill it first when it runs.
    pub(crate) force: bool,
    /// Destroy its snapshots with it.
    pub(crate) snapshots: bool,
}

impl Engine {
    /// Starts a container; returns when its init has been executed.
    pub(crate) async fn start(&self, _id: &ContainerId) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Asks a container's init to shut down and waits until it is stopped.
    pub(crate) async fn stop(
        &self,
        _id: &ContainerId,
        _options: StopOptions,
        _work: &Work,
    ) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Asks a container's init to reboot and waits until it runs again.
    pub(crate) async fn reboot(
        &self,
        _id: &ContainerId,
        _options: StopOptions,
        _work: &Work,
    ) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Ends a container at once; returns when it is stopped.
    pub(crate) async fn kill(&self, _id: &ContainerId) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Holds every process of a container; returns when they are held.
    pub(crate) async fn freeze(&self, _id: &ContainerId) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Lets a frozen container go on.
    pub(crate) async fn unfreeze(&self, _id: &ContainerId) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Waits until a container is in one of `states`, and says in which.
    /// Without a time-out it waits for ever.
    pub(crate) async fn wait(
        &self,
        _id: &ContainerId,
        _states: &[State],
        _timeout: Option<Duration>,
    ) -> Result<State> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Removes a container and its root file system. Refused while it runs
    /// (unless forced), has snapshots (unless they go too) or dependents.
    pub(crate) async fn destroy(
        &self,
        _id: &ContainerId,
        _options: DestroyOptions,
        _work: &Work,
    ) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Gives a stopped container another name.
    pub(crate) async fn rename(
        &self,
        _id: &ContainerId,
        _new: &ContainerName,
    ) -> Result<ContainerId> {
        Err(Error::Unsupported("not yet".into()))
    }
}
