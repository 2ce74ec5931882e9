//! The window: the list of containers, the page of the selected one, the jobs,
//! and what stands there while there is no helper.

mod actions;
mod container_item;
mod container_list;
mod dialogs;
mod groups;
mod job_item;
mod job_list;
mod jobs;
mod jobs_button;
mod moving;
mod pages;
mod requests;
mod root;
mod tasks;
mod trials;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use adw::{prelude::*, subclass::prelude::*};
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw, gtk,
};

pub use container_item::ContainerItem;
pub use container_list::ContainerList;
pub use job_item::{JobItem, stage};
pub use job_list::JobList;
pub use jobs_button::JobsButton;
pub use root::Root;

use crate::{
    backend::{
        Absence, Action, Backend, Container, Event, Everything, GroupAction, Job, Network, Problem,
        Task,
    },
    computer::{self, ComputerPage},
    config::ConfigDialog,
    container::{self, ContainerPage},
    create::CreateDialog,
    known::report,
    networks::{self, NetworksPage},
    text::tr_name,
};
use groups::Groups;
use jobs::OwnJob;
use trials::Trials;

/// Whether there is a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Link {
    /// It is being asked.
    Connecting,
    /// It answers.
    Ready,
    /// There is none.
    Absent(Absence),
}

/// What the place beside the list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    /// That nothing is selected.
    Nothing,
    /// This computer.
    Computer,
    /// The networks.
    Networks,
    /// The container at this path.
    Container(String),
}

/// The window's state.
#[derive(Debug)]
pub struct Window {
    backend: Backend,
    link: Link,
    /// The helper has told once what there is.
    loaded: bool,
    list: ContainerList,
    groups: Groups,
    pages: HashMap<String, Controller<ContainerPage>>,
    computer: Controller<ComputerPage>,
    networks: Controller<NetworksPage>,
    /// What containers can be wired to, by path.
    wires: BTreeMap<String, Network>,
    trials: Trials,
    /// How many things on this computer are not well.
    host_problems: usize,
    shown: Shown,
    /// The name of a container to show once the helper tells of it.
    awaited: Option<String>,
    jobs: HashMap<String, Job>,
    own_jobs: HashMap<String, OwnJob>,
    dialog: Option<Controller<CreateDialog>>,
    defaults: Option<Controller<ConfigDialog>>,
}

/// What the user or another part of the window wants.
#[derive(Debug)]
pub enum Message {
    /// From the helper.
    Event(Event),
    /// A container was selected in the list.
    Selected(String),
    /// The list is wanted back, in a narrow window.
    Back,
    /// Show the page of this computer.
    Computer,
    /// Show the page of networks.
    Networks,
    /// So many things on this computer are not well.
    HostProblems(usize),
    /// The text of the search.
    Search(String),
    /// The group at this place was chosen.
    Group(u32),
    /// Do something to the chosen group, after asking where that is due.
    AskGroup(GroupAction),
    /// Do it to this group.
    ActOnGroup(String, GroupAction),
    /// Try again to reach the helper.
    Retry,
    /// Show the dialog for a new container.
    New,
    /// Show the editor of what new containers begin with.
    Defaults,
    /// Start what starts with the computer.
    Autostart,
    /// The dialog is closed.
    DialogClosed,
    /// The dialog had a job begun that makes a container.
    Creating {
        /// The job.
        job: String,
        /// The container's name.
        name: String,
    },
    /// Do something to the container at this path, after asking where that is due.
    Ask(String, Action),
    /// Do it.
    Act(String, Action),
    /// Begin this.
    Begin(Task),
    /// The page of the container at this path wants this.
    Wanted(String, container::Output),
    /// Ask which archive is to become a container.
    ChooseImport,
    /// Ask what the container of this archive is to be called.
    AskImport(PathBuf),
    /// Give the container at this path another name.
    Rename(String, String),
    /// Do the action of this name to the container that is shown.
    OnShown(String),
    /// Keep the change of this interface of this computer, or take it back.
    Settle(String, bool),
    /// Cancel this job.
    CancelJob(String),
    /// Tell of a problem.
    Problem(Problem),
    /// Who makes this program.
    About,
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// From the follower.
    Event(Event),
    /// An action is done, or its job has begun.
    Acted {
        /// The container.
        path: String,
        /// Its name at that time.
        name: String,
        /// What was asked for.
        action: Action,
        /// What is to be done next.
        then: Option<Task>,
        /// The job, or what went wrong.
        result: gantry_api::Result<Option<String>>,
    },
    /// The container at this path, which may be removed, has so many snapshots.
    Snapshots(String, usize),
    /// A task has begun, or has not.
    Begun(Task, gantry_api::Result<String>),
    /// The job of a group's containers has begun.
    ActedOnGroup {
        /// The group.
        group: String,
        /// What was asked for.
        action: GroupAction,
        /// The job, or what went wrong.
        result: gantry_api::Result<String>,
    },
    /// The job that starts what starts with the computer has begun.
    Autostarted(gantry_api::Result<String>),
    /// A container has another name, or has not.
    Renamed {
        /// The old name.
        old: String,
        /// The new name.
        new: String,
        /// What went wrong.
        result: gantry_api::Result<()>,
    },
    /// What there is to know of the container of this name that was made.
    Told(String, gantry_api::Result<(String, Vec<String>)>),
    /// The change of this interface is kept, or taken back, or is not.
    Settled(String, bool, gantry_api::Result<()>),
    /// A job was asked to end.
    Cancelled(gantry_api::Result<()>),
}

impl Component for Window {
    type Init = Backend;
    type Input = Message;
    type Output = ();
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        Root::default()
    }

    fn init(backend: Backend, root: Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        // The shortcuts window would otherwise be opened by a key that a terminal wants.
        if let Some(application) = relm4::main_application().downcast_ref::<gtk::Application>() {
            application.set_accels_for_action("win.show-help-overlay", &[]);
        }
        let computer = ComputerPage::builder().launch(backend.clone()).forward(
            sender.input_sender(),
            |computer::Output::Problems(count)| Message::HostProblems(count),
        );
        root.imp().pages.add_child(computer.widget());
        let networks = NetworksPage::builder().launch(backend.clone()).detach();
        root.imp().pages.add_child(networks.widget());
        let model = Self {
            backend: backend.clone(),
            link: Link::Connecting,
            loaded: false,
            list: ContainerList::new(&root.imp().list),
            groups: Groups::default(),
            pages: HashMap::new(),
            computer,
            networks,
            wires: BTreeMap::new(),
            trials: Trials::default(),
            host_problems: 0,
            shown: Shown::Nothing,
            awaited: None,
            jobs: HashMap::new(),
            own_jobs: HashMap::new(),
            dialog: None,
            defaults: None,
        };
        model.connect(&root, &sender);
        sender.command(|out, shutdown| {
            shutdown
                .register(async move {
                    backend
                        .follow(|event| {
                            // Fails only when the window is gone, and then nobody listens.
                            out.send(Answer::Event(event)).ok();
                        })
                        .await;
                })
                .drop_on_shutdown()
        });
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Event(event) => self.take_in(event, &sender, root),
            Message::Selected(path) => self.show(path, &sender, root),
            Message::Back => {
                self.shown = Shown::Nothing;
                self.list.select(None);
            }
            Message::Computer => self.show_computer(root),
            Message::Networks => self.show_networks(root),
            Message::HostProblems(count) => self.host_problems = count,
            Message::Search(text) => {
                self.list.search(&text);
                self.select_shown();
            }
            Message::Group(place) => {
                self.choose_group(place);
                self.select_shown();
            }
            Message::AskGroup(action) => self.ask_group(action, &sender, root),
            Message::ActOnGroup(group, action) => self.act_on_group(group, action, &sender),
            Message::Retry => self.backend.retry(),
            Message::New => self.open_dialog(&sender, root),
            Message::Defaults => self.open_defaults(root),
            Message::Autostart => self.autostart(&sender),
            Message::DialogClosed => self.dialog = None,
            Message::Creating { job, name } => {
                let failure = tr_name("“{name}” Could Not Be Created", &name);
                let own = OwnJob {
                    failure,
                    again: None,
                    then: None,
                    show: Some(name),
                };
                self.job_begun(job, own, &sender, root);
            }
            Message::Ask(path, action) => self.ask(path, action, &sender, root),
            Message::Act(path, action) => self.act(path, action, None, &sender),
            Message::Begin(task) => self.begin(task, &sender),
            Message::Wanted(path, wanted) => self.wanted(path, wanted, &sender, root),
            Message::ChooseImport => Self::choose_import(&sender, root),
            Message::AskImport(from) => self.ask_import(from, &sender, root),
            Message::Rename(path, name) => self.rename(path, name, &sender),
            Message::OnShown(action) => self.act_on_shown(&action, root),
            Message::Settle(interface, keep) => self.settle(interface, keep, &sender),
            Message::CancelJob(path) => self.cancel_job(path, &sender),
            Message::Problem(problem) => report(root, &problem, None),
            Message::About => view::about(root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Event(event) => self.take_in(event, &sender, root),
            Answer::Acted {
                path,
                name,
                action,
                then,
                result,
            } => {
                self.acted((path, &name), (action, then), result, &sender, root);
            }
            Answer::Snapshots(path, count) => self.ask_delete(path, count, &sender, root),
            Answer::Begun(task, result) => self.begun(task, result, &sender, root),
            Answer::ActedOnGroup {
                group,
                action,
                result,
            } => self.acted_on_group(group, action, result, &sender, root),
            Answer::Autostarted(result) => self.autostarted(result, &sender, root),
            Answer::Renamed { old, new, result } => match result {
                Ok(()) => self.show_once_there(new, &sender, root),
                Err(error) => requests::not_renamed(root, &old, &error),
            },
            Answer::Told(name, Ok(told)) => jobs::tell_outcome(&name, &told, root),
            Answer::Told(_, Err(error)) => tracing::info!("a job told nothing: {error}"),
            Answer::Settled(interface, keep, result) => {
                self.settled(interface, keep, result, &sender, root);
            }
            Answer::Cancelled(result) => requests::cancelled(root, &result),
        }
        self.render(root);
    }
}

impl Window {
    fn take_in(&mut self, event: Event, sender: &ComponentSender<Self>, root: &Root) {
        let parts = root.imp();
        match event {
            Event::Connecting => self.set_link(Link::Connecting),
            Event::Absent(absence) => self.set_link(Link::Absent(absence)),
            Event::Ready(Everything {
                containers,
                jobs,
                networks,
            }) => {
                self.set_link(Link::Ready);
                let by_path = networks.iter().cloned();
                let by_path = by_path.map(|network| (network.path.clone(), network));
                self.wires = by_path.collect();
                self.networks.emit(networks::Message::All(networks));
                self.tell_networks();
                self.loaded = true;
                for container in &containers {
                    self.tell_page(container);
                }
                for path in self.list.replace(containers) {
                    self.close_page(&path, root);
                }
                parts.jobs.replace(&jobs);
                let lost: Vec<String> = self
                    .own_jobs
                    .keys()
                    .filter(|path| !jobs.iter().any(|job| job.path == **path))
                    .cloned()
                    .collect();
                self.jobs.clear();
                for job in jobs {
                    self.job_changed(job, sender, root);
                }
                for path in lost {
                    self.job_lost(&path, sender, root);
                }
                for path in self.pages.keys() {
                    self.tell_jobs(path);
                }
            }
            Event::Container(container) => {
                self.tell_page(&container);
                self.list.put(container);
                if let Some(name) = self.awaited.take() {
                    self.show_once_there(name, sender, root);
                }
            }
            Event::ContainerGone(path) => {
                self.list.remove(&path);
                self.close_page(&path, root);
            }
            Event::Job(job) => {
                parts.jobs.put(&job);
                self.job_changed(job, sender, root);
            }
            Event::JobGone(path) => {
                parts.jobs.remove(&path);
                self.jobs.remove(&path);
            }
            Event::Network(network) => {
                self.wires.insert(network.path.clone(), network.clone());
                self.networks.emit(networks::Message::Put(network));
                self.tell_networks();
            }
            Event::NetworkGone(path) => {
                self.wires.remove(&path);
                self.networks.emit(networks::Message::Gone(path));
                self.tell_networks();
            }
            Event::Trials(trials) => self.take_in_trials(trials, sender, root),
            Event::Interfaces(path) => {
                if let Some(page) = self.pages.get(&path) {
                    page.emit(container::Message::Interfaces);
                }
            }
        }
        self.offer_groups(root);
    }

    /// Selects what is shown, where search and group leave it in the list.
    fn select_shown(&self) {
        if let Shown::Container(path) = &self.shown {
            self.list.select(Some(path));
        }
    }

    /// A key was pressed that means the page of a container, wherever the keyboard is
    /// but in a dialog above it.
    fn act_on_shown(&self, action: &str, root: &Root) {
        let Shown::Container(path) = &self.shown else {
            return;
        };
        if let (Some(page), None) = (self.pages.get(path), root.visible_dialog()) {
            let action = format!("container.{action}");
            if let Err(error) = page.widget().activate_action(&action, None) {
                tracing::warn!("{action}: {error}");
            }
        }
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
        if self.link != Link::Ready {
            // The next helper takes back what the last one had on trial.
            self.trials = Trials::default();
        }
        for page in self.pages.values() {
            page.emit(container::Message::Online(self.link == Link::Ready));
        }
        let online = computer::Message::Online(self.link == Link::Ready);
        self.computer.emit(online);
        let online = networks::Message::Online(self.link == Link::Ready);
        self.networks.emit(online);
    }

    /// Tells the pages of containers what there is to be wired to.
    fn tell_networks(&self) {
        for page in self.pages.values() {
            let networks = self.wires.values().cloned().collect();
            page.emit(container::Message::Networks(networks));
        }
    }

    fn tell_page(&self, container: &Container) {
        if let Some(page) = self.pages.get(&container.path) {
            page.emit(container::Message::Changed(Box::new(container.clone())));
        }
    }
}
