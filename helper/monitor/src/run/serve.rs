//! The monitor's loop: waits for init's end, clients, terminals and signals.

use super::{Init, Monitor};
use crate::failure::{At, Step};
use crate::{log, proc};
use gantry_core::monitor::SHUTDOWN_PATIENCE;
use gantry_core::signals;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::alarm;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

const STEP: &str = "watching the container";

/// Between two requests to an init that does not listen yet.
const INSISTENCE: Duration = Duration::from_millis(100);

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

/// Receives the signals of this process.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// From now on they do nothing by themselves.
    pub(super) fn receive() -> Step<Self> {
        let mask: SigSet = RECEIVED.into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)
            .at(STEP, || "cannot block signals".to_owned())?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .at(STEP, || "cannot receive signals".to_owned())
            .map(Self)
    }
}

impl Monitor {
    /// Serves until the container has ended for good.
    pub(super) fn serve(&mut self) -> Step<()> {
        loop {
            if let Some(status) = self.init_status()? {
                if !self.end(status)? {
                    return Ok(());
                }
                self.report_running();
            }
            let again = self.halting.then(|| Instant::now() + INSISTENCE);
            self.turn(&[], again)?;
            if self.halting {
                self.ask_to_halt();
            }
        }
    }

    /// Waits once for something to do and does it. What becomes readable of
    /// `awaited` is left to the caller.
    pub(super) fn turn(
        &mut self,
        awaited: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Step<()> {
        let own = [
            self.notifier.deadline(),
            self.wire_deadline(),
            self.console.deadline(),
        ];
        let deadline = own.into_iter().chain([deadline]).flatten().min();
        for fd in self.wait(awaited, deadline)? {
            self.dispatch(fd);
        }
        self.notifier.expire();
        self.expire_wire();
        Ok(())
    }

    /// Waits for something to do; gives back the descriptors that are ready.
    fn wait(&self, awaited: &[BorrowedFd<'_>], deadline: Option<Instant>) -> Step<Vec<i32>> {
        let flags = |read: bool, write: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, read);
            flags.set(PollFlags::POLLOUT, write);
            flags
        };
        let reading = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut waiting = vec![reading(self.signals.0.as_fd())];
        waiting.extend(awaited.iter().copied().map(reading));
        if !self.is_ending {
            waiting.extend(self.init.iter().map(|init| reading(init.pidfd.as_fd())));
        }
        waiting.extend(self.notifier.awaited().into_iter().map(reading));
        waiting.extend(self.server.listener().map(AsFd::as_fd).map(reading));
        let connections = self.server.connections.values();
        waiting
            .extend(connections.map(|c| PollFd::new(c.socket.as_fd(), flags(true, c.is_behind()))));
        waiting.extend(
            self.console
                .interests()
                .into_iter()
                .map(|(fd, read, write)| PollFd::new(fd, flags(read, write))),
        );
        let waited = match deadline {
            None => self.spare.wait(&mut waiting),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                poll(&mut waiting, timeout).map(drop).map_err(Into::into)
            }
        };
        match waited {
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
    fn dispatch(&mut self, fd: i32) {
        if fd == self.signals.0.as_raw_fd() {
            self.take_signals();
        } else if self
            .server
            .listener()
            .is_some_and(|listener| listener.as_raw_fd() == fd)
        {
            self.server.accept();
        } else if self.server.connections.contains_key(&fd) {
            self.serve_connection(fd);
        } else if !self.notifier.ready(fd, self.pids()) {
            self.console.ready(fd);
        }
    }

    /// The monitor's own and init's.
    fn pids(&self) -> [i32; 2] {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        [own, self.init.as_ref().map_or(-1, |init| init.pid)]
    }

    fn take_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.0.read_signal() {
            match received.ssi_signo as i32 {
                libc::SIGUSR1 | libc::SIGUSR2 if self.is_starting || self.is_ending => {}
                // There is no init to take them.
                _ if self.is_starting || self.is_ending => self.hurry(),
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
        self.stopping = true;
        self.ask_to_halt();
        self.cgroups.thaw();
        let patience = u32::try_from(SHUTDOWN_PATIENCE.as_secs()).unwrap_or(u32::MAX);
        alarm::set(patience);
    }

    /// Asks init to halt, until it listens: one that has only begun does not yet.
    fn ask_to_halt(&mut self) {
        let Some(init) = &self.init else { return };
        let status = proc::text(format!("/proc/{}/status", init.pid));
        let status = status.unwrap_or_default();
        let configured = self.settings.signals.halt.filter(|signal| *signal != 0);
        let signal = configured.unwrap_or_else(|| signals::halt_of(&status));
        let is_heard = signals::is_heard(&status, signal);
        if is_heard || !self.halting {
            log::info(format!("shutting down, with signal {signal} to init"));
        }
        self.halting = !is_heard;
        self.signal_init(signal);
    }

    /// Whether init has ended. Its status stays to be asked for.
    pub(super) fn init_has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = |init: &Init| {
            waitid(WaitId::PidFd(init.pidfd.as_fd()), options).is_ok_and(|s| s.is_some())
        };
        self.init.as_ref().is_some_and(ended)
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
