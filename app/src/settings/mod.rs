//! The page of one container's settings: each is saved by itself.

mod forms;
mod restart_group;
mod root;
mod setting_row;

use std::collections::HashMap;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw};

pub use restart_group::RestartGroup;
pub use root::Root;
pub use setting_row::SettingRow;

use crate::{
    backend::{Backend, Container, Problem, Room, Setting, Task},
    known::Known,
    text::{size, tr, tr_name},
    widgets::{States, install_actions},
};

/// What the rows show.
type Values = HashMap<Setting, String>;

/// The page's state.
#[derive(Debug)]
pub struct SettingsPage {
    backend: Backend,
    container: Container,
    known: Known<Values>,
    /// That of the root file system.
    room: Known<Room>,
    /// The helper is being asked for it.
    measuring: bool,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// The page is in sight, and the container is this.
    Shown(Box<Container>),
    /// Read the settings again.
    Load,
    /// Save what the row of this setting says.
    Save(Setting),
    /// Look again how much room there is.
    Measure,
    /// Ask how much there is to be.
    AskGrow,
}

/// What the page cannot do itself.
#[derive(Debug)]
pub enum Output {
    /// Tell of a problem.
    Problem(Problem),
    /// Begin this.
    Begin(Task),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The settings, or what went wrong.
    Loaded(gantry_api::Result<Values>),
    /// The room there is, or what went wrong.
    Room(gantry_api::Result<Room>),
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
        States::ensure_type();
        RestartGroup::ensure_type();
        SettingRow::ensure_type();
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
            room: Known::Nothing,
            measuring: false,
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
                self.measure(&sender);
            }
            Message::Load => self.load(&sender),
            Message::Measure => {
                self.room = Known::Nothing;
                self.measure(&sender);
            }
            Message::AskGrow => {
                if let Some(room) = self.room.there() {
                    forms::grow(&self.container, *room, &sender, root);
                }
            }
            Message::Save(setting) => self.save(setting, &sender, root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(result) => {
                if let Ok(values) = &result {
                    self.fill(values, root);
                }
                self.known
                    .take_in(&tr("The Settings Could Not Be Read"), result);
            }
            Answer::Room(result) => {
                self.measuring = false;
                self.room
                    .take_in(&tr("The Room Could Not Be Measured"), result);
            }
            Answer::Saved(result) => {
                if let Err(error) = result {
                    let heading = tr_name(
                        "The Setting of “{name}” Could Not Be Saved",
                        &self.container.name,
                    );
                    if let Some(problem) = Problem::from_error(&heading, &error) {
                        tell(&sender, Output::Problem(problem));
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

    /// Asks how much room there is; for one that does not run the helper has to look into
    /// its disk, so once at a time.
    fn measure(&mut self, sender: &ComponentSender<Self>) {
        if std::mem::replace(&mut self.measuring, true) {
            return;
        }
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move { Answer::Room(backend.room(&path).await) });
    }

    fn save(&self, setting: Setting, sender: &ComponentSender<Self>, root: &Root) {
        let value = match entry(root, setting) {
            Some(entry) => entry.text().to_string(),
            None if root.imp().autostart.is_active() => "1".to_owned(),
            None => String::new(),
        };
        // A row that is filled says so as well.
        if self.shows(setting, &value) {
            return;
        }
        let (backend, path) = (self.backend.clone(), self.container.path.clone());
        sender.oneshot_command(async move {
            Answer::Saved(backend.set_setting(&path, setting, &value).await)
        });
    }

    /// Whether the helper has told this value.
    fn shows(&self, setting: Setting, value: &str) -> bool {
        let values = self.known.there();
        values.is_some_and(|values| values.get(&setting).is_some_and(|known| known == value))
    }

    /// Shows in the rows what is not as before: what is being typed stays.
    fn fill(&self, values: &Values, root: &Root) {
        for (setting, value) in values {
            if self.shows(*setting, value) {
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
        self.known.show_in(&parts.states, Values::is_empty);
        self.render_room(root);
        let keys = &self.container.needs_restart;
        parts.restart.show_keys(keys);
        for setting in Setting::ALL {
            if let Some(row) = entry(root, setting) {
                row.set_needs_restart(keys.iter().any(|key| setting.is_saved_as(key)));
            }
        }
    }
}

impl SettingsPage {
    fn render_room(&self, root: &Root) {
        let parts = root.imp();
        let (title, subtitle) = match &self.room {
            Known::Nothing => (tr("Measuring…"), String::new()),
            Known::There(room) => (tr("Room"), words(*room)),
            Known::Problem(problem) => (problem.heading.clone(), problem.cause.clone()),
        };
        parts.room.set_title(&title);
        parts.room.set_subtitle(&subtitle);
        parts
            .room_loading
            .set_visible(matches!(self.room, Known::Nothing));
        parts
            .room_retry
            .set_visible(matches!(self.room, Known::Problem(_)));
        let can_grow = self.room.there().is_some_and(|room| room.own);
        parts.grow.set_visible(can_grow);
    }
}

/// How much room there is, and whose it is.
fn words(room: Room) -> String {
    let message = match room.own {
        true => tr("{free} of {size} are free"),
        false => tr(
            "{free} of {size} are free, on a disk that it shares with others: there is nothing to grow",
        ),
    };
    message
        .replace("{free}", &size(room.free))
        .replace("{size}", &size(room.size))
}

/// The row of a setting that is typed; none for the switch.
fn entry(root: &Root, setting: Setting) -> Option<SettingRow> {
    let parts = root.imp();
    Some(match setting {
        Setting::Autostart => return None,
        Setting::Order => parts.order.get(),
        Setting::Delay => parts.delay.get(),
        Setting::Groups => parts.groups.get(),
        Setting::Memory => parts.memory.get(),
        Setting::Processors => parts.processors.get(),
        Setting::Quota => parts.quota.get(),
        Setting::Which => parts.which.get(),
        Setting::Processes => parts.processes.get(),
    })
}

fn connect(root: &Root, sender: &ComponentSender<SettingsPage>) {
    let actions = [
        ("load", Message::Load),
        ("measure", Message::Measure),
        ("grow", Message::AskGrow),
    ];
    install_actions(root, "settings", sender.input_sender(), actions);
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

fn tell(sender: &ComponentSender<SettingsPage>, output: Output) {
    // Fails only when the window is gone.
    sender.output(output).unwrap_or_default();
}
