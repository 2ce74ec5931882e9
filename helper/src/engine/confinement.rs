//! What a monitor and a session are handed to confine their programs with.

use super::client::Client;
use super::wires::confirmed;
use super::{Engine, Error, Result};
use crate::linux::channel::Channel;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{Extension, StartRequest};
use gantry_core::settings::Settings;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// What a monitor is told first.
pub(super) struct Offer {
    request: StartRequest,
    filter: Option<Arc<OwnedFd>>,
}

impl Offer {
    /// Tells a monitor.
    pub(super) async fn send(&self, monitor: &Channel) -> io::Result<()> {
        let fds: Vec<_> = self.filter.iter().map(|filter| filter.as_fd()).collect();
        monitor.send_with(&self.request, &fds).await
    }
}

impl Engine {
    /// Makes what confines a container, before anything of it exists.
    pub(super) fn offer(&self, layout: &ContainerLayout, settings: &Settings) -> Result<Offer> {
        let profile = settings.seccomp.profile.as_deref();
        let filter = profile
            .map(|profile| self.0.filters.of(profile))
            .transpose()?;
        Ok(Offer {
            filter,
            request: StartRequest {
                seccomp: settings.seccomp.profile.clone(),
                confirmed: confirmed::read(layout)?,
            },
        })
    }

    /// The system call filter of a running container. A monitor of stock LXC
    /// keeps none to give away; it is made from its profile, as lxc-attach
    /// does.
    pub(super) async fn filter_of(&self, client: &Client) -> Result<Option<Arc<OwnedFd>>> {
        match client
            .extension::<bool>(Extension::GetFilter, None::<&()>)
            .await?
        {
            Some((false, _)) => Ok(None),
            Some((true, fds)) => match fds.into_iter().next() {
                Some(filter) => Ok(Some(Arc::new(filter))),
                None => Err(Error::Failed(
                    "the monitor sent no system call filter".to_owned(),
                )),
            },
            None => match client.config_item("lxc.seccomp.profile").await? {
                Some(profile) => self.0.filters.of(Path::new(profile.trim())).map(Some),
                None => Ok(None),
            },
        }
    }
}
