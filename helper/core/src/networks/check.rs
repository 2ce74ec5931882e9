//! What of a network's description cannot be, looking at nothing else.

use super::{Impossible, Network, Reservation, UNFINISHED, number, parse_mac, short};
use crate::name::InterfaceName;

impl Network {
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
        self.check_ways_out()?;
        for (number, reservation) in self.reservations.iter().enumerate() {
            self.check_reservation(
                reservation,
                self.reservations.get(..number).unwrap_or_default(),
            )?;
        }
        Ok(())
    }

    /// Isolated, routed or with NAT, or in the net outside itself by an uplink.
    fn check_ways_out(&self) -> Result<(), Impossible> {
        let has_nat = self.nat4.is_some() || self.nat6.is_some();
        let serves = [
            (self.dhcp, "dhcp"),
            (has_nat, "nat"),
            (!self.domain.is_empty(), "domain"),
            (self.isolated, "isolated"),
            (!self.forwards.is_empty(), "forwards"),
        ];
        if self.isolated && (has_nat || !self.forwards.is_empty()) {
            return Err(Impossible::new(
                "isolated",
                "nothing leaves an isolated network or comes in: switch nat off, and remove its forwards, or leave isolated off".to_owned(),
            ));
        }
        if self.uplink.is_empty() {
            return Ok(());
        }
        let wrong = |sentence: String| Err(Impossible::new("uplink", sentence));
        if InterfaceName::new(&self.uplink).is_err()
            || !is_plain(&self.uplink)
            || self.uplink == "lo"
            || self.uplink == self.name.as_str()
        {
            return wrong(format!(
                "{:?} cannot be an uplink; name an interface of the host with a cable, such as eth1",
                short(&self.uplink)
            ));
        }
        match serves.iter().find(|(is_on, _)| *is_on) {
            Some((_, key)) => wrong(format!(
                "by the uplink {} containers are in the net outside, which has addresses, names and routers of its own; switch {key} off",
                self.uplink
            )),
            None => Ok(()),
        }
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

    #[test]
    fn ways_out_that_exclude_each_other_are_refused() {
        let told = |change: fn(&mut Network)| {
            let mut network = network("10.0.4.1/24", None);
            change(&mut network);
            network.check().map_err(|error| (error.key, error.sentence))
        };
        assert_eq!(told(|network| network.isolated = true), Ok(()));
        let bridged = |network: &mut Network| {
            network.dhcp = false;
            network.uplink = "eth1".to_owned();
        };
        assert_eq!(told(bridged), Ok(()));
        for (change, key, word) in [
            (
                (|network: &mut Network| {
                    network.isolated = true;
                    network.nat4 = network.ipv4;
                }) as fn(&mut Network),
                "isolated",
                "nat",
            ),
            (
                |network| network.uplink = "eth1".to_owned(),
                "uplink",
                "dhcp",
            ),
            (
                |network| {
                    network.dhcp = false;
                    network.uplink = "a/b".to_owned();
                },
                "uplink",
                "a/b",
            ),
            (
                |network| {
                    network.dhcp = false;
                    network.uplink = "br7".to_owned();
                },
                "uplink",
                "br7",
            ),
        ] {
            let (found, sentence) = told(change).unwrap_err();
            assert!(found == key && sentence.contains(word), "{sentence}");
        }
    }
}
