//! What takes its time while a container starts or ends: hooks, scripts and
//! init's side of the start. Meanwhile clients, terminals and signals are
//! served, and whoever asks for the container's end need not wait for it.

use super::{Monitor, STARTING};
use crate::failure::{At, Step, failed};
use crate::hooks::{Running, Script};
use crate::message;
use crate::setup::FromInit;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::HookStage;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};

/// What init's side says, and what comes along.
pub(super) type Heard = Option<(FromInit, Vec<OwnedFd>)>;

impl Monitor {
    /// Runs the hooks of a stage in order, to the first that fails. `extra` are
    /// arguments after those that LXC gives to all.
    pub(super) fn run_hooks(&mut self, stage: HookStage, extra: &[&str]) -> Step<()> {
        let mut number = 0;
        while let Some(running) = self.hooks.start(stage, number, extra)? {
            self.attend_hook(running)?;
            number += 1;
        }
        Ok(())
    }

    /// Runs a script of a network interface.
    pub(super) fn run_script(&mut self, script: &Script) -> Step<()> {
        let running = self.hooks.start_script(script)?;
        self.attend_hook(running)
    }

    fn attend_hook(&mut self, mut running: Running) -> Step<()> {
        self.check_wanted()?;
        self.hurried = false;
        while !running.go_on()? {
            self.turn(&running.awaited(), Some(running.deadline()))?;
            if self.hurried {
                let ended = running.end("was ended, for the container is to stop");
                return ended.map_err(|mut failure| {
                    failure.kind = FailureKind::Cancelled;
                    failure
                });
            }
            if self.is_starting && self.init_has_ended() {
                return failed(
                    FailureKind::StartFailed,
                    STARTING,
                    "Init died while it built the container.",
                );
            }
        }
        Ok(())
    }

    /// Waits for what init's side has to say; none when it has closed its end.
    pub(super) fn hear(&mut self, init: &OwnedFd) -> Step<Heard> {
        loop {
            if let Some(heard) = heard_already(init)? {
                return Ok(heard);
            }
            self.turn(&[init.as_fd()], None)?;
            self.check_wanted()?;
        }
    }

    /// Fails when somebody wants the end of a container that is starting.
    fn check_wanted(&self) -> Step<()> {
        if !self.is_starting || !self.stopping {
            return Ok(());
        }
        let message = format!(
            "The container '{}' was stopped while it started.",
            self.layout.name()
        );
        failed(FailureKind::Cancelled, STARTING, message)
    }

    /// Somebody wants the container's end: nothing is waited for any more.
    pub(super) fn hurry(&mut self) {
        self.stopping = true;
        self.hurried = true;
    }
}

/// What init's side has said, if it has said anything.
pub(super) fn heard_already(init: &OwnedFd) -> Step<Option<Heard>> {
    let what = || "cannot hear init".to_owned();
    let mut waiting = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waiting, PollTimeout::ZERO).at(STARTING, what)? {
        0 => Ok(None),
        _ => message::receive(init).at(STARTING, what).map(Some),
    }
}
