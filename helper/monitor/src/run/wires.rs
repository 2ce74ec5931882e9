//! The interfaces of a container that runs, changed with its config: both or neither.
//!
//! It is the monitor that replaces the config, so that a helper that is killed leaves
//! nothing half done; and it is the monitor that takes a change back which would cut the
//! host off and which nobody confirms, since perhaps nobody can reach it any more. So it
//! does with an interface that the container begins with.

use super::Monitor;
use super::namespaces::open_namespace;
use crate::failure::{At, Step, failed, failure};
use crate::log;
use crate::network::{Change, Interfaces, planned};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{
    CONFIRMATION_PATIENCE, FailureKind, LiveWire, Report, Unconfirmed, WireReply, WireRequest,
};
use gantry_core::namespaces::Namespace;
use gantry_core::settings::Settings;
use rustix::fs::{Mode, OFlags, fsync, open, renameat};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

const STEP: &str = "changing an interface";

/// The lines of interfaces, by number.
type Lines = BTreeMap<u32, Vec<(String, String)>>;

/// What is taken back unless it is confirmed.
pub(super) struct Pending {
    deadline: Instant,
    /// What the container went by before; no lines are no interface.
    before: Lines,
}

impl Monitor {
    pub(super) fn wire(&mut self, request: WireRequest) -> WireReply {
        let done = match request {
            WireRequest::List => Ok(()),
            WireRequest::Change {
                number,
                lines,
                saved,
                confirmed,
            } => self.rewire(number, &lines, &saved, confirmed),
            WireRequest::Confirm { number, saved } => self.confirm_wires(number, &saved),
            WireRequest::Revert { number } => self
                .pending_wires(number)
                .and_then(|pending| self.revert_wires(pending)),
        };
        match done.and_then(|()| self.wires()) {
            Ok(wires) => WireReply::Done { wires },
            Err(failure) => WireReply::Failed(failure),
        }
    }

    fn rewire(
        &mut self,
        number: u32,
        lines: &[(String, String)],
        saved: &str,
        confirmed: bool,
    ) -> Step<()> {
        if let Some(pending) = &self.pending_wires {
            let message = format!(
                "The change of {} waits to be confirmed; confirm it or take it back first.",
                names(&pending.before)
            );
            return failed(FailureKind::Busy, STEP, message);
        }
        if self.is_starting {
            return failed(FailureKind::Busy, STEP, self.is_in_between());
        }
        let namespace = self.wired_namespace()?;
        let (config, settings) = planned(&self.config, &mut self.included, number, lines)?;
        let waits = match settings.networks.get(&number) {
            Some(network) if !confirmed => Interfaces::cuts_off(network)?,
            _ => false,
        };
        let before = self.settings.clone();
        self.change_wire(number, &settings, &namespace)?;
        if !waits && let Err(failure) = put_in_place(&self.layout, saved) {
            if let Err(failure) = self.change_wire(number, &before, &namespace) {
                log::error(failure.message);
            }
            return Err(failure);
        }
        let before = std::mem::replace(&mut self.config, config);
        if waits {
            self.have_confirmed(BTreeMap::from([(number, before.wire(number))]));
        } else if confirmed {
            self.remember_confirmed([number]);
        }
        Ok(())
    }

    /// Has the kernel and the rest of the monitor go by other settings of one interface.
    fn change_wire(&mut self, number: u32, settings: &Settings, namespace: &OwnedFd) -> Step<()> {
        let hooks = &self.hooks;
        let change = Change {
            number,
            before: &self.settings,
            after: settings,
        };
        // While a script runs, nobody else is served: it is short, and the change is one.
        self.interfaces.change(&change, namespace, &mut |script| {
            hooks.start_script(script)?.wait(None)
        })?;
        self.settings = Rc::new(settings.clone());
        Ok(())
    }

    /// The interfaces that are about to take the host's way out, and need a word for it:
    /// without one the container does without them.
    pub(super) fn wires_to_confirm(&self, settings: &Settings) -> Step<Lines> {
        let mut found = Lines::new();
        for (number, network) in &settings.networks {
            let link = network.link.clone().unwrap_or_default();
            let is_confirmed = self.confirmed_wires.contains(&(*number, link));
            if !is_confirmed && Interfaces::cuts_off(network)? {
                found.insert(*number, Vec::new());
            }
        }
        Ok(found)
    }

    /// Takes these interfaces back to what they were before, unless somebody confirms in
    /// time that the host can still be reached.
    pub(super) fn have_confirmed(&mut self, before: Lines) {
        if before.is_empty() {
            return;
        }
        log::notice(format!(
            "{} takes the host's way out, and is taken back after {} s unless that is confirmed",
            names(&before),
            CONFIRMATION_PATIENCE.as_secs()
        ));
        self.pending_wires = Some(Pending {
            deadline: Instant::now() + CONFIRMATION_PATIENCE,
            before,
        });
        // A start may take its time from here on.
        log::report(&Report::Unconfirmed);
    }

    fn remember_confirmed(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let network = self.settings.networks.get(&number);
            let link = network.and_then(|network| network.link.clone());
            let link = link.unwrap_or_default();
            self.confirmed_wires.insert((number, link));
        }
    }

    fn pending_wires(&mut self, number: u32) -> Step<Pending> {
        let is_it = |pending: &mut Pending| pending.before.contains_key(&number);
        self.pending_wires.take_if(is_it).ok_or_else(|| {
            let message = format!(
                "No change of lxc.net.{number} waits to be confirmed; it may have been taken back already."
            );
            failure(FailureKind::WrongState, STEP, message)
        })
    }

    fn confirm_wires(&mut self, number: u32, saved: &str) -> Step<()> {
        let pending = self.pending_wires(number)?;
        if let Err(failure) = put_in_place(&self.layout, saved) {
            self.pending_wires = Some(pending);
            return Err(failure);
        }
        self.remember_confirmed(pending.before.into_keys());
        Ok(())
    }

    /// Also while the container starts: it may take its time.
    fn revert_wires(&mut self, pending: Pending) -> Step<()> {
        let Some(init) = &self.init else {
            return Ok(());
        };
        let namespace = open_namespace(init.pid, Namespace::Net)?;
        for (number, lines) in pending.before {
            let (config, settings) = planned(&self.config, &mut self.included, number, &lines)?;
            self.change_wire(number, &settings, &namespace)?;
            self.config = config;
        }
        Ok(())
    }

    /// When a change is to be taken back.
    pub(super) fn wire_deadline(&self) -> Option<Instant> {
        // At its end a container goes by what it has.
        let pending = self.pending_wires.as_ref().filter(|_| !self.is_ending);
        pending.map(|pending| pending.deadline)
    }

    /// Takes a change back whose time is over.
    pub(super) fn expire_wire(&mut self) {
        if self
            .wire_deadline()
            .is_none_or(|deadline| deadline > Instant::now())
        {
            return;
        }
        let Some(pending) = self.pending_wires.take() else {
            return;
        };
        log::notice(format!(
            "nobody confirmed the change of {}: it is taken back",
            names(&pending.before)
        ));
        if let Err(failure) = self.revert_wires(pending) {
            log::error(failure.message);
        }
    }

    /// What was never confirmed does not come back with a reboot.
    pub(super) fn drop_pending_wires(&mut self) {
        let Some(pending) = self.pending_wires.take() else {
            return;
        };
        for (number, lines) in pending.before {
            match planned(&self.config, &mut self.included, number, &lines) {
                Ok((config, settings)) => {
                    self.config = config;
                    self.settings = Rc::new(settings);
                }
                Err(failure) => log::error(failure.message),
            }
        }
    }

    /// While it starts, too, as far as they are made: what waits can be confirmed then.
    fn wires(&self) -> Step<Vec<LiveWire>> {
        let mut wires = self.interfaces.wires(&self.wired_namespace()?)?;
        if let Some(pending) = &self.pending_wires {
            let is_pending = |wire: &&mut LiveWire| pending.before.contains_key(&wire.number);
            for wire in wires.iter_mut().filter(is_pending) {
                let left = pending.deadline.saturating_duration_since(Instant::now());
                wire.unconfirmed = Some(Unconfirmed {
                    seconds: left.as_secs(),
                    lines: self.config.wire(wire.number),
                });
            }
        }
        Ok(wires)
    }

    /// The network namespace that was made for the container, and no other.
    fn wired_namespace(&self) -> Step<OwnedFd> {
        let name = self.layout.name();
        match &self.init {
            _ if self.is_ending => failed(FailureKind::Busy, STEP, self.is_in_between()),
            None if self.is_starting => failed(FailureKind::Busy, STEP, self.is_in_between()),
            None => failed(
                FailureKind::WrongState,
                STEP,
                format!("Container '{name}' is not running; start it first."),
            ),
            Some(init) if init.made & Namespace::Net.clone_flag() == 0 => {
                let message = format!(
                    "Container '{name}' runs in a network that is not its own; make the change while it is stopped."
                );
                failed(FailureKind::Unsupported, STEP, message)
            }
            Some(init) => open_namespace(init.pid, Namespace::Net),
        }
    }

    fn is_in_between(&self) -> String {
        let name = self.layout.name();
        format!("Container '{name}' is starting or ending; try again then.")
    }
}

fn names(lines: &Lines) -> String {
    let names: Vec<String> = lines.keys().map(|n| format!("lxc.net.{n}")).collect();
    names.join(" and ")
}

/// Replaces a container's config by a file beside it.
pub(crate) fn put_in_place(layout: &ContainerLayout, saved: &str) -> Step<()> {
    let path = layout.config();
    let replaced = || -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        if Path::new(saved).file_name() != Some(saved.as_ref()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(parent, flags, Mode::empty())?;
        renameat(&directory, saved, &directory, name)?;
        Ok(fsync(&directory)?)
    };
    replaced().at(STEP, || format!("cannot write {}", path.display()))
}
