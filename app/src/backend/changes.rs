use std::collections::HashMap;

use gantry_api::Result;

use super::{Backend, Unwanted, properties::read};

/// A file that is not the same at two times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `added`, `removed`, `changed` or `metadata`.
    pub kind: String,
    /// Its path in the container.
    pub path: String,
}

/// What has changed, and whether that is not all.
pub type Changes = (Vec<Change>, bool);

impl Backend {
    /// Compares two snapshots, of which an empty name is the present state, on request by
    /// what is in files whose size and time are the same; none when nobody wants to know any
    /// more.
    ///
    /// # Errors
    /// Those of `Snapshots.Diff` in the contract, and those of its job.
    pub async fn changes(
        &self,
        container: &str,
        (from, to): (&str, &str),
        content: bool,
        unwanted: Unwanted,
    ) -> Result<Option<Changes>> {
        let proxy = self.snapshots(container).await?;
        let options = HashMap::from([("content", content.into())]);
        let job = proxy.diff(from, to, options).await?;
        let outcome = self.outcome(&job, unwanted).await?;
        Ok(outcome.map(|outcome| {
            let mut found: Vec<(String, String)> = Vec::new();
            read(&outcome, "changes", &mut found);
            let mut more = false;
            read(&outcome, "truncated", &mut more);
            let changes = found.into_iter().map(|(kind, path)| Change { kind, path });
            (changes.collect(), more)
        }))
    }
}
