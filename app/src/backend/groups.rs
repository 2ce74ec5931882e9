use std::collections::HashMap;

use gantry_api::{ManagerProxy, Result};

use super::Backend;
use crate::text::{mark, tr_name};

/// What can be done to all containers of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// Boot those that are stopped.
    Start,
    /// Ask those that run to shut down.
    Stop,
    /// Ask those that run to shut down and boot again.
    Reboot,
    /// End those that run at once.
    Kill,
}

impl GroupAction {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Reboot, Self::Kill];

    /// Its name among the window's actions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start-group",
            Self::Stop => "stop-group",
            Self::Reboot => "reboot-group",
            Self::Kill => "kill-group",
        }
    }

    /// What did not happen, at least in part, when it fails.
    #[must_use]
    pub fn failure(self, name: &str) -> String {
        let heading = match self {
            Self::Start => mark("Not All of “{name}” Could Be Started"),
            Self::Stop => mark("Not All of “{name}” Could Be Stopped"),
            Self::Reboot => mark("Not All of “{name}” Could Be Restarted"),
            Self::Kill => mark("Not All of “{name}” Could Be Killed"),
        };
        tr_name(heading, name)
    }
}

impl Backend {
    /// Does `action` to the containers of a group, or to those without one where the
    /// name is empty; the job's path.
    ///
    /// # Errors
    /// Those of `Manager.StartGroup` and its like in the contract.
    pub async fn act_on_group(&self, group: &str, action: GroupAction) -> Result<String> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let options = HashMap::new();
        let job = match action {
            GroupAction::Start => manager.start_group(group, options).await,
            GroupAction::Stop => manager.stop_group(group, options).await,
            GroupAction::Reboot => manager.reboot_group(group, options).await,
            GroupAction::Kill => manager.kill_group(group, options).await,
        }?;
        Ok(job.to_string())
    }

    /// Starts everything that starts with the computer, in its order and with its
    /// delays; the job's path.
    ///
    /// # Errors
    /// Those of `Manager.Autostart` in the contract.
    pub async fn autostart(&self) -> Result<String> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let options = HashMap::from([("all", true.into())]);
        Ok(manager.autostart(options).await?.to_string())
    }
}
