//! Freezing and letting go, as lxc-freeze does it: the monitor only keeps the
//! state, the group is written to by whoever freezes.

use super::client::Client;
use super::{ContainerId, Engine, Error, Result};
use crate::cgroup;
use gantry_core::settings::CgroupVersion;
use gantry_core::states::State;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the kernel may take to hold every process.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(1);

impl Engine {
    /// Holds every process of a container; returns when they are held.
    pub(crate) async fn freeze(&self, id: &ContainerId) -> Result<()> {
        let client = self.running(id).await?;
        self.expect(id, State::Running)?;
        client.serve_state(State::Freezing).await?;
        if let Err(error) = set_frozen(&client, true).await {
            set_frozen(&client, false).await?;
            client.serve_state(State::Thawed).await?;
            return Err(error);
        }
        client.serve_state(State::Frozen).await?;
        self.settle(id, &[State::Frozen]).await
    }

    /// Lets a frozen container go on.
    pub(crate) async fn unfreeze(&self, id: &ContainerId) -> Result<()> {
        let client = self.running(id).await?;
        self.expect(id, State::Frozen)?;
        set_frozen(&client, false).await?;
        client.serve_state(State::Thawed).await?;
        self.settle(id, &[State::Running]).await
    }

    fn expect(&self, id: &ContainerId, state: State) -> Result<()> {
        match self.facts(id).map(|facts| facts.state) {
            Some(found) if found != state => Err(Error::WrongState(format!(
                "container '{}' is {found}, not {state}",
                id.name
            ))),
            _ => Ok(()),
        }
    }

    /// Returns when the registry has it, too.
    async fn settle(&self, id: &ContainerId, states: &[State]) -> Result<()> {
        self.wait(id, states, Some(PATIENCE)).await.map(|_| ())
    }
}

async fn set_frozen(client: &Client, frozen: bool) -> Result<()> {
    let (group, version) = freezer(client).await?;
    let failed =
        |error: std::io::Error| Error::io("writing to the freezer's control group", &error);
    let (file, value) = match version {
        CgroupVersion::V2 => ("cgroup.freeze", if frozen { "1" } else { "0" }),
        CgroupVersion::V1 => ("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
    };
    let deadline = Instant::now() + PATIENCE;
    cgroup::write(&group, file, value).map_err(failed)?;
    loop {
        let done = match version {
            CgroupVersion::V2 => {
                let events = cgroup::read(&group, "cgroup.events").map_err(failed)?;
                cgroup::field(&events, "frozen") == Some(u64::from(frozen))
            }
            CgroupVersion::V1 => {
                // The kernel may need to be asked again (freezer-subsystem.rst).
                let state = cgroup::read(&group, file).map_err(failed)?;
                state.trim() == value || {
                    cgroup::write(&group, file, value).map_err(failed)?;
                    false
                }
            }
        };
        if done {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::TimedOut(
                "the kernel did not hold every process of the container".to_owned(),
            ));
        }
        sleep(POLL).await;
    }
}

/// The group with the freezer: version 1's if that controller is mounted.
async fn freezer(client: &Client) -> Result<(OwnedFd, CgroupVersion)> {
    if let Ok(group) = client.cgroup(Some("freezer")).await
        && cgroup::read(&group, "freezer.state").is_ok()
    {
        return Ok((group, CgroupVersion::V1));
    }
    Ok((client.cgroup(None).await?, CgroupVersion::V2))
}
