//! Networks of the host, and how containers are wired to them.

pub(crate) mod addresses;
pub(crate) mod bridge;
pub(crate) mod definitions;
pub(crate) mod firewall;
pub(crate) mod interfaces;
pub(crate) mod names;
pub(crate) mod ovs;
pub(crate) mod server;
pub(crate) mod stock;
pub(crate) mod traffic;
pub(crate) mod uplink;
