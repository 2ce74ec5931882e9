//! The dialog of what a network is to be: a new one, or one that there is.

mod check;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, Network, NewNetwork},
    known::report_error,
    text::{mark, tr, tr_name},
    widgets::{mark_row, show_fault},
};

/// The kinds in the order of the row.
const DRIVERS: [&str; 2] = ["bridge", "ovs"];

/// The places in the row of what leaves the network.
const NAT: u32 = 0;
const ROUTED: u32 = 1;
const ISOLATED: u32 = 2;

/// The dialog's state.
#[derive(Debug)]
pub struct NetworkDialog {
    backend: Backend,
    /// What there is now, where it is not a new one: its path, and what it is.
    old: Option<(String, NewNetwork)>,
    others: Vec<Network>,
    /// The helper has been asked.
    asking: bool,
}

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Something in the form has changed.
    Edited,
    /// Have it so.
    Apply,
}

/// It is so, or what went wrong.
#[derive(Debug)]
pub struct Applied(gantry_api::Result<()>);

impl Component for NetworkDialog {
    /// Without a network it is about a new one; then all that there are.
    type Init = (Backend, Option<Network>, Vec<Network>);
    type Input = Message;
    type Output = ();
    type CommandOutput = Applied;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        Root::default()
    }

    fn init(
        (backend, network, mut others): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let parts = root.imp();
        let first = match &network {
            Some(network) => {
                others.retain(|other| other.path != network.path);
                described(network)
            }
            None => NewNetwork {
                ipv4: check::suggestion(&others),
                dhcp: true,
                nat: true,
                ..NewNetwork::default()
            },
        };
        let (title, verb) = match &network {
            Some(network) => (tr_name("Configure “{name}”", &network.name), mark("_Apply")),
            None => (tr("New Network"), mark("C_reate")),
        };
        root.set_title(&title);
        parts.apply_button.set_label(&tr(verb));
        // A name cannot be changed, nor what switches the frames.
        parts.identity.set_visible(network.is_none());
        show(&root, &first);
        let focus: &gtk::Widget = match network {
            Some(_) => parts.ipv4.upcast_ref(),
            None => parts.name.upcast_ref(),
        };
        root.set_focus(Some(focus));
        let model = Self {
            backend,
            old: network.map(|network| (network.path, first)),
            others,
            asking: false,
        };
        connect(&root, sender.input_sender());
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Edited => (),
            Message::Apply => self.apply(&sender, root),
        }
        self.render(root);
    }

    fn update_cmd(&mut self, Applied(result): Applied, sender: ComponentSender<Self>, root: &Root) {
        self.asking = false;
        match result {
            Ok(()) => {
                root.close();
            }
            // What was typed is still there to be changed.
            Err(error) => {
                let name = self.read(root).name;
                let heading = match self.old {
                    Some(_) => tr_name("“{name}” Could Not Be Changed", &name),
                    None => tr_name("“{name}” Could Not Be Created", &name),
                };
                let input = sender.input_sender();
                report_error(root, (&heading, &error), Message::Apply, input);
            }
        }
        self.render(root);
    }
}

impl NetworkDialog {
    fn apply(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        let new = self.read(root);
        if self.asking || check::check(&new, &self.others).is_err() {
            return;
        }
        self.asking = true;
        let (backend, old) = (self.backend.clone(), self.old.clone());
        sender.oneshot_command(async move {
            Applied(match old {
                Some((path, old)) => backend.configure_network(&path, (&old, &new)).await,
                None => backend.create_network(&new).await,
            })
        });
    }

    /// What the form says.
    fn read(&self, root: &Root) -> NewNetwork {
        let parts = root.imp();
        let text = |row: &adw::EntryRow| row.text().trim().to_owned();
        let (ipv4, ipv6) = (text(&parts.ipv4), text(&parts.ipv6));
        let driver = usize::try_from(parts.driver.selected()).ok();
        let driver = driver.and_then(|place| DRIVERS.get(place));
        let dhcp = parts.dhcp.is_active() && !ipv4.is_empty();
        NewNetwork {
            name: text(&parts.name),
            driver: driver.map(|&word| word.to_owned()).unwrap_or_default(),
            dhcp,
            dhcp_range: match dhcp {
                true => text(&parts.range),
                false => String::new(),
            },
            nat: parts.reach.selected() == NAT && !(ipv4.is_empty() && ipv6.is_empty()),
            isolated: parts.reach.selected() == ISOLATED,
            ipv4,
            ipv6,
            domain: text(&parts.domain),
            autostart: parts.autostart.is_active(),
        }
    }

    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        let new = self.read(root);
        let verdict = check::check(&new, &self.others);
        let rows = [
            ("name", &parts.name),
            ("ipv4", &parts.ipv4),
            ("dhcp_range", &parts.range),
            ("ipv6", &parts.ipv6),
            ("domain", &parts.domain),
        ];
        let wrong = verdict.as_ref().err();
        let wrong = wrong.filter(|wrong| !wrong.sentence.is_empty());
        for (key, row) in rows {
            mark_row(row, wrong.is_some_and(|wrong| wrong.key == key));
        }
        let said = wrong.map(|wrong| check::sentence(&wrong.sentence));
        show_fault(&parts.fault, said.as_deref());
        let has_ipv4 = !new.ipv4.is_empty();
        parts.dhcp.set_sensitive(has_ipv4);
        parts
            .range
            .set_sensitive(has_ipv4 && parts.dhcp.is_active());
        let changed = self.old.as_ref().is_none_or(|(_, old)| *old != new);
        let ready = verdict.is_ok() && changed && !self.asking;
        parts.apply_button.set_sensitive(ready);
        parts.form.set_sensitive(!self.asking);
        parts.spinner.set_visible(self.asking);
    }
}

/// What a network is, as the form would say it.
fn described(network: &Network) -> NewNetwork {
    let ipv4 = network.address(false).to_owned();
    let usual = check::usual_range(&ipv4);
    let range = Some(&network.dhcp_range).filter(|range| network.dhcp && **range != usual);
    NewNetwork {
        name: network.name.clone(),
        driver: network.driver.clone(),
        dhcp: network.dhcp,
        dhcp_range: range.cloned().unwrap_or_default(),
        nat: network.nat,
        isolated: network.isolated,
        ipv4,
        ipv6: network.address(true).to_owned(),
        domain: network.domain.clone(),
        autostart: network.autostart,
    }
}

/// Makes the form say this.
fn show(root: &Root, first: &NewNetwork) {
    let parts = root.imp();
    parts.name.set_text(&first.name);
    let driver = DRIVERS.iter().position(|word| *word == first.driver);
    let driver = driver.and_then(|place| u32::try_from(place).ok());
    parts.driver.set_selected(driver.unwrap_or_default());
    parts.ipv4.set_text(&first.ipv4);
    parts.dhcp.set_active(first.dhcp);
    parts.range.set_text(&first.dhcp_range);
    parts.ipv6.set_text(&first.ipv6);
    parts.reach.set_selected(match (first.isolated, first.nat) {
        (true, _) => ISOLATED,
        (false, true) => NAT,
        (false, false) => ROUTED,
    });
    parts.domain.set_text(&first.domain);
    parts.autostart.set_active(first.autostart);
}

fn connect(root: &Root, input: &relm4::Sender<Message>) {
    let parts = root.imp();
    for row in [
        &parts.name,
        &parts.ipv4,
        &parts.range,
        &parts.ipv6,
        &parts.domain,
    ] {
        let to = input.clone();
        row.connect_changed(move |_| to.emit(Message::Edited));
    }
    let to = input.clone();
    parts
        .reach
        .connect_selected_notify(move |_| to.emit(Message::Edited));
    for row in [&parts.dhcp, &parts.autostart] {
        let to = input.clone();
        row.connect_active_notify(move |_| to.emit(Message::Edited));
    }
    let to = input.clone();
    parts
        .apply_button
        .connect_clicked(move |_| to.emit(Message::Apply));
    let dialog = root.downgrade();
    parts.close_button.connect_clicked(move |_| {
        if let Some(dialog) = dialog.upgrade() {
            dialog.close();
        }
    });
}
