use gantry_api::ContainerState;
use relm4::ComponentSender;

use super::{Answer, Message, OwnJob, Root, Window};
use crate::{
    backend::{Action, Problem, Task},
    known::report,
    text::{count, mark, tr, tr_name},
    widgets::ask,
};

impl Window {
    /// Asks where something would be lost, then has it done.
    pub(super) fn ask(
        &self,
        path: String,
        action: Action,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let Some(container) = self.list.get(&path) else {
            return;
        };
        match action {
            Action::Delete => {
                let backend = self.backend.clone();
                sender.oneshot_command(async move {
                    // Who cannot be told of them is told by the helper that they stand in the way.
                    let snapshots = backend.list_snapshots(&path).await.unwrap_or_default();
                    Answer::Snapshots(path, snapshots.len())
                });
            }
            Action::Kill => {
                let input = sender.input_sender().clone();
                let heading = tr_name("Kill “{name}”?", &container.name);
                let body =
                    tr("All its processes are ended at once, and none of them can save its work.");
                ask::confirm(root, &heading, &body, &tr("_Kill"), move || {
                    input.emit(Message::Act(path, action));
                });
            }
            _ => sender.input(Message::Act(path, action)),
        }
    }

    /// Asks whether a container is to be removed, with so many snapshots of it.
    pub(super) fn ask_delete(
        &self,
        path: String,
        snapshots: usize,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let Some(container) = self.list.get(&path) else {
            return;
        };
        let (action, lost) = match snapshots {
            0 => (
                Action::Delete,
                tr("Its files and its configuration are removed."),
            ),
            n => (
                Action::DeleteAll,
                count(
                    n,
                    "Its files, its configuration and its snapshot are removed.",
                    "Its files, its configuration and its {n} snapshots are removed.",
                ),
            ),
        };
        let (heading, body, verb) = match container.state {
            ContainerState::Stopped => (mark("Delete “{name}”?"), lost, mark("_Delete")),
            _ => (
                mark("Kill and Delete “{name}”?"),
                format!(
                    "{} {lost}",
                    tr("It is running. All its processes are ended at once.")
                ),
                mark("_Kill and Delete"),
            ),
        };
        let heading = tr_name(heading, &container.name);
        let body = format!("{body} {}", tr("This cannot be undone."));
        let input = sender.input_sender().clone();
        ask::confirm(root, &heading, &body, &tr(verb), move || {
            input.emit(Message::Act(path, action));
        });
    }

    /// Does `action`, then begins the task if there is one.
    pub(super) fn act(
        &self,
        path: String,
        action: Action,
        then: Option<Task>,
        sender: &ComponentSender<Self>,
    ) {
        let Some(container) = self.list.get(&path) else {
            return;
        };
        let backend = self.backend.clone();
        sender.oneshot_command(async move {
            let result = backend.act(&container, action).await;
            let name = container.name;
            Answer::Acted {
                path,
                name,
                action,
                then,
                result,
            }
        });
    }

    /// Asks a job to end early.
    pub(super) fn cancel_job(&self, path: String, sender: &ComponentSender<Self>) {
        let backend = self.backend.clone();
        sender.oneshot_command(async move { Answer::Cancelled(backend.cancel(&path).await) });
    }

    pub(super) fn acted(
        &mut self,
        (path, name): (String, &str),
        (action, then): (Action, Option<Task>),
        result: gantry_api::Result<Option<String>>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let failure = action.failure(name);
        match result {
            Ok(None) => (),
            Ok(Some(job)) => {
                let start = || Message::Act(path.clone(), Action::Start);
                let start = (action == Action::Apply).then(start);
                let own = OwnJob {
                    failure,
                    then: then.map(Message::Begin).or(start),
                    again: Some(Message::Ask(path, action)),
                    show: None,
                };
                self.job_begun(job, own, sender, root);
            }
            Err(error) => {
                if let Some(problem) = Problem::from_error(&failure, &error) {
                    let input = sender.input_sender().clone();
                    let retry = move || input.emit(Message::Act(path, action));
                    report(root, &problem, Some(Box::new(retry)));
                }
            }
        }
    }
}

pub(super) fn cancelled(root: &Root, result: &gantry_api::Result<()>) {
    if let Err(error) = result
        && let Some(problem) = Problem::from_error(&tr("The Job Could Not Be Cancelled"), error)
    {
        report(root, &problem, None);
    }
}

pub(super) fn not_renamed(root: &Root, name: &str, error: &gantry_api::Error) {
    let heading = tr_name("“{name}” Could Not Be Renamed", name);
    if let Some(problem) = Problem::from_error(&heading, error) {
        report(root, &problem, None);
    }
}
