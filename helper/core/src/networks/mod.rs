//! Networks of the host that containers are wired to: what describes one, where its
//! description stands, and what of it cannot be.
//!
//! The one that LXC has everywhere, `lxcbr0`, is described by the variables of
//! /etc/default/lxc-net ([`lxc_net`]); others have a file each ([`file`]).

mod check;
pub mod file;
mod lines;
pub mod lxc_net;
mod places;
mod subnet;

pub use places::{FIREWALL, FIREWALL_LOCK, Places, RUN_DIRECTORY, TABLE, UNFINISHED};
pub use subnet::{NotSubnet, Subnet, number};

use crate::name::{InterfaceName, NameError};
use std::fmt;
use std::net::IpAddr;

/// What switches frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's own bridge.
    #[default]
    Bridge,
    /// A bridge of Open vSwitch.
    Ovs,
}

impl Driver {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Ovs => "ovs",
        }
    }

    /// The driver of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Bridge, Self::Ovs]
            .into_iter()
            .find(|driver| driver.word() == word)
    }
}

/// An address that a container always gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its interface, in lower case.
    pub mac: String,
    /// What it gets.
    pub address: IpAddr,
    /// What it is called; empty for what it calls itself.
    pub name: String,
}

/// A port of the host that leads to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The host's port.
    pub host_port: u16,
    /// The container's name.
    pub container: String,
    /// The container's address when the forward was made.
    pub address: IpAddr,
    /// The container's port.
    pub port: u16,
}

/// What describes a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name, which is that of its bridge.
    pub name: InterfaceName,
    /// What switches its frames.
    pub driver: Driver,
    /// Its bridge's MAC address; the kernel's choice if none.
    pub mac: Option<[u8; 6]>,
    /// The host's IPv4 address in it.
    pub ipv4: Option<Subnet>,
    /// And its IPv6 address.
    pub ipv6: Option<Subnet>,
    /// Whether addresses of IPv4 are given out.
    pub dhcp: bool,
    /// The first and the last of them.
    pub dhcp_range: Option<(IpAddr, IpAddr)>,
    /// How many, at most; as many as the range has if none.
    pub lease_limit: Option<u32>,
    /// How long one is given out, as dnsmasq says it (`12h`); its own time if empty.
    pub lease_time: String,
    /// Whether an address is tried out before it is given out.
    pub dhcp_ping: bool,
    /// A file of dnsmasq's, for what is not said here; empty if none.
    pub dnsmasq_file: String,
    /// The domain of its containers; empty if none.
    pub domain: String,
    /// Whose addresses of IPv4 are hidden behind the host's when they leave.
    pub nat4: Option<Subnet>,
    /// And of IPv6.
    pub nat6: Option<Subnet>,
    /// Whether nothing passes between it and other networks: containers on it reach each
    /// other and the host.
    pub isolated: bool,
    /// The interface of the host that is a port of its bridge, so that containers are in
    /// the net outside themselves; empty if none.
    pub uplink: String,
    /// Whether somebody has confirmed that the host can still be reached with this uplink.
    pub uplink_confirmed: bool,
    /// Whether Gantry also runs it when another program has made its bridge.
    pub take_over: bool,
    /// Whether it comes up with the host, or else when a container needs it.
    pub autostart: bool,
    /// Addresses that are spoken for.
    pub reservations: Vec<Reservation>,
    /// Ports that lead into it.
    pub forwards: Vec<Forward>,
}

impl Network {
    /// A network of this name with nothing in it.
    pub fn new(name: InterfaceName) -> Self {
        Self {
            name,
            driver: Driver::default(),
            mac: None,
            ipv4: None,
            ipv6: None,
            dhcp: false,
            dhcp_range: None,
            lease_limit: None,
            lease_time: String::new(),
            dhcp_ping: true,
            dnsmasq_file: String::new(),
            domain: String::new(),
            nat4: None,
            nat6: None,
            isolated: false,
            uplink: String::new(),
            uplink_confirmed: false,
            take_over: false,
            autostart: false,
            reservations: Vec::new(),
            forwards: Vec::new(),
        }
    }

    /// Its places while it is up.
    pub fn places(&self) -> Places {
        Places::of(&self.name)
    }

    /// The host's addresses in it.
    pub fn addresses(&self) -> impl Iterator<Item = Subnet> {
        self.ipv4.into_iter().chain(self.ipv6)
    }

    /// Whether a dnsmasq serves it: addresses, names or advertisements. With an uplink
    /// whoever is outside does that.
    pub fn has_server(&self) -> bool {
        self.uplink.is_empty()
            && self.addresses().next().is_some()
            && (self.dhcp || self.ipv6.is_some() || !self.domain.is_empty())
    }

    /// How many addresses are given out at most.
    pub fn leases(&self) -> u32 {
        let span = |(first, last)| number(last).saturating_sub(number(first)).saturating_add(1);
        let all = || self.range().map_or(0, span).try_into().unwrap_or(u32::MAX);
        self.lease_limit.unwrap_or_else(all)
    }

    /// The addresses that are given out: what is said, or else all but the host's own.
    pub fn range(&self) -> Option<(IpAddr, IpAddr)> {
        let home = self.ipv4.filter(|_| self.dhcp)?;
        self.dhcp_range.or_else(|| {
            let (first, last) = (home.after(home.network(), 1), number(home.last()) - 1);
            let span = |from: IpAddr| (from, home.after(from, last - number(from)));
            Some(if home.address == first {
                span(home.after(first, 1))
            } else {
                span(first)
            })
        })
    }
}

/// Why a network cannot be as it is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Impossible {
    /// The key or variable.
    pub key: String,
    /// The line of the file; 0 if it is of no single line.
    pub line: u32,
    /// What is wrong, and what to do.
    pub sentence: String,
}

impl Impossible {
    /// Of a key, wherever it stands.
    pub fn new(key: &str, sentence: String) -> Self {
        Self {
            key: key.to_owned(),
            line: 0,
            sentence,
        }
    }
}

impl From<NameError> for Impossible {
    fn from(error: NameError) -> Self {
        Self::new("name", error.to_string())
    }
}

/// Reads six pairs of digits.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        // A sign would be taken, too.
        if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Somebody's text, fit for a sentence.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.mac, self.address, self.name)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            host_port,
            container,
            address,
            port,
        } = self;
        write!(f, "{protocol} {host_port} {container} {address} {port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ipv4: &str, range: Option<(&str, &str)>) -> Network {
        let mut network = Network::new(InterfaceName::new("br7").unwrap());
        network.ipv4 = Some(ipv4.parse().unwrap());
        network.dhcp = true;
        network.dhcp_range = range.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        network
    }

    #[test]
    fn the_range_is_all_but_the_hosts_own_address() {
        let range = |text: &str| {
            let (first, last) = network(text, None).range().unwrap();
            format!("{first},{last}")
        };
        assert_eq!(range("10.0.3.1/24"), "10.0.3.2,10.0.3.254");
        assert_eq!(range("10.0.3.254/24"), "10.0.3.1,10.0.3.254");
        assert_eq!(range("10.9.0.1/30"), "10.9.0.2,10.9.0.2");
    }

    #[test]
    fn as_many_addresses_are_given_out_as_there_are() {
        assert_eq!(network("10.4.0.1/16", None).leases(), 65_533);
        let mut few = network("10.4.0.1/16", Some(("10.4.0.2", "10.4.0.9")));
        assert_eq!(few.leases(), 8);
        few.lease_limit = Some(3);
        assert_eq!(few.leases(), 3);
        assert_eq!(Network::new(few.name).leases(), 0);
    }
}
