//! Who calls: facts about the clients on the bus that have called us and are
//! still there.

use std::{collections::HashMap, sync::Mutex};

use gantry_api::{Error, Result};
use tokio::sync::watch;
use zbus::{
    fdo::DBusProxy,
    message::{Flags, Header},
    names::{OwnedUniqueName, UniqueName},
};

use super::{
    activity::{Active, Activity},
    limits::{Hold, Kind, Limits},
    lock,
};

/// The caller of one method, for as long as the call lasts.
pub(super) struct Caller {
    /// Its connection to the bus.
    pub(super) sender: OwnedUniqueName,
    /// Its user, as the bus daemon vouches for.
    pub(super) uid: u32,
    /// Whether this call may bring up a dialog.
    pub(super) interactive: bool,
    /// Whether the client is still there.
    pub(super) presence: Presence,
    _call: Hold,
}

/// A watch on a client of the bus.
#[derive(Clone)]
pub(super) struct Presence(watch::Receiver<()>);

impl Presence {
    /// Returns when the client has left the bus.
    pub(super) async fn left(&self) {
        let mut gone = self.0.clone();
        // Nothing is ever sent: the only change is that the sender goes away.
        while gone.changed().await.is_ok() {}
    }
}

/// Every client that has called since the helper started and is still on the bus.
pub(super) struct Callers {
    clients: Mutex<HashMap<OwnedUniqueName, Client>>,
    bus: DBusProxy<'static>,
    limits: Limits,
    activity: Activity,
}

struct Client {
    /// Not known until the bus daemon has told.
    uid: Option<u32>,
    gone: watch::Sender<()>,
    _active: Active,
}

impl Callers {
    pub(super) fn new(bus: DBusProxy<'static>, limits: Limits, activity: Activity) -> Self {
        Self {
            clients: Mutex::default(),
            bus,
            limits,
            activity,
        }
    }

    /// Finds out who sent a message.
    ///
    /// # Errors
    /// `QuotaExceeded` when the user has too many calls under way; `NotAuthorized`
    /// when the bus daemon does not know the sender, who has left then.
    pub(super) async fn identify(&self, header: &Header<'_>) -> Result<Caller> {
        let unknown = || Error::NotAuthorized("the bus does not say who is calling".into());
        let sender = OwnedUniqueName::from(header.sender().ok_or_else(unknown)?.to_owned());
        let (known, gone) = self.entry(&sender, |client| (client.uid, client.gone.subscribe()));
        let uid = match known {
            Some(uid) => uid,
            None => self.ask(&sender).await.ok_or_else(unknown)?,
        };
        Ok(Caller {
            sender,
            uid,
            interactive: header
                .primary()
                .flags()
                .contains(Flags::AllowInteractiveAuth),
            presence: Presence(gone),
            _call: self.limits.hold(uid, Kind::Call)?,
        })
    }

    /// Whether a client from before the helper was restarted is still there: a
    /// watch that ends when it leaves.
    pub(super) async fn find(&self, sender: &OwnedUniqueName, uid: u32) -> Option<Presence> {
        let gone = self.entry(sender, |client| client.gone.subscribe());
        (self.ask(sender).await? == uid).then_some(Presence(gone))
    }

    /// Takes note of a client by its call.
    pub(super) fn notice(&self, sender: &UniqueName<'_>) {
        self.entry(&sender.to_owned().into(), |_| ());
    }

    fn entry<T>(&self, sender: &OwnedUniqueName, read: impl FnOnce(&Client) -> T) -> T {
        let mut clients = lock(&self.clients);
        read(clients.entry(sender.clone()).or_insert_with(|| Client {
            uid: None,
            gone: watch::Sender::new(()),
            _active: self.activity.hold(),
        }))
    }

    async fn ask(&self, sender: &OwnedUniqueName) -> Option<u32> {
        let credentials = self
            .bus
            .get_connection_credentials(sender.as_ref().into())
            .await;
        let uid = credentials
            .ok()
            .and_then(|credentials| credentials.unix_user_id());
        let mut clients = lock(&self.clients);
        match uid {
            // A client that left meanwhile is no longer in the map and stays out.
            Some(uid) => {
                if let Some(client) = clients.get_mut(sender) {
                    client.uid = Some(uid);
                }
            }
            None => drop(clients.remove(sender)),
        }
        uid
    }

    /// Drops what is known about a client that has left the bus.
    pub(super) fn forget(&self, sender: &str) {
        lock(&self.clients).remove(sender);
    }
}
