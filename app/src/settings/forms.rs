use relm4::ComponentSender;

use super::{Output, Root, SettingsPage, tell};
use crate::{
    backend::{Container, Named, Room, Task},
    text::{parse_size, size, tr, tr_name},
    widgets::ask::{self, Field, Form},
};

/// Asks how large a root file system is to be.
pub(super) fn grow(
    container: &Container,
    room: Room,
    sender: &ComponentSender<SettingsPage>,
    root: &Root,
) {
    let label = tr("Size, Such as 20G");
    let fields = [Field::Text {
        label: &label,
        text: "",
    }];
    let body = tr(
        "It has {size} now, of which {free} are free. It grows while the container runs as well, and cannot shrink again.",
    );
    let form = Form {
        heading: &tr_name("More Room for “{name}”", &container.name),
        body: &body
            .replace("{size}", &size(room.size))
            .replace("{free}", &size(room.free)),
        fields: &fields,
        verb: &tr("_Grow"),
    };
    let (sender, of) = (sender.clone(), Named::from(container));
    let check = move |values: &[String]| read(values, room).map(|_| ());
    ask::form(root, &form, check, move |values| {
        if let Ok(size) = read(&values, room) {
            tell(&sender, Output::Begin(Task::Grow { of, size }));
        }
    });
}

/// What the form says; without an error in words, it is not filled in yet.
fn read(values: &[String], room: Room) -> Result<u64, String> {
    match values {
        [text] if !text.trim().is_empty() => match parse_size(text.trim())? {
            size if size > room.size => Ok(size),
            _ => Err(tr("Give more than it has: it cannot shrink.")),
        },
        _ => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_only_grow() {
        let room = Room {
            size: 1 << 30,
            free: 0,
            own: true,
        };
        let of = |text: &str| read(&[text.to_owned()], room);
        assert_eq!(of("2G"), Ok(2 << 30));
        assert_eq!(of(" "), Err(String::new()));
        assert!(of("512M").unwrap_err().contains("shrink"));
        assert!(of("much").unwrap_err().contains("10G"));
    }
}
