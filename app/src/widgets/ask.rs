//! Dialogs that ask one thing.

use adw::prelude::*;
use gtk::pango;
use relm4::{adw, gtk};

use crate::text::tr;

/// Asks before something is lost; calls `then` when the answer is `verb`.
/// Escape and the button with the focus both mean no.
pub fn confirm(
    parent: &impl IsA<gtk::Widget>,
    heading: &str,
    body: &str,
    verb: &str,
    then: impl FnOnce() + 'static,
) {
    let dialog = adw::AlertDialog::new(Some(heading), Some(body));
    dialog.add_responses(&[("cancel", &tr("_Cancel")), ("yes", verb)]);
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Destructive);
    dialog.set_default_response(Some("cancel"));
    dialog.set_close_response("cancel");
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if answer == "yes" {
            then();
        }
    });
}

/// What [`report`] shows.
#[derive(Debug)]
pub struct Report<'a> {
    /// What did not happen.
    pub heading: &'a str,
    /// Why.
    pub cause: &'a str,
    /// A name to look the error up by; may be empty.
    pub name: &'a str,
    /// Everything that is known; may be empty.
    pub details: &'a str,
}

/// Tells that something failed; with a `retry`, offers to try again.
pub fn report(
    parent: &impl IsA<gtk::Widget>,
    report: &Report<'_>,
    retry: Option<Box<dyn FnOnce()>>,
) {
    let dialog = adw::AlertDialog::new(Some(report.heading), Some(report.cause));
    let details = [report.name, report.details]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    if !details.is_empty() {
        dialog.set_extra_child(Some(&expander(&details)));
    }
    dialog.add_response("close", &tr("_Close"));
    dialog.set_default_response(Some("close"));
    dialog.set_close_response("close");
    if retry.is_some() {
        dialog.add_response("retry", &tr("_Try Again"));
        dialog.set_response_appearance("retry", adw::ResponseAppearance::Suggested);
        dialog.set_default_response(Some("retry"));
    }
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if let Some(retry) = retry.filter(|_| answer == "retry") {
            retry();
        }
    });
}

fn expander(details: &str) -> gtk::Expander {
    let text = gtk::Label::builder()
        .label(details)
        .selectable(true)
        .wrap(true)
        .wrap_mode(pango::WrapMode::WordChar)
        .xalign(0.0)
        .css_classes(["monospace", "caption"])
        .build();
    let scrolled = gtk::ScrolledWindow::builder()
        .child(&text)
        .hscrollbar_policy(gtk::PolicyType::Never)
        .propagate_natural_height(true)
        .max_content_height(240)
        .margin_top(6)
        .build();
    gtk::Expander::builder()
        .label(tr("_Details"))
        .use_underline(true)
        .child(&scrolled)
        .build()
}
