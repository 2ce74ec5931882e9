use std::{collections::HashMap, os::fd::OwnedFd};

use futures_util::StreamExt as _;
use gantry_api::{BUS_NAME, Error, Result, SessionProxy};
use zbus::{
    Connection, MatchRule, Message, MessageStream,
    message::Type,
    zvariant::{self, OwnedObjectPath},
};

use super::{Backend, calls::path, words};

const SESSION: &str = "io.gantry.Gantry1.Session";

/// A command to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words, as a shell would split them.
    pub line: String,
    /// The number of the user and the group it runs as; root's when none.
    pub user: Option<u32>,
    /// Where it runs; / when empty.
    pub folder: String,
    /// `NAME=VALUE` words.
    pub environment: String,
    /// The namespaces that it enters, in LXC's words; all when empty.
    pub namespaces: Vec<String>,
    /// Whether it keeps the rights of root on this computer.
    pub elevated: bool,
}

/// A console or shell that is open.
#[derive(Debug)]
pub struct OpenSession {
    /// The object's path on the bus.
    pub path: String,
    /// The master of its PTY.
    pub master: OwnedFd,
    /// Tells when it has ended.
    pub watch: SessionWatch,
}

/// Listens to one session.
#[derive(Debug)]
pub struct SessionWatch {
    backend: Backend,
    bus: Connection,
    signals: MessageStream,
    path: String,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The command ended with this status; above 128 it was that signal.
    Exited(i32),
    /// The helper or the container took it away, and says why.
    Detached(String),
}

impl Backend {
    /// Opens the container's `/dev/console`; what it said lately comes first.
    ///
    /// # Errors
    /// Those of `Container.OpenConsole` in the contract.
    pub async fn open_console(&self, container: &str) -> Result<OpenSession> {
        let (bus, signals) = self.session_signals().await?;
        let proxy = self.container(container).await?;
        let opened = proxy.open_console(HashMap::new()).await?;
        Ok(self.opened(opened, bus, signals))
    }

    /// Opens a login shell.
    ///
    /// # Errors
    /// Those of `Container.OpenShell` in the contract.
    pub async fn open_shell(&self, container: &str) -> Result<OpenSession> {
        let (bus, signals) = self.session_signals().await?;
        let proxy = self.container(container).await?;
        let opened = proxy.open_shell(HashMap::new()).await?;
        Ok(self.opened(opened, bus, signals))
    }

    /// Runs a command on a PTY of its own.
    ///
    /// # Errors
    /// Those of `Container.Execute` in the contract, and `InvalidArgument` when the
    /// line cannot be split into words.
    pub async fn run(&self, container: &str, command: &Command) -> Result<OpenSession> {
        let words = words::split(&command.line).map_err(Error::InvalidArgument)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (bus, signals) = self.session_signals().await?;
        let proxy = self.container(container).await?;
        let mut options = HashMap::from([("pty", true.into())]);
        if let Some(user) = command.user {
            options.insert("uid", user.into());
            options.insert("gid", user.into());
        }
        if !command.folder.is_empty() {
            options.insert("cwd", command.folder.as_str().into());
        }
        if !command.environment.trim().is_empty() {
            let words = words::split(&command.environment).map_err(Error::InvalidArgument)?;
            options.insert("env", words.into());
        }
        if !command.namespaces.is_empty() {
            options.insert("namespaces", command.namespaces.clone().into());
        }
        if command.elevated {
            options.insert("elevated", true.into());
        }
        // All three are the PTY's master.
        let (master, _, _, path) = proxy.execute(&words, options).await?;
        Ok(self.opened((master, path), bus, signals))
    }

    fn opened(
        &self,
        (master, path): (zvariant::OwnedFd, OwnedObjectPath),
        bus: Connection,
        signals: MessageStream,
    ) -> OpenSession {
        OpenSession {
            path: path.to_string(),
            master: master.into(),
            watch: self.watch(&path, bus, signals),
        }
    }

    pub(super) fn watch(
        &self,
        path: &OwnedObjectPath,
        bus: Connection,
        signals: MessageStream,
    ) -> SessionWatch {
        SessionWatch {
            backend: self.clone(),
            bus,
            signals,
            path: path.to_string(),
        }
    }

    /// Tells the session its size in characters.
    ///
    /// # Errors
    /// Those of `Session.Resize` in the contract.
    pub async fn resize(&self, session: &str, columns: u16, rows: u16) -> Result<()> {
        self.session(session).await?.resize(columns, rows).await
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Those of `Session.Close` in the contract.
    pub async fn close(&self, session: &str) -> Result<()> {
        self.session(session).await?.close().await
    }

    async fn session(&self, session: &str) -> Result<SessionProxy<'static>> {
        let bus = self.bus()?;
        Ok(SessionProxy::builder(&bus)
            .path(path(session)?)?
            .build()
            .await?)
    }

    /// Subscribed to before the session is opened: one that ends at once says so
    /// before we know its path.
    pub(super) async fn session_signals(&self) -> Result<(Connection, MessageStream)> {
        let bus = self.bus()?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(BUS_NAME)?
            .interface(SESSION)?
            .build();
        let signals = MessageStream::for_match_rule(rule, &bus, None).await?;
        Ok((bus, signals))
    }
}

impl SessionWatch {
    /// Returns when the session has ended; a helper that is replaced meanwhile
    /// does not end it.
    pub async fn ended(mut self) -> SessionEnd {
        while let Some(signal) = self.next().await {
            let end = match member(&signal).as_str() {
                "Exited" => signal.body().deserialize().map(SessionEnd::Exited),
                "Detached" => signal.body().deserialize().map(SessionEnd::Detached),
                _ => continue,
            };
            match end {
                Ok(end) => return end,
                Err(error) => {
                    tracing::warn!("the end of {} was not understood: {error}", self.path)
                }
            }
        }
        SessionEnd::Detached(String::new())
    }

    /// The session's path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The next signal of the session; none when the bus is gone.
    pub(super) async fn next(&mut self) -> Option<Message> {
        while let Some(Ok(signal)) = self.signals.next().await {
            let of_session = signal
                .header()
                .path()
                .is_some_and(|path| *path == self.path.as_str());
            if !of_session {
                continue;
            }
            if self.backend.sent(&self.bus, &signal).await {
                return Some(signal);
            }
            tracing::warn!("somebody else than the helper spoke of {}", self.path);
        }
        None
    }
}

/// The name of a signal.
pub(super) fn member(signal: &Message) -> String {
    let header = signal.header();
    header.member().map(ToString::to_string).unwrap_or_default()
}
