//! Requests and answers on a connection to a monitor's command socket.

use crate::linux::channel;
use gantry_core::command::{HEADER_LEN, RequestHeader, ResponseHeader, decode_text};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The most bytes that are taken in an answer: a console's ring buffer.
const MAX_REPLY: usize = 256 << 20;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) header: ResponseHeader,
    pub(super) data: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Reply {
    /// The answer, or the failure that it is.
    pub(super) fn ok(self) -> io::Result<Self> {
        if self.header.ret < 0 {
            Err(io::Error::from_raw_os_error(-self.header.ret))
        } else {
            Ok(self)
        }
    }

    /// The descriptor that came along.
    pub(super) fn fd(self) -> io::Result<OwnedFd> {
        self.ok()?
            .fds
            .into_iter()
            .next()
            .ok_or_else(|| io::Error::other("no file descriptor came"))
    }

    /// The text that it is.
    pub(super) fn text(self) -> io::Result<String> {
        let reply = self.ok()?;
        decode_text(&reply.data)
            .map(str::to_owned)
            .map_err(io::Error::other)
    }
}

/// Whether the other end has gone.
pub(super) fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Sends a request.
pub(super) async fn send(
    socket: &UnixStream,
    header: RequestHeader,
    data: &[u8],
) -> io::Result<()> {
    // Stock monitors read header and data apart; credentials come with both.
    for part in [header.encode().as_slice(), data]
        .into_iter()
        .filter(|part| !part.is_empty())
    {
        let sent = socket
            .async_io(Interest::WRITABLE, || {
                channel::send(socket.as_fd(), part, &[])
            })
            .await?;
        if sent != part.len() {
            return Err(io::Error::other("the monitor takes no more data"));
        }
    }
    Ok(())
}

/// Reads an answer; none at the end of the connection.
pub(super) async fn receive(socket: &UnixStream) -> io::Result<Option<Reply>> {
    let mut header = [0; HEADER_LEN];
    let (mut length, mut fds) = socket
        .async_io(Interest::READABLE, || {
            channel::receive(socket.as_fd(), &mut header)
        })
        .await?;
    if length == 0 {
        return Ok(None);
    }
    while length < HEADER_LEN {
        let rest = header.get_mut(length..).unwrap_or_default();
        let (more, more_fds) = socket
            .async_io(Interest::READABLE, || {
                channel::receive(socket.as_fd(), &mut *rest)
            })
            .await?;
        if more == 0 {
            return Ok(None);
        }
        length += more;
        fds.extend(more_fds);
    }
    let header = ResponseHeader::decode(&header).map_err(io::Error::other)?;
    if header.data_len > MAX_REPLY {
        return Err(io::Error::other("the monitor announces too much data"));
    }
    let data = match header.data_len {
        0 => Vec::new(),
        length => read_exactly(socket, length)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?,
    };
    Ok(Some(Reply { header, data, fds }))
}

/// Reads so many bytes; none at the end of the connection.
pub(super) async fn read_exactly(
    socket: &UnixStream,
    length: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut data = vec![0; length];
    let mut filled = 0;
    while filled < length {
        socket.readable().await?;
        let rest = data.get_mut(filled..).unwrap_or_default();
        match socket.try_read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && filled == 0 => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(data))
}
