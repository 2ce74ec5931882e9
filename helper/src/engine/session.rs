//! Terminals and programs in containers. Each is held by a process that
//! outlives this one: the container's monitor, or a session's supervisor.

use super::client::Client;
use super::{ContainerId, Engine, Error, Event, Result};
use crate::linux::channel::Channel;
use gantry_core::monitor::{
    AttachReply, AttachRequest, CloseViewer, Extension, Hello, OpenViewer, Owner, ResizeViewer,
    SessionCommand, SessionEvent, Viewer, ViewerOpened,
};
use gantry_core::name::ContainerName;
use gantry_core::namespaces::Namespace;
use gantry_core::states::State;
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Where supervisors listen, each under its session's number.
const SESSIONS: &str = "/run/gantry/sessions";
/// How often a monitor is asked which viewers are still open.
const VIEWERS_INTERVAL: Duration = Duration::from_secs(2);
/// How long a supervisor may take to start a program.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long one that listens may take to say what it is.
const HELLO_PATIENCE: Duration = Duration::from_secs(2);

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
enum Control {
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
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn taken(&self, number: u64) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }
}

impl Session {
    fn new(
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
            Control::Supervisor(channel) => self.command(channel, SessionCommand::Close).await,
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
    fn follow_supervisor(&self) {
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
    fn follow_terminal(&self, engine: &Engine) {
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

async fn list_viewers(client: &Client) -> Result<Option<(Vec<Viewer>, Vec<OwnedFd>)>> {
    client.extension(Extension::ListViewers, None::<&()>).await
}

impl Engine {
    /// A number for a session that is not the engine's own.
    pub(crate) fn next_session_number(&self) -> u64 {
        self.0.sessions.next()
    }

    /// Opens a terminal of a running container: the fd is a PTY's master.
    pub(crate) async fn open_console(
        &self,
        id: &ContainerId,
        tty: u32,
        size: Size,
        owner: Owner,
    ) -> Result<(OwnedFd, Session)> {
        let client = self.running(id).await?;
        let number = self.0.sessions.next();
        let request = OpenViewer {
            session: number,
            tty,
            columns: size.columns,
            rows: size.rows,
            owner: owner.clone(),
        };
        let opened = client
            .extension::<ViewerOpened>(Extension::OpenViewer, Some(&request))
            .await?;
        let (terminal, control) = match opened {
            Some((_, fds)) => {
                let terminal = fds.into_iter().next();
                let none = || Error::Failed("the monitor sent no terminal".to_owned());
                (terminal.ok_or_else(none)?, Control::Viewer(client))
            }
            None if tty == 0 => {
                return Err(Error::Unsupported(format!(
                    "container '{}' was started by LXC, which keeps its console to itself; use tty 1, a shell, or start \
                     it with Gantry",
                    id.name
                )));
            }
            None => {
                let (terminal, hold) = client.tty(tty).await?;
                set_size(&terminal, size)?;
                let copy = terminal
                    .try_clone()
                    .map_err(|error| Error::io("copying the terminal", &error))?;
                (
                    copy,
                    Control::Tty {
                        terminal,
                        hold: Mutex::new(Some(hold)),
                    },
                )
            }
        };
        let session = Session::new(
            number,
            SessionKind::Console(tty),
            id.clone(),
            owner,
            control,
        );
        session.follow_terminal(self);
        Ok((terminal, session))
    }

    /// Opens root's login shell on a PTY of the container's own.
    pub(crate) async fn open_shell(
        &self,
        id: &ContainerId,
        size: Size,
        owner: Owner,
    ) -> Result<(OwnedFd, Session)> {
        let shell = ExecuteRequest {
            env: vec!["TERM=xterm-256color".to_owned()],
            pty: Some(size),
            ..ExecuteRequest::default()
        };
        let (mut fds, session) = self.attach(id, shell, owner).await?;
        let terminal = fds
            .pop()
            .ok_or_else(|| Error::Failed("the session sent no terminal".to_owned()))?;
        Ok((terminal, session))
    }

    /// Executes a program in a running container.
    pub(crate) async fn execute(
        &self,
        id: &ContainerId,
        request: ExecuteRequest,
        owner: Owner,
    ) -> Result<(Streams, Session)> {
        if request.argv.first().is_none_or(String::is_empty) {
            return Err(Error::InvalidArgument(
                "no program to execute was given".to_owned(),
            ));
        }
        let on_pty = request.pty.is_some();
        let (fds, session) = self.attach(id, request, owner).await?;
        let copy = |fd: &OwnedFd| {
            fd.try_clone()
                .map_err(|error| Error::io("copying the terminal", &error))
        };
        let mut fds = fds.into_iter();
        let streams = match (on_pty, fds.next(), fds.next(), fds.next()) {
            (true, Some(pty), ..) => Streams {
                stdin: copy(&pty)?,
                stdout: copy(&pty)?,
                stderr: pty,
            },
            (false, Some(stdin), Some(stdout), Some(stderr)) => Streams {
                stdin,
                stdout,
                stderr,
            },
            _ => return Err(Error::Failed("the session sent too few streams".to_owned())),
        };
        Ok((streams, session))
    }

    /// Starts a supervisor and lets it run a program.
    async fn attach(
        &self,
        id: &ContainerId,
        request: ExecuteRequest,
        owner: Owner,
    ) -> Result<(Vec<OwnedFd>, Session)> {
        check_strings(&request)?;
        self.running(id).await?;
        let number = self.0.sessions.next();
        let size = request.pty.unwrap_or_default();
        let message = AttachRequest {
            session: number,
            owner: owner.clone(),
            argv: request.argv,
            env: request.env,
            cwd: request.cwd,
            uid: request.uid,
            gid: request.gid,
            namespaces: request.namespaces,
            elevated: request.elevated,
            pty: request.pty.is_some(),
            columns: size.columns,
            rows: size.rows,
        };
        let channel = self.0.launcher.supervisor(&self.layout(&id.name))?;
        let failed = |error: std::io::Error| Error::io("starting the session", &error);
        channel.send(&message).await.map_err(failed)?;
        let reply = tokio::time::timeout(START_PATIENCE, channel.receive::<AttachReply>())
            .await
            .map_err(|_| Error::TimedOut("the program did not start in time".to_owned()))?;
        let fds = match reply.map_err(failed)? {
            Some((AttachReply::Started { .. }, fds)) => fds,
            Some((AttachReply::Failed(failure), _)) => return Err(failure.into()),
            None => {
                return Err(Error::Failed(
                    "the session's supervisor was lost".to_owned(),
                ));
            }
        };
        let (channel, _) = connect(number).await?;
        let control = Control::Supervisor(channel);
        let session = Session::new(number, SessionKind::Program, id.clone(), owner, control);
        session.follow_supervisor();
        Ok((fds, session))
    }

    /// The sessions that were open when this process began. Call it once,
    /// after [`Engine::open`], before any session is opened.
    pub(crate) async fn adopt_sessions(&self) -> Vec<Session> {
        let mut sessions = self.adopt_programs().await;
        let Ok(containers) = self.list().await else {
            return sessions;
        };
        for facts in containers
            .iter()
            .filter(|facts| facts.state != State::Stopped)
        {
            let client = Client::new(&self.layout(&facts.id.name));
            let Ok(Some((viewers, _))) = list_viewers(&client).await else {
                continue;
            };
            for Viewer {
                session,
                tty,
                owner,
            } in viewers
            {
                self.0.sessions.taken(session);
                let control = Control::Viewer(client.clone());
                let session = Session::new(
                    session,
                    SessionKind::Console(tty),
                    facts.id.clone(),
                    owner,
                    control,
                );
                session.follow_terminal(self);
                sessions.push(session);
            }
        }
        sessions
    }

    async fn adopt_programs(&self) -> Vec<Session> {
        let mut sessions = Vec::new();
        let entries = std::fs::read_dir(SESSIONS).into_iter().flatten();
        for number in entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
            self.0.sessions.taken(number);
            let (channel, hello) = match connect(number).await {
                Ok(connected) => connected,
                Err(error) => {
                    tracing::info!("session {number} is over: {error}");
                    continue;
                }
            };
            let Ok(name) = ContainerName::new(&hello.name) else {
                continue;
            };
            if hello.lxc_path != self.lxc_path() {
                continue;
            }
            let control = Control::Supervisor(channel);
            let id = ContainerId::system(name);
            let session = Session::new(number, SessionKind::Program, id, hello.owner, control);
            session.follow_supervisor();
            sessions.push(session);
        }
        sessions
    }
}

fn set_size(terminal: &OwnedFd, size: Size) -> Result<()> {
    let size = Winsize {
        ws_col: size.columns,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size)
        .map_err(|error| Error::io("changing the terminal's size", &error.into()))
}

/// Connects to a session's supervisor, which says what it is.
async fn connect(number: u64) -> Result<(Channel, Hello)> {
    let path = PathBuf::from(SESSIONS).join(number.to_string());
    let failed = |error: std::io::Error| Error::path("connecting to", &path, &error);
    let channel = Channel::connect(&path).map_err(failed)?;
    let hello = tokio::time::timeout(HELLO_PATIENCE, channel.receive::<SessionEvent>())
        .await
        .map_err(|_| Error::TimedOut(format!("session {number} does not answer")))?;
    match hello.map_err(failed)? {
        Some((SessionEvent::Hello(hello), _)) if hello.session == number => Ok((channel, hello)),
        _ => Err(Error::Failed(format!(
            "{} is not the socket of that session",
            path.display()
        ))),
    }
}

fn check_strings(request: &ExecuteRequest) -> Result<()> {
    let all = request.argv.iter().chain(&request.env).chain(&request.cwd);
    if all.clone().any(|text| text.contains('\0')) {
        return Err(Error::InvalidArgument(
            "arguments, environment and directory may not contain NUL".to_owned(),
        ));
    }
    if request.env.iter().any(|variable| {
        variable
            .split_once('=')
            .is_none_or(|(name, _)| name.is_empty())
    }) {
        return Err(Error::InvalidArgument(
            "the environment takes entries of the form NAME=VALUE".to_owned(),
        ));
    }
    match &request.cwd {
        Some(cwd) if !cwd.starts_with('/') => Err(Error::InvalidArgument(format!(
            "the directory '{cwd}' is not an absolute path"
        ))),
        _ => Ok(()),
    }
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

    #[test]
    fn what_cannot_be_executed_is_refused() {
        let with = |change: fn(&mut ExecuteRequest)| {
            let mut request = ExecuteRequest {
                argv: vec!["true".to_owned()],
                ..ExecuteRequest::default()
            };
            change(&mut request);
            check_strings(&request)
        };
        assert!(with(|_| ()).is_ok());
        assert!(with(|request| request.argv.push("a\0b".to_owned())).is_err());
        assert!(with(|request| request.env.push("=x".to_owned())).is_err());
        assert!(with(|request| request.cwd = Some("tmp".to_owned())).is_err());
    }
}
