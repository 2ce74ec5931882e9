//! Processes by pidfd (pidfd_open(2)): a number may mean another process by
//! the time it is used, a pidfd never does.

use super::readiness;
use rustix::process::{Pid, PidfdFlags};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process.
#[derive(Debug)]
pub(crate) struct Process(AsyncFd<OwnedFd>);

impl Process {
    /// The process that has this pid now.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Self::from_pidfd(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?)
    }

    /// Takes over a pidfd.
    pub(crate) fn from_pidfd(pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self(readiness::watch(pidfd, Interest::READABLE)?))
    }

    /// Returns when it has ended.
    pub(crate) async fn ended(&self) {
        // An error means that the runtime is shutting down.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.send(0).is_ok()
    }

    /// Sends a signal by number; 0 only asks whether it could be sent.
    pub(crate) fn send(&self, signal: i32) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        // Real-time signals, which rustix's wrapper has no names for.
        // SAFETY: a system call on a descriptor that lives as long as self; a
        // null siginfo is allowed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.get_ref().as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
