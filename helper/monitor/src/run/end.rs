//! The end of a container, and its reboot.

use super::{Init, Monitor, ephemeral};
use crate::failure::{At, Step};
use crate::log;
use crate::sys;
use gantry_core::command::StateMessage;
use gantry_core::settings::HookStage;
use gantry_core::states::State;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::os::fd::{AsFd, AsRawFd};

impl Monitor {
    /// Cleans up after init. Gives back whether the container runs again:
    /// the kernel reports reboot(2) in a pid namespace as death by SIGHUP.
    pub(super) fn end(&mut self, status: i32) -> Step<bool> {
        let may_reboot = self.init.as_ref().is_some_and(Init::ends_all);
        let reboot = status == libc::SIGHUP && may_reboot && !self.stopping;
        self.is_ending = true;
        self.tell_monitord(&StateMessage::exit_code(
            self.layout.name().as_str(),
            status,
        ));
        self.set_state(State::Stopping);
        self.run_end_hooks(if reboot { "reboot" } else { "stop" });
        self.console.disconnect();
        self.init = None;
        self.notifier.end();
        self.cgroups.remove_payload();
        if reboot && !self.stopping {
            self.interfaces.remove();
            self.drop_pending_wires();
            // Clients wait for the new start, as nobody has left the socket.
            self.tell_monitord(&StateMessage::state(
                self.layout.name().as_str(),
                State::Stopped,
            ));
            let started = self.run_hooks(HookStage::PostStop, &[]);
            match started.and_then(|()| self.start()) {
                Ok(()) => return Ok(true),
                Err(failure) => {
                    log::error(format!("the reboot becomes a stop: {}", failure.message));
                    self.abort();
                    return Ok(false);
                }
            }
        }
        self.interfaces.release_names(&self.settings);
        self.server.close();
        self.interfaces.remove();
        self.set_state(State::Stopped);
        self.leave();
        Ok(false)
    }

    /// Undoes a start that failed: nothing of it is left afterwards.
    pub(super) fn abort(&mut self) {
        self.is_starting = false;
        self.is_ending = true;
        self.set_state(State::Aborting);
        if let Some(init) = &self.init {
            let ended = sys::signal_process(&init.pidfd, libc::SIGKILL).and_then(|()| {
                self.cgroups.thaw();
                waitid(WaitId::PidFd(init.pidfd.as_fd()), WaitIdOptions::EXITED)?;
                Ok(())
            });
            if let Err(error) = ended {
                log::debug(format!("init had ended already: {error}"));
            }
        }
        self.set_state(State::Stopping);
        self.run_end_hooks("stop");
        self.console.disconnect();
        self.init = None;
        self.notifier.end();
        self.cgroups.remove_payload();
        self.interfaces.remove();
        self.set_state(State::Stopped);
        self.leave();
        self.server.close();
    }

    /// What is done when everybody may see that the container has stopped.
    fn leave(&mut self) {
        if let Err(failure) = self.run_hooks(HookStage::PostStop, &[]) {
            log::error(failure.message);
        }
        self.cgroups.remove_monitor();
        if self.settings.ephemeral
            && let Err(failure) = self.remove_ephemeral()
        {
            log::error(failure.message);
        }
    }

    fn remove_ephemeral(&mut self) -> Step<()> {
        let is_simple = ephemeral::is_simple(&self.layout, &self.settings);
        if is_simple.at("removing the ephemeral container", || {
            format!("cannot look at {}", self.layout.directory().display())
        })? {
            self.run_hooks(HookStage::Destroy, &[])?;
            ephemeral::remove(&self.layout)?;
        } else {
            log::info("the helper is to remove the ephemeral container");
        }
        Ok(())
    }

    /// Runs the down scripts and the stop hooks, as long as the namespaces last.
    /// Their failure stops nothing.
    fn run_end_hooks(&mut self, target: &str) {
        log::info(format!("the container ends, target {target}"));
        self.hooks.tell("LXC_TARGET", target);
        self.interfaces.give_back();
        let monitor = rustix::process::getpid().as_raw_nonzero();
        let kept = self.init.iter().flat_map(|init| &init.namespaces);
        let namespaces: Vec<(&str, String)> = kept
            .map(|(kind, fd)| {
                let path = format!("/proc/{monitor}/fd/{}", fd.as_raw_fd());
                (kind.proc_name(), path)
            })
            .collect();
        let variable = |kind: &str| format!("LXC_{}_NS", kind.to_ascii_uppercase());
        for (kind, path) in &namespaces {
            self.hooks.tell(&variable(kind), path);
        }
        for script in self.interfaces.down_scripts(&self.settings) {
            if let Err(failure) = self.run_script(&script) {
                log::error(failure.message);
            }
        }
        // Version 1 is told by variables alone.
        let told = namespaces
            .iter()
            .filter(|_| self.settings.hooks.version == 0);
        let arguments: Vec<String> = told.map(|(kind, path)| format!("{kind}:{path}")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Err(failure) = self.run_hooks(HookStage::Stop, &arguments) {
            log::error(failure.message);
        }
        for (kind, _) in &namespaces {
            self.hooks.withhold(&variable(kind));
        }
    }
}
