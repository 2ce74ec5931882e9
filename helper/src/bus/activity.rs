//! Whether anybody still needs the helper.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// Counts what keeps the helper alive: clients on the bus, jobs, sessions.
#[derive(Clone)]
pub(super) struct Activity {
    count: watch::Sender<usize>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            count: watch::Sender::new(0),
        }
    }

    /// Keeps the helper alive until the result is dropped.
    pub(super) fn hold(&self) -> Active {
        self.count.send_modify(|count| *count += 1);
        Active {
            count: self.count.clone(),
        }
    }

    /// Returns once nothing was held for as long as `patience`.
    pub(super) async fn idle(&self, patience: Duration) {
        let mut count = self.count.subscribe();
        loop {
            // `self` holds a sender, so that neither wait can fail.
            if count.wait_for(|count| *count == 0).await.is_err()
                || timeout(patience, count.changed()).await.is_err()
            {
                return;
            }
        }
    }

    /// Whether something is held just now.
    pub(super) fn is_held(&self) -> bool {
        *self.count.borrow() > 0
    }
}

/// Something that keeps the helper alive.
pub(super) struct Active {
    count: watch::Sender<usize>,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_waits_for_everybody_and_starts_again() {
        let activity = Activity::new();
        let held = activity.hold();
        let idle = |activity: &Activity| {
            let activity = activity.clone();
            async move {
                timeout(
                    Duration::from_millis(300),
                    activity.idle(Duration::from_millis(40)),
                )
                .await
            }
        };
        assert!(idle(&activity).await.is_err(), "a client is there");
        let waiting = tokio::spawn(idle(&activity));
        drop(held);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let again = activity.hold();
        assert!(
            waiting.await.unwrap().is_err(),
            "the next client came in time"
        );
        drop(again);
        assert!(idle(&activity).await.is_ok());
    }
}
