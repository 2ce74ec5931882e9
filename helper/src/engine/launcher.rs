//! Starting Gantry's other processes: monitors and session supervisors, which
//! outlive this one, and small helpers that do not.

use super::{Error, Result};
use crate::linux::channel::Channel;
use crate::linux::memfd;
use crate::linux::netlink::Netlink;
use crate::linux::spawn::{self, Child};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::Report;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How long one of our processes may take for what takes no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts processes from sealed copies of their programs.
#[derive(Debug)]
pub(super) struct Launcher {
    monitor: OwnedFd,
    helper: OwnedFd,
}

impl Launcher {
    /// Copies our own program and gantry-monitor, which lies beside it.
    pub(super) fn open() -> Result<Self> {
        let own = Path::new("/proc/self/exe");
        let monitor = std::fs::read_link(own)
            .map_err(|error| Error::io("finding our own program", &error))?
            .with_file_name("gantry-monitor");
        let copy = |path: &Path| {
            memfd::sealed_program(path).map_err(|error| Error::path("copying", path, &error))
        };
        Ok(Self {
            monitor: copy(&monitor)?,
            helper: copy(own)?,
        })
    }

    /// Starts the monitor of a container. It reports on the channel and then
    /// closes its end.
    pub(super) fn monitor(&self, layout: &ContainerLayout) -> Result<Channel> {
        self.start("run", layout)
    }

    /// Starts the supervisor of a session, which waits for its request.
    pub(super) fn supervisor(&self, layout: &ContainerLayout) -> Result<Channel> {
        self.start("attach", layout)
    }

    fn start(&self, mode: &str, layout: &ContainerLayout) -> Result<Channel> {
        let (channel, theirs) = Channel::pair().map_err(spawn_failed)?;
        let args = [
            mode,
            "--lxcpath",
            layout.lxc_path(),
            "--name",
            layout.name().as_str(),
        ];
        self.spawn_monitor(&args, &theirs)?;
        Ok(channel)
    }

    fn spawn_monitor(&self, args: &[&str], channel: &OwnedFd) -> Result<Child> {
        let fds = [None, None, None, Some(channel.as_fd())];
        spawn::spawn(self.monitor.as_fd(), "gantry-monitor", args, &fds).map_err(spawn_failed)
    }

    /// A netlink socket in the network namespace of a container's init: this
    /// process must not enter it.
    pub(super) async fn netlink(&self, pid: u32) -> std::io::Result<Netlink> {
        let (channel, theirs) = Channel::pair()?;
        let child = self
            .spawn_monitor(&["netlink", "--pid", &pid.to_string()], &theirs)
            .map_err(std::io::Error::other)?;
        drop(theirs);
        let answer = tokio::time::timeout(PATIENCE, channel.receive::<Report>()).await;
        let Ok(answer) = answer else {
            child.kill();
            return Err(std::io::ErrorKind::TimedOut.into());
        };
        match answer? {
            Some((Report::Running { .. }, fds)) => match fds.into_iter().next() {
                Some(socket) => Netlink::adopt(socket),
                None => Err(std::io::Error::other("no socket came")),
            },
            Some((Report::Failed(failure), _)) => Err(std::io::Error::other(failure.message)),
            _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Starts our own program as a worker, see [`crate::linux::worker`].
    pub(super) fn worker(
        &self,
        args: &[&str],
        fds: &[Option<std::os::fd::BorrowedFd<'_>>],
    ) -> Result<Child> {
        spawn::spawn(self.helper.as_fd(), "gantry-helper", args, fds).map_err(spawn_failed)
    }
}

fn spawn_failed(error: std::io::Error) -> Error {
    Error::io("starting a process", &error)
}
