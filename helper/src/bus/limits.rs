//! How much of the helper one user may take up. Root is not limited.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use gantry_api::{Error, Result};

use super::lock;

/// What is counted for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Method calls that have not been answered.
    Call,
    /// Questions to polkit that may show a dialog.
    Dialog,
    /// Jobs that run.
    Job,
    /// Sessions that are open.
    Session,
}

impl Kind {
    const fn limit(self) -> usize {
        match self {
            Self::Call => 100,
            Self::Dialog => 4,
            Self::Job => 16,
            Self::Session => 64,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Call => "calls are waiting for their answer",
            Self::Dialog => "requests are waiting for your password",
            Self::Job => "jobs of yours are running",
            Self::Session => "sessions of yours are open",
        }
    }
}

/// The counts of every user.
#[derive(Clone, Default)]
pub(super) struct Limits {
    counts: Arc<Mutex<HashMap<(u32, Kind), usize>>>,
}

/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(10);

impl Limits {
    /// Returns once nobody has one of this kind.
    pub(super) async fn none_held(&self, kind: Kind) {
        while lock(&self.counts).keys().any(|(_, held)| *held == kind) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Counts one more until the result is dropped.
    ///
    /// # Errors
    /// `QuotaExceeded` at the limit.
    pub(super) fn hold(&self, uid: u32, kind: Kind) -> Result<Hold> {
        let mut counts = lock(&self.counts);
        let count = counts.entry((uid, kind)).or_default();
        if uid != 0 && *count >= kind.limit() {
            return Err(Error::QuotaExceeded(format!(
                "{} {}, which is the limit; wait for one to end or end one",
                kind.limit(),
                kind.words()
            )));
        }
        *count += 1;
        Ok(Hold {
            counts: self.counts.clone(),
            key: (uid, kind),
        })
    }
}

/// One that counts.
pub(super) struct Hold {
    counts: Arc<Mutex<HashMap<(u32, Kind), usize>>>,
    key: (u32, Kind),
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_limited_one_by_one_and_root_is_not() {
        let limits = Limits::default();
        let mut held: Vec<_> = (0..16)
            .map(|_| limits.hold(1000, Kind::Job).unwrap())
            .collect();
        assert!(matches!(
            limits.hold(1000, Kind::Job),
            Err(Error::QuotaExceeded(_))
        ));
        assert!(limits.hold(1000, Kind::Session).is_ok());
        assert!(limits.hold(1001, Kind::Job).is_ok());
        held.pop();
        held.push(limits.hold(1000, Kind::Job).unwrap());
        assert!(limits.hold(1000, Kind::Job).is_err());
        drop(held);
        assert!(lock(&limits.counts).is_empty());
        assert!(
            (0..100)
                .map(|_| limits.hold(0, Kind::Job))
                .collect::<Vec<_>>()
                .iter()
                .all(Result::is_ok)
        );
    }
}
