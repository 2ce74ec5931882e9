//! Asking a container's monitor, Gantry's or stock LXC's, over its command
//! socket.

use crate::failure::{At, Step, failed, failure};
use crate::sys;
use gantry_core::command::{
    CgroupContext, Command, HEADER_LEN, RequestHeader, ResponseHeader, decode_text, encode_text,
};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FailureKind;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
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
    pub(crate) fds: Vec<OwnedFd>,
}

impl Response {
    /// The inline value, if the command succeeded.
    pub(crate) fn value(&self) -> Option<u64> {
        (self.header.ret >= 0).then_some(self.header.inline)
    }

    /// The one descriptor that came along.
    pub(crate) fn fd(self) -> Option<OwnedFd> {
        self.fds.into_iter().next()
    }

    fn text(&self) -> Option<&str> {
        (self.header.ret >= 0)
            .then(|| decode_text(&self.data).ok())
            .flatten()
    }
}

impl<'a> Client<'a> {
    pub(crate) fn new(layout: &'a ContainerLayout) -> Self {
        Self { layout }
    }

    /// One command on a connection of its own.
    pub(crate) fn ask(&self, command: Command, data: &[u8]) -> Step<Response> {
        self.ask_with(command, data, None)
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
        for _ in 1..TRIES {
            if let Some(response) = self.try_with(command, data, fd)? {
                return Ok(response);
            }
        }
        let answer = self.try_with(command, data, fd)?;
        Ok(answer.unwrap_or_else(|| Response {
            header: ResponseHeader::failure(libc::ENOSYS),
            data: Vec::new(),
            fds: Vec::new(),
        }))
    }

    /// Asks once; none if the monitor hung up.
    fn try_with(
        &self,
        command: Command,
        data: &[u8],
        fd: Option<&OwnedFd>,
    ) -> Step<Option<Response>> {
        let socket = self.connect()?;
        let header = match data {
            [] => RequestHeader::inline(command, 0),
            data => RequestHeader::with_data(command.number(), data.len()),
        };
        let request = [header.encode().as_slice(), data].concat();
        let what = || format!("the monitor of '{}' does not answer", self.layout.name());
        sys::send(&socket, &request, &[]).at(STEP, what)?;
        if let Some(fd) = fd {
            // As LXC's client does: it follows, with one byte.
            sys::send(&socket, &[0], &[fd]).at(STEP, what)?;
        }
        let mut buffer = [0; HEADER_LEN];
        let packet = sys::receive(&socket, &mut buffer).at(STEP, what)?;
        let head = buffer.get(..packet.length).unwrap_or_default();
        if head.is_empty() {
            return Ok(None);
        }
        let header = ResponseHeader::decode(head).map_err(|error| {
            failure(
                FailureKind::StartFailed,
                STEP,
                format!("The monitor is not understood: {error}."),
            )
        })?;
        if header.data_len > MAX_RESPONSE {
            return failed(
                FailureKind::StartFailed,
                STEP,
                "The monitor announces too long an answer.",
            );
        }
        let mut data = vec![0; header.data_len];
        let mut filled = 0;
        while let Some(rest @ [_, ..]) = data.get_mut(filled..) {
            match sys::receive(&socket, rest).at(STEP, what)?.length {
                0 => {
                    return failed(
                        FailureKind::StartFailed,
                        STEP,
                        "The monitor broke off its answer.",
                    );
                }
                length => filled += length,
            }
        }
        Ok(Some(Response {
            header,
            data,
            fds: packet.fds,
        }))
    }

    /// The container's init, as the host counts.
    pub(crate) fn init_pid(&self) -> Step<Option<i32>> {
        let pid = self.ask(Command::GetInitPid, &[])?.value();
        Ok(pid
            .and_then(|pid| i32::try_from(pid).ok())
            .filter(|pid| *pid > 1))
    }

    /// A key's value in the running container; none if it is unset.
    pub(crate) fn config_item(&self, key: &str) -> Step<Option<String>> {
        Ok(self
            .ask(Command::GetConfigItem, &encode_text(key))?
            .text()
            .map(str::to_owned))
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

    /// Descriptors of the container's groups in all hierarchies.
    pub(crate) fn cgroups(&self) -> Step<Vec<OwnedFd>> {
        let layout = gantry_core::command::CgroupLayout::Unknown;
        let wanted = CgroupContext {
            layout,
            utilities: 0,
            fd_count: 0,
        };
        let response = self.ask(Command::GetCgroupContext, &wanted.encode())?;
        Ok(if response.header.ret >= 0 {
            response.fds
        } else {
            Vec::new()
        })
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
