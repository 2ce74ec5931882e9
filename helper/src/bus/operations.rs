//! What both a container's own methods and the manager's by name do.

use std::{os::fd::OwnedFd, sync::Arc};

use gantry_core::name::ContainerName;
use zbus::{message::Header, zvariant::OwnedObjectPath};

use super::{
    Bus,
    admission::Risk,
    containers::path_of,
    error::Result,
    jobs::Outcome,
    options::{Dictionary, Options},
    requests::stop_options,
};
use crate::engine::{CloneOptions, ContainerId, DestroyOptions, ExportOptions};

/// Which container a call is about, or why its name is none.
pub(super) type Target = gantry_api::Result<ContainerId>;

impl Bus {
    pub(super) async fn start(
        &self,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<()> {
        let admitted = self
            .admit(header, target, Options::none(options), |()| Risk::None)
            .await?;
        Ok(self.engine.start(&admitted.id).await?)
    }

    pub(super) async fn kill(
        &self,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<()> {
        let admitted = self
            .admit(header, target, Options::none(options), |()| Risk::None)
            .await?;
        Ok(self.engine.kill(&admitted.id).await?)
    }

    pub(super) async fn freeze(
        &self,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<()> {
        let admitted = self
            .admit(header, target, Options::none(options), |()| Risk::None)
            .await?;
        Ok(self.engine.freeze(&admitted.id).await?)
    }

    pub(super) async fn unfreeze(
        &self,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<()> {
        let admitted = self
            .admit(header, target, Options::none(options), |()| Risk::None)
            .await?;
        Ok(self.engine.unfreeze(&admitted.id).await?)
    }

    pub(super) async fn stop(
        self: &Arc<Self>,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let admitted = self
            .admit(header, target, stop_options(options), |_| Risk::None)
            .await?;
        let (engine, id, options) = (self.engine.clone(), admitted.id, admitted.request);
        let objects = [path_of(&id)];
        self.start_job(&admitted.caller, "Stop", &objects, |work| async move {
            engine
                .stop(&id, options, &work)
                .await
                .map(|()| Outcome::new())
        })
        .await
    }

    pub(super) async fn reboot(
        self: &Arc<Self>,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let admitted = self
            .admit(header, target, stop_options(options), |_| Risk::None)
            .await?;
        let (engine, id, options) = (self.engine.clone(), admitted.id, admitted.request);
        let objects = [path_of(&id)];
        self.start_job(&admitted.caller, "Reboot", &objects, |work| async move {
            engine
                .reboot(&id, options, &work)
                .await
                .map(|()| Outcome::new())
        })
        .await
    }

    pub(super) async fn destroy(
        self: &Arc<Self>,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let options = Options::read(options, |options| {
            Ok(DestroyOptions {
                force: options.flag("force")?,
                snapshots: options.flag("snapshots")?,
            })
        });
        let admitted = self
            .admit(header, target, options, |_| Risk::Destroy)
            .await?;
        let (bus, id, options) = (self.clone(), admitted.id, admitted.request);
        let objects = [path_of(&id)];
        self.start_job(&admitted.caller, "Destroy", &objects, |work| async move {
            bus.engine.destroy(&id, options, &work).await?;
            // Whoever waits for the job finds the object gone.
            bus.settle(&id).await;
            Ok(Outcome::new())
        })
        .await
    }

    pub(super) async fn export(
        self: &Arc<Self>,
        header: &Header<'_>,
        target: Target,
        request: gantry_api::Result<(OwnedFd, ExportOptions)>,
    ) -> Result<OwnedObjectPath> {
        let admitted = self.admit(header, target, request, |_| Risk::None).await?;
        let (engine, id) = (self.engine.clone(), admitted.id);
        let (file, options) = admitted.request;
        let objects = [path_of(&id)];
        self.start_job(&admitted.caller, "Export", &objects, |work| async move {
            let bytes = engine.export(&id, file, options, &work).await?;
            Ok(Outcome::from([("bytes", bytes.into())]))
        })
        .await
    }

    pub(super) async fn clone_container(
        self: &Arc<Self>,
        header: &Header<'_>,
        target: Target,
        request: gantry_api::Result<(ContainerName, CloneOptions)>,
    ) -> Result<OwnedObjectPath> {
        // Whoever has the clone has all that its origin has.
        let admitted = self
            .admit(header, target, request, |_| Risk::Clone(None))
            .await?;
        let (bus, id) = (self.clone(), admitted.id);
        let (new, options) = admitted.request;
        let objects = [path_of(&id)];
        self.start_job(&admitted.caller, "Clone", &objects, |work| async move {
            let made = bus
                .engine
                .clone_container(&id, &new, &options, &work)
                .await?;
            Ok(bus.made(&made).await)
        })
        .await
    }
}
