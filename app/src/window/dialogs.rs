use adw::prelude::*;
use relm4::{Component as _, ComponentController as _, ComponentSender, adw};

use super::{Answer, Message, Root, Window};
use crate::{
    config::ConfigDialog,
    create::{self, CreateDialog, check_name},
    text::{tr, tr_name},
    widgets::ask,
};

impl Window {
    pub(super) fn open_dialog(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        let dialog = CreateDialog::builder()
            .launch((self.backend.clone(), self.list.names()))
            .forward(sender.input_sender(), |output| match output {
                create::Output::Begun { job, name } => Message::Creating { job, name },
                create::Output::Cancel(job) => Message::CancelJob(job),
                create::Output::Problem(problem) => Message::Problem(problem),
                create::Output::Closed => Message::DialogClosed,
            });
        dialog.widget().present(Some(root));
        self.dialog = Some(dialog);
    }

    pub(super) fn open_defaults(&mut self, root: &Root) {
        let dialog = ConfigDialog::builder()
            .launch((self.backend.clone(), None))
            .detach();
        dialog.widget().present(Some(root));
        self.defaults = Some(dialog);
    }

    /// Asks for another name for a container.
    pub(super) fn ask_name(&self, path: String, sender: &ComponentSender<Self>, root: &Root) {
        let Some(container) = self.list.get(&path) else {
            return;
        };
        let taken = self.list.names();
        let input = sender.input_sender().clone();
        let question = ask::Question {
            heading: &tr_name("Rename “{name}”", &container.name),
            label: &tr("New Name"),
            text: &container.name,
            verb: &tr("_Rename"),
        };
        let check = move |name: &str| check_name(name, &taken);
        ask::prompt(root, &question, check, move |name| {
            input.emit(Message::Rename(path, name));
        });
    }

    pub(super) fn rename(&self, path: String, new: String, sender: &ComponentSender<Self>) {
        let Some(container) = self.list.get(&path) else {
            return;
        };
        let backend = self.backend.clone();
        sender.oneshot_command(async move {
            let result = backend.rename(&path, &new).await;
            let old = container.name;
            Answer::Renamed { old, new, result }
        });
    }
}
