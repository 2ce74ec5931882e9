//! The addresses of a network namespace, by event.

use crate::linux::netlink::Netlink;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Addresses often come in a bunch: one for each family, then their changes.
const SETTLE: Duration = Duration::from_millis(20);

/// Tells the addresses of a namespace now and after each change, until the
/// socket fails.
pub(crate) async fn watch(socket: Netlink, tell: impl Fn(Vec<String>)) -> io::Result<()> {
    socket.subscribe()?;
    loop {
        tell(usable(&socket.addresses().await?));
        socket.changed().await?;
        tokio::time::sleep(SETTLE).await;
    }
}

/// The addresses at which others can reach a namespace, without prefix
/// lengths: version 4 first.
fn usable(addresses: &[AddressMessage]) -> Vec<String> {
    let mut found: Vec<IpAddr> = addresses
        .iter()
        .filter(|message| message.header.scope == AddressScope::Universe)
        .filter_map(address)
        .collect();
    found.sort();
    found.dedup();
    found
        .into_iter()
        .map(|address| address.to_string())
        .collect()
}

/// Every address by the index of its interface, with prefix length.
pub(crate) fn by_interface(addresses: &[AddressMessage]) -> HashMap<u32, Vec<String>> {
    let mut found: HashMap<u32, Vec<String>> = HashMap::new();
    for message in addresses {
        if let Some(address) = address(message) {
            found
                .entry(message.header.index)
                .or_default()
                .push(format!("{address}/{}", message.header.prefix_len));
        }
    }
    found
}

/// The local address: on a point-to-point link the other one is the peer's.
fn address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    local.or_else(|| {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scope: AddressScope, address: &str, index: u32) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.scope = scope;
        message.header.index = index;
        message.header.prefix_len = 24;
        message
            .attributes
            .push(AddressAttribute::Address(address.parse().unwrap()));
        message
    }

    #[test]
    fn local_addresses_do_not_count() {
        let messages = [
            message(AddressScope::Host, "127.0.0.1", 1),
            message(AddressScope::Universe, "fd00::2", 2),
            message(AddressScope::Link, "fe80::1", 2),
            message(AddressScope::Universe, "10.0.3.7", 2),
        ];
        assert_eq!(usable(&messages), ["10.0.3.7", "fd00::2"]);
        assert_eq!(by_interface(&messages)[&2].len(), 3);
    }
}
