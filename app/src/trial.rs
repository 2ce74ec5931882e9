//! Changes by which this computer may have been cut off from others: they are taken back
//! unless somebody confirms in time that it was not.

use relm4::gtk::{self, prelude::IsA};

use crate::{
    backend::Problem,
    known::report,
    text::{count, tr, tr_name},
    widgets::wait::{self, Wait, Waiting},
};

/// What is said before such a change of an interface.
#[must_use]
pub fn warning(interface: &str) -> String {
    tr_name(
        "This computer reaches others by “{name}”: unless somebody confirms within 20 seconds that it still can, all is as before.",
        interface,
    )
}

/// A question whether the change of an interface is to stay; it goes with this.
#[derive(Debug)]
pub struct Question {
    interface: String,
    waiting: Waiting,
}

impl Question {
    /// The change is not on trial any more, and the question was not answered here: tells
    /// that it was taken back, if time was over.
    pub fn end(self, parent: &impl IsA<gtk::Widget>) {
        // Clocks differ a little; somebody else who answers is earlier.
        if self.waiting.seconds_left() > 1 {
            return;
        }
        let problem = Problem {
            heading: tr_name("The Change of “{name}” Was Taken Back", &self.interface),
            cause: tr("Nobody has confirmed in time that this computer can still be reached."),
            name: String::new(),
            details: String::new(),
        };
        report(parent, &problem, None);
    }
}

/// Asks whether the change of an interface is to stay, for so many seconds; calls `then`
/// with the answer.
pub fn ask(
    parent: &impl IsA<gtk::Widget>,
    interface: &str,
    seconds: u32,
    then: impl FnOnce(bool) + 'static,
) -> Question {
    let heading = tr_name("Keep the Change of “{name}”?", interface);
    let body = |seconds: u32| {
        let within = count(
            usize::try_from(seconds).unwrap_or(usize::MAX),
            "It is taken back in {n} second.",
            "It is taken back in {n} seconds.",
        );
        let first = tr("This computer may not be reached any more from outside.");
        format!("{first} {within}")
    };
    let asked = Wait {
        heading: &heading,
        seconds,
        no: &tr("_Take Back"),
        yes: &tr("_Keep"),
    };
    Question {
        interface: interface.to_owned(),
        waiting: wait::wait(parent, &asked, body, then),
    }
}
