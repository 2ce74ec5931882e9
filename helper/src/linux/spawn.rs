//! Children: by absolute path or open file, with an empty environment and
//! only the descriptors that are meant for them.

use super::process::Process;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What every child's environment holds.
const ENVIRONMENT: [&str; 2] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"];

/// A child of ours. One that nobody waits for is reaped all the same.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    exit: tokio::task::JoinHandle<i32>,
    process: std::sync::Arc<Process>,
}

/// Executes a program. `fds` become the child's descriptors 0, 1, 2, …; where
/// there is none, and for the first three at least, it is /dev/null. `args` do
/// not include the program's name.
pub(crate) fn spawn(
    program: BorrowedFd<'_>,
    name: &str,
    args: &[&str],
    fds: &[Option<BorrowedFd<'_>>],
) -> io::Result<Child> {
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    spawn_at(&path, name, args, fds)
}

/// As [`spawn`], for a program that is at an absolute path.
pub(crate) fn spawn_at(
    path: &str,
    name: &str,
    args: &[&str],
    fds: &[Option<BorrowedFd<'_>>],
) -> io::Result<Child> {
    let mut actions = PosixSpawnFileActions::init()?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let mut kept: Vec<OwnedFd> = Vec::new();
    let beyond = i32::try_from(fds.len().max(200)).map_err(io::Error::other)?;
    for number in 0..fds.len().max(3) {
        let source = fds.get(number).copied().flatten().unwrap_or(null.as_fd());
        // A copy beyond the child's numbers: none is overwritten before it
        // has been copied.
        let copy = rustix::io::fcntl_dupfd_cloexec(source, beyond)?;
        actions.add_dup2(
            copy.as_raw_fd(),
            i32::try_from(number).map_err(io::Error::other)?,
        )?;
        kept.push(copy);
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_sigmask(&SigSet::empty())?;
    let mut defaults = SigSet::empty();
    defaults.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&defaults)?;
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| CString::new(*word))
            .collect::<Result<Vec<_>, _>>()
    };
    let mut argv = vec![name];
    argv.extend(args);
    close_on_exec()?;
    let pid = posix_spawn(
        path,
        &actions,
        &attributes,
        &words(&argv)?,
        &words(&ENVIRONMENT)?,
    )?;
    Child::adopt(pid)
}

/// Marks every descriptor to be closed at exec: those that clients send arrive
/// without the mark (zbus 5.19 receives them without MSG_CMSG_CLOEXEC).
fn close_on_exec() -> io::Result<()> {
    // SAFETY: changes flags of descriptors only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl Child {
    fn adopt(pid: Pid) -> io::Result<Self> {
        let number = pid.as_raw().unsigned_abs();
        let process = std::sync::Arc::new(Process::open(number)?);
        let watched = process.clone();
        let exit = tokio::spawn(async move {
            loop {
                watched.ended().await;
                match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Exited(_, status)) => return status,
                    Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as i32,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!("waiting for process {pid} failed: {error}");
                        return -1;
                    }
                }
            }
        });
        Ok(Self {
            pid: number,
            exit,
            process,
        })
    }

    /// Its pid. It stays the child's until it has been waited for.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        if let Err(error) = self.process.send(libc::SIGKILL)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            tracing::warn!("killing process {} failed: {error}", self.pid);
        }
    }

    /// Waits for its end: its exit status, or 128 and the number of the
    /// signal that ended it.
    pub(crate) async fn ended(&mut self) -> i32 {
        (&mut self.exit).await.unwrap_or(-1)
    }
}
