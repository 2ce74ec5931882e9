use gantry_api::{Error, JobProxy, JobState, Result};
use tokio::{select, sync::oneshot};

use super::{
    Backend,
    calls::path,
    properties::{Properties, read},
};

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

    /// What a job that has made a container has to tell of it: who to log in as, where
    /// that is known, and what this computer lacks for it.
    ///
    /// # Errors
    /// When the helper does not tell this user.
    pub async fn told(&self, job: &str) -> Result<(String, Vec<String>)> {
        let found = self.end_of(job).await?;
        let (mut first_login, mut warnings) = (String::new(), Vec::new());
        read(&found, "first_login", &mut first_login);
        read(&found, "warnings", &mut warnings);
        Ok((first_login, warnings))
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
