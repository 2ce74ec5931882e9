//! The host's own services that are told of networks: those for names (systemd-resolved, and
//! who starts a dnsmasq for the host), and firewalld.

use std::{fmt::Display, net::IpAddr, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{BoxFuture, ready},
    stream::BoxStream,
};
use tokio::time::timeout;
use zbus::{Connection, fdo::DBusProxy, names::BusName, proxy, zvariant::OwnedObjectPath};

use crate::engine::{Asker, Error, HostServices, Result};

/// How long systemd may take to start a dnsmasq anew.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long firewalld may take to answer, who may be loading its rules.
const FIREWALL_PATIENCE: Duration = Duration::from_secs(60);
/// What NetworkManager is to read anew: it starts its dnsmasq once more.
const DNS_FULL: u32 = 0x4;
/// The service of the system's dnsmasq.
const DNSMASQ: &str = "dnsmasq.service";
/// firewalld's name, and the zone that the package brings for bridges of networks.
const FIREWALLD: &str = "org.fedoraproject.FirewallD1";
const ZONE: &str = "gantry";

/// org.freedesktop.resolve1(5).
#[proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1",
    gen_blocking = false
)]
trait Resolved {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, link: i32, servers: &[(i32, Vec<u8>)]) -> zbus::Result<()>;
    fn set_link_domains(&self, link: i32, domains: &[(&str, bool)]) -> zbus::Result<()>;
    fn set_link_default_route(&self, link: i32, enable: bool) -> zbus::Result<()>;
    fn revert_link(&self, link: i32) -> zbus::Result<()>;
}

/// NetworkManager's D-Bus API.
#[proxy(
    interface = "org.freedesktop.NetworkManager",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager",
    gen_blocking = false
)]
trait NetworkManager {
    fn reload(&self, flags: u32) -> zbus::Result<()>;
}

/// systemd's manager; org.freedesktop.systemd1(5).
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
trait Systemd {
    fn subscribe(&self) -> zbus::Result<()>;
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

/// firewalld.dbus(5).
#[proxy(
    interface = "org.fedoraproject.FirewallD1",
    default_service = "org.fedoraproject.FirewallD1",
    default_path = "/org/fedoraproject/FirewallD1",
    gen_blocking = false
)]
trait Firewalld {
    #[zbus(name = "getDefaultZone")]
    fn default_zone(&self) -> zbus::Result<String>;
}

/// Its zones as they are at present, until it reads its configuration anew.
#[proxy(
    interface = "org.fedoraproject.FirewallD1.zone",
    default_service = "org.fedoraproject.FirewallD1",
    default_path = "/org/fedoraproject/FirewallD1",
    gen_blocking = false
)]
trait FirewalldZones {
    #[zbus(name = "getZoneOfInterface")]
    fn zone_of_interface(&self, interface: &str) -> zbus::Result<String>;
    #[zbus(name = "changeZoneOfInterface")]
    fn change_zone_of_interface(&self, zone: &str, interface: &str) -> zbus::Result<String>;
    #[zbus(name = "removeInterface")]
    fn remove_interface(&self, zone: &str, interface: &str) -> zbus::Result<String>;
}

/// Its configuration.
#[proxy(
    interface = "org.fedoraproject.FirewallD1.config",
    default_service = "org.fedoraproject.FirewallD1",
    default_path = "/org/fedoraproject/FirewallD1/config",
    gen_blocking = false
)]
trait FirewalldConfig {
    #[zbus(name = "getZoneByName")]
    fn zone_by_name(&self, zone: &str) -> zbus::Result<OwnedObjectPath>;
}

/// A zone of it.
#[proxy(
    interface = "org.fedoraproject.FirewallD1.config.zone",
    default_service = "org.fedoraproject.FirewallD1",
    gen_blocking = false
)]
trait FirewalldZone {
    #[zbus(name = "queryInterface")]
    fn query_interface(&self, interface: &str) -> zbus::Result<bool>;
    #[zbus(name = "addInterface")]
    fn add_interface(&self, interface: &str) -> zbus::Result<()>;
    #[zbus(name = "removeInterface")]
    fn remove_interface(&self, interface: &str) -> zbus::Result<()>;
}

/// Those that are on the system bus.
#[derive(Debug)]
pub(crate) struct Services(Connection);

impl Services {
    /// Connects to the bus.
    ///
    /// # Errors
    /// Those of the bus.
    pub(crate) async fn open() -> zbus::Result<Self> {
        Connection::system().await.map(Self)
    }

    /// Whether somebody has a name now: nobody is started for this.
    async fn is_there(&self, name: &'static str) -> zbus::Result<bool> {
        let bus = DBusProxy::new(&self.0).await?;
        Ok(bus.name_has_owner(BusName::try_from(name)?).await?)
    }

    async fn set_link(&self, link: u32, domain: &str, servers: &[IpAddr]) -> zbus::Result<()> {
        if !self.is_there("org.freedesktop.resolve1").await? {
            return Ok(());
        }
        let resolved = ResolvedProxy::new(&self.0).await?;
        let link = link.cast_signed();
        if domain.is_empty() {
            return resolved.revert_link(link).await;
        }
        let servers: Vec<(i32, Vec<u8>)> = servers
            .iter()
            .map(|server| match server {
                IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
                IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
            })
            .collect();
        resolved.set_link_dns(link, &servers).await?;
        // Names of this domain go there, and no others.
        resolved.set_link_domains(link, &[(domain, true)]).await?;
        resolved.set_link_default_route(link, false).await
    }

    async fn read_anew(&self, asker: Asker) -> zbus::Result<()> {
        match asker {
            Asker::NetworkManager => {
                if self.is_there("org.freedesktop.NetworkManager").await? {
                    let manager = NetworkManagerProxy::new(&self.0).await?;
                    manager.reload(DNS_FULL).await?;
                }
                Ok(())
            }
            Asker::System => {
                if !self.is_there("org.freedesktop.systemd1").await? {
                    return Err(zbus::Error::Failure(
                        "it does not run here; have dnsmasq start anew by hand".to_owned(),
                    ));
                }
                let systemd = SystemdProxy::new(&self.0).await?;
                systemd.subscribe().await?;
                let mut removed = systemd.receive_job_removed().await?;
                let job = match systemd.try_restart_unit(DNSMASQ, "replace").await {
                    // It is not installed as a service.
                    Err(zbus::Error::MethodError(name, ..))
                        if name == "org.freedesktop.systemd1.NoSuchUnit" =>
                    {
                        return Ok(());
                    }
                    job => job?,
                };
                // Only then are the network's addresses free.
                let done = async {
                    while let Some(signal) = removed.next().await {
                        if signal.args().is_ok_and(|args| args.job == job) {
                            break;
                        }
                    }
                };
                timeout(PATIENCE, done)
                    .await
                    .map_err(|_| zbus::Error::Failure("it takes too long".to_owned()))
            }
        }
    }

    /// In its configuration, too, which is all that it knows when it has read that anew. What
    /// the administrator has put into another zone stays there; into the default one
    /// NetworkManager puts every bridge that it sees.
    async fn set_zone(&self, bridge: &str, is_up: bool) -> zbus::Result<()> {
        if !self.is_there(FIREWALLD).await? {
            return Ok(());
        }
        let zones = FirewalldZonesProxy::new(&self.0).await?;
        let present = zones.zone_of_interface(bridge).await?;
        let by_default = FirewalldProxy::new(&self.0).await?.default_zone().await?;
        if ![ZONE, &by_default, ""].contains(&present.as_str()) {
            return Ok(());
        }
        let config = FirewalldConfigProxy::new(&self.0).await?;
        let zone = config.zone_by_name(ZONE).await?;
        let zone = FirewalldZoneProxy::new(&self.0, zone).await?;
        let is_kept = zone.query_interface(bridge).await?;
        match (is_up, present == ZONE) {
            (true, false) => drop(zones.change_zone_of_interface(ZONE, bridge).await?),
            (false, true) => drop(zones.remove_interface(ZONE, bridge).await?),
            _ => {}
        }
        match (is_up, is_kept) {
            (true, false) => zone.add_interface(bridge).await,
            (false, true) => zone.remove_interface(bridge).await,
            _ => Ok(()),
        }
    }
}

impl HostServices for Services {
    fn resolve<'a>(
        &'a self,
        link: u32,
        domain: &'a str,
        servers: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.set_link(link, domain, servers)
                .await
                .map_err(|error| failed("systemd-resolved", &error))
        })
    }

    fn let_through<'a>(&'a self, bridge: &'a str, is_up: bool) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let done = timeout(FIREWALL_PATIENCE, self.set_zone(bridge, is_up)).await;
            let failed = |why: &dyn Display| {
                Error::Failed(format!(
                    "firewalld does not put {bridge} into its zone {ZONE}, so that containers there may get no addresses and reach nobody ({why}); run “firewall-cmd --reload” if the zone is new to it"
                ))
            };
            done.map_err(|_| failed(&"it takes too long"))?
                .map_err(|error| failed(&error))
        })
    }

    fn firewall_begins(&self) -> BoxFuture<'_, Result<BoxStream<'static, ()>>> {
        Box::pin(async move {
            let owners = async {
                let firewalld = FirewalldProxy::new(&self.0).await?;
                firewalld.inner().receive_owner_changed().await
            };
            let owners = owners.await.map_err(|error| {
                Error::Failed(format!("it is not heard when firewalld begins: {error}"))
            })?;
            let begun = owners.filter_map(|owner| ready(owner.map(drop)));
            Ok(begun.boxed())
        })
    }

    fn reload(&self, asker: Asker) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let who = match asker {
                Asker::NetworkManager => "NetworkManager",
                Asker::System => "systemd",
            };
            self.read_anew(asker)
                .await
                .map_err(|error| failed(who, &error))
        })
    }
}

fn failed(who: &str, error: &zbus::Error) -> Error {
    Error::Failed(format!(
        "the host does not learn the names of a network's containers from {who}: {error}"
    ))
}
