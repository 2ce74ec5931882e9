//! The monitor's loop: waits for init's end, clients, terminals and signals.

use super::Monitor;
use crate::failure::{At, Step};
use crate::log;
use crate::sys;
use gantry_core::monitor::SHUTDOWN_PATIENCE;
use gantry_core::signals;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::alarm;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::os::fd::{AsFd, AsRawFd};

const STEP: &str = "watching the container";

/// Signals that are received. SIGPWR shuts the container down, SIGALRM says that
/// this took too long, the others are passed on to init.
const RECEIVED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGPWR,
    Signal::SIGALRM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

impl Monitor {
    /// Serves until the container has ended for good.
    pub(super) fn serve(&mut self) -> Step<()> {
        let mask: SigSet = RECEIVED.into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)
            .at(STEP, || "cannot block signals".to_owned())?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .at(STEP, || "cannot receive signals".to_owned())?;
        let spare = sys::Spare::find();
        loop {
            let ready = self.wait(&signals, &spare)?;
            for fd in ready {
                self.dispatch(fd, &signals);
            }
            if let Some(status) = self.init_status()? {
                if !self.end(status)? {
                    return Ok(());
                }
                self.report_running();
            }
        }
    }

    /// Waits for something to do; gives back the descriptors that are ready.
    fn wait(&self, signals: &SignalFd, spare: &sys::Spare) -> Step<Vec<i32>> {
        let flags = |read: bool, write: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, read);
            flags.set(PollFlags::POLLOUT, write);
            flags
        };
        let mut waiting = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        waiting.extend(
            self.init
                .iter()
                .map(|init| PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN)),
        );
        waiting.extend(
            self.server
                .listener()
                .map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)),
        );
        let connections = self.server.connections.values();
        waiting
            .extend(connections.map(|c| PollFd::new(c.socket.as_fd(), flags(true, c.is_behind()))));
        waiting.extend(
            self.console
                .interests()
                .into_iter()
                .map(|(fd, read, write)| PollFd::new(fd, flags(read, write))),
        );
        match spare.wait(&mut waiting) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error).at(STEP, || "cannot wait".to_owned());
            }
            _ => {}
        }
        Ok(waiting
            .iter()
            .filter(|fd| fd.any() == Some(true))
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect())
    }

    /// Handles one descriptor. It may be gone by what was handled before.
    fn dispatch(&mut self, fd: i32, signals: &SignalFd) {
        if fd == signals.as_raw_fd() {
            self.take_signals(signals);
        } else if self
            .server
            .listener()
            .is_some_and(|listener| listener.as_raw_fd() == fd)
        {
            self.server.accept();
        } else if self.server.connections.contains_key(&fd) {
            self.serve_connection(fd);
        } else {
            self.console.ready(fd);
        }
    }

    fn take_signals(&mut self, signals: &SignalFd) {
        while let Ok(Some(received)) = signals.read_signal() {
            match received.ssi_signo as i32 {
                libc::SIGPWR => self.shut_down(),
                libc::SIGALRM => {
                    log::warn("the container did not shut down in time and is killed");
                    self.signal_init(self.settings.signals.stop);
                    self.cgroups.thaw();
                }
                // For an init a hang-up means nothing; its monitor's user meant
                // it to end.
                libc::SIGHUP => drop(self.signal_init(libc::SIGTERM)),
                number => drop(self.signal_init(number)),
            }
        }
    }

    /// Asks init to halt, and sets the time after which it is killed.
    fn shut_down(&mut self) {
        let Some(init) = &self.init else { return };
        let configured = self.settings.signals.halt.filter(|signal| *signal != 0);
        let signal = configured.unwrap_or_else(|| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", init.pid));
            signals::halt_of(&status.unwrap_or_default())
        });
        log::info(format!("shutting down, with signal {signal} to init"));
        self.stopping = true;
        self.signal_init(signal);
        self.cgroups.thaw();
        let patience = u32::try_from(SHUTDOWN_PATIENCE.as_secs()).unwrap_or(u32::MAX);
        alarm::set(patience);
    }

    /// Init's wait status once it has ended.
    fn init_status(&self) -> Step<Option<i32>> {
        let Some(init) = &self.init else {
            return Ok(None);
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(init.pidfd.as_fd()), options)
            .at(STEP, || "cannot watch init".to_owned())?;
        let Some(status) = status else {
            return Ok(None);
        };
        let killed = status.terminating_signal().map(|signal| signal & 0x7f);
        Ok(killed.or_else(|| status.exit_status().map(|code| (code & 0xff) << 8)))
    }
}
