//! Opening sessions, and taking up those that were open before.

use super::client::Client;
use super::session::{
    Control, ExecuteRequest, Session, SessionKind, Size, Streams, list_viewers, set_size,
};
use super::{ContainerId, Engine, Error, Result};
use crate::linux::channel::Channel;
use gantry_core::monitor::{
    AttachReply, AttachRequest, Extension, Hello, OpenViewer, Owner, SessionEvent, Viewer,
    ViewerOpened,
};
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// Where supervisors listen, each under its session's number.
const SESSIONS: &str = "/run/gantry/sessions";
/// How long a supervisor may take to start a program.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long one that listens may take to say what it is.
const HELLO_PATIENCE: Duration = Duration::from_secs(2);

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
        refuse_missing_tty(id, &client, tty).await?;
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
        let client = self.running(id).await?;
        let number = self.0.sessions.next();
        // While the monitor is asked it comes up.
        let channel = self
            .0
            .programs
            .supervisor(self.layout(&id.name), number)
            .await?;
        let filter = match request.elevated.label {
            true => None,
            false => self.filter_of(&client).await?,
        };
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
        let failed = |error: std::io::Error| Error::io("starting the session", &error);
        let fds: Vec<_> = filter.iter().map(|filter| filter.as_fd()).collect();
        channel.send_with(&message, &fds).await.map_err(failed)?;
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

/// Says which ttys there are when one is asked for that is not.
async fn refuse_missing_tty(id: &ContainerId, client: &Client, tty: u32) -> Result<()> {
    let count: u32 = client
        .config_item("lxc.tty.max")
        .await?
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    if tty <= count {
        return Ok(());
    }
    let name = &id.name;
    Err(Error::InvalidArgument(match count {
        0 => format!(
            "container '{name}' has no tty {tty}, only its console, tty 0; set lxc.tty.max to give it more"
        ),
        _ => format!(
            "container '{name}' has no tty {tty}: it has 1 to {count}, and its console, tty 0"
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

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
