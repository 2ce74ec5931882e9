//! The dialog for a new container. The job it begins goes on without it.

mod form;
mod name;
mod root;

use std::{collections::HashSet, path::PathBuf};

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::JobState;
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw, gtk,
};

pub use name::check as check_name;
pub use root::Root;

use crate::{
    backend::{Backend, Image, Job, Problem},
    images::ImagesDialog,
    text::{tr, tr_name},
    widgets::files,
    window::stage,
};
use form::Kind;

/// How far the dialog is.
#[derive(Debug)]
enum Step {
    /// The form is being filled in.
    Form,
    /// The helper has been asked.
    Asking,
    /// The job runs.
    Running(Box<Job>),
}

/// The dialog's state.
#[derive(Debug)]
pub struct CreateDialog {
    backend: Backend,
    taken: HashSet<String>,
    name: String,
    /// The helper has not said yet what it can do.
    asking: bool,
    /// What the helper can make a container from.
    kinds: Vec<Kind>,
    /// The ways in which it can store one.
    backends: Vec<String>,
    archive: Option<PathBuf>,
    image: Option<Image>,
    /// Made anew when it is opened.
    images: Option<Controller<ImagesDialog>>,
    step: Step,
}

/// What the user wants, or what became of the job.
#[derive(Debug)]
pub enum Message {
    /// Something in the form has changed.
    Edited,
    /// Choose an archive.
    Choose,
    /// This archive was chosen.
    Chosen(PathBuf),
    /// Choose an image.
    ChooseImage,
    /// This image was chosen.
    ImageChosen(Image),
    /// Make the container.
    Create,
    /// Cancel the job.
    Cancel,
    /// The dialog is closed.
    Closed,
    /// A job is new or has changed; it may be ours.
    Job(Job),
    /// A job is no more; it may be ours.
    JobLost(String),
}

/// What the dialog cannot do itself.
#[derive(Debug)]
pub enum Output {
    /// A job makes the container of this name.
    Begun {
        /// The job's path.
        job: String,
        /// The container's name.
        name: String,
    },
    /// Cancel this job.
    Cancel(String),
    /// Tell of a problem.
    Problem(Problem),
    /// The dialog is closed.
    Closed,
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// What it can do.
    Features(gantry_api::Result<Vec<String>>),
    /// The job, or what went wrong.
    Begun(gantry_api::Result<String>),
}

impl Component for CreateDialog {
    type Init = (Backend, HashSet<String>);
    type Input = Message;
    type Output = Output;
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        Root::default()
    }

    fn init(
        (backend, taken): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let model = Self {
            backend,
            taken,
            name: String::new(),
            asking: true,
            kinds: Kind::offered(&[]),
            backends: form::backends(&[]),
            archive: None,
            image: None,
            images: None,
            step: Step::Form,
        };
        form::offer(&root, &model.kinds, &model.backends);
        let backend = model.backend.clone();
        sender.oneshot_command(async move { Answer::Features(backend.features().await) });
        connect(&root, &sender);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Edited => self.name = root.imp().name.text().into(),
            Message::Choose => {
                let input = sender.input_sender().clone();
                files::open_archive(root, move |path| input.emit(Message::Chosen(path)));
            }
            Message::Chosen(path) => self.archive = Some(path),
            Message::ChooseImage => {
                let images = ImagesDialog::builder()
                    .launch(self.backend.clone())
                    .forward(sender.input_sender(), Message::ImageChosen);
                images.widget().present(Some(root));
                self.images = Some(images);
            }
            Message::ImageChosen(image) => self.image = Some(image),
            Message::Create => self.create(&sender, root),
            Message::Cancel => {
                if let Step::Running(job) = &self.step {
                    tell(&sender, Output::Cancel(job.path.clone()));
                }
            }
            Message::Closed => tell(&sender, Output::Closed),
            Message::Job(job) => self.job_changed(job, root),
            Message::JobLost(path) => {
                if matches!(&self.step, Step::Running(job) if job.path == path) {
                    self.step = Step::Form;
                }
            }
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Features(Ok(features)) => {
                self.asking = false;
                self.kinds = Kind::offered(&features);
                self.backends = form::backends(&features);
                form::offer(root, &self.kinds, &self.backends);
            }
            Answer::Features(Err(error)) => {
                self.asking = false;
                tracing::warn!("what the helper can do is not known: {error}");
            }
            Answer::Begun(Ok(job)) => {
                self.step = Step::Running(Box::new(Job::new(&job)));
                let name = self.name.clone();
                tell(&sender, Output::Begun { job, name });
            }
            Answer::Begun(Err(error)) => {
                self.step = Step::Form;
                let heading = tr_name("“{name}” Could Not Be Created", &self.name);
                if let Some(problem) = Problem::from_error(&heading, &error) {
                    tell(&sender, Output::Problem(problem));
                }
            }
        }
        self.render(root);
    }
}

impl CreateDialog {
    fn create(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        if let Ok(new) = self.read(root) {
            self.step = Step::Asking;
            let backend = self.backend.clone();
            sender.oneshot_command(async move { Answer::Begun(backend.create(new).await) });
        }
    }

    fn job_changed(&mut self, job: Job, root: &Root) {
        let Step::Running(ours) = &self.step else {
            return;
        };
        if ours.path != job.path {
            return;
        }
        match job.state {
            JobState::Running => self.step = Step::Running(Box::new(job)),
            JobState::Done => {
                root.close();
            }
            // Whatever went wrong, what was typed is still there to be changed.
            JobState::Failed | JobState::Cancelled => self.step = Step::Form,
        }
    }

    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        let form = matches!(self.step, Step::Form);
        let verdict = name::check(&self.name, &self.taken);
        parts.template.set_sensitive(!self.asking);
        parts.backend.set_sensitive(!self.asking);
        self.show_rows(root);
        let read = self.read(root);

        // An empty name is not wrong yet.
        let wrong = verdict.is_err() && !self.name.is_empty();
        if wrong {
            parts.name.add_css_class("error");
            parts.name_message.set_css_classes(&["caption", "error"]);
        } else {
            parts.name.remove_css_class("error");
            parts
                .name_message
                .set_css_classes(&["caption", "dim-label"]);
        }
        let hint = tr("Letters, digits, hyphens and dots. It is the container’s host name too.");
        let message = match &verdict {
            Err(message) if wrong => message,
            _ => &hint,
        };
        if wrong && parts.name_message.label() != *message {
            parts
                .name_message
                .announce(message, gtk::AccessibleAnnouncementPriority::Medium);
        }
        parts.name_message.set_label(message);
        let state = if wrong {
            gtk::AccessibleInvalidState::True
        } else {
            gtk::AccessibleInvalidState::False
        };
        parts
            .name
            .upcast_ref::<gtk::Widget>()
            .update_state(&[gtk::accessible::State::Invalid(state)]);

        let said = read.as_ref().err().filter(|said| !said.is_empty());
        parts.fault.set_title(said.map_or("", String::as_str));
        parts.fault.set_revealed(form && said.is_some());
        parts.create_button.set_visible(form);
        parts
            .create_button
            .set_sensitive(verdict.is_ok() && read.is_ok());
        parts
            .close_button
            .set_label(&if form { tr("_Cancel") } else { tr("_Close") });
        parts
            .stack
            .set_visible_child_name(if form { "form" } else { "progress" });
        parts
            .progress_page
            .set_title(&tr_name("Creating “{name}”", &self.name));
        if let Step::Running(job) = &self.step {
            parts.stage.set_label(&stage(job));
            parts.progress.set_fraction(job.progress.clamp(0.0, 1.0));
            parts.cancel_button.set_sensitive(job.can_cancel);
        } else {
            parts.stage.set_label(&tr("Asking the helper…"));
            parts.progress.set_fraction(0.0);
            parts.cancel_button.set_sensitive(false);
        }
    }
}

fn connect(root: &Root, sender: &ComponentSender<CreateDialog>) {
    let parts = root.imp();
    let input = sender.input_sender();
    let to = input.clone();
    parts
        .name
        .connect_changed(move |_| to.emit(Message::Edited));
    for row in [
        &parts.script,
        &parts.repository,
        &parts.release,
        &parts.arguments,
        &parts.size,
    ] {
        let to = input.clone();
        row.connect_changed(move |_| to.emit(Message::Edited));
    }
    for row in [&parts.template, &parts.backend] {
        let to = input.clone();
        row.connect_selected_notify(move |_| to.emit(Message::Edited));
    }
    let to = input.clone();
    parts
        .image_button
        .connect_clicked(move |_| to.emit(Message::ChooseImage));
    let to = input.clone();
    parts
        .choose_button
        .connect_clicked(move |_| to.emit(Message::Choose));
    let to = input.clone();
    parts
        .create_button
        .connect_clicked(move |_| to.emit(Message::Create));
    let to = input.clone();
    parts
        .cancel_button
        .connect_clicked(move |_| to.emit(Message::Cancel));
    let dialog = root.downgrade();
    parts.close_button.connect_clicked(move |_| {
        if let Some(dialog) = dialog.upgrade() {
            dialog.close();
        }
    });
    let to = input.clone();
    root.connect_closed(move |_| to.emit(Message::Closed));
}

fn tell(sender: &ComponentSender<CreateDialog>, output: Output) {
    // Fails only when the window is gone.
    sender.output(output).unwrap_or_default();
}
