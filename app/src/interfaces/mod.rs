//! The page of a container's network interfaces: what they are plugged into, as a picture
//! and as rows.

mod forms;
mod root;
mod row;
mod wiring;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw,
};

pub use root::Root;
pub use row::InterfaceRow;
pub use wiring::Wiring;

use crate::{
    backend::{Backend, Container, HostInterface, Interface, Network},
    interface_dialog::InterfaceDialog,
    known::{Done, Known, report_error},
    text::{mark, tr, tr_name},
    widgets::{Rows, States, install_actions},
};

/// The page's state.
#[derive(Debug)]
pub struct InterfacesPage {
    backend: Backend,
    container: Container,
    networks: Vec<Network>,
    known: Known<Vec<Interface>>,
    rows: Rows,
    /// Made anew when it is opened.
    dialog: Option<Controller<InterfaceDialog>>,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// The page is in sight, and the container is this.
    Shown(Box<Container>),
    /// These are all networks.
    Networks(Vec<Network>),
    /// Read the interfaces again.
    Load,
    /// Show the dialog for a new one.
    Add,
    /// Show the dialog for what this one is to be.
    Configure(u32),
    /// Ask what this one is to be plugged into.
    AskConnect(u32),
    /// Plug it in here, after asking where connections would be lost for good; nowhere
    /// where the link is empty.
    AskPlug(u32, String),
    /// Plug it in here.
    Plug(u32, String),
    /// Ask whether to remove this one.
    AskRemove(u32),
    /// Remove it.
    Remove(u32),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// The interfaces, or what went wrong.
    Loaded(gantry_api::Result<Vec<Interface>>),
    /// What this computer has to plug this one into, or what went wrong.
    Host(u32, gantry_api::Result<Vec<HostInterface>>),
    /// What was asked for is done, or is not.
    Done(Done<Message>),
}

impl From<Done<Message>> for Answer {
    fn from(done: Done<Message>) -> Self {
        Self::Done(done)
    }
}

impl Component for InterfacesPage {
    type Init = (Backend, Container);
    type Input = Message;
    type Output = ();
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        States::ensure_type();
        Wiring::ensure_type();
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
            networks: Vec::new(),
            known: Known::Nothing,
            rows: Rows::new(&root.imp().interfaces),
            dialog: None,
        };
        let actions = [("load", Message::Load), ("add", Message::Add)];
        install_actions(&root, "interfaces", sender.input_sender(), actions);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Shown(container) => {
                self.container = *container;
                self.load(&sender);
            }
            Message::Networks(networks) => {
                self.networks = networks;
                self.draw(&sender, root);
            }
            Message::Load => self.load(&sender),
            Message::Add => self.open_dialog(None, root),
            Message::Configure(index) => {
                if let Some(interface) = self.interface(index).cloned() {
                    self.open_dialog(Some(interface), root);
                }
            }
            Message::AskConnect(index) => {
                let backend = self.backend.clone();
                sender.oneshot_command(async move {
                    Answer::Host(index, backend.host_interfaces().await)
                });
            }
            Message::AskPlug(index, link) => self.ask_plug(index, link, &sender, root),
            Message::Plug(index, link) => self.plug(index, link, &sender),
            Message::AskRemove(index) => {
                if let Some(interface) = self.interface(index) {
                    forms::remove(interface, &self.container, &sender, root);
                }
            }
            Message::Remove(index) => self.remove(index, &sender),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        match answer {
            Answer::Loaded(result) => {
                let changed = self.known.there() != result.as_ref().ok();
                let heading = tr("The Interfaces Could Not Be Read");
                self.known.take_in(&heading, result);
                if changed {
                    self.fill(&sender);
                    self.draw(&sender, root);
                }
            }
            Answer::Host(index, Ok(host)) => {
                if let Some(interface) = self.interface(index) {
                    let links = links(&interface.plan.kind, &self.networks, &host);
                    forms::connect(interface, links, &sender, root);
                }
            }
            Answer::Host(index, Err(error)) => {
                let heading = tr("This Computer’s Interfaces Could Not Be Listed");
                let again = Message::AskConnect(index);
                report_error(root, (&heading, &error), again, sender.input_sender());
            }
            Answer::Done(done) => {
                done.tell(root, sender.input_sender());
                self.load(&sender);
            }
        }
        self.render(root);
    }
}

impl InterfacesPage {
    fn interface(&self, index: u32) -> Option<&Interface> {
        let mut all = self.known.there()?.iter();
        all.find(|interface| interface.index == index)
    }

    fn runs(&self) -> bool {
        self.container.init_pid != 0
    }

    fn load(&self, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        sender.oneshot_command(async move { Answer::Loaded(backend.interfaces(&path).await) });
    }

    /// What the helper is asked about.
    fn target(&self) -> (Backend, String) {
        (self.backend.clone(), self.container.path.clone())
    }

    /// Shows the dialog for a new interface, or for one that there is.
    fn open_dialog(&mut self, interface: Option<Interface>, root: &Root) {
        let (backend, path) = self.target();
        let about = (path, interface, self.networks.clone());
        let dialog = InterfaceDialog::builder().launch((backend, about)).detach();
        dialog.widget().present(Some(root));
        self.dialog = Some(dialog);
    }

    fn ask_plug(&self, index: u32, link: String, sender: &ComponentSender<Self>, root: &Root) {
        let Some(interface) = self.interface(index) else {
            return;
        };
        if interface.plan.link == link {
            return;
        }
        if link.is_empty() && self.runs() {
            forms::unplug(interface, sender, root);
        } else {
            sender.input(Message::Plug(index, link));
        }
    }

    fn plug(&self, index: u32, link: String, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = match link.as_str() {
            "" => mark("“{name}” Could Not Be Unplugged"),
            _ => mark("“{name}” Could Not Be Plugged In"),
        };
        let again = Message::Plug(index, link.clone());
        let call = async move { backend.plug(&path, index, &link).await };
        self.done(failure, index, again, call, sender);
    }

    fn remove(&self, index: u32, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = mark("“{name}” Could Not Be Removed");
        let call = async move { backend.remove_interface(&path, index).await };
        self.done(failure, index, Message::Remove(index), call, sender);
    }

    /// Has something done to this interface, and what went wrong told with a way to try
    /// again.
    fn done(
        &self,
        failure: &str,
        index: u32,
        again: Message,
        call: impl Future<Output = gantry_api::Result<()>> + Send + 'static,
        sender: &ComponentSender<Self>,
    ) {
        let title = self.interface(index).map(Interface::title);
        let failure = tr_name(failure, &title.unwrap_or_default());
        Done::ask(sender, (failure, again), call);
    }

    fn fill(&mut self, sender: &ComponentSender<Self>) {
        let all = self.known.there().map_or(&[][..], Vec::as_slice);
        let rows = all.iter();
        let rows = rows.map(|interface| InterfaceRow::new(interface, sender.input_sender()));
        self.rows.replace(rows, &tr("None"));
    }

    fn draw(&self, sender: &ComponentSender<Self>, root: &Root) {
        if let Some(interfaces) = self.known.there() {
            let wiring = &root.imp().wiring;
            wiring.show(interfaces, &self.networks, sender.input_sender());
        }
    }

    /// Makes the page show what the model says; rows and picture stand there already.
    fn render(&self, root: &Root) {
        self.known.show_in(&root.imp().states, Vec::is_empty);
    }
}

/// What an interface of a kind can be plugged into, each with words for it.
pub(crate) fn links(
    kind: &str,
    networks: &[Network],
    host: &[HostInterface],
) -> Vec<(String, String)> {
    match kind {
        "empty" | "none" => Vec::new(),
        "veth" => {
            let mut names: Vec<&str> = networks.iter().map(|one| one.name.as_str()).collect();
            names.sort_unstable();
            let names = names.into_iter();
            names
                .map(|name| (name.to_owned(), name.to_owned()))
                .collect()
        }
        _ => host
            .iter()
            .filter(|one| one.can_be(kind))
            .map(|one| (one.name.clone(), one.words()))
            .collect(),
    }
}
