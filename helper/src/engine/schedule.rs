//! Snapshots by a schedule: the rules of each container lie in its directory, and what
//! was taken by them alone is removed by them.

use super::snapshots::list;
use super::{ContainerId, Engine, Error, NewSnapshot, Result, Work, blocking};
use crate::linux::{files, local_time};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::retention::{Moment, Retention};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// In the container's directory: its rules.
pub(super) const SCHEDULE: &str = ".gantry-schedule";
/// The longest file of rules, in bytes.
const LONGEST: u64 = 4096;

impl Engine {
    /// How many scheduled snapshots of a container are kept.
    pub(crate) async fn schedule(&self, id: &ContainerId) -> Result<Retention> {
        self.get(id).await?;
        let layout = self.layout(&id.name);
        blocking(move || read(&layout)).await
    }

    /// Changes that; all zero ends the schedule, and leaves what it has taken.
    pub(crate) async fn set_schedule(&self, id: &ContainerId, rules: Retention) -> Result<()> {
        self.get(id).await?;
        let path = path_of(&self.layout(&id.name));
        let failed = |error: io::Error| Error::path("writing", &path, &error);
        if rules.is_set() {
            let text =
                serde_json::to_string(&rules).map_err(|error| Error::Failed(error.to_string()))?;
            return files::replace(&path, text.as_bytes(), 0o600).map_err(failed);
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Takes the snapshots that are due, and removes those that are not kept any longer.
    /// One container that fails does not hold up the others. Gives those that were taken,
    /// as `CONTAINER/SNAPSHOT`.
    pub(crate) async fn run_schedules(&self, work: &Work) -> Result<Vec<String>> {
        let (mut taken, mut failures) = (Vec::new(), Vec::new());
        for facts in self.list().await? {
            let layout = self.layout(&facts.id.name);
            let part = work.part(facts.id.name.as_str());
            let done = match blocking(move || read(&layout)).await {
                Ok(rules) if rules.is_set() => self.keep_to(&facts.id, rules, &part).await,
                Ok(_) => Ok(None),
                Err(error) => Err(error),
            };
            match done {
                Ok(name) => taken.extend(name.map(|name| format!("{}/{name}", facts.id.name))),
                Err(error @ Error::Cancelled(_)) => return Err(error),
                Err(error) => {
                    part.log(&error);
                    failures.push(format!("{}: {error}", facts.id.name));
                }
            }
        }
        if failures.is_empty() {
            Ok(taken)
        } else {
            Err(Error::Failed(format!(
                "not every scheduled snapshot could be taken or removed: {}",
                failures.join("; ")
            )))
        }
    }

    async fn keep_to(
        &self,
        id: &ContainerId,
        rules: Retention,
        work: &Work,
    ) -> Result<Option<String>> {
        work.check()?;
        let taken = self.scheduled(id).await?;
        let moments: Vec<Moment> = taken.iter().map(|(_, moment)| *moment).collect();
        let mut name = None;
        if rules.is_due(&moments, now()) {
            let new = NewSnapshot {
                comment: "by the schedule".to_owned(),
                scheduled: true,
                ..NewSnapshot::default()
            };
            name = Some(self.take_snapshot(id, new, work).await?);
        }
        let taken = self.scheduled(id).await?;
        let moments: Vec<Moment> = taken.iter().map(|(_, moment)| *moment).collect();
        for index in rules.outdated(&moments, now()) {
            work.check()?;
            let Some((name, _)) = taken.get(index) else {
                continue;
            };
            match self.delete_snapshot(id, name, work).await {
                // It goes when they are gone.
                Err(Error::HasDependents(sentence)) => work.log(sentence),
                result => result?,
            }
        }
        Ok(name)
    }

    /// The snapshots that the schedule has taken.
    async fn scheduled(&self, id: &ContainerId) -> Result<Vec<(ContainerName, Moment)>> {
        let layout = self.layout(&id.name);
        let all = blocking(move || list(&layout)).await?;
        let scheduled = all.into_iter().filter(|snapshot| snapshot.scheduled);
        scheduled
            .map(|snapshot| {
                Ok((
                    ContainerName::new(&snapshot.name)?,
                    moment(snapshot.created),
                ))
            })
            .collect()
    }
}

fn path_of(layout: &ContainerLayout) -> PathBuf {
    layout.directory().join(SCHEDULE)
}

fn read(layout: &ContainerLayout) -> Result<Retention> {
    let path = path_of(layout);
    let bytes = files::read_if_there(&path, LONGEST)
        .map_err(|error| Error::path("reading", &path, &error))?;
    let Some(bytes) = bytes else {
        return Ok(Retention::default());
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::Failed(format!(
            "{} cannot be read: {error}; set the schedule anew",
            path.display()
        ))
    })
}

fn now() -> Moment {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    moment(seconds.try_into().unwrap_or_default())
}

fn moment(seconds: i64) -> Moment {
    Moment {
        seconds,
        ahead: local_time::ahead_at(seconds),
    }
}
