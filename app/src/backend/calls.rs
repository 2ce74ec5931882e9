use std::collections::HashMap;

use gantry_api::{ContainerProxy, ContainerState, JobProxy, Result};
use zbus::zvariant::{OwnedObjectPath, Value};

use super::{Backend, Container};
use crate::text::{mark, tr_name};

/// What can be done to a container as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Boot it.
    Start,
    /// Ask its init to shut down, and wait for a minute.
    Stop,
    /// Ask its init to shut down, with a time-out of one's own.
    StopWithin {
        /// How long it may take.
        seconds: u32,
        /// Whether it is killed then.
        kill: bool,
    },
    /// Ask its init to shut down and boot it again.
    Reboot,
    /// Ask its init to shut down, for a start with the saved configuration: a reboot
    /// keeps the one it runs with.
    Apply,
    /// End all its processes at once.
    Kill,
    /// Hold all its processes.
    Freeze,
    /// Let them go on.
    Unfreeze,
    /// Remove it with its root file system; a running one is killed first.
    Delete,
    /// Remove its snapshots with it.
    DeleteAll,
}

impl Action {
    /// Every action that needs no more words.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Stop,
        Self::Reboot,
        Self::Apply,
        Self::Kill,
        Self::Freeze,
        Self::Unfreeze,
        Self::Delete,
    ];

    /// Its name among the window's actions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::StopWithin { .. } => "stop-within",
            Self::Reboot => "reboot",
            Self::Apply => "apply",
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Delete => "delete",
            Self::DeleteAll => "delete-all",
        }
    }

    /// Whether it makes sense in `state`.
    #[must_use]
    pub fn is_for(self, state: ContainerState) -> bool {
        use ContainerState::{Freezing, Frozen, Running, Starting, Stopped, Stopping};
        match self {
            Self::Start => state == Stopped,
            Self::Stop | Self::StopWithin { .. } | Self::Reboot | Self::Apply | Self::Freeze => {
                state == Running
            }
            Self::Kill => matches!(state, Running | Starting | Stopping | Freezing | Frozen),
            Self::Unfreeze => matches!(state, Freezing | Frozen),
            Self::Delete | Self::DeleteAll => true,
        }
    }

    /// What did not happen when it fails.
    #[must_use]
    pub fn failure(self, name: &str) -> String {
        let heading = match self {
            Self::Start => mark("“{name}” Could Not Be Started"),
            Self::Stop | Self::StopWithin { .. } => mark("“{name}” Could Not Be Stopped"),
            Self::Reboot | Self::Apply => mark("“{name}” Could Not Be Restarted"),
            Self::Kill => mark("“{name}” Could Not Be Killed"),
            Self::Freeze => mark("“{name}” Could Not Be Frozen"),
            Self::Unfreeze => mark("“{name}” Could Not Be Unfrozen"),
            Self::Delete | Self::DeleteAll => mark("“{name}” Could Not Be Deleted"),
        };
        tr_name(heading, name)
    }
}

type Options<'a> = HashMap<&'a str, Value<'a>>;

impl Backend {
    /// Does `action`; the job's path when it takes a while.
    ///
    /// # Errors
    /// Those of the container's methods in the contract.
    pub async fn act(&self, container: &Container, action: Action) -> Result<Option<String>> {
        let proxy = self.container(&container.path).await?;
        let mut options = Options::new();
        let job = match action {
            Action::Start => proxy.start(options).await.map(|()| None),
            Action::Kill => proxy.kill(options).await.map(|()| None),
            Action::Freeze => proxy.freeze(options).await.map(|()| None),
            Action::Unfreeze => proxy.unfreeze(options).await.map(|()| None),
            Action::Stop | Action::Apply => proxy.stop(options).await.map(Some),
            Action::StopWithin { seconds, kill } => {
                options.insert("timeout_ms", (i64::from(seconds) * 1000).into());
                options.insert("force", kill.into());
                proxy.stop(options).await.map(Some)
            }
            Action::Reboot => proxy.reboot(options).await.map(Some),
            Action::Delete | Action::DeleteAll => {
                options.insert("snapshots", (action == Action::DeleteAll).into());
                // Only asked for after the dialog has said that it runs.
                if container.state != ContainerState::Stopped {
                    options.insert("force", true.into());
                }
                proxy.destroy(options).await.map(Some)
            }
        }?;
        Ok(job.map(|path| path.to_string()))
    }

    /// Asks a job to end early.
    ///
    /// # Errors
    /// Those of `Job.Cancel` in the contract.
    pub async fn cancel(&self, job: &str) -> Result<()> {
        let bus = self.bus()?;
        let proxy = JobProxy::builder(&bus).path(path(job)?)?.build().await?;
        proxy.cancel(Options::new()).await
    }

    pub(super) async fn container(&self, container: &str) -> Result<ContainerProxy<'static>> {
        let bus = self.bus()?;
        let proxy = ContainerProxy::builder(&bus)
            .path(path(container)?)?
            // The follower knows the properties already.
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        Ok(proxy)
    }
}

pub(super) fn path(text: &str) -> Result<OwnedObjectPath> {
    Ok(OwnedObjectPath::try_from(text).map_err(zbus::Error::from)?)
}
