//! The D-Bus side: what the helper says, and what it is asked to do.
//!
//! One connection, one follower task that turns the helper's signals into
//! [`Event`]s, and one function for each request. Nothing here knows GTK.

mod absence;
mod calls;
mod changes;
mod config;
mod create;
mod devices;
mod follow;
mod groups;
mod host;
mod images;
mod interfaces;
mod networks;
mod problem;
mod properties;
mod results;
mod room;
mod session;
mod settings;
mod snapshots;
mod tasks;
mod trials;
mod usage;
mod view;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gantry_api::{BUS_NAME, ROOT_PATH};
use tokio::sync::Notify;
use zbus::{Connection, Proxy, names::OwnedUniqueName};

pub use absence::Absence;
pub use calls::Action;
pub use changes::{Change, Changes};
pub use config::{ConfigFile, LogKind, fault_line};
pub use create::{NewContainer, Template};
pub use devices::{Device, HostInterface};
pub use groups::GroupAction;
pub use host::{EXTRAS, Finding};
pub use images::Image;
pub use interfaces::{Interface, InterfacePlan};
pub use networks::{Forward, Given, Lease, Network, NewNetwork, Port, PortChange, Reservation};
pub use problem::Problem;
pub use results::Unwanted;
pub use room::Room;
pub use session::{Command, OpenSession, SessionEnd, SessionWatch};
pub use settings::Setting;
pub use snapshots::{Cost, Schedule, Snapshot};
pub use tasks::{CloneOptions, ExportOptions, Named, Task};
pub use trials::Trial;
pub use usage::{Usage, UsageWatch};
pub use view::{Container, Everything, Job};
pub use words::check as check_words;

/// What the follower reports. An object is named by its path on the bus.
#[derive(Debug)]
pub enum Event {
    /// The helper is being asked for everything; what is shown may be old.
    Connecting,
    /// All there is: replaces what was known.
    Ready(Everything),
    /// A container is new or has changed.
    Container(Container),
    /// A container is no more.
    ContainerGone(String),
    /// The network interfaces of the container at this path are others now.
    Interfaces(String),
    /// A job is new or has changed.
    Job(Job),
    /// A job is no more.
    JobGone(String),
    /// A network is new or has changed.
    Network(Network),
    /// A network is no more.
    NetworkGone(String),
    /// These changes of this computer's interfaces, and no others, wait to be confirmed.
    Trials(Vec<Trial>),
    /// There is no helper to talk to.
    Absent(Absence),
}

/// The way to the helper. Clones share one connection.
#[derive(Clone, Debug, Default)]
pub struct Backend(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bus: Mutex<Option<Connection>>,
    helper: Mutex<Option<OwnedUniqueName>>,
    retry: Notify,
}

impl Backend {
    /// A way that is not connected yet; [`Backend::follow`] connects it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries again after [`Event::Absent`].
    pub fn retry(&self) {
        self.0.retry.notify_one();
    }

    fn bus(&self) -> gantry_api::Result<Connection> {
        lock(&self.0.bus).clone().ok_or_else(|| {
            zbus::Error::InputOutput(Arc::new(std::io::ErrorKind::NotConnected.into())).into()
        })
    }

    /// The helper's root object, for calls that bring up no password dialog.
    async fn quiet_manager(&self) -> gantry_api::Result<Proxy<'static>> {
        let interface = "io.gantry.Gantry1.Manager";
        Ok(Proxy::new(&self.bus()?, BUS_NAME, ROOT_PATH, interface).await?)
    }

    fn set_bus(&self, bus: Option<Connection>) {
        *lock(&self.0.bus) = bus;
    }

    fn helper(&self) -> Option<OwnedUniqueName> {
        lock(&self.0.helper).clone()
    }

    fn set_helper(&self, name: Option<OwnedUniqueName>) {
        *lock(&self.0.helper) = name;
    }
}

/// What is behind these locks is replaced whole, so a panic elsewhere cannot leave it half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
