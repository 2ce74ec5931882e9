use std::{collections::HashMap, os::fd::OwnedFd};

use futures_util::StreamExt as _;
use gantry_api::{BUS_NAME, Error, Result, SessionProxy};
use zbus::{
    Connection, MatchRule, MessageStream,
    message::Type,
    zvariant::{self, OwnedObjectPath},
};

use super::{Backend, calls::path, words};

const SESSION: &str = "io.gantry.Gantry1.Session";

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

/// Waits for the end of one session.
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

    /// Runs a command line on a PTY of its own.
    ///
    /// # Errors
    /// Those of `Container.Execute` in the contract, and `InvalidArgument` when the
    /// line cannot be split into words.
    pub async fn run(&self, container: &str, line: &str) -> Result<OpenSession> {
        let words = words::split(line).map_err(Error::InvalidArgument)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (bus, signals) = self.session_signals().await?;
        let proxy = self.container(container).await?;
        let options = HashMap::from([("pty", true.into())]);
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
            watch: SessionWatch {
                backend: self.clone(),
                bus,
                signals,
                path: path.to_string(),
            },
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
    async fn session_signals(&self) -> Result<(Connection, MessageStream)> {
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
        while let Some(Ok(signal)) = self.signals.next().await {
            let header = signal.header();
            if header
                .path()
                .is_none_or(|sender| *sender != self.path.as_str())
            {
                continue;
            }
            let end = match header.member().map(|member| member.as_str()) {
                Some("Exited") => signal.body().deserialize().map(SessionEnd::Exited),
                Some("Detached") => signal.body().deserialize().map(SessionEnd::Detached),
                _ => continue,
            };
            match end {
                Ok(end) if self.backend.sent(&self.bus, &signal).await => return end,
                Ok(_) => tracing::warn!("somebody else than the helper spoke of {}", self.path),
                Err(error) => {
                    tracing::warn!("the end of {} was not understood: {error}", self.path)
                }
            }
        }
        SessionEnd::Detached(String::new())
    }
}
