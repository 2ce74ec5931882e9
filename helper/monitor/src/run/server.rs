//! The command socket: listening, connections, and what is still to be sent.

use crate::failure::{Step, failure};
use crate::log;
use crate::sys;
use gantry_core::command::{Command, HEADER_LEN, RequestHeader, ResponseHeader, StateInterest};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FailureKind;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    getsockopt, listen, shutdown, socket, sockopt,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The most connections at a time; more are turned away.
const MAX_CONNECTIONS: usize = 512;

/// The socket and its connections.
pub(super) struct Server {
    listener: Option<OwnedFd>,
    /// By their descriptors.
    pub(super) connections: BTreeMap<i32, Connection>,
}

/// A client.
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    received: Vec<u8>,
    fds: Vec<OwnedFd>,
    unsent: Vec<u8>,
    pub(super) role: Role,
}

/// What a connection is for, once its command has been heard.
pub(super) enum Role {
    /// Its command has not come whole.
    Asking,
    /// It is closed as soon as all is sent.
    Answered,
    /// It is closed by the client, or with the monitor.
    Held,
    /// It waits for a state.
    Watching(StateInterest),
}

/// A whole request.
pub(super) struct Request {
    pub(super) header: RequestHeader,
    pub(super) data: Vec<u8>,
    /// What came along.
    pub(super) fds: Vec<OwnedFd>,
}

impl Server {
    /// Binds the container's address. It is taken as long as a monitor lives,
    /// which is how a second start is noticed.
    pub(super) fn bind(layout: &ContainerLayout) -> Step<Self> {
        let step = "binding the command socket";
        let bound = || -> nix::Result<OwnedFd> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            bind(
                listener.as_raw_fd(),
                &UnixAddr::new_abstract(&layout.command_socket())?,
            )?;
            listen(&listener, Backlog::new(100)?)?;
            Ok(listener)
        };
        match bound() {
            Ok(listener) => Ok(Self {
                listener: Some(listener),
                connections: BTreeMap::new(),
            }),
            Err(nix::errno::Errno::EADDRINUSE) => {
                let message = format!("The container '{}' is running already.", layout.name());
                Err(failure(FailureKind::WrongState, step, message))
            }
            Err(errno) => {
                let message = format!(
                    "The command socket of '{}' cannot be made: {}.",
                    layout.name(),
                    errno.desc()
                );
                Err(failure(FailureKind::StartFailed, step, message))
            }
        }
    }

    /// Closes the socket and all connections: clients see STOPPED.
    pub(super) fn close(&mut self) {
        self.listener = None;
        self.connections.clear();
    }

    /// The listening socket.
    pub(super) fn listener(&self) -> Option<&OwnedFd> {
        self.listener.as_ref()
    }

    /// Takes what waits to be accepted.
    pub(super) fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        while let Ok(socket) = sys::accept(listener) {
            let fd = socket.as_raw_fd();
            let may =
                getsockopt(&socket, sockopt::PeerCredentials).is_ok_and(|peer| may_command(&peer));
            let mut connection = Connection::new(socket);
            if !may || self.connections.len() >= MAX_CONNECTIONS {
                // It learns so if it listens; that it may not is no fault here.
                connection.answer(ResponseHeader::failure(libc::EPERM), &[], &[]);
                continue;
            }
            self.connections.insert(fd, connection);
        }
    }
}

/// Root may, and whoever has the monitor's own user and group.
fn may_command(peer: &UnixCredentials) -> bool {
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    peer.uid() == 0 || (peer.uid(), peer.gid()) == own
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            received: Vec::new(),
            fds: Vec::new(),
            unsent: Vec::new(),
            role: Role::Asking,
        }
    }

    /// Whether it waits to be written to.
    pub(super) fn is_behind(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what has come. An error is the end of the connection; a whole
    /// request is given back.
    pub(super) fn read(&mut self) -> io::Result<Option<Request>> {
        let mut buffer = [0; 1024];
        loop {
            match sys::receive(&self.socket, &mut buffer) {
                Ok(packet) if packet.length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                // After its command a client has nothing more to say.
                Ok(_) if !matches!(self.role, Role::Asking) => {}
                Ok(packet) => {
                    self.received.extend(buffer.iter().take(packet.length));
                    self.fds = packet.fds;
                    if let Some(request) = self.request()? {
                        return Ok(Some(request));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(header) = self.received.get(..HEADER_LEN) else {
            return Ok(None);
        };
        let header = match RequestHeader::decode(header) {
            Ok(header) => header,
            Err(error) => {
                self.answer(ResponseHeader::failure(libc::EINVAL), &[], &[]);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        let Some(data) = self.received.get(HEADER_LEN..HEADER_LEN + header.data_len) else {
            return Ok(None);
        };
        // Of these commands the descriptor follows with a byte of its own.
        let listener = Command::SeccompNotifyAddListener.number();
        if header.command == listener && self.fds.is_empty() {
            return Ok(None);
        }
        let request = Request {
            header,
            data: data.to_vec(),
            fds: std::mem::take(&mut self.fds),
        };
        self.received = Vec::new();
        Ok(Some(request))
    }

    /// Sends a response. What the client does not take at once is sent when
    /// it can be.
    pub(super) fn answer(&mut self, header: ResponseHeader, data: &[u8], fds: &[&OwnedFd]) {
        let bytes = [header.encode().as_slice(), data].concat();
        self.send(&bytes, fds);
    }

    /// Sends bytes; see [`Connection::answer`]. Descriptors go with the first of them
    /// or not at all: a client that takes nothing then is let go, so that it does not
    /// wait for them.
    pub(super) fn send(&mut self, bytes: &[u8], fds: &[&OwnedFd]) {
        let sent = match sys::send(&self.socket, bytes, fds) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && fds.is_empty() => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                log::debug("a client does not take its answer");
                if let Err(error) = shutdown(self.socket.as_raw_fd(), Shutdown::Both) {
                    log::debug(format!("a client has gone: {error}"));
                }
                self.unsent.clear();
                return;
            }
            Err(error) => {
                log::debug(format!("a client has gone: {error}"));
                bytes.len()
            }
        };
        self.unsent.extend(bytes.get(sent..).unwrap_or_default());
    }

    /// Goes on sending. An error is the end of the connection.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match sys::send(&self.socket, &self.unsent, &[]) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, Connection) {
        let (client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, Connection::new(server.into()))
    }

    #[test]
    fn requests_come_in_pieces() {
        let (mut client, mut connection) = pair();
        let header = RequestHeader::with_data(Command::GetConfigItem.number(), 4).encode();
        client.write_all(&header[..7]).unwrap();
        assert!(connection.read().unwrap().is_none());
        client.write_all(&header[7..]).unwrap();
        client.write_all(b"ab").unwrap();
        assert!(connection.read().unwrap().is_none());
        client.write_all(b"c\0").unwrap();
        assert_eq!(connection.read().unwrap().unwrap().data, b"abc\0");
    }

    #[test]
    fn malformed_requests_end_the_connection_with_einval() {
        let (mut client, mut connection) = pair();
        let mut header = [0; HEADER_LEN];
        header[4..8].copy_from_slice(&(1_i32 << 30).to_ne_bytes());
        client.write_all(&header).unwrap();
        assert!(connection.read().is_err());
        let mut response = [0; HEADER_LEN];
        client.read_exact(&mut response).unwrap();
        assert_eq!(
            ResponseHeader::decode(&response).unwrap().ret,
            -libc::EINVAL
        );
    }

    #[test]
    fn clients_that_cannot_be_given_descriptors_are_let_go() {
        let (mut client, mut connection) = pair();
        // Until nothing more goes in.
        let data = vec![7; 1 << 20];
        connection.answer(ResponseHeader::with_data(data.len()), &data, &[]);
        assert!(connection.is_behind());
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        connection.answer(ResponseHeader::inline(0), &[], &[&file]);
        assert!(!connection.is_behind());
        // What had gone comes, and then the end.
        assert!(client.read_to_end(&mut Vec::new()).unwrap() < HEADER_LEN + (1 << 20));
        assert!(connection.read().is_err());
    }

    #[test]
    fn slow_clients_get_everything_later() {
        let (mut client, mut connection) = pair();
        let data = vec![7; 1 << 20];
        connection.answer(ResponseHeader::with_data(data.len()), &data, &[]);
        assert!(connection.is_behind());
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; HEADER_LEN + (1 << 20)];
            client.read_exact(&mut received).unwrap();
            received
        });
        while connection.is_behind() {
            connection.flush().unwrap();
        }
        assert_eq!(reader.join().unwrap()[HEADER_LEN..], data);
    }
}
