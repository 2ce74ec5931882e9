//! JSON messages over SOCK_SEQPACKET sockets.

use crate::sys;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The most bytes a message may have.
const MAX_MESSAGE: usize = 256 * 1024;

/// Sends one message with descriptors.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[&OwnedFd],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::from)?;
    sys::send(socket, &bytes, fds).map(drop)
}

/// Receives one message; none when the other side has closed.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let packet = sys::receive(socket, &mut buffer)?;
    if packet.length == 0 {
        return Ok(None);
    }
    let bytes = buffer.get(..packet.length).unwrap_or_default();
    Ok(Some((
        serde_json::from_slice(bytes).map_err(io::Error::from)?,
        packet.fds,
    )))
}
