use std::collections::HashMap;

use gantry_api::{ContainerState, JobState, parse_container_path};
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

use super::{
    Network,
    properties::{Properties, read},
};

/// The name of an interface with its properties, as the object manager gives them.
pub(super) type Interfaces = HashMap<String, Properties>;
/// Everything that the object manager knows.
pub(super) type Objects = HashMap<OwnedObjectPath, Interfaces>;

pub(super) const CONTAINER: &str = "io.gantry.Gantry1.Container";
pub(super) const JOB: &str = "io.gantry.Gantry1.Job";
pub(super) const NETWORK: &str = "io.gantry.Gantry1.Network";

/// A container as the helper last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The object's path on the bus: its identity.
    pub path: String,
    /// Its name, unique for one owner.
    pub name: String,
    /// `system` or `u<uid>`.
    pub owner: String,
    /// The state.
    pub state: ContainerState,
    /// The process id of its init on the host; 0 when stopped.
    pub init_pid: u32,
    /// When its init started, in microseconds since 1970; 0 when stopped.
    pub started_at: i64,
    /// Its addresses, without prefix length.
    pub addresses: Vec<String>,
    /// Whether it is started with the computer.
    pub autostart: bool,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// The storage backend.
    pub backend: String,
    /// Whether root inside is root on the host.
    pub privileged: bool,
    /// Whether it is removed when it stops.
    pub ephemeral: bool,
    /// The architecture, in LXC's words; empty when not set.
    pub architecture: String,
    /// What is wrong with its configuration; empty when nothing is.
    pub config_error: String,
    /// Whether its configuration has keys that only LXC of old knows.
    pub legacy_config: bool,
    /// The keys whose saved value is not the running one.
    pub needs_restart: Vec<String>,
    /// The containers that depend on it.
    pub dependents: Vec<String>,
    /// The owner's own words.
    pub description: String,
}

impl Container {
    /// A stopped container that nothing else is known of.
    #[must_use]
    pub fn new(path: &str, name: &str) -> Self {
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            owner: "system".to_owned(),
            state: ContainerState::Stopped,
            init_pid: 0,
            started_at: 0,
            addresses: Vec::new(),
            autostart: false,
            groups: Vec::new(),
            backend: String::new(),
            privileged: false,
            ephemeral: false,
            architecture: String::new(),
            config_error: String::new(),
            legacy_config: false,
            needs_restart: Vec::new(),
            dependents: Vec::new(),
            description: String::new(),
        }
    }

    /// Whether it is in a group; the empty name stands for no group at all.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        match group {
            "" => self.groups.is_empty(),
            _ => self.groups.iter().any(|own| own == group),
        }
    }

    pub(super) fn read(&mut self, from: &Properties) {
        let mut state = String::new();
        read(from, "State", &mut state);
        if let Ok(state) = state.parse() {
            self.state = state;
        }
        read(from, "Name", &mut self.name);
        read(from, "Owner", &mut self.owner);
        read(from, "InitPid", &mut self.init_pid);
        read(from, "StartedAt", &mut self.started_at);
        read(from, "Addresses", &mut self.addresses);
        read(from, "Autostart", &mut self.autostart);
        read(from, "Groups", &mut self.groups);
        read(from, "Backend", &mut self.backend);
        read(from, "Privileged", &mut self.privileged);
        read(from, "Ephemeral", &mut self.ephemeral);
        read(from, "Architecture", &mut self.architecture);
        read(from, "ConfigError", &mut self.config_error);
        read(from, "LegacyConfig", &mut self.legacy_config);
        read(from, "NeedsRestart", &mut self.needs_restart);
        read(from, "Dependents", &mut self.dependents);
        read(from, "Description", &mut self.description);
    }
}

/// A job as the helper last described it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The object's path on the bus: its identity.
    pub path: String,
    /// What it does, in the helper's word: `create`, `stop`…
    pub operation: String,
    /// The names it works on.
    pub objects: Vec<String>,
    /// The paths of what it works on.
    pub paths: Vec<String>,
    /// How far it is.
    pub state: JobState,
    /// What it is at.
    pub stage: String,
    /// From 0 to 1; negative when unknown.
    pub progress: f64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all; 0 when unknown.
    pub total: u64,
    /// Whether it can be cancelled now.
    pub can_cancel: bool,
    /// The error's name on the bus when it failed.
    pub error_name: String,
    /// The error's sentence when it failed.
    pub error_message: String,
}

impl Job {
    /// A job that has just begun.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            operation: String::new(),
            objects: Vec::new(),
            paths: Vec::new(),
            state: JobState::Running,
            stage: String::new(),
            progress: -1.0,
            bytes: 0,
            total: 0,
            can_cancel: false,
            error_name: String::new(),
            error_message: String::new(),
        }
    }

    pub(super) fn read(&mut self, from: &Properties) {
        let mut state = String::new();
        read(from, "State", &mut state);
        if let Ok(state) = state.parse() {
            self.state = state;
        }
        read(from, "Operation", &mut self.operation);
        read(from, "Objects", &mut self.paths);
        self.objects = self.paths.iter().map(|path| name_of(path)).collect();
        read(from, "Stage", &mut self.stage);
        read(from, "Progress", &mut self.progress);
        read(from, "Bytes", &mut self.bytes);
        read(from, "Total", &mut self.total);
        read(from, "CanCancel", &mut self.can_cancel);
        read(from, "ErrorName", &mut self.error_name);
        read(from, "ErrorMessage", &mut self.error_message);
    }
}

/// The container's name where it is one's path.
fn name_of(path: &str) -> String {
    let object = ObjectPath::try_from(path).ok();
    let container = object.and_then(|path| parse_container_path(&path));
    container.map_or_else(|| path.to_owned(), |(_, name)| name)
}

/// What is known of the helper's objects, kept up to date by its signals.
#[derive(Debug, Default)]
pub(super) struct View {
    containers: HashMap<String, Container>,
    jobs: HashMap<String, Job>,
    networks: HashMap<String, Network>,
}

/// All that is shown of the helper's objects.
#[derive(Clone, Debug, Default)]
pub struct Everything {
    /// The containers.
    pub containers: Vec<Container>,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The networks.
    pub networks: Vec<Network>,
}

/// One object that changed.
#[derive(Debug)]
pub(super) enum Change {
    Container(Container),
    Job(Job),
    Network(Network),
}

impl View {
    pub(super) fn new(objects: Objects) -> Self {
        let mut view = Self::default();
        for (path, interfaces) in objects {
            for (interface, properties) in interfaces {
                view.read(path.as_str(), &interface, &properties);
            }
        }
        view
    }

    pub(super) fn everything(&self) -> Everything {
        Everything {
            containers: self.containers.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            networks: self.networks.values().cloned().collect(),
        }
    }

    pub(super) fn knows(&self, path: &str, interface: &str) -> bool {
        match interface {
            CONTAINER => self.containers.contains_key(path),
            JOB => self.jobs.contains_key(path),
            NETWORK => self.networks.contains_key(path),
            _ => false,
        }
    }

    /// Takes properties in; the object as it is now, when it is one to show.
    pub(super) fn read(
        &mut self,
        path: &str,
        interface: &str,
        from: &Properties,
    ) -> Option<Change> {
        match interface {
            CONTAINER => {
                let known = self.containers.entry(path.to_owned());
                let container = known.or_insert_with(|| Container::new(path, ""));
                container.read(from);
                Some(Change::Container(container.clone()))
            }
            JOB => {
                let known = self.jobs.entry(path.to_owned());
                let job = known.or_insert_with(|| Job::new(path));
                job.read(from);
                Some(Change::Job(job.clone()))
            }
            NETWORK => {
                let known = self.networks.entry(path.to_owned());
                let network = known.or_insert_with(|| Network {
                    path: path.to_owned(),
                    ..Network::default()
                });
                network.read(from);
                Some(Change::Network(network.clone()))
            }
            _ => None,
        }
    }

    /// Forgets an object; whether it was known.
    pub(super) fn forget(&mut self, path: &str, interface: &str) -> bool {
        match interface {
            CONTAINER => self.containers.remove(path).is_some(),
            JOB => self.jobs.remove(path).is_some(),
            NETWORK => self.networks.remove(path).is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::zvariant::Value;

    use super::*;

    fn properties(pairs: &[(&str, Value<'_>)]) -> Properties {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.try_to_owned().unwrap()))
            .collect()
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut view = View::default();
        let first = properties(&[("Name", "web1".into()), ("State", "STOPPED".into())]);
        view.read("/c/web1", CONTAINER, &first);
        let second = properties(&[("State", "RUNNING".into()), ("InitPid", 7u32.into())]);
        let Some(Change::Container(now)) = view.read("/c/web1", CONTAINER, &second) else {
            panic!("a container changed");
        };
        assert_eq!((now.name.as_str(), now.init_pid), ("web1", 7));
        assert_eq!(now.state, ContainerState::Running);
    }

    #[test]
    fn a_job_names_the_containers_it_works_on() {
        let mut job = Job::new("/job/1");
        let paths = vec!["/io/gantry/Gantry1/container/system/web_2d1", "elsewhere"];
        job.read(&properties(&[("Objects", paths.into())]));
        assert_eq!(job.objects, ["web-1", "elsewhere"]);
    }

    #[test]
    fn a_network_tells_who_is_plugged_in() {
        let mut view = View::default();
        let ports = vec![("veth1", "web1", "eth0")];
        let first = properties(&[("Name", "lxcbr0".into()), ("Ports", ports.into())]);
        let Some(Change::Network(network)) = view.read("/n/lxcbr0", NETWORK, &first) else {
            panic!("a network is new");
        };
        assert_eq!(network.ports.len(), 1);
        assert_eq!(network.ports[0].container, "web1");
        let up = properties(&[("Up", true.into())]);
        let Some(Change::Network(network)) = view.read("/n/lxcbr0", NETWORK, &up) else {
            panic!("a network changed");
        };
        assert!(network.up && network.ports.len() == 1);
        assert!(view.forget("/n/lxcbr0", NETWORK));
    }

    #[test]
    fn a_value_of_the_wrong_type_changes_nothing() {
        let mut container = Container::new("/c/web1", "web1");
        container.read(&properties(&[
            ("Name", 1u32.into()),
            ("State", "WRONG".into()),
        ]));
        assert_eq!(container, Container::new("/c/web1", "web1"));
    }
}
