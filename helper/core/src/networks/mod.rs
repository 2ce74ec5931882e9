//! Networks of the host that containers are wired to: what describes one, where its
//! description stands, and what of it cannot be.
//!
//! The one that LXC has everywhere, `lxcbr0`, is described by the variables of
//! /etc/default/lxc-net ([`lxc_net`]); others have a file each ([`file`]).

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
    /// How many, at most.
    pub lease_limit: u32,
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
    /// Whether it comes up with the host, or else when a container needs it.
    pub autostart: bool,
    /// Addresses that are spoken for.
    pub reservations: Vec<Reservation>,
    /// Ports that lead into it.
    pub forwards: Vec<Forward>,
}

/// Leases, where nothing is said of their number: as many as LXC gives out.
const LEASES: u32 = 253;

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
            lease_limit: LEASES,
            dhcp_ping: true,
            dnsmasq_file: String::new(),
            domain: String::new(),
            nat4: None,
            nat6: None,
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

    /// Whether a dnsmasq serves it: addresses, names or advertisements.
    pub fn has_server(&self) -> bool {
        self.addresses().next().is_some()
            && (self.dhcp || self.ipv6.is_some() || !self.domain.is_empty())
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

    /// What of the description cannot be, looking at nothing else.
    ///
    /// # Errors
    /// A sentence for whoever wrote it.
    pub fn check(&self) -> Result<(), Impossible> {
        let name = self.name.as_str();
        if !is_plain(name) || [UNFINISHED, "lo", "all", "default"].contains(&name) {
            return Err(Impossible::new(
                "name",
                format!(
                    "{name:?} cannot be a network's name; use letters, digits, '-', '_' and '.', beginning with a letter"
                ),
            ));
        }
        for (key, subnet, v4) in [("ipv4", self.ipv4, true), ("ipv6", self.ipv6, false)] {
            let Some(home) = subnet else { continue };
            let alone = home.address.is_unspecified()
                || home.address.is_loopback()
                || home.address.is_multicast();
            if home.address.is_ipv4() != v4 || alone || !home.has_room_for(home.address) {
                return Err(Impossible::new(
                    key,
                    format!(
                        "{home} cannot be the host's address in a network; give one of its hosts, such as {}",
                        if v4 {
                            "10.0.4.1/24"
                        } else {
                            "fd12:3456:789a::1/64"
                        }
                    ),
                ));
            }
        }
        self.check_range()?;
        if !self.domain.is_empty() && !is_domain(&self.domain) {
            return Err(Impossible::new(
                "domain",
                format!(
                    "{:?} is not a domain; use parts of letters, digits and inner '-', joined by dots",
                    short(&self.domain)
                ),
            ));
        }
        let file = &self.dnsmasq_file;
        if !file.is_empty() && (!file.starts_with('/') || file.chars().any(char::is_control)) {
            return Err(Impossible::new(
                "dnsmasq_file",
                format!("{:?} is not an absolute path", short(file)),
            ));
        }
        for (number, reservation) in self.reservations.iter().enumerate() {
            self.check_reservation(
                reservation,
                self.reservations.get(..number).unwrap_or_default(),
            )?;
        }
        Ok(())
    }

    fn check_range(&self) -> Result<(), Impossible> {
        let wrong = |sentence: String| Err(Impossible::new("dhcp_range", sentence));
        let Some(home) = self.ipv4 else {
            if self.dhcp || self.dhcp_range.is_some() {
                return wrong("addresses cannot be given out without ipv4; give the host's address, such as 10.0.4.1/24".to_owned());
            }
            return Ok(());
        };
        if self.dhcp && home.prefix > 30 {
            return wrong(format!(
                "{home} has no room for others; give a shorter prefix"
            ));
        }
        let Some((first, last)) = self.dhcp_range else {
            return Ok(());
        };
        if !home.has_room_for(first) || !home.has_room_for(last) {
            return wrong(format!(
                "the range {first},{last} is not within {}; give addresses of hosts in that net",
                home.net()
            ));
        }
        if number(first) > number(last) {
            return wrong(format!("the range {first},{last} begins after its end"));
        }
        Ok(())
    }

    fn check_reservation(
        &self,
        reservation: &Reservation,
        others: &[Reservation],
    ) -> Result<(), Impossible> {
        let wrong = |sentence: String| Err(Impossible::new("reservation", sentence));
        let Reservation { mac, address, name } = reservation;
        if parse_mac(mac).is_none() {
            return wrong(format!(
                "{:?} is not a MAC address; write it as 00:16:3e:12:34:56",
                short(mac)
            ));
        }
        let Some(home) = self.ipv4.filter(|_| self.dhcp) else {
            return wrong("the network gives out no addresses; switch dhcp on".to_owned());
        };
        if !home.has_room_for(*address) {
            return wrong(format!(
                "{address} is not an address of a host in {}",
                home.net()
            ));
        }
        if *address == home.address {
            return wrong(format!("{address} is taken: it is the host's own"));
        }
        if !name.is_empty() && !is_domain(name) {
            return wrong(format!("{:?} is not a host name", short(name)));
        }
        for other in others {
            if other.address == *address {
                return wrong(format!(
                    "{address} is taken: it is reserved for {}",
                    other.mac
                ));
            }
            if other.mac == *mac {
                return wrong(format!(
                    "{mac} has a reservation already, of {}",
                    other.address
                ));
            }
        }
        Ok(())
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

/// A name that nftables, dnsmasq and sysctl take as it is.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
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
    fn what_cannot_be_is_told_in_words() {
        let told = |network: Network| network.check().unwrap_err().to_string();
        assert_eq!(
            network("10.0.3.1/24", Some(("10.0.3.2", "10.0.3.9"))).check(),
            Ok(())
        );
        assert!(
            told(network("10.0.3.1/24", Some(("10.0.3.2", "10.0.4.9")))).contains("10.0.3.0/24")
        );
        assert!(
            told(network("10.0.3.1/24", Some(("10.0.3.9", "10.0.3.2")))).contains("begins after")
        );
        assert!(told(network("10.0.3.0/24", None)).contains("10.0.3.0/24"));
        assert!(told(network("10.0.3.1/31", None)).contains("no room"));
        assert!(told(network("127.0.0.1/8", None)).contains("127.0.0.1"));
        let mut named = network("10.0.3.1/24", None);
        named.domain = "a b".to_owned();
        assert!(told(named).contains("domain"));
        let mut bare = network("10.0.3.1/24", None);
        bare.ipv4 = None;
        assert!(told(bare).contains("without ipv4"));
    }

    #[test]
    fn reserved_addresses_are_in_the_net_and_free() {
        let reserve = |mac: &str, address: &str, name: &str| Reservation {
            mac: mac.to_owned(),
            address: address.parse().unwrap(),
            name: name.to_owned(),
        };
        let check = |reservations: &[Reservation]| {
            let mut network = network("10.0.3.1/24", None);
            network.reservations = reservations.to_vec();
            network.check().map_err(|error| error.sentence)
        };
        let web = reserve("00:16:3e:00:00:01", "10.0.3.7", "web");
        assert_eq!(check(std::slice::from_ref(&web)), Ok(()));
        for (bad, why) in [
            (reserve("00:16:3e:00:00:02", "10.0.3.7", ""), "reserved for"),
            (reserve("00:16:3e:00:00:01", "10.0.3.8", ""), "already"),
            (reserve("00:16:3e:00:00:02", "10.0.3.1", ""), "host's own"),
            (reserve("00:16:3e:00:00:02", "10.0.4.1", ""), "10.0.3.0/24"),
            (reserve("+0:16:3e:00:00:02", "10.0.3.9", ""), "MAC"),
            (reserve("00:16:3e:00:00:02", "10.0.3.9", "a,b"), "host name"),
        ] {
            let told = check(&[web.clone(), bad]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
