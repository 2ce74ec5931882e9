//! Values of `lxc.net.N.*`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The type of an interface, `lxc.net.N.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkType {
    /// One end of a pair, the other on the host.
    Veth,
    /// A MAC address of its own on a host interface.
    Macvlan,
    /// An IP address of its own on a host interface.
    Ipvlan,
    /// A tagged subinterface of a host interface.
    Vlan,
    /// A host interface itself.
    Phys,
    /// Only loopback.
    Empty,
    /// The host's network.
    None,
}

impl NetworkType {
    /// Every type with its word.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("veth", Self::Veth),
        ("macvlan", Self::Macvlan),
        ("ipvlan", Self::Ipvlan),
        ("vlan", Self::Vlan),
        ("phys", Self::Phys),
        ("empty", Self::Empty),
        ("none", Self::None),
    ];

    /// Reads a word.
    pub fn parse(text: &str) -> Result<Self, String> {
        choose(text, &Self::WORDS)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(word, _)| word)
    }
}

/// `lxc.net.N.macvlan.mode`, see ip-link(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MacvlanMode {
    /// No traffic among those on one host interface.
    #[default]
    Private,
    /// Traffic among them goes over the switch.
    Vepa,
    /// Traffic among them stays on the host.
    Bridge,
    /// The host interface is for this one alone.
    Passthru,
}

impl MacvlanMode {
    /// Reads a word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = [
            ("private", Self::Private),
            ("vepa", Self::Vepa),
            ("bridge", Self::Bridge),
            ("passthru", Self::Passthru),
        ];
        choose(text, &words)
    }
}

/// `lxc.net.N.ipvlan.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpvlanMode {
    /// Routed.
    #[default]
    L3,
    /// Routed, with netfilter of the host.
    L3s,
    /// Switched.
    L2,
}

impl IpvlanMode {
    /// Reads a word.
    pub fn parse(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[("l3", Self::L3), ("l3s", Self::L3s), ("l2", Self::L2)],
        )
    }
}

/// `lxc.net.N.ipvlan.isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpvlanIsolation {
    /// Traffic among those on one host interface.
    #[default]
    Bridge,
    /// None among them.
    Private,
    /// Traffic among them goes over the switch.
    Vepa,
}

impl IpvlanIsolation {
    /// Reads a word.
    pub fn parse(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("bridge", Self::Bridge),
                ("private", Self::Private),
                ("vepa", Self::Vepa),
            ],
        )
    }
}

/// `lxc.net.N.veth.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VethMode {
    /// The host's end is a port of the bridge `link`.
    #[default]
    Bridge,
    /// The host routes to the container's addresses.
    Router,
}

impl VethMode {
    /// Reads a word.
    pub fn parse(text: &str) -> Result<Self, String> {
        choose(text, &[("bridge", Self::Bridge), ("router", Self::Router)])
    }
}

fn choose<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("'{text}' is not one of {}", known.join(", "))
        })
}

/// A MAC address in which digits may be left open (`x`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardwareAddress([Option<u8>; 12]);

impl HardwareAddress {
    /// Reads six pairs of hexadecimal digits or `x`, joined by `:`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "'{text}' is not a MAC address; write six pairs of digits such as 00:16:3e:xx:xx:xx"
            )
        };
        let mut digits = [None; 12];
        let mut pairs = text.split(':');
        for pair in digits.chunks_exact_mut(2) {
            let written = pairs
                .next()
                .filter(|written| written.chars().count() == 2)
                .ok_or_else(refuse)?;
            for (digit, c) in pair.iter_mut().zip(written.chars()) {
                *digit = match c {
                    'x' | 'X' => None,
                    c => Some(c.to_digit(16).ok_or_else(refuse)? as u8),
                };
            }
        }
        if pairs.next().is_some() {
            return Err(refuse());
        }
        Ok(Self(digits))
    }

    /// Whether every digit is given.
    pub fn is_complete(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// The address, with open digits taken from `random`. An open second digit
    /// becomes even, so that the address is one of a single interface.
    pub fn fill(&self, random: [u8; 6]) -> [u8; 6] {
        let mut address = [0; 6];
        for (index, byte) in address.iter_mut().enumerate() {
            let high = self.0[2 * index].unwrap_or(random[index] >> 4);
            let open_low = if index == 0 {
                random[index] & 0xe
            } else {
                random[index] & 0xf
            };
            *byte = high << 4 | self.0[2 * index + 1].unwrap_or(open_low);
        }
        address
    }
}

impl From<[u8; 6]> for HardwareAddress {
    fn from(address: [u8; 6]) -> Self {
        let digit = |index: usize| {
            let byte = address[index / 2];
            Some(if index.is_multiple_of(2) {
                byte >> 4
            } else {
                byte & 0xf
            })
        };
        Self(std::array::from_fn(digit))
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, digit) in self.0.iter().enumerate() {
            if index > 0 && index.is_multiple_of(2) {
                f.write_str(":")?;
            }
            match digit {
                Some(digit) => write!(f, "{digit:x}")?,
                None => f.write_str("x")?,
            }
        }
        Ok(())
    }
}

/// An IPv4 address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Assignment {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// The broadcast address.
    pub broadcast: Ipv4Addr,
}

impl Ipv4Assignment {
    /// Reads `ADDRESS[/PREFIX] [BROADCAST]`. Without a prefix the address's
    /// class decides, and the broadcast address follows from both.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (interface, broadcast) = match text.split_once([' ', '\t']) {
            Some((interface, broadcast)) => (interface, Some(broadcast.trim())),
            None => (text, None),
        };
        let (address, prefix) = with_prefix::<Ipv4Addr>(interface, 32)?;
        let prefix = prefix.unwrap_or_else(|| class_prefix(address));
        let broadcast = match broadcast {
            Some(text) => text
                .parse()
                .map_err(|_| format!("'{text}' is not an IPv4 address"))?,
            None => {
                Ipv4Addr::from(address.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0))
            }
        };
        Ok(Self {
            address,
            prefix,
            broadcast,
        })
    }
}

/// The prefix of the classes that were before CIDR (RFC 791).
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        _ => 32,
    }
}

/// An IPv6 address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Assignment {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
}

impl Ipv6Assignment {
    /// Reads `ADDRESS[/PREFIX]`; the prefix is 64 when left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = with_prefix(text, 128)?;
        Ok(Self {
            address,
            prefix: prefix.unwrap_or(64),
        })
    }
}

/// A route to a network (`lxc.net.N.veth.ipv4.route`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<A> {
    /// The network's address.
    pub address: A,
    /// Length of its prefix.
    pub prefix: u8,
}

/// A route to an IPv4 network.
pub type Ipv4Route = Route<Ipv4Addr>;
/// A route to an IPv6 network.
pub type Ipv6Route = Route<Ipv6Addr>;

impl Ipv4Route {
    /// Reads `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Result<Self, String> {
        route(text, 32)
    }
}

impl Ipv6Route {
    /// Reads `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Result<Self, String> {
        route(text, 128)
    }
}

fn route<A: FromStr>(text: &str, longest: u8) -> Result<Route<A>, String> {
    match with_prefix(text, longest)? {
        (address, Some(prefix)) => Ok(Route { address, prefix }),
        _ => Err(format!(
            "'{text}' has no prefix length; write ADDRESS/LENGTH"
        )),
    }
}

fn with_prefix<A: FromStr>(text: &str, longest: u8) -> Result<(A, Option<u8>), String> {
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let family = if longest == 32 { "IPv4" } else { "IPv6" };
    let address = address
        .parse()
        .map_err(|_| format!("'{address}' is not an {family} address"))?;
    let length = |text: &str| {
        super::unsigned(text)
            .ok()
            .and_then(|length| u8::try_from(length).ok())
            .filter(|length| *length <= longest)
    };
    match prefix.map(|text| length(text).ok_or(text)) {
        None => Ok((address, None)),
        Some(Ok(length)) => Ok((address, Some(length))),
        Some(Err(text)) => Err(format!(
            "'{text}' is not a prefix length from 0 to {longest}"
        )),
    }
}

/// Where an interface's default route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway<A> {
    /// To a router.
    Address(A),
    /// To the first address of `link`.
    Auto,
    /// Out of the interface, without a next hop.
    Device,
}

impl<A: FromStr> Gateway<A> {
    /// Reads an address, `auto` or `dev`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "dev" => Ok(Self::Device),
            _ => text
                .parse()
                .map(Self::Address)
                .map_err(|_| format!("'{text}' is no address, 'auto' or 'dev'")),
        }
    }
}

/// A VLAN number from 0 to `last`.
pub fn vlan(text: &str, last: u16) -> Result<u16, String> {
    let number = super::unsigned(text)
        .ok()
        .and_then(|number| u16::try_from(number).ok());
    number
        .filter(|number| *number <= last)
        .ok_or_else(|| format!("'{text}' is not a VLAN number from 0 to {last}"))
}

/// `lxc.net.N.veth.vlan.id`: what becomes of untagged frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeVlan {
    /// The port has no native VLAN.
    Removed,
    /// They belong to this VLAN.
    Id(u16),
}

impl NativeVlan {
    /// Reads `none` or a number.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            Ok(Self::Removed)
        } else {
            vlan(text, 4094).map(Self::Id)
        }
    }
}
