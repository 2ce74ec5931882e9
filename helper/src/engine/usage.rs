//! What containers use.

use super::{ContainerId, Engine, Error, Result};

/// What a running container uses. A number that the host does not count is
/// none.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Usage {
    /// Processor time in nanoseconds.
    pub(crate) cpu_ns: Option<u64>,
    /// Memory in bytes.
    pub(crate) memory: Option<u64>,
    /// The most memory it ever used, in bytes.
    pub(crate) memory_peak: Option<u64>,
    /// Its limit in bytes; none when unlimited.
    pub(crate) memory_limit: Option<u64>,
    /// Swap in bytes.
    pub(crate) swap: Option<u64>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
    /// Bytes read from block devices.
    pub(crate) io_read: Option<u64>,
    /// Bytes written to block devices.
    pub(crate) io_write: Option<u64>,
    /// Bytes that the container received.
    pub(crate) rx: Option<u64>,
    /// Bytes that the container sent.
    pub(crate) tx: Option<u64>,
    /// Share of the last ten seconds in which some task waited for a
    /// processor, in percent.
    pub(crate) pressure_cpu: Option<f64>,
    /// The same for memory.
    pub(crate) pressure_memory: Option<f64>,
    /// The same for input and output.
    pub(crate) pressure_io: Option<f64>,
}

impl Engine {
    /// What a running container uses now.
    pub(crate) async fn usage(&self, _id: &ContainerId) -> Result<Usage> {
        Err(Error::Unsupported("not yet".into()))
    }
}
