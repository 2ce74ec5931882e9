//! Changes by which the host may become unreachable: they are undone by themselves unless
//! somebody confirms that it can still be reached, whom they would have cut off.

use super::{Engine, Error, Result};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How long somebody may take to confirm a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever confirms, and waits to hear what came of it.
type Confirmation = oneshot::Sender<Result<()>>;

/// The host's interfaces whose change is on trial.
#[derive(Debug)]
pub(super) struct Trials {
    waiting: Mutex<BTreeMap<String, oneshot::Sender<Confirmation>>>,
    shown: watch::Sender<BTreeMap<String, i64>>,
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            shown: watch::Sender::new(BTreeMap::new()),
        }
    }
}

impl Trials {
    fn take(&self, interface: &str) -> Option<oneshot::Sender<Confirmation>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(interface)
    }
}

impl Engine {
    /// The interfaces whose change is on trial, and when it is undone, in seconds since
    /// 1970. As long as there is one, this process must stay.
    pub(crate) fn trials(&self) -> watch::Receiver<BTreeMap<String, i64>> {
        self.0.trials.shown.subscribe()
    }

    /// Has a change of an interface of the host that has just been made undone by `undo`,
    /// unless it is confirmed in time: then `keep` has it last. A change that is on trial
    /// already goes on with these.
    pub(super) fn put_on_trial(
        &self,
        interface: &str,
        keep: impl Future<Output = Result<()>> + Send + 'static,
        undo: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let (sender, confirmed) = oneshot::channel();
        let until = SystemTime::now() + PATIENCE;
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let trials = &self.0.trials;
        trials
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(interface.to_owned(), sender);
        trials.shown.send_modify(|shown| {
            shown.insert(interface.to_owned(), until.as_secs().cast_signed());
        });
        let (engine, interface) = (self.clone(), interface.to_owned());
        tokio::spawn(async move {
            match timeout(PATIENCE, confirmed).await {
                Ok(Ok(confirmation)) => {
                    let kept = keep.await;
                    engine.end_trial(&interface);
                    // Nobody may have waited for the answer.
                    drop(confirmation.send(kept));
                }
                // Given up, or another has begun.
                Ok(Err(_)) => {}
                Err(_late) => {
                    drop(engine.0.trials.take(&interface));
                    tracing::warn!(
                        "nobody has confirmed the change of {interface}, by which the host may be cut off: undoing it"
                    );
                    if let Err(error) = undo.await {
                        tracing::error!("undoing the change of {interface} failed: {error}");
                    }
                    engine.end_trial(&interface);
                }
            }
        });
    }

    /// Has a change that is on trial last.
    ///
    /// # Errors
    /// `NotFound` where none is, also because it has been undone.
    pub(crate) async fn confirm_interface(&self, interface: &str) -> Result<()> {
        let none = || {
            Error::NotFound(format!(
                "no change of the interface {interface:?} waits to be confirmed: it was undone, or has been confirmed"
            ))
        };
        let (sender, answer) = oneshot::channel();
        let waiting = self.0.trials.take(interface).ok_or_else(none)?;
        waiting.send(sender).map_err(|_| none())?;
        answer.await.map_err(|_| none())?
    }

    /// Forgets a trial whose change has been undone otherwise.
    pub(super) fn end_trial(&self, interface: &str) {
        drop(self.0.trials.take(interface));
        self.0
            .trials
            .shown
            .send_if_modified(|shown| shown.remove(interface).is_some());
    }
}
