//! The dnsmasq of a network. It is told everything by its file; a program that has a
//! pid and is not proven to be ours by its arguments is left alone.

use gantry_core::layout::PROGRAM_DIRECTORIES;
use gantry_core::networks::Places;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::log;
use crate::sys;

/// How long one may take to end, in milliseconds, before it is killed.
const PATIENCE: u16 = 3000;

/// A dnsmasq that runs.
pub(super) struct Server {
    pid: i32,
    process: OwnedFd,
    began: Instant,
}

impl Server {
    /// Starts the network's, if it is to have one, and returns once it answers. What is
    /// left of one whose keeper was killed is ended first.
    pub(super) fn start(places: &Places) -> Result<Option<Self>, String> {
        if let Some(left) = Self::find(places) {
            left.end();
        }
        if !Path::new(&places.server()).exists() {
            return Ok(None);
        }
        let program =
            program("dnsmasq").ok_or("dnsmasq is missing; install it (Debian: dnsmasq-base).")?;
        let run = sys::program(&program)
            .arg(argument(places))
            .output()
            .map_err(|error| format!("Starting dnsmasq failed: {error}."))?;
        if !run.status.success() {
            let said = String::from_utf8_lossy(&run.stderr);
            let said = said.trim().lines().next_back().unwrap_or_default();
            return Err(format!(
                "dnsmasq does not start: {}.",
                said.trim_start_matches("dnsmasq: ")
            ));
        }
        match Self::find(places) {
            Some(server) => Ok(Some(server)),
            None => Err("dnsmasq has ended at once; look into the system's log.".to_owned()),
        }
    }

    /// The one that runs for a network.
    fn find(places: &Places) -> Option<Self> {
        let pid: i32 = std::fs::read_to_string(places.server_pid())
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let process = pidfd_open(rustix::process::Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Looked at once it is held: from here on the number cannot mean another.
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let argument = argument(places);
        let is_ours = words
            .split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes());
        is_ours.then(|| Self {
            pid,
            process,
            began: Instant::now(),
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// How long it has run for us.
    pub(super) fn age(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// Ends it, and waits for its end.
    pub(super) fn end(self) {
        for (signal, patience) in [(libc::SIGTERM, PATIENCE), (libc::SIGKILL, PATIENCE)] {
            // One that has ended takes no signal and is ready at once.
            drop(sys::signal_process(&self.process, signal));
            let mut waiting = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waiting, PollTimeout::from(patience)).is_ok_and(|ready| ready > 0) {
                drop(reap());
                return;
            }
        }
        log::error("dnsmasq cannot be ended");
    }
}

/// How a dnsmasq is told of its file, which is also how it is known again.
fn argument(places: &Places) -> String {
    format!("--conf-file={}", places.server())
}

/// Where a program is.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
}

/// The children that have ended.
pub(super) fn reap() -> Vec<i32> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => {
                ended.push(pid.as_raw());
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return ended,
            Ok(_) => {}
        }
    }
}
