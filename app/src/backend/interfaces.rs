use std::collections::HashMap;

use gantry_api::{InterfacesProxy, Result};
use zbus::zvariant::Value;

use super::{
    Backend,
    calls::path,
    properties::{Properties, read},
};

/// A network interface of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its number in the configuration, which names it.
    pub index: u32,
    /// What it is to be, and of what is not said there, what it is.
    pub plan: InterfacePlan,
    /// Whether something is at the other end; none where that is not known.
    pub carrier: Option<bool>,
    /// The addresses that it has, with prefix lengths.
    pub addresses: Vec<String>,
    /// The seconds after which its change is taken back unless that is confirmed.
    pub confirm_within: Option<u32>,
}

/// What an interface is to be. Empty texts, empty lists and 0 stand for nothing said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfacePlan {
    /// `veth`, `macvlan`, `ipvlan`, `vlan`, `phys`, `empty` or `none`.
    pub kind: String,
    /// The network, or the interface of this computer, that it is plugged into.
    pub link: String,
    /// Its name in the container.
    pub name: String,
    /// Its hardware address.
    pub hwaddr: String,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// Its IPv4 addresses, with prefix lengths.
    pub ipv4: Vec<String>,
    /// By which address IPv4 leaves: `auto`, `dev` or one.
    pub ipv4_gateway: String,
    /// Its IPv6 addresses, with prefix lengths.
    pub ipv6: Vec<String>,
    /// By which address IPv6 leaves.
    pub ipv6_gateway: String,
    /// Of a VLAN, its number.
    pub vlan_id: u32,
    /// Of a macvlan: `private`, `vepa`, `bridge` or `passthru`.
    pub macvlan_mode: String,
    /// Whether it is up.
    pub up: bool,
}

impl Interface {
    fn of(from: &Properties) -> Self {
        let mut one = Self::default();
        read(from, "index", &mut one.index);
        read(from, "addresses", &mut one.addresses);
        let plan = &mut one.plan;
        read(from, "type", &mut plan.kind);
        read(from, "link", &mut plan.link);
        read(from, "name", &mut plan.name);
        read(from, "hwaddr", &mut plan.hwaddr);
        read(from, "mtu", &mut plan.mtu);
        read(from, "ipv4", &mut plan.ipv4);
        read(from, "ipv4_gateway", &mut plan.ipv4_gateway);
        read(from, "ipv6", &mut plan.ipv6);
        read(from, "ipv6_gateway", &mut plan.ipv6_gateway);
        read(from, "vlan_id", &mut plan.vlan_id);
        read(from, "macvlan_mode", &mut plan.macvlan_mode);
        read(from, "up", &mut plan.up);
        if from.contains_key("carrier") {
            read(from, "carrier", one.carrier.insert(false));
        }
        if from.contains_key("confirm_within") {
            read(from, "confirm_within", one.confirm_within.insert(0));
        }
        one
    }

    /// What it is called in the container; its number where that is not known.
    #[must_use]
    pub fn title(&self) -> String {
        match self.plan.name.as_str() {
            "" => format!("lxc.net.{}", self.index),
            name => name.to_owned(),
        }
    }

    /// Whether it is one that is plugged in somewhere.
    #[must_use]
    pub fn has_plug(&self) -> bool {
        !matches!(self.plan.kind.as_str(), "empty" | "none")
    }
}

impl Backend {
    /// A container's network interfaces, by number.
    ///
    /// # Errors
    /// Those of `Interfaces.List` in the contract.
    pub async fn interfaces(&self, container: &str) -> Result<Vec<Interface>> {
        let list = self.wires(container).await?.list().await?;
        Ok(list.iter().map(Interface::of).collect())
    }

    /// Gives a container an interface.
    ///
    /// # Errors
    /// Those of `Interfaces.Add` in the contract.
    pub async fn add_interface(&self, container: &str, new: &InterfacePlan) -> Result<()> {
        let nothing = InterfacePlan {
            // What is down is asked for.
            up: true,
            ..InterfacePlan::default()
        };
        let options = difference(&nothing, new);
        self.wires(container).await?.add(options).await.map(|_| ())
    }

    /// Makes an interface what it is to be, in what differs from what it was.
    ///
    /// # Errors
    /// Those of `Interfaces.Configure` in the contract.
    pub async fn configure_interface(
        &self,
        container: &str,
        index: u32,
        (old, new): (&InterfacePlan, &InterfacePlan),
    ) -> Result<()> {
        let proxy = self.wires(container).await?;
        proxy.configure(index, difference(old, new)).await
    }

    /// Plugs an interface in elsewhere, or pulls its cable where the link is empty.
    ///
    /// # Errors
    /// Those of `Interfaces.Connect` and `Interfaces.Disconnect` in the contract.
    pub async fn plug(&self, container: &str, index: u32, link: &str) -> Result<()> {
        let proxy = self.wires(container).await?;
        match link {
            "" => proxy.disconnect(index, HashMap::new()).await,
            link => proxy.connect(index, link, HashMap::new()).await,
        }
    }

    /// Takes an interface away.
    ///
    /// # Errors
    /// Those of `Interfaces.Remove` in the contract.
    pub async fn remove_interface(&self, container: &str, index: u32) -> Result<()> {
        let proxy = self.wires(container).await?;
        proxy.remove(index, HashMap::new()).await
    }

    /// Takes the changes of a container's interfaces back that wait to be confirmed and are
    /// about this interface of the computer; whether there was one.
    ///
    /// # Errors
    /// Those of `Interfaces.List` and `Interfaces.Revert` in the contract.
    pub(super) async fn revert_wires(&self, container: &str, link: &str) -> Result<bool> {
        let proxy = self.wires(container).await?;
        let all = self.interfaces(container).await?.into_iter();
        let mut found = false;
        for one in all.filter(|one| one.confirm_within.is_some() && one.plan.link == link) {
            proxy.revert(one.index, HashMap::new()).await?;
            found = true;
        }
        Ok(found)
    }

    async fn wires(&self, container: &str) -> Result<InterfacesProxy<'static>> {
        let bus = self.bus()?;
        Ok(InterfacesProxy::builder(&bus)
            .path(path(container)?)?
            .build()
            .await?)
    }
}

/// The options that make one of the other.
fn difference<'a>(old: &InterfacePlan, new: &'a InterfacePlan) -> HashMap<&'static str, Value<'a>> {
    let mut all = options(new);
    let before = options(old);
    all.retain(|key, value| before.get(key) != Some(value));
    all
}

fn options(plan: &InterfacePlan) -> HashMap<&'static str, Value<'_>> {
    HashMap::from([
        ("type", plan.kind.as_str().into()),
        ("link", plan.link.as_str().into()),
        ("name", plan.name.as_str().into()),
        ("hwaddr", plan.hwaddr.as_str().into()),
        ("mtu", plan.mtu.into()),
        ("ipv4", plan.ipv4.clone().into()),
        ("ipv4_gateway", plan.ipv4_gateway.as_str().into()),
        ("ipv6", plan.ipv6.clone().into()),
        ("ipv6_gateway", plan.ipv6_gateway.as_str().into()),
        ("vlan_id", plan.vlan_id.into()),
        ("macvlan_mode", plan.macvlan_mode.as_str().into()),
        ("up", plan.up.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_to_be_different_is_asked_for() {
        let old = InterfacePlan {
            kind: "veth".into(),
            link: "lxcbr0".into(),
            ipv4: vec!["10.0.3.7/24".into()],
            up: true,
            ..InterfacePlan::default()
        };
        assert!(difference(&old, &old).is_empty());
        let new = InterfacePlan {
            ipv4: Vec::new(),
            mtu: 1400,
            ..old.clone()
        };
        let asked = difference(&old, &new);
        assert_eq!(asked.len(), 2);
        assert_eq!(asked.get("mtu"), Some(&Value::from(1400u32)));
        assert_eq!(asked.get("ipv4"), Some(&Value::from(Vec::<String>::new())));
    }
}
