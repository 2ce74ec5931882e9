//! The interface of a container's snapshots.

use std::{collections::HashMap, sync::Arc};

use gantry_api::Error;
use gantry_core::name::ContainerName;
use zbus::{
    interface,
    message::Header,
    zvariant::{OwnedObjectPath, Value},
};

use super::{
    Bus,
    admission::{Risk, shortened},
    containers::path_of,
    error::Result,
    jobs::Outcome,
    options::{Dictionary, Options},
    requests::new_name,
};
use crate::engine::{ContainerId, RestoreOptions};

/// The longest comment, in bytes.
const LONGEST_COMMENT: usize = 1024;

/// What is served at a container's path for its snapshots.
pub(super) struct SnapshotsObject {
    pub(super) bus: Arc<Bus>,
    pub(super) id: ContainerId,
}

#[interface(name = "io.gantry.Gantry1.Snapshots")]
impl SnapshotsObject {
    /// Takes a snapshot; an empty name is the next free snapN. A container that runs is held
    /// for the moment of the copy. Where the backend has no snapshots (dir, loop) the root
    /// file system is copied in full. Options: comment s. The job's result has name s.
    #[zbus(out_args("job"))]
    async fn take(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = Options::read(options, |options| {
            let comment = options.take::<String>("comment")?.unwrap_or_default();
            fitting(&comment)?;
            let name = (!name.is_empty()).then(|| new_name(name)).transpose()?;
            Ok((name, comment))
        });
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let (engine, id) = (self.bus.engine.clone(), admitted.id);
        let (name, comment) = admitted.request;
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Take", &objects, |work| async move {
                let taken = engine.take_snapshot(&id, name, &comment, &work).await?;
                Ok(Outcome::from([("name", taken.into())]))
            })
            .await
    }

    /// The snapshots, oldest first: name s, comment s, created x (seconds since 1970),
    /// parent s (the one before it), size t (bytes copied for it), backend s, current b (the
    /// present state came from it).
    #[zbus(out_args("snapshots"))]
    async fn list(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<HashMap<&'static str, Value<'static>>>> {
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, Ok(()), |()| Risk::None)
            .await?;
        let snapshots = self.bus.engine.snapshots(&admitted.id).await?;
        let entry = |snapshot: crate::engine::Snapshot| {
            HashMap::from([
                ("name", snapshot.name.into()),
                ("comment", snapshot.comment.into()),
                ("created", snapshot.created.into()),
                ("parent", snapshot.parent.into()),
                ("size", snapshot.size.into()),
                ("backend", snapshot.backend.into()),
                ("current", snapshot.current.into()),
            ])
        };
        Ok(snapshots.into_iter().map(entry).collect())
    }

    /// Goes back to a snapshot. The container must be stopped; its old state stays until the
    /// new one stands. Options: safety b (on): take a snapshot of the present state first;
    /// new_name s: make a new container instead, and leave this one alone. The job's result
    /// has container o.
    #[zbus(out_args("job"))]
    async fn restore(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = Options::read(options, |options| {
            let new = options.take::<String>("new_name")?;
            let options = RestoreOptions {
                new_name: new.map(|new| new_name(&new)).transpose()?,
                safety: options.take("safety")?.unwrap_or(true),
            };
            Ok((snapshot_name(name)?, options))
        });
        let risk = |(_, options): &(ContainerName, RestoreOptions)| match options.new_name {
            Some(_) => Risk::Enter { elevated: false },
            None => Risk::None,
        };
        let target = Ok(self.id.clone());
        let admitted = self.bus.admit(&header, target, request, risk).await?;
        let (bus, id) = (self.bus.clone(), admitted.id);
        let (name, options) = admitted.request;
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Restore", &objects, |work| async move {
                let restored = bus
                    .engine
                    .restore_snapshot(&id, &name, options, &work)
                    .await?;
                Ok(bus.made(&restored).await)
            })
            .await
    }

    /// Deletes a snapshot. No options.
    #[zbus(out_args("job"))]
    async fn delete(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = Options::none(options).and_then(|()| snapshot_name(name));
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let (engine, id, name) = (self.bus.engine.clone(), admitted.id, admitted.request);
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Delete", &objects, |work| async move {
                engine.delete_snapshot(&id, &name, &work).await?;
                Ok(Outcome::new())
            })
            .await
    }

    /// Changes a snapshot's comment; an empty one takes it away.
    async fn set_comment(
        &self,
        name: &str,
        comment: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = snapshot_name(name).and_then(|name| fitting(comment).map(|()| name));
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let engine = &self.bus.engine;
        Ok(engine
            .comment_snapshot(&admitted.id, &admitted.request, comment)
            .await?)
    }
}

/// The name of a snapshot that may be there.
fn snapshot_name(name: &str) -> gantry_api::Result<ContainerName> {
    ContainerName::new(name)
        .map_err(|error| Error::InvalidName(format!("{}: {error}", shortened(name))))
}

fn fitting(comment: &str) -> gantry_api::Result<()> {
    if comment.len() > LONGEST_COMMENT || comment.chars().any(char::is_control) {
        return Err(Error::InvalidArgument(format!(
            "a comment has one line of at most {LONGEST_COMMENT} bytes"
        )));
    }
    Ok(())
}
