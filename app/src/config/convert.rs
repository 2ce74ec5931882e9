use relm4::ComponentSender;

use super::{Answer, ConfigDialog, Message, Root};
use crate::{
    backend::ConfigFile,
    known::report_error,
    text::{count, tr},
    widgets::ask,
};

impl ConfigDialog {
    /// Asks the helper what it would write for the keys of old.
    pub(super) fn ask_convert(&mut self, sender: &ComponentSender<Self>) {
        self.call_convert(true, sender);
    }

    /// Has the helper write the keys of old as those of today.
    pub(super) fn convert(&mut self, sender: &ComponentSender<Self>) {
        self.call_convert(false, sender);
    }

    fn call_convert(&mut self, dry: bool, sender: &ComponentSender<Self>) {
        let (Some(saved), false) = (self.saved.there(), self.saving) else {
            return;
        };
        let (before, revision) = (saved.text.clone(), saved.revision);
        let ConfigFile::Container(path) = self.file.clone() else {
            return;
        };
        let backend = self.backend.clone();
        self.saving = true;
        sender.oneshot_command(async move {
            let result = backend.convert_config(&path, revision, dry).await;
            match dry {
                true => Answer::WouldConvert(result),
                false => Answer::Converted(before, result),
            }
        });
    }

    /// Shows what would be written, and asks whether it is to be.
    pub(super) fn would_convert(
        &mut self,
        result: gantry_api::Result<Vec<String>>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        self.saving = false;
        let input = sender.input_sender().clone();
        match result {
            Ok(changes) => {
                let heading = count(changes.len(), "Convert {n} Line?", "Convert {n} Lines?");
                let body = tr("Everything else in the configuration stays as it is.");
                let (lines, verb) = (changes.join("\n"), tr("C_onvert"));
                ask::preview(root, (&heading, &body), &lines, &verb, move || {
                    input.emit(Message::Convert);
                });
            }
            Err(error) => {
                let heading = tr("The Configuration Could Not Be Converted");
                report_error(root, (&heading, &error), Message::AskConvert, &input);
            }
        }
    }

    pub(super) fn converted(
        &mut self,
        before: String,
        result: gantry_api::Result<Vec<String>>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        self.saving = false;
        let input = sender.input_sender().clone();
        match result {
            Ok(changes) => {
                self.legacy = false;
                sender.input(Message::Load);
                let heading = count(
                    changes.len(),
                    "{n} Line Is Converted",
                    "{n} Lines Are Converted",
                );
                ask::tell_done(root, &heading, &changes.join("\n"), move || {
                    input.emit(Message::Undo(before));
                });
            }
            Err(error) => {
                let heading = tr("The Configuration Could Not Be Converted");
                report_error(root, (&heading, &error), Message::Convert, &input);
            }
        }
    }

    /// Writes the text that was there before the conversion.
    pub(super) fn undo(&mut self, before: String, sender: &ComponentSender<Self>) {
        let (Some(saved), false) = (self.saved.there(), self.saving) else {
            return;
        };
        let (backend, file, revision) = (self.backend.clone(), self.file.clone(), saved.revision);
        self.saving = true;
        sender.oneshot_command(async move {
            let result = backend.set_config(&file, &before, revision).await;
            Answer::Undone(before, result)
        });
    }

    pub(super) fn undone(
        &mut self,
        before: String,
        result: gantry_api::Result<()>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        self.saving = false;
        let input = sender.input_sender().clone();
        match result {
            Ok(()) => {
                self.legacy = true;
                sender.input(Message::Load);
            }
            Err(error) => {
                let heading = tr("The Conversion Could Not Be Undone");
                report_error(root, (&heading, &error), Message::Undo(before), &input);
            }
        }
    }
}
