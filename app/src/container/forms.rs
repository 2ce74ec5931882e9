use relm4::ComponentSender;

use super::{ContainerPage, Kind, Message, Root};
use crate::{
    backend::{Action, Command, check_words},
    text::{tr, tr_name},
    widgets::ask::{self, Field, Form},
};

/// Asks how long a container may take to stop.
pub(super) fn stop(container: &str, sender: &ComponentSender<ContainerPage>, root: &Root) {
    let heading = tr_name("Stop “{name}”", container);
    let (seconds, kill) = (tr("Seconds to Wait"), tr("Kill It After That"));
    let fields = [
        Field::Text {
            label: &seconds,
            text: "60",
        },
        Field::Switch {
            label: &kill,
            on: true,
        },
    ];
    let verb = tr("_Stop");
    let input = sender.input_sender().clone();
    let check = |values: &[String]| match patience(values) {
        Some(_) => Ok(()),
        None => Err(tr("Give a number of seconds.")),
    };
    let form = Form {
        heading: &heading,
        fields: &fields,
        verb: &verb,
        ..Form::default()
    };
    ask::form(root, &form, check, move |values| {
        if let Some(action) = patience(&values) {
            input.emit(Message::Act(action));
        }
    });
}

/// The action that the form for stopping stands for; none when there is no number.
fn patience(values: &[String]) -> Option<Action> {
    let [seconds, kill] = values else {
        return None;
    };
    Some(Action::StopWithin {
        seconds: seconds.trim().parse().ok()?,
        kill: !kill.is_empty(),
    })
}

/// Asks for a command to run in a container, and how.
pub(super) fn command(container: &str, sender: &ComponentSender<ContainerPage>, root: &Root) {
    let heading = tr_name("Run a Command in “{name}”", container);
    let labels = [
        tr("Command"),
        tr("User Number, if Not Root’s"),
        tr("Folder, if Not /"),
        tr("Environment"),
        tr("Namespaces, if Not All"),
    ];
    let elevated = tr("With the Rights of Root on This Computer");
    let mut fields: Vec<Field<'_>> = labels
        .iter()
        .map(|label| Field::Text { label, text: "" })
        .collect();
    fields.push(Field::Switch {
        label: &elevated,
        on: false,
    });
    let verb = tr("_Run");
    let input = sender.input_sender().clone();
    let check = |values: &[String]| read_command(values).map(|_| ());
    let form = Form {
        heading: &heading,
        body: &tr(
            "Its environment is given as NAME=VALUE, its namespaces by names: mnt, pid, net.",
        ),
        fields: &fields,
        verb: &verb,
    };
    ask::form(root, &form, check, move |values| {
        if let Ok(command) = read_command(&values) {
            input.emit(Message::Open(Kind::Command(command)));
        }
    });
}

/// What the form says.
fn read_command(values: &[String]) -> Result<Command, String> {
    let [line, user, folder, environment, namespaces, elevated] = values else {
        return Err(String::new());
    };
    // Nothing is not wrong yet.
    if line.is_empty() {
        return Err(String::new());
    }
    check_words(line)?;
    let user = match user.trim() {
        "" => None,
        number => match number.parse() {
            Ok(number) => Some(number),
            Err(_) => return Err(tr("A user is given by number: 0 is root.")),
        },
    };
    if !environment.is_empty() {
        check_words(environment)?;
    }
    Ok(Command {
        line: line.clone(),
        user,
        folder: folder.clone(),
        environment: environment.clone(),
        namespaces: namespaces.split_whitespace().map(str::to_owned).collect(),
        elevated: !elevated.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, user: &str) -> Result<Command, String> {
        let values = [line, user, "", "A='b c'", "mnt net", "true"];
        read_command(&values.map(str::to_owned))
    }

    #[test]
    fn a_form_makes_a_command_or_says_what_to_change() {
        let made = of("id -u", " 7 ").unwrap();
        assert_eq!((made.user, made.elevated), (Some(7), true));
        assert_eq!(made.namespaces, ["mnt", "net"]);
        assert_eq!(of("", ""), Err(String::new()));
        assert!(of("echo 'a", "").unwrap_err().contains("quotation"));
        assert!(of("id", "me").unwrap_err().contains("number"));
    }
}
