use relm4::ComponentSender;

use super::{Answer, Message, OwnJob, Root, Window};
use crate::{
    backend::{Action, CloneOptions, Named, Problem, Task},
    container,
    create::check_name,
    known::report,
    text::{tr, tr_name},
    widgets::ask::{self, Field, Form},
};

impl Window {
    /// Does what the page of the container at `path` cannot do itself.
    pub(super) fn wanted(
        &self,
        path: String,
        wanted: container::Output,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        use container::Output;
        match wanted {
            Output::Act(action) => self.ask(path, action, sender, root),
            Output::Rename => self.ask_name(path, sender, root),
            Output::Clone => self.ask_clone(&path, sender, root),
            Output::Export => self.ask_export(&path, sender, root),
            Output::NewFrom(snapshot) => self.ask_new_from(&path, snapshot, sender, root),
            Output::Begin(task) => self.begin(task, sender),
            Output::StopAndBegin(task) => self.act(path, Action::Stop, Some(task), sender),
            Output::Problem(problem) => report(root, &problem, None),
        }
    }

    pub(super) fn begin(&self, task: Task, sender: &ComponentSender<Self>) {
        let backend = self.backend.clone();
        sender.oneshot_command(async move {
            let result = backend.begin(&task).await;
            Answer::Begun(task, result)
        });
    }

    /// Follows the task's job, or tells why there is none.
    pub(super) fn begun(
        &mut self,
        task: Task,
        result: gantry_api::Result<String>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        match result {
            Ok(job) => {
                let own = OwnJob {
                    failure: task.failure(),
                    then: None,
                    show: task.makes().map(str::to_owned),
                    again: Some(Message::Begin(task)),
                };
                self.job_begun(job, own, sender, root);
            }
            Err(error) => {
                if let Some(problem) = Problem::from_error(&task.failure(), &error) {
                    let input = sender.input_sender().clone();
                    let retry = move || input.emit(Message::Begin(task));
                    report(root, &problem, Some(Box::new(retry)));
                }
            }
        }
    }

    /// Asks how to clone a container.
    pub(super) fn ask_clone(&self, path: &str, sender: &ComponentSender<Self>, root: &Root) {
        let Some(container) = self.list.get(path) else {
            return;
        };
        let name = tr("New Name");
        let copy = tr("Files");
        let backend = tr("Stored As");
        let mac = tr("Keep the Hardware Addresses");
        let host_name = tr("Keep the Host Name");
        let ephemeral = tr("Remove It When It Stops");
        let start = tr("Start It Afterwards");
        let copies = [
            (String::new(), tr("Copied in full")),
            ("snapshot".to_owned(), tr("Shared until they change")),
        ];
        let same = tr_name("Same ({name})", &container.backend);
        let backends = backends(("", same));
        let fields = [
            Field::Text {
                label: &name,
                text: "",
            },
            Field::Choice {
                label: &copy,
                options: &copies,
            },
            Field::Choice {
                label: &backend,
                options: &backends,
            },
            Field::Switch {
                label: &mac,
                on: false,
            },
            Field::Switch {
                label: &host_name,
                on: false,
            },
            Field::Switch {
                label: &ephemeral,
                on: false,
            },
            Field::Switch {
                label: &start,
                on: false,
            },
        ];
        let form = Form {
            heading: &tr_name("Clone “{name}”", &container.name),
            body: &match container.init_pid {
                0 => String::new(),
                _ => tr("The container is held while its files are copied."),
            },
            fields: &fields,
            verb: &tr("C_lone"),
        };
        let taken = self.list.names();
        let check = move |values: &[String]| match values.first() {
            Some(name) if !name.is_empty() => check_name(name, &taken),
            // Nothing is not wrong yet.
            _ => Err(String::new()),
        };
        let (input, of) = (sender.input_sender().clone(), Named::from(&container));
        ask::form(root, &form, check, move |values| {
            let Ok([new, copy, backend, mac, host_name, ephemeral, start]) =
                <[String; 7]>::try_from(values)
            else {
                return;
            };
            let options = CloneOptions {
                copy_on_write: !copy.is_empty(),
                backend,
                keep_mac: !mac.is_empty(),
                keep_name: !host_name.is_empty(),
                ephemeral: !ephemeral.is_empty(),
                start: !start.is_empty(),
            };
            input.emit(Message::Begin(Task::Clone { of, new, options }));
        });
    }

    /// Asks for the name of a container to be made of a snapshot.
    pub(super) fn ask_new_from(
        &self,
        path: &str,
        snapshot: String,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let Some(container) = self.list.get(path) else {
            return;
        };
        let taken = self.list.names();
        let question = ask::Question {
            heading: &tr_name("New Container From “{name}”", &snapshot),
            label: &tr("Name"),
            text: "",
            verb: &tr("C_reate"),
        };
        let (input, of) = (sender.input_sender().clone(), Named::from(&container));
        let check = move |name: &str| check_name(name, &taken);
        ask::prompt(root, &question, check, move |new| {
            let name = snapshot;
            input.emit(Message::Begin(Task::NewFromSnapshot { of, name, new }));
        });
    }
}

/// The ways to store a root file system, each with the words for it: this one, then the rest.
pub(super) fn backends(first: (&str, String)) -> Vec<(String, String)> {
    let all = ["dir", "overlay", "btrfs", "zfs", "lvm", "loop"].into_iter();
    let others = all.filter(|name| *name != first.0);
    std::iter::once((first.0.to_owned(), first.1.clone()))
        .chain(others.map(|name| (name.to_owned(), name.to_owned())))
        .collect()
}
