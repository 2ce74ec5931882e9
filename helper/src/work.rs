//! The line between a long operation and whoever watches it.

use crate::error::{Error, Result};
use tokio::sync::{mpsc, watch};

/// How far an operation is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What is being done, in a few words.
    pub(crate) stage: String,
    /// Bytes that are through.
    pub(crate) bytes: u64,
    /// Bytes in all; 0 when unknown.
    pub(crate) total: u64,
}

/// Handed to a long operation: it tells its progress here and learns that it
/// is to stop. Clones speak for the same operation.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// Before every stage and line: which part of the whole they are of.
    prefix: String,
    progress: watch::Sender<Progress>,
    log: mpsc::UnboundedSender<String>,
    cancel: watch::Receiver<bool>,
}

/// The other end of a [`Work`].
#[derive(Debug)]
pub(crate) struct Observer {
    /// The latest progress.
    pub(crate) progress: watch::Receiver<Progress>,
    /// Lines for whoever looks closer; ends when the operation does.
    pub(crate) log: mpsc::UnboundedReceiver<String>,
    /// Send `true` to cancel.
    pub(crate) cancel: watch::Sender<bool>,
}

impl Work {
    /// A new operation and its observer.
    pub(crate) fn new() -> (Self, Observer) {
        let (progress, progress_of) = watch::channel(Progress::default());
        let (log, log_of) = mpsc::unbounded_channel();
        let (cancel_of, cancel) = watch::channel(false);
        (
            Self {
                prefix: String::new(),
                progress,
                log,
                cancel,
            },
            Observer {
                progress: progress_of,
                log: log_of,
                cancel: cancel_of,
            },
        )
    }

    /// The same operation's work on one of several objects.
    pub(crate) fn part(&self, object: &str) -> Self {
        Self {
            prefix: format!("{object}: "),
            ..self.clone()
        }
    }

    /// The same operation's work on something small, of which it is not shown how far it is.
    pub(crate) fn unshown(&self) -> Self {
        Self {
            progress: watch::Sender::new(Progress::default()),
            ..self.clone()
        }
    }

    /// Tells what is being done from now on.
    pub(crate) fn stage(&self, stage: &str) {
        let stage = format!("{}{stage}", self.prefix);
        self.progress.send_modify(|progress| progress.stage = stage);
    }

    /// Tells how many bytes are through.
    pub(crate) fn bytes(&self, bytes: u64) {
        self.progress.send_modify(|progress| progress.bytes = bytes);
    }

    /// How many bytes are through.
    pub(crate) fn bytes_done(&self) -> u64 {
        self.progress.borrow().bytes
    }

    /// Tells how many bytes there are in all.
    pub(crate) fn total(&self, total: u64) {
        self.progress.send_modify(|progress| progress.total = total);
    }

    /// Adds a line to the operation's log.
    pub(crate) fn log(&self, line: impl std::fmt::Display) {
        // Nobody has to listen.
        self.log
            .send(format!("{}{line}", self.prefix))
            .unwrap_or_default();
    }

    /// Whether the operation is to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Fails once the operation is to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::Cancelled("the operation was cancelled".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Returns when the operation is to stop; never if nobody can cancel it
    /// any more.
    pub(crate) async fn cancelled(&self) {
        let mut cancel = self.cancel.clone();
        if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
