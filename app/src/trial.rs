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

/// Asks whether the change of an interface is to stay, for so many seconds; calls `then`
/// with the answer, or with none when time is over, which is told.
pub fn ask(
    parent: &(impl IsA<gtk::Widget> + Clone),
    interface: &str,
    seconds: u32,
    then: impl Fn(Option<bool>) + 'static,
) -> Waiting {
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
    let (above, name) = (parent.clone(), interface.to_owned());
    wait::wait(parent, &asked, body, move |answer| {
        if answer.is_none() {
            let problem = Problem {
                heading: tr_name("The Change of “{name}” Was Taken Back", &name),
                cause: tr("Nobody has confirmed in time that this computer can still be reached."),
                name: String::new(),
                details: String::new(),
            };
            report(&above, &problem, None);
        }
        then(answer);
    })
}
