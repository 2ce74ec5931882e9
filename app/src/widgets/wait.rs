//! A dialog whose question answers itself after a while.

use std::{cell::Cell, fmt, rc::Rc};

use adw::prelude::*;
use gtk::glib;
use relm4::{adw, gtk};

/// What [`wait`] asks.
#[derive(Debug)]
pub struct Wait<'a> {
    /// What it is about.
    pub heading: &'a str,
    /// For how long it is asked.
    pub seconds: u32,
    /// The answer that also Escape gives, and the button with the focus.
    pub no: &'a str,
    /// The other one.
    pub yes: &'a str,
}

/// A question that is shown; it goes, unanswered, with this.
pub struct Waiting {
    dialog: glib::WeakRef<adw::AlertDialog>,
    over: Rc<Cell<bool>>,
    left: Rc<Cell<u32>>,
}

impl Waiting {
    /// For how many seconds more an answer is waited for.
    #[must_use]
    pub fn seconds_left(&self) -> u32 {
        self.left.get()
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Waiting")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over.replace(true)
            && let Some(dialog) = self.dialog.upgrade()
        {
            dialog.force_close();
        }
    }
}

/// Asks yes or no for some seconds, of which `body` says how many are left; calls `then`
/// with the answer, if there is one in time.
pub fn wait(
    parent: &impl IsA<gtk::Widget>,
    asked: &Wait<'_>,
    body: impl Fn(u32) -> String + 'static,
    then: impl FnOnce(bool) + 'static,
) -> Waiting {
    let dialog = adw::AlertDialog::new(Some(asked.heading), Some(&body(asked.seconds)));
    dialog.add_responses(&[("no", asked.no), ("yes", asked.yes)]);
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    // Whoever types on has not read it.
    dialog.set_default_response(Some("no"));
    dialog.set_close_response("no");
    let waiting = Waiting {
        dialog: dialog.downgrade(),
        over: Rc::default(),
        left: Rc::new(Cell::new(asked.seconds)),
    };
    let shown = waiting.dialog.clone();
    let (left, over) = (Rc::clone(&waiting.left), Rc::clone(&waiting.over));
    glib::timeout_add_seconds_local(1, move || {
        let Some(dialog) = shown.upgrade().filter(|_| !over.get()) else {
            return glib::ControlFlow::Break;
        };
        left.set(left.get().saturating_sub(1));
        if left.get() > 0 {
            dialog.set_body(&body(left.get()));
            return glib::ControlFlow::Continue;
        }
        over.set(true);
        dialog.force_close();
        glib::ControlFlow::Break
    });
    let over = Rc::clone(&waiting.over);
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if !over.replace(true) {
            then(answer == "yes");
        }
    });
    waiting
}
