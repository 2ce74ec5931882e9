use relm4::ComponentSender;

use super::{InterfacesPage, Message, Root};
use crate::{
    backend::{Container, Interface, Problem},
    known::report,
    text::{tr, tr_name},
    widgets::ask::{self, Field, Form},
};

/// Asks what an interface is to be plugged into.
pub(super) fn connect(
    interface: &Interface,
    links: Vec<(String, String)>,
    sender: &ComponentSender<InterfacesPage>,
    root: &Root,
) {
    let heading = tr_name("Connect “{name}”", &interface.title());
    if links.is_empty() {
        let problem = Problem {
            heading,
            cause: tr("There is nothing that it could be plugged into. Make a network first."),
            name: String::new(),
            details: String::new(),
        };
        report(root, &problem, None);
        return;
    }
    let to = tr("To");
    let form = Form {
        heading: &heading,
        body: &tr("Its connections end, and it asks for an address there."),
        fields: &[Field::Choice {
            label: &to,
            options: &links,
        }],
        verb: &tr("_Connect"),
    };
    let (input, index) = (sender.input_sender().clone(), interface.index);
    let all = |_: &[String]| Ok(());
    ask::form(root, &form, all, move |mut values| {
        let link = values.pop().unwrap_or_default();
        input.emit(Message::Plug(index, link));
    });
}

/// Asks whether a running container's cable is to be pulled.
pub(super) fn unplug(interface: &Interface, sender: &ComponentSender<InterfacesPage>, root: &Root) {
    let heading = tr_name("Unplug “{name}”?", &interface.title());
    let body =
        tr("The container’s connections over it end. It stays, and can be plugged in again.");
    let (input, index) = (sender.input_sender().clone(), interface.index);
    ask::confirm(root, &heading, &body, &tr("_Unplug"), move || {
        input.emit(Message::Plug(index, String::new()));
    });
}

/// Asks whether an interface is to go.
pub(super) fn remove(
    interface: &Interface,
    container: &Container,
    sender: &ComponentSender<InterfacesPage>,
    root: &Root,
) {
    let heading = tr_name("Remove “{name}”?", &interface.title());
    let body = match container.init_pid {
        0 => tr("What is set for it is forgotten."),
        _ => tr("The container’s connections over it end, and what is set for it is forgotten."),
    };
    let (input, index) = (sender.input_sender().clone(), interface.index);
    ask::confirm(root, &heading, &body, &tr("_Remove"), move || {
        input.emit(Message::Remove(index));
    });
}
