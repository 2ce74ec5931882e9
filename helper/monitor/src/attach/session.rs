//! The supervisor of a session: waits for its program, and lets helpers
//! connect, resize, signal and close it.

use crate::failure::{At, Step};
use crate::message;
use crate::sys;
use crate::terminal;
use gantry_core::layout::RUN_DIR;
use gantry_core::monitor::{Hello, SessionCommand, SessionEvent};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket, sockopt,
};
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const STEP: &str = "opening the session's socket";

/// How long an exit status waits for somebody to take it.
const KEEP: Duration = Duration::from_secs(60);
/// How long a program that is closed may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// The socket at which helpers find the session.
pub(super) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Makes `/run/gantry/sessions/NUMBER`.
    pub(super) fn bind(session: u64) -> Step<Self> {
        let directory = Path::new(RUN_DIR).join("gantry/sessions");
        let what = || format!("cannot make {}", directory.display());
        let parent = directory.parent().unwrap_or(Path::new(RUN_DIR));
        for (path, mode) in [(parent, 0o711), (directory.as_path(), 0o700)] {
            match std::fs::DirBuilder::new().mode(mode).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error).at(STEP, what);
                }
                _ => {}
            }
        }
        let path = directory.join(session.to_string());
        let bound = || -> nix::Result<OwnedFd> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
            bind(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
            listen(&socket, Backlog::new(16)?)?;
            Ok(socket)
        };
        let socket = bound().at(STEP, || format!("cannot make {}", path.display()))?;
        Ok(Self { socket, path })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            crate::log::debug(format!("cannot remove {}: {error}", self.path.display()));
        }
    }
}

/// A session that runs.
pub(super) struct Session {
    pub(super) listener: Listener,
    pub(super) hello: Hello,
    pub(super) pidfd: OwnedFd,
    /// The container's devpts and the terminal's number in it.
    pub(super) terminal: Option<(OwnedFd, u32)>,
}

/// What passes between supervision and its end.
struct Progress {
    clients: Vec<OwnedFd>,
    /// The program's status, and until when it is kept.
    exited: Option<(i32, Instant)>,
    delivered: bool,
    /// When a closed program is killed.
    kill_at: Option<Instant>,
}

impl Session {
    /// Supervises until the program has ended and somebody knows how. Whoever started
    /// it is the first to steer it.
    pub(super) fn supervise(self, starter: OwnedFd) -> Step<()> {
        rustix::io::ioctl_fionbio(&starter, true)
            .at("supervising the session", || "cannot listen".to_owned())?;
        let mut progress = Progress {
            clients: vec![starter],
            exited: None,
            delivered: false,
            kill_at: None,
        };
        loop {
            let deadline = progress.exited.map(|(_, until)| until).or(progress.kill_at);
            if progress.delivered
                || progress
                    .exited
                    .is_some_and(|(_, until)| until <= Instant::now())
            {
                return Ok(());
            }
            let ready = self.wait(&progress, deadline)?;
            if progress.exited.is_none() {
                self.check_program(&mut progress)?;
            }
            if ready.contains(&self.listener.socket.as_raw_fd()) {
                self.accept(&mut progress);
            }
            self.hear(&mut progress, &ready);
        }
    }

    fn wait(&self, progress: &Progress, deadline: Option<Instant>) -> Step<Vec<i32>> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut waiting = vec![readable(self.listener.socket.as_fd())];
        waiting.extend(
            progress
                .clients
                .iter()
                .map(|client| readable(client.as_fd())),
        );
        if progress.exited.is_none() {
            waiting.push(readable(self.pidfd.as_fd()));
        }
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left =
                deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                return Err(errno).at("supervising the session", || "cannot wait".to_owned());
            }
        }
        Ok(waiting
            .iter()
            .filter(|fd| fd.any() == Some(true))
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect())
    }

    /// Learns whether the program has ended, and kills one that was closed and
    /// has not.
    fn check_program(&self, progress: &mut Progress) -> Step<()> {
        if progress.kill_at.is_some_and(|at| at <= Instant::now()) {
            progress.kill_at = None;
            self.signal_group(Signal::KILL);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)
            .at("supervising the session", || {
                "cannot watch the program".to_owned()
            })?;
        let Some(status) = status else { return Ok(()) };
        let code = status
            .exit_status()
            .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        let code = code.unwrap_or(255);
        progress.exited = Some((code, Instant::now() + KEEP));
        let event = SessionEvent::Exited { status: code };
        for client in &progress.clients {
            progress.delivered |= message::send(client, &event, &[]).is_ok();
        }
        Ok(())
    }

    fn accept(&self, progress: &mut Progress) {
        while let Ok(client) = sys::accept(&self.listener.socket) {
            let own = rustix::process::geteuid().as_raw();
            let uid =
                getsockopt(&client, sockopt::PeerCredentials).map_or(u32::MAX, |peer| peer.uid());
            if uid != 0 && uid != own {
                continue;
            }
            let greeted =
                message::send(&client, &SessionEvent::Hello(self.hello.clone()), &[]).is_ok();
            if let (true, Some((status, _))) = (greeted, progress.exited) {
                progress.delivered |=
                    message::send(&client, &SessionEvent::Exited { status }, &[]).is_ok();
            }
            if greeted {
                progress.clients.push(client);
            }
        }
    }

    fn hear(&self, progress: &mut Progress, ready: &[i32]) {
        let Progress {
            clients,
            kill_at,
            exited,
            ..
        } = progress;
        clients.retain(|client| {
            if !ready.contains(&client.as_raw_fd()) {
                return true;
            }
            match message::receive::<SessionCommand>(client) {
                Ok(Some((command, _))) => {
                    // After the program's end its pid may be another's.
                    if exited.is_none() {
                        self.obey(&command, kill_at);
                    }
                    true
                }
                Ok(None) => false,
                // What is not understood changes nothing.
                Err(error) => matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::WouldBlock
                ),
            }
        });
    }

    fn obey(&self, command: &SessionCommand, kill_at: &mut Option<Instant>) {
        let done = match command {
            SessionCommand::Resize { columns, rows } => self.resize(*columns, *rows),
            SessionCommand::Signal { number } => sys::signal_process(&self.pidfd, *number),
            SessionCommand::Close => {
                self.signal_group(Signal::HUP);
                self.signal_group(Signal::CONT);
                kill_at.get_or_insert_with(|| Instant::now() + GRACE);
                Ok(())
            }
        };
        if let Err(error) = done {
            crate::log::debug(format!("a session's command failed: {error}"));
        }
    }

    /// The program leads a session and a group of its own, which lives as
    /// long as it is not reaped.
    fn signal_group(&self, signal: Signal) {
        let group = i32::try_from(self.hello.pid).ok().and_then(Pid::from_raw);
        if let Some(Err(errno)) = group.map(|group| kill_process_group(group, signal)) {
            crate::log::debug(format!("cannot signal a session's program: {errno}"));
        }
    }

    fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let Some((devpts, number)) = &self.terminal else {
            return Ok(());
        };
        let flags =
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let slave = openat(devpts, number.to_string(), flags, Mode::empty())?;
        terminal::check_slave(&slave, *number)?;
        terminal::resize(&slave, columns, rows)
    }
}
