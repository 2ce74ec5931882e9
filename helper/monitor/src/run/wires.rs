//! The interfaces of a container that runs, changed with its config: both or neither.
//!
//! It is the monitor that replaces the config, so that a helper that is killed leaves
//! nothing half done; and it is the monitor that takes a change back which would cut the
//! host off and which nobody confirms, since perhaps nobody can reach it any more.

use super::Monitor;
use crate::config::invalid;
use crate::failure::{At, Step, failed, failure};
use crate::log;
use crate::network::{Change, Interfaces, planned};
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{
    CONFIRMATION_PATIENCE, FailureKind, LiveWire, Unconfirmed, WireReply, WireRequest,
};
use gantry_core::namespaces::Namespace;
use gantry_core::settings::Settings;
use rustix::fs::{Mode, OFlags, fsync, open, renameat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

const STEP: &str = "changing an interface";

/// A change that is taken back unless it is confirmed.
pub(super) struct Pending {
    number: u32,
    deadline: Instant,
    /// What the container went by before.
    before: Config,
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
            WireRequest::Confirm { number, saved } => self.confirm_wire(number, &saved),
            WireRequest::Revert { number } => self
                .pending_wire(number)
                .and_then(|pending| self.revert_wire(pending)),
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
        if let Some(pending) = &self.pending_wire {
            let message = format!(
                "The change of lxc.net.{} waits to be confirmed; confirm it or take it back first.",
                pending.number
            );
            return failed(FailureKind::Busy, STEP, message);
        }
        let (config, settings) = planned(&self.config, &mut self.included, number, lines)?;
        let waits = match settings.networks.get(&number) {
            Some(network) if !confirmed => Interfaces::cuts_off(network)?,
            _ => false,
        };
        let before = self.settings.clone();
        self.change_wire(number, &settings)?;
        if !waits && let Err(failure) = put_in_place(&self.layout, saved) {
            if let Err(failure) = self.change_wire(number, &before) {
                log::error(failure.message);
            }
            return Err(failure);
        }
        let before = std::mem::replace(&mut self.config, config);
        if waits {
            log::notice(format!(
                "lxc.net.{number} takes the host's way out, and waits to be confirmed"
            ));
            self.pending_wire = Some(Pending {
                number,
                deadline: Instant::now() + CONFIRMATION_PATIENCE,
                before,
            });
        }
        Ok(())
    }

    /// Has the kernel and the rest of the monitor go by other settings of one interface.
    fn change_wire(&mut self, number: u32, settings: &Settings) -> Step<()> {
        let namespace = self.wired_namespace()?;
        let hooks = &self.hooks;
        let change = Change {
            number,
            before: &self.settings,
            after: settings,
        };
        // While a script runs, nobody else is served: it is short, and the change is one.
        self.interfaces.change(&change, &namespace, &mut |script| {
            hooks.start_script(script)?.wait(None)
        })?;
        self.settings = Rc::new(settings.clone());
        Ok(())
    }

    fn pending_wire(&mut self, number: u32) -> Step<Pending> {
        let is_it = |pending: &mut Pending| pending.number == number;
        self.pending_wire.take_if(is_it).ok_or_else(|| {
            let message = format!(
                "No change of lxc.net.{number} waits to be confirmed; it may have been taken back already."
            );
            failure(FailureKind::WrongState, STEP, message)
        })
    }

    fn confirm_wire(&mut self, number: u32, saved: &str) -> Step<()> {
        let pending = self.pending_wire(number)?;
        put_in_place(&self.layout, saved).inspect_err(|_| self.pending_wire = Some(pending))
    }

    fn revert_wire(&mut self, pending: Pending) -> Step<()> {
        let settings = Settings::from_config(&pending.before).map_err(invalid)?;
        self.change_wire(pending.number, &settings)?;
        self.config = pending.before;
        Ok(())
    }

    /// When a change is to be taken back.
    pub(super) fn wire_deadline(&self) -> Option<Instant> {
        // At its end a container goes by what it has.
        let pending = self.pending_wire.as_ref().filter(|_| !self.is_ending);
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
        let Some(pending) = self.pending_wire.take() else {
            return;
        };
        log::notice(format!(
            "nobody confirmed the change of lxc.net.{}: it is taken back",
            pending.number
        ));
        if let Err(failure) = self.revert_wire(pending) {
            log::error(failure.message);
        }
    }

    /// What was never confirmed does not come back with a reboot.
    pub(super) fn drop_pending_wire(&mut self) {
        let Some(pending) = self.pending_wire.take() else {
            return;
        };
        if let Ok(settings) = Settings::from_config(&pending.before) {
            self.settings = Rc::new(settings);
            self.config = pending.before;
        }
    }

    fn wires(&self) -> Step<Vec<LiveWire>> {
        let mut wires = self.interfaces.wires(&self.wired_namespace()?)?;
        if let Some(pending) = &self.pending_wire {
            let number = pending.number;
            for wire in wires.iter_mut().filter(|wire| wire.number == number) {
                let left = pending.deadline.saturating_duration_since(Instant::now());
                wire.unconfirmed = Some(Unconfirmed {
                    seconds: left.as_secs(),
                    lines: self.config.wire(number),
                });
            }
        }
        Ok(wires)
    }

    /// The network namespace that was made for the container, and no other.
    fn wired_namespace(&self) -> Step<OwnedFd> {
        let name = self.layout.name();
        let is_own = self
            .init
            .as_ref()
            .map(|init| init.made & Namespace::Net.clone_flag() != 0);
        match is_own {
            _ if self.is_starting || self.is_ending => {
                let message = format!("Container '{name}' is starting or ending; try again then.");
                failed(FailureKind::Busy, STEP, message)
            }
            None => failed(
                FailureKind::WrongState,
                STEP,
                format!("Container '{name}' is not running; start it first."),
            ),
            Some(false) => {
                let message = format!(
                    "Container '{name}' runs in a network that is not its own; make the change while it is stopped."
                );
                failed(FailureKind::Unsupported, STEP, message)
            }
            Some(true) => self
                .network_namespace()
                .at(STEP, || "cannot open the container's network".to_owned()),
        }
    }
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
