//! Interfaces.

use super::message::Message;
use super::{ACK, CREATE, DUMP, Netlink};
use gantry_core::netlink::{attributes, u16_at, u32_at};
use gantry_core::ports::Treatment;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_GETNSID: u16 = 90;
const RTM_NEWLINKPROP: u16 = 108;
const RTM_DELLINKPROP: u16 = 109;

const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_NEW_IFINDEX: u16 = 49;
const IFLA_MIN_MTU: u16 = 50;
const IFLA_MAX_MTU: u16 = 51;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const VETH_INFO_PEER: u16 = 1;

const IF_OPER_UP: u8 = 6;

/// Younger messages want lists to be marked as such.
const NLA_F_NESTED: u16 = 0x8000;

const BRIDGE_FLAGS_MASTER: u16 = 1;
const BRIDGE_VLAN_INFO_PVID: u16 = 2;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 4;

/// Bytes of the fixed part, `struct ifinfomsg`.
const LINK: usize = 16;

/// An interface, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What it is in the kernel's words (`bridge`, `veth`, …); empty for
    /// hardware.
    pub(crate) kind: String,
    pub(crate) address: Vec<u8>,
    pub(crate) mtu: Option<u32>,
    /// What its driver takes as MTU; 0 is no limit.
    pub(crate) mtu_range: (u32, u32),
    /// What it is a port of.
    pub(crate) master: Option<u32>,
    /// What it is on top of, or the other end of a pair, perhaps in another namespace.
    pub(crate) lower: Option<u32>,
    /// The number of that namespace, see [`Netlink::number_of`].
    pub(crate) lower_namespace: Option<u32>,
    /// Whether it is to carry packets.
    pub(crate) is_up: bool,
    /// Whether something is at the other end of its cable.
    pub(crate) carrier: bool,
    /// Whether the kernel has told everybody that it carries packets (RFC 2863).
    pub(crate) is_operational: bool,
    pub(crate) alternative_names: Vec<String>,
    /// Of a bridge: whether it looks at VLAN tags.
    pub(crate) vlan_filtering: bool,
    /// Of a bridge: the VLAN of untagged frames; 0 for none.
    pub(crate) default_vlan: u16,
}

/// An interface to make.
#[derive(Default)]
pub(crate) struct NewLink<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: Option<[u8; 6]>,
    pub(crate) mtu: Option<u32>,
    /// Where; none is here.
    pub(crate) namespace: Option<&'a OwnedFd>,
    pub(crate) rx_queues: Option<u32>,
    pub(crate) tx_queues: Option<u32>,
}

/// What it is to be; `link` is the index of the interface here that it is on
/// top of.
pub(crate) enum NewKind<'a> {
    /// A pair with another.
    Veth(NewLink<'a>),
    Macvlan {
        link: u32,
        mode: u32,
    },
    Ipvlan {
        link: u32,
        mode: u16,
        flags: u16,
    },
    Vlan {
        link: u32,
        id: u16,
    },
}

/// `struct ifinfomsg`.
fn link_part(index: u32, up: Option<bool>) -> [u8; LINK] {
    let mut part = [0; LINK];
    let up_flag = libc::IFF_UP as u32;
    let (flags, change) = match up {
        None => (0, 0),
        Some(up) => (if up { up_flag } else { 0 }, up_flag),
    };
    part[4..8].copy_from_slice(&index.to_ne_bytes());
    part[8..12].copy_from_slice(&flags.to_ne_bytes());
    part[12..16].copy_from_slice(&change.to_ne_bytes());
    part
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        is_up: flags & libc::IFF_UP as u32 != 0,
        carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(LINK..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_ADDRESS => link.address = value.to_vec(),
            IFLA_MTU => link.mtu = u32_at(value, 0),
            IFLA_MIN_MTU => link.mtu_range.0 = u32_at(value, 0)?,
            IFLA_MAX_MTU => link.mtu_range.1 = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINK_NETNSID => link.lower_namespace = u32_at(value, 0),
            IFLA_LINK => link.lower = u32_at(value, 0),
            IFLA_OPERSTATE => link.is_operational = value.first() == Some(&IF_OPER_UP),
            IFLA_PROP_LIST => {
                let names = attributes(value).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                link.alternative_names = names.map(|(_, name)| text(name)).collect();
            }
            IFLA_LINKINFO => parse_info(&mut link, value),
            _ => {}
        }
    }
    Some(link)
}

fn parse_info(link: &mut Link, value: &[u8]) {
    for (kind, value) in attributes(value) {
        match kind {
            IFLA_INFO_KIND => link.kind = text(value),
            IFLA_INFO_DATA if link.is_bridge() => {
                for (kind, value) in attributes(value) {
                    match kind {
                        IFLA_BR_VLAN_FILTERING => link.vlan_filtering = value.first() == Some(&1),
                        IFLA_BR_VLAN_DEFAULT_PVID => {
                            link.default_vlan = u16_at(value, 0).unwrap_or_default();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(value.get(..end.unwrap_or(value.len())).unwrap_or_default())
        .into_owned()
}

impl Link {
    /// Whether it is a bridge of the kernel's own.
    pub(crate) fn is_bridge(&self) -> bool {
        self.kind == "bridge"
    }

    /// Whether it is on top of another interface of its namespace. The other end of a pair
    /// is beside it.
    pub(crate) fn is_on(&self, lower: u32) -> bool {
        self.lower == Some(lower) && self.lower_namespace.is_none() && self.kind != "veth"
    }
}

impl Message {
    fn number(&mut self, kind: u16, value: Option<u32>) {
        if let Some(value) = value {
            self.attribute(kind, &value.to_ne_bytes());
        }
    }

    fn new_link(&mut self, new: &NewLink<'_>) {
        self.text(IFLA_IFNAME, new.name);
        self.number(IFLA_MTU, new.mtu);
        self.number(IFLA_NUM_RX_QUEUES, new.rx_queues);
        self.number(IFLA_NUM_TX_QUEUES, new.tx_queues);
        if let Some(address) = &new.address {
            self.attribute(IFLA_ADDRESS, address);
        }
        if let Some(namespace) = new.namespace {
            self.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        }
    }
}

impl NewKind<'_> {
    fn word(&self) -> &'static str {
        match self {
            Self::Veth(_) => "veth",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
        }
    }

    fn link(&self) -> Option<u32> {
        match self {
            Self::Veth(_) => None,
            Self::Macvlan { link, .. } | Self::Ipvlan { link, .. } | Self::Vlan { link, .. } => {
                Some(*link)
            }
        }
    }

    fn write(&self, message: &mut Message) {
        match self {
            Self::Veth(peer) => message.nest(VETH_INFO_PEER, |message| {
                message.0.extend(link_part(0, None));
                message.new_link(peer);
            }),
            Self::Macvlan { mode, .. } => message.number(IFLA_MACVLAN_MODE, Some(*mode)),
            Self::Ipvlan { mode, flags, .. } => {
                message.attribute(IFLA_IPVLAN_MODE, &mode.to_ne_bytes());
                message.attribute(IFLA_IPVLAN_FLAGS, &flags.to_ne_bytes());
            }
            Self::Vlan { id, .. } => message.attribute(IFLA_VLAN_ID, &id.to_ne_bytes()),
        }
    }
}

impl Netlink {
    /// Finds an interface by name; none if there is none.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = Message::new(RTM_GETLINK, 0, &link_part(0, None));
        message.text(IFLA_IFNAME, name);
        self.one_link(message)
    }

    /// Finds an interface by its index; none if there is none.
    pub(crate) fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        self.one_link(Message::new(RTM_GETLINK, 0, &link_part(index, None)))
    }

    fn one_link(&mut self, message: Message) -> io::Result<Option<Link>> {
        self.send(message)?;
        match self.receive(true) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            answers => Ok(answers?.first().and_then(|body| parse_link(body))),
        }
    }

    /// By what number another namespace is called here; none if by none.
    pub(crate) fn number_of(&mut self, namespace: &OwnedFd) -> io::Result<Option<u32>> {
        // `struct rtgenmsg`, padded
        let mut message = Message::new(RTM_GETNSID, 0, &[0; 4]);
        message.attribute(NETNSA_FD, &namespace.as_raw_fd().to_ne_bytes());
        self.send(message)?;
        let answers = self.receive(true)?;
        let body = answers.first().map(Vec::as_slice).unwrap_or_default();
        let number = attributes(body.get(4..).unwrap_or_default())
            .find(|(kind, _)| *kind == NETNSA_NSID)
            .and_then(|(_, value)| u32_at(value, 0));
        Ok(number.filter(|number| *number != u32::MAX))
    }

    /// Every interface, by index.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        self.send(Message::new(RTM_GETLINK, DUMP, &link_part(0, None)))?;
        let answers = self.receive(false)?;
        Ok(answers.iter().filter_map(|body| parse_link(body)).collect())
    }

    /// Makes an interface, which has its final name from the beginning.
    pub(crate) fn add_link(&mut self, new: &NewLink<'_>, kind: &NewKind<'_>) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, ACK | CREATE, &link_part(0, None));
        message.new_link(new);
        message.number(IFLA_LINK, kind.link());
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, kind.word());
            message.nest(IFLA_INFO_DATA, |message| kind.write(message));
        });
        self.request(message)
    }

    fn change(&mut self, index: u32, fill: impl FnOnce(&mut Message)) -> io::Result<()> {
        let mut message = Message::new(RTM_SETLINK, ACK, &link_part(index, None));
        fill(&mut message);
        self.request(message)
    }

    /// Brings an interface up.
    pub(crate) fn bring_up(&mut self, index: u32) -> io::Result<()> {
        self.request(Message::new(
            RTM_SETLINK,
            ACK,
            &link_part(index, Some(true)),
        ))
    }

    /// Takes an interface down.
    pub(crate) fn take_down(&mut self, index: u32) -> io::Result<()> {
        self.request(Message::new(
            RTM_SETLINK,
            ACK,
            &link_part(index, Some(false)),
        ))
    }

    /// Puts a text on an interface for people and programs to find.
    pub(crate) fn tag(&mut self, index: u32, alias: &str) -> io::Result<()> {
        self.change(index, |message| {
            message.attribute(IFLA_IFALIAS, alias.as_bytes());
        })
    }

    /// Gives an interface another name.
    pub(crate) fn rename(&mut self, index: u32, name: &str) -> io::Result<()> {
        self.change(index, |message| message.text(IFLA_IFNAME, name))
    }

    /// Sets an interface's largest packet.
    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        self.change(index, |message| message.number(IFLA_MTU, Some(mtu)))
    }

    /// Sets an interface's MAC address.
    pub(crate) fn set_address(&mut self, index: u32, address: &[u8]) -> io::Result<()> {
        self.change(index, |message| message.attribute(IFLA_ADDRESS, address))
    }

    /// Makes an interface a bridge's port, or with 0 nobody's.
    pub(crate) fn set_master(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        self.change(index, |message| message.number(IFLA_MASTER, Some(bridge)))
    }

    /// Has a bridge treat its port like this.
    pub(crate) fn treat_port(&mut self, index: u32, treatment: Treatment) -> io::Result<()> {
        // What is a port's own is not set by RTM_SETLINK.
        let mut message = Message::new(RTM_NEWLINK, ACK, &link_part(index, None));
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_SLAVE_KIND, "bridge");
            message.nest(IFLA_INFO_SLAVE_DATA, |message| {
                message.attribute(IFLA_BRPORT_MODE, &[treatment.hairpin.into()]);
                message.attribute(IFLA_BRPORT_ISOLATED, &[treatment.isolated.into()]);
            });
        });
        self.request(message)
    }

    /// Moves an interface to another namespace, where it has a name and, if
    /// one is given, an index that nobody has there yet.
    pub(crate) fn move_link(
        &mut self,
        index: u32,
        namespace: impl AsFd,
        name: &str,
        new_index: Option<u32>,
    ) -> io::Result<()> {
        self.change(index, |message| {
            let namespace = namespace.as_fd().as_raw_fd();
            message.attribute(IFLA_NET_NS_FD, &namespace.to_ne_bytes());
            message.text(IFLA_IFNAME, name);
            message.number(IFLA_NEW_IFINDEX, new_index);
        })
    }

    /// Adds or removes another name of an interface.
    pub(crate) fn change_alternative_name(
        &mut self,
        index: u32,
        name: &str,
        add: bool,
    ) -> io::Result<()> {
        let (kind, flags) = if add {
            (RTM_NEWLINKPROP, ACK | CREATE)
        } else {
            (RTM_DELLINKPROP, ACK)
        };
        let mut message = Message::new(kind, flags, &link_part(index, None));
        message.nest(IFLA_PROP_LIST | NLA_F_NESTED, |message| {
            message.text(IFLA_ALT_IFNAME, name)
        });
        self.request(message)
    }

    /// Deletes an interface. One that is gone is no error.
    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        match self.request(Message::new(RTM_DELLINK, ACK, &link_part(index, None))) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// Lets a bridge's port carry a VLAN; `untagged` frames from it belong to
    /// that VLAN, too.
    pub(crate) fn add_port_vlan(&mut self, port: u32, vlan: u16, untagged: bool) -> io::Result<()> {
        let flags = if untagged {
            BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED
        } else {
            0
        };
        self.change_port_vlan(RTM_SETLINK, port, vlan, flags)
    }

    /// Takes a VLAN from a bridge's port.
    pub(crate) fn delete_port_vlan(&mut self, port: u32, vlan: u16) -> io::Result<()> {
        self.change_port_vlan(RTM_DELLINK, port, vlan, 0)
    }

    fn change_port_vlan(&mut self, kind: u16, port: u32, vlan: u16, flags: u16) -> io::Result<()> {
        let mut part = link_part(port, None);
        part[0] = libc::AF_BRIDGE as u8;
        let mut message = Message::new(kind, ACK, &part);
        message.nest(IFLA_AF_SPEC, |message| {
            message.attribute(IFLA_BRIDGE_FLAGS, &BRIDGE_FLAGS_MASTER.to_ne_bytes());
            // `struct bridge_vlan_info`
            let info = [flags.to_ne_bytes(), vlan.to_ne_bytes()].concat();
            message.attribute(IFLA_BRIDGE_VLAN_INFO, &info);
        });
        self.request(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn loopback_is_found_and_strangers_are_not() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        assert_eq!(
            (lo.index, lo.name.as_str(), lo.is_bridge()),
            (1, "lo", false)
        );
        assert_eq!(netlink.link_at(1).unwrap().unwrap().name, "lo");
        assert!(netlink.links().unwrap().iter().any(|link| link.index == 1));
        assert_eq!(netlink.link("no-such-link").unwrap(), None);
        assert!(
            netlink
                .addresses(lo.index, Ipv4Addr::UNSPECIFIED.into())
                .is_ok()
        );
    }

    #[test]
    fn a_bridge_tells_of_its_vlans() {
        let mut message = Message::new(RTM_NEWLINK, 0, &link_part(7, None));
        message.text(IFLA_IFNAME, "br0");
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, "bridge");
            message.nest(IFLA_INFO_DATA, |message| {
                message.attribute(IFLA_BR_VLAN_FILTERING, &[1]);
                message.attribute(IFLA_BR_VLAN_DEFAULT_PVID, &5_u16.to_ne_bytes());
            });
        });
        let link = parse_link(&message.0[super::super::message::HEAD..]).unwrap();
        assert!(link.is_bridge() && link.vlan_filtering);
        assert_eq!((link.index, link.default_vlan), (7, 5));
    }
}
