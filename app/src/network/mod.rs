//! The page of one network: what it is, what is plugged into it, and what it has given
//! away.

mod forms;
mod root;
mod rows;

use adw::{prelude::*, subclass::prelude::*};
use gantry_api::Error;
use gtk::gio;
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, Forward, Given, Network, Port, PortChange, Reservation},
    known::{Done, Known, report_error},
    networks::{state_sign, state_word},
    text::{mark, tr, tr_name},
    widgets::{PropertyRow, Rows, ask, install_actions},
};

/// The page's state.
#[derive(Debug)]
pub struct NetworkPage {
    backend: Backend,
    /// Nothing but its path counts before one is shown.
    network: Network,
    online: bool,
    /// It is being brought up or taken down.
    busy: bool,
    given: Known<Given>,
    actions: gio::SimpleActionGroup,
    ports: Rows,
    leases: Rows,
    reservations: Rows,
    forwards: Rows,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Whether there is a helper.
    Online(bool),
    /// This network comes into sight.
    Shown(Box<Network>),
    /// The network in sight is now this.
    Changed(Box<Network>),
    /// Read again what it has given away.
    Load,
    /// Bring it up.
    Up,
    /// Take it down.
    Down,
    /// Ask what it is to be.
    Configure,
    /// Ask whether Gantry is to run it from now on.
    AskTakeOver,
    /// Have Gantry run it.
    TakeOver,
    /// Ask whether to delete it.
    AskDelete,
    /// Delete it, even if configurations of containers name it.
    Delete(bool),
    /// Ask how its bridge is to treat a port.
    AskPort(Port),
    /// Have it treated so.
    SetPort(Port, PortChange),
    /// Ask which address is to be whose, with this filled in.
    AskReserve(Reservation),
    /// Reserve it.
    Reserve(Reservation),
    /// Ask whether it is to be anybody's again.
    AskUnreserve(Reservation),
    /// Let it be.
    Unreserve(Reservation),
    /// Ask which port is to lead to which container.
    AskForward,
    /// Have it lead there.
    Forward(Forward),
    /// Ask whether it is to lead nowhere.
    AskClose(Forward),
    /// Have it lead nowhere.
    Close(Forward),
}

/// What the page cannot do itself.
#[derive(Debug)]
pub enum Output {
    /// Ask what this network is to be.
    Configure(Network),
}

/// Answers to what the helper was asked.
#[derive(Debug)]
pub enum Answer {
    /// What the network at this path has given away, or what went wrong.
    Given(String, gantry_api::Result<Given>),
    /// The containers there are, or what went wrong.
    Containers(gantry_api::Result<Vec<String>>),
    /// The network is deleted, or is not; whether that was to be forced.
    Deleted(bool, gantry_api::Result<()>),
    /// What was asked for is done, or is not.
    Done(Done<Message>),
}

impl From<Done<Message>> for Answer {
    fn from(done: Done<Message>) -> Self {
        Self::Done(done)
    }
}

impl Component for NetworkPage {
    type Init = Backend;
    type Input = Message;
    type Output = Output;
    type CommandOutput = Answer;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        PropertyRow::ensure_type();
        Root::default()
    }

    fn init(backend: Backend, root: Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let parts = root.imp();
        let actions = [
            ("load", Message::Load),
            ("up", Message::Up),
            ("down", Message::Down),
            ("configure", Message::Configure),
            ("delete", Message::AskDelete),
            ("take-over", Message::AskTakeOver),
            ("reserve", Message::AskReserve(Reservation::default())),
            ("forward", Message::AskForward),
        ];
        let model = Self {
            backend,
            network: Network::default(),
            online: false,
            busy: false,
            given: Known::Nothing,
            actions: install_actions(&root, "network", sender.input_sender(), actions),
            ports: Rows::new(&parts.ports),
            leases: Rows::new(&parts.leases),
            reservations: Rows::new(&parts.reservations),
            forwards: Rows::new(&parts.forwards),
        };
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Online(online) => {
                if online && !self.online {
                    self.load(&sender);
                }
                self.online = online;
            }
            Message::Shown(network) => {
                self.network = *network;
                self.given = Known::Nothing;
                self.busy = false;
                self.fill_ports(&sender);
                self.fill_given(&sender);
                self.load(&sender);
            }
            Message::Changed(network) => {
                let before = std::mem::replace(&mut self.network, *network);
                if before.ports != self.network.ports {
                    self.fill_ports(&sender);
                }
                // Who is plugged in gets an address, and what the network is says which.
                if before != self.network {
                    self.load(&sender);
                }
            }
            Message::Load => self.load(&sender),
            Message::Up => self.switch(true, &sender),
            Message::Down => self.switch(false, &sender),
            // Fails only when the window is gone.
            Message::Configure => sender
                .output(Output::Configure(self.network.clone()))
                .unwrap_or_default(),
            Message::AskTakeOver => forms::take_over(&self.network.name, &sender, root),
            Message::TakeOver => self.take_over(&sender),
            Message::AskDelete => self.ask_delete(&sender, root),
            Message::Delete(force) => {
                let (backend, path) = (self.backend.clone(), self.network.path.clone());
                sender.oneshot_command(async move {
                    Answer::Deleted(force, backend.delete_network(&path, force).await)
                });
            }
            Message::AskPort(port) => forms::port(port, &sender, root),
            Message::SetPort(port, change) => self.set_port(port, change, &sender),
            Message::AskReserve(first) => forms::reserve(&first, &sender, root),
            Message::Reserve(new) => self.reserve(new, &sender),
            Message::AskUnreserve(old) => forms::unreserve(old, &sender, root),
            Message::Unreserve(old) => self.unreserve(old, &sender),
            Message::AskForward => {
                let backend = self.backend.clone();
                sender.oneshot_command(async move {
                    Answer::Containers(backend.system_containers().await)
                });
            }
            Message::Forward(new) => self.forward(new, &sender),
            Message::AskClose(forward) => forms::close(forward, &sender, root),
            Message::Close(forward) => self.close(forward, &sender),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, answer: Answer, sender: ComponentSender<Self>, root: &Root) {
        let input = sender.input_sender();
        match answer {
            Answer::Given(path, _) if path != self.network.path => (),
            Answer::Given(_, result) => {
                let changed = self.given.there() != result.as_ref().ok();
                self.given
                    .take_in(&tr("It Cannot Be Shown What the Network Gave Away"), result);
                if changed {
                    self.fill_given(&sender);
                }
            }
            Answer::Containers(Ok(names)) => {
                forms::forward(&self.network, names, &sender, root);
            }
            Answer::Containers(Err(error)) => {
                let heading = tr("The Containers Could Not Be Listed");
                report_error(root, (&heading, &error), Message::AskForward, input);
            }
            Answer::Deleted(_, Ok(())) => (),
            Answer::Deleted(false, Err(Error::HasDependents(cause)))
                if self.network.ports.is_empty() =>
            {
                forms::delete_anyway(&self.network.name, &cause, &sender, root);
            }
            Answer::Deleted(force, Err(error)) => {
                let heading = tr_name("“{name}” Could Not Be Deleted", &self.network.name);
                report_error(root, (&heading, &error), Message::Delete(force), input);
            }
            Answer::Done(done) => {
                self.busy = false;
                done.tell(root, input);
                self.load(&sender);
            }
        }
        self.render(root);
    }
}

impl NetworkPage {
    /// Asks what it has given away; one of another program tells nothing.
    fn load(&self, sender: &ComponentSender<Self>) {
        if self.network.managed {
            let (backend, path) = (self.backend.clone(), self.network.path.clone());
            sender.oneshot_command(async move {
                let given = backend.given(&path).await;
                Answer::Given(path, given)
            });
        }
    }

    /// What the helper is asked about.
    fn target(&self) -> (Backend, String) {
        (self.backend.clone(), self.network.path.clone())
    }

    fn switch(&mut self, up: bool, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        self.busy = true;
        let (failure, again) = match up {
            true => (mark("“{name}” Could Not Be Brought Up"), Message::Up),
            false => (mark("“{name}” Could Not Be Taken Down"), Message::Down),
        };
        let failure = tr_name(failure, &self.network.name);
        let call = async move {
            match up {
                true => backend.network_up(&path).await,
                false => backend.network_down(&path).await,
            }
        };
        Done::ask(sender, (failure, again), call);
    }

    fn take_over(&self, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Could Not Be Taken Over", &self.network.name);
        let call = async move { backend.take_over_network(&path).await };
        Done::ask(sender, (failure, Message::TakeOver), call);
    }

    fn set_port(&self, port: Port, change: PortChange, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Could Not Be Changed", &port.host);
        let again = Message::SetPort(port.clone(), change);
        let call = async move { backend.set_port(&path, &port.host, change).await };
        Done::ask(sender, (failure, again), call);
    }

    fn reserve(&self, new: Reservation, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Could Not Be Reserved", &new.address);
        let again = Message::AskReserve(new.clone());
        let call = async move { backend.reserve(&path, &new).await };
        Done::ask(sender, (failure, again), call);
    }

    fn unreserve(&self, old: Reservation, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("“{name}” Is Still Reserved", &old.address);
        let again = Message::Unreserve(old.clone());
        let call = async move { backend.unreserve(&path, &old.mac).await };
        Done::ask(sender, (failure, again), call);
    }

    fn forward(&self, new: Forward, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("Port {name} Could Not Be Forwarded", &new.words());
        let call = async move { backend.forward(&path, &new).await };
        Done::ask(sender, (failure, Message::AskForward), call);
    }

    fn close(&self, old: Forward, sender: &ComponentSender<Self>) {
        let (backend, path) = self.target();
        let failure = tr_name("Port {name} Is Still Forwarded", &old.words());
        let again = Message::Close(old.clone());
        let call = async move { backend.forward_no_more(&path, &old).await };
        Done::ask(sender, (failure, again), call);
    }

    fn ask_delete(&self, sender: &ComponentSender<Self>, root: &Root) {
        let heading = tr_name("Delete “{name}”?", &self.network.name);
        let body = tr(
            "It is taken down, and its reservations and forwarded ports are forgotten. This cannot be undone.",
        );
        let input = sender.input_sender().clone();
        ask::confirm(root, &heading, &body, &tr("_Delete"), move || {
            input.emit(Message::Delete(false));
        });
    }

    fn fill_ports(&mut self, sender: &ComponentSender<Self>) {
        let rows = self.network.ports.iter();
        let rows = rows.map(|port| rows::port(port, sender.input_sender()));
        self.ports.replace(rows, &tr("No interface is plugged in."));
    }

    fn fill_given(&mut self, sender: &ComponentSender<Self>) {
        let nothing = Given::default();
        let given = self.given.there().unwrap_or(&nothing);
        let to = sender.input_sender();
        let is_reserved = |mac: &str| given.reservations.iter().any(|one| one.mac == mac);
        let leases = given.leases.iter();
        let leases = leases.map(|lease| rows::lease(lease, is_reserved(&lease.mac), to));
        self.leases
            .replace(leases, &tr("No address is given out now."));
        let reservations = given.reservations.iter();
        let reservations = reservations.map(|one| rows::reservation(one, to));
        self.reservations.replace(
            reservations,
            &tr("An address can always be the same container’s."),
        );
        let forwards = given.forwards.iter().map(|one| rows::forward(one, to));
        self.forwards.replace(
            forwards,
            &tr("A port of this computer can lead to a container."),
        );
    }
}

impl NetworkPage {
    /// Makes the page show what the model says; the rows stand there already.
    fn render(&self, root: &Root) {
        let (parts, network) = (root.imp(), &self.network);
        parts.offline.set_revealed(!self.online);
        let (icon, class) = state_sign(network);
        parts.sign.set_icon_name(Some(icon));
        parts.sign.set_css_classes(&[class]);
        parts.state.set_label(&state_word(network));
        parts.fault.set_subtitle(&network.fault);
        parts.fault.set_visible(!network.fault.is_empty());
        parts.found.set_visible(!network.managed);
        let well = network.managed && network.fault.is_empty();
        parts.attention.set_visible(!well);

        parts.addresses.set_value(&match &network.addresses[..] {
            [] => tr("None"),
            addresses => addresses.join("\n"),
        });
        parts.range.set_value(&match network.dhcp {
            true => network.dhcp_range.replace(',', " – "),
            false => tr("None"),
        });
        let nat = match (network.isolated, network.nat) {
            (true, _) => tr("Nothing leaves it or comes in"),
            (false, true) => tr("Containers reach it as this computer"),
            (false, false) => tr("Containers keep their own addresses"),
        };
        parts.nat.set_value(&match network.uplink.as_str() {
            "" => nat,
            uplink => tr_name("Containers are in it themselves, by “{name}”", uplink),
        });
        parts.domain.set_value(&network.domain);
        parts.autostart.set_value(&match network.autostart {
            true => tr("With this computer"),
            false => tr("When a container needs it"),
        });
        parts.driver.set_value(&match network.driver.as_str() {
            "ovs" => tr("Open vSwitch"),
            _ => tr("Linux bridge"),
        });
        // Another program says what these are, or nobody.
        for row in [&parts.range, &parts.nat, &parts.autostart] {
            row.set_visible(network.managed);
        }
        self.render_given(root);

        let (label, action) = match network.up {
            true => (mark("Take _Down"), "network.down"),
            false => (mark("Bring _Up"), "network.up"),
        };
        parts.main_button.set_label(&tr(label));
        parts.main_button.set_action_name(Some(action));
        let ours = self.online && network.managed;
        for (name, usable) in [
            ("load", self.online),
            ("up", ours && !self.busy),
            ("down", ours && !self.busy),
            ("configure", ours),
            ("take-over", self.online && !network.managed),
            ("delete", ours),
            ("reserve", ours),
            ("forward", ours),
        ] {
            let action = self.actions.lookup_action(name);
            if let Some(action) = action.and_downcast::<gio::SimpleAction>() {
                action.set_enabled(usable);
            }
        }
    }

    fn render_given(&self, root: &Root) {
        let parts = root.imp();
        let managed = self.network.managed;
        let there = managed && self.given.there().is_some();
        for group in [&parts.leases, &parts.reservations] {
            group.set_visible(there && self.network.dhcp);
        }
        parts.forwards.set_visible(there);
        parts.given.set_visible(managed && !there);
        let problem = match &self.given {
            Known::Problem(problem) => Some(problem),
            Known::Nothing | Known::There(_) => None,
        };
        parts.given_loading.set_visible(problem.is_none());
        parts.given_problem.set_visible(problem.is_some());
        if let Some(problem) = problem {
            parts.given_problem.set_title(&problem.heading);
            parts.given_problem.set_subtitle(&problem.cause);
        }
    }
}
