//! The viewer of a container's logs.

mod plain;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw};

pub use root::Root;

use crate::{
    backend::{Backend, Container, LogKind},
    known::Known,
    text::{tr, tr_name},
    widgets::{States, install_actions},
};

/// The dialog's state.
#[derive(Debug)]
pub struct LogDialog {
    backend: Backend,
    container: Container,
    kind: LogKind,
    /// The text of the log.
    known: Known<String>,
}

/// What the user wants.
#[derive(Clone, Debug)]
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
        States::ensure_type();
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
        let input = sender.input_sender().clone();
        install_actions(&root, "log", &input, [("refresh", Message::Refresh)]);
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
        let text = result.map(|log| plain::text(&log));
        if let Ok(text) = &text {
            root.imp().text.buffer().set_text(text);
        }
        self.known.take_in(&tr("The Log Cannot Be Shown"), text);
        self.render(root);
    }
}

impl LogDialog {
    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let empty = |text: &String| text.trim().is_empty();
        self.known.show_in(&root.imp().states, empty);
    }
}
