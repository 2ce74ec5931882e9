//! The dialog of what a container's network interface is to be: a new one, or one that
//! there is.

mod check;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use gantry_core::networks::Impossible;
use relm4::adw;

pub use root::Root;

use crate::{
    backend::{Backend, HostInterface, Interface, InterfacePlan, Network},
    form_dialog::{Form, FormDialog, FormRows},
    interfaces::links,
    text::{mark, tr, tr_name},
    trial,
    widgets::{FormFrame, chosen, offer},
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

/// The dialog.
pub type InterfaceDialog = FormDialog<InterfaceForm>;

/// What the dialog asks.
#[derive(Debug)]
pub struct InterfaceForm {
    /// The container's path.
    container: String,
    /// What there is now, where it is not a new one.
    old: Option<Interface>,
    networks: Vec<Network>,
    host: Vec<HostInterface>,
    /// What the row of links offers.
    links: Vec<String>,
    /// The kind that it offers them for.
    kind: &'static str,
}

impl Form for InterfaceForm {
    /// The container's path; without an interface it is about a new one; then the networks
    /// there are.
    type About = (String, Option<Interface>, Vec<Network>);
    type Root = Root;
    type Plan = InterfacePlan;

    fn new((container, old, networks): Self::About, root: &Root) -> Self {
        let new = InterfacePlan {
            kind: "veth".to_owned(),
            // A new one is plugged into the first network; one that is unplugged stays so.
            link: first_up(&networks),
            macvlan_mode: "bridge".to_owned(),
            up: true,
            ..InterfacePlan::default()
        };
        let first = old.as_ref().map_or(new, |old| old.plan.clone());
        let mut form = Self {
            container,
            old,
            networks,
            host: Vec::new(),
            links: Vec::new(),
            kind: "",
        };
        show(&first, root);
        form.offer_links(&first.link, root);
        form
    }

    fn frame(root: &Root) -> FormFrame {
        root.imp().frame.get()
    }

    fn rows(root: &Root) -> FormRows {
        let parts = root.imp();
        FormRows {
            entries: vec![
                ("vlan", parts.vlan.get()),
                ("name", parts.name.get()),
                ("hwaddr", parts.hwaddr.get()),
                ("mtu", parts.mtu.get()),
                ("ipv4", parts.ipv4.get()),
                ("ipv4_gateway", parts.ipv4_gateway.get()),
                ("ipv6", parts.ipv6.get()),
                ("ipv6_gateway", parts.ipv6_gateway.get()),
            ],
            choices: vec![parts.kind.get(), parts.link.get(), parts.mode.get()],
            switches: vec![parts.up.get()],
        }
    }

    fn words(&self) -> (String, String) {
        match &self.old {
            Some(old) => (tr_name("Configure “{name}”", &old.title()), tr("_Apply")),
            None => (tr("New Interface"), tr("_Add")),
        }
    }

    fn offer(&mut self, host: Vec<HostInterface>, root: &Root) {
        self.host = host;
        let chosen = self.link(root);
        self.offer_links(&chosen, root);
    }

    fn follow(&mut self, root: &Root) {
        if chosen_kind(root) != self.kind {
            self.offer_links("", root);
        }
    }

    fn read(&self, root: &Root) -> Result<InterfacePlan, Impossible> {
        let parts = root.imp();
        // A row that is not asked for says nothing.
        let text = |row: &adw::EntryRow| match row.is_visible() {
            true => row.text().trim().to_owned(),
            false => String::new(),
        };
        let number = |name: &str, row: &adw::EntryRow| match text(row).as_str() {
            "" => Ok(0),
            digits => digits
                .parse::<u32>()
                .map_err(|_| Impossible::new(name, tr("Give a number."))),
        };
        let list = |row: &adw::EntryRow| {
            let text = text(row);
            let words = text.split([',', ' ']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let mode = match chosen_kind(root) {
            "macvlan" => chosen(&parts.mode, &MODES),
            _ => None,
        };
        let plan = InterfacePlan {
            kind: chosen_kind(root).to_owned(),
            link: self.link(root),
            name: text(&parts.name),
            hwaddr: text(&parts.hwaddr).to_lowercase(),
            mtu: number("mtu", &parts.mtu)?,
            ipv4: list(&parts.ipv4),
            ipv4_gateway: text(&parts.ipv4_gateway),
            ipv6: list(&parts.ipv6),
            ipv6_gateway: text(&parts.ipv6_gateway),
            vlan_id: number("vlan", &parts.vlan)?,
            macvlan_mode: mode.map(|&mode| mode.to_owned()).unwrap_or_default(),
            up: parts.up.is_active(),
        };
        check::check(&plan)?;
        Ok(plan)
    }

    fn is_new(&self, plan: &InterfacePlan) -> bool {
        self.old.as_ref().is_none_or(|old| old.plan != *plan)
    }

    fn render(&self, root: &Root) {
        let parts = root.imp();
        let is_one = !matches!(self.kind, "empty" | "none");
        parts.link.set_visible(is_one);
        parts.mode.set_visible(self.kind == "macvlan");
        parts.inside.set_visible(is_one);
        parts.addresses.set_visible(is_one);
        for (name, row) in Self::rows(root).entries {
            row.set_visible(match name {
                "vlan" => self.kind == "vlan",
                _ => is_one,
            });
        }
        parts.place.set_description(self.warning(root).as_deref());
    }

    fn apply(
        &self,
        backend: Backend,
        plan: InterfacePlan,
    ) -> impl Future<Output = gantry_api::Result<()>> + Send + 'static {
        let (container, old) = (self.container.clone(), self.old.clone());
        async move {
            match old {
                Some(old) => {
                    let plans = (&old.plan, &plan);
                    let index = old.index;
                    backend.configure_interface(&container, index, plans).await
                }
                None => backend.add_interface(&container, &plan).await,
            }
        }
    }

    fn failure(&self, _: &Root) -> String {
        match &self.old {
            Some(old) => tr_name("“{name}” Could Not Be Changed", &old.title()),
            None => tr("The Interface Could Not Be Added"),
        }
    }
}

impl InterfaceForm {
    /// Offers what an interface of the chosen kind can be plugged into; this one is chosen.
    fn offer_links(&mut self, link: &str, root: &Root) {
        self.kind = chosen_kind(root);
        let offered = links(self.kind, &self.networks, &self.host);
        let nowhere = (self.kind == "veth").then(|| (String::new(), tr("Nothing")));
        // It may be plugged into something that is not there now.
        let missing = (!link.is_empty() && !offered.iter().any(|(one, _)| one == link))
            .then(|| (link.to_owned(), link.to_owned()));
        let all: Vec<(String, String)> =
            offered.into_iter().chain(missing).chain(nowhere).collect();
        let words = all
            .iter()
            .map(|(link, words)| (link.as_str(), words.as_str()));
        offer(&root.imp().link, words, link);
        self.links = all.into_iter().map(|(link, _)| link).collect();
    }

    /// The link that is chosen.
    fn link(&self, root: &Root) -> String {
        let link = chosen(&root.imp().link, &self.links);
        link.cloned().unwrap_or_default()
    }

    /// What is to be known before this computer gives its way to others away.
    fn warning(&self, root: &Root) -> Option<String> {
        let takes_all = match self.kind {
            "phys" => true,
            "macvlan" => chosen(&root.imp().mode, &MODES) == Some(&"passthru"),
            _ => false,
        };
        let link = self.link(root);
        let is_way_out = |one: &HostInterface| one.is_way_out && one.name == link;
        (takes_all && self.host.iter().any(is_way_out)).then(|| trial::warning(&link))
    }
}

/// The first network that is up; nothing where none is.
fn first_up(networks: &[Network]) -> String {
    let first = networks.iter().find(|network| network.up);
    first
        .map(|network| network.name.clone())
        .unwrap_or_default()
}

fn chosen_kind(root: &Root) -> &'static str {
    chosen(&root.imp().kind, &KINDS).map_or("veth", |(kind, _)| kind)
}

/// Makes the form say this, but for the link.
fn show(first: &InterfacePlan, root: &Root) {
    let parts = root.imp();
    let words = KINDS.map(|(kind, words)| (kind, tr(words)));
    let words = words.iter().map(|(kind, words)| (*kind, words.as_str()));
    offer(&parts.kind, words, &first.kind);
    offer(
        &parts.mode,
        MODES.map(|mode| (mode, mode)),
        &first.macvlan_mode,
    );
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
