//! Where networks that are up have their files, and how what they have in the kernel is
//! known.

use crate::name::InterfaceName;

/// Where networks that are up have their files.
pub const RUN_DIRECTORY: &str = "/run/gantry/networks";
/// The rules that networks that are up need, for `nft -j -f`. In its own place, so that
/// whoever keeps a network can put them back.
pub const FIREWALL: &str = "/run/gantry/firewall.json";
/// Locked by whoever changes these rules.
pub const FIREWALL_LOCK: &str = "/run/gantry/firewall.lock";
/// The nftables table, of the family inet, that is all Gantry's.
pub const TABLE: &str = "gantry";
/// The name that a bridge has until it is marked as Gantry's.
pub const UNFINISHED: &str = "gantry-new";

/// The places of a network that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(InterfaceName);

impl Places {
    /// Those of the network of this name.
    pub fn of(name: &InterfaceName) -> Self {
        Self(name.clone())
    }

    fn file(&self, name: &str) -> String {
        format!("{RUN_DIRECTORY}/{}/{name}", self.0.as_str())
    }

    /// The directory of all others.
    pub fn directory(&self) -> String {
        format!("{RUN_DIRECTORY}/{}", self.0.as_str())
    }

    /// What was brought up, as its own file has it: there from before the first step until
    /// taking it down begins.
    pub fn record(&self) -> String {
        self.file("record")
    }

    /// Where [`Self::record`] goes before the first step of taking the network down.
    pub fn leaving(&self) -> String {
        self.file("leaving")
    }

    /// Locked by whoever keeps the network, who writes its pid into it.
    pub fn keeper(&self) -> String {
        self.file("keeper")
    }

    /// What dnsmasq reads; without it the network has none.
    pub fn server(&self) -> String {
        self.file("dnsmasq.conf")
    }

    /// Where dnsmasq writes its pid.
    pub fn server_pid(&self) -> String {
        self.file("dnsmasq.pid")
    }

    /// What the host had on the interface that is the network's uplink, for as long as it
    /// is a port of its bridge.
    pub fn uplink(&self) -> String {
        self.file("uplink")
    }

    /// There while nobody has confirmed that the host can still be reached.
    pub fn trial(&self) -> String {
        self.file("trial")
    }

    /// The leases, where LXC has them, too; they outlast the host's restart.
    pub fn leases(&self) -> String {
        format!("/var/lib/misc/dnsmasq.{}.leases", self.0.as_str())
    }

    /// The mark on a link that it was made for this network (`ifalias`). No container's
    /// name has a `/` in it.
    pub fn mark(&self) -> String {
        format!("gantry:network/{}", self.0.as_str())
    }
}
