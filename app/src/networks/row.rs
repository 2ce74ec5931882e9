use adw::{prelude::*, subclass::prelude::*};
use relm4::{adw, gtk};

use crate::{
    backend::{HostInterface, Network},
    text::{count, tr, tr_name},
    widgets::widget,
};

widget! {
    /// A network in the list.
    NetworkRow("GantryNetworkRow") in "../../../data/ui/network_row.ui",
    extends adw::ActionRow [adw::PreferencesRow, gtk::ListBoxRow]
        by ActionRowImpl [ListBoxRowImpl, PreferencesRowImpl],
    implements [gtk::Actionable],
    {
        sign: gtk::Image,
    }
}

impl NetworkRow {
    /// Shows what the network is now.
    pub fn show(&self, network: &Network) {
        self.set_title(&network.name);
        self.set_subtitle(&summary(network));
        let (icon, class) = state_sign(network);
        let sign = &self.imp().sign;
        sign.set_icon_name(Some(icon));
        sign.set_css_classes(&[class]);
    }
}

/// Whether a network is up, in a word.
#[must_use]
pub fn state_word(network: &Network) -> String {
    match (network.fault.is_empty(), network.up) {
        (false, _) => tr("Description error"),
        (true, true) => tr("Up"),
        (true, false) => tr("Down"),
    }
}

/// The icon beside the word, and its style.
#[must_use]
pub fn state_sign(network: &Network) -> (&'static str, &'static str) {
    match (network.fault.is_empty(), network.up) {
        (false, _) => ("dialog-warning-symbolic", "warning"),
        (true, true) => ("gantry-running-symbolic", "success"),
        (true, false) => ("gantry-stopped-symbolic", "dim-label"),
    }
}

/// What there is to know of an interface of this computer.
#[must_use]
pub fn host_facts(interface: &HostInterface) -> String {
    let on = match interface.is_up {
        true => tr("up"),
        false => tr("down"),
    };
    let facts = [interface.kind.clone(), on].into_iter();
    let facts: Vec<String> = facts.chain(interface.addresses.iter().cloned()).collect();
    let master = Some(&interface.master).filter(|master| !master.is_empty());
    let users = interface.used_by.join(", ");
    let lines = [
        Some(facts.join(" · ")),
        (interface.is_way_out).then(|| tr("This computer reaches others by it.")),
        master.map(|bridge| tr_name("It is a port of “{name}”.", bridge)),
        (!users.is_empty()).then(|| tr_name("Used by {name}.", &users)),
        Some(interface.note.clone()).filter(|note| !note.is_empty()),
    ];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn summary(network: &Network) -> String {
    let ports = network.ports.len();
    let facts = [
        Some(state_word(network)),
        Some(network.address(false).to_owned()).filter(|address| !address.is_empty()),
        (ports > 0).then(|| count(ports, "{n} interface", "{n} interfaces")),
        (!network.managed).then(|| tr("run by another program")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Port;

    #[test]
    fn an_interface_says_what_it_does() {
        let interface = HostInterface {
            kind: "physical".into(),
            is_up: true,
            is_way_out: true,
            addresses: vec!["192.0.2.7/24".into()],
            used_by: vec!["db".into(), "web1".into()],
            ..HostInterface::default()
        };
        assert_eq!(
            host_facts(&interface),
            "physical · up · 192.0.2.7/24\nThis computer reaches others by it.\nUsed by db, web1."
        );
    }

    #[test]
    fn a_row_has_the_short_address_and_what_is_plugged_in() {
        let mut network = Network {
            name: "lxcbr0".into(),
            managed: true,
            up: true,
            addresses: vec!["fd00::1/64".into(), "10.0.3.1/24".into()],
            ports: vec![Port::default()],
            ..Network::default()
        };
        assert_eq!(summary(&network), "Up · 10.0.3.1/24 · 1 interface");
        network.managed = false;
        network.fault = "line 3: colour".into();
        assert!(summary(&network).starts_with("Description error"));
        assert!(summary(&network).ends_with("run by another program"));
    }
}
