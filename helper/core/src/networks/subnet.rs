//! An address and the net it is in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address with the length of its net's prefix, as `10.0.3.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The address, of whatever host of the net.
    pub address: IpAddr,
    /// Bits that all hosts of the net have in common.
    pub prefix: u8,
}

impl Subnet {
    /// Bits of an address of the family.
    fn bits(self) -> u32 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn host_mask(self) -> u128 {
        let hosts = self.bits() - u32::from(self.prefix).min(self.bits());
        if hosts == 128 {
            u128::MAX
        } else {
            (1 << hosts) - 1
        }
    }

    /// The address of the net itself.
    pub fn network(self) -> IpAddr {
        address(number(self.address) & !self.host_mask(), self.address)
    }

    /// The net's last address, which in IPv4 means all of its hosts.
    pub fn last(self) -> IpAddr {
        address(number(self.address) | self.host_mask(), self.address)
    }

    /// The net as `10.0.3.0/24`.
    pub fn net(self) -> Self {
        Self {
            address: self.network(),
            prefix: self.prefix,
        }
    }

    /// Whether an address lies in the net.
    pub fn contains(self, other: IpAddr) -> bool {
        other.is_ipv4() == self.address.is_ipv4()
            && number(other) & !self.host_mask() == number(self.network())
    }

    /// Whether a host of the net may have this address.
    pub fn has_room_for(self, host: IpAddr) -> bool {
        let is_edge = host == self.network() || (host == self.last() && host.is_ipv4());
        self.contains(host) && (!is_edge || u32::from(self.prefix) + 2 > self.bits())
    }

    /// Whether two nets have addresses in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    /// The host that comes `steps` after `host`.
    pub fn after(self, host: IpAddr, steps: u128) -> IpAddr {
        address(number(host).saturating_add(steps), host)
    }
}

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        // The higher bits are none of an IPv4 address.
        IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is no address with a prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address with the length of its prefix; write it as 10.0.3.1/24")]
pub struct NotSubnet(String);

impl FromStr for Subnet {
    type Err = NotSubnet;

    fn from_str(text: &str) -> Result<Self, NotSubnet> {
        let wrong = || NotSubnet(text.chars().take(60).collect());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let subnet = Self {
            address: address.parse().map_err(|_| wrong())?,
            prefix: prefix.parse().map_err(|_| wrong())?,
        };
        if u32::from(subnet.prefix) > subnet.bits() {
            return Err(wrong());
        }
        Ok(subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn nets_know_what_is_in_them() {
        let home = net("10.0.3.1/24");
        assert_eq!(home.net().to_string(), "10.0.3.0/24");
        assert_eq!(home.last().to_string(), "10.0.3.255");
        assert!(home.has_room_for("10.0.3.254".parse().unwrap()));
        for not in ["10.0.3.0", "10.0.3.255", "10.0.4.1", "fc00::1"] {
            assert!(!home.has_room_for(not.parse().unwrap()), "{not}");
        }
        assert!(home.overlaps(net("10.0.0.1/16")) && net("10.0.0.1/16").overlaps(home));
        assert!(!home.overlaps(net("10.0.2.1/24")));
        assert!(net("0.0.0.0/0").overlaps(home));
        assert!(net("fc00::1/64").contains("fc00::99".parse().unwrap()));
        assert!(net("::/0").contains("fc00::99".parse().unwrap()));
        assert!(net("10.0.0.0/31").has_room_for("10.0.0.0".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_no_nets() {
        for bad in [
            "",
            "10.0.3.1",
            "10.0.3.1/33",
            "10.0.3/24",
            "fc00::1/129",
            "x/1",
            "1.2.3.4/-1",
        ] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
