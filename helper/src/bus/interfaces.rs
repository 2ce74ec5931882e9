//! The interface of a container's network interfaces.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gantry_core::values::unsigned;
use tracing::warn;
use zbus::{
    interface,
    message::Header,
    object_server::SignalEmitter,
    zvariant::{OwnedValue, Value},
};

use super::{
    Bus,
    admission::Risk,
    containers::path_of,
    error::Result,
    options::{Dictionary, OptionValue, Options, Wrong},
};
use crate::engine::{ContainerId, Wire, WireAction, WireChange};

/// After a change was taken back, until everybody is told.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What is served at a container's path for its network interfaces.
pub(super) struct InterfacesObject {
    pub(super) bus: Arc<Bus>,
    pub(super) id: ContainerId,
}

impl InterfacesObject {
    /// Does something to the container's interfaces if the caller may.
    async fn change(
        &self,
        header: &Header<'_>,
        request: gantry_api::Result<(WireAction, bool)>,
    ) -> Result<u32> {
        let admitted = self
            .bus
            .admit(header, Ok(self.id.clone()), request, |(action, _)| {
                Risk::Wire(Box::new(action.clone()))
            })
            .await?;
        let (action, confirmed) = &admitted.request;
        let engine = &self.bus.engine;
        let (number, waits) = engine.change_wire(&admitted.id, action, *confirmed).await?;
        self.bus.settle(&admitted.id).await;
        self.bus.tell_wires_changed(&admitted.id).await;
        if let Some(waits) = waits {
            let (bus, id) = (self.bus.clone(), admitted.id);
            tokio::spawn(async move {
                tokio::time::sleep(waits + AFTERWARDS).await;
                if let Err(error) = bus.engine.wires_changed(&id).await {
                    warn!(%error, %id, "could not look at a container");
                }
                bus.tell_wires_changed(&id).await;
            });
        }
        Ok(number)
    }

    /// Lets a call about a change that waits to be confirmed pass or refuses it.
    async fn settle(&self, header: &Header<'_>, options: Dictionary) -> Result<ContainerId> {
        let request = Options::none(options);
        let admitted = self
            .bus
            .admit(header, Ok(self.id.clone()), request, |()| Risk::None)
            .await?;
        Ok(admitted.id)
    }
}

impl Bus {
    async fn tell_wires_changed(&self, id: &ContainerId) {
        let path = path_of(id);
        if let Err(error) = InterfacesObject::changed(&self.emitter(&path)).await {
            warn!(%error, %id, "could not announce a change of interfaces");
        }
    }
}

#[interface(name = "io.gantry.Gantry1.Interfaces")]
impl InterfacesObject {
    /// The interfaces of the config, by index u (N of lxc.net.N): type s, and those of link s,
    /// name s, hwaddr s, mtu u, ipv4 as, ipv4_gateway s, ipv6 as, ipv6_gateway s, host_name s,
    /// vlan_id u, macvlan_mode s and up b that it has. Of a container that runs also: carrier b
    /// (something is at the other end), addresses as (those that it has, with prefix lengths),
    /// what the config leaves open of name, hwaddr, mtu and host_name, and confirm_within u
    /// (seconds) of a change that waits to be confirmed.
    #[zbus(out_args("interfaces"))]
    async fn list(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<HashMap<&'static str, Value<'static>>>> {
        let admitted = self
            .bus
            .admit(&header, Ok(self.id.clone()), Ok(()), |()| Risk::None)
            .await?;
        let wires = self.bus.engine.wires(&admitted.id).await?;
        Ok(wires.iter().map(entry).collect())
    }

    /// Adds an interface, at once where the container runs, and gives its index: the first
    /// that is free. Options: type s (needed), the others that List gives of the config (a
    /// list also as one string), and confirmed b. Without a name it is the first free ethN;
    /// without hwaddr it gets one, with x for random digits these are filled in; it is up
    /// unless told otherwise. phys and none need io.gantry.manage-unsafe.
    ///
    /// What would take the host's way out (phys, or macvlan in mode passthru, of an interface
    /// with a default route, or with something on top that has one) is taken back after 20 s
    /// unless Confirm is called, and is saved only then; with confirmed it stays. The same
    /// goes for one that the container starts with, until it is confirmed once.
    #[zbus(out_args("index"))]
    async fn add(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<u32> {
        let request = wanted(options);
        let request = request.map(|(change, confirmed)| (WireAction::Add(change), confirmed));
        self.change(&header, request).await
    }

    /// Removes an interface; the indices of the others stay. No options.
    async fn remove(
        &self,
        index: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::none(options).map(|()| (WireAction::Remove(index), false));
        self.change(&header, request).await.map(drop)
    }

    /// Plugs an interface in elsewhere: a veth into a bridge or network, another one onto an
    /// interface of the host. Whoever listens in the container sees the cable pulled and
    /// plugged in. Options: confirmed b, as of Add.
    async fn connect(
        &self,
        index: u32,
        link: String,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::read(options, |options| {
            let confirmed = options.flag("confirmed")?;
            Ok((WireAction::Connect(index, link), confirmed))
        });
        self.change(&header, request).await.map(drop)
    }

    /// Pulls the cable of a veth: its host's end leaves the bridge and goes down, until it is
    /// connected again. No options.
    async fn disconnect(
        &self,
        index: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::none(options).map(|()| (WireAction::Disconnect(index), false));
        self.change(&header, request).await.map(drop)
    }

    /// Changes an interface. Options as of Add; what is left out stays as it is, and an empty
    /// string, an empty list or an mtu of 0 takes away. Another type makes it anew.
    async fn configure(
        &self,
        index: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = wanted(options);
        let request =
            request.map(|(change, confirmed)| (WireAction::Configure(index, change), confirmed));
        self.change(&header, request).await.map(drop)
    }

    /// Keeps a change that took the host's way out, and saves it. No options.
    async fn confirm(
        &self,
        index: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let id = self.settle(&header, options).await?;
        self.bus.engine.confirm_wire(&id, index).await?;
        self.bus.settle(&id).await;
        self.bus.tell_wires_changed(&id).await;
        Ok(())
    }

    /// Takes such a change back at once. No options.
    async fn revert(
        &self,
        index: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let id = self.settle(&header, options).await?;
        self.bus.engine.revert_wire(&id, index).await?;
        self.bus.tell_wires_changed(&id).await;
        Ok(())
    }

    /// What List gives is different: an interface was changed by these methods, or a change
    /// was taken back.
    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

/// What an interface is to be, and whether that need not be confirmed.
fn wanted(options: Dictionary) -> gantry_api::Result<(WireChange, bool)> {
    Options::read(options, |options| {
        let change = WireChange {
            kind: options.take("type")?,
            link: options.take("link")?,
            name: options.take("name")?,
            hwaddr: options.take("hwaddr")?,
            mtu: options.take("mtu")?,
            ipv4: options.take("ipv4")?.map(|Texts(texts)| texts),
            ipv4_gateway: options.take("ipv4_gateway")?,
            ipv6: options.take("ipv6")?.map(|Texts(texts)| texts),
            ipv6_gateway: options.take("ipv6_gateway")?,
            host_name: options.take("host_name")?,
            vlan_id: options.take("vlan_id")?,
            macvlan_mode: options.take("macvlan_mode")?,
            up: options.take("up")?,
        };
        Ok((change, options.flag("confirmed")?))
    })
}

/// One string or several.
struct Texts(Vec<String>);

impl OptionValue for Texts {
    const KIND: &'static str = "a list of strings (as), or one (s)";

    fn read(value: OwnedValue) -> std::result::Result<Self, Wrong> {
        let texts = match &*value {
            Value::Str(text) => vec![text.to_string()],
            _ => Vec::<String>::try_from(value).map_err(|_| Wrong::Type)?,
        };
        if texts.iter().any(|text| text.chars().any(char::is_control)) {
            return Err(Wrong::Text);
        }
        Ok(Self(texts))
    }
}

/// An interface as List gives it.
fn entry(wire: &Wire) -> HashMap<&'static str, Value<'static>> {
    let has = |part: &str| wire.lines.iter().any(|(other, _)| other == part);
    let values = |part: &str| -> Vec<String> {
        let lines = wire.lines.iter().filter(|(other, _)| other == part);
        lines.map(|(_, value)| value.clone()).collect()
    };
    let mut entry = HashMap::from([
        ("index", Value::from(wire.number)),
        ("up", has("flags").into()),
    ]);
    for (key, part) in [
        ("type", "type"),
        ("link", "link"),
        ("name", "name"),
        ("hwaddr", "hwaddr"),
        ("ipv4_gateway", "ipv4.gateway"),
        ("ipv6_gateway", "ipv6.gateway"),
        ("host_name", "veth.pair"),
        ("macvlan_mode", "macvlan.mode"),
    ] {
        entry.extend(values(part).pop().map(|value| (key, value.into())));
    }
    for (key, part) in [("mtu", "mtu"), ("vlan_id", "vlan.id")] {
        let number = values(part).pop().and_then(|text| unsigned(&text).ok());
        entry.extend(number.map(|number| (key, number.into())));
    }
    for (key, part) in [("ipv4", "ipv4.address"), ("ipv6", "ipv6.address")] {
        if has(part) {
            entry.insert(key, values(part).into());
        }
    }
    let Some(live) = &wire.live else { return entry };
    for (key, value) in [
        ("name", &live.name),
        ("hwaddr", &live.hwaddr),
        ("host_name", &live.host_name),
    ] {
        if !value.is_empty() {
            entry.entry(key).or_insert_with(|| value.clone().into());
        }
    }
    entry.entry("mtu").or_insert_with(|| live.mtu.into());
    entry.insert("carrier", live.carrier.into());
    entry.insert("addresses", live.addresses.clone().into());
    if let Some(unconfirmed) = &live.unconfirmed {
        let seconds = u32::try_from(unconfirmed.seconds).unwrap_or(u32::MAX);
        entry.insert("confirm_within", seconds.into());
    }
    entry
}
