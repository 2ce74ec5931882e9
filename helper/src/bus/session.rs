//! The interface of a session.

use std::{collections::HashMap, sync::Arc};

use gantry_api::Error;
use zbus::{interface, message::Header, object_server::SignalEmitter, zvariant::Value};

use super::{
    Bus,
    authorization::Details,
    error::Result,
    sessions::{Open, What},
};
use crate::engine::{self, Size};

/// What is served at a session's path.
pub(super) struct SessionObject {
    pub(super) bus: Arc<Bus>,
    pub(super) open: Arc<Open>,
}

impl SessionObject {
    async fn admit<T>(&self, header: &Header<'_>, request: gantry_api::Result<T>) -> Result<T> {
        let caller = self.bus.callers.identify(header).await?;
        let details = Details::own(self.open.is_of(&caller));
        self.bus
            .authority
            .permit(&caller, header, request, &details)
            .await
    }

    fn terminal(&self) -> gantry_api::Result<&engine::Session> {
        match &self.open.what {
            What::Engine(session) => Ok(session),
            What::Usage(_) => Err(Error::WrongState(
                "this session is a watch, it has no terminal and no program".into(),
            )),
        }
    }
}

#[interface(name = "io.gantry.Gantry1.Session")]
impl SessionObject {
    /// Changes the size of the terminal.
    async fn resize(
        &self,
        columns: u16,
        rows: u16,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = match (columns, rows) {
            (0, _) | (_, 0) => Err(Error::InvalidArgument(format!(
                "a terminal of {columns} by {rows} cannot be; give one column and one row at least"
            ))),
            (columns, rows) => Ok(Size { columns, rows }),
        };
        let size = self.admit(&header, request).await?;
        Ok(self.terminal()?.resize(size).await?)
    }

    /// Sends a signal to the program.
    async fn signal(&self, number: i32, #[zbus(header)] header: Header<'_>) -> Result<()> {
        let request = match number {
            1..=64 => Ok(()),
            _ => Err(Error::InvalidArgument(format!(
                "there is no signal {number}; give 1 to 64"
            ))),
        };
        self.admit(&header, request).await?;
        Ok(self.terminal()?.signal(number).await?)
    }

    /// Ends the session: hangs up the terminal and the program, or stops the watch.
    async fn close(&self, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.admit(&header, Ok(())).await?;
        Ok(self.open.close().await?)
    }

    /// The program has ended: its exit status, or 128 and the number of the signal that
    /// ended it. The session is over. Sent to the client whose session it is.
    #[zbus(signal)]
    pub(super) async fn exited(emitter: &SignalEmitter<'_>, status: i32) -> zbus::Result<()>;

    /// What each container uses: container o, name s, owner s, and what
    /// Resources.GetUsage gives. Sent to the client whose session it is.
    #[zbus(signal)]
    pub(super) async fn sample(
        emitter: &SignalEmitter<'_>,
        monotonic_us: u64,
        usage: Vec<HashMap<&str, Value<'_>>>,
    ) -> zbus::Result<()>;

    /// The terminal or the watch has ended. The session is over. Sent to the client
    /// whose session it is.
    #[zbus(signal)]
    pub(super) async fn detached(emitter: &SignalEmitter<'_>, reason: &str) -> zbus::Result<()>;
}
