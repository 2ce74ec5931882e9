//! Terminals and programs in containers. Each is held by a process that
//! outlives this one: the container's monitor, or a session's supervisor.

use super::client::Client;
use super::{ContainerId, Engine, Error, Event, Result};
use crate::linux::channel::Channel;
use gantry_core::monitor::{
    CloseViewer, Elevation, Extension, Owner, ResizeViewer, SessionCommand, SessionEvent, Viewer,
};
use gantry_core::namespaces::Namespace;
use gantry_core::states::State;
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// How often a monitor is asked which viewers are still open.
const VIEWERS_INTERVAL: Duration = Duration::from_secs(2);

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
    /// What it keeps of the host's root.
    pub(crate) elevated: Elevation,
    /// On a PTY of this size, instead of three pipes.
    pub(crate) pty: Option<Size>,
}

impl ExecuteRequest {
    /// Whether this needs what equals root on the host.
    pub(crate) fn is_unsafe(&self) -> bool {
        self.elevated.is_any() || self.namespaces.is_some()
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
pub(crate) struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    number: u64,
    kind: SessionKind,
    container: ContainerId,
    owner: Owner,
    control: Control,
    exit: watch::Sender<Option<i32>>,
}

/// Through whom a session is steered.
#[derive(Debug)]
pub(super) enum Control {
    /// A viewer of Gantry's monitor.
    Viewer(Client),
    /// A terminal of stock LXC's monitor, held by a connection.
    Tty {
        terminal: OwnedFd,
        hold: Mutex<Option<UnixStream>>,
    },
    /// A program's supervisor.
    Supervisor(Channel),
}

/// The next session's number.
#[derive(Debug, Default)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn taken(&self, number: u64) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }
}

impl Session {
    pub(super) fn new(
        number: u64,
        kind: SessionKind,
        container: ContainerId,
        owner: Owner,
        control: Control,
    ) -> Self {
        let (exit, _) = watch::channel(None);
        Self(Arc::new(Inner {
            number,
            kind,
            container,
            owner,
            control,
            exit,
        }))
    }

    /// Its number, unlike every other's.
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    /// What it is.
    pub(crate) fn kind(&self) -> SessionKind {
        self.0.kind
    }

    /// In which container.
    pub(crate) fn container(&self) -> &ContainerId {
        &self.0.container
    }

    /// For whom.
    pub(crate) fn owner(&self) -> &Owner {
        &self.0.owner
    }

    /// Changes the size of its terminal.
    pub(crate) async fn resize(&self, size: Size) -> Result<()> {
        let Size { columns, rows } = size;
        match &self.0.control {
            Control::Viewer(client) => {
                let request = ResizeViewer {
                    session: self.0.number,
                    columns,
                    rows,
                };
                client
                    .extension::<()>(Extension::ResizeViewer, Some(&request))
                    .await
                    .map(|_| ())
            }
            Control::Tty { terminal, .. } => set_size(terminal, size),
            Control::Supervisor(channel) => {
                self.command(channel, SessionCommand::Resize { columns, rows })
                    .await
            }
        }
    }

    /// Sends a signal to its program; a console takes none.
    pub(crate) async fn signal(&self, number: i32) -> Result<()> {
        if !(1..=gantry_core::signals::SIGRTMAX).contains(&number) {
            return Err(Error::InvalidArgument(format!("{number} is not a signal")));
        }
        match &self.0.control {
            Control::Supervisor(channel) => {
                self.command(channel, SessionCommand::Signal { number })
                    .await
            }
            _ => Err(Error::InvalidArgument(
                "a console has no program to signal".to_owned(),
            )),
        }
    }

    /// Ends it. One that has ended is left alone.
    pub(crate) async fn close(&self) -> Result<()> {
        if self.0.exit.borrow().is_some() {
            return Ok(());
        }
        match &self.0.control {
            Control::Viewer(client) => {
                let request = CloseViewer {
                    session: self.0.number,
                };
                match client
                    .extension::<()>(Extension::CloseViewer, Some(&request))
                    .await
                {
                    // The container or the viewer has just ended.
                    Ok(_) | Err(Error::WrongState(_) | Error::Failed(_)) => {}
                    Err(error) => return Err(error),
                }
                self.end(0);
                Ok(())
            }
            Control::Tty { hold, .. } => {
                drop(hold.lock().unwrap_or_else(PoisonError::into_inner).take());
                self.end(0);
                Ok(())
            }
            Control::Supervisor(channel) => {
                match self.command(channel, SessionCommand::Close).await {
                    Err(Error::WrongState(_)) => Ok(()),
                    closed => closed,
                }
            }
        }
    }

    /// Returns when it has ended: with the program's exit status (128 and the
    /// signal's number if a signal ended it), or 0 for a console.
    pub(crate) async fn exited(&self) -> i32 {
        let mut exit = self.0.exit.subscribe();
        // The sender lives as long as this.
        exit.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|status| *status)
            .unwrap_or(0)
    }

    fn end(&self, status: i32) {
        self.0.exit.send_if_modified(|exit| {
            let first = exit.is_none();
            exit.get_or_insert(status);
            first
        });
    }

    async fn command(&self, channel: &Channel, command: SessionCommand) -> Result<()> {
        match channel.send(&command).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::WrongState(
                format!("session {} has ended", self.0.number),
            )),
            Err(error) => Err(Error::io("speaking to the session", &error)),
        }
    }

    /// Follows a program's supervisor until it is over.
    pub(super) fn follow_supervisor(&self) {
        let session = self.clone();
        tokio::spawn(async move {
            let Control::Supervisor(channel) = &session.0.control else {
                return;
            };
            let status = loop {
                match channel.receive::<SessionEvent>().await {
                    Ok(Some((SessionEvent::Exited { status }, _))) => break status,
                    Ok(Some((SessionEvent::Hello(_), _))) => {}
                    // It was killed, and the program with it.
                    Ok(None) | Err(_) => break 128 + gantry_core::signals::SIGKILL,
                }
            };
            session.end(status);
        });
    }

    /// Follows a terminal until it is closed or the container stops.
    pub(super) fn follow_terminal(&self, engine: &Engine) {
        let (session, mut events) = (self.clone(), engine.subscribe());
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(VIEWERS_INTERVAL);
            loop {
                tokio::select! {
                    _ = session.exited() => return,
                    event = events.recv() => match event {
                        Ok(Event::StateChanged { id, new: State::Stopped, .. } | Event::Removed(id))
                            if id == *session.container() => break,
                        Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                        _ => {}
                    },
                    _ = tick.tick() => {
                        if engine.facts(session.container()).is_none_or(|facts| facts.state == State::Stopped) {
                            break;
                        }
                        if let Control::Viewer(client) = &session.0.control
                            && let Ok(Some((viewers, _))) = list_viewers(client).await
                            && !viewers.iter().any(|viewer| viewer.session == session.number())
                        {
                            break;
                        }
                    }
                }
            }
            session.end(0);
        });
    }
}

pub(super) async fn list_viewers(client: &Client) -> Result<Option<(Vec<Viewer>, Vec<OwnedFd>)>> {
    client.extension(Extension::ListViewers, None::<&()>).await
}

pub(super) fn set_size(terminal: &OwnedFd, size: Size) -> Result<()> {
    let size = Winsize {
        ws_col: size.columns,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size)
        .map_err(|error| Error::io("changing the terminal's size", &error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_after_those_adopted() {
        let numbers = Numbers::default();
        assert_eq!(numbers.next(), 1);
        numbers.taken(7);
        assert_eq!(numbers.next(), 8);
        numbers.taken(3);
        assert_eq!(numbers.next(), 9);
    }
}
