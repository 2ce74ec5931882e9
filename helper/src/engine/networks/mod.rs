//! Networks: those that are described, and the bridges that others run.
//!
//! One that Gantry has brought up has a directory below [`RUN_DIRECTORY`], with a record
//! from before the first step until after the last. Whatever the helper was doing when
//! it was killed, the next one finds the record, and either brings the network up, every
//! step of which may be done again, or goes on taking it down.

mod belongings;
mod bridges;
mod change;
mod keeper;
mod services;
mod up;
mod uplink;

pub(crate) use change::{NetworkChange, NewForward};
pub(crate) use services::HostServices;

use super::{Engine, Error, Result};
use crate::linux::netlink::Netlink;
use crate::network::definitions::{self, Definition};
use crate::network::interfaces::HostInterface;
use crate::network::{bridge, ovs, server, uplink as uplinks};
use gantry_core::name::InterfaceName;
use gantry_core::networks::{Driver, Forward, Network, Places, Reservation};
use std::collections::BTreeMap;
use std::time::Duration;

/// Changes of interfaces come in bunches.
const SETTLE: Duration = Duration::from_millis(50);

/// A port of a network's bridge: the host's interface; the container and its interface
/// there, as far as is known.
pub(crate) type Port = (String, String, String);

/// What is known about a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkFacts {
    /// Its name, which is that of its bridge.
    pub(crate) name: String,
    /// `bridge` or `ovs`.
    pub(crate) driver: &'static str,
    /// Whether Gantry runs it, or would; or else somebody else does.
    pub(crate) managed: bool,
    /// Whether its bridge is up.
    pub(crate) up: bool,
    /// The host's addresses in it, with prefix lengths.
    pub(crate) addresses: Vec<String>,
    /// Whether containers' addresses are hidden behind the host's.
    pub(crate) nat: bool,
    /// Whether nothing passes between it and other networks.
    pub(crate) isolated: bool,
    /// The interface of the host that is a port of its bridge; empty if none.
    pub(crate) uplink: String,
    /// Whether addresses are given out.
    pub(crate) dhcp: bool,
    /// The first and the last of them, with a comma between.
    pub(crate) dhcp_range: String,
    /// The domain of its containers.
    pub(crate) domain: String,
    /// Whether it comes up with the host.
    pub(crate) autostart: bool,
    /// What is plugged into it.
    pub(crate) ports: Vec<Port>,
    /// Why its description cannot be used; empty when it can.
    pub(crate) fault: String,
}

impl Engine {
    /// Every network, by name.
    pub(crate) async fn networks(&self) -> Result<Vec<NetworkFacts>> {
        let links = bridge::list().await?;
        let mut found: BTreeMap<String, NetworkFacts> = definitions::all()?
            .iter()
            .map(|definition| {
                (
                    definition.name.as_str().to_owned(),
                    described(definition, &links),
                )
            })
            .collect();
        for link in &links {
            if matches!(link.kind.as_str(), "bridge" | "openvswitch")
                && link.name != ovs::DATAPATH
                && !found.contains_key(&link.name)
            {
                found.insert(link.name.clone(), others(link, &links));
            }
        }
        Ok(found.into_values().collect())
    }

    /// One network.
    pub(crate) async fn network(&self, name: &str) -> Result<NetworkFacts> {
        let all = self.networks().await?;
        all.into_iter()
            .find(|facts| facts.name == name)
            .ok_or_else(|| no_network(name))
    }

    /// The leases of a network that Gantry runs.
    pub(crate) async fn leases(&self, name: &str) -> Result<Vec<server::Lease>> {
        let name = self.described(name).await?.name;
        server::leases(&Places::of(&name))
    }

    /// The ports of the host that lead into a network.
    pub(crate) async fn forwards(&self, name: &str) -> Result<Vec<Forward>> {
        Ok(self.described(name).await?.network?.forwards)
    }

    /// The addresses that are spoken for in a network.
    pub(crate) async fn reservations(&self, name: &str) -> Result<Vec<Reservation>> {
        Ok(self.described(name).await?.network?.reservations)
    }

    /// The description of a network that has one.
    async fn described(&self, name: &str) -> Result<Definition> {
        match definitions::find(name)? {
            Some(definition) => Ok(definition),
            None => match bridge::find(name).await? {
                Some(_) => Err(Error::WrongState(format!(
                    "the bridge {name} is run by another program; change it there"
                ))),
                None => Err(no_network(name)),
            },
        }
    }
}

/// Tells of changes of the host's interfaces.
#[derive(Debug)]
pub(crate) struct NetworkChanges(Netlink);

impl NetworkChanges {
    /// From now on.
    pub(crate) fn watch() -> Result<Self> {
        let failed = |error: std::io::Error| Error::io("watching the network interfaces", &error);
        let socket = Netlink::open().map_err(failed)?;
        socket.subscribe().map_err(failed)?;
        Ok(Self(socket))
    }

    /// Returns when something has changed, and has settled.
    pub(crate) async fn changed(&self) -> Result<()> {
        let failed = |error: std::io::Error| Error::io("watching the network interfaces", &error);
        self.0.changed().await.map_err(failed)?;
        tokio::time::sleep(SETTLE).await;
        Ok(())
    }
}

fn no_network(name: &str) -> Error {
    Error::NotFound(format!("there is no network {name:?}"))
}

fn described(definition: &Definition, links: &[HostInterface]) -> NetworkFacts {
    let name = definition.name.as_str();
    let link = links.iter().find(|link| link.name == name);
    let places = Places::of(&definition.name);
    let bare = Network::new(definition.name.clone());
    let (network, fault) = match &definition.network {
        Ok(network) => (network, String::new()),
        Err(error) => (&bare, error.to_string()),
    };
    // What has been unplugged since is told where people look.
    let fault = match uplinks::check(network, links) {
        Err(error) if fault.is_empty() => error.to_string(),
        _ => fault,
    };
    let wanted = network.addresses().map(|home| home.to_string()).collect();
    let range = network.range();
    NetworkFacts {
        name: name.to_owned(),
        driver: network.driver.word(),
        managed: link.is_none_or(|link| bridge::is_ours(link, &places)),
        up: link.is_some_and(|link| link.up),
        addresses: link.map_or(wanted, lasting),
        nat: network.nat4.is_some() || network.nat6.is_some(),
        isolated: network.isolated,
        uplink: network.uplink.clone(),
        dhcp: network.dhcp,
        dhcp_range: range.map_or_else(String::new, |(first, last)| format!("{first},{last}")),
        domain: network.domain.clone(),
        autostart: network.autostart,
        ports: ports(link, links),
        fault,
    }
}

/// A bridge that nothing of ours describes.
fn others(link: &HostInterface, links: &[HostInterface]) -> NetworkFacts {
    let driver = match link.kind.as_str() {
        "openvswitch" => Driver::Ovs,
        _ => Driver::Bridge,
    };
    NetworkFacts {
        name: link.name.clone(),
        driver: driver.word(),
        managed: false,
        up: link.up,
        addresses: lasting(link),
        nat: false,
        isolated: false,
        uplink: String::new(),
        dhcp: false,
        dhcp_range: String::new(),
        domain: String::new(),
        autostart: false,
        ports: ports(Some(link), links),
        fault: String::new(),
    }
}

/// Its addresses but for those that the kernel gives every interface.
fn lasting(link: &HostInterface) -> Vec<String> {
    let addresses = link.addresses.iter();
    addresses
        .filter(|address| !address.starts_with("fe80:"))
        .cloned()
        .collect()
}

fn ports(link: Option<&HostInterface>, links: &[HostInterface]) -> Vec<Port> {
    let Some(bridge) = link else {
        return Vec::new();
    };
    let plugged = links.iter().filter(|port| port.master == bridge.name);
    plugged
        .map(|port| {
            let (container, inside) = whose(port).unwrap_or_default();
            // Where the kernel has numbered it, what was asked for is no name.
            let inside = if inside.contains('%') { "" } else { inside };
            (port.name.clone(), container.to_owned(), inside.to_owned())
        })
        .collect()
}

/// The container whose interface has its other end in a port, and that interface's name, as
/// its monitor notes them on the port.
fn whose(port: &HostInterface) -> Option<(&str, &str)> {
    port.alias.strip_prefix("gantry:")?.split_once(':')
}

/// A name for a network, as an interface may have it.
pub(crate) fn network_name(name: &str) -> Result<InterfaceName> {
    InterfaceName::new(name).map_err(|error| {
        Error::InvalidName(format!(
            "{:?} cannot be a network's name: {error}",
            shortened(name)
        ))
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_tell_whose_they_are() {
        let link = |name: &str, master: &str, alias: &str| HostInterface {
            index: 1,
            alias: alias.to_owned(),
            name: name.to_owned(),
            kind: "veth".to_owned(),
            up: true,
            hwaddr: String::new(),
            master: master.to_owned(),
            addresses: Vec::new(),
            is_wireless: false,
        };
        let bridge = link("br0", "", "");
        let links = [
            bridge.clone(),
            link("v1", "br0", "gantry:web:eth0"),
            link("v2", "br0", "gantry:db:eth%d"),
            link("v3", "br0", ""),
            link("v4", "br1", "gantry:x:eth0"),
        ];
        let of = |name: &str, container: &str, inside: &str| -> Port {
            (name.to_owned(), container.to_owned(), inside.to_owned())
        };
        assert_eq!(
            ports(Some(&bridge), &links),
            [
                of("v1", "web", "eth0"),
                of("v2", "db", ""),
                of("v3", "", "")
            ]
        );
    }
}
