//! The interface of a job.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use gantry_api::Error;
use tokio::time::timeout;
use zbus::{interface, message::Header, object_server::SignalEmitter, zvariant::Value};

use super::{
    Bus,
    authorization::Details,
    error::Result,
    jobs::Job,
    options::{Dictionary, Options},
};

/// What is served at a job's path.
pub(super) struct JobObject {
    pub(super) bus: Arc<Bus>,
    pub(super) job: Arc<Job>,
}

#[interface(name = "io.gantry.Gantry1.Job")]
impl JobObject {
    /// Asks the job to stop. It ends as 'cancelled' once it has put things back.
    async fn cancel(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<()> {
        let caller = self.bus.callers.identify(&header).await?;
        let own = Details::own(caller.uid == self.job.uid);
        self.bus
            .authority
            .permit(&caller, &header, Options::none(options), &own)
            .await?;
        Ok(self.job.cancel()?)
    }

    /// Returns the state the job ends in: 'done', 'failed' or 'cancelled'. Gives up
    /// with Error.TimedOut after timeout_ms; a negative number waits for ever.
    #[zbus(out_args("state"))]
    async fn wait(&self, timeout_ms: i64, #[zbus(header)] header: Header<'_>) -> Result<String> {
        let caller = self.bus.callers.identify(&header).await?;
        let own = Details::own(caller.uid == self.job.uid);
        self.bus
            .authority
            .permit(&caller, &header, Ok(()), &own)
            .await?;
        let state = tokio::select! {
            state = within(timeout_ms, self.job.ended()) => state,
            () = caller.presence.left() => None,
        };
        let late = || Error::TimedOut(format!("the job {} goes on", self.job.operation));
        Ok(state.ok_or_else(late)?.as_str().to_owned())
    }

    /// A line for whoever looks closer, sent to the client that started the job.
    #[zbus(signal)]
    pub(super) async fn log(emitter: &SignalEmitter<'_>, line: &str) -> zbus::Result<()>;

    /// The job has ended in this state.
    #[zbus(signal)]
    pub(super) async fn finished(emitter: &SignalEmitter<'_>, state: &str) -> zbus::Result<()>;

    /// What is done: the name of the method that started it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn operation(&self) -> &str {
        self.job.operation
    }

    /// The object paths of what it works on.
    #[zbus(property(emits_changed_signal = "const"))]
    fn objects(&self) -> &[String] {
        &self.job.objects
    }

    /// The user for whom it works.
    #[zbus(property(emits_changed_signal = "const"))]
    fn started_by(&self) -> u32 {
        self.job.uid
    }

    /// 'running', 'done', 'failed' or 'cancelled'.
    #[zbus(property)]
    fn state(&self) -> &str {
        self.job.facts().state.as_str()
    }

    /// What is being done just now, in a few words.
    #[zbus(property)]
    fn stage(&self) -> String {
        self.job.facts().stage
    }

    /// From 0 to 1; -1 when unknown.
    #[zbus(property)]
    fn progress(&self) -> f64 {
        self.job.facts().progress()
    }

    /// Bytes that are through; containers for jobs on groups.
    #[zbus(property)]
    fn bytes(&self) -> u64 {
        self.job.facts().bytes
    }

    /// Bytes, or containers, in all; 0 when unknown.
    #[zbus(property)]
    fn total(&self) -> u64 {
        self.job.facts().total
    }

    /// Whether Cancel has an effect.
    #[zbus(property)]
    fn can_cancel(&self) -> bool {
        self.job.facts().can_cancel()
    }

    /// What came of it: 'container' (o) and 'first_login' (s) for jobs that make one,
    /// 'containers' (as) for those on groups, 'images' (aa{sv}) of a server. Told to the
    /// user for whom it works and to root, when they read it; others find nothing.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn result(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> HashMap<String, Value<'static>> {
        let result = match self.is_for(header.as_ref()).await {
            true => self.job.facts().result,
            false => BTreeMap::new(),
        };
        result
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// The full name of the error a failed job ended with.
    #[zbus(property)]
    fn error_name(&self) -> String {
        self.job.facts().error_name()
    }

    /// The error's sentence; for those who can read the result.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn error_message(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        match self.is_for(header.as_ref()).await {
            true => self.job.facts().error_message(),
            false => String::new(),
        }
    }
}

impl JobObject {
    /// Whether whoever asks may know what came of it. Nobody asks alone when all objects
    /// are listed.
    async fn is_for(&self, header: Option<&Header<'_>>) -> bool {
        let Some(header) = header else {
            return false;
        };
        let caller = self.bus.callers.identify(header).await;
        caller.is_ok_and(|caller| caller.uid == self.job.uid || caller.uid == 0)
    }
}

/// What `future` gives within so many milliseconds; a negative number has no end.
pub(super) async fn within<T>(milliseconds: i64, future: impl Future<Output = T>) -> Option<T> {
    match u64::try_from(milliseconds) {
        Ok(milliseconds) => timeout(Duration::from_millis(milliseconds), future)
            .await
            .ok(),
        Err(_) => Some(future.await),
    }
}
