//! The page of one container: what it is, and its terminals, which live as long
//! as the page does, shown or not.

mod overview;
mod root;
mod sessions;
mod tab;
mod terminals;

use std::collections::HashMap;

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::ContainerState;
use gtk::{gio, glib};
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw, gtk,
};

pub use overview::Overview;
pub use root::Root;
pub use tab::Kind;
use tab::Tab;
pub use terminals::Terminals;

use crate::{
    backend::{Action, Backend, Container, OpenSession, Problem, SessionEnd, check_words},
    config::ConfigDialog,
    log::LogDialog,
    settings::{self, SettingsPage},
    text::{mark, tr, tr_name},
    widgets::ask,
};

/// The page's state.
#[derive(Debug)]
pub struct ContainerPage {
    backend: Backend,
    container: Container,
    online: bool,
    actions: gio::SimpleActionGroup,
    tabs: HashMap<u32, Tab>,
    /// Tabs are numbered, never twice the same.
    last_tab: u32,
    shells: u32,
    settings: Controller<SettingsPage>,
    /// Each is made anew when it is opened.
    config: Option<Controller<ConfigDialog>>,
    log: Option<Controller<LogDialog>>,
}

/// What happened to the container, or what the user wants.
#[derive(Debug)]
pub enum Message {
    /// The container is now this.
    Changed(Box<Container>),
    /// Whether there is a helper.
    Online(bool),
    /// Do this to the container.
    Act(Action),
    /// Another part of the page is in sight.
    Turned,
    /// Tell of a problem.
    Problem(Problem),
    /// Open a terminal; the console that is open already comes to the front.
    Open(Kind),
    /// Ask for a command to run.
    AskCommand,
    /// Show the editor of the configuration.
    Config,
    /// Show the logs.
    Log,
    /// Ask for another name.
    Rename,
    /// Open a tab's session again.
    Again(u32),
    /// A tab's terminal has another size.
    Resized(u32, u16, u16),
    /// Nobody is at the other end of a tab's PTY.
    HungUp(u32),
    /// A tab is closed.
    Closed(u32),
    /// Close the tab that is shown.
    CloseShown,
    /// Turn to the tab so many places on.
    Turn(i32),
    /// Put the keyboard out of the terminal.
    Leave,
}

/// What the page cannot do itself.
#[derive(Debug)]
pub enum Output {
    /// Do this to the container.
    Act(Action),
    /// Ask for another name for the container.
    Rename,
    /// Tell of a problem.
    Problem(Problem),
}

/// Answers to what the helper was asked for a tab.
#[derive(Debug)]
pub enum Answer {
    /// A session is open, or is not.
    Opened(u32, Box<gantry_api::Result<OpenSession>>),
    /// The session with this path has ended.
    Ended(u32, String, SessionEnd),
    /// A size was told.
    SizeTold(u32),
}

impl Component for ContainerPage {
    type Init = (Backend, Container, bool);
    type Input = Message;
    type Output = Output;
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        Overview::ensure_type();
        Terminals::ensure_type();
        Root::default()
    }

    fn init(
        (backend, container, online): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let settings = SettingsPage::builder()
            .launch((backend.clone(), container.clone()))
            .forward(
                sender.input_sender(),
                |settings::Output::Problem(problem)| Message::Problem(problem),
            );
        root.imp().stack.add_titled_with_icon(
            settings.widget(),
            Some("settings"),
            &tr("Settings"),
            "preferences-system-symbolic",
        );
        let model = Self {
            backend,
            container,
            settings,
            online,
            actions: gio::SimpleActionGroup::new(),
            tabs: HashMap::new(),
            last_tab: 0,
            shells: 0,
            config: None,
            log: None,
        };
        model.connect(&root, &sender);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Changed(container) => {
                self.container = *container;
                self.tell_settings(root);
            }
            Message::Turned => self.tell_settings(root),
            // Fails only when the window is gone.
            Message::Problem(problem) => {
                sender.output(Output::Problem(problem)).unwrap_or_default();
            }
            Message::Online(online) => self.online = online,
            // Fails only when the window is gone.
            Message::Act(action) => sender.output(Output::Act(action)).unwrap_or_default(),
            Message::AskCommand => self.ask_command(&sender, root),
            Message::Config => {
                let dialog = ConfigDialog::builder()
                    .launch((self.backend.clone(), self.container.clone()))
                    .detach();
                dialog.widget().present(Some(root));
                self.config = Some(dialog);
            }
            Message::Log => {
                let dialog = LogDialog::builder()
                    .launch((self.backend.clone(), self.container.clone()))
                    .detach();
                dialog.widget().present(Some(root));
                self.log = Some(dialog);
            }
            // Fails only when the window is gone.
            Message::Rename => sender.output(Output::Rename).unwrap_or_default(),
            Message::Open(kind) => self.open(kind, &sender, root),
            Message::Again(tab) => self.open_session(tab, &sender),
            Message::Resized(tab, columns, rows) => self.resized(tab, (columns, rows), &sender),
            Message::HungUp(tab) => self.hung_up(tab),
            Message::Closed(tab) => self.closed(tab),
            Message::CloseShown => {
                let view = &root.imp().terminals.imp().view;
                if let Some(page) = view.selected_page() {
                    view.close_page(&page);
                }
            }
            Message::Turn(places) => turn(&root.imp().terminals, places),
            Message::Leave => root.imp().terminals.leave(),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Opened(tab, result) => self.opened(tab, *result, &sender, root),
            Answer::Ended(tab, session, end) => self.ended(tab, &session, &end),
            Answer::SizeTold(tab) => self.size_told(tab, &sender),
        }
        self.render(root);
    }

    fn shutdown(&mut self, (): &mut (), _output: relm4::Sender<Output>) {
        for (_, tab) in self.tabs.drain() {
            sessions::close(&self.backend, tab.session);
        }
    }
}

impl ContainerPage {
    /// Whether any terminal is open.
    #[must_use]
    pub fn has_terminals(&self) -> bool {
        !self.tabs.is_empty()
    }

    fn connect(&self, root: &Root, sender: &ComponentSender<Self>) {
        for action in Action::ALL {
            self.add_action(action.name(), sender, move || Message::Act(action));
        }
        self.add_action("console", sender, || Message::Open(Kind::Console));
        self.add_action("shell", sender, || Message::Open(Kind::Shell));
        self.add_action("command", sender, || Message::AskCommand);
        self.add_action("config", sender, || Message::Config);
        self.add_action("log", sender, || Message::Log);
        self.add_action("rename", sender, || Message::Rename);
        self.add_action("close-terminal", sender, || Message::CloseShown);
        self.add_action("previous-terminal", sender, || Message::Turn(-1));
        self.add_action("next-terminal", sender, || Message::Turn(1));
        root.insert_action_group("container", Some(&self.actions));
        let input = sender.input_sender().clone();
        let stack = &root.imp().stack;
        stack.connect_visible_child_notify(move |_| input.emit(Message::Turned));
    }

    /// The settings are read while they are in sight.
    fn tell_settings(&self, root: &Root) {
        if root.imp().stack.visible_child_name().as_deref() == Some("settings") && self.online {
            let container = Box::new(self.container.clone());
            self.settings.emit(settings::Message::Shown(container));
        }
    }

    fn ask_command(&self, sender: &ComponentSender<Self>, root: &Root) {
        let question = ask::Question {
            heading: &tr_name("Run a Command in “{name}”", &self.container.name),
            label: &tr("Command"),
            text: "",
            verb: &tr("_Run"),
        };
        let input = sender.input_sender().clone();
        ask::prompt(root, &question, check_words, move |line| {
            input.emit(Message::Open(Kind::Command(line)));
        });
    }

    fn add_action(
        &self,
        name: &str,
        sender: &ComponentSender<Self>,
        message: impl Fn() -> Message + 'static,
    ) {
        let action = gio::SimpleAction::new(name, None);
        let input = sender.input_sender().clone();
        action.connect_activate(move |_, _: Option<&glib::Variant>| input.emit(message()));
        self.actions.add_action(&action);
    }

    fn enable(&self, name: &str, enabled: bool) {
        if let Some(action) = self
            .actions
            .lookup_action(name)
            .and_downcast::<gio::SimpleAction>()
        {
            action.set_enabled(enabled);
        }
    }

    /// Makes the page show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        let state = self.container.state;
        parts.overview.show_container(&self.container);
        parts.terminals.show_state(state);
        parts.offline.set_revealed(!self.online);
        let start = Action::Start.is_for(state);
        let (label, action) = if start {
            (mark("_Start"), "container.start")
        } else {
            (mark("_Stop"), "container.stop")
        };
        parts.main_button.set_label(&tr(label));
        parts.main_button.set_action_name(Some(action));
        if start {
            parts.main_button.add_css_class("suggested-action");
        } else {
            parts.main_button.remove_css_class("suggested-action");
        }
        for action in Action::ALL {
            self.enable(action.name(), self.online && action.is_for(state));
        }
        let runs = self.online && state == ContainerState::Running;
        self.enable("console", runs);
        self.enable("shell", runs);
        self.enable("command", runs);
        self.enable("config", self.online);
        self.enable("log", self.online);
        self.enable("rename", self.online && state == ContainerState::Stopped);
        for tab in self.tabs.values() {
            tab.terminal.set_can_reopen(runs);
        }
    }
}

/// Turns to the tab so many places on, round the ends.
fn turn(terminals: &Terminals, places: i32) {
    let view = &terminals.imp().view;
    if let Some(page) = view.selected_page() {
        let position = (view.page_position(&page) + places).rem_euclid(view.n_pages());
        terminals.turn_to(&view.nth_page(position));
    }
}
