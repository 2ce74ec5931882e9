//! System calls of which a filter notifies, seccomp_unotify(2).

use super::check;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of a `struct seccomp_notif`.
pub(crate) const NOTIFICATION: usize = size_of::<libc::seccomp_notif>();
/// Bytes of a `struct seccomp_notif_resp`.
pub(crate) const RESPONSE: usize = size_of::<libc::seccomp_notif_resp>();
/// Bytes of a `struct seccomp_data`.
pub(crate) const DATA: usize = size_of::<libc::seccomp_data>();

// As the kernel's _IOC macro makes them: direction, size, '!', number.
const RECEIVE: libc::Ioctl = ioctl(3, NOTIFICATION, 0);
const SEND: libc::Ioctl = ioctl(3, RESPONSE, 1);
const IS_VALID: libc::Ioctl = ioctl(1, size_of::<u64>(), 2);

const fn ioctl(direction: u32, size: usize, number: u32) -> libc::Ioctl {
    (direction << 30 | (size as u32) << 16 | 0x21 << 8 | number) as libc::Ioctl
}

/// The next call, as the kernel tells it. Only where one is waiting.
pub(crate) fn receive_call(listener: impl AsFd) -> io::Result<[u8; NOTIFICATION]> {
    let mut call = [0; NOTIFICATION];
    // SAFETY: the kernel fills as many bytes as the request's number says, which is
    // the buffer's length.
    check(unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), RECEIVE, call.as_mut_ptr()) }.into())?;
    Ok(call)
}

/// Fails unless the process of this call still waits for the answer.
pub(crate) fn check_call(listener: impl AsFd, id: u64) -> io::Result<()> {
    // SAFETY: the kernel reads one number.
    check(unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), IS_VALID, &raw const id) }.into())
        .map(drop)
}

/// Answers a call.
pub(crate) fn answer_call(listener: impl AsFd, response: &[u8; RESPONSE]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the request's number says, which is
    // the buffer's length.
    check(unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), SEND, response.as_ptr()) }.into())
        .map(drop)
}
