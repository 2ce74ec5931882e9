//! The helper on the bus: objects, authorization, jobs and sessions. The only
//! place in the helper that knows D-Bus.

mod activity;
mod admission;
mod authorization;
mod boot;
mod callers;
mod config;
mod container;
mod containers;
mod devices;
mod error;
mod groups;
mod images;
mod interfaces;
mod job;
mod jobs;
mod limits;
mod manager;
mod network;
mod networks;
mod operations;
mod options;
mod requests;
mod resources;
mod services;
mod session;
mod sessions;
mod snapshots;
mod units;
mod usage;

pub(crate) use boot::{autostart, run_schedules};
pub(crate) use services::Services;
pub(crate) use units::Units;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use gantry_api::{BUS_NAME, ROOT_PATH};
use tokio::sync::watch;
use tracing::{info, warn};
use zbus::{
    Connection, MatchRule, MessageStream,
    connection::Builder,
    fdo::{self, DBusProxy, ObjectManager, RequestNameFlags},
    message,
    object_server::{Interface, SignalEmitter},
    zvariant::{OwnedObjectPath, Value},
};

use self::{
    activity::Activity,
    authorization::Authority,
    callers::Callers,
    containers::Containers,
    images::Images,
    jobs::Jobs,
    limits::{Kind, Limits},
    manager::ManagerObject,
    networks::Networks,
    sessions::Sessions,
};
use crate::engine::Engine;

/// How long the helper stays without clients, jobs and sessions.
const IDLE: Duration = Duration::from_secs(60);
/// How long jobs may take to put things back, and calls to be answered, when the helper
/// is to end.
const STOPPING: Duration = Duration::from_secs(10);

/// How long calls that have arrived may take to be noticed.
const SETTLING: Duration = Duration::from_millis(50);

/// The bus daemon's own name and interface.
const DAEMON: &str = "org.freedesktop.DBus";
const NAME_OWNER_CHANGED: &str = "NameOwnerChanged";

/// What all objects share.
struct Bus {
    connection: Connection,
    engine: Engine,
    limits: Limits,
    activity: Activity,
    callers: Callers,
    authority: Authority,
    jobs: Jobs,
    sessions: Sessions,
    containers: Containers,
    images: Images,
    networks: Networks,
    /// Whether the name has been taken: clients hear only what comes from it.
    named: watch::Sender<bool>,
}

/// The helper's service, while it is on the bus.
pub(crate) struct Service {
    bus: Arc<Bus>,
    messages: MessageStream,
}

impl Service {
    /// Puts every object on the system bus and takes the name.
    ///
    /// # Errors
    /// Those of the bus; `NameTaken` when another helper is there.
    pub(crate) async fn start(engine: Engine) -> zbus::Result<Self> {
        let connection = Builder::system()?
            .serve_at(ROOT_PATH, ObjectManager)?
            .build()
            .await?;
        let daemon = DBusProxy::new(&connection).await?;
        // Every message in the order of its arrival, so that a client's leaving is
        // never seen before its last call.
        let messages = MessageStream::from(&connection);
        // Names that have no new owner: clients that have left.
        let left = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(DAEMON)?
            .interface(DAEMON)?
            .member(NAME_OWNER_CHANGED)?
            .arg(2, "")?
            .build();
        daemon.add_match_rule(left).await?;
        let (limits, activity) = (Limits::default(), Activity::new());
        let bus = Arc::new(Bus {
            callers: Callers::new(daemon, limits.clone(), activity.clone()),
            authority: Authority::new(connection.clone(), limits.clone()),
            connection,
            engine,
            limits,
            activity,
            jobs: Jobs::default(),
            sessions: Sessions::default(),
            containers: Containers::default(),
            images: Images::default(),
            networks: Networks::default(),
            named: watch::Sender::new(false),
        });
        let manager = ManagerObject { bus: bus.clone() };
        bus.connection
            .object_server()
            .at(ROOT_PATH, manager)
            .await?;
        tokio::spawn(bus.clone().follow_containers(bus.engine.subscribe()));
        if let Err(error) = bus.list_containers().await {
            warn!(%error, "could not list the containers");
        }
        bus.show_images().await;
        bus.list_networks().await;
        tokio::spawn(bus.clone().follow_networks());
        tokio::spawn(bus.clone().follow_trials());
        bus.adopt_sessions().await;
        bus.take_name().await?;
        bus.named.send_replace(true);
        Ok(Self { bus, messages })
    }

    /// Serves until nobody has needed the helper for a minute, or the bus is gone.
    pub(crate) async fn serve(&mut self) {
        let bus = self.bus.clone();
        tokio::select! {
            () = bus.until_idle() => info!("nobody needs the helper any more"),
            () = self.watch_clients() => warn!("the connection to the bus is gone"),
        }
    }

    /// Leaves the bus: new calls go to the next helper, those that are here are
    /// answered, and jobs put things back, for all of which there is some time.
    pub(crate) async fn stop(self) {
        let Self { bus, messages } = self;
        // Nobody reads it any more, and a full one would hold up the calls.
        drop(messages);
        if let Err(error) = bus.connection.release_name(BUS_NAME).await {
            warn!(%error, "could not give the name back");
        }
        let answered = async {
            tokio::time::sleep(SETTLING).await;
            bus.limits.none_held(Kind::Call).await;
        };
        let (_, late) = tokio::join!(
            bus.jobs.stop_all(STOPPING),
            tokio::time::timeout(STOPPING, answered)
        );
        if late.is_err() {
            warn!("some calls are not answered: they took too long");
        }
    }

    /// Notices who calls and who leaves, until the connection ends.
    async fn watch_clients(&mut self) {
        while let Some(message) = self.messages.next().await {
            let Ok(message) = message else { continue };
            let header = message.header();
            let Some(sender) = header.sender() else {
                continue;
            };
            match message.message_type() {
                message::Type::MethodCall => self.bus.callers.notice(sender),
                message::Type::Signal
                    if sender == DAEMON
                        && header
                            .member()
                            .is_some_and(|member| member == NAME_OWNER_CHANGED) =>
                {
                    match message.body().deserialize::<(&str, &str, &str)>() {
                        Ok((name, _, "")) => self.bus.callers.forget(name),
                        Ok(_) => {}
                        Err(error) => warn!(%error, "the bus told of a client in a strange way"),
                    }
                }
                _ => {}
            }
        }
    }
}

impl Bus {
    /// Returns once clients can hear what is told.
    async fn until_named(&self) {
        let mut named = self.named.subscribe();
        if named.wait_for(|named| *named).await.is_err() {
            warn!("the name was never taken");
        }
    }

    async fn take_name(&self) -> zbus::Result<()> {
        self.connection
            .request_name_with_flags(BUS_NAME, RequestNameFlags::DoNotQueue.into())
            .await?;
        Ok(())
    }

    /// Returns, without the name, when nobody needs the helper.
    async fn until_idle(&self) {
        loop {
            self.activity.idle(IDLE).await;
            self.engine.freed().await;
            if let Err(error) = self.connection.release_name(BUS_NAME).await {
                warn!(%error, "could not give the name back");
            }
            // Calls that were under way to us when the name was given back have
            // arrived by now; those who sent them still need the helper.
            tokio::time::sleep(SETTLING).await;
            if !self.activity.is_held() {
                return;
            }
            if let Err(error) = self.take_name().await {
                info!(%error, "another helper has taken over; ending what is under way");
                return self.activity.idle(Duration::ZERO).await;
            }
        }
    }

    /// Signals of the object at `path`, to everybody unless addressed.
    fn emitter<'p>(&self, path: &'p OwnedObjectPath) -> SignalEmitter<'p> {
        SignalEmitter::from_parts(self.connection.clone(), path.as_ref())
    }

    /// Announces the properties that have changed, in one signal.
    async fn announce<I: Interface>(
        &self,
        path: &OwnedObjectPath,
        before: &Properties,
        after: Properties,
    ) {
        self.announce_but::<I>(path, before, after, &[]).await;
    }

    /// As [`Self::announce`], with some of which everybody is told only that they have
    /// changed: who may know them reads them.
    async fn announce_but<I: Interface>(
        &self,
        path: &OwnedObjectPath,
        before: &Properties,
        mut after: Properties,
        kept_back: &'static [&'static str],
    ) {
        after.retain(|name, value| before.get(name) != Some(value));
        if after.is_empty() {
            return;
        }
        let kept_back = kept_back.iter().copied();
        let kept_back: Vec<&str> = kept_back
            .filter(|name| after.remove(*name).is_some())
            .collect();
        let emitter = self.emitter(path);
        let told =
            fdo::Properties::properties_changed(&emitter, I::name(), after, kept_back.into());
        if let Err(error) = told.await {
            warn!(%error, %path, "could not announce a change");
        }
    }
}

/// Properties by name.
type Properties = HashMap<&'static str, Value<'static>>;

/// Locks what only plain code holds, which leaves it whole even when it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
