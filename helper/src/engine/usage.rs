//! What containers use.

use super::client::Client;
use super::{ContainerId, Engine, Error, Result};
use crate::cgroup::{Groups, Sample};
use crate::network::traffic::{self, LinkTraffic, Traffic};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a running container uses. A number that the host does not count is
/// none.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Usage {
    /// By its control groups.
    pub(crate) group: Sample,
    /// Bytes that the container received on interfaces with a host's end.
    pub(crate) rx: Option<u64>,
    /// Bytes that the container sent on those.
    pub(crate) tx: Option<u64>,
    /// The same of each of its interfaces.
    pub(crate) links: Vec<LinkTraffic>,
}

/// The files that tell a container's usage, kept open while its init lives.
#[derive(Debug)]
struct Meter {
    init_pid: u32,
    groups: Groups,
    traffic: Option<Traffic>,
}

/// The meters of the containers that somebody looked at.
#[derive(Debug, Default)]
pub(super) struct Meters(Mutex<HashMap<ContainerId, Arc<Meter>>>);

impl Engine {
    /// What a running container uses now. Cheap enough to be asked each
    /// second for every container.
    pub(crate) async fn usage(&self, id: &ContainerId) -> Result<Usage> {
        let facts = self.facts(id).ok_or_else(|| Self::unknown(id))?;
        if facts.init_pid == 0 {
            self.0.meters.with(|meters| meters.remove(id));
            return Err(Error::WrongState(format!(
                "container '{}' is not running; start it first",
                id.name
            )));
        }
        let known = self.0.meters.with(|meters| meters.get(id).cloned());
        let meter = match known.filter(|meter| meter.init_pid == facts.init_pid) {
            Some(meter) => meter,
            None => {
                let meter = Arc::new(self.open_meter(id, facts.init_pid).await?);
                self.0
                    .meters
                    .with(|meters| meters.insert(id.clone(), meter.clone()));
                meter
            }
        };
        let traffic = meter.traffic.as_ref().map(Traffic::read);
        if traffic.as_ref().is_some_and(|traffic| traffic.is_outdated) {
            self.0.meters.forget(id);
        }
        let (rx, tx) = traffic.as_ref().and_then(|traffic| traffic.total).unzip();
        Ok(Usage {
            group: meter.groups.sample(),
            rx,
            tx,
            links: traffic.map(|traffic| traffic.links).unwrap_or_default(),
        })
    }

    async fn open_meter(&self, id: &ContainerId, init_pid: u32) -> Result<Meter> {
        let client = Client::new(&self.layout(&id.name));
        let mut groups = Groups::default();
        for controller in Groups::CONTROLLERS {
            // Hosts differ in what they have.
            if let Ok(group) = client.cgroup(Some(controller)).await {
                groups.add_version_1(controller, &group);
            }
        }
        if let Ok(group) = client.cgroup(None).await {
            groups.add_version_2(&group);
        }
        let ends = match self.0.programs.netlink(init_pid).await {
            Ok(socket) => traffic::ends(&socket).await,
            Err(error) => Err(error),
        };
        let ends = ends.unwrap_or_else(|error| {
            tracing::debug!(
                "the host's ends of {}'s links are not known: {error}",
                id.name
            );
            HashMap::new()
        });
        Ok(Meter {
            init_pid,
            groups,
            traffic: Traffic::of(init_pid, ends).ok(),
        })
    }
}

impl Meters {
    /// What is to be counted of a container has changed.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.with(|meters| meters.remove(id));
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<ContainerId, Arc<Meter>>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
