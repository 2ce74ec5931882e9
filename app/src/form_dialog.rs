//! Dialogs of what something of the network is to be: a form that is checked as it is
//! typed, and that the helper makes so.

use adw::prelude::*;
use gantry_core::networks::Impossible;
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

use crate::{
    backend::{Backend, HostInterface},
    known::report_error,
    text::tr,
    widgets::{FormFrame, mark_row},
};

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Something in the form has changed.
    Edited,
    /// Ask which interfaces this computer has.
    Load,
    /// Have it so.
    Apply,
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The interfaces that this computer has, or what went wrong.
    Host(gantry_api::Result<Vec<HostInterface>>),
    /// It is so, or what went wrong.
    Applied(gantry_api::Result<()>),
}

/// The rows of a form.
#[derive(Debug)]
pub struct FormRows {
    /// What is typed, each with the name by which a check speaks of it.
    pub entries: Vec<(&'static str, adw::EntryRow)>,
    /// What is chosen.
    pub choices: Vec<adw::ComboRow>,
    /// What is switched on or off.
    pub switches: Vec<adw::SwitchRow>,
}

/// A form that becomes something of the network.
pub trait Form: Sized + 'static {
    /// What it is about.
    type About;
    /// The dialog that it is in.
    type Root: IsA<adw::Dialog> + IsA<gtk::Widget> + Default + Clone + std::fmt::Debug;
    /// What it says.
    type Plan;

    /// The form as it is at first; the dialog shows it.
    fn new(about: Self::About, root: &Self::Root) -> Self;

    /// What is around it.
    fn frame(root: &Self::Root) -> FormFrame;

    /// Its rows.
    fn rows(root: &Self::Root) -> FormRows;

    /// The dialog's title, and the word of the button that goes on.
    fn words(&self) -> (String, String);

    /// Takes in which interfaces this computer has.
    fn offer(&mut self, host: Vec<HostInterface>, root: &Self::Root);

    /// Follows what was typed or chosen, where one row decides what another offers.
    fn follow(&mut self, root: &Self::Root);

    /// What the form says.
    ///
    /// # Errors
    /// The row that is wrong and what to change; without a sentence, it is not filled in yet.
    fn read(&self, root: &Self::Root) -> Result<Self::Plan, Impossible>;

    /// Whether that is another than there is now.
    fn is_new(&self, plan: &Self::Plan) -> bool;

    /// Shows the rows that are asked for, and what is to be known beforehand.
    fn render(&self, root: &Self::Root);

    /// Has the helper make it so.
    fn apply(
        &self,
        backend: Backend,
        plan: Self::Plan,
    ) -> impl Future<Output = gantry_api::Result<()>> + Send + 'static;

    /// What did not happen when that fails.
    fn failure(&self, root: &Self::Root) -> String;
}

/// The state of a dialog with a form.
#[derive(Debug)]
pub struct FormDialog<F> {
    backend: Backend,
    form: F,
    /// The helper has been asked to make it so.
    applying: bool,
}

impl<F: Form> Component for FormDialog<F> {
    type Init = (Backend, F::About);
    type Input = Message;
    type Output = ();
    type CommandOutput = Answer;
    type Root = F::Root;
    type Widgets = ();

    fn init_root() -> F::Root {
        FormFrame::ensure_type();
        F::Root::default()
    }

    fn init(
        (backend, about): Self::Init,
        root: F::Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let form = F::new(about, &root);
        let (title, verb) = form.words();
        let input = sender.input_sender();
        let to = input.clone();
        F::frame(&root).begin(&root, (&title, &verb), move || to.emit(Message::Apply));
        connect(&F::rows(&root), input);
        input.emit(Message::Load);
        let model = Self {
            backend,
            form,
            applying: false,
        };
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &F::Root) {
        match message {
            Message::Edited => self.form.follow(root),
            Message::Load => {
                let backend = self.backend.clone();
                sender
                    .oneshot_command(async move { Answer::Host(backend.host_interfaces().await) });
            }
            Message::Apply => {
                if let (Ok(plan), false) = (self.form.read(root), self.applying) {
                    self.applying = true;
                    let applied = self.form.apply(self.backend.clone(), plan);
                    sender.oneshot_command(async move { Answer::Applied(applied.await) });
                }
            }
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &F::Root) {
        let input = sender.input_sender();
        match answer {
            Answer::Host(Ok(host)) => self.form.offer(host, root),
            Answer::Host(Err(error)) => {
                let heading = tr("This Computer’s Interfaces Could Not Be Listed");
                report_error(root, (&heading, &error), Message::Load, input);
            }
            Answer::Applied(Ok(())) => {
                root.close();
            }
            // What was typed is still there to be changed.
            Answer::Applied(Err(error)) => {
                self.applying = false;
                let heading = self.form.failure(root);
                report_error(root, (&heading, &error), Message::Apply, input);
            }
        }
        self.render(root);
    }
}

impl<F: Form> FormDialog<F> {
    /// Makes the dialog show what the model says.
    fn render(&self, root: &F::Root) {
        self.form.render(root);
        let read = self.form.read(root);
        let wrong = read.as_ref().err();
        let wrong = wrong.filter(|wrong| !wrong.sentence.is_empty());
        for (key, row) in F::rows(root).entries {
            mark_row(&row, wrong.is_some_and(|wrong| wrong.key == key));
        }
        let said = wrong.map(|wrong| sentence(&wrong.sentence));
        let ready = read.is_ok_and(|plan| self.form.is_new(&plan));
        F::frame(root).show(said.as_deref(), ready, self.applying);
    }
}

fn connect(rows: &FormRows, input: &relm4::Sender<Message>) {
    let edited = || {
        let to = input.clone();
        move || to.emit(Message::Edited)
    };
    for (_, row) in &rows.entries {
        let edited = edited();
        row.connect_changed(move |_| edited());
    }
    for row in &rows.choices {
        let edited = edited();
        row.connect_selected_notify(move |_| edited());
    }
    for row in &rows.switches {
        let edited = edited();
        row.connect_active_notify(move |_| edited());
    }
}

/// A sentence as one begins and ends.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let Some(first) = rest.next() else {
        return String::new();
    };
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_large_and_ends() {
        assert_eq!(sentence("the range begins"), "The range begins.");
        assert_eq!(sentence("Give one."), "Give one.");
        assert_eq!(sentence(""), "");
    }
}
