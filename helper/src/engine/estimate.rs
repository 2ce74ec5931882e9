//! What a snapshot will cost, said before it is taken.

use super::clone::Source;
use super::snapshots::last_copy;
use super::{ContainerId, Engine, Result, Work, blocking, duplicate};
use crate::linux::space;
use crate::storage::{self, Files};
use std::path::PathBuf;

/// What is copied in a second where nothing was measured yet: a slow disk's pace.
const USUAL_PACE: u64 = 100 << 20;

/// The cost of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// The whole root file system is copied: its backend has no snapshots.
    pub(crate) full: bool,
    /// Bytes that are copied.
    pub(crate) size: u64,
    /// Seconds that takes, by the pace of the last time.
    pub(crate) seconds: u64,
    /// Bytes that are free for it.
    pub(crate) free: u64,
}

impl Engine {
    /// Looks at what a snapshot of a container would copy.
    pub(crate) async fn estimate_snapshot(
        &self,
        id: &ContainerId,
        work: &Work,
    ) -> Result<Estimate> {
        self.get(id).await?;
        work.stage("measuring");
        let layout = self.layout(&id.name);
        let source = Source::read(layout.clone())?;
        let full = source.copies_in_full().await?;
        let copied = match (full, source.backend.as_str()) {
            // The image is copied as it is.
            (true, "loop") => Some(Files::At(PathBuf::from(&source.rootfs.path))),
            (true, _) => Some(storage::files(&source.rootfs)),
            (false, _) => source
                .rootfs
                .overlay()
                .map(|layers| Files::At(layers.upper)),
        };
        let size = match &copied {
            Some(files) => duplicate::occupied_by(&self.0.programs, files).await?,
            None => 0,
        };
        let directory = layout.directory();
        let (last, free) = blocking(move || {
            let free = space::free(&directory).map_or(0, |space| space.bytes);
            Ok((last_copy(&layout)?, free))
        })
        .await?;
        work.check()?;
        let (milliseconds, bytes) = last.unwrap_or((1000, USUAL_PACE));
        let wanted = u128::from(size) * u128::from(milliseconds);
        let seconds = wanted.div_ceil(u128::from(bytes.max(1)) * 1000);
        Ok(Estimate {
            full,
            size,
            seconds: seconds.try_into().unwrap_or(u64::MAX),
            free,
        })
    }
}
