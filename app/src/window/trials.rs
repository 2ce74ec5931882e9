use std::collections::BTreeMap;

use gantry_api::Error;
use relm4::ComponentSender;

use super::{Answer, Message, Root, Window};
use crate::{
    backend::Trial,
    known::report_error,
    text::{mark, tr_name},
    trial::{self, Question},
};

/// The changes of this computer's interfaces that wait to be confirmed, and the questions
/// whether they are to stay, by interface; without one the answer is on its way.
#[derive(Debug, Default)]
pub(super) struct Trials {
    all: Vec<Trial>,
    asked: BTreeMap<String, Option<Question>>,
}

impl Window {
    /// These wait, and no others: what is over is not asked any more.
    pub(super) fn take_in_trials(
        &mut self,
        trials: Vec<Trial>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        self.trials.all = trials;
        let all = &self.trials.all;
        let goes_on = |interface: &String| all.iter().any(|trial| trial.interface == *interface);
        let over = self.trials.asked.extract_if(.., |name, _| !goes_on(name));
        for question in over.filter_map(|(_, question)| question) {
            question.end(root);
        }
        self.ask_trials(sender, root);
    }

    fn ask_trials(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        let Trials { all, asked } = &mut self.trials;
        for one in &*all {
            asked.entry(one.interface.clone()).or_insert_with(|| {
                let (input, interface) = (sender.input_sender().clone(), one.interface.clone());
                let seconds = one.seconds_left().max(1);
                Some(trial::ask(root, &one.interface, seconds, move |keep| {
                    input.emit(Message::Settle(interface, keep));
                }))
            });
        }
    }

    /// Keeps the change of an interface, or takes it back.
    pub(super) fn settle(&mut self, interface: String, keep: bool, sender: &ComponentSender<Self>) {
        if let Some(asked) = self.trials.asked.get_mut(&interface) {
            *asked = None;
        }
        let mut networks = self.wires.values();
        let network = networks.find(|network| network.uplink == interface);
        let network = network.map(|network| network.path.clone());
        let backend = self.backend.clone();
        sender.oneshot_command(async move {
            let result = match keep {
                true => backend.confirm_host_interface(&interface).await,
                false => {
                    let network = network.as_deref();
                    backend.take_back_trial(&interface, network).await
                }
            };
            Answer::Settled(interface, keep, result)
        });
    }

    pub(super) fn settled(
        &mut self,
        interface: String,
        keep: bool,
        result: gantry_api::Result<()>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        match result {
            Ok(()) => (),
            // Without a password there is no answer yet.
            Err(Error::AuthorizationDismissed(_)) => {
                self.trials.asked.remove(&interface);
                self.ask_trials(sender, root);
            }
            Err(error) => {
                let heading = match keep {
                    true => mark("The Change of “{name}” Could Not Be Kept"),
                    false => mark("The Change of “{name}” Could Not Be Taken Back"),
                };
                let heading = tr_name(heading, &interface);
                let again = Message::Settle(interface, keep);
                report_error(root, (&heading, &error), again, sender.input_sender());
            }
        }
    }
}
