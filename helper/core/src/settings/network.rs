//! `lxc.net.N.*`

use super::parse_item;
use crate::config::{Config, ConfigError, ConfigErrorKind};
use crate::values::network::{
    Gateway, HardwareAddress, Ipv4Assignment, Ipv4Route, Ipv6Assignment, Ipv6Route,
    IpvlanIsolation, IpvlanMode, MacvlanMode, NativeVlan, NetworkType, VethMode, vlan,
};
use crate::values::{flag, unsigned};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// One interface of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What it is.
    pub kind: NetworkKind,
    /// The bridge or interface of the host it is attached to.
    pub link: Option<String>,
    /// Its name in the container; none (or with `%d` in it) for one that the
    /// kernel numbers, `eth%d`.
    pub name: Option<String>,
    /// Whether it is brought up.
    pub up: bool,
    /// Its largest packet; none for that of `link`.
    pub mtu: Option<u32>,
    /// Its MAC address; none, or open digits, for a random one.
    pub hwaddr: Option<HardwareAddress>,
    /// Its IPv4 addresses.
    pub ipv4: Vec<Ipv4Assignment>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Assignment>,
    /// Its IPv4 default route.
    pub ipv4_gateway: Option<Gateway<Ipv4Addr>>,
    /// Its IPv6 default route.
    pub ipv6_gateway: Option<Gateway<Ipv6Addr>>,
    /// Whether the host answers for its addresses on `link`.
    pub l2proxy: bool,
    /// Command lines to run on the host once it is made, in order.
    pub script_up: Option<String>,
    /// The same for when it goes.
    pub script_down: Option<String>,
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkKind {
    /// One end of a pair.
    Veth(Veth),
    /// A MAC address of its own on `link`.
    Macvlan {
        /// What those on one link see of each other.
        mode: MacvlanMode,
    },
    /// An IP address of its own on `link`.
    Ipvlan {
        /// Routed or switched.
        mode: IpvlanMode,
        /// What those on one link see of each other.
        isolation: IpvlanIsolation,
    },
    /// A VLAN of `link`.
    Vlan {
        /// Its number.
        id: u16,
    },
    /// `link` itself.
    Phys,
    /// Only loopback.
    Empty,
    /// The host's network, if no other kind is there.
    None,
}

impl NetworkKind {
    /// Whether it is on top of an interface of the host, which stays there.
    pub fn is_upper(&self) -> bool {
        matches!(
            self,
            Self::Macvlan { .. } | Self::Ipvlan { .. } | Self::Vlan { .. }
        )
    }

    /// Whether nobody else reaches anybody by its link as long as the container has it.
    pub fn takes_all_of_link(&self) -> bool {
        let passthru = Self::Macvlan {
            mode: MacvlanMode::Passthru,
        };
        matches!(self, Self::Phys) || *self == passthru
    }

    /// The type's word.
    pub fn kind(&self) -> NetworkType {
        match self {
            Self::Veth(_) => NetworkType::Veth,
            Self::Macvlan { .. } => NetworkType::Macvlan,
            Self::Ipvlan { .. } => NetworkType::Ipvlan,
            Self::Vlan { .. } => NetworkType::Vlan,
            Self::Phys => NetworkType::Phys,
            Self::Empty => NetworkType::Empty,
            Self::None => NetworkType::None,
        }
    }
}

/// `lxc.net.N.veth.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// A bridge's port, or routed.
    pub mode: VethMode,
    /// The name of the host's end; none for a random one.
    pub pair: Option<String>,
    /// Receive queues; none for the kernel's choice.
    pub rx_queues: Option<u32>,
    /// Transmit queues; none for the kernel's choice.
    pub tx_queues: Option<u32>,
    /// Routes of the host into the container.
    pub ipv4_routes: Vec<Ipv4Route>,
    /// Routes of the host into the container.
    pub ipv6_routes: Vec<Ipv6Route>,
    /// The VLAN of untagged frames; none for the bridge's default.
    pub native_vlan: Option<NativeVlan>,
    /// VLANs of tagged frames.
    pub tagged_vlans: Vec<u16>,
}

pub(super) fn read(config: &Config) -> Result<BTreeMap<u32, Network>, ConfigError> {
    let mut numbers: Vec<u32> = config
        .items()
        .iter()
        .filter_map(|item| unsigned(item.key.strip_prefix("lxc.net.")?.split('.').next()?).ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|number| Ok((number, Reader { config, number }.network()?)))
        .collect()
}

struct Reader<'a> {
    config: &'a Config,
    number: u32,
}

impl Reader<'_> {
    fn key(&self, part: &str) -> String {
        format!("lxc.net.{}.{part}", self.number)
    }

    fn text(&self, part: &str) -> Option<String> {
        self.config.get(&self.key(part)).map(str::to_owned)
    }

    fn one<T>(
        &self,
        part: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.all(part, parse)?.pop())
    }

    fn all<T>(
        &self,
        part: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        self.config
            .items_of(&self.key(part))
            .map(|item| parse_item(item, &parse))
            .collect()
    }

    /// The error that a part is missing, at the first line of the network.
    fn missing(&self, part: &str) -> ConfigError {
        let reason = format!(
            "network {} has no {part}; write '{} = ...'",
            self.number,
            self.key(part)
        );
        let prefix = self.key("");
        match self
            .config
            .items()
            .iter()
            .find(|item| item.key.starts_with(&prefix))
        {
            Some(item) => item.error(ConfigErrorKind::Conflict, reason),
            None => ConfigError {
                file: self.config.path().to_path_buf(),
                line: 0,
                key: self.key(part),
                kind: ConfigErrorKind::Conflict,
                reason,
            },
        }
    }

    fn network(&self) -> Result<Network, ConfigError> {
        let network_type = self
            .one("type", NetworkType::parse)?
            .ok_or_else(|| self.missing("type"))?;
        Ok(Network {
            kind: self.kind(network_type)?,
            link: self.text("link"),
            name: self.text("name"),
            up: self.text("flags").is_some(),
            mtu: self.one("mtu", unsigned)?,
            hwaddr: self.one("hwaddr", HardwareAddress::parse)?,
            ipv4: self.all("ipv4.address", Ipv4Assignment::parse)?,
            ipv6: self.all("ipv6.address", Ipv6Assignment::parse)?,
            ipv4_gateway: self.one("ipv4.gateway", Gateway::parse)?,
            ipv6_gateway: self.one("ipv6.gateway", Gateway::parse)?,
            l2proxy: self.one("l2proxy", flag)?.unwrap_or(false),
            script_up: self.text("script.up"),
            script_down: self.text("script.down"),
        })
    }

    fn kind(&self, network_type: NetworkType) -> Result<NetworkKind, ConfigError> {
        Ok(match network_type {
            NetworkType::Veth => NetworkKind::Veth(Veth {
                mode: self.one("veth.mode", VethMode::parse)?.unwrap_or_default(),
                pair: self.text("veth.pair"),
                rx_queues: self.one("veth.n_rxqueues", unsigned)?,
                tx_queues: self.one("veth.n_txqueues", unsigned)?,
                ipv4_routes: self.all("veth.ipv4.route", Ipv4Route::parse)?,
                ipv6_routes: self.all("veth.ipv6.route", Ipv6Route::parse)?,
                native_vlan: self.one("veth.vlan.id", NativeVlan::parse)?,
                tagged_vlans: self.all("veth.vlan.tagged.id", |text| vlan(text, 4094))?,
            }),
            NetworkType::Macvlan => NetworkKind::Macvlan {
                mode: self
                    .one("macvlan.mode", MacvlanMode::parse)?
                    .unwrap_or_default(),
            },
            NetworkType::Ipvlan => NetworkKind::Ipvlan {
                mode: self
                    .one("ipvlan.mode", IpvlanMode::parse)?
                    .unwrap_or_default(),
                isolation: self
                    .one("ipvlan.isolation", IpvlanIsolation::parse)?
                    .unwrap_or_default(),
            },
            NetworkType::Vlan => NetworkKind::Vlan {
                id: self
                    .one("vlan.id", |text| vlan(text, 4095))?
                    .ok_or_else(|| self.missing("vlan.id"))?,
            },
            NetworkType::Phys => NetworkKind::Phys,
            NetworkType::Empty => NetworkKind::Empty,
            NetworkType::None => NetworkKind::None,
        })
    }
}
