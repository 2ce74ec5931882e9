//! States, and those who wait for them.

use super::Monitor;
use super::server::Role;
use crate::log;
use gantry_core::command::StateMessage;
use gantry_core::layout::{RUN_DIR, monitor_fifo};
use gantry_core::states::State;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use std::io;
use std::path::Path;

impl Monitor {
    /// Takes on a state and tells everybody.
    pub(super) fn set_state(&mut self, state: State) {
        self.take_on(state);
        self.tell_monitord(&StateMessage::state(self.layout.name().as_str(), state));
    }

    /// Takes on a state and tells those who wait for it on the command socket.
    pub(super) fn take_on(&mut self, state: State) {
        let message = StateMessage::state(self.layout.name().as_str(), state);
        self.state = if state == State::Thawed {
            State::Running
        } else {
            state
        };
        for connection in self.server.connections.values_mut() {
            if let Role::Watching(interest) = &connection.role
                && interest.wants(state)
            {
                connection.role = Role::Answered;
                connection.send(&message.encode(), &[]);
            }
        }
        self.server
            .connections
            .retain(|_, c| !matches!(c.role, Role::Answered) || c.is_behind());
    }

    /// Writes to lxc-monitord's FIFO, if it runs.
    pub(super) fn tell_monitord(&self, message: &StateMessage) {
        let tell = || -> io::Result<()> {
            let path = monitor_fifo(Path::new(RUN_DIR), self.layout.lxc_path());
            let flags = OFlags::WRONLY
                | OFlags::NONBLOCK
                | OFlags::CLOEXEC
                | OFlags::NOFOLLOW
                | OFlags::NOCTTY;
            let fifo = open(path, flags, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&fifo)?.st_mode) != FileType::Fifo {
                return Err(io::Error::other("it is no FIFO"));
            }
            rustix::io::write(&fifo, &message.encode())?;
            Ok(())
        };
        match tell() {
            Ok(()) => {}
            // Nobody listens.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENXIO)) => {}
            Err(error) => log::debug(format!("cannot tell lxc-monitord: {error}")),
        }
    }
}
