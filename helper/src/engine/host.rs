//! What the host can do, and what containers can be wired to.

use super::{Engine, Result};

/// Something that was looked at on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A group of findings: `kernel`, `cgroups`, `ids`, `tools`, `network`, …
    pub(crate) topic: String,
    /// What was looked at.
    pub(crate) item: String,
    /// What was found and, when it is not well, the remedy.
    pub(crate) finding: String,
    /// Whether all is well.
    pub(crate) ok: bool,
}

/// A network interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostInterface {
    /// Its name.
    pub(crate) name: String,
    /// `bridge`, `physical`, `vlan`, `veth`, `ovs`, …
    pub(crate) kind: String,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Its hardware address; empty if it has none.
    pub(crate) hwaddr: String,
    /// The bridge it is a port of; empty if none.
    pub(crate) master: String,
    /// Its addresses with prefix lengths.
    pub(crate) addresses: Vec<String>,
}

impl Engine {
    /// What the host can and cannot do, with remedies.
    pub(crate) async fn check_host(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// The host's network interfaces, but for `lo`.
    pub(crate) async fn host_interfaces(&self) -> Result<Vec<HostInterface>> {
        Ok(Vec::new())
    }
}
