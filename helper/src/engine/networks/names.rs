//! The names of a network's containers, for the host: told to whatever it finds names with.
//! A network is up also where that fails.

use super::up::recorded;
use crate::engine::{Engine, Result};
use crate::network::bridge;
use crate::network::names::{self, Asker};
use futures_util::future::BoxFuture;
use gantry_core::networks::Network;
use std::fmt::Debug;
use std::net::IpAddr;

/// The host's services for names.
pub(crate) trait HostNames: Debug + Send + Sync {
    /// Has systemd-resolved, where it runs, ask these servers for the names of a domain,
    /// which are found by way of a link; without a domain it asks them for nothing.
    fn resolve<'a>(
        &'a self,
        link: u32,
        domain: &'a str,
        servers: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<()>>;

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
        let Some(host) = &self.0.names else {
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

    /// Forgets the names of networks that are not up.
    pub(super) async fn forget_names(&self) -> Result<()> {
        let up = recorded();
        let changed = names::remove_unless(|name| up.iter().any(|one| one.as_str() == name))?;
        self.reload_names(&changed).await;
        Ok(())
    }

    async fn reload_names(&self, askers: &[Asker]) {
        let Some(host) = &self.0.names else { return };
        for asker in askers {
            if let Err(error) = host.reload(*asker).await {
                tracing::warn!("{error}");
            }
        }
    }
}
