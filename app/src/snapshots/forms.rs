use relm4::ComponentSender;

use super::{Message, Output, Root, SnapshotsPage, tell};
use crate::{
    backend::{Container, Named, Snapshot, Task},
    text::{tr, tr_name},
    widgets::ask::{self, Field, Form},
};

/// The longest comment that the helper takes, in bytes.
const LONGEST_COMMENT: usize = 1024;

/// Asks how a snapshot is to be called, and says what it costs.
pub(super) fn take(container: &Container, sender: &ComponentSender<SnapshotsPage>, root: &Root) {
    let (comment, name) = (tr("Comment"), tr("Name, if Not the Next Number"));
    let fields = [
        Field::Text {
            label: &comment,
            text: "",
        },
        Field::Text {
            label: &name,
            text: "",
        },
    ];
    let form = Form {
        heading: &tr_name("Take a Snapshot of “{name}”", &container.name),
        body: &cost(container),
        fields: &fields,
        verb: &tr("_Take"),
    };
    let (sender, of) = (sender.clone(), Named::from(container));
    let check = |values: &[String]| values.first().map_or(Ok(()), |comment| fits(comment));
    ask::form(root, &form, check, move |values| {
        if let Ok([comment, name]) = <[String; 2]>::try_from(values) {
            let task = Task::TakeSnapshot { of, name, comment };
            tell(&sender, Output::Begin(task));
        }
    });
}

/// What it takes to keep the present state.
fn cost(container: &Container) -> String {
    let cost = match container.backend.as_str() {
        "dir" | "loop" => tr(
            "All its files are copied, which takes a while and as much room on the disk as they do now.",
        ),
        _ => tr("It is there at once, and takes room only for what changes from now on."),
    };
    match container.init_pid {
        0 => cost,
        _ => format!("{cost} {}", tr("The container is held while that lasts.")),
    }
}

/// Asks whether to go back, and whether the present state is kept.
pub(super) fn restore(
    container: &Container,
    snapshot: &Snapshot,
    sender: &ComponentSender<SnapshotsPage>,
    root: &Root,
) {
    let runs = container.init_pid != 0;
    let safety = tr("Take a Snapshot of the Present State First");
    let fields = [Field::Switch {
        label: &safety,
        on: true,
    }];
    let body = tr("Its files and its configuration become what they were then.");
    let (body, verb) = match runs {
        true => (
            format!("{} {body}", tr("The container is stopped first.")),
            tr("_Stop and Restore"),
        ),
        false => (body, tr("_Restore")),
    };
    let form = Form {
        heading: &tr_name("Restore “{name}”?", &snapshot.name),
        body: &body,
        fields: &fields,
        verb: &verb,
    };
    let (sender, of, name) = (
        sender.clone(),
        Named::from(container),
        snapshot.name.clone(),
    );
    let all = |_: &[String]| Ok(());
    ask::form(root, &form, all, move |values| {
        let safety = values.first().is_some_and(|safety| !safety.is_empty());
        let task = Task::RestoreSnapshot { of, name, safety };
        tell(
            &sender,
            match runs {
                true => Output::StopAndBegin(task),
                false => Output::Begin(task),
            },
        );
    });
}

/// Asks for a word about a snapshot.
pub(super) fn comment(snapshot: &Snapshot, sender: &ComponentSender<SnapshotsPage>, root: &Root) {
    let label = tr("Comment");
    let fields = [Field::Text {
        label: &label,
        text: &snapshot.comment,
    }];
    let form = Form {
        heading: &tr_name("Comment on “{name}”", &snapshot.name),
        fields: &fields,
        verb: &tr("_Save"),
        ..Form::default()
    };
    let check = |values: &[String]| values.first().map_or(Ok(()), |comment| fits(comment));
    let (input, name) = (sender.input_sender().clone(), snapshot.name.clone());
    ask::form(root, &form, check, move |mut values| {
        input.emit(Message::Comment(name, values.pop().unwrap_or_default()));
    });
}

/// Asks before a snapshot is lost.
pub(super) fn delete(
    container: &Container,
    snapshot: &Snapshot,
    sender: &ComponentSender<SnapshotsPage>,
    root: &Root,
) {
    let heading = tr_name("Delete “{name}”?", &snapshot.name);
    let body = tr(
        "What the container was then can no longer be restored. Its present state stays, and so do the other snapshots.",
    );
    let (sender, task) = (
        sender.clone(),
        Task::DeleteSnapshot {
            of: Named::from(container),
            name: snapshot.name.clone(),
        },
    );
    ask::confirm(root, &heading, &body, &tr("_Delete"), move || {
        tell(&sender, Output::Begin(task));
    });
}

fn fits(comment: &str) -> Result<(), String> {
    if comment.len() > LONGEST_COMMENT {
        return Err(tr("The comment is too long."));
    }
    Ok(())
}
