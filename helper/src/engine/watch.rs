//! Watching containers run: their states, their init and their addresses,
//! by event.

use super::client::{Client, StateNews};
use super::disk::DiskIncludes;
use super::registry::Registry;
use super::{ContainerId, Engine, Facts, Result, Shared};
use crate::cgroup;
use crate::linux::process::Process;
use crate::linux::readiness;
use crate::network::addresses;
use gantry_core::command::StateInterest;
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{Extension, RunningConfig};
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::task::JoinHandle;

/// How often it is looked for containers that others have started.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);
/// How old what is known may be for one who reads a property.
const MOMENT: Duration = Duration::from_millis(5);
/// How long killed processes may take to be gone.
const CLEAN_UP_DELAY: Duration = Duration::from_millis(300);
/// How long it is tried to clean up after a container.
const CLEAN_UP_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries with a monitor that says something strange.
const RETRY: Duration = Duration::from_millis(200);
/// How long a list waits for the state of a container that was not known.
const STATE_PATIENCE: Duration = Duration::from_secs(1);

/// Ends a task with whoever holds this.
struct TaskGuard(JoinHandle<()>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    /// The registry, for a moment.
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        // What a panic left is still what was last known, and is refreshed.
        self.0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of a system container.
    pub(super) fn layout(&self, name: &ContainerName) -> ContainerLayout {
        ContainerLayout::new(&self.0.lxc_path, name.clone())
    }

    /// Makes the registry fresh, and takes up what runs and was not known.
    pub(super) async fn refresh(&self) -> Result<()> {
        let mut last = self.0.refreshing.lock().await;
        let (unwatched, ended) = self.registry().refresh()?;
        for name in ended {
            // Its watcher has not come to it.
            self.clean_up_later(name);
        }
        for name in unwatched {
            self.adopt(&name).await;
        }
        *last = Some(Instant::now());
        Ok(())
    }

    /// What is known of a container, not older than a moment: cheap enough to ask
    /// for every container at once, and fresh for whoever has just used LXC's tools.
    pub(crate) async fn recent_facts(&self, id: &ContainerId) -> Option<Arc<Facts>> {
        let last = *self.0.refreshing.lock().await;
        if last.is_none_or(|last| last.elapsed() > MOMENT)
            && let Err(error) = self.refresh().await
        {
            tracing::warn!("looking at the containers failed: {error}");
        }
        self.facts(id)
    }

    /// Takes up a container whose monitor listens.
    async fn adopt(&self, name: &ContainerName) {
        let client = Client::new(&self.layout(name));
        match tokio::time::timeout(STATE_PATIENCE, client.state()).await {
            Ok(Ok(State::Stopped)) => {}
            Ok(Ok(state)) => {
                let pid = client.init_pid().await;
                {
                    let mut registry = self.registry();
                    // Whoever watches it by now knows better than an answer from before.
                    if registry.is_watched(name) {
                        return;
                    }
                    registry.set_state(name, state, pid);
                }
                self.watch(name);
            }
            Ok(Err(error)) => {
                tracing::warn!(container = %name, "asking its monitor failed: {error}")
            }
            Err(_) => tracing::warn!(container = %name, "its monitor does not answer"),
        }
    }

    /// Watches a running container from now on, if nobody does.
    pub(super) fn watch(&self, name: &ContainerName) {
        let mut registry = self.registry();
        let Some(entry) = registry.entry(name).filter(|entry| entry.watcher.is_none()) else {
            return;
        };
        let watcher = Watcher {
            engine: self.clone(),
            client: Client::new(&self.layout(name)),
            name: name.clone(),
        };
        entry.watcher = Some(tokio::spawn(watcher.run()).abort_handle());
    }

    /// Learns what a running container goes by.
    pub(super) async fn ask_running_config(&self, name: &ContainerName) {
        let layout = self.layout(name);
        match Client::new(&layout)
            .extension::<RunningConfig>(Extension::GetConfig, None::<&()>)
            .await
        {
            Ok(Some((running, _))) => {
                let config = Config::read(&layout.config(), running.text, &mut DiskIncludes);
                self.registry().set_running_config(name, config);
            }
            // A monitor of stock LXC does not tell.
            Ok(None) => {}
            Err(error) => {
                tracing::debug!("asking for the running config of {name} failed: {error}");
            }
        }
    }

    /// Keeps the registry fresh while nobody asks, for whoever subscribed.
    pub(super) fn keep_fresh(&self) -> io::Result<()> {
        let notifier = readiness::watch(self.registry().notifier()?, Interest::READABLE)?;
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(SCAN_INTERVAL);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    ready = notifier.readable() => match ready {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => return,
                    },
                    _ = tick.tick() => {}
                }
                let Some(engine) = shared.upgrade().map(Engine) else {
                    return;
                };
                if engine.is_observed()
                    && let Err(error) = engine.refresh().await
                {
                    tracing::warn!("looking at the containers failed: {error}");
                }
            }
        });
        Ok(())
    }

    /// Looks after what monitors left that were killed while nobody watched.
    pub(super) fn clean_up_what_was_left(&self) {
        let with_groups = cgroup::with_groups();
        for name in self.registry().stopped() {
            let is_marked = || self.layout(&name).mark_of_life().exists();
            if with_groups.contains(&name) || self.has_apparmor(&name) || is_marked() {
                self.clean_up_later(name);
            }
        }
    }

    /// Looks after what is left of a start that failed or a container that stopped,
    /// also when its monitor was killed, once the kernel has had time to end its
    /// processes. (Not at the next start: the monitor before may be about to
    /// remove its groups itself, and would then remove the new one's of the
    /// same name.)
    pub(super) fn clean_up_later(&self, name: ContainerName) {
        let (engine, client) = (self.clone(), Client::new(&self.layout(&name)));
        let id = ContainerId::system(name.clone());
        tokio::spawn(async move {
            let deadline = Instant::now() + CLEAN_UP_PATIENCE;
            while Instant::now() < deadline {
                tokio::time::sleep(CLEAN_UP_DELAY).await;
                // A monitor listens before it makes its groups.
                if let Ok(lock) = engine.lock(&name).await
                    && !client.is_alive().await
                {
                    // What has just ended may be in them a moment longer.
                    let are_gone = cgroup::remove_empty(&engine.layout(&name));
                    match engine.unload_apparmor(&name) {
                        Ok(()) => {
                            drop(lock);
                            if engine.destroy_left(&id).await && are_gone {
                                return;
                            }
                        }
                        Err(error) => tracing::debug!("unloading {name}'s profile: {error}"),
                    }
                }
                let facts = engine.facts(&id);
                if facts.is_some_and(|facts| facts.state != State::Stopped) {
                    return;
                }
            }
            tracing::warn!("what container {name} left could not be cleaned up");
        });
    }

    fn is_observed(&self) -> bool {
        let Shared { events, .. } = &*self.0;
        events.receiver_count() > 0
    }
}

/// Watches one container until it is stopped.
struct Watcher {
    engine: Engine,
    client: Client,
    name: ContainerName,
}

impl Watcher {
    async fn run(self) {
        let mut init: Option<Process> = None;
        let mut pid = 0;
        let mut addresses: Option<TaskGuard> = None;
        loop {
            let Some((state, known_pid)) = self.known() else {
                return;
            };
            if known_pid != pid || (init.is_none() && known_pid != 0) {
                pid = known_pid;
                init = Process::open(pid).ok();
                drop(addresses.take());
            }
            // What only starts has better to do, and no addresses.
            if addresses.is_none() && init.is_some() && state != State::Starting {
                addresses = Some(self.watch_addresses(pid));
                self.engine.ask_running_config(&self.name).await;
            }
            let others: Vec<State> = State::ALL
                .into_iter()
                .filter(|other| *other != state)
                .collect();
            match self.client.await_states(StateInterest::of(&others)).await {
                Ok(None) => break,
                Ok(Some(Ok(reached))) => self.reached(reached).await,
                Ok(Some(Err(waiting))) => {
                    let news = tokio::select! {
                        news = waiting.news() => news,
                        () = ended(init.as_ref()) => {
                            // A reboot, perhaps too quick for its states to be seen.
                            init = None;
                            drop(addresses.take());
                            Ok(StateNews::Ended)
                        }
                    };
                    match news {
                        Ok(StateNews::Reached(reached)) => self.reached(reached).await,
                        Ok(StateNews::Ended) if self.client.is_alive().await => {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            if let Ok(state) = self.client.state().await {
                                self.reached(state).await;
                            }
                        }
                        Ok(StateNews::Ended) => break,
                        Err(error) => self.complain(&error).await,
                    }
                }
                Err(error) => self.complain(&error).await,
            }
        }
        // Without its monitor it ends with init, which dies at once in most cases.
        if let Some(init) = init.filter(Process::is_alive) {
            init.ended().await;
        }
        self.engine.clean_up_later(self.name.clone());
        // Last: it ends this task.
        self.engine
            .registry()
            .has_ended(&self.name, tokio::task::id());
    }

    fn known(&self) -> Option<(State, u32)> {
        let id = ContainerId::system(self.name.clone());
        self.engine
            .facts(&id)
            .map(|facts| (facts.state, facts.init_pid))
    }

    async fn reached(&self, state: State) {
        let pid = if state == State::Stopped {
            0
        } else {
            self.client.init_pid().await
        };
        if state == State::Stopped {
            // Told before the socket closes: the end of the connection counts.
            tokio::time::sleep(Duration::from_millis(1)).await;
            return;
        }
        self.engine.registry().set_state(&self.name, state, pid);
    }

    async fn complain(&self, error: &io::Error) {
        tracing::warn!(container = %self.name, "watching it failed: {error}");
        tokio::time::sleep(RETRY).await;
    }

    fn watch_addresses(&self, pid: u32) -> TaskGuard {
        let (engine, name) = (self.engine.clone(), self.name.clone());
        TaskGuard(tokio::spawn(async move {
            let result = async {
                let socket = engine.0.programs.netlink(pid).await?;
                addresses::watch(socket, |found| {
                    engine.registry().set_addresses(&name, found)
                })
                .await
            };
            if let Err(error) = result.await {
                tracing::debug!("watching the addresses of {name} failed: {error}");
            }
        }))
    }
}

/// Returns when a process has ended; never if there is none.
async fn ended(process: Option<&Process>) {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}
