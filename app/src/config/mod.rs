//! The editor of a container's configuration file, as it is on the disk.

mod root;

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::Error;
use gtk::{gio, glib};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, Container, Problem, fault_line},
    text::{tr, tr_name},
    widgets::ask,
};

/// How far the dialog is.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The text is on its way.
    Loading,
    /// It could not be read.
    Failed(Problem),
    /// It can be changed.
    Editing,
    /// It is being written.
    Saving,
}

/// The dialog's state.
#[derive(Debug)]
pub struct ConfigDialog {
    backend: Backend,
    container: Container,
    step: Step,
    /// The text on the disk that the changes are based on, and its revision.
    saved: String,
    revision: u64,
    fault: String,
}

/// What the user wants.
#[derive(Debug)]
pub enum Message {
    /// Read the text, in place of what was typed.
    Load,
    /// Something was typed.
    Edited,
    /// Write it.
    Save,
    /// Write it over what somebody else has written.
    Overwrite,
    /// Close the dialog, if nothing is lost by it.
    Close,
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The text and its revision.
    Loaded(gantry_api::Result<(String, u64)>),
    /// The text was written, or was not.
    Saved(String, gantry_api::Result<()>),
}

impl Component for ConfigDialog {
    type Init = (Backend, Container);
    type Input = Message;
    type Output = ();
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        Root::default()
    }

    fn init(
        (backend, container): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        root.set_title(&tr_name("Configuration of “{name}”", &container.name));
        let model = Self {
            backend,
            container,
            step: Step::Loading,
            saved: String::new(),
            revision: 0,
            fault: String::new(),
        };
        connect(&root, &sender);
        sender.input(Message::Load);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Load => {
                self.step = Step::Loading;
                let (backend, path) = (self.backend.clone(), self.container.path.clone());
                sender.oneshot_command(async move { Answer::Loaded(backend.config(&path).await) });
            }
            Message::Edited => self.fault.clear(),
            Message::Save => self.save(self.revision, text(root), &sender),
            Message::Overwrite => self.overwrite(text(root), &sender),
            Message::Close => self.close(root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(Ok((text, revision))) => {
                self.step = Step::Editing;
                self.revision = revision;
                let buffer = root.imp().text.buffer();
                buffer.begin_irreversible_action();
                buffer.set_text(&text);
                buffer.end_irreversible_action();
                buffer.place_cursor(&buffer.start_iter());
                self.saved = text;
                self.fault.clear();
                root.imp().text.grab_focus();
            }
            Answer::Loaded(Err(error)) => {
                let heading = tr("The Configuration Could Not Be Read");
                match Problem::from_error(&heading, &error) {
                    Some(problem) => self.step = Step::Failed(problem),
                    None => root.force_close(),
                }
            }
            Answer::Saved(text, Ok(())) => {
                self.saved = text;
                root.force_close();
            }
            Answer::Saved(_, Err(error)) => {
                self.step = Step::Editing;
                self.not_saved(&error, &sender, root);
            }
        }
        self.render(root);
    }
}

impl ConfigDialog {
    fn save(&mut self, revision: u64, text: String, sender: &ComponentSender<Self>) {
        if self.step != Step::Editing {
            return;
        }
        self.step = Step::Saving;
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move {
            let result = backend.set_config(&path, &text, revision).await;
            Answer::Saved(text, result)
        });
    }

    /// As [`Self::save`], on the revision that is there now.
    fn overwrite(&mut self, text: String, sender: &ComponentSender<Self>) {
        self.step = Step::Saving;
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move {
            let result = match backend.config(&path).await {
                Ok((_, revision)) => backend.set_config(&path, &text, revision).await,
                Err(error) => Err(error),
            };
            Answer::Saved(text, result)
        });
    }

    fn not_saved(&mut self, error: &Error, sender: &ComponentSender<Self>, root: &Root) {
        match error {
            Error::InvalidConfig(message) => {
                self.fault = message.lines().next().unwrap_or_default().to_owned();
                if let Some(line) = fault_line(message, &self.container.name) {
                    select_line(&root.imp().text, line);
                }
            }
            Error::Conflict(_) => conflict(root, sender),
            error => {
                let heading = tr("The Configuration Could Not Be Saved");
                if let Some(problem) = Problem::from_error(&heading, error) {
                    let report = ask::Report {
                        heading: &problem.heading,
                        cause: &problem.cause,
                        name: &problem.name,
                        details: &problem.details,
                    };
                    ask::report(root, &report, None);
                }
            }
        }
    }

    fn close(&self, root: &Root) {
        if !self.is_changed(root) {
            root.force_close();
            return;
        }
        let dialog = root.clone();
        let heading = tr("Discard the Changes?");
        let body = tr("What you have changed in the configuration is lost.");
        ask::confirm(root, &heading, &body, &tr("_Discard"), move || {
            dialog.force_close();
        });
    }

    fn is_changed(&self, root: &Root) -> bool {
        matches!(self.step, Step::Editing | Step::Saving) && text(root) != self.saved
    }

    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        let changed = self.is_changed(root);
        root.set_can_close(!changed);
        parts
            .save_button
            .set_sensitive(changed && self.step == Step::Editing);
        parts.text.set_editable(self.step == Step::Editing);
        parts.fault.set_title(&self.fault);
        parts.fault.set_revealed(!self.fault.is_empty());
        parts.stack.set_visible_child_name(match &self.step {
            Step::Loading => "loading",
            Step::Failed(_) => "problem",
            Step::Editing | Step::Saving => "text",
        });
        if let Step::Failed(problem) = &self.step {
            parts.problem.set_title(&problem.heading);
            parts.problem.set_description(Some(&problem.cause));
        }
    }
}

fn text(root: &Root) -> String {
    let buffer = root.imp().text.buffer();
    let (start, end) = buffer.bounds();
    buffer.text(&start, &end, true).into()
}

/// Selects a line, from 1, and brings it into sight.
fn select_line(view: &gtk::TextView, line: u32) {
    let buffer = view.buffer();
    let line = i32::try_from(line).unwrap_or(i32::MAX).saturating_sub(1);
    if let Some(start) = buffer.iter_at_line(line) {
        let mut end = start;
        if !end.ends_line() {
            end.forward_to_line_end();
        }
        buffer.select_range(&start, &end);
        let mut at = start;
        view.scroll_to_iter(&mut at, 0.1, false, 0.0, 0.0);
        view.grab_focus();
    }
}

/// Somebody else has written the file meanwhile: whose text is it to be?
fn conflict(root: &Root, sender: &ComponentSender<ConfigDialog>) {
    let dialog = adw::AlertDialog::new(
        Some(&tr("The Configuration Has Been Changed Meanwhile")),
        Some(&tr(
            "Somebody else has saved another text since you opened it. Yours can take its place, or you can load it and lose yours.",
        )),
    );
    dialog.add_responses(&[
        ("cancel", &tr("_Cancel")),
        ("load", &tr("_Load Theirs")),
        ("overwrite", &tr("_Overwrite")),
    ]);
    dialog.set_response_appearance("load", adw::ResponseAppearance::Destructive);
    dialog.set_response_appearance("overwrite", adw::ResponseAppearance::Destructive);
    dialog.set_default_response(Some("cancel"));
    dialog.set_close_response("cancel");
    let input = sender.input_sender().clone();
    dialog.choose(
        Some(root),
        gio::Cancellable::NONE,
        move |answer| match answer.as_str() {
            "load" => input.emit(Message::Load),
            "overwrite" => input.emit(Message::Overwrite),
            _ => (),
        },
    );
}

fn connect(root: &Root, sender: &ComponentSender<ConfigDialog>) {
    let parts = root.imp();
    let input = sender.input_sender();
    let send = |message: fn() -> Message| {
        let input = input.clone();
        move || input.emit(message())
    };
    let actions = gio::SimpleActionGroup::new();
    for (name, message) in [
        ("save", send(|| Message::Save)),
        ("load", send(|| Message::Load)),
    ] {
        let action = gio::SimpleAction::new(name, None);
        action.connect_activate(move |_, _: Option<&glib::Variant>| message());
        actions.add_action(&action);
    }
    root.insert_action_group("config", Some(&actions));
    let edited = send(|| Message::Edited);
    parts.text.buffer().connect_changed(move |_| edited());
    let close = send(|| Message::Close);
    parts.close_button.connect_clicked(move |_| close());
    let close = send(|| Message::Close);
    root.connect_close_attempt(move |_| close());
}
