//! Long work: one object a job, from before the method returns until a minute
//! after the work ended.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use gantry_api::{Error, JobState, job_path};
use tokio::{
    sync::watch,
    task::JoinError,
    time::{Instant, sleep, sleep_until},
};
use tracing::{Instrument as _, error, info, info_span, warn};
use zbus::{
    names::OwnedUniqueName,
    zvariant::{OwnedObjectPath, Value},
};

use super::{Bus, callers::Caller, error::from_engine, job::JobObject, limits::Kind, lock};
use crate::engine::{self, Observer, Work};

/// How long an ended job can still be read.
const KEPT: Duration = Duration::from_secs(60);
/// What only the job's owner is told: it may have paths of the host, and passwords.
const KEPT_BACK: [&str; 2] = ["Result", "ErrorMessage"];
/// The least time between two reports of progress.
const PACE: Duration = Duration::from_millis(100);

/// What a job leaves behind, the entries of its property `Result`.
pub(super) type Outcome = BTreeMap<&'static str, Value<'static>>;

/// A job under way or ended.
pub(super) struct Job {
    pub(super) path: OwnedObjectPath,
    pub(super) operation: &'static str,
    /// The object paths it works on; those of containers to be included.
    pub(super) objects: Vec<String>,
    /// The user it works for.
    pub(super) uid: u32,
    sender: OwnedUniqueName,
    facts: watch::Sender<Facts>,
    cancel: watch::Sender<bool>,
}

/// What changes while a job runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) state: JobState,
    pub(super) stage: String,
    pub(super) bytes: u64,
    pub(super) total: u64,
    pub(super) result: Outcome,
    pub(super) error: Option<Error>,
}

impl Facts {
    /// From 0 to 1; -1 when unknown.
    pub(super) fn progress(&self) -> f64 {
        match (self.state, self.total) {
            (JobState::Done, _) => 1.0,
            (_, 0) => -1.0,
            // Exact enough: both are far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            (_, total) => (self.bytes as f64 / total as f64).min(1.0),
        }
    }

    /// Whether somebody may still end it.
    pub(super) fn can_cancel(&self) -> bool {
        self.state == JobState::Running
    }

    /// The error's full name on the bus, empty when there is none.
    pub(super) fn error_name(&self) -> String {
        self.error
            .as_ref()
            .map(|error| error.full_name().to_string())
            .unwrap_or_default()
    }

    /// The error's sentence, empty when there is none.
    pub(super) fn error_message(&self) -> String {
        self.error.as_ref().map(Error::message).unwrap_or_default()
    }

    fn properties(&self) -> HashMap<&'static str, Value<'static>> {
        let result: HashMap<&str, Value<'_>> = self
            .result
            .iter()
            .map(|(key, value)| (*key, value.clone()))
            .collect();
        HashMap::from([
            ("State", self.state.as_str().into()),
            ("Stage", self.stage.clone().into()),
            ("Progress", self.progress().into()),
            ("Bytes", self.bytes.into()),
            ("Total", self.total.into()),
            ("CanCancel", self.can_cancel().into()),
            ("Result", Value::from(result)),
            ("ErrorName", self.error_name().into()),
            ("ErrorMessage", self.error_message().into()),
        ])
    }
}

impl Job {
    /// What is known just now.
    pub(super) fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// Asks the work to stop.
    ///
    /// # Errors
    /// `WrongState` when it has ended.
    pub(super) fn cancel(&self) -> gantry_api::Result<()> {
        if !self.facts().can_cancel() {
            return Err(Error::WrongState(format!(
                "the job {} has ended already",
                self.operation
            )));
        }
        self.cancel.send_replace(true);
        Ok(())
    }

    /// The state it ends in.
    pub(super) async fn ended(&self) -> JobState {
        let mut facts = self.facts.subscribe();
        // `self` holds the sender, so that this cannot fail.
        facts
            .wait_for(|facts| facts.state != JobState::Running)
            .await
            .map_or(JobState::Failed, |facts| facts.state)
    }
}

/// The jobs that are on the bus.
#[derive(Default)]
pub(super) struct Jobs {
    last: Mutex<u64>,
    running: Mutex<Vec<Arc<Job>>>,
}

impl Jobs {
    fn next(&self) -> u64 {
        let mut last = lock(&self.last);
        *last += 1;
        *last
    }

    /// Asks every job to stop and waits until all have, or until `patience` is over.
    pub(super) async fn stop_all(&self, patience: Duration) {
        let running = lock(&self.running).clone();
        let end = async {
            for job in &running {
                job.cancel.send_replace(true);
            }
            for job in &running {
                job.ended().await;
            }
        };
        if tokio::time::timeout(patience, end).await.is_err() {
            warn!("some jobs did not stop in time; what they left is cleaned up at the next start");
        }
    }
}

impl Bus {
    /// Starts `work` as a job of the caller and puts it on the bus.
    ///
    /// # Errors
    /// `QuotaExceeded` when too many jobs of the user run.
    pub(super) async fn start_job<F>(
        self: &Arc<Self>,
        caller: &Caller,
        operation: &'static str,
        objects: &[OwnedObjectPath],
        work: impl FnOnce(Work) -> F,
    ) -> super::error::Result<OwnedObjectPath>
    where
        F: Future<Output = engine::Result<Outcome>> + Send + 'static,
    {
        let hold = self.limits.hold(caller.uid, Kind::Job)?;
        let (handle, observer) = Work::new();
        let job = Arc::new(Job {
            path: job_path(self.jobs.next()),
            operation,
            objects: objects.iter().map(ToString::to_string).collect(),
            uid: caller.uid,
            sender: caller.sender.clone(),
            facts: watch::Sender::new(Facts {
                state: JobState::Running,
                stage: String::new(),
                bytes: 0,
                total: 0,
                result: Outcome::new(),
                error: None,
            }),
            cancel: observer.cancel.clone(),
        });
        let object = JobObject {
            bus: self.clone(),
            job: job.clone(),
        };
        self.connection
            .object_server()
            .at(&job.path, object)
            .await
            .map_err(Error::from)?;
        lock(&self.jobs.running).push(job.clone());
        let path = job.path.clone();
        let bus = self.clone();
        let active = self.activity.hold();
        let work = work(handle);
        tokio::spawn(async move {
            bus.see_through(&job, work, observer).await;
            drop(hold);
            sleep(KEPT).await;
            if let Err(error) = bus
                .connection
                .object_server()
                .remove::<JobObject, _>(&job.path)
                .await
            {
                error!(%error, path = %job.path, "could not take a job off the bus");
            }
            drop(active);
        });
        Ok(path)
    }

    /// Runs the work, reports how it goes, and what came of it.
    async fn see_through(
        &self,
        job: &Arc<Job>,
        work: impl Future<Output = engine::Result<Outcome>> + Send + 'static,
        mut observer: Observer,
    ) {
        // A task of its own, so that a panic in it is a failed job and no more.
        let span = info_span!("job", job = %job.path);
        let mut task = tokio::spawn(work.instrument(span));
        let (mut next, mut pending) = (Instant::now(), false);
        let outcome = loop {
            tokio::select! {
                outcome = &mut task => break outcome,
                Some(line) = observer.log.recv() => self.tell(job, &line).await,
                Ok(()) = observer.progress.changed() => pending = true,
                () = sleep_until(next), if pending => {
                    pending = false;
                    next = Instant::now() + PACE;
                    self.report(job, &observer, |_| {}).await;
                }
            }
        };
        while let Ok(line) = observer.log.try_recv() {
            self.tell(job, &line).await;
        }
        let outcome = outcome.unwrap_or_else(|panic| Err(internal(job, &panic)));
        lock(&self.jobs.running).retain(|running| !Arc::ptr_eq(running, job));
        self.report(job, &observer, |facts| match outcome {
            Ok(result) => {
                facts.state = JobState::Done;
                facts.result = result;
            }
            Err(error) => {
                facts.state = match error {
                    engine::Error::Cancelled(_) => JobState::Cancelled,
                    _ => JobState::Failed,
                };
                facts.error = Some(from_engine(error));
            }
        })
        .await;
        let Facts { state, error, .. } = job.facts();
        info!(
            job = %job.path,
            operation = job.operation,
            uid = job.uid,
            state = state.as_str(),
            error = error.map(|error| error.message()),
            "job ended"
        );
        if let Err(error) = JobObject::finished(&self.emitter(&job.path), state.as_str()).await {
            warn!(%error, "could not tell that a job has ended");
        }
    }

    /// Brings the job's facts up to date and announces what changed, in one signal.
    async fn report(&self, job: &Job, observer: &Observer, change: impl FnOnce(&mut Facts)) {
        let before = job.facts().properties();
        job.facts.send_modify(|facts| {
            let progress = observer.progress.borrow();
            facts.stage.clone_from(&progress.stage);
            facts.bytes = progress.bytes;
            facts.total = progress.total;
            change(facts);
        });
        let changed = job.facts().properties();
        self.announce_but::<JobObject>(&job.path, &before, changed, &KEPT_BACK)
            .await;
    }

    /// A line of the job's log, for its owner alone: it may name paths of the host.
    async fn tell(&self, job: &Job, line: &str) {
        let emitter = self
            .emitter(&job.path)
            .set_destination(job.sender.as_ref().into());
        if let Err(error) = JobObject::log(&emitter, line).await {
            warn!(%error, "could not pass on a line of a job's log");
        }
    }
}

fn internal(job: &Job, panic: &JoinError) -> engine::Error {
    error!(operation = job.operation, %panic, "a job broke off");
    engine::Error::Failed(format!(
        "{} broke off because of a fault in the helper; its log says where, please report it",
        job.operation
    ))
}
