//! Asking a container's monitor, Gantry's or stock LXC's, over its command
//! socket.

use crate::failure::{At, Step, failed, failure};
use crate::sys;
use gantry_core::command::{
    Command, HEADER_LEN, RequestHeader, ResponseHeader, decode_text, encode_text,
};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{Failure, FailureKind};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::fmt::Display;
use std::os::fd::{AsRawFd, OwnedFd};

const STEP: &str = "asking the container's monitor";

/// The most bytes of a response.
const MAX_RESPONSE: usize = 64 * 1024;

/// A monitor to ask.
pub(crate) struct Client<'a> {
    layout: &'a ContainerLayout,
}

/// What a monitor answered.
pub(crate) struct Response {
    header: ResponseHeader,
    data: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Response {
    /// The inline value, if the command succeeded.
    pub(crate) fn value(&self) -> Option<u64> {
        (self.header.ret >= 0).then_some(self.header.inline)
    }

    /// The pid of an init, if there is one.
    pub(super) fn pid(&self) -> Option<i32> {
        let pid = i32::try_from(self.value()?).ok();
        pid.filter(|pid| *pid > 1)
    }

    /// All descriptors that came along, if the command succeeded.
    pub(super) fn all_fds(self) -> Vec<OwnedFd> {
        match self.header.ret {
            0.. => self.fds,
            _ => Vec::new(),
        }
    }

    /// The one descriptor that came along.
    pub(crate) fn fd(self) -> Option<OwnedFd> {
        self.fds.into_iter().next()
    }

    /// The text, if the command succeeded.
    pub(super) fn text(&self) -> Option<&str> {
        (self.header.ret >= 0)
            .then(|| decode_text(&self.data).ok())
            .flatten()
    }
}

fn not_understood(reason: impl Display) -> Failure {
    let message = format!("The monitor is not understood: {reason}.");
    failure(FailureKind::StartFailed, STEP, message)
}

impl<'a> Client<'a> {
    pub(crate) fn new(layout: &'a ContainerLayout) -> Self {
        Self { layout }
    }

    /// One command on a connection of its own.
    pub(crate) fn ask(&self, command: Command, data: &[u8]) -> Step<Response> {
        self.ask_with(command, data, None)
    }

    /// Several commands, each on a connection of its own: all are asked before the first
    /// answer is waited for, so that the monitor need be woken but once.
    pub(crate) fn ask_all<const N: usize>(
        &self,
        questions: [(Command, &[u8]); N],
    ) -> Step<[Response; N]> {
        let mut asked = Vec::with_capacity(N);
        for (command, data) in questions {
            asked.push((command, data, self.send(command, data, None)?));
        }
        let mut answers = Vec::with_capacity(N);
        for (command, data, socket) in asked {
            answers.push(match self.receive(&socket)? {
                Some(response) => response,
                None => self.ask(command, data)?,
            });
        }
        answers
            .try_into()
            .map_err(|_| not_understood("it answers too few questions"))
    }

    /// Gives the monitor what listens to the calls of a session's filter. One that does
    /// not take it, as LXC's without a proxy, leaves the calls to fail with ENOSYS.
    pub(crate) fn hand_over(&self, listener: &OwnedFd) -> Step<()> {
        self.ask_with(Command::SeccompNotifyAddListener, &[], Some(listener))
            .map(drop)
    }

    /// Stock's monitor hangs up on one client, now and then, when another that had the
    /// same descriptor before has left; an old one does so on commands that it does not
    /// know.
    fn ask_with(&self, command: Command, data: &[u8], fd: Option<&OwnedFd>) -> Step<Response> {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            if let Some(response) = self.receive(&self.send(command, data, fd)?)? {
                return Ok(response);
            }
        }
        Ok(Response {
            header: ResponseHeader::failure(libc::ENOSYS),
            data: Vec::new(),
            fds: Vec::new(),
        })
    }

    /// Asks, on a new connection.
    fn send(&self, command: Command, data: &[u8], fd: Option<&OwnedFd>) -> Step<OwnedFd> {
        let socket = self.connect()?;
        let header = match data {
            [] => RequestHeader::inline(command, 0),
            data => RequestHeader::with_data(command.number(), data.len()),
        };
        let request = [header.encode().as_slice(), data].concat();
        sys::send(&socket, &request, &[]).at(STEP, || self.silent())?;
        if let Some(fd) = fd {
            // As LXC's client does: it follows, with one byte.
            sys::send(&socket, &[0], &[fd]).at(STEP, || self.silent())?;
        }
        Ok(socket)
    }

    /// The answer; none if the monitor hung up.
    fn receive(&self, socket: &OwnedFd) -> Step<Option<Response>> {
        let mut buffer = [0; HEADER_LEN];
        let packet = sys::receive(socket, &mut buffer).at(STEP, || self.silent())?;
        let head = buffer.get(..packet.length).unwrap_or_default();
        if head.is_empty() {
            return Ok(None);
        }
        let header = ResponseHeader::decode(head).map_err(not_understood)?;
        if header.data_len > MAX_RESPONSE {
            return Err(not_understood("it announces too long an answer"));
        }
        let mut data = vec![0; header.data_len];
        let mut filled = 0;
        while let Some(rest @ [_, ..]) = data.get_mut(filled..) {
            match sys::receive(socket, rest)
                .at(STEP, || self.silent())?
                .length
            {
                0 => return Err(not_understood("it broke off its answer")),
                length => filled += length,
            }
        }
        Ok(Some(Response {
            header,
            data,
            fds: packet.fds,
        }))
    }

    fn silent(&self) -> String {
        format!("the monitor of '{}' does not answer", self.layout.name())
    }

    /// The container's init, as the host counts.
    pub(crate) fn init_pid(&self) -> Step<Option<i32>> {
        Ok(self.ask(Command::GetInitPid, &[])?.pid())
    }

    /// The group of a controller, as `/proc/PID/cgroup` names it.
    pub(crate) fn cgroup(&self, controller: &str) -> Step<Option<String>> {
        let data = if controller.is_empty() {
            Vec::new()
        } else {
            encode_text(controller)
        };
        Ok(self
            .ask(Command::GetCgroup, &data)?
            .text()
            .map(str::to_owned))
    }

    /// Connects, and makes sure that it is root, or this process's own user,
    /// who listens: anybody may bind such a name while no monitor has it.
    fn connect(&self) -> Step<OwnedFd> {
        let address = self.layout.command_socket();
        let connected = || -> nix::Result<(OwnedFd, u32)> {
            let socket = socket(
                AddressFamily::Unix,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(10, 0))?;
            connect(socket.as_raw_fd(), &UnixAddr::new_abstract(&address)?)?;
            let uid = getsockopt(&socket, sockopt::PeerCredentials)?.uid();
            Ok((socket, uid))
        };
        match connected() {
            Ok((socket, uid)) if uid == 0 || uid == rustix::process::geteuid().as_raw() => {
                Ok(socket)
            }
            Ok(_) => {
                let message = format!(
                    "Somebody else pretends to be the monitor of '{}'.",
                    self.layout.name()
                );
                failed(FailureKind::NotPermitted, STEP, message)
            }
            Err(nix::errno::Errno::ECONNREFUSED) => {
                let message = format!(
                    "The container '{}' is not running; start it first.",
                    self.layout.name()
                );
                failed(FailureKind::WrongState, STEP, message)
            }
            Err(errno) => Err(errno).at(STEP, || {
                format!("cannot reach the monitor of '{}'", self.layout.name())
            }),
        }
    }
}
