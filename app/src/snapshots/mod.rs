//! The page of a container's snapshots: what it was, and the way back.

mod forms;
mod root;
mod row;

use adw::subclass::prelude::*;
use gtk::{gio, glib, prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;
pub use row::SnapshotRow;

use crate::{
    backend::{Backend, Container, Problem, Snapshot, Task},
    known::{Known, report},
    text::{tr, tr_name},
    widgets::{States, install_actions},
};

/// The page's state.
#[derive(Debug)]
pub struct SnapshotsPage {
    backend: Backend,
    container: Container,
    known: Known<Vec<Snapshot>>,
    rows: gio::ListStore,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// The page is in sight, and the container is this.
    Shown(Box<Container>),
    /// Read the snapshots again.
    Load,
    /// Ask how to take one.
    AskTake,
    /// Ask whether to go back to this one.
    AskRestore(Snapshot),
    /// Ask for the name of a container to be made of this one.
    AskNew(String),
    /// Ask for a word about this one.
    AskComment(Snapshot),
    /// Write it.
    Comment(String, String),
    /// Ask whether to delete this one.
    AskDelete(Snapshot),
}

/// What the page cannot do itself.
#[derive(Debug)]
pub enum Output {
    /// Begin this.
    Begin(Task),
    /// Stop the container, then begin this.
    StopAndBegin(Task),
    /// Ask for the name of a container to be made of this snapshot.
    NewFrom(String),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The snapshots, or what went wrong.
    Loaded(gantry_api::Result<Vec<Snapshot>>),
    /// The comment of this snapshot is written, or is not.
    Commented(String, String, gantry_api::Result<()>),
}

impl Component for SnapshotsPage {
    type Init = (Backend, Container);
    type Input = Message;
    type Output = Output;
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
        let input = sender.input_sender();
        let model = Self {
            backend,
            container,
            known: Known::Nothing,
            rows: row::show_in(&root.imp().list, input),
        };
        let actions = [("load", Message::Load), ("take", Message::AskTake)];
        install_actions(&root, "snapshots", input, actions);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Shown(container) => {
                self.container = *container;
                self.load(&sender);
            }
            Message::Load => self.load(&sender),
            Message::AskTake => forms::take(&self.container, &sender, root),
            Message::AskRestore(snapshot) => {
                forms::restore(&self.container, &snapshot, &sender, root);
            }
            Message::AskNew(name) => tell(&sender, Output::NewFrom(name)),
            Message::AskComment(snapshot) => forms::comment(&snapshot, &sender, root),
            Message::Comment(name, comment) => self.comment(name, comment, &sender),
            Message::AskDelete(snapshot) => {
                forms::delete(&self.container, &snapshot, &sender, root);
            }
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(result) => {
                if let Ok(snapshots) = &result
                    && self.known.there() != Some(snapshots)
                {
                    self.fill(snapshots);
                }
                let heading = tr("The Snapshots Could Not Be Read");
                self.known.take_in(&heading, result);
            }
            Answer::Commented(name, comment, result) => {
                if let Err(error) = result {
                    let heading = tr_name("The Comment on “{name}” Could Not Be Saved", &name);
                    if let Some(problem) = Problem::from_error(&heading, &error) {
                        let input = sender.input_sender().clone();
                        let retry = move || input.emit(Message::Comment(name, comment));
                        report(root, &problem, Some(Box::new(retry)));
                    }
                }
                self.load(&sender);
            }
        }
        self.render(root);
    }
}

impl SnapshotsPage {
    fn load(&self, sender: &ComponentSender<Self>) {
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move { Answer::Loaded(backend.list_snapshots(&path).await) });
    }

    fn comment(&self, name: String, comment: String, sender: &ComponentSender<Self>) {
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move {
            let result = backend.comment(&path, &name, &comment).await;
            Answer::Commented(name, comment, result)
        });
    }

    /// Makes the rows show these snapshots, newest first.
    fn fill(&self, snapshots: &[Snapshot]) {
        let newest_first = snapshots.iter().rev().cloned();
        let rows: Vec<_> = newest_first.map(glib::BoxedAnyObject::new).collect();
        self.rows.splice(0, self.rows.n_items(), &rows);
    }

    /// Makes the page show what the model says; the rows stand there already.
    fn render(&self, root: &Root) {
        self.known.show_in(&root.imp().states, Vec::is_empty);
    }
}

fn tell(sender: &ComponentSender<SnapshotsPage>, output: Output) {
    // Fails only when the window is gone.
    sender.output(output).unwrap_or_default();
}
