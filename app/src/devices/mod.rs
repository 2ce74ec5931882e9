//! The page of what a running container has of this computer: device nodes and
//! network interfaces, until it stops.

mod forms;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw};

pub use root::Root;

use crate::{
    backend::{Backend, Container, Device, HostInterface},
    known::{Done, Known, report_error},
    text::{tr, tr_name},
    widgets::{Rows, States, ask, install_actions, with_button},
};

/// The page's state.
#[derive(Debug)]
pub struct DevicesPage {
    backend: Backend,
    container: Container,
    known: Known<Vec<Device>>,
    nodes: Rows,
    interfaces: Rows,
}

/// Something of this computer's to give to the container.
#[derive(Clone, Debug, Default)]
pub struct Gift {
    /// Its path, or its name, on this computer.
    host: String,
    /// That in the container; empty when it is the same.
    inside: String,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// The page is in sight, and the container is this.
    Shown(Box<Container>),
    /// Read the devices again.
    Load,
    /// Ask for a device node, with this filled in.
    AskNode(Gift),
    /// Give it.
    AddNode(Gift),
    /// Ask for a network interface.
    AskInterface,
    /// Give it.
    AddInterface(Gift),
    /// Ask whether to take this back.
    AskRemove(Device),
    /// Take it back.
    Remove(Device),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The devices, or what went wrong.
    Loaded(gantry_api::Result<Vec<Device>>),
    /// What can be lent, or what went wrong.
    Offered(gantry_api::Result<Vec<HostInterface>>),
    /// What was asked for is done, or is not.
    Done(Done<Message>),
}

impl From<Done<Message>> for Answer {
    fn from(done: Done<Message>) -> Self {
        Self::Done(done)
    }
}

impl Component for DevicesPage {
    type Init = (Backend, Container);
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
        (backend, container): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let model = Self {
            backend,
            container,
            known: Known::Nothing,
            nodes: Rows::new(&root.imp().nodes),
            interfaces: Rows::new(&root.imp().interfaces),
        };
        let actions = [
            ("load", Message::Load),
            ("add-node", Message::AskNode(Gift::default())),
            ("add-interface", Message::AskInterface),
        ];
        install_actions(&root, "devices", sender.input_sender(), actions);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Shown(container) => {
                let restarted = container.init_pid != self.container.init_pid;
                self.container = *container;
                if restarted {
                    self.known = Known::Nothing;
                }
                self.load(&sender);
            }
            Message::Load => self.load(&sender),
            Message::AskNode(gift) => forms::node(&self.container.name, &gift, &sender, root),
            Message::AddNode(gift) => self.add_node(gift, &sender),
            Message::AskInterface => {
                let backend = self.backend.clone();
                sender.oneshot_command(
                    async move { Answer::Offered(backend.host_interfaces().await) },
                );
            }
            Message::AddInterface(gift) => self.add_interface(gift, &sender),
            Message::AskRemove(device) => self.ask_remove(device, &sender, root),
            Message::Remove(device) => self.remove(device, &sender),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(result) => {
                if let Ok(devices) = &result
                    && self.known.there() != Some(devices)
                {
                    self.fill(devices, &sender);
                }
                let heading = tr("The Devices Could Not Be Read");
                self.known.take_in(&heading, result);
            }
            Answer::Offered(result) => {
                let again = Message::AskInterface;
                match result {
                    Ok(interfaces) => {
                        forms::interface(&self.container.name, &interfaces, &sender, root);
                    }
                    Err(error) => {
                        let failure = tr("This Computer’s Interfaces Could Not Be Listed");
                        report_error(root, (&failure, &error), again, sender.input_sender());
                    }
                }
            }
            Answer::Done(done) => {
                done.tell(root, sender.input_sender());
                self.load(&sender);
            }
        }
        self.render(root);
    }
}

impl DevicesPage {
    fn runs(&self) -> bool {
        self.container.init_pid != 0
    }

    /// Asks for the devices; one that does not run has none.
    fn load(&mut self, sender: &ComponentSender<Self>) {
        if !self.runs() {
            self.fill(&[], sender);
            self.known = Known::There(Vec::new());
            return;
        }
        let (backend, path) = self.target();
        sender.oneshot_command(async move { Answer::Loaded(backend.list_devices(&path).await) });
    }

    fn add_node(&self, gift: Gift, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Could Not Be Added", &gift.host);
        let again = Message::AskNode(gift.clone());
        let call = async move { backend.add_node(&path, &gift.host, &gift.inside).await };
        Done::ask(sender, (failure, again), call);
    }

    fn add_interface(&self, gift: Gift, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Could Not Be Added", &gift.host);
        let call = async move {
            let lent = backend.lend_interface(&path, &gift.host, &gift.inside);
            lent.await
        };
        Done::ask(sender, (failure, Message::AskInterface), call);
    }

    /// What the helper is asked about.
    fn target(&self) -> (Backend, String) {
        (self.backend.clone(), self.container.path.clone())
    }

    fn ask_remove(&self, device: Device, sender: &ComponentSender<Self>, root: &Root) {
        let heading = tr_name("Remove “{name}”?", device.name());
        let body = match &device {
            Device::Node { .. } => tr("Programs in the container that use it lose it."),
            Device::Interface { host, .. } => tr_name(
                "The container’s connections over it end. It becomes “{name}” of this computer again.",
                host,
            ),
        };
        let input = sender.input_sender().clone();
        ask::confirm(root, &heading, &body, &tr("_Remove"), move || {
            input.emit(Message::Remove(device));
        });
    }

    fn remove(&self, device: Device, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Could Not Be Removed", device.name());
        let again = Message::Remove(device.clone());
        let call = async move { backend.take_back(&path, &device).await };
        Done::ask(sender, (failure, again), call);
    }

    /// Makes the rows show these devices.
    fn fill(&mut self, devices: &[Device], sender: &ComponentSender<Self>) {
        let (nodes, interfaces): (Vec<&Device>, Vec<&Device>) = devices
            .iter()
            .partition(|device| matches!(device, Device::Node { .. }));
        for (rows, devices) in [(&mut self.nodes, nodes), (&mut self.interfaces, interfaces)] {
            let shown = devices.into_iter().map(|device| row(device, sender));
            rows.replace(shown, &tr("None"));
        }
    }

    /// Makes the page show what the model says; the rows stand there already.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        self.known.show_in(&parts.states, Vec::is_empty);
        let (title, description) = match self.runs() {
            true => (
                tr("No Devices of This Computer"),
                tr(
                    "The container can be given device nodes, such as a disk, and network interfaces until it stops.",
                ),
            ),
            false => (
                tr("The Container Is Not Running"),
                tr("Start it to give it device nodes and network interfaces of this computer."),
            ),
        };
        parts.empty.set_title(&title);
        parts.empty.set_description(Some(&description));
        parts.start.set_visible(!self.runs());
        parts.add_node.set_visible(self.runs());
        parts.add_interface.set_visible(self.runs());
    }
}

/// A row for a device, with a button that takes it back.
fn row(device: &Device, sender: &ComponentSender<DevicesPage>) -> adw::ActionRow {
    let subtitle = match device {
        Device::Node {
            kind, major, minor, ..
        } => {
            let kind = match kind.as_str() {
                "block" => tr("Block device"),
                _ => tr("Character device"),
            };
            format!("{kind} {major}:{minor}")
        }
        Device::Interface { host, .. } => tr_name("“{name}” of this computer", host),
    };
    let row = adw::ActionRow::builder()
        .title(device.name())
        .subtitle(subtitle)
        .use_markup(false)
        .subtitle_selectable(true)
        .build();
    let label = tr_name("Remove “{name}”", device.name());
    let (input, remove) = (
        sender.input_sender().clone(),
        Message::AskRemove(device.clone()),
    );
    with_button(&row, ("user-trash-symbolic", &label), move || {
        input.emit(remove.clone());
    });
    row
}
