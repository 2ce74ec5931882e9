//! How errors of system calls become a [`Failure`] that names the step.

use gantry_core::monitor::{Failure, FailureKind};
use std::io;

/// What a step of starting or attaching gives back.
pub(crate) type Step<T> = Result<T, Failure>;

/// A failure of a step. The message is a whole sentence.
pub(crate) fn failure(kind: FailureKind, step: &str, message: impl Into<String>) -> Failure {
    Failure {
        kind,
        step: step.to_owned(),
        message: message.into(),
        log: Vec::new(),
    }
}

/// A failed step that is told in a sentence.
pub(crate) fn failed<T>(kind: FailureKind, step: &str, message: impl Into<String>) -> Step<T> {
    Err(failure(kind, step, message))
}

/// Names the step in which an error happened.
pub(crate) trait At<T> {
    /// The failure's message is `what` (`cannot mount /proc`), then the error.
    fn at(self, step: &str, what: impl FnOnce() -> String) -> Step<T>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: &str, what: impl FnOnce() -> String) -> Step<T> {
        self.map_err(|error| {
            let error = error.into();
            let kind = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT) => FailureKind::NoSpace,
                _ => FailureKind::StartFailed,
            };
            failure(kind, step, format!("{}: {error}.", capitalized(&what())))
        })
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sentences_that_name_the_cause() {
        let error = || io::Error::from_raw_os_error(libc::ENOSPC);
        let failure = Err::<(), _>(error())
            .at("making cgroups", || "cannot make 'x'".to_owned())
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoSpace);
        assert_eq!(failure.message, format!("Cannot make 'x': {}.", error()));
        assert_eq!(failure.step, "making cgroups");
    }
}
