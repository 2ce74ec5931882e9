//! What networks keep for containers, ports and addresses, goes with them.

use crate::engine::Engine;
use crate::network::definitions;
use gantry_core::config::Config;
use gantry_core::name::ContainerName;
use gantry_core::networks::Network;
use gantry_core::settings::Settings;

impl Engine {
    /// Frees what was kept for a container that is no more: the host's ports that led to it,
    /// and the addresses of the interfaces in its config.
    pub(in crate::engine) async fn leave_networks(&self, gone: &ContainerName, config: &Config) {
        let macs = macs_of(config);
        let free = |network: &mut Network| {
            network
                .forwards
                .retain(|one| one.container != gone.as_str());
            let forwards = &network.forwards;
            network.reservations.retain(|one| {
                !macs.contains(&one.mac) || forwards.iter().any(|to| to.address == one.address)
            });
        };
        self.change_networks(free).await;
    }

    /// Has what is kept for a container go by its new name.
    pub(in crate::engine) async fn rename_in_networks(
        &self,
        old: &ContainerName,
        new: &ContainerName,
    ) {
        let rename = |network: &mut Network| {
            let theirs = network.forwards.iter_mut();
            for forward in theirs.filter(|one| one.container == old.as_str()) {
                forward.container = new.to_string();
            }
        };
        self.change_networks(rename).await;
    }

    /// The containers' own change has been made: what fails here is only told.
    async fn change_networks(&self, change: impl Fn(&mut Network)) {
        let _lock = self.0.networks.lock().await;
        for definition in definitions::all().unwrap_or_default() {
            let name = definition.name.as_str();
            let changed = self.change_network(name, |network| {
                change(network);
                Ok(())
            });
            // One that cannot be read keeps nothing that is in use.
            if definition.network.is_ok()
                && let Err(error) = changed.await
            {
                tracing::warn!("the network {name} still keeps what was a container's: {error}");
            }
        }
    }
}

fn macs_of(config: &Config) -> Vec<String> {
    let Ok(settings) = Settings::from_config(config) else {
        return Vec::new();
    };
    let interfaces = settings.networks.values();
    interfaces
        .filter_map(|one| one.hwaddr.as_ref())
        .map(|address| address.to_string().to_ascii_lowercase())
        .collect()
}
