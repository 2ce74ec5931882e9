use gtk::glib;
use relm4::{Sender, adw, gtk};

use super::Message;
use crate::{
    backend::{Forward, Lease, Port, Reservation},
    text::{tr, tr_name},
    widgets::with_button,
};

/// Something that is plugged in, with a button to have it treated otherwise.
pub(super) fn port(port: &Port, to: &Sender<Message>) -> adw::ActionRow {
    let title = match (port.container.as_str(), port.inside.as_str()) {
        ("", _) => port.host.clone(),
        (container, "") => container.to_owned(),
        (container, inside) => format!("{container} · {inside}"),
    };
    let subtitle = match port.container.as_str() {
        "" => tr("Not a container’s"),
        _ => tr_name("“{name}” of this computer", &port.host),
    };
    let row = row(&title, &subtitle);
    let label = tr_name("Options of “{name}”", &title);
    let (to, ask) = (to.clone(), Message::AskPort(port.clone()));
    with_button(&row, ("emblem-system-symbolic", &label), move || {
        to.emit(ask.clone());
    });
    row
}

/// An address that is given out, with a button to give it for good.
pub(super) fn lease(lease: &Lease, reserved: bool, to: &Sender<Message>) -> adw::ActionRow {
    let until = match lease.expires {
        0 => None,
        at => glib::DateTime::from_unix_local(at)
            .and_then(|at| at.format("%c"))
            .ok(),
    };
    let until = until.map(|date| tr_name("until {name}", &date));
    let facts = [Some(lease.address.clone()), Some(lease.mac.clone()), until];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    let title = match lease.name.as_str() {
        "" => tr("Without a Name"),
        name => name.to_owned(),
    };
    let row = row(&title, &facts.join(" · "));
    // dnsmasq gives out addresses of IPv6, too, which are not reserved.
    if !reserved && !lease.address.contains(':') {
        let label = tr_name("Reserve {name}", &lease.address);
        let reservation = Reservation {
            mac: lease.mac.clone(),
            address: lease.address.clone(),
            name: lease.name.clone(),
        };
        let to = to.clone();
        with_button(&row, ("view-pin-symbolic", &label), move || {
            to.emit(Message::AskReserve(reservation.clone()));
        });
    }
    row
}

/// An address that is given for good, with a button to end that.
pub(super) fn reservation(one: &Reservation, to: &Sender<Message>) -> adw::ActionRow {
    let title = match one.name.as_str() {
        "" => one.address.clone(),
        name => format!("{name} · {}", one.address),
    };
    let row = row(&title, &one.mac);
    let label = tr_name("Remove the Reservation of {name}", &one.address);
    let (to, ask) = (to.clone(), Message::AskUnreserve(one.clone()));
    with_button(&row, ("user-trash-symbolic", &label), move || {
        to.emit(ask.clone());
    });
    row
}

/// A port that leads to a container, with a button to end that.
pub(super) fn forward(one: &Forward, to: &Sender<Message>) -> adw::ActionRow {
    let title = tr_name("Port {name}", &one.words());
    let subtitle = tr("To port {port} of “{name}”")
        .replace("{port}", &one.port.to_string())
        .replace("{name}", &one.container);
    let row = row(&title, &subtitle);
    let label = tr_name("Stop Forwarding Port {name}", &one.words());
    let (to, ask) = (to.clone(), Message::AskClose(one.clone()));
    with_button(&row, ("user-trash-symbolic", &label), move || {
        to.emit(ask.clone());
    });
    row
}

fn row(title: &str, subtitle: &str) -> adw::ActionRow {
    adw::ActionRow::builder()
        .title(title)
        .subtitle(subtitle)
        .use_markup(false)
        .subtitle_selectable(true)
        .build()
}
