//! Freezing and letting go, as lxc-freeze does it: the monitor only keeps the
//! state, the group is written to by whoever freezes. Containers are held for copies,
//! too.

use super::client::Client;
use super::{ContainerId, Engine, Error, Result, Work};
use crate::cgroup;
use crate::linux::files;
use gantry_core::name::ContainerName;
use gantry_core::settings::CgroupVersion;
use gantry_core::states::State;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the kernel may take to hold every process.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(1);
/// The containers that are held for copies: a file each.
const HELD: &str = "/run/gantry/held";

impl Engine {
    /// Holds every process of a container; returns when they are held.
    pub(crate) async fn freeze(&self, id: &ContainerId) -> Result<()> {
        let client = self.running(id).await?;
        self.expect(id, &[State::Running])?;
        client.serve_state(State::Freezing).await?;
        if let Err(error) = set_frozen(&client, true).await {
            set_frozen(&client, false).await?;
            client.serve_state(State::Thawed).await?;
            return Err(error);
        }
        client.serve_state(State::Frozen).await?;
        self.settle(id, &[State::Frozen]).await
    }

    /// Lets a container go on that is frozen, or that somebody began to freeze.
    pub(crate) async fn unfreeze(&self, id: &ContainerId) -> Result<()> {
        let client = self.running(id).await?;
        self.expect(id, &[State::Frozen, State::Freezing])?;
        set_frozen(&client, false).await?;
        client.serve_state(State::Thawed).await?;
        self.settle(id, &[State::Running]).await
    }

    /// Holds a container that runs for the copy that is to be made of it, and says
    /// whether it did. One that is stopped or held needs it not.
    pub(super) async fn hold(&self, id: &ContainerId, work: &Work) -> Result<Held> {
        let steady = [State::Running, State::Frozen, State::Stopped];
        let state = self.wait(id, &steady, Some(PATIENCE)).await?;
        if state != State::Running {
            return Ok(Held(state));
        }
        work.stage("holding the container");
        let mark = mark_of(&id.name);
        files::create_dirs(Path::new(HELD), 0o700)
            .and_then(|()| files::replace(&mark, &[], 0o600))
            .map_err(|error| Error::path("writing", &mark, &error))?;
        if let Err(error) = self.freeze(id).await {
            forget(&mark);
            return Err(error);
        }
        Ok(Held(state))
    }

    /// Lets it go on. Fails for one that was stopped and has been started meanwhile.
    pub(super) async fn let_go(&self, id: &ContainerId, held: Held) -> Result<()> {
        match held {
            Held(State::Running) => {
                self.unfreeze(id).await?;
                forget(&mark_of(&id.name));
            }
            Held(State::Stopped) if Client::new(&self.layout(&id.name)).is_alive().await => {
                return Err(Error::WrongState(format!(
                    "container '{}' was started while it was copied; try again",
                    id.name
                )));
            }
            Held(_) => {}
        }
        Ok(())
    }

    /// Lets those go on that a helper held which was killed before it could.
    pub(super) async fn let_go_of_left(&self) {
        for entry in std::fs::read_dir(HELD).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(Ok(name)) = name.to_str().map(ContainerName::new) else {
                continue;
            };
            let client = Client::new(&self.layout(&name));
            if client.is_alive().await {
                let thawed = async {
                    set_frozen(&client, false).await?;
                    client.serve_state(State::Thawed).await
                };
                match thawed.await {
                    Ok(()) => tracing::info!(container = %name, "let go; it was held for a copy"),
                    Err(error) => tracing::error!(container = %name, "still held: {error}"),
                }
            }
            forget(&entry.path());
        }
    }

    fn expect(&self, id: &ContainerId, states: &[State]) -> Result<()> {
        match self.facts(id).map(|facts| facts.state) {
            Some(found) if !states.contains(&found) => {
                let wanted: Vec<String> = states.iter().map(State::to_string).collect();
                Err(Error::WrongState(format!(
                    "container '{}' is {found}, not {}",
                    id.name,
                    wanted.join(" or ")
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns when the registry has it, too.
    async fn settle(&self, id: &ContainerId, states: &[State]) -> Result<()> {
        self.wait(id, states, Some(PATIENCE)).await.map(|_| ())
    }
}

/// A container of which a copy is made, in the state that it was found in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held(State);

/// Says that a container is held by a helper, not by somebody's wish.
fn mark_of(name: &ContainerName) -> PathBuf {
    Path::new(HELD).join(name.as_str())
}

fn forget(mark: &Path) {
    if let Err(error) = std::fs::remove_file(mark) {
        tracing::warn!("removing {} failed: {error}", mark.display());
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
