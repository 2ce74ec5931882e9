use std::collections::HashMap;

use gantry_api::{Result, SnapshotsProxy};

use super::{
    Backend, Unwanted,
    calls::path,
    properties::{Properties, read},
};

/// A container as it was at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// A word about it.
    pub comment: String,
    /// When it was taken, in seconds since 1970.
    pub created: i64,
    /// The snapshot before it; empty: none.
    pub parent: String,
    /// The bytes that were copied for it; 0 where nothing had to be.
    pub size: u64,
    /// Whether the present state came from it.
    pub current: bool,
    /// Whether a schedule took it, and removes it.
    pub scheduled: bool,
}

impl Snapshot {
    fn of(from: &Properties) -> Self {
        let mut snapshot = Self::default();
        read(from, "name", &mut snapshot.name);
        read(from, "comment", &mut snapshot.comment);
        read(from, "created", &mut snapshot.created);
        read(from, "parent", &mut snapshot.parent);
        read(from, "size", &mut snapshot.size);
        read(from, "current", &mut snapshot.current);
        read(from, "scheduled", &mut snapshot.scheduled);
        snapshot
    }
}

/// What a snapshot would cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Whether all files are copied.
    pub full: bool,
    /// Bytes to copy.
    pub size: u64,
    /// How long that takes, by what it took before.
    pub seconds: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// How many snapshots of a kind are kept, and so whether they are taken at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// One an hour.
    pub hourly: u32,
    /// One a day.
    pub daily: u32,
    /// One a week.
    pub weekly: u32,
}

impl Backend {
    /// Says what a snapshot would cost; none when nobody wants to know any more.
    ///
    /// # Errors
    /// Those of `Snapshots.Estimate` in the contract, and those of its job.
    pub async fn estimate(&self, container: &str, unwanted: Unwanted) -> Result<Option<Cost>> {
        let proxy = self.snapshots(container).await?;
        let job = proxy.estimate(HashMap::new()).await?;
        let outcome = self.outcome(&job, unwanted).await?;
        Ok(outcome.map(|outcome| {
            let mut cost = Cost::default();
            read(&outcome, "full", &mut cost.full);
            read(&outcome, "size", &mut cost.size);
            read(&outcome, "seconds", &mut cost.seconds);
            read(&outcome, "free", &mut cost.free);
            cost
        }))
    }

    /// Makes one file or directory what it was in a snapshot; the container may run.
    ///
    /// # Errors
    /// Those of `Snapshots.RestorePaths` in the contract, and those of its job.
    pub async fn restore_path(&self, container: &str, snapshot: &str, path: &str) -> Result<()> {
        let proxy = self.snapshots(container).await?;
        let job = proxy
            .restore_paths(snapshot, &[path], HashMap::new())
            .await?;
        self.end_of(&job).await.map(|_| ())
    }

    /// Which snapshots of a container are taken by themselves.
    ///
    /// # Errors
    /// Those of `Snapshots.GetSchedule` in the contract.
    pub async fn schedule(&self, container: &str) -> Result<Schedule> {
        let found = self.snapshots(container).await?.get_schedule().await?;
        let mut schedule = Schedule::default();
        read(&found, "hourly", &mut schedule.hourly);
        read(&found, "daily", &mut schedule.daily);
        read(&found, "weekly", &mut schedule.weekly);
        Ok(schedule)
    }

    /// Changes that.
    ///
    /// # Errors
    /// Those of `Snapshots.SetSchedule` in the contract.
    pub async fn set_schedule(&self, container: &str, schedule: Schedule) -> Result<()> {
        let options = HashMap::from([
            ("hourly", schedule.hourly.into()),
            ("daily", schedule.daily.into()),
            ("weekly", schedule.weekly.into()),
        ]);
        self.snapshots(container).await?.set_schedule(options).await
    }

    /// A container's snapshots, oldest first.
    ///
    /// # Errors
    /// Those of `Snapshots.List` in the contract.
    pub async fn list_snapshots(&self, container: &str) -> Result<Vec<Snapshot>> {
        let list = self.snapshots(container).await?.list().await?;
        Ok(list.iter().map(Snapshot::of).collect())
    }

    /// Writes a word about a snapshot; nothing takes it away.
    ///
    /// # Errors
    /// Those of `Snapshots.SetComment` in the contract.
    pub async fn comment(&self, container: &str, snapshot: &str, comment: &str) -> Result<()> {
        let proxy = self.snapshots(container).await?;
        proxy.set_comment(snapshot, comment).await
    }

    pub(super) async fn snapshots(&self, container: &str) -> Result<SnapshotsProxy<'static>> {
        let bus = self.bus()?;
        Ok(SnapshotsProxy::builder(&bus)
            .path(path(container)?)?
            .build()
            .await?)
    }
}
