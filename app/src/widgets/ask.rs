//! Dialogs that ask one thing.

use std::{cell::RefCell, fmt, rc::Rc};

use adw::prelude::*;
use gtk::pango;
use relm4::{adw, gtk};

use super::choices::chosen;
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
    let field = Field::Text {
        label: question.label,
        text: question.text,
    };
    let first = question.text.to_owned();
    let check = move |values: &[String]| match values {
        // Neither what stands there already nor nothing is wrong.
        [text] if !text.is_empty() && *text != first => check(text),
        _ => Err(String::new()),
    };
    let asked = Form {
        heading: question.heading,
        fields: &[field],
        verb: question.verb,
        ..Form::default()
    };
    form(parent, &asked, check, move |mut values| {
        then(values.pop().unwrap_or_default());
    });
}

/// A line of a [`form`].
#[derive(Debug)]
pub enum Field<'a> {
    /// Something to type.
    Text {
        /// What it is for.
        label: &'a str,
        /// What stands there at first.
        text: &'a str,
    },
    /// One of several things.
    Choice {
        /// What it is for.
        label: &'a str,
        /// Each with the words for it.
        options: &'a [(String, String)],
    },
    /// Yes or no: `true` or nothing.
    Switch {
        /// What it is for.
        label: &'a str,
        /// Whether it is on at first.
        on: bool,
    },
}

/// What [`form`] asks.
#[derive(Debug, Default)]
pub struct Form<'a> {
    /// What it is about.
    pub heading: &'a str,
    /// What there is to know before; may be empty.
    pub body: &'a str,
    /// What is asked for.
    pub fields: &'a [Field<'a>],
    /// The answer that goes on.
    pub verb: &'a str,
}

/// A form that is shown.
pub struct Asked(Box<dyn Fn(&str)>);

impl Asked {
    /// Says this in place of the body.
    pub fn say(&self, body: &str) {
        (self.0)(body);
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Asked")
    }
}

/// Asks for several things; calls `then` with all of them when the answer is the verb,
/// which `check` has to allow: its errors are shown as they are made, in place of the
/// body, and one without words is none yet. What is given back says another body.
pub fn form(
    parent: &impl IsA<gtk::Widget>,
    form: &Form<'_>,
    check: impl Fn(&[String]) -> Result<(), String> + 'static,
    then: impl FnOnce(Vec<String>) + 'static,
) -> Asked {
    let dialog = adw::AlertDialog::new(Some(form.heading), None);
    dialog.add_responses(&[("cancel", &tr("_Cancel")), ("yes", form.verb)]);
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    dialog.set_default_response(Some("yes"));
    dialog.set_close_response("cancel");
    let list = gtk::ListBox::builder()
        .selection_mode(gtk::SelectionMode::None)
        .css_classes(["boxed-list"])
        .build();
    let rows: Rc<Vec<Row>> = Rc::new(form.fields.iter().map(Row::new).collect());
    let body = Rc::new(RefCell::new(form.body.to_owned()));
    let (shown, known) = (dialog.downgrade(), Rc::clone(&body));
    let verify = Rc::new({
        let rows = Rc::downgrade(&rows);
        move || {
            if let (Some(dialog), Some(rows)) = (shown.upgrade(), rows.upgrade()) {
                let verdict = check(&values(&rows));
                dialog.set_response_enabled("yes", verdict.is_ok());
                let said = verdict.err().filter(|said| !said.is_empty());
                dialog.set_body(said.as_ref().unwrap_or(&known.borrow()));
            }
        }
    });
    for row in rows.iter() {
        list.append(row.widget());
        let verify = Rc::clone(&verify);
        row.connect_changed(move || verify());
    }
    verify();
    let say = move |text: &str| {
        body.replace(text.to_owned());
        verify();
    };
    dialog.set_extra_child(Some(&list));
    dialog.set_focus(rows.first().map(Row::widget));
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if answer == "yes" {
            then(values(&rows));
        }
    });
    Asked(Box::new(say))
}

/// The widget of a field.
enum Row {
    Text(adw::EntryRow),
    Choice(adw::ComboRow, Vec<String>),
    Switch(adw::SwitchRow),
}

impl Row {
    fn new(field: &Field<'_>) -> Self {
        match field {
            Field::Text { label, text } => Self::Text(
                adw::EntryRow::builder()
                    .title(*label)
                    .text(*text)
                    .activates_default(true)
                    .build(),
            ),
            Field::Choice { label, options } => {
                let words: Vec<&str> = options.iter().map(|(_, words)| words.as_str()).collect();
                let row = adw::ComboRow::builder()
                    .title(*label)
                    .model(&gtk::StringList::new(&words))
                    .build();
                Self::Choice(
                    row,
                    options.iter().map(|(value, _)| value.clone()).collect(),
                )
            }
            Field::Switch { label, on } => {
                Self::Switch(adw::SwitchRow::builder().title(*label).active(*on).build())
            }
        }
    }

    fn widget(&self) -> &gtk::Widget {
        match self {
            Self::Text(row) => row.upcast_ref(),
            Self::Choice(row, _) => row.upcast_ref(),
            Self::Switch(row) => row.upcast_ref(),
        }
    }

    fn value(&self) -> String {
        match self {
            Self::Text(row) => row.text().into(),
            Self::Choice(row, options) => chosen(row, options).cloned().unwrap_or_default(),
            Self::Switch(row) => match row.is_active() {
                true => "true".to_owned(),
                false => String::new(),
            },
        }
    }

    fn connect_changed(&self, call: impl Fn() + 'static) {
        match self {
            Self::Text(row) => {
                row.connect_changed(move |_| call());
            }
            Self::Choice(row, _) => {
                row.connect_selected_notify(move |_| call());
            }
            Self::Switch(row) => {
                row.connect_active_notify(move |_| call());
            }
        }
    }
}

fn values(rows: &[Row]) -> Vec<String> {
    rows.iter().map(Row::value).collect()
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

/// Tells something, with all that there is to say about it.
pub fn tell(parent: &impl IsA<gtk::Widget>, heading: &str, body: &str, lines: &str) {
    let dialog = adw::AlertDialog::new(Some(heading), Some(body));
    dialog.set_extra_child(Some(&small_print(lines, false)));
    dialog.add_response("close", &tr("_Close"));
    dialog.set_default_response(Some("close"));
    dialog.set_close_response("close");
    dialog.present(Some(parent));
}

/// Asks before something is done, which is told line by line; calls `then` when the
/// answer is `verb`.
pub fn preview(
    parent: &impl IsA<gtk::Widget>,
    (heading, body): (&str, &str),
    lines: &str,
    verb: &str,
    then: impl FnOnce() + 'static,
) {
    let dialog = adw::AlertDialog::new(Some(heading), Some(body));
    dialog.set_extra_child(Some(&small_print(lines, false)));
    dialog.add_responses(&[("cancel", &tr("_Cancel")), ("yes", verb)]);
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    dialog.set_default_response(Some("yes"));
    dialog.set_close_response("cancel");
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if answer == "yes" {
            then();
        }
    });
}

/// Tells what was done, line by line; calls `undo` when that is not wanted.
pub fn tell_done(
    parent: &impl IsA<gtk::Widget>,
    heading: &str,
    lines: &str,
    undo: impl FnOnce() + 'static,
) {
    let dialog = adw::AlertDialog::new(Some(heading), None);
    // One that can be selected would take the focus, and select itself, at once.
    dialog.set_extra_child(Some(&small_print(lines, false)));
    dialog.add_responses(&[("undo", &tr("_Undo")), ("close", &tr("_Close"))]);
    dialog.set_default_response(Some("close"));
    dialog.set_close_response("close");
    dialog.choose(Some(parent), gtk::gio::Cancellable::NONE, move |answer| {
        if answer == "undo" {
            undo();
        }
    });
}

fn expander(details: &str) -> gtk::Expander {
    gtk::Expander::builder()
        .label(tr("_Details"))
        .use_underline(true)
        .child(&small_print(details, true))
        .build()
}

fn small_print(details: &str, selectable: bool) -> gtk::ScrolledWindow {
    let text = gtk::Label::builder()
        .label(details)
        .selectable(selectable)
        .wrap(true)
        .wrap_mode(pango::WrapMode::WordChar)
        .xalign(0.0)
        .css_classes(["monospace", "caption"])
        .build();
    gtk::ScrolledWindow::builder()
        .child(&text)
        .hscrollbar_policy(gtk::PolicyType::Never)
        .propagate_natural_height(true)
        .max_content_height(240)
        .margin_top(6)
        .build()
}
