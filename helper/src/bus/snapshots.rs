//! The interface of a container's snapshots.

use std::{collections::HashMap, sync::Arc};

use gantry_api::Error;
use gantry_core::{name::ContainerName, retention::Retention};
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
use crate::engine::{ContainerId, DiffOptions, NewSnapshot, RestoreOptions};

/// The longest comment, in bytes.
const LONGEST_COMMENT: usize = 1024;

/// How many changes a comparison gives unless asked for another number, and at most.
const USUAL_CHANGES: u32 = 10_000;
const MOST_CHANGES: u32 = 100_000;

/// How many paths one call restores at most.
const MOST_PATHS: usize = 1000;
/// How many snapshots of a kind a schedule keeps at most.
const MOST_KEPT: u32 = 1000;

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
            Ok(NewSnapshot {
                name,
                comment,
                scheduled: false,
            })
        });
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let (engine, id, new) = (self.bus.engine.clone(), admitted.id, admitted.request);
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Take", &objects, |work| async move {
                let taken = engine.take_snapshot(&id, new, &work).await?;
                Ok(Outcome::from([("name", taken.into())]))
            })
            .await
    }

    /// Says what Take would cost. The job's result has full b (the whole root file system is
    /// copied, as its backend has no snapshots), size t (bytes to copy), seconds t (by the
    /// pace of the last time; 100 MiB a second where there was none) and free t (bytes).
    #[zbus(out_args("job"))]
    async fn estimate(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, Options::none(options), |()| Risk::None)
            .await?;
        let (engine, id) = (self.bus.engine.clone(), admitted.id);
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Estimate", &objects, |work| async move {
                let estimate = engine.estimate_snapshot(&id, &work).await?;
                Ok(Outcome::from([
                    ("full", estimate.full.into()),
                    ("size", estimate.size.into()),
                    ("seconds", estimate.seconds.into()),
                    ("free", estimate.free.into()),
                ]))
            })
            .await
    }

    /// The snapshots, oldest first: name s, comment s, created x (seconds since 1970),
    /// parent s (the one before it), size t (bytes copied for it), backend s, current b (the
    /// present state came from it), scheduled b (a schedule took it, and removes it).
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
                ("scheduled", snapshot.scheduled.into()),
            ])
        };
        Ok(snapshots.into_iter().map(entry).collect())
    }

    /// Goes back to a snapshot. The container must be stopped; its old state stays until the
    /// new one stands. Options: safety b (on): take a snapshot of the present state first;
    /// new_name s: make a new container instead, and leave this one alone; its lxc.hook.clone
    /// needs io.gantry.manage-unsafe, and so does either where the snapshot's config has what
    /// equals root on the host and the present one has not. The job's result has container o.
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
        let risk = |(name, options): &(ContainerName, RestoreOptions)| match options.new_name {
            Some(_) => Risk::Clone(Some(name.clone())),
            None => Risk::Restore(name.clone()),
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

    /// Makes single files and directories, by their paths from / on, what they were in a
    /// snapshot, one after the other and each in one step; the container may run. What came
    /// since below such a directory is gone, and no other file is touched. NotFound, and
    /// nothing is changed, if one was not there or lies behind a link.
    #[zbus(out_args("job"))]
    async fn restore_paths(
        &self,
        name: &str,
        paths: Vec<String>,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = Options::none(options).and_then(|()| {
            if paths.len() > MOST_PATHS {
                return Err(Error::InvalidArgument(format!(
                    "at most {MOST_PATHS} paths are restored at a time; name a directory instead"
                )));
            }
            Ok((snapshot_name(name)?, paths))
        });
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let (engine, id) = (self.bus.engine.clone(), admitted.id);
        let (name, paths) = admitted.request;
        let objects = [path_of(&id)];
        self.bus
            .start_job(
                &admitted.caller,
                "RestorePaths",
                &objects,
                |work| async move {
                    engine.restore_paths(&id, &name, &paths, &work).await?;
                    Ok(Outcome::new())
                },
            )
            .await
    }

    /// How many snapshots the container's schedule keeps: hourly u, daily u, weekly u, the
    /// last one of each of so many hours, days and weeks. All 0: it has no schedule.
    #[zbus(out_args("schedule"))]
    async fn get_schedule(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<HashMap<&'static str, Value<'static>>> {
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, Ok(()), |()| Risk::None)
            .await?;
        let rules = self.bus.engine.schedule(&admitted.id).await?;
        Ok(HashMap::from([
            ("hourly", rules.hourly.into()),
            ("daily", rules.daily.into()),
            ("weekly", rules.weekly.into()),
        ]))
    }

    /// Changes the schedule: snapshots are taken in the shortest of the periods of which any
    /// are kept, and removed when they are not kept any longer; those of others are left
    /// alone. Options: hourly u, daily u, weekly u, 0 where not given; all 0 ends it.
    async fn set_schedule(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::read(options, |options| {
            let mut number = |key| {
                let number = options.take::<u32>(key)?.unwrap_or_default();
                if number > MOST_KEPT {
                    return Err(Error::InvalidArgument(format!(
                        "at most {MOST_KEPT} snapshots of a kind are kept; lower '{key}'"
                    )));
                }
                Ok(number)
            };
            Ok(Retention {
                hourly: number("hourly")?,
                daily: number("daily")?,
                weekly: number("weekly")?,
            })
        });
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let engine = &self.bus.engine;
        Ok(engine.set_schedule(&admitted.id, admitted.request).await?)
    }

    /// Compares two snapshots; an empty name is the present state. The job's result has
    /// changes a(ss), the kind ('added', 'removed', 'changed', or 'metadata': owner, mode,
    /// attributes or times alone) and the path, and truncated b: there is more. Where the
    /// backend does not know what changed (dir, loop), files of one size and time count as
    /// the same. Options: content b: read those, too; limit u (10000): give at most so many.
    #[zbus(out_args("job"))]
    async fn diff(
        &self,
        from: &str,
        to: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = Options::read(options, |options| {
            let limit = options.take::<u32>("limit")?.unwrap_or(USUAL_CHANGES);
            if limit > MOST_CHANGES {
                return Err(Error::InvalidArgument(format!(
                    "at most {MOST_CHANGES} changes are given; lower the limit"
                )));
            }
            let state = |name: &str| match name {
                "" => Ok(None),
                name => snapshot_name(name).map(Some),
            };
            let options = DiffOptions {
                content: options.flag("content")?,
                limit: limit.try_into().unwrap_or(usize::MAX),
            };
            Ok((state(from)?, state(to)?, options))
        });
        let target = Ok(self.id.clone());
        let admitted = self
            .bus
            .admit(&header, target, request, |_| Risk::None)
            .await?;
        let (engine, id) = (self.bus.engine.clone(), admitted.id);
        let (from, to, options) = admitted.request;
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Diff", &objects, |work| async move {
                let difference = engine
                    .diff_snapshots(&id, from.as_ref(), to.as_ref(), options, &work)
                    .await?;
                let changes: Vec<(&str, String)> = difference
                    .changes
                    .into_iter()
                    .map(|(path, change)| (change.word(), path))
                    .collect();
                Ok(Outcome::from([
                    ("changes", changes.into()),
                    ("truncated", difference.truncated.into()),
                ]))
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
