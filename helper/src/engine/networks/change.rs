//! Making networks, changing what they are, and what leads into them.

use super::up::{overlapping, refuse_used};
use super::{network_name, no_network};
use crate::engine::{Engine, Error, Result, disk};
use crate::linux::listeners;
use crate::network::definitions::{self, Definition, Source};
use crate::network::{bridge, server};
use gantry_core::name::ContainerName;
use gantry_core::networks::file::parse_range;
use gantry_core::networks::{
    Driver, Forward, Impossible, Network, Places, Reservation, Subnet, number,
};
use gantry_core::settings::Settings;
use std::net::IpAddr;
use std::path::Path;

/// What is to be different about a network; none stays as it is. Empty texts take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkChange {
    /// `bridge` or `ovs`.
    pub(crate) driver: Option<String>,
    /// The host's address and its prefix length.
    pub(crate) ipv4: Option<String>,
    /// The same of IPv6.
    pub(crate) ipv6: Option<String>,
    /// The first and the last address to give out.
    pub(crate) dhcp_range: Option<String>,
    /// The domain of its containers.
    pub(crate) domain: Option<String>,
    /// Whether addresses are given out.
    pub(crate) dhcp: Option<bool>,
    /// Whether containers' addresses are hidden behind the host's.
    pub(crate) nat: Option<bool>,
    /// Whether nothing passes between it and other networks.
    pub(crate) isolated: Option<bool>,
    /// The interface of the host that is a port of its bridge.
    pub(crate) uplink: Option<String>,
    /// Whether it comes up with the host.
    pub(crate) autostart: Option<bool>,
    /// Whether Gantry also runs it when another program has made its bridge.
    pub(crate) take_over: Option<bool>,
}

/// A port of the host that is to lead to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewForward {
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
    /// The host's port.
    pub(crate) host_port: u16,
    /// The container.
    pub(crate) container: ContainerName,
    /// The container's port.
    pub(crate) port: u16,
}

impl Engine {
    /// Describes a new network. It comes up when a container needs it.
    pub(crate) async fn create_network(&self, name: &str, change: &NetworkChange) -> Result<()> {
        let name = network_name(name)?;
        let _lock = self.0.networks.lock().await;
        if definitions::find(name.as_str())?.is_some()
            || bridge::find(name.as_str()).await?.is_some()
        {
            return Err(Error::Exists(format!(
                "there is an interface or a network {} already; choose another name",
                name.as_str()
            )));
        }
        let mut network = Network::new(name);
        let is_some = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        network.dhcp = is_some(&change.ipv4) && !is_some(&change.uplink);
        let nat = network.dhcp;
        apply(&mut network, change, nat)?;
        self.check_new(&network).await?;
        definitions::write(Source::Own, &network)
    }

    /// Changes what a network is; one that is up goes by it at once.
    pub(crate) async fn configure_network(&self, name: &str, change: &NetworkChange) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        if change.take_over == Some(true) && definitions::find(name)?.is_none() {
            self.describe_foreign(name).await?;
        }
        self.change_network(name, |network| {
            let nat = network.nat4.is_some() || network.nat6.is_some();
            if change.driver.as_deref().is_some_and(|word| word != network.driver.word())
                && Path::new(&network.places().record()).exists()
            {
                return Err(Error::WrongState(format!(
                    "the network {name} is up, and its bridge cannot become another; take it down first"
                )));
            }
            apply(network, change, nat)
        })
        .await
    }

    /// Forgets a network that no container is wired to, or, with `force`, only none
    /// that runs.
    pub(crate) async fn delete_network(&self, name: &str, force: bool) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        let definition = self.described(name).await?;
        definition.source.refuse_deletion(name)?;
        let facts = self.network(name).await?;
        if facts.managed {
            refuse_used(&facts)?;
        }
        let wired = if force {
            Vec::new()
        } else {
            self.wired_to(name).await?
        };
        if !wired.is_empty() {
            return Err(Error::HasDependents(format!(
                "the configs of {} name the network {name}, without which they do not start; change them, or force it",
                wired.join(", ")
            )));
        }
        self.take_down(&definition.name).await?;
        definitions::delete(&definition.name)
    }

    /// Has an interface always get the same address.
    pub(crate) async fn add_reservation(&self, name: &str, new: Reservation) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        self.change_network(name, |network| {
            network.reservations.push(new);
            Ok(())
        })
        .await
    }

    /// Lets an interface get any address again.
    pub(crate) async fn remove_reservation(&self, name: &str, mac: &str) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        let mac = mac.to_ascii_lowercase();
        self.change_network(name, |network| {
            let Some(at) = network.reservations.iter().position(|one| one.mac == mac) else {
                return Err(Error::NotFound(format!(
                    "nothing is reserved for {mac:?} in the network {name}"
                )));
            };
            let reservation = network.reservations.remove(at);
            match network
                .forwards
                .iter()
                .find(|one| one.address == reservation.address)
            {
                None => Ok(()),
                Some(forward) => Err(Error::HasDependents(format!(
                    "the host's port {} leads to {}; remove that forward first",
                    forward.host_port, reservation.address
                ))),
            }
        })
        .await
    }

    /// Has a port of the host lead to a container. A container with a changing address
    /// gets it for good.
    pub(crate) async fn add_forward(&self, name: &str, new: NewForward) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        let config = disk::read_config(&self.layout(&new.container).config())
            .map_err(|_| Error::NotFound(format!("there is no container '{}'", new.container)))?;
        let settings = Settings::from_config(&config.config)?;
        let leases = server::leases(&Places::of(&network_name(name)?))?;
        if listeners::has(&new.protocol, new.host_port)
            .map_err(|error| Error::io("looking at the host's ports", &error))?
        {
            return Err(Error::Exists(format!(
                "a program of the host serves its {} port {}, and could be reached no more; choose another host port",
                new.protocol, new.host_port
            )));
        }
        self.change_network(name, |network| {
            if let Some(taken) = network
                .forwards
                .iter()
                .find(|one| (&one.protocol, one.host_port) == (&new.protocol, new.host_port))
            {
                return Err(Error::Exists(format!(
                    "the host's {} port {} leads to container '{}' already",
                    taken.protocol, taken.host_port, taken.container
                )));
            }
            let address = lasting_address(network, &new.container, &settings, &leases)?;
            network.forwards.push(Forward {
                protocol: new.protocol,
                host_port: new.host_port,
                container: new.container.to_string(),
                address,
                port: new.port,
            });
            Ok(())
        })
        .await
    }

    /// Has a port of the host lead nowhere again.
    pub(crate) async fn remove_forward(&self, name: &str, protocol: &str, port: u16) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        self.change_network(name, |network| {
            let before = network.forwards.len();
            network
                .forwards
                .retain(|one| (one.protocol.as_str(), one.host_port) != (protocol, port));
            if network.forwards.len() == before {
                return Err(Error::NotFound(format!(
                    "the host's {protocol} port {port} leads nowhere in the network {name}"
                )));
            }
            Ok(())
        })
        .await
    }

    /// Checks and writes a change, and has a network that is up go by it.
    pub(super) async fn change_network(
        &self,
        name: &str,
        change: impl FnOnce(&mut Network) -> Result<()>,
    ) -> Result<()> {
        let Definition {
            name,
            source,
            network,
        } = self.described(name).await?;
        let mut network = network?;
        let before = network.clone();
        change(&mut network)?;
        network.check().map_err(refusal)?;
        if network == before {
            return Ok(());
        }
        self.check_new(&network).await?;
        definitions::write(source, &network)?;
        let is_taken = network.take_over && bridge::find(name.as_str()).await?.is_some();
        if !is_taken && !Path::new(&Places::of(&name).record()).exists() {
            return Ok(());
        }
        match definitions::find(name.as_str())? {
            Some(definition) => self.bring_up(definition).await,
            None => Err(no_network(name.as_str())),
        }
    }

    /// Refuses a net that is that of another network, up or not, or of an interface; and
    /// a port that another network has.
    async fn check_new(&self, network: &Network) -> Result<()> {
        let name = network.name.as_str();
        for other in definitions::all()? {
            let Ok(other) = &other.network else { continue };
            if other.name == network.name {
                continue;
            }
            for home in network.addresses() {
                if let Some(taken) = other.addresses().find(|taken| home.overlaps(*taken)) {
                    let of = format!("the network {}", other.name.as_str());
                    return Err(overlapping(name, home, &of, taken));
                }
            }
            if !network.uplink.is_empty() && network.uplink == other.uplink {
                return Err(Error::InvalidArgument(format!(
                    "{} is the uplink of the network {} already",
                    network.uplink,
                    other.name.as_str()
                )));
            }
            let port = |one: &Forward| (one.protocol.clone(), one.host_port);
            let taken = network.forwards.iter().find(|one| {
                other
                    .forwards
                    .iter()
                    .any(|theirs| port(theirs) == port(one))
            });
            if let Some(taken) = taken {
                return Err(Error::Exists(format!(
                    "the host's {} port {} leads into the network {} already",
                    taken.protocol,
                    taken.host_port,
                    other.name.as_str()
                )));
            }
        }
        self.check_network(network).await
    }

    /// The containers whose configs name a network.
    async fn wired_to(&self, name: &str) -> Result<Vec<String>> {
        let wired = |container: &ContainerName| {
            let config = disk::read_config(&self.layout(container).config()).ok()?;
            let settings = Settings::from_config(&config.config).ok()?;
            let mut links = settings
                .networks
                .values()
                .filter_map(|one| one.link.as_deref());
            links
                .any(|link| link == name)
                .then(|| container.to_string())
        };
        let all = self.list().await?;
        Ok(all
            .iter()
            .filter_map(|facts| wired(&facts.id.name))
            .collect())
    }
}

/// The sentence for whoever asked; `nat` is what holds where the change says nothing.
fn apply(network: &mut Network, change: &NetworkChange, nat: bool) -> Result<()> {
    if let Some(word) = &change.driver {
        network.driver = match Driver::from_word(word) {
            Some(driver) => driver,
            None => return Err(invalid("driver", word, "bridge or ovs")),
        };
    }
    for (key, text, place) in [
        ("ipv4", &change.ipv4, &mut network.ipv4),
        ("ipv6", &change.ipv6, &mut network.ipv6),
    ] {
        match text.as_deref() {
            None => {}
            Some("") => *place = None,
            Some(text) => {
                let parsed: Subnet = text.parse().map_err(|_| {
                    invalid(
                        key,
                        text,
                        "an address with a prefix length, such as 10.0.4.1/24",
                    )
                })?;
                *place = Some(parsed);
            }
        }
    }
    if change.ipv4.is_some() && change.dhcp_range.is_none() {
        // The old range would be one of another net.
        (network.dhcp_range, network.lease_limit) = (None, None);
    }
    network.dhcp = change.dhcp.unwrap_or(network.dhcp);
    if let Some(text) = &change.dhcp_range {
        network.lease_limit = None;
        network.dhcp_range = match text.as_str() {
            "" => None,
            text => Some(parse_range(text).ok_or_else(|| {
                invalid("dhcp_range", text, "a range such as 10.0.4.2,10.0.4.254")
            })?),
        };
    }
    if let Some(domain) = &change.domain {
        network.domain.clone_from(domain);
    }
    network.autostart = change.autostart.unwrap_or(network.autostart);
    network.take_over = change.take_over.unwrap_or(network.take_over);
    network.isolated = change.isolated.unwrap_or(network.isolated);
    if let Some(uplink) = change.uplink.as_ref().filter(|new| **new != network.uplink) {
        network.uplink.clone_from(uplink);
        network.uplink_confirmed = false;
    }
    // Nothing leaves an isolated network that could be hidden.
    let becomes_isolated = change.isolated == Some(true);
    let nat = change.nat.unwrap_or(nat && !becomes_isolated);
    // LXC's variables may hide more than the net itself: that stays, unless it is asked for.
    if change.nat.is_some() || change.ipv4.is_some() || becomes_isolated {
        network.nat4 = network.ipv4.map(Subnet::net).filter(|_| nat);
    }
    if change.nat.is_some() || change.ipv6.is_some() || becomes_isolated {
        network.nat6 = network.ipv6.map(Subnet::net).filter(|_| nat);
    }
    network.check().map_err(refusal)
}

fn invalid(key: &str, text: &str, what: &str) -> Error {
    Error::InvalidArgument(format!("{key}: {:?} is not {what}", super::shortened(text)))
}

pub(super) fn refusal(error: Impossible) -> Error {
    match error.key.as_str() {
        "name" => Error::InvalidName(error.sentence),
        key => Error::InvalidArgument(format!("{key}: {}", error.sentence)),
    }
}

/// The address at which a container is always found in a network: the one in its config,
/// or else one that is reserved for its interface from now on.
fn lasting_address(
    network: &mut Network,
    container: &ContainerName,
    settings: &Settings,
    leases: &[server::Lease],
) -> Result<IpAddr> {
    let name = network.name.as_str().to_owned();
    let mut wires = settings.networks.values();
    let wire = wires
        .find(|wire| wire.link.as_deref() == Some(&name))
        .ok_or_else(|| {
            Error::InvalidArgument(format!(
                "container '{container}' is not wired to the network {name}"
            ))
        })?;
    if let Some(assigned) = wire.ipv4.first() {
        return Ok(IpAddr::V4(assigned.address));
    }
    let mac = wire
        .hwaddr
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
        .to_ascii_lowercase();
    if gantry_core::networks::parse_mac(&mac).is_none() {
        return Err(Error::InvalidArgument(format!(
            "container '{container}' has another MAC address at every start, so that no address is its own; set lxc.net.N.hwaddr or lxc.net.N.ipv4.address for its interface on {name}"
        )));
    }
    if let Some(reserved) = network.reservations.iter().find(|one| one.mac == mac) {
        return Ok(reserved.address);
    }
    let present = leases.iter().find(|lease| lease.mac == mac);
    let address = match present.and_then(|lease| lease.address.parse().ok()) {
        Some(address) => address,
        None => free_address(network, leases)?,
    };
    network.reservations.push(Reservation {
        mac,
        address,
        name: String::new(),
    });
    Ok(address)
}

/// The last address that is neither given out nor reserved: dnsmasq begins elsewhere.
fn free_address(network: &Network, leases: &[server::Lease]) -> Result<IpAddr> {
    let full = || {
        Error::NoSpace(format!(
            "the network {} has no free address left",
            network.name.as_str()
        ))
    };
    let (home, (first, last)) = network.ipv4.zip(network.range()).ok_or_else(|| {
        Error::InvalidArgument(format!(
            "the network {} gives out no addresses; switch dhcp on",
            network.name.as_str()
        ))
    })?;
    let span = number(last).saturating_sub(number(first));
    let is_free = |address: &IpAddr| {
        *address != home.address
            && network
                .reservations
                .iter()
                .all(|one| one.address != *address)
            && leases
                .iter()
                .all(|lease| lease.address != address.to_string())
    };
    (0..=span)
        .rev()
        .map(|steps| home.after(first, steps))
        .find(is_free)
        .ok_or_else(full)
}
