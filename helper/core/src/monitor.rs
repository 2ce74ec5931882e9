//! What Gantry's own processes tell each other: the helper, a container's
//! monitor and the supervisor of a session. Every message is one JSON text;
//! whoever sends serialises it.
//!
//! On the command socket an extension's request is a header with its number,
//! then the JSON text without NUL; the response is a header, then JSON.

mod wire;

pub use wire::{CONFIRMATION_PATIENCE, LiveWire, Unconfirmed, WireReply, WireRequest};

use crate::namespaces::Namespace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// How long a container may take to shut down when its monitor is sent SIGPWR,
/// before it is killed: as long as lxc-stop waits.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);

/// The first number of Gantry's own commands. Stock monitors answer these with
/// -ENOSYS or close the connection.
pub const FIRST_EXTENSION: i32 = 0x4700;

/// A command that only Gantry's monitors know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// [`OpenViewer`] -> [`ViewerOpened`] and one fd, a PTY master.
    OpenViewer = 0x4700,
    /// Nothing -> a list of [`Viewer`].
    ListViewers = 0x4701,
    /// [`ResizeViewer`] -> nothing.
    ResizeViewer = 0x4702,
    /// [`CloseViewer`] -> nothing.
    CloseViewer = 0x4703,
    /// Nothing -> [`RunningConfig`].
    GetConfig = 0x4704,
    /// [`LentInterface`] -> nothing: moves it into the container.
    LendInterface = 0x4705,
    /// A name in the container -> nothing: moves it back.
    ReturnInterface = 0x4706,
    /// Nothing -> a list of [`LentInterface`].
    ListInterfaces = 0x4707,
    /// Nothing -> whether there is a system call filter; it comes along, as a
    /// file of `struct sock_filter`.
    GetFilter = 0x4708,
    /// [`SetItem`] -> [`ItemReply`]: changes the config of the running
    /// container.
    SetItem = 0x4709,
    /// Nothing -> the console's last output, as it is; it is not taken away, as
    /// LXC's command does.
    GetConsole = 0x470a,
    /// [`WireRequest`] -> [`WireReply`].
    Wire = 0x470b,
}

impl Extension {
    /// Every extension.
    pub const ALL: [Self; 12] = [
        Self::OpenViewer,
        Self::ListViewers,
        Self::ResizeViewer,
        Self::CloseViewer,
        Self::GetConfig,
        Self::LendInterface,
        Self::ReturnInterface,
        Self::ListInterfaces,
        Self::GetFilter,
        Self::SetItem,
        Self::GetConsole,
        Self::Wire,
    ];

    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The extension of a number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|extension| extension.number() == number)
    }
}

/// The D-Bus client for whom something is held open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Its unique bus name.
    pub sender: String,
    /// Its user.
    pub uid: u32,
}

/// Asks for a terminal on one of the container's consoles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenViewer {
    /// The session's number, chosen by the helper; one that is taken is
    /// refused.
    pub session: u64,
    /// 0 is /dev/console (a PTY of the viewer's own, relayed by the monitor);
    /// n is ttyn (the container's own PTY).
    pub tty: u32,
    /// Width in characters.
    pub columns: u16,
    /// Height in characters.
    pub rows: u16,
    /// For whom.
    pub owner: Owner,
}

/// The answer to [`OpenViewer`]; the PTY master comes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewerOpened {
    /// The session's number.
    pub session: u64,
    /// The tty that was opened.
    pub tty: u32,
}

/// A viewer that is open, as `ListViewers` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The session's number.
    pub session: u64,
    /// Which tty.
    pub tty: u32,
    /// For whom.
    pub owner: Owner,
}

/// Changes the size of a viewer's PTY, and with it the console's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeViewer {
    /// The session's number.
    pub session: u64,
    /// Width in characters.
    pub columns: u16,
    /// Height in characters.
    pub rows: u16,
}

/// Ends a viewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseViewer {
    /// The session's number.
    pub session: u64,
}

/// The config that a running container goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningConfig {
    /// The text of its config file as it was at the start, with what was set
    /// since; includes are not expanded.
    pub text: String,
}

/// Asks a running container to go by other values of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetItem {
    /// The key's modern name.
    pub key: String,
    /// All of its values; none takes it away.
    pub values: Vec<String>,
}

/// The answer to [`SetItem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemReply {
    /// The container goes by them.
    Applied,
    /// It will at its next start.
    AtNextStart,
    /// The kernel does not take them, and nothing has changed.
    Failed(Failure),
}

/// An interface of the host that is in a container for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LentInterface {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container.
    pub name: String,
}

/// Asks for something to be done to a device node of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NodeRequest {
    /// Makes one, which must be new.
    Add {
        /// What and where.
        node: Node,
        /// Its permissions.
        mode: u32,
    },
    /// Takes one away.
    Remove {
        /// Its path in the container.
        path: String,
    },
    /// Lists those that not every container has.
    List,
}

/// A device node in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its path in the container.
    pub path: String,
    /// Whether it is a block device, or else a character device.
    pub block: bool,
    /// The driver's number.
    pub major: u32,
    /// The device's number.
    pub minor: u32,
}

/// The answer to a [`NodeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NodeReply {
    /// It is done, to these.
    Done {
        /// The nodes that were made, removed or found.
        nodes: Vec<Node>,
    },
    /// It is not done.
    Failed(Failure),
}

/// What a monitor is told first: what it cannot make itself, and from which
/// values of the config it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StartRequest {
    /// `lxc.seccomp.profile`. Its filter comes along, as a sealed file of
    /// `struct sock_filter`.
    pub seccomp: Option<PathBuf>,
    /// The interfaces, each by its number and its link, that somebody has confirmed to
    /// take the host's way out.
    pub confirmed: BTreeSet<(u32, String)>,
}

/// What finishes a copy of a container, or one that gets another name, is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishCopy {
    /// The directory in the LXC path; a copy's is not called after it yet.
    pub directory: String,
    /// The name of the container that it is a copy of, or that it had itself.
    pub source: String,
    /// Give it its own host name inside, too.
    pub host_name: bool,
    /// Run `lxc.hook.clone`, with these arguments after LXC's.
    pub hooks: Option<Vec<String>>,
}

/// What a monitor, or whoever runs hooks, tells whoever started it, until it
/// runs, is done or has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Report {
    /// Something for the journal.
    Log {
        /// How important.
        level: ReportLevel,
        /// One sentence.
        message: String,
    },
    /// The command socket is bound and the config read: from now on whoever asks
    /// finds the container starting, and may change its files.
    Listening,
    /// What the container begins with of the host's interfaces waits to be confirmed.
    Unconfirmed,
    /// Init has been executed.
    Running {
        /// Its pid, as the host counts.
        pid: u32,
    },
    /// The hooks have run; or the mount that comes with it is made.
    Done,
    /// The container did not start, and nothing of it is left; or a hook failed.
    Failed(Failure),
}

/// How important a [`Report::Log`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportLevel {
    /// For whoever looks for a fault.
    Debug,
    /// For the record.
    Info,
    /// Something was left out or will not work.
    Warning,
    /// Something failed.
    Error,
}

/// Why something could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure, for the error's name.
    pub kind: FailureKind,
    /// Which step failed, in a few words: `mounting the root file system`.
    pub step: String,
    /// A sentence a user can act on.
    pub message: String,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// The sort of a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The container, or what was to be executed, does not exist.
    NotFound,
    /// The config has an error.
    InvalidConfig,
    /// A request has a value that cannot be.
    InvalidArgument,
    /// The container runs already, or does not run.
    WrongState,
    /// What is to be made is there already.
    Exists,
    /// Another holds what is needed.
    Busy,
    /// A hook or network script failed.
    HookFailed,
    /// The kernel or host lacks something.
    Unsupported,
    /// No space is left.
    NoSpace,
    /// Rights are missing.
    NotPermitted,
    /// The caller gave up.
    Cancelled,
    /// A step of the start failed.
    StartFailed,
}

/// Asks a session supervisor to run a program in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The session's number, chosen by the helper.
    pub session: u64,
    /// For whom.
    pub owner: Owner,
    /// The program and its arguments; empty means the login shell of the user.
    pub argv: Vec<String>,
    /// `NAME=VALUE` to add to the program's environment.
    pub env: Vec<String>,
    /// Where the program begins; none means the user's home or `/`.
    pub cwd: Option<String>,
    /// User in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
    /// The namespaces to join; none means all of the container's.
    pub namespaces: Option<Vec<Namespace>>,
    /// What of the host's root it keeps.
    pub elevated: Elevation,
    /// Run it on a PTY (else on three pipes).
    pub pty: bool,
    /// Width of the PTY in characters.
    pub columns: u16,
    /// Height of the PTY in characters.
    pub rows: u16,
}

/// What a program in a container has of the rights of the host's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Elevation {
    /// It is not put into the container's cgroups, nor on its cores.
    pub cgroup: bool,
    /// It keeps all capabilities.
    pub capabilities: bool,
    /// It gets no security label and no system call filter. Otherwise the
    /// container's filter comes along with the request, if it has one.
    pub label: bool,
}

impl Elevation {
    /// All there is.
    pub const ALL: Self = Self {
        cgroup: true,
        capabilities: true,
        label: true,
    };

    /// Whether it is anything at all.
    pub fn is_any(self) -> bool {
        self != Self::default()
    }

    /// A part of it by LXC's word (`lxc-attach -e`): `CGROUP`, `CAP` or `LSM`.
    pub fn add(&mut self, word: &str) -> bool {
        match word {
            "CGROUP" => self.cgroup = true,
            "CAP" => self.capabilities = true,
            "LSM" => self.label = true,
            _ => return false,
        }
        true
    }
}

/// The answer to an [`AttachRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AttachReply {
    /// The program runs. With it come the PTY's master, or the ends of its
    /// standard input, output and error, in this order.
    Started {
        /// The program's pid, as the host counts.
        pid: u32,
    },
    /// It does not run, and nothing of it is left.
    Failed(Failure),
}

/// What a session is, for a helper that was not there when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The session's number.
    pub session: u64,
    /// For whom.
    pub owner: Owner,
    /// The container's LXC path.
    pub lxc_path: String,
    /// The container's name.
    pub name: String,
    /// The program's pid, as the host counts.
    pub pid: u32,
    /// Whether it runs on a PTY.
    pub pty: bool,
}

/// What a session supervisor tells a helper that connects to it: `Hello`
/// first, `Exited` when it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionEvent {
    /// What the session is.
    Hello(Hello),
    /// The program has ended.
    Exited {
        /// Its exit status; 128 and the signal's number if a signal ended it.
        status: i32,
    },
}

/// What a helper tells a session supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionCommand {
    /// Changes the size of the PTY.
    Resize {
        /// Width in characters.
        columns: u16,
        /// Height in characters.
        rows: u16,
    },
    /// Sends a signal to the program.
    Signal {
        /// The signal's number.
        number: i32,
    },
    /// Hangs up: the program and what it started are ended.
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_stay_clear_of_stock_commands() {
        for (offset, extension) in Extension::ALL.into_iter().enumerate() {
            assert_eq!(extension.number(), FIRST_EXTENSION + offset as i32);
            assert_eq!(Extension::from_number(extension.number()), Some(extension));
            assert_eq!(
                crate::command::Command::from_number(extension.number()),
                None
            );
        }
        assert_eq!(Extension::from_number(0x470c), None);
    }
}
