use relm4::ComponentSender;

use super::{DevicesPage, Gift, Message, Root};
use crate::{
    backend::{HostInterface, Problem},
    known::report,
    text::{tr, tr_name},
    widgets::ask::{self, Field, Form},
};

/// Asks which device node to give, and where it is to stand.
pub(super) fn node(
    container: &str,
    gift: &Gift,
    sender: &ComponentSender<DevicesPage>,
    root: &Root,
) {
    let heading = tr_name("Give “{name}” a Device", container);
    let (host, inside) = (tr("Device of This Computer"), tr("Path Inside, if Another"));
    let fields = [
        Field::Text {
            label: &host,
            text: &gift.host,
        },
        Field::Text {
            label: &inside,
            text: &gift.inside,
        },
    ];
    let input = sender.input_sender().clone();
    let form = Form {
        heading: &heading,
        body: &tr("It has the device until it stops."),
        fields: &fields,
        verb: &tr("_Add"),
    };
    ask::form(root, &form, check_paths, move |values| {
        if let Some(gift) = gift_of(values) {
            input.emit(Message::AddNode(gift));
        }
    });
}

/// Asks which network interface to give, and how it is to be called.
pub(super) fn interface(
    container: &str,
    interfaces: &[HostInterface],
    sender: &ComponentSender<DevicesPage>,
    root: &Root,
) {
    let heading = tr_name("Give “{name}” a Network Interface", container);
    if interfaces.is_empty() {
        let problem = Problem {
            heading,
            cause: tr("This computer has no interface that could be given."),
            name: String::new(),
            details: String::new(),
        };
        report(root, &problem, None);
        return;
    }
    let options: Vec<(String, String)> = interfaces
        .iter()
        .map(|one| (one.name.clone(), one.words()))
        .collect();
    let (host, inside) = (tr("Interface"), tr("Name Inside, if Another"));
    let fields = [
        Field::Choice {
            label: &host,
            options: &options,
        },
        Field::Text {
            label: &inside,
            text: "",
        },
    ];
    let input = sender.input_sender().clone();
    let content = |_: &[String]| Ok(());
    let form = Form {
        heading: &heading,
        body: &tr("It is taken from this computer until the container stops."),
        fields: &fields,
        verb: &tr("_Add"),
    };
    ask::form(root, &form, content, move |values| {
        if let Some(gift) = gift_of(values) {
            input.emit(Message::AddInterface(gift));
        }
    });
}

fn gift_of(values: Vec<String>) -> Option<Gift> {
    let [host, inside] = <[String; 2]>::try_from(values).ok()?;
    Some(Gift { host, inside })
}

/// An empty path is not wrong yet.
fn check_paths(values: &[String]) -> Result<(), String> {
    match values {
        [host, _] if host.is_empty() => Err(String::new()),
        [host, _] if !host.starts_with('/') => {
            Err(tr("Give the device’s whole path, such as /dev/loop0."))
        }
        [_, inside] if !inside.is_empty() && !inside.starts_with("/dev/") => Err(tr(
            "In the container a device stands below /dev: give a path such as /dev/loop0.",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_says_what_to_give() {
        let verdict = |host: &str, inside: &str| check_paths(&[host.into(), inside.into()]);
        assert_eq!(verdict("", ""), Err(String::new()));
        assert!(verdict("loop0", "").unwrap_err().contains("whole path"));
        assert!(
            verdict("/dev/loop0", "/srv/x")
                .unwrap_err()
                .contains("below /dev")
        );
        assert_eq!(verdict("/dev/loop0", ""), Ok(()));
        assert_eq!(verdict("/dev/loop0", "/dev/sdb1"), Ok(()));
    }
}
