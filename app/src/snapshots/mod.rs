//! The page of a container's snapshots: what it was, and the way back.

mod forms;
mod root;
mod row;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw, gtk,
};
use tokio::sync::oneshot;

pub use root::Root;
pub use row::SnapshotRow;

use crate::{
    backend::{Backend, Container, Cost, Schedule, Snapshot, Task},
    changes::ChangesDialog,
    known::{Done, Known, report_error},
    text::{tr, tr_name},
    widgets::{States, ask::Asked, install_actions},
};

/// The page's state.
#[derive(Debug)]
pub struct SnapshotsPage {
    backend: Backend,
    container: Container,
    known: Known<Vec<Snapshot>>,
    rows: gio::ListStore,
    /// Made anew when it is opened.
    changes: Option<Controller<ChangesDialog>>,
    /// The form for a new one, which waits for what that costs; the answer is wanted until
    /// this is dropped.
    form: Option<(Asked, oneshot::Sender<()>)>,
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
    /// What it costs is not wanted any more.
    Taken,
    /// Ask which ones are taken by themselves.
    AskSchedule,
    /// Have these taken.
    Keep(Schedule),
    /// Ask whether to go back to this one.
    AskRestore(Snapshot),
    /// Show what has changed since this one.
    Compare(String),
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
    /// What one would cost, or what went wrong.
    Estimated(gantry_api::Result<Cost>),
    /// Which are taken by themselves, or what went wrong.
    Scheduled(gantry_api::Result<Schedule>),
    /// What was asked for is done, or is not.
    Done(Done<Message>),
}

impl From<Done<Message>> for Answer {
    fn from(done: Done<Message>) -> Self {
        Self::Done(done)
    }
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
            changes: None,
            form: None,
        };
        let actions = [
            ("load", Message::Load),
            ("take", Message::AskTake),
            ("schedule", Message::AskSchedule),
        ];
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
            Message::AskTake => self.ask_take(&sender, root),
            Message::Taken => self.form = None,
            Message::AskSchedule => self.ask_schedule(&sender),
            Message::Keep(schedule) => self.keep(schedule, &sender),
            Message::AskRestore(snapshot) => {
                forms::restore(&self.container, &snapshot, &sender, root);
            }
            Message::Compare(name) => self.compare(name, root),
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
            Answer::Estimated(Ok(cost)) => {
                if let Some((form, _)) = self.form.take() {
                    form.say(&forms::cost(&self.container, Some(cost)));
                }
            }
            Answer::Estimated(Err(error)) => {
                self.form = None;
                tracing::info!("what a snapshot costs is not known: {error}");
            }
            Answer::Scheduled(Ok(schedule)) => {
                forms::schedule(&self.container, schedule, &sender, root);
            }
            Answer::Scheduled(Err(error)) => {
                let heading = tr("The Schedule Could Not Be Read");
                report_error(
                    root,
                    (&heading, &error),
                    Message::AskSchedule,
                    sender.input_sender(),
                );
            }
            Answer::Done(done) => {
                done.tell(root, sender.input_sender());
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

    fn compare(&mut self, name: String, root: &Root) {
        let snapshots = self.known.there().cloned().unwrap_or_default();
        let (backend, container) = (self.backend.clone(), self.container.clone());
        let dialog = ChangesDialog::builder()
            .launch((backend, container, snapshots, name))
            .detach();
        dialog.widget().present(Some(root));
        self.changes = Some(dialog);
    }

    /// Asks how to take one, and the helper what that would cost.
    fn ask_take(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        let form = forms::take(&self.container, sender, root);
        let (wanted, unwanted) = oneshot::channel();
        self.form = Some((form, wanted));
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        // Not ended with the page: the helper would go on to measure.
        sender.command(move |out, _| async move {
            let cost = backend.estimate(&path, unwanted).await.transpose();
            if let Some(cost) = cost {
                // Fails only when the page is gone.
                out.send(Answer::Estimated(cost)).ok();
            }
        });
    }

    fn ask_schedule(&self, sender: &ComponentSender<Self>) {
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move { Answer::Scheduled(backend.schedule(&path).await) });
    }

    fn keep(&self, schedule: Schedule, sender: &ComponentSender<Self>) {
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        let failure = tr("The Schedule Could Not Be Saved");
        let call = async move { backend.set_schedule(&path, schedule).await };
        Done::ask(sender, (failure, Message::Keep(schedule)), call);
    }

    fn comment(&self, name: String, comment: String, sender: &ComponentSender<Self>) {
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        let failure = tr_name("The Comment on “{name}” Could Not Be Saved", &name);
        let again = Message::Comment(name.clone(), comment.clone());
        let call = async move { backend.comment(&path, &name, &comment).await };
        Done::ask(sender, (failure, again), call);
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
