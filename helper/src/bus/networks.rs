//! Which networks are on the bus, and what was last said of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex as Lock},
};

use gantry_api::network_path;
use tokio::sync::Mutex;
use tracing::warn;
use zbus::{
    message::Header,
    zvariant::{OwnedObjectPath, Value},
};

use super::{
    Bus, Properties,
    authorization::Details,
    error::Result,
    lock,
    manager::ManagerObject,
    network::NetworkObject,
    options::{Dictionary, Options},
};
use crate::engine::{NetworkChange, NetworkChanges, NetworkFacts, Outlet};

/// The networks on the bus, with the facts that were announced last.
#[derive(Default)]
pub(super) struct Networks {
    /// Held while they are brought up to date.
    turn: Mutex<()>,
    known: Lock<HashMap<String, Arc<NetworkFacts>>>,
}

impl Bus {
    /// What was last known of a network: getters only read memory.
    pub(super) fn known_network(&self, name: &str) -> Option<Arc<NetworkFacts>> {
        lock(&self.networks.known).get(name).cloned()
    }

    /// Brings what the bus shows of networks up to date.
    pub(super) async fn list_networks(self: &Arc<Self>) {
        let _turn = self.networks.turn.lock().await;
        let list = match self.engine.networks().await {
            Ok(list) => list,
            Err(error) => return warn!(%error, "could not list the networks"),
        };
        let there: HashSet<&str> = list.iter().map(|facts| facts.name.as_str()).collect();
        let gone: Vec<String> = lock(&self.networks.known)
            .keys()
            .filter(|name| !there.contains(name.as_str()))
            .cloned()
            .collect();
        let server = self.connection.object_server();
        for name in gone {
            lock(&self.networks.known).remove(&name);
            let path = network_path(&name);
            if let Err(error) = server.remove::<NetworkObject, _>(path).await {
                warn!(%error, name, "could not take a network off the bus");
            }
        }
        for facts in list {
            let (path, now) = (network_path(&facts.name), Arc::new(facts));
            let before = lock(&self.networks.known).insert(now.name.clone(), now.clone());
            match before {
                Some(before) => {
                    self.announce::<NetworkObject>(&path, &properties(&before), properties(&now))
                        .await;
                }
                None => {
                    let (bus, first) = (self.clone(), now);
                    if let Err(error) = server.at(path, NetworkObject { bus, first }).await {
                        warn!(%error, "could not put a network on the bus");
                    }
                }
            }
        }
    }

    /// Tells everybody what becomes of bridges and their ports, whoever changes them.
    pub(super) async fn follow_networks(self: Arc<Self>) {
        let changes = match NetworkChanges::watch() {
            Ok(changes) => changes,
            Err(error) => return warn!(%error, "nobody is told of changes of networks"),
        };
        loop {
            if let Err(error) = changes.changed().await {
                return warn!(%error, "nobody is told of changes of networks any more");
            }
            self.list_networks().await;
        }
    }

    /// Tells everybody which changes wait to be confirmed, and stays for as long.
    pub(super) async fn follow_trials(self: Arc<Self>) {
        let path = gantry_api::root_path();
        let mut trials = self.engine.trials();
        let (mut before, mut held) = (unconfirmed(&trials.borrow()), None);
        while trials.changed().await.is_ok() {
            let now = unconfirmed(&trials.borrow_and_update());
            held = match (now.is_empty(), held) {
                (true, _) => None,
                (false, Some(held)) => Some(held),
                (false, None) => Some(self.activity.hold()),
            };
            let property =
                |value: &Unconfirmed| Properties::from([("Unconfirmed", value.clone().into())]);
            self.announce::<ManagerObject>(&path, &property(&before), property(&now))
                .await;
            before = now;
            // What was tried out is written down, or not any more.
            self.list_networks().await;
        }
    }

    pub(super) async fn confirm_interface(
        &self,
        header: &Header<'_>,
        name: &str,
        options: Dictionary,
    ) -> Result<()> {
        let request = Options::none(options);
        self.permit_network(header, name, request).await?;
        Ok(self.engine.confirm_interface(name).await?)
    }

    /// Lets a call about a network pass or refuses it.
    pub(super) async fn permit_network<T>(
        &self,
        header: &Header<'_>,
        name: &str,
        request: gantry_api::Result<T>,
    ) -> Result<T> {
        let caller = self.callers.identify(header).await?;
        let details = Details::default().with("network", name);
        self.authority
            .permit(&caller, header, request, &details)
            .await
    }

    pub(super) async fn create_network(
        self: &Arc<Self>,
        header: &Header<'_>,
        name: &str,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let change = self
            .permit_network(header, name, change_request(options))
            .await?;
        self.engine.create_network(name, &change).await?;
        self.list_networks().await;
        Ok(network_path(name))
    }
}

/// Interfaces whose change is on trial, and when it is undone, in seconds since 1970.
pub(super) type Unconfirmed = Vec<(String, i64)>;

/// As the bus has it.
pub(super) fn unconfirmed(trials: &BTreeMap<String, i64>) -> Unconfirmed {
    trials
        .iter()
        .map(|(name, until)| (name.clone(), *until))
        .collect()
}

/// What a network is to be, or to be instead.
pub(super) fn change_request(options: Dictionary) -> gantry_api::Result<NetworkChange> {
    Options::read(options, |options| {
        Ok(NetworkChange {
            driver: options.take("driver")?,
            ipv4: options.take("ipv4")?,
            ipv6: options.take("ipv6")?,
            dhcp_range: options.take("dhcp_range")?,
            domain: options.take("domain")?,
            dhcp: options.take("dhcp")?,
            nat: options.take("nat")?,
            isolated: options.take("isolated")?,
            uplink: options.take("uplink")?,
            autostart: options.take("autostart")?,
            take_over: options.take("take_over")?,
        })
    })
}

/// The properties that change.
fn properties(facts: &NetworkFacts) -> Properties {
    HashMap::from([
        ("Driver", facts.driver.into()),
        ("Managed", facts.managed.into()),
        ("Up", facts.up.into()),
        ("Addresses", facts.addresses.clone().into()),
        ("Nat", facts.nat.into()),
        ("Isolated", facts.isolated.into()),
        ("Uplink", facts.uplink.clone().into()),
        ("Dhcp", facts.dhcp.into()),
        ("DhcpRange", facts.dhcp_range.clone().into()),
        ("Domain", facts.domain.clone().into()),
        ("Autostart", facts.autostart.into()),
        ("Ports", Value::from(facts.ports.clone())),
        ("Fault", facts.fault.clone().into()),
    ])
}

/// An interface of the host, as ListHostInterfaces tells it.
pub(super) fn wiring(outlet: Outlet) -> Properties {
    let interface = outlet.interface;
    let serves: Vec<String> = outlet
        .serves
        .iter()
        .map(|word| (*word).to_owned())
        .collect();
    Properties::from([
        ("state", outlet.state.into()),
        ("wireless", interface.is_wireless.into()),
        ("uplink", outlet.is_way_out.into()),
        ("used_by", outlet.used_by.into()),
        ("serves", serves.into()),
        ("note", outlet.note.into()),
        ("name", interface.name.into()),
        ("kind", interface.kind.into()),
        ("up", interface.up.into()),
        ("hwaddr", interface.hwaddr.into()),
        ("master", interface.master.into()),
        ("addresses", interface.addresses.into()),
    ])
}
