//! Processes by pidfd (pidfd_open(2)): a number may mean another process by
//! the time it is used, a pidfd never does.

use super::{proc, readiness};
use rustix::process::{Pid, PidfdFlags};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// When a process began, in microseconds since 1970, to the hundredth second that
/// /proc/PID/stat tells (proc_pid_stat(5)). None if there is no such process, or
/// it has ended.
pub(crate) fn started_at(pid: u32) -> Option<i64> {
    let stat = proc::text(format!("/proc/{pid}/stat")).ok()?;
    let ticks: i64 = started_in(&stat)?;
    // SAFETY: asks for a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let micros = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000_000 + time.tv_nsec / 1000
    };
    let booted = micros(ClockId::Realtime) - micros(ClockId::Boottime);
    Some(booted + ticks * 1_000_000 / per_second.max(1))
}

/// The 22nd field; the second, in parentheses, may contain anything.
fn started_in(stat: &str) -> Option<i64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| !has_ended)
}

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

    /// The pidfd.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_began_before_now_and_not_long_ago() {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let began = started_at(std::process::id()).unwrap();
        let age = now.as_micros() as i64 - began;
        // A hundredth more: that much is cut off.
        assert!((-10_000..600_000_000).contains(&age), "{age}");
        assert_eq!(started_at(0), None);
    }

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let fields: Vec<String> = (4..30).map(|number| number.to_string()).collect();
        let stat = format!("7 (a) b) S) S {}", fields.join(" "));
        assert_eq!(started_in(&stat), Some(22));
        assert_eq!(started_in(&stat.replace("S) S ", "S) Z ")), None);
    }
}
