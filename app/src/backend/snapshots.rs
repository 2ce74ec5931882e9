use gantry_api::{Result, SnapshotsProxy};

use super::{
    Backend,
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
        snapshot
    }
}

impl Backend {
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
