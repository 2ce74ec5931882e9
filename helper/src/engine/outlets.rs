//! The host's interfaces as what containers can be wired to.

use super::{ContainerId, Engine, Error, HostInterface, Result, disk};
use crate::network::uplink::ways_out;
use gantry_core::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const CLASS: &str = "/sys/class/net";

/// Why one cannot be bridged, and what does instead.
const WIRELESS: &str = "a wireless card cannot be a bridge's port: its access point takes frames of one address only; use a network with NAT, or type ipvlan";

/// An interface of the host, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outlet {
    /// The interface.
    pub(crate) interface: HostInterface,
    /// Whether it carries packets, in the kernel's words (RFC 2863): up, down,
    /// lowerlayerdown, dormant, unknown, …
    pub(crate) state: String,
    /// Whether the host reaches others by it.
    pub(crate) is_way_out: bool,
    /// The containers whose configs name it.
    pub(crate) used_by: Vec<String>,
    /// The types of a container's interface that it can be the link of, and `port` if a
    /// bridge can have it.
    pub(crate) serves: &'static [&'static str],
    /// What else is to be known; empty mostly.
    pub(crate) note: &'static str,
}

impl Engine {
    /// What containers can be wired to.
    pub(crate) async fn outlets(&self) -> Result<Vec<Outlet>> {
        let ways_out = ways_out().await?;
        let mut users = self.users_of_links().await?;
        let outlets = self.host_interfaces().await?.into_iter().map(|interface| {
            let state = Path::new(CLASS).join(&interface.name).join("operstate");
            let state = std::fs::read_to_string(state).unwrap_or_default();
            Outlet {
                state: state.trim_end().to_owned(),
                is_way_out: ways_out.contains(&interface.name),
                used_by: users.remove(&interface.name).unwrap_or_default(),
                serves: serves(&interface),
                note: if interface.is_wireless { WIRELESS } else { "" },
                interface,
            }
        });
        Ok(outlets.collect())
    }

    /// Refuses to take the host's way out from it in passing.
    pub(super) async fn refuse_way_out(&self, id: &ContainerId, name: &str) -> Result<()> {
        if !ways_out().await?.contains(name) {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "the host reaches others by '{name}' and would be cut off; give container '{}' an interface of type phys, which comes back unless that is confirmed, or the option confirmed",
            id.name
        )))
    }

    /// The containers whose configs name a link, by link.
    async fn users_of_links(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for facts in self.list().await? {
            let name = &facts.id.name;
            // One that cannot be read is shown as such elsewhere.
            let config = disk::read_config(&self.layout(name).config());
            let settings = config.and_then(|file| Ok(Settings::from_config(&file.config)?));
            let Ok(settings) = settings else { continue };
            let links: BTreeSet<String> = settings
                .networks
                .into_values()
                .filter_map(|network| network.link)
                .collect();
            for link in links {
                users.entry(link).or_default().push(name.to_string());
            }
        }
        Ok(users)
    }
}

/// What an interface can be the link of.
fn serves(interface: &HostInterface) -> &'static [&'static str] {
    match interface.kind.as_str() {
        // The host's end of a container's.
        _ if interface.alias.starts_with("gantry:") && interface.kind == "veth" => &[],
        _ if interface.is_wireless => &["ipvlan"],
        "bridge" => &["veth", "macvlan", "ipvlan", "vlan"],
        "openvswitch" => &["veth"],
        _ if !interface.master.is_empty() => &["vlan"],
        // Without addresses of Ethernet.
        _ if interface.hwaddr.is_empty() => &["phys"],
        _ => &["port", "macvlan", "ipvlan", "vlan", "phys"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_serves_as_what_it_can() {
        let of = |kind: &str, master: &str, alias: &str| HostInterface {
            index: 1,
            alias: alias.to_owned(),
            name: "x".to_owned(),
            kind: kind.to_owned(),
            up: true,
            is_wireless: false,
            hwaddr: "00:16:3e:00:00:01".to_owned(),
            master: master.to_owned(),
            addresses: Vec::new(),
        };
        let mut card = of("physical", "", "");
        assert!(serves(&card).contains(&"port") && serves(&card).contains(&"phys"));
        card.is_wireless = true;
        assert_eq!(serves(&card), ["ipvlan"]);
        assert!(WIRELESS.contains("cannot be a bridge's port"));
        assert_eq!(serves(&of("physical", "br0", "")), ["vlan"]);
        assert!(serves(&of("bridge", "", "gantry")).contains(&"veth"));
        assert_eq!(serves(&of("veth", "br0", "gantry:web:eth0")), [""; 0]);
    }
}
