//! Which containers there are: kept in memory, made fresh before every
//! answer from what inotify and /proc/net/unix tell.

use super::disk;
use super::{ContainerId, Engine, Error, Event, Facts, Owner, Result};
use crate::linux::{proc, process};
use gantry_core::config::Config;
use gantry_core::layout::{ContainerLayout, FoundSocket, command_sockets};
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// What is known, and what tells when it has changed.
#[derive(Debug)]
pub(super) struct Registry {
    lxc_path: String,
    events: broadcast::Sender<Event>,
    inotify: Inotify,
    top: WatchDescriptor,
    directories: HashMap<WatchDescriptor, ContainerName>,
    watched: BTreeMap<ContainerName, WatchDescriptor>,
    containers: BTreeMap<ContainerName, Entry>,
    included: BTreeMap<PathBuf, u64>,
    /// Those on whose command sockets somebody listened at the last look.
    listening: BTreeSet<ContainerName>,
}

/// One container.
#[derive(Debug)]
pub(super) struct Entry {
    facts: Arc<Facts>,
    included: BTreeSet<PathBuf>,
    on_disk: bool,
    /// A start is under way: that no monitor listens yet means nothing.
    pub(super) launching: bool,
    /// The task that watches it run.
    pub(super) watcher: Option<AbortHandle>,
    /// What it was started with, when its monitor tells.
    pub(super) running_config: Option<Config>,
}

impl Registry {
    /// Reads everything once.
    pub(super) fn open(lxc_path: &str, events: broadcast::Sender<Event>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::ONLYDIR;
        let top = inotify.watches().add(lxc_path, mask)?;
        let mut registry = Self {
            lxc_path: lxc_path.to_owned(),
            events,
            inotify,
            top,
            directories: HashMap::new(),
            watched: BTreeMap::new(),
            containers: BTreeMap::new(),
            included: BTreeMap::new(),
            listening: BTreeSet::new(),
        };
        let names = registry.scan();
        registry.reread(names);
        Ok(registry)
    }

    /// Becomes readable when a file has changed.
    pub(super) fn notifier(&self) -> io::Result<OwnedFd> {
        self.inotify.as_fd().try_clone_to_owned()
    }

    /// Takes in what has changed on the disk and which monitors listen.
    /// Returns those that run and are not watched yet, and those that have ended.
    pub(super) fn refresh(&mut self) -> Result<(Vec<ContainerName>, Vec<ContainerName>)> {
        let mut changed = self
            .drain()
            .map_err(|error| Error::io("watching the LXC path", &error))?;
        changed.extend(self.changed_includes());
        self.reread(changed);
        let sockets = proc::text("/proc/net/unix")
            .map_err(|error| Error::io("reading /proc/net/unix", &error))?;
        Ok(self.compare(&sockets))
    }

    /// The containers whose directories have changed since the last time.
    fn drain(&mut self) -> io::Result<BTreeSet<ContainerName>> {
        let mut changed = BTreeSet::new();
        let mut rescan = false;
        let mut buffer = [0; 16 * 1024];
        loop {
            let events = match self.inotify.read_events(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    rescan = true;
                    changed.extend(self.watched.keys().cloned());
                } else if event.wd == self.top {
                    rescan = true;
                    let name = event
                        .name
                        .and_then(|name| name.to_str())
                        .map(ContainerName::new);
                    changed.extend(name.and_then(std::result::Result::ok));
                } else if let Some(name) = self.directories.get(&event.wd) {
                    changed.insert(name.clone());
                }
            }
        }
        if rescan {
            changed.extend(self.scan());
        }
        Ok(changed)
    }

    /// Brings the watches in line with the directories there are. Returns
    /// those that came or went.
    fn scan(&mut self) -> BTreeSet<ContainerName> {
        let mut changed = BTreeSet::new();
        let mut there = HashSet::new();
        let entries = match std::fs::read_dir(&self.lxc_path) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!("reading {} failed: {error}", self.lxc_path);
                return changed;
            }
        };
        let names = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| ContainerName::new(&name).ok());
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MODIFY
            | WatchMask::ATTRIB
            | WatchMask::ONLYDIR;
        for name in names {
            there.insert(name.clone());
            // Also one that is known: another may stand in its place.
            let path = ContainerLayout::new(&self.lxc_path, name.clone()).directory();
            let Ok(watch) = self.inotify.watches().add(&path, mask) else {
                continue;
            };
            if self.watched.get(&name) == Some(&watch) {
                continue;
            }
            changed.insert(name.clone());
            self.directories.insert(watch.clone(), name.clone());
            self.watched.insert(name, watch);
        }
        let gone: Vec<ContainerName> = self
            .watched
            .keys()
            .filter(|name| !there.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(watch) = self.watched.remove(&name) {
                if self.directories.get(&watch) == Some(&name) {
                    self.directories.remove(&watch);
                }
                // The kernel has removed it with the directory, unless that
                // was renamed.
                self.inotify.watches().remove(watch).unwrap_or_default();
            }
            changed.insert(name);
        }
        changed
    }

    /// The containers whose included files have changed.
    fn changed_includes(&mut self) -> BTreeSet<ContainerName> {
        let mut changed = BTreeSet::new();
        for (path, revision) in &mut self.included {
            let now = std::fs::metadata(path)
                .map_or(0, |metadata| crate::linux::files::revision(&metadata));
            if *revision != now {
                *revision = now;
                let users = self
                    .containers
                    .iter()
                    .filter(|(_, entry)| entry.included.contains(path));
                changed.extend(users.map(|(name, _)| name.clone()));
            }
        }
        changed
    }

    /// Reads containers anew and tells what is new about them.
    fn reread(&mut self, names: BTreeSet<ContainerName>) {
        for name in names {
            let layout = ContainerLayout::new(&self.lxc_path, name.clone());
            let id = ContainerId::system(name.clone());
            match disk::read(&id, &layout) {
                Some(found) => {
                    for path in &found.included {
                        let revision = std::fs::metadata(path)
                            .map_or(0, |metadata| crate::linux::files::revision(&metadata));
                        self.included.entry(path.clone()).or_insert(revision);
                    }
                    self.update(&name, found);
                }
                None => self.lost(&name),
            }
        }
    }

    fn update(&mut self, name: &ContainerName, found: disk::OnDisk) {
        let disk::OnDisk {
            mut facts,
            included,
        } = found;
        let Some(entry) = self.containers.get_mut(name) else {
            let id = facts.id.clone();
            self.containers
                .insert(name.clone(), Entry::new(facts, included, true));
            self.tell(Event::Added(id));
            return;
        };
        entry.included = included;
        entry.on_disk = true;
        facts.state = entry.facts.state;
        facts.init_pid = entry.facts.init_pid;
        facts.started_at = entry.facts.started_at;
        facts.addresses.clone_from(&entry.facts.addresses);
        facts.needs_restart =
            entry.needs_restart(&ContainerLayout::new(&self.lxc_path, name.clone()));
        if *entry.facts != facts {
            let id = facts.id.clone();
            entry.facts = Arc::new(facts);
            self.tell(Event::Changed(id));
        }
    }

    /// The container's directory or config is gone. It is listed for as long
    /// as it runs.
    fn lost(&mut self, name: &ContainerName) {
        let Some(entry) = self.containers.get_mut(name) else {
            return;
        };
        entry.on_disk = false;
        if entry.facts.state == State::Stopped {
            self.remove(name);
        }
    }

    fn remove(&mut self, name: &ContainerName) {
        if let Some(entry) = self.containers.remove(name) {
            self.tell(Event::Removed(entry.facts.id.clone()));
        }
    }

    /// Compares with the text of /proc/net/unix. Returns those that run and
    /// are not watched yet, and those that have ended.
    fn compare(&mut self, sockets: &str) -> (Vec<ContainerName>, Vec<ContainerName>) {
        let mut alive = BTreeSet::new();
        let mut hashed = HashSet::new();
        for socket in command_sockets(sockets) {
            match socket {
                FoundSocket::Plain { lxc_path, name } if lxc_path == self.lxc_path => {
                    alive.insert(name);
                }
                FoundSocket::Plain { .. } => {}
                FoundSocket::Hashed { address } => {
                    hashed.insert(address);
                }
            }
        }
        if !hashed.is_empty() {
            let known = self.containers.keys().filter(|name| {
                hashed.contains(
                    &ContainerLayout::new(&self.lxc_path, (*name).clone()).command_socket(),
                )
            });
            alive.extend(known.cloned());
        }
        let stopped: Vec<ContainerName> = self
            .containers
            .iter()
            .filter(|(name, entry)| {
                let may_end = entry.facts.state != State::Stopped && !entry.launching;
                may_end && !alive.contains(*name) && !entry.facts.has_init()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in &stopped {
            self.set_state(name, State::Stopped, 0);
        }
        self.listening = alive;
        let unwatched = self.listening.iter().filter(|name| !self.is_watched(name));
        (unwatched.cloned().collect(), stopped)
    }

    /// Takes in a state, and tells of it if it is another than before.
    pub(super) fn set_state(&mut self, name: &ContainerName, state: State, init_pid: u32) {
        let id = ContainerId::system(name.clone());
        if !self.containers.contains_key(name) {
            if state == State::Stopped {
                return;
            }
            self.containers.insert(
                name.clone(),
                Entry::new(disk::bare(&id), BTreeSet::new(), false),
            );
            self.tell(Event::Added(id.clone()));
        }
        let Some(entry) = self.containers.get_mut(name) else {
            return;
        };
        if state == State::Stopped {
            if let Some(watcher) = entry.watcher.take() {
                watcher.abort();
            }
            entry.running_config = None;
        }
        let old = entry.facts.state;
        if (old, entry.facts.init_pid) == (state, init_pid) {
            return;
        }
        let facts = Arc::make_mut(&mut entry.facts);
        let was = facts.init_pid;
        facts.state = state;
        facts.init_pid = init_pid;
        if init_pid != was {
            facts.started_at = process::started_at(init_pid).unwrap_or_default();
        }
        if state == State::Stopped {
            facts.addresses.clear();
            facts.needs_restart.clear();
        }
        let on_disk = entry.on_disk;
        let changed = |old, new| Event::StateChanged {
            id: id.clone(),
            old,
            new,
        };
        if old != state {
            self.tell(changed(old, state));
        } else if state == State::Running && was != 0 && init_pid != 0 {
            // A reboot that was too quick for its states to be seen.
            self.tell(changed(old, State::Starting));
            self.tell(changed(State::Starting, state));
        } else {
            self.tell(Event::Changed(id));
        }
        if state == State::Stopped && !on_disk {
            self.remove(name);
        }
    }

    /// Takes in a running container's addresses.
    pub(super) fn set_addresses(&mut self, name: &ContainerName, addresses: Vec<String>) {
        self.change(name, |facts| facts.addresses = addresses);
    }

    /// What a running container goes by, where that is known.
    pub(super) fn running_config(&self, name: &ContainerName) -> Option<Config> {
        self.containers.get(name)?.running_config.clone()
    }

    /// Takes in what a container was started with.
    pub(super) fn set_running_config(&mut self, name: &ContainerName, config: Config) {
        let layout = ContainerLayout::new(&self.lxc_path, name.clone());
        let Some(entry) = self.containers.get_mut(name) else {
            return;
        };
        entry.running_config = Some(config);
        let keys = entry.needs_restart(&layout);
        self.change(name, |facts| facts.needs_restart = keys);
    }

    fn change(&mut self, name: &ContainerName, change: impl FnOnce(&mut Facts)) {
        let Some(entry) = self.containers.get_mut(name) else {
            return;
        };
        let mut facts = Facts::clone(&entry.facts);
        change(&mut facts);
        if facts != *entry.facts {
            let id = facts.id.clone();
            entry.facts = Arc::new(facts);
            self.tell(Event::Changed(id));
        }
    }

    /// Whether somebody listened on a container's command socket at the last look.
    pub(super) fn is_listening(&self, name: &ContainerName) -> bool {
        self.listening.contains(name)
    }

    /// One container.
    pub(super) fn entry(&mut self, name: &ContainerName) -> Option<&mut Entry> {
        self.containers.get_mut(name)
    }

    /// Whether some task watches a container run.
    pub(super) fn is_watched(&self, name: &ContainerName) -> bool {
        let entry = self.containers.get(name);
        entry.is_some_and(|entry| entry.watcher.is_some())
    }

    /// Takes in that the task which watched a container has seen its end. Another
    /// may have begun to watch the next life already.
    pub(super) fn has_ended(&mut self, name: &ContainerName, watcher: tokio::task::Id) {
        let entry = self.containers.get(name);
        let known = entry.and_then(|entry| entry.watcher.as_ref());
        if known.is_some_and(|known| known.id() == watcher) {
            self.set_state(name, State::Stopped, 0);
        }
    }

    /// Takes in that a start succeeded, unless somebody has seen more of it.
    pub(super) fn started(&mut self, name: &ContainerName, init_pid: u32) {
        let entry = self.containers.get(name);
        if entry.is_some_and(|entry| entry.facts.state == State::Starting) {
            self.set_state(name, State::Running, init_pid);
        }
    }

    /// The containers that are stopped.
    pub(super) fn stopped(&self) -> Vec<ContainerName> {
        let stopped = |(_, entry): &(_, &Entry)| entry.facts.state == State::Stopped;
        let names = self.containers.iter().filter(stopped);
        names.map(|(name, _)| name.clone()).collect()
    }

    fn facts(&self, name: &ContainerName) -> Option<Arc<Facts>> {
        self.containers.get(name).map(|entry| entry.facts.clone())
    }

    fn tell(&self, event: Event) {
        // Nobody has to listen.
        self.events.send(event).unwrap_or_default();
    }
}

impl Entry {
    fn new(facts: Facts, included: BTreeSet<PathBuf>, on_disk: bool) -> Self {
        Self {
            facts: Arc::new(facts),
            included,
            on_disk,
            launching: false,
            watcher: None,
            running_config: None,
        }
    }

    fn needs_restart(&self, layout: &ContainerLayout) -> Vec<String> {
        let Some(running) = &self.running_config else {
            return Vec::new();
        };
        disk::read_config(&layout.config()).map_or_else(
            |_| Vec::new(),
            |saved| saved.config.needing_restart(running),
        )
    }
}

impl Engine {
    /// Every container, by name, as the disk and the kernel have it now.
    pub(crate) async fn list(&self) -> Result<Vec<Arc<Facts>>> {
        self.refresh().await?;
        Ok(self.known())
    }

    /// Every container, by name, as was last known: at once and from memory.
    pub(crate) fn known(&self) -> Vec<Arc<Facts>> {
        let registry = self.registry();
        let entries = registry.containers.values();
        entries.map(|entry| entry.facts.clone()).collect()
    }

    /// One container, as the disk and the kernel have it now.
    pub(crate) async fn get(&self, id: &ContainerId) -> Result<Arc<Facts>> {
        self.refresh().await?;
        self.facts(id).ok_or_else(|| Self::unknown(id))
    }

    /// The error of one that is not there.
    pub(super) fn unknown(id: &ContainerId) -> Error {
        Error::NotFound(format!("there is no container '{}'", id.name))
    }

    /// What was last known of a container, at once and from memory.
    pub(crate) fn facts(&self, id: &ContainerId) -> Option<Arc<Facts>> {
        match id.owner {
            Owner::System => self.registry().facts(&id.name),
            Owner::User(_) => None,
        }
    }
}
