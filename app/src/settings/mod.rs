//! The page of one container's settings: each is saved by itself.

mod root;

use std::collections::HashMap;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, Container, Problem, Setting},
    text::{tr, tr_name},
};

/// What is known of the settings.
#[derive(Debug)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// They stand in the rows.
    Values(HashMap<Setting, String>),
    /// Why they cannot be read.
    Problem(Problem),
}

/// The page's state.
#[derive(Debug)]
pub struct SettingsPage {
    backend: Backend,
    container: Container,
    known: Known,
}

/// What happened, or what the user wants.
#[derive(Debug)]
pub enum Message {
    /// The page is in sight, and the container is this.
    Shown(Box<Container>),
    /// Read the settings again.
    Load,
    /// Save what the row of this setting says.
    Save(Setting),
}

/// What the page cannot do itself.
#[derive(Debug)]
pub enum Output {
    /// Tell of a problem.
    Problem(Problem),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The settings, or what went wrong.
    Loaded(gantry_api::Result<HashMap<Setting, String>>),
    /// A setting was saved, or was not.
    Saved(gantry_api::Result<()>),
}

impl Component for SettingsPage {
    type Init = (Backend, Container);
    type Input = Message;
    type Output = Output;
    type CommandOutput = Answer;
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
        let model = Self {
            backend,
            container,
            known: Known::Nothing,
        };
        connect(&root, &sender);
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
            Message::Save(setting) => self.save(setting, &sender, root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(Ok(values)) => {
                let before = std::mem::replace(&mut self.known, Known::Values(values));
                self.fill(&before, root);
            }
            Answer::Loaded(Err(error)) => {
                let heading = tr("The Settings Could Not Be Read");
                if let Some(problem) = Problem::from_error(&heading, &error) {
                    self.known = Known::Problem(problem);
                }
            }
            Answer::Saved(result) => {
                if let Err(error) = result {
                    let heading = tr_name(
                        "The Setting of “{name}” Could Not Be Saved",
                        &self.container.name,
                    );
                    if let Some(problem) = Problem::from_error(&heading, &error) {
                        // Fails only when the window is gone.
                        sender.output(Output::Problem(problem)).unwrap_or_default();
                    }
                    // The rows show again what is so.
                    self.known = Known::Nothing;
                }
                self.load(&sender);
            }
        }
        self.render(root);
    }
}

impl SettingsPage {
    fn load(&self, sender: &ComponentSender<Self>) {
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move {
            let mut values = HashMap::new();
            for setting in Setting::ALL {
                match backend.setting(&path, setting).await {
                    Ok(value) => values.insert(setting, value),
                    Err(error) => return Answer::Loaded(Err(error)),
                };
            }
            Answer::Loaded(Ok(values))
        });
    }

    fn save(&self, setting: Setting, sender: &ComponentSender<Self>, root: &Root) {
        let value = match entry(root, setting) {
            Some(entry) => entry.text().to_string(),
            None if root.imp().autostart.is_active() => "1".to_owned(),
            None => String::new(),
        };
        // A row that is filled says so as well.
        if matches!(&self.known, Known::Values(values) if values.get(&setting) == Some(&value)) {
            return;
        }
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move {
            Answer::Saved(backend.set_setting(&path, setting, &value).await)
        });
    }

    /// Shows in the rows what is not as before: what is being typed stays.
    fn fill(&self, before: &Known, root: &Root) {
        let Known::Values(values) = &self.known else {
            return;
        };
        for (setting, value) in values {
            if matches!(before, Known::Values(before) if before.get(setting) == Some(value)) {
                continue;
            }
            match entry(root, *setting) {
                // To set the same text again would count as a change to apply.
                Some(entry) if entry.text() != *value => entry.set_text(value),
                Some(_) => (),
                None => root.imp().autostart.set_active(value == "1"),
            }
        }
    }

    /// Makes the page show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        parts.stack.set_visible_child_name(match &self.known {
            Known::Nothing => "loading",
            Known::Values(_) => "settings",
            Known::Problem(_) => "problem",
        });
        if let Known::Problem(problem) = &self.known {
            parts.problem.set_title(&problem.heading);
            parts.problem.set_description(Some(&problem.cause));
        }
    }
}

/// The row of a setting that is typed; none for the switch.
fn entry(root: &Root, setting: Setting) -> Option<adw::EntryRow> {
    let parts = root.imp();
    Some(match setting {
        Setting::Autostart => return None,
        Setting::Order => parts.order.get(),
        Setting::Delay => parts.delay.get(),
        Setting::Groups => parts.groups.get(),
        Setting::Memory => parts.memory.get(),
        Setting::Processors => parts.processors.get(),
        Setting::Processes => parts.processes.get(),
    })
}

fn connect(root: &Root, sender: &ComponentSender<SettingsPage>) {
    let load = gio::SimpleAction::new("load", None);
    let input = sender.input_sender().clone();
    load.connect_activate(move |_, _: Option<&glib::Variant>| input.emit(Message::Load));
    let actions = gio::SimpleActionGroup::new();
    actions.add_action(&load);
    root.insert_action_group("settings", Some(&actions));
    for setting in Setting::ALL {
        let input = sender.input_sender().clone();
        match entry(root, setting) {
            Some(entry) => {
                entry.connect_apply(move |_| input.emit(Message::Save(setting)));
            }
            None => {
                let autostart = root.imp().autostart.get();
                autostart.connect_active_notify(move |_| input.emit(Message::Save(setting)));
            }
        }
    }
}
