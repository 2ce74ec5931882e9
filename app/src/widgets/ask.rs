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

/// What [`prompt`] asks.
#[derive(Debug)]
pub struct Question<'a> {
    /// What it is about.
    pub heading: &'a str,
    /// What the entry is for.
    pub label: &'a str,
    /// What stands in the entry at first.
    pub text: &'a str,
    /// The answer that goes on.
    pub verb: &'a str,
}

/// Asks for a line of text; calls `then` with one that `check` is content with,
/// whose errors are shown as they are made.
pub fn prompt(
    parent: &impl IsA<gtk::Widget>,
    question: &Question<'_>,
    check: impl Fn(&str) -> Result<(), String> + 'static,
    then: impl FnOnce(String) + 'static,
) {
    let dialog = adw::AlertDialog::new(Some(question.heading), None);
    dialog.add_responses(&[("cancel", &tr("_Cancel")), ("yes", question.verb)]);
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    dialog.set_response_enabled("yes", false);
    dialog.set_default_response(Some("yes"));
    dialog.set_close_response("cancel");
    let entry = adw::EntryRow::builder()
        .title(question.label)
        .text(question.text)
        .activates_default(true)
        .build();
    let list = gtk::ListBox::builder()
        .selection_mode(gtk::SelectionMode::None)
        .css_classes(["boxed-list"])
        .build();
    list.append(&entry);
    dialog.set_extra_child(Some(&list));
    let (first, shown) = (question.text.to_owned(), dialog.downgrade());
    entry.connect_changed(move |entry| {
        let Some(dialog) = shown.upgrade() else {
            return;
        };
        let text = entry.text();
        // Neither what stands there already nor nothing is wrong.
        let verdict = match text.as_str() {
            "" => Err(String::new()),
            text if text == first => Err(String::new()),
            text => check(text),
        };
        dialog.set_response_enabled("yes", verdict.is_ok());
        dialog.set_body(&verdict.err().unwrap_or_default());
    });
    dialog.set_focus(Some(&entry));
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if answer == "yes" {
            then(entry.text().into());
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
