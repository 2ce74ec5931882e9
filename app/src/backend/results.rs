use gantry_api::{Error, JobProxy, JobState, Result};
use tokio::{select, sync::oneshot};

use super::{Backend, calls::path, properties::Properties};

/// Told, or dropped, when nobody waits for an answer any more.
pub type Unwanted = oneshot::Receiver<()>;

impl Backend {
    /// What came of a job, once it has ended; none when nobody wants to know any more, which
    /// cancels it.
    ///
    /// # Errors
    /// That by which it failed; `Cancelled` when somebody else has cancelled it.
    pub(super) async fn outcome(
        &self,
        job: &str,
        unwanted: Unwanted,
    ) -> Result<Option<Properties>> {
        select! {
            biased;
            _ = unwanted => {
                self.cancel(job).await?;
                Ok(None)
            }
            outcome = self.end_of(job) => outcome.map(Some),
        }
    }

    /// What came of a job, once it has ended.
    ///
    /// # Errors
    /// That by which it failed; `Cancelled` when it was cancelled.
    pub(super) async fn end_of(&self, job: &str) -> Result<Properties> {
        let bus = self.bus()?;
        let proxy = JobProxy::builder(&bus)
            .path(path(job)?)?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        match proxy.wait(-1).await?.parse() {
            Ok(JobState::Done) => Ok(proxy.result().await?),
            Ok(JobState::Failed) => {
                let (name, message) = (proxy.error_name().await?, proxy.error_message().await?);
                Err(Error::from_parts(&name, message))
            }
            _ => Err(Error::Cancelled(String::new())),
        }
    }
}
