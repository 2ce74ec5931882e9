//! The dialog of what a container's network interface is to be: a new one, or one that
//! there is.

mod check;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, HostInterface, Interface, InterfacePlan, Network},
    interfaces::links,
    known::report_error,
    text::{mark, tr, tr_name},
    widgets::{mark_row, show_fault},
};

/// The kinds in the order of the row, with the words for each.
const KINDS: [(&str, &str); 7] = [
    ("veth", mark("Cable (veth)")),
    ("macvlan", mark("Beside (macvlan)")),
    ("ipvlan", mark("Behind (ipvlan)")),
    ("vlan", mark("VLAN (vlan)")),
    ("phys", mark("The whole (phys)")),
    ("empty", mark("Loopback only (empty)")),
    ("none", mark("This computer’s (none)")),
];

/// How macvlans of one interface reach each other.
const MODES: [&str; 4] = ["private", "vepa", "bridge", "passthru"];

/// The dialog's state.
#[derive(Debug)]
pub struct InterfaceDialog {
    backend: Backend,
    /// The container's path.
    container: String,
    /// What there is now, where it is not a new one.
    old: Option<Interface>,
    networks: Vec<Network>,
    host: Vec<HostInterface>,
    /// What the row of links offers.
    links: Vec<String>,
    /// The kind that it offers them for.
    kind: String,
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

impl Component for InterfaceDialog {
    /// The container's path; without an interface it is about a new one; then what there is
    /// to plug into.
    type Init = (
        Backend,
        String,
        Option<Interface>,
        (Vec<Network>, Vec<HostInterface>),
    );
    type Input = Message;
    type Output = ();
    type CommandOutput = Applied;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        Root::default()
    }

    fn init(
        (backend, container, old, (networks, host)): Self::Init,
        root: Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let parts = root.imp();
        let (title, verb) = match &old {
            Some(old) => (tr_name("Configure “{name}”", &old.title()), mark("_Apply")),
            None => (tr("New Network Interface"), mark("_Add")),
        };
        root.set_title(&title);
        parts.apply_button.set_label(&tr(verb));
        let words = KINDS.map(|(_, words)| tr(words));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        parts.kind.set_model(Some(&gtk::StringList::new(&words)));
        parts.mode.set_model(Some(&gtk::StringList::new(&MODES)));
        let first = match &old {
            Some(old) => old.plan.clone(),
            None => InterfacePlan {
                kind: "veth".to_owned(),
                macvlan_mode: "bridge".to_owned(),
                up: true,
                ..InterfacePlan::default()
            },
        };
        let mut model = Self {
            backend,
            container,
            old,
            networks,
            host,
            links: Vec::new(),
            kind: String::new(),
            asking: false,
        };
        model.show(&first, &root);
        connect(&root, sender.input_sender());
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Edited => {
                let kind = chosen_kind(root);
                if kind != self.kind {
                    self.offer_links(kind, "", root);
                }
            }
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
                let heading = match &self.old {
                    Some(old) => tr_name("“{name}” Could Not Be Changed", &old.title()),
                    None => tr("The Interface Could Not Be Added"),
                };
                let input = sender.input_sender();
                report_error(root, (&heading, &error), Message::Apply, input);
            }
        }
        self.render(root);
    }
}

impl InterfaceDialog {
    fn apply(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        let Ok(new) = self.read(root) else {
            return;
        };
        if self.asking {
            return;
        }
        self.asking = true;
        let (backend, container) = (self.backend.clone(), self.container.clone());
        let old = self.old.clone();
        sender.oneshot_command(async move {
            Applied(match old {
                Some(old) => {
                    let plans = (&old.plan, &new);
                    backend
                        .configure_interface(&container, old.index, plans)
                        .await
                }
                None => backend.add_interface(&container, &new).await,
            })
        });
    }

    /// Offers what an interface of this kind can be plugged into; this one is chosen.
    fn offer_links(&mut self, kind: &str, chosen: &str, root: &Root) {
        let offered = links(kind, &self.networks, &self.host);
        let nowhere = (kind == "veth").then(|| (String::new(), tr("Nothing")));
        // It may be plugged into something that is not there now.
        let missing = (!chosen.is_empty() && !offered.iter().any(|(link, _)| link == chosen))
            .then(|| (chosen.to_owned(), chosen.to_owned()));
        let all = offered.into_iter().chain(missing).chain(nowhere);
        let (links, words): (Vec<String>, Vec<String>) = all.unzip();
        let place = links.iter().position(|link| link == chosen);
        let place = place.and_then(|place| u32::try_from(place).ok());
        self.links = links;
        kind.clone_into(&mut self.kind);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let row = &root.imp().link;
        row.set_model(Some(&gtk::StringList::new(&words)));
        row.set_selected(place.unwrap_or_default());
    }

    /// Makes the form say this.
    fn show(&mut self, first: &InterfacePlan, root: &Root) {
        let parts = root.imp();
        select(&parts.kind, &KINDS.map(|(kind, _)| kind), &first.kind);
        select(&parts.mode, &MODES, &first.macvlan_mode);
        // A new one is plugged into the first network; one that is unplugged stays so.
        if self.old.is_none() {
            let first = self.networks.iter().find(|network| network.up);
            let first = first.map(|network| network.name.clone());
            self.offer_links("veth", &first.unwrap_or_default(), root);
        } else {
            self.offer_links(&first.kind, &first.link, root);
        }
        let number = |number: u32| match number {
            0 => String::new(),
            number => number.to_string(),
        };
        parts.vlan.set_text(&number(first.vlan_id));
        parts.name.set_text(&first.name);
        parts.hwaddr.set_text(&first.hwaddr);
        parts.mtu.set_text(&number(first.mtu));
        parts.up.set_active(first.up);
        parts.ipv4.set_text(&first.ipv4.join(", "));
        parts.ipv4_gateway.set_text(&first.ipv4_gateway);
        parts.ipv6.set_text(&first.ipv6.join(", "));
        parts.ipv6_gateway.set_text(&first.ipv6_gateway);
    }

    /// What the form says.
    ///
    /// # Errors
    /// The row that is wrong, and what to change.
    fn read(&self, root: &Root) -> Result<InterfacePlan, check::Wrong> {
        let parts = root.imp();
        // A row that is not asked for says nothing.
        let text = |row: &adw::EntryRow| match row.is_visible() {
            true => row.text().trim().to_owned(),
            false => String::new(),
        };
        let number = |name: &'static str, row: &adw::EntryRow| match text(row).as_str() {
            "" => Ok(0),
            digits => digits
                .parse::<u32>()
                .map_err(|_| (name, tr("Give a number."))),
        };
        let list = |row: &adw::EntryRow| {
            let text = text(row);
            let words = text.split([',', ' ']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let link = usize::try_from(parts.link.selected()).ok();
        let link = link.and_then(|place| self.links.get(place)).cloned();
        let mode = usize::try_from(parts.mode.selected()).ok();
        let mode = mode.and_then(|place| MODES.get(place));
        let kind = chosen_kind(root);
        let plan = InterfacePlan {
            kind: kind.to_owned(),
            link: link.unwrap_or_default(),
            name: text(&parts.name),
            hwaddr: text(&parts.hwaddr).to_lowercase(),
            mtu: number("mtu", &parts.mtu)?,
            ipv4: list(&parts.ipv4),
            ipv4_gateway: text(&parts.ipv4_gateway),
            ipv6: list(&parts.ipv6),
            ipv6_gateway: text(&parts.ipv6_gateway),
            vlan_id: number("vlan", &parts.vlan)?,
            macvlan_mode: match (kind, mode) {
                ("macvlan", Some(&mode)) => mode.to_owned(),
                _ => String::new(),
            },
            up: parts.up.is_active(),
        };
        check::check(&plan)?;
        Ok(plan)
    }

    /// Makes the dialog show what the model says.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        let kind = self.kind.as_str();
        let is_one = !matches!(kind, "empty" | "none");
        parts.link.set_visible(is_one);
        parts.mode.set_visible(kind == "macvlan");
        parts.vlan.set_visible(kind == "vlan");
        parts.inside.set_visible(is_one);
        parts.addresses.set_visible(is_one);
        for row in [
            &parts.name,
            &parts.hwaddr,
            &parts.mtu,
            &parts.ipv4,
            &parts.ipv4_gateway,
            &parts.ipv6,
            &parts.ipv6_gateway,
        ] {
            row.set_visible(is_one);
        }
        let read = self.read(root);
        let wrong = read.as_ref().err().filter(|(_, said)| !said.is_empty());
        for (name, row) in [
            ("vlan", &parts.vlan),
            ("name", &parts.name),
            ("hwaddr", &parts.hwaddr),
            ("mtu", &parts.mtu),
            ("ipv4", &parts.ipv4),
            ("ipv4_gateway", &parts.ipv4_gateway),
            ("ipv6", &parts.ipv6),
            ("ipv6_gateway", &parts.ipv6_gateway),
        ] {
            mark_row(row, wrong.is_some_and(|(wrong, _)| *wrong == name));
        }
        let said = wrong.map(|(_, said)| said.as_str());
        show_fault(&parts.fault, said);
        let changed = match (&self.old, &read) {
            (Some(old), Ok(new)) => old.plan != *new,
            _ => true,
        };
        let ready = read.is_ok() && changed && !self.asking;
        parts.apply_button.set_sensitive(ready);
        parts.form.set_sensitive(!self.asking);
        parts.spinner.set_visible(self.asking);
    }
}

fn chosen_kind(root: &Root) -> &'static str {
    let place = usize::try_from(root.imp().kind.selected()).ok();
    let kind = place.and_then(|place| KINDS.get(place));
    kind.map_or("veth", |(kind, _)| kind)
}

/// Chooses one of a row's.
fn select(row: &adw::ComboRow, all: &[&str], chosen: &str) {
    let place = all.iter().position(|one| *one == chosen);
    let place = place.and_then(|place| u32::try_from(place).ok());
    row.set_selected(place.unwrap_or_default());
}

fn connect(root: &Root, input: &relm4::Sender<Message>) {
    let parts = root.imp();
    for row in [
        &parts.vlan,
        &parts.name,
        &parts.hwaddr,
        &parts.mtu,
        &parts.ipv4,
        &parts.ipv4_gateway,
        &parts.ipv6,
        &parts.ipv6_gateway,
    ] {
        let to = input.clone();
        row.connect_changed(move |_| to.emit(Message::Edited));
    }
    for row in [&parts.kind, &parts.link, &parts.mode] {
        let to = input.clone();
        row.connect_selected_notify(move |_| to.emit(Message::Edited));
    }
    let to = input.clone();
    parts
        .up
        .connect_active_notify(move |_| to.emit(Message::Edited));
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
