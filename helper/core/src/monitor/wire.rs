//! What the helper and a monitor tell each other of network interfaces.

use super::Failure;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a change that would cut the host off waits to be confirmed, before it
/// is taken back.
pub const CONFIRMATION_PATIENCE: Duration = Duration::from_secs(20);

/// Asks about the interfaces of a running container, those of its config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WireRequest {
    /// How they are.
    List,
    /// Has one go by other lines, and the config be replaced when it does: both or
    /// neither.
    Change {
        /// Which.
        number: u32,
        /// Each key without `lxc.net.N.`, and its value; none takes it away.
        lines: Vec<(String, String)>,
        /// The new config, a file beside the present one.
        saved: String,
        /// It need not be confirmed, even if it cuts the host off.
        confirmed: bool,
    },
    /// The last change, which cut the host off, is to stay.
    Confirm {
        /// Of which.
        number: u32,
        /// The new config, a file beside the present one.
        saved: String,
    },
    /// It is not to stay.
    Revert {
        /// Of which.
        number: u32,
    },
}

/// The answer to a [`WireRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WireReply {
    /// It is done, and they are so now.
    Done {
        /// Those that are there.
        wires: Vec<LiveWire>,
    },
    /// Nothing has changed.
    Failed(Failure),
}

/// An interface in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveWire {
    /// Its number in the config.
    pub number: u32,
    /// Its name in the container.
    pub name: String,
    /// Its MAC address.
    pub hwaddr: String,
    /// Its largest packet.
    pub mtu: u32,
    /// The name of its host's end; empty if it has none.
    pub host_name: String,
    /// Whether something is at the other end of its cable.
    pub carrier: bool,
    /// Its addresses, with prefix lengths.
    pub addresses: Vec<String>,
    /// Its lines are such until the change is confirmed, or taken back.
    pub unconfirmed: Option<Unconfirmed>,
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// Until it is taken back.
    pub seconds: u64,
    /// What the interface goes by meanwhile.
    pub lines: Vec<(String, String)>,
}
