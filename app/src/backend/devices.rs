use std::collections::HashMap;

use gantry_api::{DevicesProxy, ManagerProxy, Result};

use super::{
    Backend,
    calls::path,
    properties::{Properties, read},
};

/// Something of this computer's that a running container has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A device node.
    Node {
        /// Its path in the container.
        path: String,
        /// `block` or `character`.
        kind: String,
        /// The number of its driver.
        major: u32,
        /// The driver's number for it.
        minor: u32,
    },
    /// A network interface.
    Interface {
        /// Its name in the container.
        name: String,
        /// The name that it has on this computer.
        host: String,
    },
}

impl Device {
    /// What it is called in the container.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Node { path, .. } => path,
            Self::Interface { name, .. } => name,
        }
    }

    fn read(from: &Properties) -> Self {
        let text = |key| {
            let mut value = String::new();
            read(from, key, &mut value);
            value
        };
        let number = |key| {
            let mut value = 0u32;
            read(from, key, &mut value);
            value
        };
        match text("type").as_str() {
            "interface" => Self::Interface {
                name: text("name"),
                host: text("host"),
            },
            _ => Self::Node {
                path: text("path"),
                kind: text("kind"),
                major: number("major"),
                minor: number("minor"),
            },
        }
    }
}

/// A network interface of this computer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// What it is, in the helper's word: `physical`, `bridge`…
    pub kind: String,
    /// Whether it is switched on.
    pub is_up: bool,
    /// This computer's addresses on it, with the lengths of their prefixes.
    pub addresses: Vec<String>,
    /// The bridge it is a port of; empty: none.
    pub master: String,
    /// The containers whose configurations name it.
    pub used_by: Vec<String>,
    /// What else is to be known of it, in the helper's words; may be empty.
    pub note: String,
    /// Whether it is a card for a net without cables.
    pub is_wireless: bool,
    /// Whether this computer reaches others by it.
    pub is_way_out: bool,
    /// The kinds of interfaces of containers that it can be the link of, and `port` where
    /// a bridge can have it.
    pub serves: Vec<String>,
}

impl HostInterface {
    /// Whether it can be the link of an interface of this kind, or a bridge's `port`.
    #[must_use]
    pub fn can_be(&self, kind: &str) -> bool {
        self.serves.iter().any(|one| one == kind)
    }

    /// It in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} · {}", self.name, self.kind)
    }
}

impl Backend {
    /// What a running container has of this computer's.
    ///
    /// # Errors
    /// Those of `Devices.List` in the contract.
    pub async fn list_devices(&self, container: &str) -> Result<Vec<Device>> {
        let list = self.devices(container).await?.list().await?;
        Ok(list.iter().map(Device::read).collect())
    }

    /// Gives a running container a device node of this computer; an empty path is that
    /// of the computer.
    ///
    /// # Errors
    /// Those of `Devices.AddNode` in the contract.
    pub async fn add_node(&self, container: &str, host: &str, path: &str) -> Result<()> {
        let proxy = self.devices(container).await?;
        proxy.add_node(host, path, HashMap::new()).await
    }

    /// Lends a running container a network interface of this computer; an empty name is
    /// that of the computer.
    ///
    /// # Errors
    /// Those of `Devices.AddInterface` in the contract.
    pub async fn lend_interface(&self, container: &str, host: &str, name: &str) -> Result<()> {
        let proxy = self.devices(container).await?;
        proxy.add_interface(host, name, HashMap::new()).await
    }

    /// Takes a device node or an interface back.
    ///
    /// # Errors
    /// Those of `Devices.RemoveNode` and `Devices.RemoveInterface` in the contract.
    pub async fn take_back(&self, container: &str, device: &Device) -> Result<()> {
        let proxy = self.devices(container).await?;
        match device {
            Device::Node { path, .. } => proxy.remove_node(path, HashMap::new()).await,
            Device::Interface { name, .. } => proxy.remove_interface(name, HashMap::new()).await,
        }
    }

    /// This computer's network interfaces, but for the loopback.
    ///
    /// # Errors
    /// Those of `Manager.ListHostInterfaces` in the contract.
    pub async fn host_interfaces(&self) -> Result<Vec<HostInterface>> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let list = manager.list_host_interfaces().await?;
        let interfaces = list.iter().map(|from| {
            let mut interface = HostInterface::default();
            read(from, "name", &mut interface.name);
            read(from, "kind", &mut interface.kind);
            read(from, "up", &mut interface.is_up);
            read(from, "addresses", &mut interface.addresses);
            read(from, "master", &mut interface.master);
            read(from, "used_by", &mut interface.used_by);
            read(from, "note", &mut interface.note);
            read(from, "wireless", &mut interface.is_wireless);
            read(from, "uplink", &mut interface.is_way_out);
            read(from, "serves", &mut interface.serves);
            interface
        });
        Ok(interfaces.filter(|one| one.name != "lo").collect())
    }

    async fn devices(&self, container: &str) -> Result<DevicesProxy<'static>> {
        let bus = self.bus()?;
        Ok(DevicesProxy::builder(&bus)
            .path(path(container)?)?
            .build()
            .await?)
    }
}
