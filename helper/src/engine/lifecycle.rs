//! Starting, stopping and what lies between. All but starting works through
//! the command socket, so whose monitor it is does not matter.

use super::client::Client;
use super::init::{HALT, REBOOT};
use super::{ContainerId, Engine, Error, Event, Facts, Owner, Result, Work, disk};
use crate::linux::lock::FileLock;
use crate::linux::process::Process;
use gantry_core::command::StateInterest;
use gantry_core::layout::RUN_DIR;
use gantry_core::monitor::{Report, ReportLevel};
use gantry_core::name::ContainerName;
use gantry_core::settings::Settings;
use gantry_core::signals;
use gantry_core::states::State;
use std::path::Path;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a monitor may take to clean up after a kill.
const KILL_PATIENCE: Duration = Duration::from_secs(30);
/// How long LXC's lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long what hinders a start for a moment is waited for, and between two tries.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How long a whole start may take, hooks included, before it is given up.
const START_PATIENCE: Duration = Duration::from_secs(600);

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

/// While this lives, that no monitor listens does not mean that the container
/// is stopped.
struct Launching<'a> {
    engine: &'a Engine,
    name: &'a ContainerName,
}

impl<'a> Launching<'a> {
    fn begin(engine: &'a Engine, name: &'a ContainerName) -> Self {
        let mut registry = engine.registry();
        if let Some(entry) = registry.entry(name) {
            entry.launching = true;
        }
        registry.set_state(name, State::Starting, 0);
        Self { engine, name }
    }
}

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.engine.registry().entry(self.name) {
            entry.launching = false;
        }
    }
}

impl Engine {
    /// Starts a container; returns when its init has been executed.
    pub(crate) async fn start(&self, id: &ContainerId) -> Result<()> {
        let facts = self.get(id).await?;
        if self.orphan(id).await.is_some() {
            return Err(Self::lost_its_monitor(id));
        }
        if facts.state != State::Stopped {
            return Err(Error::WrongState(format!(
                "container '{}' is already {}",
                id.name, facts.state
            )));
        }
        if let Some(fault) = &facts.config_error {
            return Err(Error::InvalidConfig(fault.clone()));
        }
        self.refuse_base(&facts)?;
        let lock = self.lock_stopped(&id.name).await?;
        let began = Instant::now();
        let launching = Launching::begin(self, &id.name);
        let mut result = self.launch(&id.name, lock).await;
        // The monitor of its last life may still be leaving. LXC's tools need not
        // wait for that, too.
        while let Err(Error::Busy(reason)) = &result
            && began.elapsed() < BUSY_PATIENCE
        {
            tracing::debug!(container = %id.name, "not started yet: {reason}");
            sleep(BUSY_PAUSE).await;
            result = match self.lock_stopped(&id.name).await {
                Ok(lock) => self.launch(&id.name, lock).await,
                Err(error) => Err(error),
            };
        }
        drop(launching);
        match result {
            Ok(pid) => {
                self.registry().started(&id.name, pid);
                self.watch(&id.name);
                tracing::info!(container = %id.name, "started in {:?}", began.elapsed());
                Ok(())
            }
            Err(error) => {
                // What is left of it is seen by a look at the kernel.
                self.refresh().await?;
                if !Client::new(&self.layout(&id.name)).is_alive().await {
                    self.registry().set_state(&id.name, State::Stopped, 0);
                    self.clean_up_later(id.name.clone());
                }
                Err(error)
            }
        }
    }

    /// What others see through must not change: such a container starts read-only. A
    /// snapshot of LVM keeps what its origin changes.
    fn refuse_base(&self, facts: &Facts) -> Result<()> {
        if facts.dependents.is_empty() || facts.backend == "lvm" {
            return Ok(());
        }
        let name = &facts.id.name;
        let config = disk::read_config(&self.layout(name).config())?.config;
        let options = config.get("lxc.rootfs.options").unwrap_or_default();
        if options.split(',').any(|option| option.trim() == "ro") {
            return Ok(());
        }
        Err(Error::HasDependents(format!(
            "container '{name}' is the base of {}, whose files would change with it; clone it, or set lxc.rootfs.options = ro",
            facts.dependents.join(", ")
        )))
    }

    /// Runs a monitor and follows its reports until init runs, whose pid it gives. The lock is held
    /// until the monitor listens: hooks may take their time, and LXC's tools
    /// take it to look at a container.
    async fn launch(&self, name: &ContainerName, lock: FileLock) -> Result<u32> {
        let config = disk::read_config(&self.layout(name).config())?.config;
        let settings = Settings::from_config(&config)?;
        self.ready_networks(&settings).await?;
        let offer = self.offer(&self.layout(name), &settings)?;
        self.load_apparmor(name, &settings).await?;
        let channel = self.0.programs.monitor(self.layout(name)).await?;
        // A monitor that has ended already has told why.
        if let Err(error) = offer.send(&channel).await {
            tracing::debug!("the monitor of {name} takes no request: {error}");
        }
        let mut lock = Some(lock);
        let reports = async {
            loop {
                match channel.receive::<Report>().await {
                    Ok(Some((Report::Running { pid }, _))) => return Ok(pid),
                    Ok(Some((Report::Failed(failure), _))) => return Err(Error::from(failure)),
                    Ok(Some((Report::Done, _))) => {}
                    Ok(Some((Report::Listening, _))) => drop(lock.take()),
                    Ok(Some((Report::Unconfirmed, _))) => {
                        let id = ContainerId::system(name.clone());
                        self.show_unconfirmed(&id).await;
                    }
                    Ok(Some((Report::Log { level, message }, _))) => log(name, level, &message),
                    Ok(None) => return Err(lost_monitor(name, "it ended without a word")),
                    Err(error) => return Err(lost_monitor(name, &error.to_string())),
                }
            }
        };
        match tokio::time::timeout(START_PATIENCE, reports).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut(format!(
                "container '{name}' has not started after {} s; kill it to try again",
                START_PATIENCE.as_secs()
            ))),
        }
    }

    /// Asks a container's init to shut down and waits until it is stopped.
    pub(crate) async fn stop(
        &self,
        id: &ContainerId,
        options: StopOptions,
        work: &Work,
    ) -> Result<()> {
        let client = self.begun(id).await?;
        work.stage("shutting down");
        if client
            .state()
            .await
            .is_ok_and(|state| state == State::Starting)
        {
            // There is no init yet that could be asked.
            return self.kill(id).await;
        }
        let is_heard = self.signal_init(id, &client, HALT).await?;
        let deadline = deadline(Some(options.timeout));
        let stopped = tokio::select! {
            result = self.await_state(id, &[State::Stopped], deadline) => result,
            never = self.insist(id, &client, HALT, is_heard) => match never {},
            () = work.cancelled() => return Err(cancelled(id)),
        };
        match stopped {
            Err(Error::TimedOut(_)) if options.force => {
                work.stage("killing");
                work.log(format!(
                    "no clean stop within {:?}, killing it",
                    options.timeout
                ));
                self.kill(id).await
            }
            Err(Error::TimedOut(_)) => Err(Error::TimedOut(format!(
                "container '{}' did not stop within {:?}; give it more time, or kill it",
                id.name, options.timeout
            ))),
            result => result.map(|_| ()),
        }
    }

    /// Asks a container's init to reboot and waits until it runs again.
    pub(crate) async fn reboot(
        &self,
        id: &ContainerId,
        options: StopOptions,
        work: &Work,
    ) -> Result<()> {
        let client = self.running(id).await?;
        work.stage("rebooting");
        if client
            .state()
            .await
            .is_ok_and(|state| state == State::Starting)
        {
            return Err(Error::WrongState(format!(
                "container '{}' is just starting; reboot it when it runs",
                id.name
            )));
        }
        // Asked before the signal is sent, so that no reboot is too quick.
        let failed = |error: std::io::Error| {
            Error::io(format_args!("waiting for container '{}'", id.name), &error)
        };
        let next_running = client
            .await_states(StateInterest::next_running())
            .await
            .map_err(failed)?;
        let is_heard = self.signal_init(id, &client, REBOOT).await?;
        let Some(Err(waiting)) = next_running else {
            return Ok(());
        };
        let rebooted = tokio::select! {
            news = tokio::time::timeout(options.timeout, waiting.news()) => news,
            never = self.insist(id, &client, REBOOT, is_heard) => match never {},
            () = work.cancelled() => return Err(cancelled(id)),
        };
        match rebooted {
            Ok(Ok(super::client::StateNews::Reached(State::Running))) => {
                let pid = client.init_pid().await;
                self.registry().set_state(&id.name, State::Running, pid);
                Ok(())
            }
            Ok(Ok(_)) => Err(Error::WrongState(format!(
                "container '{}' stopped instead of rebooting",
                id.name
            ))),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) if options.force => {
                work.stage("killing");
                work.log(format!(
                    "no clean reboot within {:?}, killing and starting it",
                    options.timeout
                ));
                self.kill(id).await?;
                work.stage("starting");
                self.start(id).await
            }
            Err(_) => Err(Error::TimedOut(format!(
                "container '{}' did not reboot within {:?}; give it more time, or force it",
                id.name, options.timeout
            ))),
        }
    }

    /// Ends a container at once; returns when it is stopped.
    pub(crate) async fn kill(&self, id: &ContainerId) -> Result<()> {
        let client = self.begun(id).await?;
        if let Some(init) = self.orphan(id).await {
            self.kill_orphan(id, &init)?;
            return self.await_stopped(id).await;
        }
        match client.stop(KILL_PATIENCE).await {
            Ok(()) => {}
            Err(error @ Error::TimedOut(_)) => {
                // The monitor is stuck; without init nothing of the container is left.
                tracing::warn!(container = %id.name, "{error}; killing init itself");
                let facts = self.facts(id).ok_or(error)?;
                // Its number may be another's by now: looked at once it is held.
                let init = Process::open(facts.init_pid);
                init.ok()
                    .filter(|_| facts.has_init())
                    .map_or(Ok(()), |init| init.send(signals::SIGKILL))
                    .map_err(|error| {
                        Error::io(format_args!("killing container '{}'", id.name), &error)
                    })?;
            }
            Err(error) => return Err(error),
        }
        self.await_stopped(id).await
    }

    async fn await_stopped(&self, id: &ContainerId) -> Result<()> {
        self.await_state(id, &[State::Stopped], deadline(Some(KILL_PATIENCE)))
            .await
            .map(drop)
    }

    /// Waits until a container is in one of `states`, and says in which.
    /// Without a time-out it waits for ever.
    pub(crate) async fn wait(
        &self,
        id: &ContainerId,
        states: &[State],
        timeout: Option<Duration>,
    ) -> Result<State> {
        if states.is_empty() {
            return Err(Error::InvalidArgument(
                "no state to wait for was given".to_owned(),
            ));
        }
        self.get(id).await?;
        self.await_state(id, states, deadline(timeout)).await
    }

    async fn await_state(
        &self,
        id: &ContainerId,
        states: &[State],
        deadline: Instant,
    ) -> Result<State> {
        let mut events = self.subscribe();
        self.refresh().await?;
        let mut now = self.facts(id).map_or(State::Stopped, |facts| facts.state);
        loop {
            if states.contains(&now) {
                return Ok(now);
            }
            match timeout_at(deadline, events.recv()).await {
                Ok(Ok(Event::StateChanged { id: of, new, .. })) if of == *id => now = new,
                Ok(Ok(Event::Removed(of))) if of == *id => {
                    return Err(Error::NotFound(format!(
                        "container '{}' was destroyed",
                        id.name
                    )));
                }
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(_))) => now = self.get(id).await?.state,
                Ok(Err(RecvError::Closed)) => {
                    return Err(Error::Failed("the helper is ending".to_owned()));
                }
                Err(_) => {
                    let wanted: Vec<&str> = states.iter().map(|state| state.word()).collect();
                    return Err(Error::TimedOut(format!(
                        "container '{}' is still {now}, not {}",
                        id.name,
                        wanted.join(" or ")
                    )));
                }
            }
        }
    }

    /// The monitor of a container that is not stopped.
    pub(super) async fn running(&self, id: &ContainerId) -> Result<Client> {
        let client = self.begun(id).await?;
        // What is asked of it next tells whether who listens is its monitor.
        let has_monitor = self.registry().is_listening(&id.name);
        if !has_monitor && self.orphan(id).await.is_some() {
            return Err(Self::lost_its_monitor(id));
        }
        Ok(client)
    }

    /// The same, though it may have lost its monitor.
    async fn begun(&self, id: &ContainerId) -> Result<Client> {
        // Whoever was let through by the bus has just looked, but before it is refused it is
        // looked again.
        let facts = match self.recent_facts(id).await {
            Some(facts) if facts.state != State::Stopped => facts,
            _ => self.get(id).await?,
        };
        if facts.state == State::Stopped {
            return Err(Error::WrongState(format!(
                "container '{}' is not running; start it first",
                id.name
            )));
        }
        Ok(Client::new(&self.layout(&id.name)))
    }

    /// Takes LXC's lock of a container that no monitor holds: whoever had the
    /// lock may have started it.
    async fn lock_stopped(&self, name: &ContainerName) -> Result<FileLock> {
        let lock = self.lock(name).await?;
        if Client::new(&self.layout(name)).is_alive().await {
            return Err(Error::WrongState(format!(
                "container '{name}' was just started by somebody else"
            )));
        }
        Ok(lock)
    }

    /// Takes LXC's lock of a container, held until dropped.
    pub(super) async fn lock(&self, name: &ContainerName) -> Result<FileLock> {
        let path = self.layout(name).lock_file(Path::new(RUN_DIR));
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match FileLock::try_take(&path) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
                Ok(None) => {
                    return Err(Error::Busy(format!(
                        "somebody else is working on container '{name}'; try again"
                    )));
                }
                Err(error) => return Err(Error::path("locking", &path, &error)),
            }
        }
    }

    /// Refuses containers that are not in the system's LXC path.
    pub(super) fn need_system(&self, id: &ContainerId) -> Result<()> {
        match id.owner {
            Owner::System => Ok(()),
            Owner::User(_) => Err(Error::NotFound(format!("there is no container '{id}'"))),
        }
    }
}

fn deadline(timeout: Option<Duration>) -> Instant {
    /// For ever, for a process that ends with its machine.
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.unwrap_or(YEAR).min(YEAR)
}

fn cancelled(id: &ContainerId) -> Error {
    Error::Cancelled(format!(
        "waiting for container '{}' was cancelled; it goes on by itself",
        id.name
    ))
}

fn lost_monitor(name: &ContainerName, cause: &str) -> Error {
    Error::StartFailed {
        step: "running its monitor".to_owned(),
        message: format!("container '{name}' did not start: its monitor was lost: {cause}"),
        log: Vec::new(),
    }
}

fn log(name: &ContainerName, level: ReportLevel, message: &str) {
    match level {
        ReportLevel::Debug => tracing::debug!(container = %name, "{message}"),
        ReportLevel::Info => tracing::info!(container = %name, "{message}"),
        ReportLevel::Warning => tracing::warn!(container = %name, "{message}"),
        ReportLevel::Error => tracing::error!(container = %name, "{message}"),
    }
}
