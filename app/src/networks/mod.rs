//! The page of networks: what containers can be wired to, each with a page of its own.

mod root;
mod row;

use std::collections::BTreeMap;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{
    Component, ComponentController as _, ComponentParts, ComponentSender, Controller, adw,
};

pub use root::Root;
pub use row::{NetworkRow, host_facts, state_sign, state_word};

use crate::{
    backend::{Backend, HostInterface, Network, Problem},
    network::{self, NetworkPage},
    network_dialog::NetworkDialog,
    text::tr,
    widgets::{Rows, States, install_actions},
};

/// The page's state.
#[derive(Debug)]
pub struct NetworksPage {
    backend: Backend,
    /// By name, which is the order of the list.
    networks: BTreeMap<String, (Network, NetworkRow)>,
    /// This computer's own interfaces.
    host: Rows,
    /// The helper has told once what there is.
    loaded: bool,
    /// The page of the network that is opened.
    network: Controller<NetworkPage>,
    /// The path of that network.
    opened: Option<String>,
    /// Made anew when it is opened.
    dialog: Option<Controller<NetworkDialog>>,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// The page is in sight.
    Shown,
    /// Ask which interfaces this computer has.
    Load,
    /// Whether there is a helper.
    Online(bool),
    /// These are all networks.
    All(Vec<Network>),
    /// A network is new or has changed.
    Put(Network),
    /// The network at this path is no more.
    Gone(String),
    /// The row at this place was activated.
    Activated(i32),
    /// Show the page of the network of this name.
    Open(String),
    /// The network's page was left.
    Left,
    /// Show the dialog for a new network.
    New,
    /// Show the dialog for what this network is to be.
    Configure(Network),
}

/// The interfaces that this computer has, or what went wrong.
#[derive(Debug)]
pub struct Host(gantry_api::Result<Vec<HostInterface>>);

impl Component for NetworksPage {
    type Init = Backend;
    type Input = Message;
    type Output = ();
    type CommandOutput = Host;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        States::ensure_type();
        Root::default()
    }

    fn init(backend: Backend, root: Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let input = sender.input_sender();
        let network = NetworkPage::builder()
            .launch(backend.clone())
            .forward(input, |network::Output::Configure(network)| {
                Message::Configure(network)
            });
        let model = Self {
            backend,
            networks: BTreeMap::new(),
            host: Rows::new(&root.imp().host),
            loaded: false,
            network,
            opened: None,
            dialog: None,
        };
        install_actions(
            &root,
            "networks",
            input,
            [("new", Message::New), ("load", Message::Load)],
        );
        let parts = root.imp();
        let to = input.clone();
        parts
            .list
            .connect_row_activated(move |_, row| to.emit(Message::Activated(row.index())));
        let to = input.clone();
        parts.navigation.connect_popped(move |_, _| {
            // Fails only when the page is gone.
            to.send(Message::Left).unwrap_or_default();
        });
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        // What a network is or has may be what an interface serves as.
        let host_may_differ = match &message {
            Message::Shown | Message::Load => true,
            Message::Put(_) | Message::Gone(_) => root.is_mapped(),
            _ => false,
        };
        if host_may_differ {
            let backend = self.backend.clone();
            sender.oneshot_command(async move { Host(backend.host_interfaces().await) });
        }
        match message {
            Message::Shown | Message::Load => (),
            Message::Online(online) => self.network.emit(network::Message::Online(online)),
            Message::All(networks) => self.replace(networks, root),
            Message::Put(network) => self.put(network, root),
            Message::Gone(path) => self.remove(&path, root),
            Message::Activated(place) => {
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                if let Some((network, _)) = self.networks.values().nth(place) {
                    self.open(network.clone(), root);
                }
            }
            Message::Open(name) => {
                if let Some((network, _)) = self.networks.get(&name) {
                    self.open(network.clone(), root);
                }
            }
            Message::Left => self.opened = None,
            Message::New => self.open_dialog(None, root),
            Message::Configure(network) => self.open_dialog(Some(network), root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, Host(result): Host, _: ComponentSender<Self>, _: &Root) {
        match result {
            Ok(host) => {
                let rows = host.iter().map(|one| {
                    adw::ActionRow::builder()
                        .title(&one.name)
                        .subtitle(host_facts(one))
                        .use_markup(false)
                        .build()
                });
                self.host.replace(rows, &tr("There are none."));
            }
            Err(error) => {
                let heading = tr("This Computer’s Interfaces Could Not Be Listed");
                if let Some(problem) = Problem::from_error(&heading, &error) {
                    let none: [adw::ActionRow; 0] = [];
                    self.host
                        .replace(none, &format!("{heading}: {}", problem.cause));
                }
            }
        }
    }
}

impl NetworksPage {
    /// Makes the list show exactly these; what stays keeps its row.
    fn replace(&mut self, networks: Vec<Network>, root: &Root) {
        self.loaded = true;
        let gone: Vec<String> = self
            .networks
            .values()
            .map(|(network, _)| &network.path)
            .filter(|path| !networks.iter().any(|network| network.path == **path))
            .cloned()
            .collect();
        for path in gone {
            self.remove(&path, root);
        }
        for network in networks {
            self.put(network, root);
        }
    }

    fn put(&mut self, network: Network, root: &Root) {
        if self.opened.as_ref() == Some(&network.path) {
            let changed = network::Message::Changed(Box::new(network.clone()));
            self.network.emit(changed);
        }
        if let Some((known, row)) = self.networks.get_mut(&network.name) {
            row.show(&network);
            *known = network;
            return;
        }
        let row = NetworkRow::default();
        row.show(&network);
        let place = self.networks.range(..network.name.clone()).count();
        let place = i32::try_from(place).unwrap_or(-1);
        root.imp().list.insert(&row, place);
        self.networks.insert(network.name.clone(), (network, row));
    }

    fn remove(&mut self, path: &str, root: &Root) {
        let parts = root.imp();
        if self.opened.as_deref() == Some(path) {
            parts.navigation.pop();
        }
        let mut all = self.networks.values();
        let name = all.find(|(network, _)| network.path == path);
        let name = name.map(|(network, _)| network.name.clone());
        if let Some((_, row)) = name.and_then(|name| self.networks.remove(&name)) {
            parts.list.remove(&row);
        }
    }

    fn open(&mut self, network: Network, root: &Root) {
        let navigation = &root.imp().navigation;
        let page = self.network.widget();
        page.set_title(&network.name);
        self.opened = Some(network.path.clone());
        self.network
            .emit(network::Message::Shown(Box::new(network)));
        if navigation.visible_page().as_ref() != Some(page.upcast_ref()) {
            navigation.push(page);
        }
    }

    /// Shows the dialog for a new network, or for one that there is.
    fn open_dialog(&mut self, network: Option<Network>, root: &Root) {
        let all = self.networks.values().map(|(network, _)| network.clone());
        let dialog = NetworkDialog::builder()
            .launch((self.backend.clone(), (network, all.collect())))
            .detach();
        dialog.widget().present(Some(root));
        self.dialog = Some(dialog);
    }

    fn render(&self, root: &Root) {
        let states = &root.imp().states;
        match (self.loaded, self.networks.is_empty()) {
            (false, _) => states.show_loading(),
            (true, true) => states.show_empty(),
            (true, false) => states.show_content(),
        }
    }
}
