use std::collections::BTreeSet;

use adw::{prelude::*, subclass::prelude::*};
use gtk::gio;
use relm4::{ComponentSender, adw, gtk};

use super::{Answer, Message, OwnJob, Root, Window};
use crate::{
    backend::{GroupAction, Problem},
    known::report,
    text::{tr, tr_name},
    widgets::ask,
};

/// What can be chosen: all containers, or a group; the empty name for those without.
#[derive(Debug, Default)]
pub(super) struct Groups {
    choices: Vec<Option<String>>,
    pub(super) chosen: Option<String>,
}

impl Window {
    /// Shows the containers of the group at this place of the choices.
    pub(super) fn choose_group(&mut self, place: u32) {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        self.groups.chosen = self.groups.choices.get(place).cloned().flatten();
        self.list.show_group(self.groups.chosen.clone());
    }

    /// Offers the groups that there are; the chosen one stays chosen while it is one.
    pub(super) fn offer_groups(&mut self, root: &Root) {
        let groups = self.list.groups();
        let choices = choices(groups);
        let parts = root.imp();
        let named = |choice: &Option<String>| choice.as_ref().is_some_and(|name| !name.is_empty());
        parts.groups_bar.set_visible(choices.iter().any(named));
        if choices == self.groups.choices {
            return;
        }
        let words: Vec<String> = choices
            .iter()
            .map(|choice| word(choice.as_deref()))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let chosen = choices.iter().position(|one| *one == self.groups.chosen);
        self.groups.choices = choices;
        parts.groups.set_model(Some(&gtk::StringList::new(&words)));
        let chosen = chosen.and_then(|place| u32::try_from(place).ok());
        parts.groups.set_selected(chosen.unwrap_or_default());
    }

    /// Whether actions on the chosen group can be asked for.
    pub(super) fn enable_group_actions(&self, root: &Root, online: bool) {
        for action in GroupAction::ALL {
            let action = root.lookup_action(action.name());
            if let Some(action) = action.and_downcast::<gio::SimpleAction>() {
                action.set_enabled(online && self.groups.chosen.is_some());
            }
        }
    }

    /// Asks where something would be lost, then has it done.
    pub(super) fn ask_group(
        &self,
        action: GroupAction,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let Some(group) = self.groups.chosen.clone() else {
            return;
        };
        let input = sender.input_sender().clone();
        let act = move || input.emit(Message::ActOnGroup(group, action));
        if action != GroupAction::Kill {
            act();
            return;
        }
        let heading = tr_name(
            "Kill All Containers of “{name}”?",
            &word(self.groups.chosen.as_deref()),
        );
        let body = tr("All their processes are ended at once, and none of them can save its work.");
        ask::confirm(root, &heading, &body, &tr("_Kill All"), act);
    }

    pub(super) fn act_on_group(
        &self,
        group: String,
        action: GroupAction,
        sender: &ComponentSender<Self>,
    ) {
        let backend = self.backend.clone();
        sender.oneshot_command(async move {
            let result = backend.act_on_group(&group, action).await;
            Answer::ActedOnGroup {
                group,
                action,
                result,
            }
        });
    }

    pub(super) fn autostart(&self, sender: &ComponentSender<Self>) {
        let backend = self.backend.clone();
        sender.oneshot_command(async move { Answer::Autostarted(backend.autostart().await) });
    }

    pub(super) fn autostarted(
        &mut self,
        result: gantry_api::Result<String>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let failure = tr("Not All Containers Could Be Started");
        self.group_job(result, failure, Message::Autostart, sender, root);
    }

    pub(super) fn acted_on_group(
        &mut self,
        group: String,
        action: GroupAction,
        result: gantry_api::Result<String>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let failure = action.failure(&word(Some(&group)));
        let again = Message::ActOnGroup(group, action);
        self.group_job(result, failure, again, sender, root);
    }

    /// Follows the job, or tells why there is none.
    fn group_job(
        &mut self,
        result: gantry_api::Result<String>,
        failure: String,
        again: Message,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        match result {
            Ok(job) => {
                let own = OwnJob {
                    failure,
                    again: Some(again),
                    then: None,
                    show: None,
                };
                self.job_begun(job, own, sender, root);
            }
            Err(error) => {
                if let Some(problem) = Problem::from_error(&failure, &error) {
                    let input = sender.input_sender().clone();
                    report(root, &problem, Some(Box::new(move || input.emit(again))));
                }
            }
        }
    }
}

fn choices(groups: BTreeSet<String>) -> Vec<Option<String>> {
    let without = groups.contains("").then(String::new);
    let named = groups.into_iter().filter(|group| !group.is_empty());
    let all = std::iter::once(None).chain(named.map(Some));
    all.chain(without.map(Some)).collect()
}

/// A choice in words.
fn word(group: Option<&str>) -> String {
    match group {
        None => tr("All Containers"),
        Some("") => tr("Without a Group"),
        Some(group) => group.to_owned(),
    }
}
