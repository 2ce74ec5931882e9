//! The window: the list of containers, the page of the selected one, the jobs,
//! and what stands there while there is no helper.

mod container_item;
mod container_list;
mod job_item;
mod jobs_button;
mod requests;
mod root;
mod view;

use std::collections::HashMap;

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::JobState;
use gtk::{gio, glib::VariantTy};
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw, gtk,
};

pub use container_item::ContainerItem;
pub use container_list::ContainerList;
pub use job_item::{JobItem, stage};
pub use jobs_button::JobsButton;
pub use root::Root;

use crate::{
    backend::{Absence, Action, Backend, Container, Event, Job, Problem},
    container::{self, ContainerPage},
    create::{self, CreateDialog},
    text::tr_name,
};

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

/// A job that this window began.
#[derive(Debug)]
struct OwnJob {
    /// What did not happen if it fails.
    failure: String,
    /// The container to show once it is done.
    show: Option<String>,
}

/// The window's state.
#[derive(Debug)]
pub struct Window {
    backend: Backend,
    link: Link,
    /// The helper has told once what there is.
    loaded: bool,
    list: ContainerList,
    pages: HashMap<String, Controller<ContainerPage>>,
    current: Option<String>,
    jobs: HashMap<String, Job>,
    own_jobs: HashMap<String, OwnJob>,
    dialog: Option<Controller<CreateDialog>>,
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
    /// The text of the search.
    Search(String),
    /// Try again to reach the helper.
    Retry,
    /// Show the dialog for a new container.
    New,
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
        /// The job, or what went wrong.
        result: gantry_api::Result<Option<String>>,
    },
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
        let model = Self {
            backend: backend.clone(),
            link: Link::Connecting,
            loaded: false,
            list: ContainerList::new(&root.imp().list),
            pages: HashMap::new(),
            current: None,
            jobs: HashMap::new(),
            own_jobs: HashMap::new(),
            dialog: None,
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
                self.current = None;
                self.list.select(None);
            }
            Message::Search(text) => {
                self.list.search(&text);
                if self.current.is_some() {
                    self.list.select(self.current.as_deref());
                }
            }
            Message::Retry => self.backend.retry(),
            Message::New => self.open_dialog(&sender, root),
            Message::DialogClosed => self.dialog = None,
            Message::Creating { job, name } => {
                let failure = tr_name("“{name}” Could Not Be Created", &name);
                let own = OwnJob {
                    failure,
                    show: Some(name),
                };
                self.job_begun(job, own, &sender, root);
            }
            Message::Ask(path, action) => self.ask(path, action, &sender, root),
            Message::Act(path, action) => self.act(path, action, &sender),
            Message::CancelJob(path) => {
                let backend = self.backend.clone();
                sender
                    .oneshot_command(async move { Answer::Cancelled(backend.cancel(&path).await) });
            }
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
                result,
            } => {
                self.acted(path, &name, action, result, &sender, root);
            }
            Answer::Cancelled(result) => requests::cancelled(root, &result),
        }
        self.render(root);
    }
}

impl Window {
    fn connect(&self, root: &Root, sender: &ComponentSender<Self>) {
        let input = sender.input_sender();
        let send = |message: fn() -> Message| {
            let input = input.clone();
            move |_: &Root, _: &gio::SimpleAction, _: Option<&gtk::glib::Variant>| {
                input.emit(message())
            }
        };
        let send_path = |message: fn(String) -> Message| {
            let input = input.clone();
            move |_: &Root, _: &gio::SimpleAction, path: Option<&gtk::glib::Variant>| {
                if let Some(path) = path.and_then(|path| path.get()) {
                    input.emit(message(path));
                }
            }
        };
        let plain = |name, message| {
            gio::ActionEntry::builder(name)
                .activate(send(message))
                .build()
        };
        let on_path = |name, message| {
            gio::ActionEntry::builder(name)
                .parameter_type(Some(VariantTy::STRING))
                .activate(send_path(message))
                .build()
        };
        root.add_action_entries([
            plain("new", || Message::New),
            plain("retry", || Message::Retry),
            plain("about", || Message::About),
            on_path("start", |path| Message::Ask(path, Action::Start)),
            on_path("stop", |path| Message::Ask(path, Action::Stop)),
            on_path("cancel-job", Message::CancelJob),
            gio::ActionEntry::builder("search")
                .activate(|root: &Root, _, _| {
                    root.imp().search_bar.set_search_mode(true);
                    root.imp().search.grab_focus();
                })
                .build(),
        ]);
        let parts = root.imp();
        let to = input.clone();
        self.list
            .connect_selected(move |path| to.emit(Message::Selected(path)));
        let to = input.clone();
        parts
            .search
            .connect_search_changed(move |entry| to.emit(Message::Search(entry.text().into())));
        let to = input.clone();
        parts.split.connect_show_content_notify(move |split| {
            if !split.shows_content() && split.is_collapsed() {
                to.emit(Message::Back);
            }
        });
    }

    fn take_in(&mut self, event: Event, sender: &ComponentSender<Self>, root: &Root) {
        let parts = root.imp();
        match event {
            Event::Connecting => self.set_link(Link::Connecting),
            Event::Absent(absence) => self.set_link(Link::Absent(absence)),
            Event::Ready(containers, jobs) => {
                self.set_link(Link::Ready);
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
                    self.job_lost(&path, root);
                }
            }
            Event::Container(container) => {
                self.tell_page(&container);
                self.list.put(container);
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
        }
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
        for page in self.pages.values() {
            page.emit(container::Message::Online(self.link == Link::Ready));
        }
    }

    fn tell_page(&self, container: &Container) {
        if let Some(page) = self.pages.get(&container.path) {
            page.emit(container::Message::Changed(Box::new(container.clone())));
        }
    }

    /// Shows the page of the container at `path`, made when it is first wanted.
    fn show(&mut self, path: String, sender: &ComponentSender<Self>, root: &Root) {
        let parts = root.imp();
        let Some(container) = self.list.get(&path) else {
            return;
        };
        parts.content.set_title(&container.name);
        let page = self.pages.entry(path.clone()).or_insert_with(|| {
            let owner = path.clone();
            let page = ContainerPage::builder()
                .launch((self.backend.clone(), container, self.link == Link::Ready))
                .forward(sender.input_sender(), move |output| match output {
                    container::Output::Act(action) => Message::Ask(owner.clone(), action),
                    container::Output::Problem(problem) => Message::Problem(problem),
                });
            parts.pages.add_child(page.widget());
            page
        });
        parts.pages.set_visible_child(page.widget());
        parts.split.set_show_content(true);
        self.current = Some(path);
    }

    fn close_page(&mut self, path: &str, root: &Root) {
        if let Some(page) = self.pages.remove(path) {
            root.imp().pages.remove(page.widget());
        }
        if self.current.as_deref() == Some(path) {
            self.current = None;
            root.imp().split.set_show_content(false);
        }
    }

    fn job_begun(
        &mut self,
        path: String,
        own: OwnJob,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let known = self.jobs.get(&path).cloned();
        self.own_jobs.insert(path, own);
        // It may have ended before the answer that named it was read.
        if let Some(job) = known {
            self.job_changed(job, sender, root);
        }
    }

    fn job_changed(&mut self, job: Job, sender: &ComponentSender<Self>, root: &Root) {
        if let Some(dialog) = &self.dialog {
            dialog.emit(create::Message::Job(job.clone()));
        }
        if job.state != JobState::Running
            && let Some(own) = self.own_jobs.remove(&job.path)
        {
            if job.state == JobState::Failed {
                let problem =
                    Problem::from_parts(&own.failure, &job.error_name, &job.error_message);
                if let Some(problem) = problem {
                    report(root, &problem, None);
                }
            } else if job.state == JobState::Done
                && let Some(path) = own.show.and_then(|name| self.list.named(&name))
            {
                self.show(path.clone(), sender, root);
                self.list.select(Some(&path));
            }
        }
        self.jobs.insert(job.path.clone(), job);
    }

    fn job_lost(&mut self, path: &str, root: &Root) {
        if let Some(own) = self.own_jobs.remove(path)
            && let Some(problem) = Problem::from_parts(&own.failure, "NoReply", "")
        {
            report(root, &problem, None);
        }
        if let Some(dialog) = &self.dialog {
            dialog.emit(create::Message::JobLost(path.to_owned()));
        }
    }

    fn open_dialog(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        let dialog = CreateDialog::builder()
            .launch((self.backend.clone(), self.list.names()))
            .forward(sender.input_sender(), |output| match output {
                create::Output::Begun { job, name } => Message::Creating { job, name },
                create::Output::Cancel(job) => Message::CancelJob(job),
                create::Output::Problem(problem) => Message::Problem(problem),
                create::Output::Closed => Message::DialogClosed,
            });
        dialog.widget().present(Some(root));
        self.dialog = Some(dialog);
    }
}

use view::report;
