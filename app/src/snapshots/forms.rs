use relm4::ComponentSender;

use super::{Message, Output, Root, SnapshotsPage, tell};
use crate::{
    backend::{Container, Cost, Named, Schedule, Snapshot, Task},
    text::{duration, size, tr, tr_name},
    widgets::ask::{self, Asked, Field, Form},
};

/// The longest comment that the helper takes, in bytes.
const LONGEST_COMMENT: usize = 1024;
/// How many snapshots of a kind the helper keeps at most.
const MOST_KEPT: u32 = 1000;

/// Asks how a snapshot is to be called; what is given back shows what it costs.
pub(super) fn take(
    container: &Container,
    sender: &ComponentSender<SnapshotsPage>,
    root: &Root,
) -> Asked {
    let (comment, name) = (tr("Comment"), tr("Name (Optional)"));
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
        body: &cost(container, None),
        fields: &fields,
        verb: &tr("_Take"),
    };
    let (sender, of) = (sender.clone(), Named::from(container));
    let check = |values: &[String]| values.first().map_or(Ok(()), |comment| fits(comment));
    ask::form(root, &form, check, move |values| {
        if let Ok([comment, name]) = <[String; 2]>::try_from(values) {
            let task = Task::TakeSnapshot { of, name, comment };
            sender.input(Message::Taken);
            tell(&sender, Output::Begin(task));
        }
    })
}

/// What it takes to keep the present state, as far as it is known.
pub(super) fn cost(container: &Container, known: Option<Cost>) -> String {
    let copied = matches!(container.backend.as_str(), "dir" | "loop");
    let cost = match known {
        Some(cost) if cost.full => {
            tr("All its files are copied, {size}. That takes about {time}. {free} are free.")
                .replace("{size}", &size(cost.size))
                .replace("{time}", &duration(cost.seconds.max(1)))
                .replace("{free}", &size(cost.free))
        }
        None if copied => tr(
            "All its files are copied, which takes a while and as much room on the disk as they do now.",
        ),
        _ => tr("It is there at once, and takes room only for what changes from now on."),
    };
    match container.init_pid {
        0 => cost,
        _ => format!("{cost} {}", tr("The container is held while that lasts.")),
    }
}

/// Asks which snapshots are taken by themselves, and how many of them are kept.
pub(super) fn schedule(
    container: &Container,
    now: Schedule,
    sender: &ComponentSender<SnapshotsPage>,
    root: &Root,
) {
    let labels = [tr("Hourly"), tr("Daily"), tr("Weekly")];
    let numbers = [now.hourly, now.daily, now.weekly].map(|number| number.to_string());
    let fields: Vec<Field<'_>> = labels
        .iter()
        .zip(&numbers)
        .map(|(label, text)| Field::Text { label, text })
        .collect();
    let form = Form {
        heading: &tr_name("Snapshots of “{name}” by Themselves", &container.name),
        body: &tr(
            "How many of each are kept; with 0 none are taken. Those that you take yourself stay.",
        ),
        fields: &fields,
        verb: &tr("_Save"),
    };
    let check = |values: &[String]| read_schedule(values).map(|_| ());
    let input = sender.input_sender().clone();
    ask::form(root, &form, check, move |values| {
        if let Ok(schedule) = read_schedule(&values) {
            input.emit(Message::Keep(schedule));
        }
    });
}

fn read_schedule(values: &[String]) -> Result<Schedule, String> {
    let number = |place: usize| match values.get(place).map(|text| text.trim()) {
        None | Some("") => Ok(0),
        Some(text) => match text.parse() {
            Ok(number) if number <= MOST_KEPT => Ok(number),
            _ => Err(tr("Give numbers from 0 to 1000.")),
        },
    };
    Ok(Schedule {
        hourly: number(0)?,
        daily: number(1)?,
        weekly: number(2)?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_numbers() {
        let read = |hourly: &str| read_schedule(&[hourly.into(), "7".into(), String::new()]);
        let schedule = Schedule {
            hourly: 24,
            daily: 7,
            weekly: 0,
        };
        assert_eq!(read(" 24 "), Ok(schedule));
        assert!(read("many").is_err() && read("1001").is_err());
    }
}
