use adw::{prelude::*, subclass::prelude::*};
use relm4::{Sender, adw, gtk};

use super::Message;
use crate::{
    backend::Interface,
    text::{tr, tr_name},
    widgets::{install_actions, widget},
};

widget! {
    /// A network interface, with the menu of what can be done with it.
    InterfaceRow("GantryInterfaceRow") in "../../../data/ui/interface_row.ui",
    extends adw::ActionRow [adw::PreferencesRow, gtk::ListBoxRow]
        by ActionRowImpl [ListBoxRowImpl, PreferencesRowImpl],
    implements [gtk::Actionable],
    {
        sign: gtk::Image,
        menu: gtk::MenuButton,
    }
}

impl InterfaceRow {
    /// A row that shows an interface and sends what is to be done with it.
    pub(super) fn new(interface: &Interface, to: &Sender<Message>) -> Self {
        let this = Self::default();
        let parts = this.imp();
        let title = interface.title();
        this.set_title(&title);
        this.set_subtitle(&facts(interface));
        let icon = match interface.plan.link.is_empty() || interface.carrier == Some(false) {
            true => "network-wired-disconnected-symbolic",
            false => "network-wired-symbolic",
        };
        parts.sign.set_icon_name(Some(icon));
        let label = tr_name("Actions of “{name}”", &title);
        parts.menu.set_tooltip_text(Some(&label));
        parts
            .menu
            .update_property(&[gtk::accessible::Property::Label(&label)]);
        let index = interface.index;
        let actions = [
            ("connect", Message::AskConnect(index)),
            ("disconnect", Message::AskPlug(index, String::new())),
            ("configure", Message::Configure(index)),
            ("remove", Message::AskRemove(index)),
        ];
        let actions = install_actions(&this, "interface", to, actions);
        for (name, usable) in [
            ("connect", interface.has_plug()),
            ("disconnect", can_unplug(interface)),
        ] {
            let action = actions.lookup_action(name);
            if let Some(action) = action.and_downcast::<gtk::gio::SimpleAction>() {
                action.set_enabled(usable);
            }
        }
        this
    }
}

/// Only a veth has a cable that can be pulled.
fn can_unplug(interface: &Interface) -> bool {
    interface.plan.kind == "veth" && !interface.plan.link.is_empty()
}

fn facts(interface: &Interface) -> String {
    let plan = &interface.plan;
    let place = match (plan.kind.as_str(), plan.link.as_str()) {
        ("none", _) => tr("the network of this computer"),
        ("empty", _) => tr("joined to nothing"),
        (kind, "") => format!("{kind} · {}", tr("not plugged in")),
        (kind, link) => format!("{kind} · {link}"),
    };
    let state = match (plan.up, interface.carrier) {
        (false, _) => Some(tr("down")),
        (true, Some(true)) => Some(tr("connected")),
        (true, Some(false)) if !plan.link.is_empty() => Some(tr("no connection")),
        _ => None,
    };
    let vlan = (plan.vlan_id != 0).then(|| tr_name("VLAN {name}", &plan.vlan_id.to_string()));
    let mode = Some(plan.macvlan_mode.clone()).filter(|mode| !mode.is_empty());
    let first = [Some(place), mode, vlan, state];
    let planned = plan.ipv4.iter().chain(&plan.ipv6);
    let addresses: Vec<&str> = match &interface.addresses[..] {
        [] => planned.map(String::as_str).collect(),
        addresses => addresses.iter().map(String::as_str).collect(),
    };
    let second = Some(plan.hwaddr.as_str()).filter(|mac| !mac.is_empty());
    let second = addresses.into_iter().chain(second);
    let lines = [
        first.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        second.collect::<Vec<_>>().join(" · "),
    ];
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_where_it_is_plugged_in_and_whether_anybody_is_there() {
        let mut interface = Interface::default();
        interface.plan.kind = "veth".into();
        interface.plan.link = "lxcbr0".into();
        interface.plan.hwaddr = "00:16:3e:00:00:01".into();
        interface.plan.up = true;
        interface.carrier = Some(true);
        interface.addresses = vec!["10.0.3.7/24".into()];
        let said = "veth · lxcbr0 · connected\n10.0.3.7/24 · 00:16:3e:00:00:01";
        assert_eq!(facts(&interface), said);
        assert!(can_unplug(&interface));
        interface.plan.link.clear();
        interface.carrier = Some(false);
        assert!(facts(&interface).starts_with("veth · not plugged in\n"));
        interface.plan.kind = "none".into();
        assert!(!can_unplug(&interface) && !interface.has_plug());
    }
}
