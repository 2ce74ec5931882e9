//! Who keeps a network that is up: a process of its own, started, told of changes, and
//! replaced when it was killed.

use super::super::launcher::Holder;
use crate::engine::{Engine, Error, Result};
use crate::linux::lock::FileLock;
use crate::linux::process::Process;
use gantry_core::monitor::Report;
use gantry_core::name::InterfaceName;
use gantry_core::networks::{Network, Places};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long who keeps a network may take to begin, dnsmasq with it, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before one who was killed is replaced.
const REST: Duration = Duration::from_millis(100);
/// Between two looks whether something has begun.
const PAUSE: Duration = Duration::from_millis(5);

impl Engine {
    /// Starts who keeps a network, and returns once dnsmasq answers.
    pub(super) async fn start_keeper(&self, name: &InterfaceName) -> Result<()> {
        let places = Places::of(name);
        let deadline = Instant::now() + PATIENCE;
        let channel = loop {
            match self.0.programs.launch(Holder::Network(name.clone())).await {
                // The service manager is replacing one who was killed.
                Err(Error::Busy(_)) if is_kept(&places)? => return Ok(()),
                Err(Error::Busy(_)) if Instant::now() < deadline => sleep(PAUSE).await,
                launched => break launched?,
            }
        };
        match timeout(PATIENCE, channel.receive::<Report>()).await {
            Ok(Ok(Some((Report::Running { .. }, _)))) => {
                self.watch_keeper(name);
                Ok(())
            }
            Ok(Ok(Some((Report::Failed(failure), _)))) => Err(Error::Failed(format!(
                "the network {} cannot be served: {}",
                name.as_str(),
                failure.message
            ))),
            _ => Err(Error::Failed(format!(
                "what is to keep the network {} ended without a word",
                name.as_str()
            ))),
        }
    }

    /// Has who keeps a network replaced if killed, where no service manager does that.
    pub(super) fn watch_keeper(&self, name: &InterfaceName) {
        if self.0.programs.replaces_keepers() {
            return;
        }
        let (engine, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let places = Places::of(&name);
            let Ok(Some(keeper)) = keeper(&places) else {
                return;
            };
            keeper.ended().await;
            // One that ends at once is not to be started all the time.
            sleep(REST).await;
            let _lock = engine.0.networks.lock().await;
            if Path::new(&places.record()).exists() && matches!(is_kept(&places), Ok(false)) {
                tracing::warn!("who kept the network {} was killed", name.as_str());
                if let Err(error) = engine.repair(&name).await {
                    tracing::error!("repairing the network {} failed: {error}", name.as_str());
                }
            }
        });
    }
}

/// Whether somebody keeps a network.
pub(super) fn is_kept(places: &Places) -> Result<bool> {
    keeper(places).map(|keeper| keeper.is_some())
}

/// Who keeps a network: its lock is held, and so the pid in its file is still its own.
pub(super) fn keeper(places: &Places) -> Result<Option<Process>> {
    let path = places.keeper();
    let path = Path::new(&path);
    let failed = |error: io::Error| Error::path("looking for who holds", path, &error);
    let look = || FileLock::is_held(path).map_err(failed);
    if !look()? {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let Ok(pid) = text.trim().parse() else {
        return Err(Error::Busy(format!(
            "{} is held by one who is just beginning; try again",
            path.display()
        )));
    };
    let process = Process::open(pid);
    // Once more: it may have ended before it was opened.
    if look()? {
        process.map(Some).map_err(failed)
    } else {
        Ok(None)
    }
}

/// Has dnsmasq begin anew, and returns when it has: whoever asks for a lease next goes by
/// what was changed.
pub(super) async fn reload(keeper: &Process, network: &Network) -> Result<()> {
    let path = network.places().server_pid();
    let pid = || std::fs::read_to_string(&path).unwrap_or_default();
    let before = pid();
    signal(keeper, libc::SIGHUP)?;
    let begun = async {
        while pid().trim().is_empty() || pid() == before {
            sleep(PAUSE).await;
        }
    };
    if network.has_server() && timeout(PATIENCE, begun).await.is_err() {
        return Err(Error::Failed(format!(
            "dnsmasq of the network {} does not begin anew; look into the system's log",
            network.name.as_str()
        )));
    }
    Ok(())
}

fn signal(keeper: &Process, number: i32) -> Result<()> {
    match keeper.send(number) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            Err(Error::io("signalling who keeps a network", &error))
        }
        _ => Ok(()),
    }
}

/// Has who keeps a network end, and its dnsmasq with it.
pub(super) async fn end(keeper: &Process) -> Result<()> {
    signal(keeper, libc::SIGTERM)?;
    if timeout(PATIENCE, keeper.ended()).await.is_err() {
        signal(keeper, libc::SIGKILL)?;
    }
    Ok(())
}
