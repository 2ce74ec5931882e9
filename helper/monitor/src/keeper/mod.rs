//! `network`: keeps one network of the host while it is up. It runs the network's
//! dnsmasq, and another as soon as that one has ended; and it puts Gantry's rules back
//! when something has swept them out of the kernel. What it keeps stands in files that
//! the helper writes ([`gantry_core::networks`]), so that it needs no helper.
//!
//! SIGHUP has dnsmasq read its files anew; SIGTERM ends it and its dnsmasq.

mod firewall;
mod server;

use crate::begin;
use crate::failure::{At, Step, failed, failure};
use crate::log;
use crate::message;
use crate::sys::{self, Fork};
use firewall::Firewall;
use gantry_core::monitor::{FailureKind, Report};
use gantry_core::name::InterfaceName;
use gantry_core::networks::Places;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fs::{Mode, OFlags, open};
use server::Server;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const STEP: &str = "keeping the network";

/// After a dnsmasq that has ended at once, before the next try.
const PAUSE: Duration = Duration::from_millis(500);
/// One that has run as long did not end at once.
const STEADY: Duration = Duration::from_secs(2);

/// Keeps a network until it is told to end.
pub(crate) fn main(name: &InterfaceName, starter: OwnedFd, in_unit: bool) -> ExitCode {
    let forked = if in_unit {
        Ok(Fork::Child)
    } else {
        sys::fork(0, None)
    };
    let started = match forked {
        Ok(Fork::Parent(..)) => sys::exit_now(0),
        Ok(Fork::Child) => begin::detach().and_then(|()| Keeper::start(name)),
        Err(error) => Err(error).at(STEP, || "cannot start a process".to_owned()),
    };
    let report = match &started {
        Ok(_) => Report::Running {
            pid: std::process::id(),
        },
        Err(failure) => Report::Failed(failure.clone()),
    };
    // It runs all the same when nobody waits for the word.
    drop(message::send(&starter, &report, &[]));
    drop(starter);
    match started.and_then(Keeper::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::error(failure.message);
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    places: Places,
    /// Locked while this process lives.
    _lock: File,
    signals: SignalFd,
    firewall: Firewall,
    server: Option<Server>,
    /// When a dnsmasq is to be started that could not be before.
    retry: Option<Instant>,
}

impl Keeper {
    fn start(name: &InterfaceName) -> Step<Self> {
        let places = Places::of(name);
        let lock = lock(&places)?;
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]
            .into_iter()
            .collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)
            .at(STEP, || "cannot block signals".to_owned())?;
        // dnsmasq goes on by itself once it is ready, and then becomes our child.
        nix::sys::prctl::set_child_subreaper(true)
            .at(STEP, || "cannot adopt processes".to_owned())?;
        let mut keeper = Self {
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
                .at(STEP, || "cannot receive signals".to_owned())?,
            firewall: Firewall::open().at(STEP, || "cannot watch nftables".to_owned())?,
            places,
            _lock: lock,
            server: None,
            retry: None,
        };
        keeper.server = Server::start(&keeper.places)
            .map_err(|reason| failure(FailureKind::StartFailed, STEP, reason))?;
        Ok(keeper)
    }

    fn serve(mut self) -> Step<()> {
        loop {
            self.wait()?;
            while let Ok(Some(received)) = self.signals.read_signal() {
                match received.ssi_signo as i32 {
                    libc::SIGTERM => {
                        self.end_server();
                        return Ok(());
                    }
                    libc::SIGHUP => {
                        self.end_server();
                        self.start_server();
                    }
                    _ => self.look_after_server(),
                }
            }
            self.firewall.tend();
            if self.retry.is_some_and(|due| due <= Instant::now()) {
                self.start_server();
            }
        }
    }

    fn wait(&self) -> Step<()> {
        let due = [self.retry, self.firewall.due()]
            .into_iter()
            .flatten()
            .min();
        let timeout = due.map_or(PollTimeout::NONE, |due| {
            // A moment more: it must be due when this returns.
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut waiting = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.firewall.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).at(STEP, || "cannot wait".to_owned()),
        }
    }

    fn start_server(&mut self) {
        self.retry = None;
        match Server::start(&self.places) {
            Ok(server) => self.server = server,
            Err(reason) => {
                log::error(reason);
                self.retry = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn end_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.end();
        }
    }

    /// A child has ended: dnsmasq itself, or what one of its kind left behind.
    fn look_after_server(&mut self) {
        for pid in server::reap() {
            let Some(server) = self.server.take_if(|server| server.pid() == pid) else {
                continue;
            };
            log::warn("dnsmasq has ended by itself; starting another");
            if server.age() < STEADY {
                self.retry = Some(Instant::now() + PAUSE);
            } else {
                self.start_server();
            }
        }
    }
}

/// Takes the lock of whoever keeps the network, and leaves our pid in its file.
fn lock(places: &Places) -> Step<File> {
    let path = places.keeper();
    let what = || format!("cannot lock {path}");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = open(path.as_str(), flags, Mode::from_raw_mode(0o600)).at(STEP, what)?;
    let mut file = File::from(file);
    if !try_lock(&file).at(STEP, what)? {
        return failed(
            FailureKind::Busy,
            STEP,
            "Another process keeps the network already.",
        );
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .at(STEP, what)?;
    Ok(file)
}

/// Locks a file if nobody else has, as the helper does (fcntl(2)).
fn try_lock(file: &File) -> nix::Result<bool> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}
