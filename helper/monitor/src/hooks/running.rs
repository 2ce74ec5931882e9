//! A hook that runs.

use super::output::Output;
use crate::failure::{At, Step, failed};
use crate::log;
use crate::sys;
use gantry_core::monitor::FailureKind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
const STEP: &str = "running hooks";

/// A process that runs a hook or script, until it has ended. With this it and
/// what it has started in its session's first process group are killed.
pub(crate) struct Running {
    key: String,
    line: String,
    pid: i32,
    pidfd: OwnedFd,
    /// Until it is closed.
    pipe: Option<OwnedFd>,
    output: Output,
    deadline: Instant,
    has_ended: bool,
}

impl Running {
    /// A process that has just been made, and the pipe that it prints into.
    pub(super) fn new(key: &str, line: &str, pid: i32, pidfd: OwnedFd, pipe: OwnedFd) -> Self {
        Self {
            key: key.to_owned(),
            line: line.to_owned(),
            pid,
            pidfd,
            pipe: Some(pipe),
            output: Output::new(key),
            deadline: Instant::now() + PATIENCE,
            has_ended: false,
        }
    }

    /// What becomes readable when there is something to do.
    pub(crate) fn awaited(&self) -> Vec<BorrowedFd<'_>> {
        let pipe = self.pipe.iter().map(AsFd::as_fd);
        std::iter::once(self.pidfd.as_fd()).chain(pipe).collect()
    }

    /// When it has had its time.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Does what there is to do. Gives back whether it has ended well; the
    /// other ends are failures.
    pub(crate) fn go_on(&mut self) -> Step<bool> {
        self.read();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)
            .at(STEP, || "cannot learn how a hook ended".to_owned())?;
        match status {
            Some(status) => {
                self.has_ended = true;
                // What it has left in the pipe, but not what others go on to write.
                for _ in 0..8 {
                    self.read();
                }
                self.conclude(&status)
            }
            None if Instant::now() >= self.deadline => {
                let minutes = PATIENCE.as_secs() / 60;
                self.end(&format!("did not end within {minutes} minutes"))
            }
            None => Ok(false),
        }
    }

    /// Kills it; the failure says why.
    pub(crate) fn end<T>(&mut self, why: &str) -> Step<T> {
        self.kill();
        self.output.finish();
        self.fail(why)
    }

    /// Runs it to its end while nothing else is done; also when the other side
    /// of `leash`, a socket on which nothing is said, is gone.
    pub(crate) fn wait(mut self, leash: Option<&OwnedFd>) -> Step<()> {
        while !self.go_on()? {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut awaited: Vec<PollFd<'_>> = leash
                .iter()
                .map(|leash| PollFd::new(leash.as_fd(), PollFlags::empty()))
                .collect();
            let own = self.awaited();
            awaited.extend(own.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
            match poll(&mut awaited, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno).at(STEP, || "cannot wait for a hook".to_owned()),
            }
            let is_loose = |fd: &PollFd<'_>| leash.is_some() && fd.any() == Some(true);
            if awaited.first().is_some_and(is_loose) {
                return self.end("was ended, for nobody waits for it any more");
            }
        }
        Ok(())
    }

    /// Takes in a piece of what it has printed.
    fn read(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let mut buffer = [0; 16 * 1024];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => self.output.add(buffer.get(..length).unwrap_or_default()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.pipe = None,
        }
    }

    fn conclude(&mut self, status: &WaitIdStatus) -> Step<bool> {
        self.output.finish();
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(true),
            (Some(code), _) => self.fail(&format!("ended with status {code}")),
            (None, signal) => self.fail(&format!(
                "was killed by signal {}",
                signal.unwrap_or_default()
            )),
        }
    }

    fn fail<T>(&self, why: &str) -> Step<T> {
        let Self { key, line, .. } = self;
        let last = self.output.last();
        let printed = match last.as_str() {
            "" => "; it printed nothing.",
            _ => ". It printed last:",
        };
        let message = format!("{key}: {line} {why}{printed}{last}");
        failed(FailureKind::HookFailed, STEP, message)
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        // While it has not been waited for, its number is nobody else's.
        let group = Pid::from_raw(self.pid).map(|group| kill_process_group(group, Signal::KILL));
        if !matches!(group, Some(Ok(()))) {
            log::debug(format!("{} has no processes but itself", self.key));
        }
        let ended = sys::signal_process(&self.pidfd, libc::SIGKILL).and_then(|()| {
            waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)?;
            Ok(())
        });
        if let Err(error) = ended {
            log::error(format!(
                "{}: {} cannot be ended: {error}",
                self.key, self.line
            ));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
