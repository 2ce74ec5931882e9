//! Addresses of interfaces.

use super::message::Message;
use super::{ACK, CREATE, DUMP, Netlink, family, octets};
use gantry_core::netlink::{attributes, u32_at};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

/// Bytes of the fixed part.
const ADDRESS: usize = 8;

/// `struct ifaddrmsg`.
fn address_part(index: u32, address: IpAddr, prefix: u8) -> [u8; ADDRESS] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family(address.is_ipv6()), prefix, 0, 0, a, b, c, d]
}

impl Netlink {
    /// Gives an interface an address.
    pub(crate) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        broadcast: Option<Ipv4Addr>,
    ) -> io::Result<()> {
        let mut message = Message::new(
            RTM_NEWADDR,
            ACK | CREATE,
            &address_part(index, address, prefix),
        );
        message.attribute(IFA_LOCAL, &octets(address));
        message.attribute(IFA_ADDRESS, &octets(address));
        if let Some(broadcast) = broadcast {
            message.attribute(IFA_BROADCAST, &broadcast.octets());
        }
        self.request(message)
    }

    /// Takes an address from an interface. One that is gone is no error.
    pub(crate) fn delete_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut message = Message::new(RTM_DELADDR, ACK, &address_part(index, address, prefix));
        message.attribute(IFA_LOCAL, &octets(address));
        match self.request(message) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            result => result,
        }
    }

    /// All addresses of an interface, with the lengths of their prefixes.
    pub(crate) fn all_addresses(&mut self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        // Of no family: of every one.
        self.send(Message::new(RTM_GETADDR, DUMP, &[0; ADDRESS]))?;
        let answers = self.receive(false)?;
        let of_index = answers.iter().filter(|body| u32_at(body, 4) == Some(index));
        let parsed = |body: &Vec<u8>| {
            let mut values = attributes(body.get(ADDRESS..).unwrap_or_default());
            let (_, value) = values.find(|(kind, _)| *kind == IFA_ADDRESS)?;
            Some((parse_address(value)?, *body.get(1)?))
        };
        Ok(of_index.filter_map(parsed).collect())
    }

    /// The addresses of an interface, of the family of `like`.
    pub(crate) fn addresses(&mut self, index: u32, like: IpAddr) -> io::Result<Vec<IpAddr>> {
        self.send(Message::new(RTM_GETADDR, DUMP, &address_part(0, like, 0)))?;
        let answers = self.receive(false)?;
        let of_index = answers.iter().filter(|body| u32_at(body, 4) == Some(index));
        let values = of_index.flat_map(|body| attributes(body.get(ADDRESS..).unwrap_or_default()));
        Ok(values
            .filter(|(kind, _)| *kind == IFA_ADDRESS)
            .filter_map(|(_, value)| parse_address(value))
            .collect())
    }
}

fn parse_address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
        .ok()
}
