//! Waiting for descriptors on the runtime.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor whose readiness can be waited for. Call it inside a runtime.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, stays the same descriptor and is closed only
    // when it is dropped, which the AsyncFd that owns it does last.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
