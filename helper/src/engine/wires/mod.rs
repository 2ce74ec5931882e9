//! A container's network interfaces: those of its config, and how they are while it
//! runs. Its monitor changes both, the kernel and the config; where that is not Gantry's,
//! a process of ours does what needs no undoing.

pub(super) mod confirmed;
mod edit;

pub(crate) use edit::{WireAction, WireChange};

use super::client::Client;
use super::config::{prepare, put_in_place};
use super::disk::{self, DiskIncludes};
use super::{ContainerId, Engine, Error, Result};
use crate::network::{bridge, definitions};
use edit::edited;
use gantry_core::config::Config;
use gantry_core::monitor::{Extension, LiveWire, WireReply, WireRequest};
use gantry_core::settings::Settings;
use gantry_core::states::State;
use std::time::Duration;

/// How long a monitor may take to change an interface, scripts included.
const PATIENCE: Duration = Duration::from_secs(360);

/// An interface of a container's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    /// Its number, N of lxc.net.N.
    pub(crate) number: u32,
    /// Its keys, each without `lxc.net.N.`, and their values.
    pub(crate) lines: Vec<(String, String)>,
    /// How it is, while the container runs.
    pub(crate) live: Option<LiveWire>,
}

impl Engine {
    /// The interfaces of a container, by number.
    pub(crate) async fn wires(&self, id: &ContainerId) -> Result<Vec<Wire>> {
        let config = disk::read_config(&self.config_path(id)?)?.config;
        let settings = Settings::from_config(&config)?;
        let mut found: Vec<Wire> = settings
            .networks
            .keys()
            .map(|number| Wire {
                number: *number,
                lines: config.wire(*number),
                live: None,
            })
            .collect();
        if self.get(id).await?.init_pid == 0 {
            return Ok(found);
        }
        // How they are is not known of one that shares the host's network.
        let live = self.ask_wires(id, &WireRequest::List).await;
        let live = live.unwrap_or_else(|error| {
            tracing::debug!("the interfaces of {id} are not known: {error}");
            Vec::new()
        });
        for one in live {
            let number = one.number;
            let place = found.iter().position(|wire| wire.number >= number);
            let place = place.unwrap_or(found.len());
            if found.get(place).is_none_or(|wire| wire.number != number) {
                found.insert(
                    place,
                    Wire {
                        number,
                        lines: Vec::new(),
                        live: None,
                    },
                );
            }
            if let Some(wire) = found.get_mut(place) {
                if let Some(unconfirmed) = &one.unconfirmed {
                    wire.lines.clone_from(&unconfirmed.lines);
                }
                wire.live = Some(one);
            }
        }
        found.retain(|wire| !wire.lines.is_empty());
        Ok(found)
    }

    /// Changes an interface: in the config, and at once in a container that runs; both or
    /// neither. Gives back its number, and how long the change waits to be confirmed if it
    /// cuts the host off: without `confirmed` it is taken back then.
    pub(crate) async fn change_wire(
        &self,
        id: &ContainerId,
        action: &WireAction,
        confirmed: bool,
    ) -> Result<(u32, Option<Duration>)> {
        let path = self.config_path(id)?;
        let _lock = self.lock(&id.name).await?;
        let old = disk::read_config(&path)?.config;
        let (number, new) = edited(&old, action, &mut DiskIncludes)?;
        find_link(&old, &new, number).await?;
        let replacement = prepare(&path, new.text())?;
        let facts = self.get(id).await?;
        if facts.state == State::Stopped {
            put_in_place(replacement, &path)?;
            if confirmed {
                confirmed::add(&self.layout(&id.name), &[number])?;
            }
            self.refresh().await?;
            return Ok((number, None));
        }
        let mut wanted = Settings::from_config(&new)?;
        wanted.networks.retain(|other, _| *other == number);
        self.ready_networks(&wanted).await?;
        let request = WireRequest::Change {
            number,
            lines: new.wire(number),
            saved: replacement.name().to_owned(),
            confirmed,
        };
        let wires = self.ask_wires(id, &request).await?;
        drop(replacement);
        if confirmed {
            confirmed::add(&self.layout(&id.name), &[number])?;
        }
        self.wires_changed(id).await?;
        let waits = self.try_wires(id, &wires);
        Ok((number, waits))
    }

    /// Shows which interfaces that a container starts with wait to be confirmed: those that
    /// have taken the host's way out.
    pub(super) async fn show_unconfirmed(&self, id: &ContainerId) {
        match self.ask_wires(id, &WireRequest::List).await {
            Ok(wires) => drop(self.try_wires(id, &wires)),
            Err(error) => tracing::warn!("the interfaces of {id} are not known: {error}"),
        }
    }

    /// Shows with other changes on trial what of a container's interfaces waits to be
    /// confirmed, and tells how long it does: the monitor takes it back.
    fn try_wires(&self, id: &ContainerId, wires: &[LiveWire]) -> Option<Duration> {
        let mut waits = None;
        for wire in wires {
            let Some(pending) = &wire.unconfirmed else {
                continue;
            };
            waits = Some(Duration::from_secs(pending.seconds));
            let link = pending.lines.iter().find(|(key, _)| key == "link");
            let Some((_, link)) = link else { continue };
            let (engine, of, number) = (self.clone(), id.clone(), wire.number);
            let keep = async move { engine.confirm_wire(&of, number).await };
            let (engine, of) = (self.clone(), id.clone());
            let undone = async move { engine.wires_changed(&of).await };
            self.put_on_trial(link, keep, undone);
        }
        waits
    }

    /// Keeps a change that cut the host off.
    pub(crate) async fn confirm_wire(&self, id: &ContainerId, number: u32) -> Result<()> {
        let path = self.config_path(id)?;
        let _lock = self.lock(&id.name).await?;
        let wires = self.ask_wires(id, &WireRequest::List).await?;
        let pending = wires.iter().find(|wire| wire.number == number);
        let pending = pending.and_then(|wire| wire.unconfirmed.as_ref());
        let pending = pending.ok_or_else(|| {
            Error::WrongState(format!(
                "no change of interface {number} waits to be confirmed; it may have been taken back already"
            ))
        })?;
        let mut config = disk::read_config(&path)?.config;
        config.set_wire(number, &pending.lines, &mut DiskIncludes)?;
        let replacement = prepare(&path, config.text())?;
        let saved = replacement.name().to_owned();
        self.ask_wires(id, &WireRequest::Confirm { number, saved })
            .await?;
        drop(replacement);
        // They were made together, and are confirmed together.
        let unconfirmed = wires.iter().filter(|wire| wire.unconfirmed.is_some());
        let numbers: Vec<u32> = unconfirmed.map(|wire| wire.number).collect();
        confirmed::add(&self.layout(&id.name), &numbers)?;
        self.end_wire_trials(&wires);
        self.wires_changed(id).await
    }

    fn end_wire_trials(&self, wires: &[LiveWire]) {
        let unconfirmed = wires.iter().filter_map(|wire| wire.unconfirmed.as_ref());
        let lines = unconfirmed.flat_map(|pending| &pending.lines);
        for (_, link) in lines.filter(|(key, _)| key == "link") {
            self.end_trial(link);
        }
    }

    /// Takes a change back that cut the host off, before its time is over.
    pub(crate) async fn revert_wire(&self, id: &ContainerId, number: u32) -> Result<()> {
        self.need_system(id)?;
        let wires = self.ask_wires(id, &WireRequest::List).await?;
        self.ask_wires(id, &WireRequest::Revert { number }).await?;
        self.end_wire_trials(&wires);
        self.wires_changed(id).await
    }

    /// The keys by which a change would give a container rights that equal root on the
    /// host.
    pub(crate) async fn unsafe_wire(
        &self,
        id: &ContainerId,
        action: &WireAction,
    ) -> Result<Vec<String>> {
        let old = disk::read_config(&self.config_path(id)?)?.config;
        let (_, new) = edited(&old, action, &mut DiskIncludes)?;
        Ok(new.unsafe_changes(&old))
    }

    /// After a change, whoever made it: what was known of the container is looked up anew.
    pub(crate) async fn wires_changed(&self, id: &ContainerId) -> Result<()> {
        self.0.meters.forget(id);
        self.ask_running_config(&id.name).await;
        self.refresh().await
    }

    async fn ask_wires(&self, id: &ContainerId, request: &WireRequest) -> Result<Vec<LiveWire>> {
        let layout = self.layout(&id.name);
        let client = Client::new(&layout).patient(PATIENCE);
        let answer = client.extension::<WireReply>(Extension::Wire, Some(request));
        let reply = match answer.await? {
            Some((reply, _)) => reply,
            None => {
                let init = client.init().await?;
                self.0.programs.wire(&layout, &init, request).await?
            }
        };
        match reply {
            WireReply::Done { wires } => Ok(wires),
            WireReply::Failed(failure) => Err(refusal(failure)),
        }
    }
}

/// Refuses a link that the host does not have and nothing will make.
async fn find_link(old: &Config, new: &Config, number: u32) -> Result<()> {
    let key = format!("lxc.net.{number}.link");
    let Some(link) = new.get(&key) else {
        return Ok(());
    };
    let is_known = old.get(&key) == Some(link)
        || link.ends_with('+')
        || bridge::find(link).await?.is_some()
        || definitions::find(link)?.is_some();
    if is_known {
        return Ok(());
    }
    Err(Error::NotFound(format!(
        "the host has no interface or network '{link}'; make it or choose another"
    )))
}

/// The error of a change that was refused.
fn refusal(failure: gantry_core::monitor::Failure) -> Error {
    use gantry_core::monitor::FailureKind;
    let message = failure.message.trim_end_matches('.').to_owned();
    match failure.kind {
        FailureKind::InvalidConfig => Error::InvalidArgument(message),
        FailureKind::StartFailed | FailureKind::NotPermitted => Error::Failed(message),
        _ => failure.into(),
    }
}
