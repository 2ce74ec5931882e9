//! The client's side of a monitor's command socket, of LXC's and of Gantry's
//! monitors alike.

use super::exchange::{Reply, is_hang_up, read_exactly, receive, send};
use super::{Error, Result};
use crate::linux::files;
use crate::linux::process::Process;
use gantry_core::command::{
    CgroupDescriptor, CgroupLayout, Command, ConsoleLog, NO_STATE, RequestHeader, StateInterest,
    StateMessage, StateMessageKind, encode_text,
};
use gantry_core::layout::{ContainerLayout, RUN_DIR, monitor_fifo};
use gantry_core::monitor::Extension;
use gantry_core::states::State;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long a monitor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked again after it hung up.
const TRIES: usize = 3;

/// Speaks to the monitor of one container. Each question is a connection of
/// its own, as the protocol has it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    name: String,
    address: Vec<u8>,
    fifo: PathBuf,
    patience: Duration,
}

/// A connection that waits for a state.
pub(super) struct StateClient {
    socket: UnixStream,
}

/// What a [`StateClient`] learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateNews {
    /// A state was reached.
    Reached(State),
    /// The monitor closed the connection without a word, as it does when it
    /// ends.
    Ended,
}

impl Client {
    /// For the monitor of the container of this layout, if there is one.
    pub(super) fn new(layout: &ContainerLayout) -> Self {
        Self {
            name: layout.name().to_string(),
            address: layout.command_socket(),
            fifo: monitor_fifo(Path::new(RUN_DIR), layout.lxc_path()),
            patience: PATIENCE,
        }
    }

    /// For what may take the monitor longer.
    pub(super) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Connects; none if nobody listens. Anybody may take an abstract
    /// address, so only root is believed.
    async fn connect(&self) -> io::Result<Option<UnixStream>> {
        let mut path = vec![0];
        path.extend(&self.address);
        let socket = match UnixStream::connect(OsStr::from_bytes(&path)).await {
            Ok(socket) => socket,
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused || is_hang_up(&error) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let peer = rustix::net::sockopt::socket_peercred(&socket)?;
        if !peer.uid.is_root() {
            let uid = peer.uid.as_raw();
            tracing::warn!(
                "user {uid} holds the command socket of container {}, which is not theirs",
                self.name
            );
            return Ok(None);
        }
        Ok(Some(socket))
    }

    /// Whether a monitor listens.
    pub(super) async fn is_alive(&self) -> bool {
        matches!(self.connect().await, Ok(Some(_)))
    }

    /// Asks; none if nobody listens or the connection ended without an answer.
    async fn ask(
        &self,
        header: RequestHeader,
        data: &[u8],
    ) -> io::Result<Option<(Reply, UnixStream)>> {
        let Some(socket) = self.connect().await? else {
            return Ok(None);
        };
        let answer = async {
            send(&socket, header, data).await?;
            receive(&socket).await
        };
        let reply = match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(reply)) => reply,
            // The monitor has ended meanwhile.
            Ok(Err(error)) if is_hang_up(&error) => None,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let text = "the container's monitor does not answer";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        };
        Ok(reply.map(|reply| (reply, socket)))
    }

    /// Asks for what can be asked again. Stock's monitor hangs up on one client, now and
    /// then, when another that had the same descriptor before has left.
    async fn need(&self, header: RequestHeader, data: &[u8]) -> Result<Reply> {
        for _ in 0..TRIES {
            match self.ask(header, data).await {
                Ok(Some((reply, _))) => return Ok(reply),
                Ok(None) if self.is_alive().await => {}
                Ok(None) => break,
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Err(self.not_running())
    }

    /// Asks for what has no answer but that it is done.
    pub(super) async fn done(&self, header: RequestHeader, data: &[u8]) -> Result<()> {
        let reply = self.need(header, data).await?.ok();
        reply.map(drop).map_err(|error| self.failed(&error))
    }

    fn not_running(&self) -> Error {
        Error::WrongState(format!(
            "container '{}' is not running; start it first",
            self.name
        ))
    }

    fn failed(&self, error: &io::Error) -> Error {
        let text = format!("the monitor of container '{}' refused: {error}", self.name);
        match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => Error::Unsupported(text),
            Some(libc::EBUSY) => Error::Busy(text),
            Some(libc::ENODEV) => Error::NotFound(text),
            Some(libc::EEXIST) => Error::Exists(text),
            _ if error.kind() == io::ErrorKind::TimedOut => Error::TimedOut(error.to_string()),
            _ => Error::Failed(text),
        }
    }

    /// The state; STOPPED if there is no monitor.
    pub(super) async fn state(&self) -> io::Result<State> {
        match self
            .ask(RequestHeader::inline(Command::GetState, 0), &[])
            .await?
        {
            None => Ok(State::Stopped),
            Some((reply, _)) => {
                let number = reply.ok()?.header.inline;
                State::from_number(number as i64)
                    .ok_or_else(|| io::Error::other("the monitor names an unknown state"))
            }
        }
    }

    /// The pid of init; 0 if there is none.
    pub(super) async fn init_pid(&self) -> u32 {
        match self
            .ask(RequestHeader::inline(Command::GetInitPid, 0), &[])
            .await
        {
            Ok(Some((reply, _))) if reply.header.ret >= 0 => {
                u32::try_from(reply.header.inline as i64).unwrap_or_default()
            }
            _ => 0,
        }
    }

    /// Init, held fast.
    pub(super) async fn init(&self) -> Result<Process> {
        let from_monitor = self
            .need(RequestHeader::inline(Command::GetInitPidFd, 0), &[])
            .await?;
        if let Ok(pidfd) = from_monitor.fd() {
            return Process::from_pidfd(pidfd).map_err(|error| self.failed(&error));
        }
        // A monitor before LXC 4: the pid, which must still be the same once
        // the process is held.
        let pid = self.init_pid().await;
        let process = Process::open(pid).map_err(|_| self.not_running())?;
        if self.init_pid().await == pid {
            Ok(process)
        } else {
            Err(self.not_running())
        }
    }

    /// A value of the config that it was started with, in stock LXC's
    /// spelling; none if unset.
    pub(super) async fn config_item(&self, key: &str) -> Result<Option<String>> {
        let data = encode_text(key);
        let header = RequestHeader::with_data(Command::GetConfigItem.number(), data.len());
        let reply = self.need(header, &data).await?;
        if reply.header.ret < 0 || reply.data.is_empty() {
            return Ok(None);
        }
        reply.text().map(Some).map_err(|error| self.failed(&error))
    }

    /// The directory of the group that has the container's limits: in the
    /// hierarchy of a version 1 controller, or in the unified one.
    pub(super) async fn cgroup(&self, controller: Option<&str>) -> Result<OwnedFd> {
        let filesystem = match controller {
            Some(_) => 0,
            None => {
                let header = RequestHeader::inline(Command::GetLimitCgroup2Fd, 0);
                if let Ok(fd) = self.need(header, &[]).await?.fd() {
                    return Ok(fd);
                }
                // Where version 1 is beside it, only Gantry's monitors have it.
                CgroupDescriptor::CGROUP2
            }
        };
        let request = CgroupDescriptor {
            layout: CgroupLayout::Unknown,
            utilities: 0,
            filesystem,
            controller: controller.unwrap_or_default().to_owned(),
        }
        .encode();
        let header = RequestHeader::with_data(Command::GetLimitCgroupFd.number(), request.len());
        self.need(header, &request)
            .await?
            .fd()
            .map_err(|error| self.failed(&error))
    }

    /// Makes the monitor take on a state and tell it to its clients. To tell
    /// lxc-monitord is left to whoever changes the state.
    pub(super) async fn serve_state(&self, state: State) -> Result<()> {
        let header = RequestHeader::inline(Command::ServeStateClients, state.number() as u64);
        self.done(header, &[]).await?;
        let message = StateMessage::state(&self.name, state).encode();
        match files::write_to_fifo(&self.fifo, &message) {
            // Nobody listens, or who listens does not read.
            Ok(()) | Err(Errno::NOENT | Errno::NXIO | Errno::AGAIN) => {}
            Err(error) => tracing::debug!("cannot tell lxc-monitord: {error}"),
        }
        Ok(())
    }

    /// The console's ring buffer. None: it is empty; [`Error::Unsupported`]:
    /// there is no such buffer. A monitor of stock LXC gives it away, Gantry's
    /// keeps it.
    pub(super) async fn console_log(&self) -> Result<Option<Vec<u8>>> {
        let header = RequestHeader::with_data(Extension::GetConsole.number(), 0);
        let kept = self.ask(header, &[]).await;
        if let Some((reply, _)) = kept.map_err(|error| self.failed(&error))?
            && reply.header.ret >= 0
        {
            return Ok(Some(reply.data));
        }
        let request = ConsoleLog {
            read: true,
            ..ConsoleLog::default()
        }
        .encode();
        let header = RequestHeader::with_data(Command::ConsoleLog.number(), request.len());
        let reply = self.need(header, &request).await?;
        match -reply.header.ret {
            libc::ENODATA => Ok(None),
            libc::EFAULT => Err(Error::Unsupported(format!(
                "container '{}' keeps no console buffer",
                self.name
            ))),
            _ => reply
                .ok()
                .map(|reply| Some(reply.data))
                .map_err(|error| self.failed(&error)),
        }
    }

    /// A terminal of the container's: its PTY, and the connection that holds
    /// it.
    pub(super) async fn tty(&self, number: u32) -> Result<(OwnedFd, UnixStream)> {
        let header = RequestHeader::inline(Command::GetTtyFd, number.into());
        let busy = || {
            Error::Busy(format!(
                "tty {number} of container '{}' is in use or does not exist",
                self.name
            ))
        };
        let answer = self
            .ask(header, &[])
            .await
            .map_err(|error| self.failed(&error))?;
        let (reply, socket) = answer.ok_or_else(busy)?;
        Ok((reply.fd().map_err(|_| busy())?, socket))
    }

    /// Asks the monitor to kill init, and returns when the monitor is done.
    pub(super) async fn stop(&self, patience: Duration) -> Result<()> {
        let Ok(Some(socket)) = self.connect().await else {
            return Err(self.not_running());
        };
        send(&socket, RequestHeader::inline(Command::Stop, 0), &[])
            .await
            .map_err(|error| self.failed(&error))?;
        let slow = || {
            Error::TimedOut(format!(
                "the monitor of container '{}' does not answer",
                self.name
            ))
        };
        match tokio::time::timeout(patience, receive(&socket))
            .await
            .map_err(|_| slow())?
        {
            Ok(None) => Ok(()),
            Ok(Some(reply)) => reply.ok().map(|_| ()).map_err(|error| self.failed(&error)),
            Err(error) if is_hang_up(&error) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// One of Gantry's own commands; none if the monitor is not Gantry's.
    pub(super) async fn extension<R: DeserializeOwned>(
        &self,
        extension: Extension,
        request: Option<&impl Serialize>,
    ) -> Result<Option<(R, Vec<OwnedFd>)>> {
        let bad = |error: serde_json::Error| {
            Error::Failed(format!("the monitor's message is malformed: {error}"))
        };
        let data = request
            .map(serde_json::to_vec)
            .transpose()
            .map_err(bad)?
            .unwrap_or_default();
        let header = RequestHeader::with_data(extension.number(), data.len());
        let answer = self
            .ask(header, &data)
            .await
            .map_err(|error| self.failed(&error))?;
        let Some((reply, _)) = answer else {
            return if self.is_alive().await {
                Ok(None)
            } else {
                Err(self.not_running())
            };
        };
        if matches!(-reply.header.ret, libc::ENOSYS) {
            return Ok(None);
        }
        let reply = reply.ok().map_err(|error| self.failed(&error))?;
        let data = if reply.data.is_empty() {
            b"null"
        } else {
            reply.data.as_slice()
        };
        Ok(Some((
            serde_json::from_slice(data).map_err(bad)?,
            reply.fds,
        )))
    }

    /// Waits for states. The answer is at once when it is in one of them;
    /// none if there is no monitor.
    pub(super) async fn await_states(
        &self,
        interest: StateInterest,
    ) -> io::Result<Option<std::result::Result<State, StateClient>>> {
        let data = interest.encode();
        let header = RequestHeader::with_data(Command::AddStateClient.number(), data.len());
        let Some((reply, socket)) = self.ask(header, &data).await? else {
            return Ok(None);
        };
        let number = reply.ok()?.header.inline;
        match State::from_number(number as i64) {
            Some(state) => Ok(Some(Ok(state))),
            None if number == NO_STATE as u64 => Ok(Some(Err(StateClient { socket }))),
            None => Err(io::Error::other("the monitor names an unknown state")),
        }
    }
}

impl StateClient {
    /// Returns when one of the states is reached.
    pub(super) async fn news(&self) -> io::Result<StateNews> {
        let Some(bytes) = read_exactly(&self.socket, StateMessage::LEN).await? else {
            return Ok(StateNews::Ended);
        };
        let message = StateMessage::decode(&bytes).map_err(io::Error::other)?;
        match State::from_number(message.value.into())
            .filter(|_| message.kind == StateMessageKind::State)
        {
            Some(state) => Ok(StateNews::Reached(state)),
            None => Err(io::Error::other("the monitor names an unknown state")),
        }
    }
}
