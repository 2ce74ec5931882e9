//! Starting Gantry's other processes: what holds containers and sessions, which
//! outlives this one, and small helpers that do not.

use super::{Error, Result, Work};
use crate::linux::channel::Channel;
use crate::linux::memfd;
use crate::linux::netlink::Netlink;
use crate::linux::process::Process;
use crate::linux::spawn::{self, Child};
use futures_util::future::{BoxFuture, ready};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{
    Failure, FailureKind, FinishCopy, Node, NodeReply, NodeRequest, Report, WireReply, WireRequest,
};
use gantry_core::name::InterfaceName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long one of our processes may take for what takes no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that is not to be held like this one, which it may outlive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The monitor of a container.
    Monitor(ContainerLayout),
    /// The supervisor of a session in a container, and the session's number.
    Session(ContainerLayout, u64),
    /// What runs the hooks before a container's end; it does not outlive us.
    Destroyer(ContainerLayout),
    /// What does the last that a container's copy needs; nor does this.
    Finisher(ContainerLayout),
    /// Who keeps a network.
    Network(InterfaceName),
}

impl Holder {
    /// The container's places, if it is of a container.
    pub(crate) fn layout(&self) -> Option<&ContainerLayout> {
        match self {
            Self::Monitor(layout)
            | Self::Session(layout, _)
            | Self::Destroyer(layout)
            | Self::Finisher(layout) => Some(layout),
            Self::Network(_) => None,
        }
    }

    /// What gantry-monitor is told to be.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Monitor(layout) => of_container("run", layout),
            Self::Session(layout, _) => of_container("attach", layout),
            Self::Destroyer(layout) => of_container("destroy", layout),
            Self::Finisher(layout) => of_container("finish", layout),
            Self::Network(name) => vec!["network", "--name", name.as_str()],
        }
    }
}

/// What a mount is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Others may have it mounted, too.
    Read,
    /// Nobody else uses it.
    Write,
}

fn of_container<'a>(mode: &'a str, layout: &'a ContainerLayout) -> Vec<&'a str> {
    let (path, name) = (layout.lxc_path(), layout.name().as_str());
    vec![mode, "--lxcpath", path, "--name", name]
}

/// How gantry-monitor is started so that it is not held like this process, and
/// may outlive it.
pub(crate) trait Launcher: Debug + Send + Sync {
    /// Starts it with `channel` as its descriptor 3. Whether it came up shows on
    /// the channel, which is closed where it did not.
    fn launch(&self, holder: Holder, channel: OwnedFd) -> BoxFuture<'_, Result<()>>;

    /// Whether it replaces who keeps a network and was killed.
    fn replaces_keepers(&self) -> bool;
}

/// Where there is no service manager: as a child that forks and detaches.
#[derive(Debug)]
struct Detached(Arc<OwnedFd>);

impl Launcher for Detached {
    fn launch(&self, holder: Holder, channel: OwnedFd) -> BoxFuture<'_, Result<()>> {
        let child = spawn_monitor(&self.0, &holder.arguments(), &channel);
        Box::pin(ready(child.map(drop).map_err(spawn_failed)))
    }

    fn replaces_keepers(&self) -> bool {
        false
    }
}

/// Starts processes, its own children from sealed copies of their programs.
#[derive(Debug)]
pub(super) struct Programs {
    launcher: Arc<dyn Launcher>,
    monitor: Arc<OwnedFd>,
    helper: OwnedFd,
}

impl Programs {
    /// Copies our own program and gantry-monitor, which lies beside it.
    pub(super) fn open(launcher: Option<Arc<dyn Launcher>>) -> Result<Self> {
        let own = Path::new("/proc/self/exe");
        let monitor = std::fs::read_link(own)
            .map_err(|error| Error::io("finding our own program", &error))?
            .with_file_name("gantry-monitor");
        let copy = |path: &Path| {
            memfd::sealed_program(path).map_err(|error| Error::path("copying", path, &error))
        };
        let monitor = Arc::new(copy(&monitor)?);
        Ok(Self {
            launcher: launcher.unwrap_or_else(|| Arc::new(Detached(monitor.clone()))),
            monitor,
            helper: copy(own)?,
        })
    }

    /// Starts the monitor of a container. It reports on the channel and then
    /// closes its end.
    pub(super) async fn monitor(&self, layout: ContainerLayout) -> Result<Channel> {
        self.launch(Holder::Monitor(layout)).await
    }

    /// Starts the supervisor of a session, which waits for its request.
    pub(super) async fn supervisor(&self, layout: ContainerLayout, number: u64) -> Result<Channel> {
        self.launch(Holder::Session(layout, number)).await
    }

    /// Runs a container's `lxc.hook.destroy` to their end, unless the work is
    /// cancelled.
    pub(super) async fn destroy_hooks(&self, layout: ContainerLayout, work: &Work) -> Result<()> {
        let channel = self.launch(Holder::Destroyer(layout.clone())).await?;
        attend(&channel, &layout, work).await
    }

    /// Does what is left to do in a copy that is to be this container, unless the work
    /// is cancelled.
    pub(super) async fn finish_copy(
        &self,
        layout: ContainerLayout,
        request: &FinishCopy,
        work: &Work,
    ) -> Result<()> {
        let channel = self.launch(Holder::Finisher(layout.clone())).await?;
        let sent = channel.send(request).await;
        sent.map_err(|error| Error::io("finishing the copy", &error))?;
        attend(&channel, &layout, work).await
    }

    /// See [`Launcher::replaces_keepers`].
    pub(super) fn replaces_keepers(&self) -> bool {
        self.launcher.replaces_keepers()
    }

    /// Starts a process that reports on the channel.
    pub(super) async fn launch(&self, holder: Holder) -> Result<Channel> {
        let (channel, theirs) = Channel::pair().map_err(spawn_failed)?;
        self.launcher.launch(holder, theirs).await?;
        Ok(channel)
    }

    /// A netlink socket in the network namespace of a container's init: this
    /// process must not enter it.
    pub(super) async fn netlink(&self, pid: u32) -> std::io::Result<Netlink> {
        let (channel, theirs) = Channel::pair()?;
        let arguments = ["netlink", "--pid", &pid.to_string()];
        let child = spawn_monitor(&self.monitor, &arguments, &theirs)?;
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

    /// The mount of a root file system, attached nowhere, to read or to fill it; `rootfs`
    /// is a value of `lxc.rootfs.path`.
    pub(super) async fn mount(&self, rootfs: &str, how: Access) -> Result<OwnedFd> {
        let (channel, theirs) = Channel::pair().map_err(spawn_failed)?;
        let word = match how {
            Access::Read => "to-read",
            Access::Write => "to-write",
        };
        let _child = spawn_monitor(&self.monitor, &["mount", word, rootfs], &theirs)
            .map_err(spawn_failed)?;
        drop(theirs);
        let failed = |error| Error::io(format_args!("mounting {rootfs}"), &error);
        match channel.receive::<Report>().await.map_err(failed)? {
            Some((Report::Done, fds)) => fds
                .into_iter()
                .next()
                .ok_or_else(|| failed(std::io::ErrorKind::UnexpectedEof.into())),
            Some((Report::Failed(failure), _)) => Err(not_of_a_start(failure)),
            _ => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Has a device node of the container of an init worked on: this process
    /// must not enter it.
    pub(super) async fn node(&self, init: &Process, request: &NodeRequest) -> Result<Vec<Node>> {
        match self.inside(&["node"], init, request).await? {
            NodeReply::Done { nodes } => Ok(nodes),
            NodeReply::Failed(failure) => Err(not_of_a_start(failure)),
        }
    }

    /// Has the interfaces of a container worked on that another's monitor holds.
    pub(super) async fn wire(
        &self,
        layout: &ContainerLayout,
        init: &Process,
        request: &WireRequest,
    ) -> Result<WireReply> {
        self.inside(&of_container("wire", layout), init, request)
            .await
    }

    /// Has a process of ours answer one request about the container of an init.
    async fn inside<R: DeserializeOwned>(
        &self,
        arguments: &[&str],
        init: &Process,
        request: &impl Serialize,
    ) -> Result<R> {
        let (channel, theirs) = Channel::pair().map_err(spawn_failed)?;
        let fds = [None, None, None, Some(theirs.as_fd()), Some(init.as_fd())];
        let child = spawn::spawn(self.monitor.as_fd(), "gantry-monitor", arguments, &fds);
        let child = child.map_err(spawn_failed)?;
        drop(theirs);
        let answer = async {
            channel.send(request).await?;
            channel.receive::<R>().await
        };
        let failed = |error| Error::io("working in the container", &error);
        let Ok(answer) = tokio::time::timeout(PATIENCE, answer).await else {
            child.kill();
            return Err(failed(std::io::ErrorKind::TimedOut.into()));
        };
        match answer.map_err(failed)? {
            Some((reply, _)) => Ok(reply),
            None => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
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

/// Waits for the end of what runs hooks of a container, which ends them when the
/// channel closes.
async fn attend(channel: &Channel, layout: &ContainerLayout, work: &Work) -> Result<()> {
    let reports = async {
        loop {
            match channel.receive::<Report>().await {
                Ok(Some((Report::Done, _))) => return Ok(()),
                Ok(Some((Report::Failed(failure), _))) => return Err(failure.into()),
                Ok(Some((Report::Log { message, .. }, _))) => work.log(message),
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(Error::HookFailed(format!(
                        "what runs the hooks of container '{}' ended without a word; look into its log",
                        layout.name()
                    )));
                }
                Err(error) => return Err(Error::io("hearing of hooks", &error)),
            }
        }
    };
    tokio::select! {
        result = reports => result,
        () = work.cancelled() => work.check(),
    }
}

/// The error of a failure that was not a container's start.
fn not_of_a_start(failure: Failure) -> Error {
    match failure.kind {
        FailureKind::StartFailed | FailureKind::NotPermitted => Error::Failed(failure.message),
        _ => failure.into(),
    }
}

fn spawn_monitor(
    program: &OwnedFd,
    arguments: &[&str],
    channel: &OwnedFd,
) -> std::io::Result<Child> {
    let fds = [None, None, None, Some(channel.as_fd())];
    spawn::spawn(program.as_fd(), "gantry-monitor", arguments, &fds)
}

fn spawn_failed(error: std::io::Error) -> Error {
    Error::io("starting a process", &error)
}
