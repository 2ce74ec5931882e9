//! The dialog of what a network is to be: a new one, or one that there is.

mod check;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use gantry_core::networks::Impossible;
use relm4::{adw, gtk};

pub use root::Root;

use crate::{
    backend::{Backend, HostInterface, Network, NewNetwork},
    form_dialog::{Form, FormDialog, FormRows},
    text::{tr, tr_name},
    trial,
    widgets::{FormFrame, chosen, offer},
};

/// The kinds in the order of the row.
const DRIVERS: [&str; 2] = ["bridge", "ovs"];

/// How containers reach what is outside of the network, in the order of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Nat,
    Routed,
    Isolated,
    Uplink,
}

const REACHES: [Reach; 4] = [Reach::Nat, Reach::Routed, Reach::Isolated, Reach::Uplink];

/// The dialog.
pub type NetworkDialog = FormDialog<NetworkForm>;

/// What the dialog asks.
#[derive(Debug)]
pub struct NetworkForm {
    /// What there is now, where it is not a new one: its path, and what it is.
    old: Option<(String, NewNetwork)>,
    others: Vec<Network>,
    host: Vec<HostInterface>,
    /// What the row of uplinks offers.
    uplinks: Vec<String>,
}

impl Form for NetworkForm {
    /// Without a network it is about a new one; then all that there are.
    type About = (Option<Network>, Vec<Network>);
    type Root = Root;
    type Plan = NewNetwork;

    fn new((network, mut others): Self::About, root: &Root) -> Self {
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
        // A name cannot be changed, nor what switches the frames.
        parts.identity.set_visible(network.is_none());
        show(root, &first);
        let focus: &gtk::Widget = match network {
            Some(_) => parts.reach.upcast_ref(),
            None => parts.name.upcast_ref(),
        };
        root.set_focus(Some(focus));
        let uplink = first.uplink.clone();
        let mut form = Self {
            old: network.map(|network| (network.path, first)),
            others,
            host: Vec::new(),
            uplinks: Vec::new(),
        };
        form.offer_uplinks(&uplink, root);
        form
    }

    fn frame(root: &Root) -> FormFrame {
        root.imp().frame.get()
    }

    fn rows(root: &Root) -> FormRows {
        let parts = root.imp();
        FormRows {
            entries: vec![
                ("name", parts.name.get()),
                ("ipv4", parts.ipv4.get()),
                ("dhcp_range", parts.range.get()),
                ("ipv6", parts.ipv6.get()),
                ("domain", parts.domain.get()),
            ],
            choices: vec![parts.driver.get(), parts.reach.get(), parts.uplink.get()],
            switches: vec![parts.dhcp.get(), parts.autostart.get()],
        }
    }

    fn words(&self) -> (String, String) {
        match &self.old {
            Some((_, old)) => (tr_name("Configure “{name}”", &old.name), tr("_Apply")),
            None => (tr("New Network"), tr("C_reate")),
        }
    }

    fn offer(&mut self, host: Vec<HostInterface>, root: &Root) {
        self.host = host;
        let uplink = self.uplink(root);
        self.offer_uplinks(&uplink, root);
    }

    fn follow(&mut self, _: &Root) {}

    fn read(&self, root: &Root) -> Result<NewNetwork, Impossible> {
        let parts = root.imp();
        let reach = reach(root);
        // Who is in the net outside has addresses, names and routers of that.
        let text = |row: &adw::EntryRow| match reach {
            Reach::Uplink => String::new(),
            _ => row.text().trim().to_owned(),
        };
        let (ipv4, ipv6) = (text(&parts.ipv4), text(&parts.ipv6));
        let driver = chosen(&parts.driver, &DRIVERS);
        let dhcp = parts.dhcp.is_active() && !ipv4.is_empty();
        let new = NewNetwork {
            name: parts.name.text().trim().to_owned(),
            driver: driver.map(|&word| word.to_owned()).unwrap_or_default(),
            dhcp,
            dhcp_range: match dhcp {
                true => text(&parts.range),
                false => String::new(),
            },
            nat: reach == Reach::Nat && !(ipv4.is_empty() && ipv6.is_empty()),
            isolated: reach == Reach::Isolated,
            uplink: self.uplink(root),
            ipv4,
            ipv6,
            domain: text(&parts.domain),
            autostart: parts.autostart.is_active(),
        };
        check::check(&new, &self.others)?;
        match (reach, new.uplink.is_empty()) {
            (Reach::Uplink, true) => Err(Impossible::new("uplink", String::new())),
            _ => Ok(new),
        }
    }

    fn is_new(&self, plan: &NewNetwork) -> bool {
        self.old.as_ref().is_none_or(|(_, old)| old != plan)
    }

    fn render(&self, root: &Root) {
        let parts = root.imp();
        let has_uplink = reach(root) == Reach::Uplink;
        parts.uplink.set_visible(has_uplink);
        parts.domain.set_visible(!has_uplink);
        for group in [&parts.of_ipv4, &parts.of_ipv6] {
            group.set_visible(!has_uplink);
        }
        let has_ipv4 = !parts.ipv4.text().trim().is_empty();
        parts.dhcp.set_sensitive(has_ipv4);
        parts
            .range
            .set_sensitive(has_ipv4 && parts.dhcp.is_active());
        parts
            .way_out
            .set_description(self.consequence(root).as_deref());
    }

    fn apply(
        &self,
        backend: Backend,
        plan: NewNetwork,
    ) -> impl Future<Output = gantry_api::Result<()>> + Send + 'static {
        let old = self.old.clone();
        async move {
            match old {
                Some((path, old)) => backend.configure_network(&path, (&old, &plan)).await,
                None => backend.create_network(&plan).await,
            }
        }
    }

    fn failure(&self, root: &Root) -> String {
        let name = root.imp().name.text();
        match self.old {
            Some(_) => tr_name("“{name}” Could Not Be Changed", name.trim()),
            None => tr_name("“{name}” Could Not Be Created", name.trim()),
        }
    }
}

impl NetworkForm {
    /// Offers the interfaces that a bridge can have; this one is chosen.
    fn offer_uplinks(&mut self, uplink: &str, root: &Root) {
        let all = self.host.iter();
        // One that is plugged in can be no other bridge's.
        let offered = all.filter(|one| one.can_be("port") || one.name == uplink);
        let mut offered: Vec<(String, String)> =
            offered.map(|one| (one.name.clone(), one.words())).collect();
        if !uplink.is_empty() && !offered.iter().any(|(name, _)| name == uplink) {
            offered.push((uplink.to_owned(), uplink.to_owned()));
        }
        let words = offered
            .iter()
            .map(|(name, words)| (name.as_str(), words.as_str()));
        offer(&root.imp().uplink, words, uplink);
        self.uplinks = offered.into_iter().map(|(name, _)| name).collect();
    }

    /// The uplink that is chosen, where one is asked for.
    fn uplink(&self, root: &Root) -> String {
        let uplink = chosen(&root.imp().uplink, &self.uplinks);
        let uplink = uplink.filter(|_| reach(root) == Reach::Uplink);
        uplink.cloned().unwrap_or_default()
    }

    /// What an uplink means, which is to be known before.
    fn consequence(&self, root: &Root) -> Option<String> {
        let uplink = self.uplink(root);
        if reach(root) != Reach::Uplink {
            return None;
        }
        let wireless = self.host.iter().find(|one| one.is_wireless);
        let wireless = wireless
            .map(|one| tr_name("“{name}” is wireless: a bridge cannot have it.", &one.name));
        if uplink.is_empty() {
            let none = tr("This computer has no interface that a bridge can have.");
            return Some(
                [Some(none), wireless]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        let moved = tr_name(
            "Containers are in the net outside themselves, and have its addresses. What this computer has on “{name}” moves to the network once that is up.",
            &uplink,
        );
        let is_way_out = |one: &HostInterface| one.is_way_out && one.name == uplink;
        let warning = self
            .host
            .iter()
            .any(is_way_out)
            .then(|| trial::warning(&uplink));
        let all = [Some(moved), warning, wireless];
        Some(all.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

fn reach(root: &Root) -> Reach {
    let reach = chosen(&root.imp().reach, &REACHES);
    reach.copied().unwrap_or(Reach::Nat)
}

/// What a network is, as the form would say it.
fn described(network: &Network) -> NewNetwork {
    // What its bridge has by an uplink is this computer's.
    let address = |v6| match network.uplink.as_str() {
        "" => network.address(v6).to_owned(),
        _ => String::new(),
    };
    let ipv4 = address(false);
    let usual = check::usual_range(&ipv4);
    let range = Some(&network.dhcp_range).filter(|range| network.dhcp && **range != usual);
    NewNetwork {
        name: network.name.clone(),
        driver: network.driver.clone(),
        dhcp: network.dhcp,
        dhcp_range: range.cloned().unwrap_or_default(),
        nat: network.nat,
        isolated: network.isolated,
        uplink: network.uplink.clone(),
        ipv4,
        ipv6: address(true),
        domain: network.domain.clone(),
        autostart: network.autostart,
    }
}

/// Makes the form say this, but for the uplink.
fn show(root: &Root, first: &NewNetwork) {
    let parts = root.imp();
    parts.name.set_text(&first.name);
    let place = |of: Option<usize>| of.and_then(|place| u32::try_from(place).ok());
    let driver = place(DRIVERS.iter().position(|word| *word == first.driver));
    parts.driver.set_selected(driver.unwrap_or_default());
    parts.ipv4.set_text(&first.ipv4);
    parts.dhcp.set_active(first.dhcp);
    parts.range.set_text(&first.dhcp_range);
    parts.ipv6.set_text(&first.ipv6);
    let reach = match (first.isolated, first.nat) {
        _ if !first.uplink.is_empty() => Reach::Uplink,
        (true, _) => Reach::Isolated,
        (false, true) => Reach::Nat,
        (false, false) => Reach::Routed,
    };
    let reach = place(REACHES.iter().position(|one| *one == reach));
    parts.reach.set_selected(reach.unwrap_or_default());
    parts.domain.set_text(&first.domain);
    parts.autostart.set_active(first.autostart);
}
