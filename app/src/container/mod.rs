//! The page of one container: what it is, and its terminals, which live as long
//! as the page does, shown or not.

mod forms;
mod overview;
mod root;
mod sessions;
mod tab;
mod terminals;
mod usage;

use std::collections::HashMap;

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::ContainerState;
use gtk::gio;
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw, gtk,
};
use tokio::sync::oneshot;

pub use overview::Overview;
pub use root::Root;
pub use tab::Kind;
use tab::Tab;
pub use terminals::Terminals;

use crate::{
    backend::{
        Action, Backend, Container, Job, Network, OpenSession, Problem, SessionEnd, Task, Usage,
    },
    config::ConfigDialog,
    devices::{self, DevicesPage},
    interfaces::{self, InterfacesPage},
    known::Known,
    log::LogDialog,
    settings::{self, RestartGroup, SettingsPage},
    snapshots::{self, SnapshotsPage},
    text::{mark, tr},
    widgets::{PropertyRow, each_second, install_actions},
    window::JobList,
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
    devices: Controller<DevicesPage>,
    interfaces: Controller<InterfacesPage>,
    snapshots: Controller<SnapshotsPage>,
    /// How many jobs work on it.
    jobs: usize,
    /// The overview is in sight.
    in_sight: bool,
    /// What the container uses, while that is watched.
    usage: Known<Usage>,
    /// The watch lasts until this is dropped.
    watch: Option<oneshot::Sender<()>>,
    /// Each is made anew when it is opened.
    config: Option<Controller<ConfigDialog>>,
    log: Option<Controller<LogDialog>>,
}

/// What happened to the container, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// The container is now this.
    Changed(Box<Container>),
    /// Whether there is a helper.
    Online(bool),
    /// These are all networks.
    Networks(Vec<Network>),
    /// Its network interfaces are others now.
    Interfaces,
    /// These jobs work on the container.
    Jobs(Vec<Job>),
    /// Do this to the container.
    Act(Action),
    /// Start it or stop it, whichever its state allows.
    Switch,
    /// Freeze it or unfreeze it.
    Pause,
    /// Ask how long it may take to stop.
    AskStop,
    /// Another part of the page is in sight.
    Turned,
    /// Whether the overview is in sight.
    InSight(bool),
    /// A second has passed.
    Tick,
    /// Watch what the container uses, even if that needs a password.
    Watch,
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
    /// Ask how to clone it.
    Clone,
    /// Ask how to write it to a file.
    Export,
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
    /// Ask how to clone it.
    Clone,
    /// Ask how to write it to a file.
    Export,
    /// Ask for the name of a container to be made of this snapshot of it.
    NewFrom(String),
    /// Begin this.
    Begin(Task),
    /// Stop the container, then begin this.
    StopAndBegin(Task),
    /// Tell of a problem.
    Problem(Problem),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// A session is open, or is not.
    Opened(u32, Box<gantry_api::Result<OpenSession>>),
    /// The session with this path has ended.
    Ended(u32, String, SessionEnd),
    /// A size was told.
    SizeTold(u32),
    /// What the container uses now.
    Usage(gantry_api::Result<Usage>),
}

impl Component for ContainerPage {
    type Init = (Backend, Container, bool);
    type Input = Message;
    type Output = Output;
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        PropertyRow::ensure_type();
        RestartGroup::ensure_type();
        Overview::ensure_type();
        Terminals::ensure_type();
        JobList::ensure_type();
        Root::default()
    }

    fn init(
        (backend, container, online): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let settings = SettingsPage::builder()
            .launch((backend.clone(), container.clone()))
            .forward(sender.output_sender(), |output| match output {
                settings::Output::Problem(problem) => Output::Problem(problem),
                settings::Output::Begin(task) => Output::Begin(task),
            });
        let devices = DevicesPage::builder()
            .launch((backend.clone(), container.clone()))
            .detach();
        let interfaces = InterfacesPage::builder()
            .launch((backend.clone(), container.clone()))
            .detach();
        let snapshots = SnapshotsPage::builder()
            .launch((backend.clone(), container.clone()))
            .forward(sender.output_sender(), |output| match output {
                snapshots::Output::Begin(task) => Output::Begin(task),
                snapshots::Output::StopAndBegin(task) => Output::StopAndBegin(task),
                snapshots::Output::NewFrom(snapshot) => Output::NewFrom(snapshot),
            });
        let stack = &root.imp().stack;
        stack.add_titled_with_icon(
            snapshots.widget(),
            Some("snapshots"),
            &tr("Snapshots"),
            "document-open-recent-symbolic",
        );
        stack.add_titled_with_icon(
            interfaces.widget(),
            Some("interfaces"),
            &tr("Network"),
            "network-workgroup-symbolic",
        );
        stack.add_titled_with_icon(
            settings.widget(),
            Some("settings"),
            &tr("Settings"),
            "preferences-system-symbolic",
        );
        stack.add_titled_with_icon(
            devices.widget(),
            Some("devices"),
            &tr("Devices"),
            "drive-harddisk-symbolic",
        );
        let model = Self {
            backend,
            container,
            settings,
            devices,
            interfaces,
            snapshots,
            jobs: 0,
            online,
            in_sight: false,
            usage: Known::Nothing,
            watch: None,
            actions: connect(&root, sender.input_sender()),
            tabs: HashMap::new(),
            last_tab: 0,
            shells: 0,
            config: None,
            log: None,
        };
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Changed(container) => {
                self.container = *container;
                self.tell_shown(root);
            }
            Message::Turned | Message::Interfaces => self.tell_shown(root),
            Message::Networks(networks) => self
                .interfaces
                .emit(interfaces::Message::Networks(networks)),
            Message::Jobs(jobs) => {
                let list = &root.imp().jobs;
                list.replace(&jobs);
                list.set_visible(!jobs.is_empty());
                // What has ended may have changed what is shown.
                if std::mem::replace(&mut self.jobs, jobs.len()) > jobs.len() {
                    self.tell_shown(root);
                }
            }
            Message::InSight(in_sight) => self.in_sight = in_sight,
            Message::Tick => (),
            Message::Watch => self.watch(true, &sender),
            Message::Online(online) => self.online = online,
            // Fails only when the window is gone.
            Message::Act(action) => sender.output(Output::Act(action)).unwrap_or_default(),
            Message::Switch => self.act_first([Action::Start, Action::Stop], &sender),
            Message::Pause => self.act_first([Action::Freeze, Action::Unfreeze], &sender),
            Message::AskStop => forms::stop(&self.container.name, &sender, root),
            Message::AskCommand => forms::command(&self.container.name, &sender, root),
            Message::Config => {
                let dialog = ConfigDialog::builder()
                    .launch((self.backend.clone(), Some(self.container.clone())))
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
            // Fails only when the window is gone.
            Message::Clone => sender.output(Output::Clone).unwrap_or_default(),
            // Fails only when the window is gone.
            Message::Export => sender.output(Output::Export).unwrap_or_default(),
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
        self.watch_while_seen(&sender);
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Opened(tab, result) => self.opened(tab, *result, &sender, root),
            Answer::Ended(tab, session, end) => self.ended(tab, &session, &end),
            Answer::SizeTold(tab) => self.size_told(tab, &sender),
            Answer::Usage(result) => {
                self.usage.take_in(&tr("Usage Cannot Be Shown"), result);
            }
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

    /// Settings, snapshots and devices are read while they are in sight.
    fn tell_shown(&self, root: &Root) {
        if !self.online {
            return;
        }
        let container = Box::new(self.container.clone());
        match root.imp().stack.visible_child_name().as_deref() {
            Some("settings") => self.settings.emit(settings::Message::Shown(container)),
            Some("snapshots") => self.snapshots.emit(snapshots::Message::Shown(container)),
            Some("interfaces") => self.interfaces.emit(interfaces::Message::Shown(container)),
            Some("devices") => self.devices.emit(devices::Message::Shown(container)),
            _ => (),
        }
    }

    /// Does the first of the actions that the state allows.
    fn act_first<const N: usize>(&self, actions: [Action; N], sender: &ComponentSender<Self>) {
        let mut actions = actions.into_iter();
        if let Some(action) = actions.find(|action| action.is_for(self.container.state)) {
            sender.input(Message::Act(action));
        }
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
        parts.overview.show_usage(&self.usage);
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
        self.enable("switch", self.online);
        self.enable("pause", self.online);
        self.enable("stop-within", runs);
        self.enable("console", runs);
        self.enable("shell", runs);
        self.enable("command", runs);
        self.enable("config", self.online);
        self.enable("log", self.online);
        self.enable("clone", self.online);
        self.enable("export", self.online);
        self.enable("rename", self.online && state == ContainerState::Stopped);
        for tab in self.tabs.values() {
            tab.terminal.set_can_reopen(runs);
        }
    }
}

/// Ties the page's actions and tabs to messages.
fn connect(root: &Root, input: &relm4::Sender<Message>) -> gio::SimpleActionGroup {
    let to = input.clone();
    let parts = root.imp();
    parts
        .stack
        .connect_visible_child_notify(move |_| to.emit(Message::Turned));
    let in_sight = |now: bool| {
        let to = input.clone();
        // Fails only when the page is gone.
        move |_: &Overview| to.send(Message::InSight(now)).unwrap_or_default()
    };
    parts.overview.connect_map(in_sight(true));
    parts.overview.connect_unmap(in_sight(false));
    let to = input.clone();
    each_second(&parts.overview.get(), move || to.emit(Message::Tick));
    let on_container = Action::ALL.map(|action| (action.name(), Message::Act(action)));
    let others = [
        ("switch", Message::Switch),
        ("pause", Message::Pause),
        ("stop-within", Message::AskStop),
        ("console", Message::Open(Kind::Console)),
        ("shell", Message::Open(Kind::Shell)),
        ("command", Message::AskCommand),
        ("config", Message::Config),
        ("log", Message::Log),
        ("rename", Message::Rename),
        ("clone", Message::Clone),
        ("export", Message::Export),
        ("close-terminal", Message::CloseShown),
        ("previous-terminal", Message::Turn(-1)),
        ("next-terminal", Message::Turn(1)),
        ("usage", Message::Watch),
    ];
    let all = on_container.into_iter().chain(others);
    install_actions(root, "container", input, all)
}

/// Turns to the tab so many places on, round the ends.
fn turn(terminals: &Terminals, places: i32) {
    let view = &terminals.imp().view;
    if let Some(page) = view.selected_page() {
        let position = (view.page_position(&page) + places).rem_euclid(view.n_pages());
        terminals.turn_to(&view.nth_page(position));
    }
}
