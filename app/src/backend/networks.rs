use std::collections::HashMap;

use gantry_api::{ManagerProxy, NetworkProxy, Result};
use zbus::zvariant::Value;

use super::{
    Backend,
    calls::path,
    properties::{Properties, read},
};

/// A network as the helper last described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The object's path on the bus: its identity.
    pub path: String,
    /// Its name, which is that of its bridge.
    pub name: String,
    /// What switches its frames: `bridge` or `ovs`.
    pub driver: String,
    /// Whether Gantry runs it, or would; or else another program does.
    pub managed: bool,
    /// Whether its bridge is up.
    pub up: bool,
    /// This computer's addresses in it, with prefix lengths.
    pub addresses: Vec<String>,
    /// Whether its containers' addresses are hidden behind this computer's.
    pub nat: bool,
    /// Whether nothing passes between it and other networks.
    pub isolated: bool,
    /// The interface of this computer that joins it to the net outside; empty if none.
    pub uplink: String,
    /// Whether addresses are given out.
    pub dhcp: bool,
    /// The first and the last of them, with a comma between.
    pub dhcp_range: String,
    /// The domain of its containers; empty if none.
    pub domain: String,
    /// Whether it comes up with this computer.
    pub autostart: bool,
    /// What is plugged into it.
    pub ports: Vec<Port>,
    /// Why its description cannot be used; empty when it can.
    pub fault: String,
}

/// Something that is plugged into a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// The interface of this computer.
    pub host: String,
    /// The container at the other end; empty where that is not known.
    pub container: String,
    /// The container's interface; empty where that is not known.
    pub inside: String,
}

impl Network {
    pub(super) fn read(&mut self, from: &Properties) {
        read(from, "Name", &mut self.name);
        read(from, "Driver", &mut self.driver);
        read(from, "Managed", &mut self.managed);
        read(from, "Up", &mut self.up);
        read(from, "Addresses", &mut self.addresses);
        read(from, "Nat", &mut self.nat);
        read(from, "Isolated", &mut self.isolated);
        read(from, "Uplink", &mut self.uplink);
        read(from, "Dhcp", &mut self.dhcp);
        read(from, "DhcpRange", &mut self.dhcp_range);
        read(from, "Domain", &mut self.domain);
        read(from, "Autostart", &mut self.autostart);
        read(from, "Fault", &mut self.fault);
        if from.contains_key("Ports") {
            let mut ports: Vec<(String, String, String)> = Vec::new();
            read(from, "Ports", &mut ports);
            let port = |(host, container, inside)| Port {
                host,
                container,
                inside,
            };
            self.ports = ports.into_iter().map(port).collect();
        }
    }

    /// This computer's address of a family, with its prefix length; empty if none.
    #[must_use]
    pub fn address(&self, v6: bool) -> &str {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|address| address.contains(':') == v6);
        found.map_or("", String::as_str)
    }
}

/// What a network is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// What switches its frames: `bridge` or `ovs`.
    pub driver: String,
    /// This computer's IPv4 address in it, with the prefix length; empty: none.
    pub ipv4: String,
    /// The same of IPv6.
    pub ipv6: String,
    /// Whether addresses are given out.
    pub dhcp: bool,
    /// The first and the last of them, with a comma between; empty: all others.
    pub dhcp_range: String,
    /// Whether its containers' addresses are hidden behind this computer's.
    pub nat: bool,
    /// Whether nothing passes between it and other networks.
    pub isolated: bool,
    /// The interface of this computer that joins it to the net outside; empty: none.
    pub uplink: String,
    /// The domain of its containers; empty: none.
    pub domain: String,
    /// Whether it comes up with this computer.
    pub autostart: bool,
}

/// What a network has given away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Addresses, for a while.
    pub leases: Vec<Lease>,
    /// Addresses, for good.
    pub reservations: Vec<Reservation>,
    /// Ports of this computer.
    pub forwards: Vec<Forward>,
}

/// An address that was given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The hardware address of who has it.
    pub mac: String,
    /// The address.
    pub address: String,
    /// What its holder calls itself; may be empty.
    pub name: String,
    /// Until when, in seconds since 1970; 0: for ever.
    pub expires: i64,
}

/// A port of this computer that leads to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// This computer's port.
    pub host_port: u16,
    /// The container.
    pub container: String,
    /// The container's port.
    pub port: u16,
}

impl Forward {
    /// This computer's port in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}/{}", self.host_port, self.protocol)
    }
}

/// An address that is always the same one's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// The hardware address of who gets it.
    pub mac: String,
    /// The address.
    pub address: String,
    /// The name that it has in the network; empty: what it calls itself.
    pub name: String,
}

/// How a bridge treats a port; none stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortChange {
    /// Whether frames go back by the port that they came from.
    pub hairpin: Option<bool>,
    /// Whether nothing passes between it and others that are isolated.
    pub isolated: Option<bool>,
}

impl Backend {
    /// Brings a network up.
    ///
    /// # Errors
    /// Those of `Network.Up` in the contract.
    pub async fn network_up(&self, network: &str) -> Result<()> {
        self.network(network).await?.up().await
    }

    /// Takes a network down.
    ///
    /// # Errors
    /// Those of `Network.Down` in the contract: `HasDependents` while something is
    /// plugged into it.
    pub async fn network_down(&self, network: &str) -> Result<()> {
        self.network(network).await?.down().await
    }

    /// Makes a network.
    ///
    /// # Errors
    /// Those of `Manager.CreateNetwork` in the contract.
    pub async fn create_network(&self, new: &NewNetwork) -> Result<()> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let mut options = options(new);
        // What is not given is none.
        options.retain(|_, value| *value != Value::from(""));
        manager.create_network(&new.name, options).await.map(|_| ())
    }

    /// Makes a network what it is to be, in what differs from what it was.
    ///
    /// # Errors
    /// Those of `Network.Configure` in the contract.
    pub async fn configure_network(
        &self,
        network: &str,
        (old, new): (&NewNetwork, &NewNetwork),
    ) -> Result<()> {
        let (before, mut options) = (options(old), options(new));
        options.retain(|key, value| before.get(key) != Some(value));
        self.network(network).await?.configure(options).await
    }

    /// Has Gantry run a network whose bridge another program has made.
    ///
    /// # Errors
    /// Those of `Network.Configure` in the contract.
    pub async fn take_over_network(&self, network: &str) -> Result<()> {
        let options = HashMap::from([("take_over", true.into())]);
        self.network(network).await?.configure(options).await
    }

    /// Forgets a network; `force`, also when the configuration of a container names it.
    ///
    /// # Errors
    /// Those of `Network.Delete` in the contract.
    pub async fn delete_network(&self, network: &str, force: bool) -> Result<()> {
        let options = HashMap::from([("force", force.into())]);
        self.network(network).await?.delete(options).await
    }

    /// What a network has given away.
    ///
    /// # Errors
    /// Those of `Network.Leases`, `Network.Reservations` and `Network.Forwards` in the
    /// contract.
    pub async fn given(&self, network: &str) -> Result<Given> {
        let proxy = self.network(network).await?;
        let leases = proxy.leases().await?.into_iter();
        let reservations = proxy.reservations().await?.into_iter();
        let forwards = proxy.forwards().await?.into_iter();
        let port = |number: u32| u16::try_from(number).unwrap_or_default();
        Ok(Given {
            leases: leases
                .map(|(mac, address, name, expires)| Lease {
                    mac,
                    address,
                    name,
                    expires,
                })
                .collect(),
            reservations: reservations
                .map(|(mac, address, name)| Reservation { mac, address, name })
                .collect(),
            forwards: forwards
                .map(|(protocol, host_port, container, inside)| Forward {
                    protocol,
                    host_port: port(host_port),
                    container,
                    port: port(inside),
                })
                .collect(),
        })
    }

    /// Has an interface always get the same address.
    ///
    /// # Errors
    /// Those of `Network.AddReservation` in the contract.
    pub async fn reserve(&self, network: &str, new: &Reservation) -> Result<()> {
        let proxy = self.network(network).await?;
        proxy
            .add_reservation(&new.mac, &new.address, &new.name)
            .await
    }

    /// Lets an interface get any address again.
    ///
    /// # Errors
    /// Those of `Network.RemoveReservation` in the contract.
    pub async fn unreserve(&self, network: &str, mac: &str) -> Result<()> {
        self.network(network).await?.remove_reservation(mac).await
    }

    /// Has a port of this computer lead to a container.
    ///
    /// # Errors
    /// Those of `Network.AddForward` in the contract.
    pub async fn forward(&self, network: &str, new: &Forward) -> Result<()> {
        let (host_port, port) = (new.host_port.into(), new.port.into());
        let proxy = self.network(network).await?;
        proxy
            .add_forward(
                &new.protocol,
                host_port,
                &new.container,
                port,
                HashMap::new(),
            )
            .await
    }

    /// Has a port of this computer lead nowhere again.
    ///
    /// # Errors
    /// Those of `Network.RemoveForward` in the contract.
    pub async fn forward_no_more(&self, network: &str, forward: &Forward) -> Result<()> {
        let proxy = self.network(network).await?;
        proxy
            .remove_forward(&forward.protocol, forward.host_port.into())
            .await
    }

    /// Has a network's bridge treat a port otherwise until the port is gone.
    ///
    /// # Errors
    /// Those of `Network.SetPort` in the contract.
    pub async fn set_port(&self, network: &str, port: &str, change: PortChange) -> Result<()> {
        let changes = [("hairpin", change.hairpin), ("isolated", change.isolated)];
        let changes = changes
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?.into())));
        let proxy = self.network(network).await?;
        proxy.set_port(port, changes.collect()).await
    }

    /// The names of the system's containers.
    ///
    /// # Errors
    /// Those of `Manager.ListContainers` in the contract.
    pub async fn system_containers(&self) -> Result<Vec<String>> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let list = manager.list_containers(HashMap::new()).await?.into_iter();
        let of_system = list.filter(|(_, owner, ..)| owner == "system");
        Ok(of_system.map(|(name, ..)| name).collect())
    }

    pub(super) async fn network(&self, network: &str) -> Result<NetworkProxy<'static>> {
        let bus = self.bus()?;
        Ok(NetworkProxy::builder(&bus)
            .path(path(network)?)?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?)
    }
}

fn options(new: &NewNetwork) -> HashMap<&'static str, Value<'_>> {
    HashMap::from([
        ("driver", new.driver.as_str().into()),
        ("ipv4", new.ipv4.as_str().into()),
        ("ipv6", new.ipv6.as_str().into()),
        ("dhcp", new.dhcp.into()),
        ("dhcp_range", new.dhcp_range.as_str().into()),
        ("nat", new.nat.into()),
        ("isolated", new.isolated.into()),
        ("uplink", new.uplink.as_str().into()),
        ("domain", new.domain.as_str().into()),
        ("autostart", new.autostart.into()),
    ])
}
