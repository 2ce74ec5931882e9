//! The viewer of a container's logs.

mod plain;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, Container, LogKind, Problem},
    text::{tr, tr_name},
};

/// What there is to show.
#[derive(Debug)]
enum Known {
    /// The log is on its way.
    Nothing,
    /// It stands in the view; nothing was ever written to it when it is empty.
    Text { empty: bool },
    /// Why it cannot be shown.
    Problem(Problem),
}

/// The dialog's state.
#[derive(Debug)]
pub struct LogDialog {
    backend: Backend,
    container: Container,
    kind: LogKind,
    known: Known,
}

/// What the user wants.
#[derive(Debug)]
pub enum Message {
    /// Show this log.
    Show(LogKind),
    /// Read it again.
    Refresh,
}

/// A log, or what went wrong.
#[derive(Debug)]
pub struct Read(LogKind, gantry_api::Result<String>);

impl Component for LogDialog {
    type Init = (Backend, Container);
    type Input = Message;
    type Output = ();
    type CommandOutput = Read;
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
        root.set_title(&tr_name("Logs of “{name}”", &container.name));
        let model = Self {
            backend,
            container,
            kind: LogKind::Container,
            known: Known::Nothing,
        };
        let actions = gio::SimpleActionGroup::new();
        let refresh = gio::SimpleAction::new("refresh", None);
        let input = sender.input_sender().clone();
        refresh.connect_activate(move |_, _: Option<&glib::Variant>| input.emit(Message::Refresh));
        actions.add_action(&refresh);
        root.insert_action_group("log", Some(&actions));
        let input = sender.input_sender().clone();
        root.imp().kinds.connect_active_name_notify(move |kinds| {
            input.emit(Message::Show(match kinds.active_name().as_deref() {
                Some("console") => LogKind::Console,
                _ => LogKind::Container,
            }));
        });
        // The newest is at the end, which is where it is once it is laid out.
        if let Some(height) = root.imp().text.vadjustment() {
            height.connect_upper_notify(|height| height.set_value(height.upper()));
        }
        sender.input(Message::Refresh);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        if let Message::Show(kind) = message {
            self.kind = kind;
            self.known = Known::Nothing;
        }
        let (backend, path, kind) = (self.backend.clone(), self.container.path.clone(), self.kind);
        sender.oneshot_command(async move { Read(kind, backend.log(&path, kind).await) });
        self.render(root);
    }

    fn update_cmd(&mut self, Read(kind, result): Read, _: ComponentSender<Self>, root: &Root) {
        // The other one may be wanted by now.
        if kind != self.kind {
            return;
        }
        match result {
            Ok(log) => {
                let text = plain::text(&log);
                root.imp().text.buffer().set_text(&text);
                self.known = Known::Text {
                    empty: text.trim().is_empty(),
                };
            }
            Err(error) => {
                let heading = tr("The Log Cannot Be Shown");
                match Problem::from_error(&heading, &error) {
                    Some(problem) => self.known = Known::Problem(problem),
                    None => {
                        root.close();
                    }
                }
            }
        }
        self.render(root);
    }
}

impl LogDialog {
    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        parts.stack.set_visible_child_name(match &self.known {
            Known::Nothing => "loading",
            Known::Text { empty: true } => "empty",
            Known::Text { empty: false } => "text",
            Known::Problem(_) => "problem",
        });
        if let Known::Problem(problem) = &self.known {
            parts.problem.set_title(&problem.heading);
            parts.problem.set_description(Some(&problem.cause));
        }
    }
}
