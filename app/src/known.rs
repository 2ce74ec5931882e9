//! What is known of something that the helper is asked for, and telling what is not.

use gantry_api::{Error, Result};
use relm4::{
    Component, ComponentSender,
    gtk::{self, prelude::IsA},
};

use crate::{
    backend::Problem,
    text::tr,
    widgets::{States, ask},
};

/// How far a view is with what it shows.
#[derive(Debug, Default)]
pub enum Known<T> {
    /// It is on its way.
    #[default]
    Nothing,
    /// The helper has told it.
    There(T),
    /// Why it cannot be shown.
    Problem(Problem),
}

impl<T> Known<T> {
    /// What the helper has told, if it has.
    #[must_use]
    pub fn there(&self) -> Option<&T> {
        match self {
            Self::There(value) => Some(value),
            Self::Nothing | Self::Problem(_) => None,
        }
    }

    /// Takes the helper's answer in. A user who gives no password keeps what was
    /// shown before, and is told why when that was nothing.
    pub fn take_in(&mut self, heading: &str, answer: Result<T>) {
        match answer {
            Ok(value) => *self = Self::There(value),
            Err(error) => match Problem::from_error(heading, &error) {
                Some(problem) => *self = Self::Problem(problem),
                None if matches!(self, Self::Nothing) => {
                    let cause = match error {
                        Error::Cancelled(_) => tr("It was cancelled."),
                        _ => tr("You have not given the password that this needs."),
                    };
                    *self = Self::Problem(Problem {
                        heading: heading.to_owned(),
                        cause,
                        name: String::new(),
                        details: String::new(),
                    });
                }
                None => (),
            },
        }
    }

    /// Shows how far it is; a value that is `empty` has its own words.
    pub fn show_in(&self, states: &States, empty: impl FnOnce(&T) -> bool) {
        match self {
            Self::Nothing => states.show_loading(),
            Self::There(value) if empty(value) => states.show_empty(),
            Self::There(_) => states.show_content(),
            Self::Problem(problem) => states.show_problem(&problem.heading, &problem.cause),
        }
    }
}

/// Tells of a problem in a dialog, with a way to try again where there is one.
pub fn report(parent: &impl IsA<gtk::Widget>, problem: &Problem, retry: Option<Box<dyn FnOnce()>>) {
    let report = ask::Report {
        heading: &problem.heading,
        cause: &problem.cause,
        name: &problem.name,
        details: &problem.details,
    };
    ask::report(parent, &report, retry);
}

/// The same of an error, where the way to try again is a message; nothing is told of what
/// the user has closed or cancelled.
pub fn report_error<M: 'static>(
    parent: &impl IsA<gtk::Widget>,
    (heading, error): (&str, &Error),
    again: M,
    to: &relm4::Sender<M>,
) {
    if let Some(problem) = Problem::from_error(heading, error) {
        let to = to.clone();
        report(parent, &problem, Some(Box::new(move || to.emit(again))));
    }
}

/// What was asked for is done, or is not and can be tried again.
#[derive(Debug)]
pub struct Done<M> {
    failure: String,
    again: M,
    result: Result<()>,
}

impl<M: Send + 'static> Done<M> {
    /// Has a component's call done, whose answer this is; where it fails, what did not
    /// happen is told with the way to try again.
    pub fn ask<C>(
        sender: &ComponentSender<C>,
        (failure, again): (String, M),
        call: impl Future<Output = Result<()>> + Send + 'static,
    ) where
        C: Component<Input = M>,
        C::CommandOutput: From<Self>,
    {
        sender.oneshot_command(async move {
            let result = call.await;
            C::CommandOutput::from(Self {
                failure,
                again,
                result,
            })
        });
    }

    /// Tells what went wrong, if anything did.
    pub fn tell(self, parent: &impl IsA<gtk::Widget>, to: &relm4::Sender<M>) {
        if let Err(error) = self.result {
            report_error(parent, (&self.failure, &error), self.again, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_not_given_costs_nothing_that_was_shown() {
        let dismissed = || Err(Error::AuthorizationDismissed("closed".into()));
        let mut known = Known::There(1);
        known.take_in("x", dismissed());
        assert_eq!(known.there(), Some(&1));
        let mut known = Known::<u8>::Nothing;
        known.take_in("Not Read", dismissed());
        assert!(matches!(known, Known::Problem(problem) if problem.heading == "Not Read"));
    }
}
