//! The interface of a network.

use std::sync::Arc;

use gantry_api::Error;
use gantry_core::{name::ContainerName, networks::Reservation};
use zbus::{interface, message::Header};

use super::{
    Bus,
    admission::shortened,
    error::Result,
    networks::change_request,
    options::{Dictionary, Options},
};
use crate::engine::{NetworkFacts, NewForward};

/// What is served at a network's path.
pub(super) struct NetworkObject {
    pub(super) bus: Arc<Bus>,
    /// What was known when it was put on the bus.
    pub(super) first: Arc<NetworkFacts>,
}

impl NetworkObject {
    fn facts(&self) -> Arc<NetworkFacts> {
        self.bus
            .known_network(&self.first.name)
            .unwrap_or_else(|| self.first.clone())
    }

    async fn permit<T>(&self, header: &Header<'_>, request: gantry_api::Result<T>) -> Result<T> {
        self.bus
            .permit_network(header, &self.first.name, request)
            .await
    }
}

#[interface(name = "io.gantry.Gantry1.Network")]
impl NetworkObject {
    /// Brings the network up: its bridge, the host's addresses on it, dnsmasq for
    /// addresses and names, and the rules that let packets through. It stays up until
    /// Down or until the host goes down. One that is up is put in order.
    async fn up(&self, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.permit(&header, Ok(())).await?;
        let done = self.bus.engine.network_up(&self.first.name).await;
        self.bus.list_networks().await;
        Ok(done?)
    }

    /// Takes the network down. Refused while something is plugged into it.
    async fn down(&self, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.permit(&header, Ok(())).await?;
        let done = self.bus.engine.network_down(&self.first.name).await;
        self.bus.list_networks().await;
        Ok(done?)
    }

    /// Changes what the network is, where it is described: LXC's in /etc/default/lxc-net.
    /// One that is up goes by it at once. Options as of Manager.CreateNetwork; an empty
    /// string takes away. An uplink by which the host reaches everybody goes back after 20
    /// seconds unless Manager.ConfirmInterface is called. One more: take_over b (Gantry runs
    /// the network also where LXC's service or another program has made its bridge, with all
    /// that is plugged in; what LXC's service runs for it is ended).
    async fn configure(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let change = self.permit(&header, change_request(options)).await?;
        let name = &self.first.name;
        let done = self.bus.engine.configure_network(name, &change).await;
        self.bus.list_networks().await;
        Ok(done?)
    }

    /// Takes the network down and forgets it. Refused while something is plugged into it
    /// or a container's config names it. Options: force b (also when a config does).
    async fn delete(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<()> {
        let force = Options::read(options, |options| options.flag("force"));
        let force = self.permit(&header, force).await?;
        let name = &self.first.name;
        let done = self.bus.engine.delete_network(name, force).await;
        self.bus.list_networks().await;
        Ok(done?)
    }

    /// The addresses that were given out: MAC address, address, name, and until when in
    /// seconds since 1970 (0 for ever).
    #[zbus(out_args("leases"))]
    async fn leases(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<(String, String, String, i64)>> {
        self.permit(&header, Ok(())).await?;
        let leases = self.bus.engine.leases(&self.first.name).await?;
        Ok(leases
            .into_iter()
            .map(|lease| (lease.mac, lease.address, lease.name, lease.expires))
            .collect())
    }

    /// Has the interface with this MAC address always get this address, and this name
    /// unless it is empty, from its next lease on.
    async fn add_reservation(
        &self,
        mac: &str,
        ip: &str,
        name: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let address = ip
            .parse()
            .map_err(|_| Error::InvalidArgument(format!("{} is not an address", shortened(ip))));
        let request = address.map(|address| Reservation {
            mac: mac.to_ascii_lowercase(),
            address,
            name: name.to_owned(),
        });
        let new = self.permit(&header, request).await?;
        Ok(self
            .bus
            .engine
            .add_reservation(&self.first.name, new)
            .await?)
    }

    /// Lets the interface with this MAC address get any address again.
    async fn remove_reservation(
        &self,
        mac: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.permit(&header, Ok(())).await?;
        let name = &self.first.name;
        Ok(self.bus.engine.remove_reservation(name, mac).await?)
    }

    /// The addresses that are always the same interface's: MAC address, address, name.
    #[zbus(out_args("reservations"))]
    async fn reservations(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<(String, String, String)>> {
        self.permit(&header, Ok(())).await?;
        let reservations = self.bus.engine.reservations(&self.first.name).await?;
        Ok(reservations
            .into_iter()
            .map(|one| (one.mac, one.address.to_string(), one.name))
            .collect())
    }

    /// Has a port of the host lead to a container: proto is tcp or udp. A container that
    /// gets its address by DHCP keeps the one it has, which is reserved for it. No options.
    async fn add_forward(
        &self,
        proto: &str,
        host_port: u32,
        container: &str,
        port: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::none(options).and_then(|()| {
            Ok(NewForward {
                protocol: read_protocol(proto)?,
                host_port: read_port(host_port)?,
                container: ContainerName::new(container)
                    .map_err(|error| Error::InvalidName(error.to_string()))?,
                port: read_port(port)?,
            })
        });
        let new = self.permit(&header, request).await?;
        Ok(self.bus.engine.add_forward(&self.first.name, new).await?)
    }

    /// Has a port of the host lead nowhere again.
    async fn remove_forward(
        &self,
        proto: &str,
        host_port: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = read_protocol(proto).and_then(|proto| Ok((proto, read_port(host_port)?)));
        let (protocol, port) = self.permit(&header, request).await?;
        let name = &self.first.name;
        Ok(self
            .bus
            .engine
            .remove_forward(name, &protocol, port)
            .await?)
    }

    /// The ports of the host that lead into the network: proto, the host's port, the
    /// container, its port.
    #[zbus(out_args("forwards"))]
    async fn forwards(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<(String, u32, String, u32)>> {
        self.permit(&header, Ok(())).await?;
        let forwards = self.bus.engine.forwards(&self.first.name).await?;
        Ok(forwards
            .into_iter()
            .map(|one| {
                let (host_port, port) = (one.host_port.into(), one.port.into());
                (one.protocol, host_port, one.container, port)
            })
            .collect())
    }

    /// Has the bridge treat a port, by the host's name for it, otherwise: a container's also
    /// after its next start, another's until it is gone. Options: hairpin b (frames go back by the port that they came from), isolated
    /// b (nothing passes between this port and others that are isolated).
    async fn set_port(
        &self,
        port: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::read(options, |options| {
            Ok((options.take("hairpin")?, options.take("isolated")?))
        });
        let (hairpin, isolated) = self.permit(&header, request).await?;
        let name = &self.first.name;
        Ok(self
            .bus
            .engine
            .set_port(name, port, hairpin, isolated)
            .await?)
    }

    /// Its name, which is that of its bridge.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.first.name
    }

    /// What switches its frames: bridge or ovs.
    #[zbus(property)]
    fn driver(&self) -> String {
        self.facts().driver.to_owned()
    }

    /// Whether it is Gantry's own; or else LXC's service or another program runs it.
    #[zbus(property)]
    fn managed(&self) -> bool {
        self.facts().managed
    }

    /// Whether its bridge is up.
    #[zbus(property, name = "Up")]
    fn is_up(&self) -> bool {
        self.facts().up
    }

    /// The host's addresses in it, with prefix lengths.
    #[zbus(property)]
    fn addresses(&self) -> Vec<String> {
        self.facts().addresses.clone()
    }

    /// Whether its containers' addresses are hidden behind the host's when they leave.
    #[zbus(property)]
    fn nat(&self) -> bool {
        self.facts().nat
    }

    /// Whether nothing passes between it and other networks: its containers reach each
    /// other and the host.
    #[zbus(property)]
    fn isolated(&self) -> bool {
        self.facts().isolated
    }

    /// The interface of the host that is a port of its bridge, so that its containers are
    /// in the net outside; empty if none.
    #[zbus(property)]
    fn uplink(&self) -> String {
        self.facts().uplink.clone()
    }

    /// Whether addresses are given out.
    #[zbus(property)]
    fn dhcp(&self) -> bool {
        self.facts().dhcp
    }

    /// The first and the last of them, with a comma between.
    #[zbus(property)]
    fn dhcp_range(&self) -> String {
        self.facts().dhcp_range.clone()
    }

    /// The domain of its containers; empty if none.
    #[zbus(property)]
    fn domain(&self) -> String {
        self.facts().domain.clone()
    }

    /// Whether it comes up with the host, or else when a container needs it.
    #[zbus(property)]
    fn autostart(&self) -> bool {
        self.facts().autostart
    }

    /// What is plugged into it: the host's interface, the container and its interface;
    /// empty where that is not known.
    #[zbus(property)]
    fn ports(&self) -> Vec<(String, String, String)> {
        self.facts().ports.clone()
    }

    /// Why its description cannot be used; empty when it can.
    #[zbus(property)]
    fn fault(&self) -> String {
        self.facts().fault.clone()
    }
}

fn read_protocol(text: &str) -> gantry_api::Result<String> {
    match text {
        "tcp" | "udp" => Ok(text.to_owned()),
        _ => Err(Error::InvalidArgument(format!(
            "{} cannot be forwarded; give tcp or udp",
            shortened(text)
        ))),
    }
}

fn read_port(number: u32) -> gantry_api::Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Error::InvalidArgument(format!("{number} is not a port; give 1 to 65535")))
}
