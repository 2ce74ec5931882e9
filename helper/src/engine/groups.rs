//! Work on many containers at once: groups, and what starts and stops with the
//! host, in the order and with the delays of lxc-autostart(1).

use super::client::Client;
use super::{ContainerId, Engine, Error, Facts, Result, StopOptions, Work};
use gantry_core::monitor::{Extension, RunningConfig};
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use std::sync::Arc;
use std::time::Duration;

/// What is done to each container of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupAction {
    /// Those that are stopped are started.
    Start,
    /// Those that run are asked to shut down.
    Stop(StopOptions),
    /// Those that run are asked to reboot.
    Reboot(StopOptions),
    /// Those that run are ended at once.
    Kill,
}

impl GroupAction {
    /// What was done, in a word for the record.
    fn done(self) -> &'static str {
        match self {
            Self::Start => "was started in its turn",
            Self::Stop(_) => "was shut down in its turn",
            Self::Reboot(_) => "was rebooted in its turn",
            Self::Kill => "was killed in its turn",
        }
    }

    /// Whether there is something to do to a container in its present state.
    fn concerns(self, facts: &Facts) -> bool {
        (facts.state == State::Stopped) == (self == Self::Start)
    }
}

/// Which containers something is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The groups, worked on one after the other; an empty name stands for the
    /// containers without a group. None means every container.
    pub(crate) groups: Option<Vec<String>>,
    /// Only those that are marked to start with the host (`lxc.start.auto`).
    pub(crate) marked: bool,
    /// Only those that one of Gantry's monitors holds.
    pub(crate) own: bool,
}

impl Selection {
    /// All of one group.
    pub(crate) fn group(name: &str) -> Self {
        Self {
            groups: Some(vec![name.to_owned()]),
            marked: false,
            own: false,
        }
    }

    /// The selected ones of `containers` in the order they are worked on: group
    /// by group, each in its order and then by name, and the other way round
    /// where containers end. Each comes once.
    fn in_order(&self, containers: &[Arc<Facts>], action: GroupAction) -> Vec<Arc<Facts>> {
        let mut left: Vec<&Arc<Facts>> = containers
            .iter()
            .filter(|facts| facts.autostart || !self.marked)
            .collect();
        left.sort_by_key(|facts| (facts.autostart_order, &facts.id.name));
        if matches!(action, GroupAction::Stop(_) | GroupAction::Kill) {
            left.reverse();
        }
        let Some(groups) = &self.groups else {
            return left.into_iter().cloned().collect();
        };
        let mut ordered = Vec::new();
        for group in groups {
            let (chosen, rest) = left.into_iter().partition(|facts| facts.is_in(group));
            ordered.extend::<Vec<&Arc<Facts>>>(chosen);
            left = rest;
        }
        ordered.into_iter().cloned().collect()
    }
}

impl Facts {
    /// Whether it is in a group; the empty name stands for no group at all.
    pub(crate) fn is_in(&self, group: &str) -> bool {
        match group {
            "" => self.groups.is_empty(),
            _ => self.groups.iter().any(|of| of == group),
        }
    }
}

impl Engine {
    /// Refuses the name of a group that no container is in.
    pub(crate) async fn need_group(&self, group: &str) -> Result<()> {
        if self.list().await?.iter().any(|facts| facts.is_in(group)) {
            return Ok(());
        }
        Err(Error::NotFound(format!(
            "no container is in the group {group:?}; put one into it with the key lxc.group"
        )))
    }

    /// The containers whose turn an action would be now, in their order.
    pub(crate) async fn select(
        &self,
        selection: &Selection,
        action: GroupAction,
    ) -> Result<Vec<Arc<Facts>>> {
        let mut selected = selection.in_order(&self.list().await?, action);
        selected.retain(|facts| action.concerns(facts));
        if selection.own {
            let mut own = Vec::new();
            for facts in selected {
                if self.holds(&facts.id).await {
                    own.push(facts);
                }
            }
            selected = own;
        }
        Ok(selected)
    }

    /// Does the same to many containers, one after the other, and gives the
    /// names of those it was done to. One that fails does not keep the others
    /// from their turn.
    pub(crate) async fn act_on(
        &self,
        selected: &[Arc<Facts>],
        action: GroupAction,
        work: &Work,
    ) -> Result<Vec<String>> {
        work.total(selected.len() as u64);
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for (turn, facts) in selected.iter().enumerate() {
            work.check()?;
            let name = &facts.id.name;
            let part = work.part(name.as_str());
            match self.act(&facts.id, action, &part).await {
                Ok(true) => {
                    tracing::info!(container = %name, "{}", action.done());
                    done.push(name.to_string());
                }
                Ok(false) => {}
                Err(Error::Cancelled(reason)) => return Err(Error::Cancelled(reason)),
                Err(error) => {
                    part.log(&error);
                    tracing::error!(container = %name, "{error}");
                    failures.push((name, error));
                }
            }
            work.bytes(turn as u64 + 1);
        }
        summed_up(done, failures, selected.len())
    }

    /// Whether a running container's monitor is Gantry's.
    async fn holds(&self, id: &ContainerId) -> bool {
        let client = Client::new(&self.layout(&id.name));
        let answer = client
            .extension::<RunningConfig>(Extension::GetConfig, None::<&()>)
            .await;
        matches!(answer, Ok(Some(_)))
    }

    /// Gives back whether there was anything to do: others may have come first.
    async fn act(&self, id: &ContainerId, action: GroupAction, work: &Work) -> Result<bool> {
        let facts = self.get(id).await?;
        if !action.concerns(&facts) {
            return Ok(false);
        }
        match action {
            GroupAction::Start => {
                work.stage("starting");
                self.start(id).await?;
                pause(&facts, work).await?;
            }
            GroupAction::Stop(options) => self.stop(id, options, work).await?,
            GroupAction::Reboot(options) => {
                self.reboot(id, options, work).await?;
                pause(&facts, work).await?;
            }
            GroupAction::Kill => {
                work.stage("killing");
                self.kill(id).await?;
            }
        }
        Ok(true)
    }
}

/// Gives a container that was started its time (`lxc.start.delay`) before the
/// next one's turn.
async fn pause(facts: &Facts, work: &Work) -> Result<()> {
    if facts.autostart_delay == 0 {
        return Ok(());
    }
    work.stage("waiting for its start delay");
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(facts.autostart_delay.into())) => Ok(()),
        () = work.cancelled() => work.check(),
    }
}

/// What came of it: the names of those that are done, or one sentence about
/// those that failed.
fn summed_up(
    done: Vec<String>,
    mut failures: Vec<(&ContainerName, Error)>,
    all: usize,
) -> Result<Vec<String>> {
    if all == 1
        && let Some((_, error)) = failures.pop()
    {
        return Err(error);
    }
    if failures.is_empty() {
        return Ok(done);
    }
    let reasons: Vec<String> = failures
        .iter()
        .map(|(name, error)| format!("'{name}': {error}"))
        .collect();
    Err(Error::Failed(format!(
        "{} of {all} containers failed, the others are done: {}",
        failures.len(),
        reasons.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::super::disk;
    use super::*;

    fn container(name: &str, order: i32, groups: &[&str], marked: bool) -> Arc<Facts> {
        let mut facts = disk::bare(&ContainerId::system(ContainerName::new(name).unwrap()));
        facts.autostart = marked;
        facts.autostart_order = order;
        facts.groups = groups.iter().map(|&group| group.to_owned()).collect();
        Arc::new(facts)
    }

    fn names(selection: &Selection, action: GroupAction) -> Vec<String> {
        let all = [
            container("late", 20, &["web"], true),
            container("b", 5, &["web", "onboot"], true),
            container("a", 5, &["web"], false),
            container("alone", 0, &[], true),
            container("first", -3, &["onboot"], true),
        ];
        let ordered = selection.in_order(&all, action);
        ordered
            .iter()
            .map(|facts| facts.id.name.to_string())
            .collect()
    }

    fn groups(groups: &[&str], marked: bool) -> Selection {
        Selection {
            groups: Some(groups.iter().map(|&group| group.to_owned()).collect()),
            marked,
            own: false,
        }
    }

    #[test]
    fn by_order_and_then_by_name_and_backwards_to_the_end() {
        let web = Selection::group("web");
        assert_eq!(names(&web, GroupAction::Start), ["a", "b", "late"]);
        assert_eq!(names(&web, GroupAction::Kill), ["late", "b", "a"]);
        let reboot = GroupAction::Reboot(StopOptions::default());
        assert_eq!(names(&web, reboot), ["a", "b", "late"]);
    }

    #[test]
    fn group_after_group_and_each_container_once() {
        let start = GroupAction::Start;
        let both = groups(&["onboot", "web"], false);
        assert_eq!(names(&both, start), ["first", "b", "a", "late"]);
        assert_eq!(
            names(&groups(&["web", ""], true), start),
            ["b", "late", "alone"]
        );
        assert_eq!(names(&groups(&["w", "webs"], false), start), [""; 0]);
        let everything = Selection {
            groups: None,
            marked: true,
            own: false,
        };
        assert_eq!(names(&everything, start), ["first", "alone", "b", "late"]);
    }

    #[test]
    fn failures_are_told_with_their_names() {
        let [a, b] = ["a", "b"].map(|name| ContainerName::new(name).unwrap());
        let error = |text: &str| Error::WrongState(text.to_owned());
        assert_eq!(summed_up(vec!["a".to_owned()], vec![], 1).unwrap(), ["a"]);
        let alone = summed_up(vec![], vec![(&a, error("it is broken"))], 1);
        assert!(matches!(alone, Err(Error::WrongState(text)) if text == "it is broken"));
        let some = summed_up(vec![], vec![(&a, error("broken")), (&b, error("gone"))], 3);
        let sentence = some.unwrap_err().to_string();
        assert!(sentence.starts_with("2 of 3"), "{sentence}");
        assert!(sentence.contains("'a': broken; 'b': gone"), "{sentence}");
    }
}
