//! Which containers are on the bus, and what was last said of them.

use std::{collections::HashMap, sync::Arc};

use gantry_api::{Owner, container_path};
use tokio::sync::{
    Mutex,
    broadcast::{Receiver, error::RecvError},
};
use tracing::warn;
use zbus::{
    object_server::Interface,
    zvariant::{OwnedObjectPath, Value},
};

use super::{
    Bus, Properties, container::ContainerObject, devices::DevicesObject,
    interfaces::InterfacesObject, jobs::Outcome, resources::ResourcesObject,
    snapshots::SnapshotsObject,
};
use crate::engine::{self, ContainerId, Event, Facts};

/// The containers on the bus, with the facts that were announced last.
#[derive(Default)]
pub(super) struct Containers {
    known: Mutex<HashMap<ContainerId, Arc<Facts>>>,
}

/// The object path of a container.
pub(super) fn path_of(id: &ContainerId) -> OwnedObjectPath {
    let owner = match id.owner {
        engine::Owner::System => Owner::System,
        engine::Owner::User(uid) => Owner::User(uid),
    };
    container_path(owner, id.name.as_str())
}

impl Bus {
    /// Every container there is, each of them on the bus by now.
    pub(super) async fn list_containers(self: &Arc<Self>) -> engine::Result<Vec<Arc<Facts>>> {
        // Listed under the lock, so that an older list cannot bring back what a
        // younger one has removed.
        let mut known = self.containers.known.lock().await;
        let list = self.engine.list().await?;
        let gone: Vec<ContainerId> = known
            .keys()
            .filter(|id| self.engine.facts(id).is_none())
            .cloned()
            .collect();
        for id in gone {
            known.remove(&id);
            self.take_off(&id).await;
        }
        for facts in &list {
            if !known.contains_key(&facts.id) {
                known.insert(facts.id.clone(), facts.clone());
                self.put_up(facts).await;
            }
        }
        Ok(list)
    }

    /// Makes sure that a container that exists is on the bus, and gives its path.
    pub(super) async fn show_container(self: &Arc<Self>, facts: &Arc<Facts>) -> OwnedObjectPath {
        let mut known = self.containers.known.lock().await;
        if !known.contains_key(&facts.id) {
            known.insert(facts.id.clone(), facts.clone());
            self.put_up(facts).await;
        }
        path_of(&facts.id)
    }

    /// Tells everybody what the engine tells, for as long as the engine lives.
    pub(super) async fn follow_containers(self: Arc<Self>, mut events: Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(event) => self.pass_on(event).await,
                Err(RecvError::Lagged(_)) => self.catch_up().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn pass_on(self: &Arc<Self>, event: Event) {
        match event {
            // Events tell where to look; what is true now was found by then.
            Event::Added(id) | Event::Removed(id) | Event::Changed(id) => {
                self.bring_up_to_date(&id).await
            }
            Event::StateChanged { id, old, new } => {
                self.bring_up_to_date(&id).await;
                let path = path_of(&id);
                let emitter = self.emitter(&path);
                if let Err(error) =
                    ContainerObject::state_switched(&emitter, old.word(), new.word()).await
                {
                    warn!(%error, %id, "could not announce a change of state");
                }
            }
        }
    }

    /// After missed events: everything that is known or there.
    async fn catch_up(self: &Arc<Self>) {
        let list = match self.list_containers().await {
            Ok(list) => list,
            Err(error) => return warn!(%error, "could not list the containers"),
        };
        for facts in list {
            self.bring_up_to_date(&facts.id).await;
        }
    }

    /// The outcome of a job that made a container, which is on the bus by now.
    pub(super) async fn made(self: &Arc<Self>, id: &ContainerId) -> Outcome {
        self.settle(id).await;
        Outcome::from([("container", path_of(id).into_inner().into())])
    }

    /// Makes sure that the bus shows what was just done to a container.
    pub(super) async fn settle(self: &Arc<Self>, id: &ContainerId) {
        match self.engine.get(id).await {
            Ok(_) | Err(engine::Error::NotFound(_)) => self.bring_up_to_date(id).await,
            Err(error) => warn!(%error, %id, "could not look at a container"),
        }
    }

    /// Puts a container on the bus, takes it off or announces what changed.
    async fn bring_up_to_date(self: &Arc<Self>, id: &ContainerId) {
        let mut known = self.containers.known.lock().await;
        match (known.get(id).cloned(), self.engine.facts(id)) {
            (None, None) => {}
            (None, Some(now)) => {
                known.insert(id.clone(), now.clone());
                self.put_up(&now).await;
            }
            (Some(_), None) => {
                known.remove(id);
                self.take_off(id).await;
            }
            (Some(before), Some(now)) => {
                known.insert(id.clone(), now.clone());
                let path = path_of(id);
                self.announce::<ContainerObject>(&path, &properties(&before), properties(&now))
                    .await;
            }
        }
    }

    async fn put_up(self: &Arc<Self>, facts: &Arc<Facts>) {
        let (bus, id) = (self.clone(), facts.id.clone());
        let first = facts.clone();
        self.serve(&facts.id, ResourcesObject { bus, id }).await;
        let (bus, id) = (self.clone(), facts.id.clone());
        self.serve(&facts.id, DevicesObject { bus, id }).await;
        let (bus, id) = (self.clone(), facts.id.clone());
        self.serve(&facts.id, InterfacesObject { bus, id }).await;
        let (bus, id) = (self.clone(), facts.id.clone());
        self.serve(&facts.id, SnapshotsObject { bus, id }).await;
        let (bus, id) = (self.clone(), facts.id.clone());
        self.serve(&facts.id, ContainerObject { bus, id, first })
            .await;
    }

    async fn serve(&self, id: &ContainerId, interface: impl Interface) {
        let server = self.connection.object_server();
        if let Err(error) = server.at(path_of(id), interface).await {
            warn!(%error, %id, "could not put a container on the bus");
        }
    }

    async fn take_off(&self, id: &ContainerId) {
        self.remove::<ContainerObject>(id).await;
        self.remove::<ResourcesObject>(id).await;
        self.remove::<DevicesObject>(id).await;
        self.remove::<InterfacesObject>(id).await;
        self.remove::<SnapshotsObject>(id).await;
    }

    async fn remove<I: Interface>(&self, id: &ContainerId) {
        let server = self.connection.object_server();
        if let Err(error) = server.remove::<I, _>(path_of(id)).await {
            warn!(%error, %id, "could not take a container off the bus");
        }
    }
}

/// The properties that change.
fn properties(facts: &Facts) -> Properties {
    let strings = |list: &[String]| Value::from(list.to_vec());
    HashMap::from([
        ("State", facts.state.word().into()),
        ("InitPid", facts.init_pid.into()),
        ("StartedAt", facts.started_at.into()),
        ("Addresses", strings(&facts.addresses)),
        ("Autostart", facts.autostart.into()),
        ("AutostartDelay", facts.autostart_delay.into()),
        ("AutostartOrder", facts.autostart_order.into()),
        ("Groups", strings(&facts.groups)),
        ("Backend", facts.backend.clone().into()),
        ("Privileged", facts.privileged.into()),
        ("Ephemeral", facts.ephemeral.into()),
        ("Architecture", facts.architecture.clone().into()),
        ("ConfigRevision", facts.config_revision.into()),
        ("ConfigError", config_error(facts).into()),
        ("LegacyConfig", facts.legacy_config.into()),
        ("NeedsRestart", strings(&facts.needs_restart)),
        ("Dependents", strings(&facts.dependents)),
        ("Description", facts.description.clone().into()),
    ])
}

/// Why the config cannot be used; empty when it can.
pub(super) fn config_error(facts: &Facts) -> String {
    facts
        .config_error
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}
