//! Terminals and programs in containers.

use super::{ContainerId, Engine, Error, Result};
use gantry_core::monitor::Owner;
use gantry_core::namespaces::Namespace;
use std::os::fd::OwnedFd;

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Width.
    pub(crate) columns: u16,
    /// Height.
    pub(crate) rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ExecuteRequest {
    /// The program and its arguments; not empty.
    pub(crate) argv: Vec<String>,
    /// `NAME=VALUE` to add to its environment.
    pub(crate) env: Vec<String>,
    /// Where it begins; `/` or the user's home if none.
    pub(crate) cwd: Option<String>,
    /// User in the container.
    pub(crate) uid: u32,
    /// Group in the container.
    pub(crate) gid: u32,
    /// The namespaces to join, all if none.
    pub(crate) namespaces: Option<Vec<Namespace>>,
    /// Keep root's capabilities, cgroup and security label.
    pub(crate) elevated: bool,
    /// On a PTY of this size, instead of three pipes.
    pub(crate) pty: Option<Size>,
}

impl ExecuteRequest {
    /// Whether this needs what equals root on the host.
    pub(crate) fn is_unsafe(&self) -> bool {
        self.elevated || self.namespaces.is_some()
    }
}

/// The caller's ends of a program's streams. On a PTY all three are its
/// master.
#[derive(Debug)]
pub(crate) struct Streams {
    /// To write to.
    pub(crate) stdin: OwnedFd,
    /// To read from.
    pub(crate) stdout: OwnedFd,
    /// To read from.
    pub(crate) stderr: OwnedFd,
}

/// What a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// A view of one of the container's terminals; 0 is /dev/console.
    Console(u32),
    /// A program that was executed, or a shell.
    Program,
}

/// A terminal or program that is open for somebody. Dropping the handle ends
/// nothing: call [`Session::close`]. Clones are the same session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    number: u64,
    kind: SessionKind,
    container: ContainerId,
    owner: Owner,
}

impl Session {
    /// Its number, unlike every other's.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What it is.
    pub(crate) fn kind(&self) -> SessionKind {
        self.kind
    }

    /// In which container.
    pub(crate) fn container(&self) -> &ContainerId {
        &self.container
    }

    /// For whom.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Changes the size of its terminal.
    pub(crate) async fn resize(&self, _size: Size) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Sends a signal to its program; a console takes none.
    pub(crate) async fn signal(&self, _number: i32) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Ends it. One that has ended is left alone.
    pub(crate) async fn close(&self) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Returns when it has ended: with the program's exit status (128 and the
    /// signal's number if a signal ended it), or 0 for a console.
    pub(crate) async fn exited(&self) -> i32 {
        0
    }
}

impl Engine {
    /// A number for a session that is not the engine's own.
    pub(crate) fn next_session_number(&self) -> u64 {
        0
    }

    /// Opens a terminal of a running container: the fd is a PTY's master.
    pub(crate) async fn open_console(
        &self,
        _id: &ContainerId,
        _tty: u32,
        _size: Size,
        _owner: Owner,
    ) -> Result<(OwnedFd, Session)> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Opens root's login shell on a PTY of the container's own.
    pub(crate) async fn open_shell(
        &self,
        _id: &ContainerId,
        _size: Size,
        _owner: Owner,
    ) -> Result<(OwnedFd, Session)> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Executes a program in a running container.
    pub(crate) async fn execute(
        &self,
        _id: &ContainerId,
        _request: ExecuteRequest,
        _owner: Owner,
    ) -> Result<(Streams, Session)> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// The sessions that were open when this process began. Call it once,
    /// after [`Engine::open`].
    pub(crate) async fn adopt_sessions(&self) -> Vec<Session> {
        Vec::new()
    }
}
