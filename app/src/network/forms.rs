use relm4::ComponentSender;

use super::{Message, NetworkPage, Root};
use crate::{
    backend::{Forward, Network, Port, PortChange, Problem, Reservation},
    known::report,
    text::{tr, tr_name},
    widgets::ask::{self, Field, Form},
};

/// Asks how the bridge is to treat a port.
pub(super) fn port(port: Port, sender: &ComponentSender<NetworkPage>, root: &Root) {
    let heading = tr_name("Options of “{name}”", &port.host);
    let body = tr(
        "A hairpin lets a container reach itself by an outer way. Isolated ones do not reach each other. Both hold until the interface is unplugged.",
    );
    let options = [
        (String::new(), tr("As it is")),
        ("on".to_owned(), tr("On")),
        ("off".to_owned(), tr("Off")),
    ];
    let (hairpin, isolated) = (tr("Hairpin"), tr("Isolated"));
    let fields = [&hairpin, &isolated].map(|label| Field::Choice {
        label,
        options: &options,
    });
    let form = Form {
        heading: &heading,
        body: &body,
        fields: &fields,
        verb: &tr("_Apply"),
    };
    let check = |values: &[String]| match values.iter().all(String::is_empty) {
        true => Err(String::new()),
        false => Ok(()),
    };
    let input = sender.input_sender().clone();
    ask::form(root, &form, check, move |values| {
        let switched = |place: usize| match values.get(place).map(String::as_str) {
            Some("on") => Some(true),
            Some("off") => Some(false),
            _ => None,
        };
        let change = PortChange {
            hairpin: switched(0),
            isolated: switched(1),
        };
        input.emit(Message::SetPort(port, change));
    });
}

/// Asks which address is to be whose.
pub(super) fn reserve(first: &Reservation, sender: &ComponentSender<NetworkPage>, root: &Root) {
    let (mac, address, name) = (
        tr("Hardware Address"),
        tr("Address"),
        tr("Name, if Not Its Own"),
    );
    let fields = [
        Field::Text {
            label: &mac,
            text: &first.mac,
        },
        Field::Text {
            label: &address,
            text: &first.address,
        },
        Field::Text {
            label: &name,
            text: &first.name,
        },
    ];
    let form = Form {
        heading: &tr("Reserve an Address"),
        body: &tr("The interface with the hardware address gets it from its next lease on."),
        fields: &fields,
        verb: &tr("_Reserve"),
    };
    let input = sender.input_sender().clone();
    let check = |values: &[String]| reservation(values).map(|_| ());
    ask::form(root, &form, check, move |values| {
        if let Ok(new) = reservation(&values) {
            input.emit(Message::Reserve(new));
        }
    });
}

/// What the form says; without an error in words, it is not filled in yet.
fn reservation(values: &[String]) -> Result<Reservation, String> {
    let [mac, address, name] = values else {
        return Err(String::new());
    };
    let (mac, address) = (mac.trim(), address.trim());
    if mac.is_empty() || address.is_empty() {
        return Err(String::new());
    }
    if gantry_core::networks::parse_mac(mac).is_none() {
        return Err(tr("Give a hardware address such as 00:16:3e:12:34:56."));
    }
    if address.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(tr("Give an address such as 10.0.3.10."));
    }
    Ok(Reservation {
        mac: mac.to_owned(),
        address: address.to_owned(),
        name: name.trim().to_owned(),
    })
}

/// Asks whether an address is to be anybody's again.
pub(super) fn unreserve(old: Reservation, sender: &ComponentSender<NetworkPage>, root: &Root) {
    let heading = tr_name("Remove the Reservation of {name}?", &old.address);
    let body = tr("The container may get another address at its next lease.");
    let input = sender.input_sender().clone();
    ask::confirm(root, &heading, &body, &tr("_Remove"), move || {
        input.emit(Message::Unreserve(old));
    });
}

/// Asks which port of this computer is to lead to which of these containers.
pub(super) fn forward(
    network: &Network,
    mut names: Vec<String>,
    sender: &ComponentSender<NetworkPage>,
    root: &Root,
) {
    let heading = tr("Forward a Port");
    if names.is_empty() {
        let problem = Problem {
            heading,
            cause: tr("There is no container that a port could lead to."),
            name: String::new(),
            details: String::new(),
        };
        report(root, &problem, None);
        return;
    }
    // Who is plugged in comes first.
    let is_in = |name: &String| network.ports.iter().any(|port| port.container == *name);
    names.sort_by_key(|name| (!is_in(name), name.clone()));
    let protocols = ["tcp", "udp"].map(|word| (word.to_owned(), word.to_uppercase()));
    let names: Vec<(String, String)> = names.into_iter().map(|name| (name.clone(), name)).collect();
    let (protocol, outer, container, inner) = (
        tr("Protocol"),
        tr("Port of This Computer"),
        tr("Container"),
        tr("Port of the Container"),
    );
    let fields = [
        Field::Choice {
            label: &protocol,
            options: &protocols,
        },
        Field::Text {
            label: &outer,
            text: "",
        },
        Field::Choice {
            label: &container,
            options: &names,
        },
        Field::Text {
            label: &inner,
            text: "",
        },
    ];
    let form = Form {
        heading: &heading,
        body: &tr("Whoever can reach this computer reaches the container by that port."),
        fields: &fields,
        verb: &tr("_Forward"),
    };
    let input = sender.input_sender().clone();
    let check = |values: &[String]| read_forward(values).map(|_| ());
    ask::form(root, &form, check, move |values| {
        if let Ok(new) = read_forward(&values) {
            input.emit(Message::Forward(new));
        }
    });
}

/// What the form says; without an error in words, it is not filled in yet.
fn read_forward(values: &[String]) -> Result<Forward, String> {
    let [protocol, outer, container, inner] = values else {
        return Err(String::new());
    };
    let port = |text: &str| match text.trim() {
        "" => Err(String::new()),
        text => match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(tr("A port is a number from 1 to 65535.")),
        },
    };
    // What is wrong is told before what is missing.
    let (outer, inner) = (port(outer), port(inner));
    let wrong = [&outer, &inner].into_iter().find_map(|port| {
        let said = port.as_ref().err();
        said.filter(|said| !said.is_empty()).cloned()
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    Ok(Forward {
        protocol: protocol.clone(),
        host_port: outer?,
        container: container.clone(),
        port: inner?,
    })
}

/// Asks whether a port is to lead nowhere again.
pub(super) fn close(forward: Forward, sender: &ComponentSender<NetworkPage>, root: &Root) {
    let heading = tr_name("Stop Forwarding Port {name}?", &forward.words());
    let body = tr_name(
        "“{name}” cannot be reached by it any more.",
        &forward.container,
    );
    let input = sender.input_sender().clone();
    ask::confirm(root, &heading, &body, &tr("_Stop Forwarding"), move || {
        input.emit(Message::Close(forward));
    });
}

/// Asks whether Gantry is to run a network that another program runs.
pub(super) fn take_over(name: &str, sender: &ComponentSender<NetworkPage>, root: &Root) {
    let heading = tr_name("Take Over “{name}”?", name);
    let body = tr(
        "Gantry runs the network from now on, with all that is plugged in. What LXC’s service runs for it is ended.",
    );
    let input = sender.input_sender().clone();
    ask::confirm(root, &heading, &body, &tr("_Take Over"), move || {
        input.emit(Message::TakeOver);
    });
}

/// Asks whether a network is to go that containers still ask for.
pub(super) fn delete_anyway(
    name: &str,
    cause: &str,
    sender: &ComponentSender<NetworkPage>,
    root: &Root,
) {
    let heading = tr_name("Delete “{name}” Anyway?", name);
    let input = sender.input_sender().clone();
    ask::confirm(root, &heading, cause, &tr("_Delete Anyway"), move || {
        input.emit(Message::Delete(true));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const N: usize>(values: [&str; N]) -> Vec<String> {
        values.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_port_is_a_number_and_what_is_missing_is_not_wrong_yet() {
        let of = |outer: &str, inner: &str| read_forward(&values(["tcp", outer, "web1", inner]));
        assert_eq!(
            of("8080", " 80 ").map(|one| (one.host_port, one.port)),
            Ok((8080, 80))
        );
        assert_eq!(of("8080", ""), Err(String::new()));
        for (outer, inner) in [("0", "80"), ("65536", ""), ("", "http")] {
            assert!(
                of(outer, inner).unwrap_err().contains("65535"),
                "{outer} {inner}"
            );
        }
    }

    #[test]
    fn a_reservation_has_both_addresses() {
        let of = |mac: &str, address: &str| reservation(&values([mac, address, ""]));
        assert!(of("00:16:3E:00:00:01", "10.0.3.7").is_ok());
        assert_eq!(of("00:16:3E:00:00:01", ""), Err(String::new()));
        assert!(of("00:16", "10.0.3.7").unwrap_err().contains("hardware"));
        assert!(
            of("00:16:3e:00:00:01", "10.0.3")
                .unwrap_err()
                .contains("10.0.3.10")
        );
    }
}
