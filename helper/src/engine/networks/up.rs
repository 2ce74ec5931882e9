//! Bringing networks up and taking them down. One thing at a time: all of it is done
//! under one lock.

use super::NetworkFacts;
use super::keeper::{end, is_kept, keeper, reload};
use crate::engine::{Engine, Error, Result};
use crate::linux::files;
use crate::network::definitions::{self, Definition, Source};
use crate::network::interfaces::HostInterface;
use crate::network::{bridge, firewall, ovs, server, stock, uplink};
use gantry_core::name::InterfaceName;
use gantry_core::networks::{Driver, Network, Places, RUN_DIRECTORY, Subnet, file};
use gantry_core::settings::Settings;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

impl Engine {
    /// Brings a network up; one that is up is put in order.
    pub(crate) async fn network_up(&self, name: &str) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        match self.described(name).await {
            Ok(definition) => self.bring_up(definition).await,
            // Whoever runs it has brought it up.
            Err(error @ Error::WrongState(_)) => match bridge::find(name).await? {
                Some(link) if link.up => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Takes a network down on which no container is.
    pub(crate) async fn network_down(&self, name: &str) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        let facts = self.network(name).await?;
        if !facts.managed {
            return Err(Error::WrongState(format!(
                "the bridge {name} is run by another program; take it down there"
            )));
        }
        refuse_used(&facts)?;
        self.take_down(&super::network_name(name)?).await
    }

    /// Before a container starts: what it is wired to comes up if it is Gantry's and is
    /// not. What is nobody's is the start's own business.
    pub(crate) async fn ready_networks(&self, settings: &Settings) -> Result<()> {
        let links: BTreeSet<&str> = settings
            .networks
            .values()
            .filter_map(|network| network.link.as_deref())
            .collect();
        for link in links {
            let Ok(name) = InterfaceName::new(link) else {
                continue;
            };
            let places = Places::of(&name);
            // Who is just beginning is waited for below.
            if exists(link) && is_recorded(&places) && matches!(is_kept(&places), Ok(true)) {
                continue;
            }
            let _lock = self.0.networks.lock().await;
            if let Some(definition) = definitions::find(link)? {
                self.bring_up(definition).await?;
            }
        }
        Ok(())
    }

    /// Brings up the networks that are to come up with the host.
    pub(crate) async fn networks_of_boot(&self) {
        let _lock = self.0.networks.lock().await;
        let all = definitions::all().unwrap_or_else(|error| {
            tracing::error!("{error}");
            Vec::new()
        });
        for definition in all {
            let name = definition.name.clone();
            let wanted = definition
                .network
                .as_ref()
                .is_ok_and(|network| network.autostart);
            if wanted && let Err(error) = self.bring_up(definition).await {
                tracing::error!("bringing up the network {} failed: {error}", name.as_str());
            }
        }
    }

    /// Puts in order what a helper that was killed, or a keeper, has left half done.
    pub(in crate::engine) fn repair_networks(&self) {
        let engine = self.clone();
        tokio::spawn(async move {
            engine.follow_firewall().await;
            let _lock = engine.0.networks.lock().await;
            // The host may have gone down with networks that were up.
            if let Err(error) = engine.forget_names().await {
                tracing::error!("{error}");
            }
            for name in recorded() {
                engine.watch_keeper(&name);
                if let Err(error) = engine.repair(&name).await {
                    tracing::error!("repairing the network {} failed: {error}", name.as_str());
                }
            }
        });
    }

    pub(super) async fn repair(&self, name: &InterfaceName) -> Result<()> {
        let places = Places::of(name);
        if !Path::new(&places.record()).exists() {
            return self.take_down(name).await;
        }
        if Path::new(&places.trial()).exists() {
            // Nobody could confirm it any more.
            self.give_uplink_back(name).await?;
        }
        match definitions::find(name.as_str())? {
            Some(definition) => self.bring_up(definition).await,
            // Its description was deleted, and it is in use perhaps: it stays as it is.
            None => Ok(()),
        }
    }

    /// Every step may have been done already.
    pub(super) async fn bring_up(&self, definition: Definition) -> Result<()> {
        let places = Places::of(&definition.name);
        let link = bridge::find(definition.name.as_str()).await?;
        if let Some(link) = &link
            && !self.is_ours(link, &definition).await?
        {
            if is_recorded(&places) {
                // LXC's service, for one, makes its bridge anew when it starts.
                self.take_down(&definition.name).await?;
            }
            // Somebody else runs it: it is used as it is.
            return if link.up {
                Ok(())
            } else {
                Err(Error::WrongState(format!(
                    "the bridge {} is run by another program, and is down; bring it up there",
                    link.name
                )))
            };
        }
        let network = definition.network?;
        self.check_network(&network).await?;
        let before = old_network(&places.record(), &network.name);
        let before: Vec<Subnet> = before.addresses().collect();
        let was_up = link.is_some();
        let result = self.go_up(&network, &before, was_up).await;
        if let Err(error) = result {
            if !was_up && let Err(left) = self.take_down(&network.name).await {
                tracing::error!("{left}");
            }
            return Err(error);
        }
        if !was_up {
            tracing::info!("the network {} is up", network.name.as_str());
        }
        Ok(())
    }

    /// Whether Gantry runs a bridge, which it is made to where that is to be.
    async fn is_ours(&self, link: &HostInterface, definition: &Definition) -> Result<bool> {
        let (places, name) = (Places::of(&definition.name), definition.name.as_str());
        if bridge::is_ours(link, &places) {
            return Ok(true);
        }
        let is_kept = match &definition.network {
            // Its mark is lost when the host restarts, and its place in the database not.
            Ok(network) if network.driver == Driver::Ovs && link.kind == ovs::KIND => {
                ovs::is_ours(&places, name).await? || network.take_over
            }
            Ok(network) => network.take_over && link.kind == "bridge",
            _ => false,
        };
        if is_kept {
            stock::end(name).await?;
            bridge::adopt(link, &places).await?;
            tracing::info!("the bridge {name} is Gantry's from now on");
        }
        Ok(is_kept)
    }

    /// `was_there`: dnsmasq, if there is one, has begun on this bridge.
    async fn go_up(&self, network: &Network, before: &[Subnet], was_there: bool) -> Result<()> {
        let places = network.places();
        for (directory, mode) in [(RUN_DIRECTORY, 0o700), (&places.directory(), 0o700)] {
            files::ensure_directory(Path::new(directory), mode)
                .map_err(|error| Error::path("making", Path::new(directory), &error))?;
        }
        let record = places.record();
        let record = Path::new(&record);
        // The old addresses stand in the old record, which stays until they are gone.
        if !record.exists() {
            write_record(record, network)?;
        }
        bridge::bring_up(network, before).await?;
        write_record(record, network)?;
        self.plug_uplink(network).await?;
        let is_new = server::write(network)?;
        self.make_room_for_names(network).await?;
        // Each is most of the time that this takes, and neither needs the other.
        let rules = self.load_firewall(Some(network));
        let (ruled, served) = tokio::join!(rules, self.serve(network, is_new || !was_there));
        ruled.and(served)?;
        self.let_through(network, true).await;
        self.tell_names(network).await
    }

    /// `is_new`: what its dnsmasq goes by, or where it does, has changed.
    async fn serve(&self, network: &Network, is_new: bool) -> Result<()> {
        match keeper(&network.places())? {
            None => self.start_keeper(&network.name).await,
            Some(keeper) if is_new => reload(&keeper, network).await,
            Some(_) => Ok(()),
        }
    }

    /// Loads the rules of all networks that are up.
    async fn load_firewall(&self, with: Option<&Network>) -> Result<()> {
        let mut networks = Vec::new();
        for name in recorded() {
            if with.is_some_and(|network| network.name == name)
                || !Path::new(&Places::of(&name).record()).exists()
            {
                continue;
            }
            if let Some(Definition {
                network: Ok(network),
                ..
            }) = definitions::find(name.as_str())?
            {
                networks.push(network);
            }
        }
        networks.extend(with.cloned());
        firewall::load(&networks).await
    }

    /// Every step may have been done already.
    pub(super) async fn take_down(&self, name: &InterfaceName) -> Result<()> {
        let places = Places::of(name);
        let (record, leaving) = (places.record(), places.leaving());
        match std::fs::rename(&record, &leaving) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::path("renaming", Path::new(&record), &error));
            }
            _ => {}
        }
        if Path::new(&places.directory()).exists()
            && let Some(keeper) = keeper(&places)?
        {
            end(&keeper).await?;
        }
        let network = old_network(&places.leaving(), name);
        uplink::unplug(&places, &network).await?;
        self.end_trial(&network.uplink);
        bridge::remove(&places, name.as_str()).await?;
        self.load_firewall(None).await?;
        self.let_through(&network, false).await;
        match std::fs::remove_dir_all(places.directory()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::path(
                    "removing",
                    Path::new(&places.directory()),
                    &error,
                ));
            }
            _ => {}
        }
        self.forget_names().await
    }

    /// Refuses what the host lacks, and addresses that are others'.
    pub(super) async fn check_network(&self, network: &Network) -> Result<()> {
        firewall::check()?;
        server::check(network)?;
        if network.driver == Driver::Ovs {
            ovs::check()?;
        }
        let name = network.name.as_str();
        let links = bridge::list().await?;
        uplink::check(network, &links)?;
        // What the uplink has will be the bridge's.
        for link in links
            .iter()
            .filter(|link| link.name != name && link.name != network.uplink)
        {
            for taken in link
                .addresses
                .iter()
                .filter_map(|text| text.parse::<Subnet>().ok())
            {
                if let Some(home) = network
                    .addresses()
                    .find(|home| !is_link_local(taken) && home.overlaps(taken))
                {
                    return Err(overlapping(name, home, &link.name, taken));
                }
            }
        }
        Ok(())
    }
}

/// Those are the same everywhere.
pub(super) fn is_link_local(taken: Subnet) -> bool {
    matches!(taken.address, std::net::IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The refusal of a net that is somebody else's.
pub(super) fn overlapping(name: &str, home: Subnet, other: &str, taken: Subnet) -> Error {
    Error::InvalidArgument(if home.address == taken.address {
        format!(
            "the address {} is taken: {other} has it; give the network {name} another",
            home.address
        )
    } else {
        format!(
            "the addresses {} of the network {name} overlap with those of {other}, {}; choose others",
            home.net(),
            taken.net()
        )
    })
}

/// Refuses a network that containers are plugged into.
pub(super) fn refuse_used(facts: &NetworkFacts) -> Result<()> {
    let users: BTreeSet<&str> = facts
        .ports
        .iter()
        .filter(|(port, ..)| *port != facts.uplink)
        .map(|(port, container, _)| {
            if container.is_empty() {
                port
            } else {
                container
            }
            .as_str()
        })
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let users: Vec<&str> = users.into_iter().collect();
    Err(Error::HasDependents(format!(
        "{} {} plugged into the network {}; stop or unplug first",
        users.join(", "),
        if users.len() == 1 { "is" } else { "are" },
        facts.name
    )))
}

/// The networks that have a directory, whole or not.
pub(super) fn recorded() -> Vec<InterfaceName> {
    let entries = std::fs::read_dir(RUN_DIRECTORY)
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| InterfaceName::new(entry.file_name().to_str()?).ok())
        .collect()
}

fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

fn is_recorded(places: &Places) -> bool {
    Path::new(&places.directory()).exists()
}

/// What a network was when it was last brought up, of its record.
pub(super) fn old_network(record: &str, name: &InterfaceName) -> Network {
    std::fs::read_to_string(record)
        .ok()
        .and_then(|text| file::read(name.clone(), &text).ok())
        .unwrap_or_else(|| Network::new(name.clone()))
}

pub(super) fn write_record(path: &Path, network: &Network) -> Result<()> {
    files::replace(path, file::write("", network).as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", path, &error))
}

impl Source {
    /// Whether the network can be deleted.
    pub(super) fn refuse_deletion(self, name: &str) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::LxcNet => Err(Error::WrongState(format!(
                "{name} is LXC's own network; take it down, and set USE_LXC_BRIDGE=\"false\" in /etc/default/lxc-net to have it no more"
            ))),
        }
    }
}
