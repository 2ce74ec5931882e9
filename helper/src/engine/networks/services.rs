//! What services of the host's own are told of a network: the names of its containers, to
//! whatever the host finds names with, and its bridge, to what keeps a firewall of its own.
//! A network is up also where that fails.

use super::up::{old_network, recorded};
use crate::engine::{Engine, Result};
use crate::network::bridge;
use crate::network::names::{self, Asker};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _};
use gantry_core::networks::{Network, Places};
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::Path;

/// The host's services.
pub(crate) trait HostServices: Debug + Send + Sync {
    /// Has systemd-resolved, where it runs, ask these servers for the names of a domain,
    /// which are found by way of a link; without a domain it asks them for nothing.
    fn resolve<'a>(
        &'a self,
        link: u32,
        domain: &'a str,
        servers: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<()>>;

    /// Has firewalld, where it runs, let through what a network's bridge needs while it is
    /// up: what it rejects, no rule of ours lets through.
    fn let_through<'a>(&'a self, bridge: &'a str, is_up: bool) -> BoxFuture<'a, Result<()>>;

    /// Tells each time that firewalld has begun, which may not know of bridges that are up.
    fn firewall_begins(&self) -> BoxFuture<'_, Result<BoxStream<'static, ()>>>;

    /// Has a dnsmasq of the host's, where it runs, read its files anew, and waits for it.
    fn reload(&self, asker: Asker) -> BoxFuture<'_, Result<()>>;
}

impl Engine {
    /// Before a network's dnsmasq starts, whose addresses another may have taken.
    pub(super) async fn make_room_for_names(&self, network: &Network) -> Result<()> {
        let changed = names::write(network)?;
        self.reload_names(&changed).await;
        Ok(())
    }

    /// Once the network's dnsmasq answers. What systemd-resolved is told of a link goes
    /// with the link.
    pub(super) async fn tell_names(&self, network: &Network) -> Result<()> {
        let Some(host) = &self.0.services else {
            return Ok(());
        };
        let domain = if network.has_server() {
            network.domain.as_str()
        } else {
            ""
        };
        let servers: Vec<IpAddr> = network.addresses().map(|home| home.address).collect();
        if let Some(link) = bridge::find(network.name.as_str()).await?
            && let Err(error) = host.resolve(link.index, domain, &servers).await
        {
            tracing::warn!("{error}");
        }
        Ok(())
    }

    /// After every rule of ours is there. A bridge with an uplink is the host's own way out,
    /// which its administrator has a zone for.
    pub(super) async fn let_through(&self, network: &Network, is_up: bool) {
        let Some(host) = &self.0.services else { return };
        if network.uplink.is_empty()
            && let Err(error) = host.let_through(network.name.as_str(), is_up).await
        {
            tracing::warn!("{error}");
        }
    }

    /// Has firewalld let through what is up whenever it begins, for as long as this helper
    /// lives; the next one does so when it repairs networks, and begins with firewalld.
    pub(super) async fn follow_firewall(&self) {
        let Some(host) = &self.0.services else { return };
        let mut begins = match host.firewall_begins().await {
            Ok(begins) => begins,
            Err(error) => return tracing::warn!("{error}"),
        };
        let engine = self.clone();
        tokio::spawn(async move {
            while begins.next().await.is_some() {
                let _lock = engine.0.networks.lock().await;
                for name in recorded() {
                    let record = Places::of(&name).record();
                    if Path::new(&record).exists() {
                        let network = old_network(&record, &name);
                        engine.let_through(&network, true).await;
                    }
                }
            }
        });
    }

    /// Forgets the names of networks that are not up.
    pub(super) async fn forget_names(&self) -> Result<()> {
        let up = recorded();
        let changed = names::remove_unless(|name| up.iter().any(|one| one.as_str() == name))?;
        self.reload_names(&changed).await;
        Ok(())
    }

    async fn reload_names(&self, askers: &[Asker]) {
        let Some(host) = &self.0.services else { return };
        for asker in askers {
            if let Err(error) = host.reload(*asker).await {
                tracing::warn!("{error}");
            }
        }
    }
}
