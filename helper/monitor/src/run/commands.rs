//! Answers to commands: LXC's and Gantry's own.

use super::Monitor;
use super::server::{Connection, Request, Role};
use crate::cgroup::{Hierarchy, Version};
use crate::console::{Holder, Refusal};
use crate::log;
use crate::sys;
use gantry_core::command::{
    CgroupContext, CgroupDescriptor, CgroupLayout, Command, ConsoleLog, DeviceAccess,
    MAX_HIERARCHIES, NO_STATE, ResponseHeader, StateInterest, decode_text, encode_text,
};
use gantry_core::monitor::{
    CloseViewer, Extension, LentInterface, OpenViewer, ResizeViewer, RunningConfig, ViewerOpened,
};
use gantry_core::namespaces::Namespace;
use gantry_core::settings::stock_value;
use gantry_core::states::State;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;

/// A response, and what becomes of the connection.
struct Answer {
    header: ResponseHeader,
    data: Vec<u8>,
    fds: Vec<OwnedFd>,
    role: Role,
}

impl Answer {
    fn inline(value: u64) -> Self {
        Self {
            header: ResponseHeader::inline(value),
            data: Vec::new(),
            fds: Vec::new(),
            role: Role::Answered,
        }
    }

    fn failure(errno: i32) -> Self {
        Self {
            header: ResponseHeader::failure(errno),
            ..Self::inline(0)
        }
    }

    /// To who waits for a state: the number is in both places.
    fn state(number: i32) -> Self {
        Self {
            header: ResponseHeader {
                ret: number,
                ..ResponseHeader::inline(number as u64)
            },
            ..Self::inline(0)
        }
    }

    fn data(data: Vec<u8>) -> Self {
        Self {
            header: ResponseHeader::with_data(data.len()),
            data,
            ..Self::inline(0)
        }
    }

    fn json(value: &impl Serialize) -> Self {
        serde_json::to_vec(value).map_or_else(|_| Self::failure(libc::EIO), Self::data)
    }

    fn with_fd(mut self, fd: OwnedFd) -> Self {
        self.fds.push(fd);
        self
    }

    /// A descriptor, or why there is none.
    fn fd(fd: Option<OwnedFd>) -> Self {
        fd.map_or_else(
            || Self::failure(libc::EBADF),
            |fd| Self::inline(0).with_fd(fd),
        )
    }

    fn held(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
}

/// The value or the failure of a request that cannot be read.
type Parsed<T> = Result<T, Answer>;

fn invalid<E>(_: E) -> Answer {
    Answer::failure(libc::EINVAL)
}

impl Monitor {
    /// Goes on with a connection that is ready.
    pub(super) fn serve_connection(&mut self, fd: i32) {
        let Some(connection) = self.server.connections.get_mut(&fd) else {
            return;
        };
        let request = match connection.flush().and_then(|()| connection.read()) {
            Ok(request) => request,
            Err(_) => return self.drop_connection(fd),
        };
        let Some(request) = request else {
            if matches!(connection.role, Role::Answered) && !connection.is_behind() {
                self.drop_connection(fd);
            }
            return;
        };
        let answer = self.answer(fd, request).unwrap_or_else(|failure| failure);
        let Some(connection) = self.server.connections.get_mut(&fd) else {
            return;
        };
        // What stops the container is answered by its end.
        if let Some(answer) = answer {
            send(connection, answer);
        }
        if matches!(connection.role, Role::Answered) && !connection.is_behind() {
            self.drop_connection(fd);
        }
    }

    fn drop_connection(&mut self, fd: i32) {
        self.server.connections.remove(&fd);
        self.console
            .release(|holder| *holder == Holder::Connection(fd as u64));
    }

    fn answer(&mut self, fd: i32, request: Request) -> Result<Option<Answer>, Option<Answer>> {
        let header = &request.header;
        let answered = match (
            Command::from_number(header.command),
            Extension::from_number(header.command),
        ) {
            (Some(Command::Stop), _) => return Ok(self.stop(fd)),
            (Some(command), _) => self.command(fd, command, request),
            (None, Some(extension)) => self.extension(extension, &request.data),
            (None, None) => Ok(Answer::failure(libc::ENOSYS)),
        };
        answered.map(Some).map_err(Some)
    }

    fn command(&mut self, fd: i32, command: Command, request: Request) -> Parsed<Answer> {
        let data = request.data.as_slice();
        Ok(match command {
            Command::GetTtyFd => self.give_tty(fd, request.header.inline_i32()),
            Command::TerminalWinch => Answer::inline(0),
            Command::GetState => Answer::inline(self.state.number() as u64),
            Command::GetInitPid => {
                Answer::inline(self.init.as_ref().map_or(u64::MAX, |init| init.pid as u64))
            }
            Command::GetCloneFlags => {
                Answer::inline(self.init.as_ref().map_or(0, |init| init.clone_flags))
            }
            Command::GetCgroup => self.cgroup_path(data, self.cgroups.payload())?,
            Command::GetLimitCgroup => self.cgroup_path(data, self.cgroups.limit())?,
            Command::GetConfigItem => {
                let key = decode_text(data).map_err(invalid)?;
                match stock_value(&self.config, key) {
                    Some(value) => Answer::data(encode_text(&value)),
                    None => Answer::failure(1),
                }
            }
            Command::GetName => Answer::data(encode_text(self.layout.name().as_str())),
            Command::GetLxcPath => Answer::data(encode_text(self.layout.lxc_path())),
            Command::AddStateClient => {
                let interest = StateInterest::decode(data).map_err(invalid)?;
                match interest.is_met_by(self.state) {
                    true => Answer::state(self.state.number()),
                    false => Answer::state(NO_STATE).held(Role::Watching(interest)),
                }
            }
            Command::ConsoleLog => self.console_log(ConsoleLog::decode(data).map_err(invalid)?),
            Command::ServeStateClients => match State::from_number(request.header.inline as i64) {
                // Who changes the state tells lxc-monitord, too.
                Some(state) => {
                    self.take_on(state);
                    Answer::inline(0)
                }
                None => Answer::failure(libc::EINVAL),
            },
            Command::AddBpfDeviceCgroup => {
                self.device_rule(DeviceAccess::decode(data).map_err(invalid)?)
            }
            Command::GetCgroup2Fd => self.unified_fd(self.cgroups.payload()),
            Command::GetLimitCgroup2Fd => self.unified_fd(self.cgroups.limit()),
            Command::GetInitPidFd => Answer::fd(
                self.init
                    .as_ref()
                    .and_then(|init| init.pidfd.try_clone().ok()),
            ),
            Command::GetDevptsFd => Answer::fd(
                self.init
                    .as_ref()
                    .and_then(|init| init.devpts.as_ref()?.try_clone().ok()),
            ),
            // A client asks for as much of the structure as its version knows.
            Command::GetCgroupContext => self.cgroup_context(data.len()),
            Command::GetCgroupFd => self.cgroup_fd(
                &CgroupDescriptor::decode(data).map_err(invalid)?,
                self.cgroups.payload(),
            ),
            Command::GetLimitCgroupFd => self.cgroup_fd(
                &CgroupDescriptor::decode(data).map_err(invalid)?,
                self.cgroups.limit(),
            ),
            Command::GetSeccompNotifyFd => {
                Answer::fd(self.notifier.listener().and_then(|fd| fd.try_clone().ok()))
            }
            Command::SeccompNotifyAddListener => {
                for listener in request.fds {
                    self.notifier.listen(listener);
                }
                Answer::inline(0)
            }
            Command::GetSystemdScope => Answer::failure(libc::EINVAL),
            Command::Stop | Command::Freeze | Command::Unfreeze => Answer::failure(libc::ENOSYS),
        })
    }

    /// Kills init, or ends the start. The end of the connection is the answer,
    /// unless it fails.
    fn stop(&mut self, fd: i32) -> Option<Answer> {
        let signalled = if self.is_starting || self.is_ending {
            self.hurry();
            true
        } else {
            self.stopping = true;
            self.signal_init(self.settings.signals.stop)
        };
        self.cgroups.thaw();
        if let Some(connection) = self.server.connections.get_mut(&fd) {
            connection.role = Role::Held;
        }
        (!signalled).then(|| Answer::failure(libc::ESRCH))
    }

    /// Sends a signal to init. Gives back whether there is one.
    pub(super) fn signal_init(&self, number: i32) -> bool {
        let Some(init) = &self.init else { return false };
        match sys::signal_process(&init.pidfd, number) {
            Ok(()) => true,
            Err(error) => {
                log::debug(format!("cannot signal init: {error}"));
                false
            }
        }
    }

    fn give_tty(&mut self, fd: i32, wanted: i32) -> Answer {
        let holder = Holder::Connection(fd as u64);
        let given = match u32::try_from(wanted) {
            Ok(0) => self.console.view(holder, None).map(|master| (0, master)),
            Ok(number) => self.console.take_tty(Some(number), holder),
            Err(_) => self.console.take_tty(None, holder),
        };
        match given {
            Ok((number, terminal)) => Answer::inline(number.into())
                .with_fd(terminal)
                .held(Role::Held),
            Err(_) => Answer::failure(libc::EBADF),
        }
    }

    fn console_log(&mut self, request: ConsoleLog) -> Answer {
        if request.write_log_file && !self.console.write_ring_to_file() {
            return Answer::failure(libc::ENOENT);
        }
        let ring = self.console.ring();
        let answer = match request.read {
            true if ring.is_empty() => Answer::failure(libc::ENODATA),
            true => Answer::data(ring.take(usize::try_from(request.read_max).unwrap_or(0))),
            false => Answer::inline(0),
        };
        if request.clear {
            ring.clear();
        }
        answer
    }

    fn device_rule(&mut self, rule: DeviceAccess) -> Answer {
        match self.cgroups.change_device_rule(&rule) {
            Ok(()) => Answer::inline(0),
            Err(error) => Answer::failure(error.raw_os_error().unwrap_or(libc::EOPNOTSUPP)),
        }
    }

    fn cgroup_path(&self, data: &[u8], path: Option<&str>) -> Parsed<Answer> {
        let controller = if data.is_empty() {
            ""
        } else {
            decode_text(data).map_err(invalid)?
        };
        let hierarchy = match controller {
            "" => self.cgroups.unified().or(self.cgroups.hierarchies.first()),
            name => self.cgroups.of_controller(name),
        };
        Ok(match (hierarchy, path) {
            (Some(hierarchy), Some(path)) => Answer::data(encode_text(&hierarchy.group(path))),
            _ => Answer::failure(libc::ENOENT),
        })
    }

    fn unified_fd(&self, path: Option<&str>) -> Answer {
        // Beside version 1, stock's tools freeze there, and would by these here.
        if self.cgroups.layout() != CgroupLayout::Unified {
            return Answer::failure(libc::EINVAL);
        }
        Answer::fd(
            self.cgroups
                .unified()
                .and_then(|unified| unified.open_directory(path?).ok()),
        )
    }

    fn cgroup_context(&self, length: usize) -> Answer {
        let open = |hierarchy: &Hierarchy| hierarchy.open_directory(self.cgroups.payload()?).ok();
        let fds: Vec<OwnedFd> = self
            .cgroups
            .hierarchies
            .iter()
            .take(MAX_HIERARCHIES)
            .filter_map(open)
            .collect();
        let layout = self.cgroups.layout();
        let context = CgroupContext {
            layout,
            utilities: layout.utilities(),
            fd_count: fds.len() as u32,
        };
        let mut data = context.encode().to_vec();
        data.truncate(length);
        Answer {
            fds,
            ..Answer::data(data)
        }
    }

    fn cgroup_fd(&self, wanted: &CgroupDescriptor, path: Option<&str>) -> Answer {
        let hierarchy = match (wanted.controller.as_str(), wanted.filesystem) {
            ("", CgroupDescriptor::CGROUP2) => self.cgroups.unified(),
            ("", _) => return Answer::failure(libc::EINVAL),
            (controller, _) => self.cgroups.of_controller(controller),
        };
        let Some(hierarchy) = hierarchy else {
            return Answer::failure(libc::ENOENT);
        };
        let filesystem = match hierarchy.version {
            Version::V1 => CgroupDescriptor::CGROUP1,
            Version::V2 => CgroupDescriptor::CGROUP2,
        };
        if wanted.filesystem != 0 && wanted.filesystem != filesystem {
            return Answer::failure(libc::EINVAL);
        }
        let Some(fd) = path.and_then(|path| hierarchy.open_directory(path).ok()) else {
            return Answer::failure(libc::ENOENT);
        };
        let layout = self.cgroups.layout();
        let found = CgroupDescriptor {
            layout,
            utilities: layout.utilities(),
            filesystem,
            controller: wanted.controller.clone(),
        };
        Answer::data(found.encode().to_vec()).with_fd(fd)
    }

    fn extension(&mut self, extension: Extension, data: &[u8]) -> Parsed<Answer> {
        Ok(match extension {
            Extension::OpenViewer => self.open_viewer(parse(data)?),
            Extension::ListViewers => Answer::json(&self.console.list()),
            Extension::ResizeViewer => {
                let ResizeViewer {
                    session,
                    columns,
                    rows,
                } = parse(data)?;
                done(self.console.resize(session, columns, rows))
            }
            Extension::CloseViewer => {
                let CloseViewer { session: wanted } = parse(data)?;
                done(self.console.release(
                    |h| matches!(h, Holder::Session { session, .. } if *session == wanted),
                ))
            }
            Extension::LendInterface => match self.lend(parse(data)?) {
                Ok(()) => Answer::inline(0),
                Err(error) => Answer::failure(error.raw_os_error().unwrap_or(libc::EIO)),
            },
            Extension::ReturnInterface => match self.take_back(&parse::<String>(data)?) {
                Ok(()) => Answer::inline(0),
                Err(error) => Answer::failure(error.raw_os_error().unwrap_or(libc::EIO)),
            },
            Extension::ListInterfaces => Answer::json(&self.interfaces.lent()),
            Extension::GetFilter => {
                let filter = self.confinement.filter().map(OwnedFd::try_clone);
                match filter.transpose() {
                    Ok(Some(filter)) => Answer::json(&true).with_fd(filter),
                    Ok(None) => Answer::json(&false),
                    Err(_) => Answer::failure(libc::EMFILE),
                }
            }
            Extension::GetConsole => Answer::data(self.console.ring().content()),
            Extension::SetItem => Answer::json(&self.set_item(&parse(data)?)),
            Extension::Wire => Answer::json(&self.wire(parse(data)?)),
            Extension::GetConfig => Answer::json(&RunningConfig {
                text: self.config.text().to_owned(),
            }),
        })
    }

    /// Moves an interface of the host into the container, if that has a
    /// network of its own.
    fn lend(&mut self, wanted: LentInterface) -> io::Result<()> {
        let namespace = self.network_namespace()?;
        self.interfaces.lend(wanted, &namespace)
    }

    fn take_back(&mut self, name: &str) -> io::Result<()> {
        let namespace = self.network_namespace()?;
        self.interfaces.take_back(name, &namespace)
    }

    pub(super) fn network_namespace(&self) -> io::Result<OwnedFd> {
        // Its interfaces are just being made.
        if self.is_starting {
            return Err(Errno::BUSY.into());
        }
        let init = self.init.as_ref().ok_or(Errno::SRCH)?;
        if init.clone_flags & Namespace::Net.clone_flag() == 0 {
            return Err(Errno::OPNOTSUPP.into());
        }
        let path = format!("/proc/{}/ns/net", init.pid);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(open(path, flags, Mode::empty())?)
    }

    fn open_viewer(&mut self, request: OpenViewer) -> Answer {
        let OpenViewer {
            session,
            tty,
            columns,
            rows,
            owner,
        } = request;
        if self.console.has_session(session) {
            return Answer::failure(libc::EEXIST);
        }
        let holder = Holder::Session { session, owner };
        let given = match tty {
            0 => self.console.view(holder, Some((columns, rows))),
            number => self
                .console
                .take_tty(Some(number), holder)
                .map(|(_, master)| master),
        };
        match given {
            Ok(master) => {
                if tty > 0 {
                    self.console.resize(session, columns, rows);
                }
                Answer::json(&ViewerOpened { session, tty }).with_fd(master)
            }
            Err(Refusal::Missing) => Answer::failure(libc::ENOENT),
            Err(Refusal::Taken) => Answer::failure(libc::EBUSY),
            Err(Refusal::Host) => Answer::failure(libc::EIO),
        }
    }
}

fn send(connection: &mut Connection, answer: Answer) {
    let fds: Vec<&OwnedFd> = answer.fds.iter().collect();
    connection.role = answer.role;
    connection.answer(answer.header, &answer.data, &fds);
}

fn parse<T: DeserializeOwned>(data: &[u8]) -> Parsed<T> {
    serde_json::from_slice(data).map_err(invalid)
}

fn done(found: bool) -> Answer {
    if found {
        Answer::inline(0)
    } else {
        Answer::failure(libc::ENOENT)
    }
}
