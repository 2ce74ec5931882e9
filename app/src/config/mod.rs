//! The editor of a configuration file, as it is on the disk: a container's, or that
//! which new ones begin with.

mod convert;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::Error;
use gtk::gio;
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, ConfigFile, Container, Problem, fault_line},
    known::{Known, report},
    text::{tr, tr_name},
    widgets::{States, ask, install_actions},
};

/// The text on the disk that the changes are based on.
#[derive(Debug)]
pub struct Saved {
    text: String,
    revision: u64,
}

/// The dialog's state.
#[derive(Debug)]
pub struct ConfigDialog {
    backend: Backend,
    file: ConfigFile,
    /// How the helper's errors name the file, at the end.
    file_name: String,
    /// Whether it has keys that only LXC of old knows.
    legacy: bool,
    saved: Known<Saved>,
    /// It is being written.
    saving: bool,
    fault: String,
}

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Read the text, in place of what was typed.
    Load,
    /// Something was typed.
    Edited,
    /// Write it.
    Save,
    /// Write it over what somebody else has written.
    Overwrite,
    /// Ask whether to write the keys of old as those of today.
    AskConvert,
    /// Write them.
    Convert,
    /// Write the text that was there before that.
    Undo(String),
    /// Close the dialog, if nothing is lost by it.
    Close,
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The text, or what went wrong.
    Loaded(gantry_api::Result<Saved>),
    /// The text was written, or was not.
    Saved(gantry_api::Result<()>),
    /// What would be converted, or what went wrong.
    WouldConvert(gantry_api::Result<Vec<String>>),
    /// The text of before, and what was converted or what went wrong.
    Converted(String, gantry_api::Result<Vec<String>>),
    /// The text of before is there again, or is not.
    Undone(String, gantry_api::Result<()>),
}

impl Component for ConfigDialog {
    /// Without a container it is about the defaults.
    type Init = (Backend, Option<Container>);
    type Input = Message;
    type Output = ();
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        States::ensure_type();
        Root::default()
    }

    fn init(
        (backend, container): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let (title, file, file_name) = match &container {
            Some(container) => (
                tr_name("Configuration of “{name}”", &container.name),
                ConfigFile::Container(container.path.clone()),
                format!("/{}/config", container.name),
            ),
            None => (
                tr("Defaults for New Containers"),
                ConfigFile::Defaults,
                "/default.conf".to_owned(),
            ),
        };
        root.set_title(&title);
        let model = Self {
            backend,
            file,
            file_name,
            legacy: container.is_some_and(|container| container.legacy_config),
            saved: Known::Nothing,
            saving: false,
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
                self.saved = Known::Nothing;
                let (backend, file) = (self.backend.clone(), self.file.clone());
                sender.oneshot_command(async move {
                    let saved = backend.config(&file).await;
                    Answer::Loaded(saved.map(|(text, revision)| Saved { text, revision }))
                });
            }
            Message::Edited => self.fault.clear(),
            Message::Save => self.save(false, &sender, root),
            Message::Overwrite => self.save(true, &sender, root),
            Message::AskConvert => self.ask_convert(&sender),
            Message::Convert => self.convert(&sender),
            Message::Undo(before) => self.undo(before, &sender),
            Message::Close => self.close(root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(result) => {
                if let Ok(saved) = &result {
                    show(&root.imp().text, &saved.text);
                    self.fault.clear();
                }
                self.saved
                    .take_in(&tr("The Configuration Could Not Be Read"), result);
            }
            Answer::Saved(Ok(())) => root.force_close(),
            Answer::Saved(Err(error)) => {
                self.saving = false;
                self.not_saved(&error, &sender, root);
            }
            Answer::WouldConvert(result) => self.would_convert(result, &sender, root),
            Answer::Converted(before, result) => self.converted(before, result, &sender, root),
            Answer::Undone(before, result) => self.undone(before, result, &sender, root),
        }
        self.render(root);
    }
}

impl ConfigDialog {
    /// Writes the text, `over` what somebody else has written or only when nobody has.
    fn save(&mut self, over: bool, sender: &ComponentSender<Self>, root: &Root) {
        let (Some(saved), false) = (self.saved.there(), self.saving) else {
            return;
        };
        let (text, revision) = (text(root), saved.revision);
        let (backend, file) = (self.backend.clone(), self.file.clone());
        self.saving = true;
        sender.oneshot_command(async move {
            let revision = match over {
                true => backend.config(&file).await.map(|(_, newest)| newest),
                false => Ok(revision),
            };
            Answer::Saved(match revision {
                Ok(revision) => backend.set_config(&file, &text, revision).await,
                Err(error) => Err(error),
            })
        });
    }

    fn not_saved(&mut self, error: &Error, sender: &ComponentSender<Self>, root: &Root) {
        match error {
            Error::InvalidConfig(message) => {
                self.fault = message.lines().next().unwrap_or_default().to_owned();
                if let Some(line) = fault_line(message, &self.file_name) {
                    select_line(&root.imp().text, line);
                }
            }
            Error::Conflict(_) => conflict(root, sender),
            error => {
                let heading = tr("The Configuration Could Not Be Saved");
                if let Some(problem) = Problem::from_error(&heading, error) {
                    report(root, &problem, None);
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
        self.saved
            .there()
            .is_some_and(|saved| saved.text != text(root))
    }

    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        let changed = self.is_changed(root);
        root.set_can_close(!changed);
        parts.save_button.set_sensitive(changed && !self.saving);
        parts.text.set_editable(!self.saving);
        parts.fault.set_title(&self.fault);
        parts.fault.set_revealed(!self.fault.is_empty());
        // What is converted is the text on the disk.
        let legacy = self.legacy && self.saved.there().is_some();
        parts.legacy.set_revealed(legacy && !changed);
        // An empty text can be written in as any other.
        self.saved.show_in(&parts.states, |_| false);
    }
}

/// Shows a text, which cannot be undone to the one before.
fn show(view: &gtk::TextView, text: &str) {
    let buffer = view.buffer();
    buffer.begin_irreversible_action();
    buffer.set_text(text);
    buffer.end_irreversible_action();
    buffer.place_cursor(&buffer.start_iter());
    view.grab_focus();
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
    let actions = [
        ("save", Message::Save),
        ("load", Message::Load),
        ("convert", Message::AskConvert),
    ];
    install_actions(root, "config", input, actions);
    let edited = send(|| Message::Edited);
    parts.text.buffer().connect_changed(move |_| edited());
    let close = send(|| Message::Close);
    parts.close_button.connect_clicked(move |_| close());
    let close = send(|| Message::Close);
    root.connect_close_attempt(move |_| close());
}
