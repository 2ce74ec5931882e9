//! The engine: containers, their configs, life, sessions and usage. It has no
//! idea who asks, and does not ask whether they may.
//!
//! The disk and the kernel are the truth; what is kept in memory is refreshed
//! before every answer. Nothing here lives or dies with a container: monitors
//! and sessions go on when this process ends, and are adopted by the next.

mod adopt;
mod apparmor;
mod attach;
mod client;
mod clone;
mod compare;
mod config;
mod confinement;
mod create;
mod dependents;
mod destroy;
mod devices;
mod diff;
mod disk;
mod duplicate;
mod estimate;
mod exchange;
mod export;
mod facts;
mod freezer;
mod groups;
mod held_device;
mod host;
mod idmaps;
mod images;
mod import;
mod incus;
mod init;
mod lacks;
mod launcher;
mod leftovers;
mod lifecycle;
mod limits;
mod logs;
mod manifest;
mod networks;
mod new_config;
mod orphan;
mod outlets;
mod paths;
mod privilege;
mod registry;
mod rename;
mod room;
mod schedule;
mod session;
mod snapshots;
mod staging;
mod top;
mod trial;
mod usage;
mod watch;
mod wires;

pub(crate) use crate::error::{ConfigFault, Error, Result};
pub(crate) use crate::image::bootstrap::BootstrapRequest;
pub(crate) use crate::image::cache::Facts as ImageFacts;
pub(crate) use crate::image::download::{Freshness, ImageRequest};
pub(crate) use crate::image::id::ImageId;
pub(crate) use crate::image::oci::{Name as OciName, OciRequest, registry};
pub(crate) use crate::image::outside::Login;
pub(crate) use crate::image::server::{Server, own_architecture};
pub(crate) use crate::image::stream::Compression;
pub(crate) use crate::network::interfaces::HostInterface;
pub(crate) use crate::network::names::Asker;
pub(crate) use crate::storage::Wish;
pub(crate) use crate::work::{Observer, Work};
pub(crate) use clone::CloneOptions;
pub(crate) use compare::DiffOptions;
pub(crate) use create::CreateRequest;
pub(crate) use destroy::DestroyOptions;
pub(crate) use export::{ExportOptions, Format};
pub(crate) use facts::{ContainerId, Event, Facts, Owner};
pub(crate) use groups::{GroupAction, Selection};
pub(crate) use images::RemoteImage;
pub(crate) use import::ImportRequest;
pub(crate) use launcher::{Holder, Launcher};
pub(crate) use lifecycle::StopOptions;
pub(crate) use logs::LogKind;
pub(crate) use networks::{HostServices, NetworkChange, NetworkChanges, NetworkFacts, NewForward};
pub(crate) use outlets::Outlet;
pub(crate) use session::{ExecuteRequest, Session, SessionKind, Size};
pub(crate) use snapshots::{NewSnapshot, RestoreOptions, Snapshot};
pub(crate) use usage::Usage;
pub(crate) use wires::{Wire, WireAction, WireChange};

use crate::confine::Filters;
use crate::linux::{files, tool};
use create::blocking;
use gantry_core::layout::{DEFAULT_LXC_PATH, normalize_lxc_path};
use gantry_core::name::ContainerName;
use launcher::Programs;
use registry::Registry;
use session::Numbers;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{broadcast, watch as watching};

/// Data of Gantry's processes while the host is up.
const RUN: &str = "/run/gantry";
/// Where monitors put root file systems together.
const RUN_ROOTFS: &str = "/run/gantry/rootfs";
/// How many events a slow receiver may be behind.
const EVENTS: usize = 1024;

/// The engine. Clones are the same engine.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Shared>);

/// What all clones share.
#[derive(Debug)]
struct Shared {
    lxc_path: String,
    events: broadcast::Sender<Event>,
    registry: Mutex<Registry>,
    /// Held while the registry is made fresh; when that was last done.
    refreshing: tokio::sync::Mutex<Option<Instant>>,
    programs: Programs,
    services: Option<Arc<dyn HostServices>>,
    meters: usage::Meters,
    filters: Filters,
    sessions: Numbers,
    /// The names of containers that are being made.
    reserved: Mutex<HashSet<ContainerName>>,
    /// Changes of the host's interfaces that nobody has confirmed.
    trials: trial::Trials,
    /// Held while networks change.
    networks: tokio::sync::Mutex<()>,
    /// Held from the choice of an id range until it stands in a config.
    ranges: tokio::sync::Mutex<()>,
    /// How many things are gone of which the space is still being freed.
    freeing: watching::Sender<usize>,
}

impl Engine {
    /// Reads lxc.conf(5), removes what interrupted creations left behind and
    /// takes up what runs. Call it once, inside a tokio runtime. Without a
    /// `launcher` monitors and sessions detach themselves from this process, and without
    /// `services` the host's own do not learn of networks.
    pub(crate) async fn open(
        launcher: Option<Arc<dyn Launcher>>,
        services: Option<Arc<dyn HostServices>>,
    ) -> Result<Self> {
        // No child may begin in, or hold on to, somebody's directory.
        std::env::set_current_dir("/").map_err(|error| Error::io("changing to /", &error))?;
        let lxc_path =
            config::global("lxc.lxcpath")?.unwrap_or_else(|| DEFAULT_LXC_PATH.to_owned());
        let lxc_path = normalize_lxc_path(&lxc_path);
        if !lxc_path.starts_with('/') {
            return Err(Error::InvalidArgument(format!(
                "lxc.lxcpath is '{lxc_path}'; make it an absolute path"
            )));
        }
        // Root of a mapped container passes through these, whatever our umask.
        for place in [lxc_path.as_str(), RUN, RUN_ROOTFS] {
            let mode = if place == lxc_path { 0o755 } else { 0o711 };
            files::ensure_directory(Path::new(place), mode)
                .map_err(|error| Error::path("making", Path::new(place), &error))?;
        }
        let places =
            std::iter::once(PathBuf::from(&lxc_path)).chain(snapshots::old_workplaces(&lxc_path));
        // It may run programs, and wait for them.
        let left = blocking(move || {
            if let Err(error) = tool::wait_for_left() {
                tracing::warn!("waiting for programs of the last helper failed: {error}");
            }
            let left = places.flat_map(|place| leftovers::remove_leftovers(&place));
            Ok(left.collect::<Vec<_>>())
        })
        .await?;
        let (events, _) = broadcast::channel(EVENTS);
        let registry = Registry::open(&lxc_path, events.clone())
            .map_err(|error| Error::path("watching", Path::new(&lxc_path), &error))?;
        let engine = Self(Arc::new(Shared {
            lxc_path,
            events,
            registry: Mutex::new(registry),
            refreshing: tokio::sync::Mutex::default(),
            programs: Programs::open(launcher)?,
            services,
            meters: usage::Meters::default(),
            filters: Filters::default(),
            sessions: Numbers::default(),
            reserved: Mutex::default(),
            trials: trial::Trials::default(),
            networks: tokio::sync::Mutex::default(),
            ranges: tokio::sync::Mutex::default(),
            freeing: watching::Sender::new(0),
        }));
        for trash in left {
            engine.free(trash);
        }
        engine.let_go_of_left_devices().await;
        engine.let_go_of_left().await;
        engine.refresh().await?;
        engine
            .keep_fresh()
            .map_err(|error| Error::io("watching the LXC path", &error))?;
        engine.adopt_orphans();
        engine.clean_up_what_was_left();
        engine.repair_networks();
        Ok(engine)
    }

    /// The system's LXC path.
    pub(crate) fn lxc_path(&self) -> &str {
        &self.0.lxc_path
    }

    /// Everything that happens from now on. Who falls 1024 events behind is
    /// told so by the receiver and should list anew.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }
}
