//! Terminals, programs and watches that are open for a client.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use gantry_api::{Error, session_path};
use gantry_core::monitor::Owner;
use tokio::sync::Notify;
use tracing::{info, warn};
use zbus::{names::OwnedUniqueName, object_server::SignalEmitter, zvariant::OwnedObjectPath};

use super::{
    Bus,
    activity::Active,
    callers::{Caller, Presence},
    error::Result,
    limits::{Hold, Kind},
    lock,
    session::SessionObject,
};
use crate::engine::{self, SessionKind};

/// A session on the bus.
pub(super) struct Open {
    pub(super) path: OwnedObjectPath,
    number: u64,
    /// The client it is for.
    pub(super) sender: OwnedUniqueName,
    /// That client's user.
    pub(super) uid: u32,
    pub(super) what: What,
    presence: Presence,
    _hold: Hold,
    _active: Active,
}

/// What a session is.
pub(super) enum What {
    /// A terminal or a program in a container.
    Engine(engine::Session),
    /// A watch on what containers use, and what ends it.
    Usage(Arc<Notify>),
}

/// The sessions on the bus, by number.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<u64, Arc<Open>>>,
}

/// A place for one more session of a caller.
pub(super) struct Place {
    sender: OwnedUniqueName,
    uid: u32,
    presence: Presence,
    hold: Hold,
    active: Active,
}

impl Place {
    /// As the engine and its sessions know the caller.
    pub(super) fn owner(&self) -> Owner {
        Owner {
            sender: self.sender.to_string(),
            uid: self.uid,
        }
    }
}

impl Open {
    /// Whether a session of a program or terminal, or the watch, is the caller's own.
    pub(super) fn is_of(&self, caller: &Caller) -> bool {
        self.uid == caller.uid && self.sender == caller.sender
    }

    /// Returns when its client has left the bus.
    pub(super) async fn left(&self) {
        self.presence.left().await;
    }

    /// Signals for the client the session is for, and for nobody else.
    pub(super) fn emitter(&self, bus: &Bus) -> SignalEmitter<'_> {
        bus.emitter(&self.path)
            .set_destination(self.sender.as_ref().into())
    }

    /// Ends it.
    pub(super) async fn close(&self) -> engine::Result<()> {
        match &self.what {
            What::Engine(session) => session.close().await,
            What::Usage(end) => {
                end.notify_one();
                Ok(())
            }
        }
    }
}

impl Bus {
    /// Keeps a place for a session before it is opened.
    ///
    /// # Errors
    /// `QuotaExceeded` when too many sessions of the user are open.
    pub(super) fn session_place(&self, caller: &Caller) -> gantry_api::Result<Place> {
        Ok(Place {
            sender: caller.sender.clone(),
            uid: caller.uid,
            presence: caller.presence.clone(),
            hold: self.limits.hold(caller.uid, Kind::Session)?,
            active: self.activity.hold(),
        })
    }

    /// Puts a session of the engine on the bus, for as long as it and its client are
    /// there.
    pub(super) async fn show_session(
        self: &Arc<Self>,
        session: engine::Session,
        place: Place,
    ) -> Result<OwnedObjectPath> {
        let open = self
            .put_session(session.number(), What::Engine(session.clone()), place)
            .await?;
        let (bus, path) = (self.clone(), open.path.clone());
        tokio::spawn(async move {
            let status = tokio::select! {
                status = session.exited() => Some(status),
                () = open.left() => None,
            };
            bus.until_named().await;
            match (status, session.kind()) {
                (Some(status), SessionKind::Program) => {
                    told(SessionObject::exited(&open.emitter(&bus), status).await);
                }
                (Some(_), SessionKind::Console(_)) => {
                    told(
                        SessionObject::detached(&open.emitter(&bus), "the terminal was closed")
                            .await,
                    );
                }
                (None, _) => {
                    info!(session = open.number, container = %session.container(), "its client has left");
                    if let Err(error) = session.close().await {
                        warn!(%error, session = open.number, "could not close a session");
                    }
                }
            }
            bus.drop_session(&open).await;
        });
        Ok(path)
    }

    /// Puts a session on the bus.
    pub(super) async fn put_session(
        self: &Arc<Self>,
        number: u64,
        what: What,
        place: Place,
    ) -> Result<Arc<Open>> {
        let open = Arc::new(Open {
            path: session_path(number),
            number,
            sender: place.sender,
            uid: place.uid,
            what,
            presence: place.presence,
            _hold: place.hold,
            _active: place.active,
        });
        lock(&self.sessions.open).insert(number, open.clone());
        let object = SessionObject {
            bus: self.clone(),
            open: open.clone(),
        };
        self.connection
            .object_server()
            .at(&open.path, object)
            .await
            .map_err(Error::from)?;
        Ok(open)
    }

    /// Takes a session that is over off the bus.
    pub(super) async fn drop_session(&self, open: &Open) {
        lock(&self.sessions.open).remove(&open.number);
        if let Err(error) = self
            .connection
            .object_server()
            .remove::<SessionObject, _>(&open.path)
            .await
        {
            warn!(%error, path = %open.path, "could not take a session off the bus");
        }
    }

    /// Takes up the sessions that were open when the last helper ended: those whose
    /// clients are still there go on under their numbers, the others are closed.
    pub(super) async fn adopt_sessions(self: &Arc<Self>) {
        for session in self.engine.adopt_sessions().await {
            let number = session.number();
            if let Err(reason) = self.adopt(session.clone()).await {
                info!(session = number, reason, "closing a session from before");
                if let Err(error) = session.close().await {
                    warn!(%error, session = number, "could not close a session");
                }
            }
        }
    }

    async fn adopt(
        self: &Arc<Self>,
        session: engine::Session,
    ) -> std::result::Result<(), &'static str> {
        let Owner { sender, uid } = session.owner().clone();
        let sender = OwnedUniqueName::try_from(sender).map_err(|_| "its client has no name")?;
        let presence = self
            .callers
            .find(&sender, uid)
            .await
            .ok_or("its client has left")?;
        let hold = self
            .limits
            .hold(uid, Kind::Session)
            .map_err(|_| "its user has too many")?;
        let place = Place {
            sender,
            uid,
            presence,
            hold,
            active: self.activity.hold(),
        };
        self.show_session(session, place)
            .await
            .map_err(|_| "it cannot be put on the bus")?;
        Ok(())
    }
}

/// A client that cannot be told has left or is about to.
pub(super) fn told(result: zbus::Result<()>) {
    if let Err(error) = result {
        warn!(%error, "could not tell a client about its session");
    }
}
