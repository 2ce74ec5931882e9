//! The dialog of what has changed between two snapshots of a container, or since one.

mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw};
use tokio::sync::oneshot;

pub use root::Root;

use crate::{
    backend::{Backend, Change, Changes, Container, Snapshot},
    known::{Done, Known},
    text::{tr, tr_name},
    widgets::{SearchList, SearchRow, States, ask, chosen, install_actions, offer},
};

/// The dialog's state.
#[derive(Debug)]
pub struct ChangesDialog {
    backend: Backend,
    container: Container,
    /// The snapshots that can be compared, and the empty name for the present state.
    names: Vec<String>,
    /// Its answer is wanted until this is dropped.
    wanted: Option<oneshot::Sender<()>>,
    known: Known<Changes>,
    rows: SearchList,
}

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Compare what is chosen.
    Load,
    /// Ask whether to bring back what is at this place of the list.
    AskRestore(usize),
    /// Bring this path back from this snapshot.
    Restore(String, String),
    /// The dialog is closed.
    Closed,
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// What has changed, or what went wrong.
    Found(gantry_api::Result<Changes>),
    /// What was asked for is done, or is not.
    Done(Done<Message>),
}

impl From<Done<Message>> for Answer {
    fn from(done: Done<Message>) -> Self {
        Self::Done(done)
    }
}

impl Component for ChangesDialog {
    /// The container's snapshots, and the name of the one to begin with.
    type Init = (Backend, Container, Vec<Snapshot>, String);
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
        (backend, container, snapshots, first): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        root.set_title(&tr_name("Changes in “{name}”", &container.name));
        let parts = root.imp();
        let names = snapshots.into_iter().map(|snapshot| snapshot.name);
        let names: Vec<String> = names.chain([String::new()]).collect();
        let model = Self {
            backend,
            container,
            wanted: None,
            known: Known::Nothing,
            rows: SearchList::new(&parts.list, &parts.search, &parts.nothing.get()),
            names,
        };
        model.offer(&parts.from, &first);
        model.offer(&parts.to, "");
        let input = sender.input_sender();
        install_actions(&root, "changes", input, [("load", Message::Load)]);
        let to = input.clone();
        model
            .rows
            .connect_activated(move |place| to.emit(Message::AskRestore(place)));
        for choice in [&parts.from, &parts.to] {
            let to = input.clone();
            choice.connect_selected_notify(move |_| to.emit(Message::Load));
        }
        // The others know what was written to without looking into it.
        let copied = matches!(model.container.backend.as_str(), "dir" | "loop");
        parts.content.set_visible(copied);
        let to = input.clone();
        parts
            .content
            .connect_active_notify(move |_| to.emit(Message::Load));
        let to = input.clone();
        root.connect_closed(move |_| to.emit(Message::Closed));
        sender.input(Message::Load);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Load => self.load(&sender, root),
            Message::AskRestore(place) => self.ask_restore(place, &sender, root),
            Message::Restore(snapshot, path) => self.restore(snapshot, path, &sender),
            Message::Closed => self.wanted = None,
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Found(result) => {
                if let Ok((changes, _)) = &result {
                    let from = self.chosen(&root.imp().from);
                    self.rows.replace(rows(changes, &from));
                }
                let heading = tr("The Changes Could Not Be Found");
                self.known.take_in(&heading, result);
            }
            Answer::Done(done) => {
                done.tell(root, sender.input_sender());
                self.load(&sender, root);
            }
        }
        self.render(root);
    }
}

impl ChangesDialog {
    /// Offers the states to choose from, with this one chosen.
    fn offer(&self, row: &adw::ComboRow, chosen: &str) {
        let words: Vec<String> = self.names.iter().map(|name| word(name)).collect();
        let offered = self.names.iter().zip(&words);
        offer(
            row,
            offered.map(|(name, word)| (name.as_str(), word.as_str())),
            chosen,
        );
    }

    fn chosen(&self, row: &adw::ComboRow) -> String {
        chosen(row, &self.names).cloned().unwrap_or_default()
    }

    fn load(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        self.known = Known::Nothing;
        let (wanted, unwanted) = oneshot::channel();
        self.wanted = Some(wanted);
        let parts = root.imp();
        let (from, to) = (self.chosen(&parts.from), self.chosen(&parts.to));
        let content = parts.content.is_active();
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        // Not ended with the dialog: the helper would go on to compare.
        sender.command(move |out, _| async move {
            let found = backend
                .changes(&path, (&from, &to), content, unwanted)
                .await;
            let found = found.transpose();
            if let Some(found) = found {
                // Fails only when the dialog is gone.
                out.send(Answer::Found(found)).ok();
            }
        });
    }

    fn ask_restore(&self, place: usize, sender: &ComponentSender<Self>, root: &Root) {
        let snapshot = self.chosen(&root.imp().from);
        let changes = self.known.there();
        let Some(change) = changes.and_then(|(changes, _)| changes.get(place)) else {
            return;
        };
        if !can_restore(change, &snapshot) {
            return;
        }
        let heading = tr_name("Restore “{name}”?", &change.path);
        let body = tr_name(
            "It becomes what it was in “{name}”: what it is now is lost, and so is what came into it since.",
            &snapshot,
        );
        let (input, path) = (sender.input_sender().clone(), change.path.clone());
        ask::confirm(root, &heading, &body, &tr("_Restore"), move || {
            input.emit(Message::Restore(snapshot, path));
        });
    }

    fn restore(&mut self, snapshot: String, path: String, sender: &ComponentSender<Self>) {
        self.known = Known::Nothing;
        let (backend, container) = (self.backend.clone(), self.container.path.clone());
        let failure = tr_name("“{name}” Could Not Be Restored", &path);
        let again = Message::Restore(snapshot.clone(), path.clone());
        let call = async move { backend.restore_path(&container, &snapshot, &path).await };
        Done::ask(sender, (failure, again), call);
    }

    /// Makes the dialog show what the model says; the rows stand there already.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        self.known
            .show_in(&parts.states, |(changes, _)| changes.is_empty());
        let more = self.known.there().is_some_and(|(_, more)| *more);
        parts.more.set_revealed(more);
    }
}

/// A state in words.
fn word(name: &str) -> String {
    match name {
        "" => tr("The present state"),
        name => name.to_owned(),
    }
}

/// Whether the snapshot has the file, which is another now.
fn can_restore(change: &Change, snapshot: &str) -> bool {
    !snapshot.is_empty() && change.kind != "added"
}

fn rows(changes: &[Change], from: &str) -> Vec<SearchRow> {
    let row = |(place, change): (usize, &Change)| SearchRow {
        place,
        title: change.path.clone(),
        facts: match change.kind.as_str() {
            "added" => tr("Added"),
            "removed" => tr("Removed"),
            "changed" => tr("Changed"),
            "metadata" => tr("Owner, mode, attributes or times alone"),
            other => other.to_owned(),
        },
        button: match can_restore(change, from) {
            true => tr_name("Restore “{name}”", &change.path),
            false => String::new(),
        },
    };
    changes.iter().enumerate().map(row).collect()
}
