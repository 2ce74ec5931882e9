//! Asking a container's init for something by a signal.

use super::client::Client;
use super::{ContainerId, Engine, Error, Result};
use crate::cgroup;
use crate::linux::proc;
use crate::linux::process::Process;
use gantry_core::signals;
use gantry_core::states::State;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::sleep;

/// Between two signals to an init that does not listen yet.
const INSISTENCE: Duration = Duration::from_millis(100);

/// What init is asked for by a signal: the key that names it, and what it is
/// without; none is found out by looking at init.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    key: &'static str,
    default: Option<i32>,
}

pub(super) const HALT: Request = Request {
    key: "lxc.signal.halt",
    default: None,
};
pub(super) const REBOOT: Request = Request {
    key: "lxc.signal.reboot",
    default: Some(signals::SIGINT),
};

impl Engine {
    /// Sends init the signal that a key of its config names. A frozen init
    /// takes no signal, so it is let go first. Gives back whether init listens
    /// to it: one that has only begun does not yet.
    pub(super) async fn signal_init(
        &self,
        id: &ContainerId,
        client: &Client,
        request: Request,
    ) -> Result<bool> {
        let facts = self.get(id).await?;
        let orphan = self.orphan(id).await;
        if matches!(facts.state, State::Frozen | State::Freezing) {
            match &orphan {
                Some(_) => cgroup::thaw(&self.layout(&id.name)),
                None => self.unfreeze(id).await?,
            }
        }
        let (init, pid, setting) = match orphan {
            Some(init) => (init, facts.init_pid, self.saved_item(id, request.key)?),
            None => {
                let init = client.init().await?;
                let setting = client.config_item(request.key).await?;
                (init, client.init_pid().await, setting)
            }
        };
        let configured = setting.and_then(|text| signals::parse(text.trim()));
        let status = status_of(pid, &init)?;
        let configured = configured.filter(|signal| *signal != 0).or(request.default);
        let signal = configured.unwrap_or_else(|| signals::halt_of(&status));
        init.send(signal).map_err(|error| {
            Error::io(format_args!("signalling container '{}'", id.name), &error)
        })?;
        Ok(signals::is_heard(&status, signal))
    }

    /// Sends the signal again and again until init listens to it. Never returns.
    pub(super) async fn insist(
        &self,
        id: &ContainerId,
        client: &Client,
        request: Request,
        mut is_heard: bool,
    ) -> Infallible {
        while !is_heard {
            sleep(INSISTENCE).await;
            // What fails has ended, which others notice.
            is_heard = self.signal_init(id, client, request).await.unwrap_or(true);
        }
        std::future::pending().await
    }
}

/// The text of init's /proc/PID/status.
fn status_of(pid: u32, init: &Process) -> Result<String> {
    let gone = || Error::WrongState("the container has just stopped".to_owned());
    let status = proc::text(format!("/proc/{pid}/status")).map_err(|_| gone())?;
    // Only now is it certain that the file was init's.
    if !init.is_alive() {
        return Err(gone());
    }
    Ok(status)
}
