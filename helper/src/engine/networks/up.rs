//! Bringing networks up and taking them down. One thing at a time: all of it is done
//! under one lock.

use super::super::launcher::Holder;
use super::NetworkFacts;
use crate::engine::{Engine, Error, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::linux::process::Process;
use crate::network::definitions::{self, Definition, Source};
use crate::network::{bridge, firewall, server};
use gantry_core::monitor::Report;
use gantry_core::name::InterfaceName;
use gantry_core::networks::{Network, Places, RUN_DIRECTORY, Subnet, file};
use gantry_core::settings::Settings;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long who keeps a network may take to begin, dnsmasq with it, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether dnsmasq has begun.
const PAUSE: Duration = Duration::from_millis(5);

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
            if exists(link) && (!is_recorded(&places) || is_kept(&places)?) {
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
        if !Path::new(RUN_DIRECTORY).exists() {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            let _lock = engine.0.networks.lock().await;
            for name in recorded() {
                if let Err(error) = engine.repair(&name).await {
                    tracing::error!("repairing the network {} failed: {error}", name.as_str());
                }
            }
        });
    }

    async fn repair(&self, name: &InterfaceName) -> Result<()> {
        let places = Places::of(name);
        if !Path::new(&places.record()).exists() {
            return self.take_down(name).await;
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
            && !bridge::is_ours(link, &places)
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
        let before = old_addresses(&places, &network.name);
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
        self.load_firewall(Some(network)).await?;
        let is_new = server::write(network)?;
        match keeper(&places)? {
            None => self.start_keeper(&network.name).await,
            Some(keeper) if is_new || !was_there => reload(&keeper, network).await,
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

    async fn start_keeper(&self, name: &InterfaceName) -> Result<()> {
        let channel = self
            .0
            .programs
            .launch(Holder::Network(name.clone()))
            .await?;
        match timeout(PATIENCE, channel.receive::<Report>()).await {
            Ok(Ok(Some((Report::Running { .. }, _)))) => Ok(()),
            Ok(Ok(Some((Report::Failed(failure), _)))) => Err(Error::Failed(format!(
                "the network {} cannot be served: {}",
                name.as_str(),
                failure.message
            ))),
            _ => Err(Error::Failed(format!(
                "what is to keep the network {} ended without a word",
                name.as_str()
            ))),
        }
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
            signal(&keeper, libc::SIGTERM)?;
            if timeout(PATIENCE, keeper.ended()).await.is_err() {
                signal(&keeper, libc::SIGKILL)?;
            }
        }
        bridge::remove(&places, name.as_str()).await?;
        self.load_firewall(None).await?;
        match std::fs::remove_dir_all(places.directory()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::path(
                "removing",
                Path::new(&places.directory()),
                &error,
            )),
            _ => Ok(()),
        }
    }

    /// Refuses what the host lacks, and addresses that are others'.
    pub(super) async fn check_network(&self, network: &Network) -> Result<()> {
        firewall::check()?;
        server::check(network)?;
        let name = network.name.as_str();
        for link in bridge::list()
            .await?
            .iter()
            .filter(|link| link.name != name)
        {
            for taken in link
                .addresses
                .iter()
                .filter_map(|text| text.parse::<Subnet>().ok())
            {
                if let Some(home) = network.addresses().find(|home| overlap(*home, taken)) {
                    return Err(overlapping(name, home, &link.name, taken));
                }
            }
        }
        Ok(())
    }
}

/// Link-local addresses are the same everywhere.
fn overlap(home: Subnet, taken: Subnet) -> bool {
    let is_local =
        matches!(taken.address, std::net::IpAddr::V6(address) if address.is_unicast_link_local());
    !is_local && home.overlaps(taken)
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
    if facts.ports.is_empty() {
        return Ok(());
    }
    let users: BTreeSet<&str> = facts
        .ports
        .iter()
        .map(|(port, container, _)| {
            if container.is_empty() {
                port
            } else {
                container
            }
            .as_str()
        })
        .collect();
    let users: Vec<&str> = users.into_iter().collect();
    Err(Error::HasDependents(format!(
        "{} {} plugged into the network {}; stop or unplug first",
        users.join(", "),
        if users.len() == 1 { "is" } else { "are" },
        facts.name
    )))
}

/// The networks that have a directory, whole or not.
fn recorded() -> Vec<InterfaceName> {
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

/// The addresses that were given to the bridge when it was last brought up.
fn old_addresses(places: &Places, name: &InterfaceName) -> Vec<Subnet> {
    std::fs::read_to_string(places.record())
        .ok()
        .and_then(|text| file::read(name.clone(), &text).ok())
        .map(|network| network.addresses().collect())
        .unwrap_or_default()
}

fn write_record(path: &Path, network: &Network) -> Result<()> {
    files::replace(path, file::write("", network).as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", path, &error))
}

fn is_kept(places: &Places) -> Result<bool> {
    keeper(places).map(|keeper| keeper.is_some())
}

/// Who keeps a network: its lock is held, and so the pid in its file is still its own.
fn keeper(places: &Places) -> Result<Option<Process>> {
    let path = places.keeper();
    let path = Path::new(&path);
    let failed = |error: io::Error| Error::path("looking for who holds", path, &error);
    let look = || {
        FileLock::try_take(path)
            .map(|lock| lock.is_none())
            .map_err(failed)
    };
    if !look()? {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let Ok(pid) = text.trim().parse() else {
        return Err(Error::Busy(format!(
            "{} is held by one who is just beginning; try again",
            path.display()
        )));
    };
    let process = Process::open(pid);
    // Once more: it may have ended before it was opened.
    if look()? {
        process.map(Some).map_err(failed)
    } else {
        Ok(None)
    }
}

/// Has dnsmasq begin anew, and returns when it has: whoever asks for a lease next goes by
/// what was changed.
async fn reload(keeper: &Process, network: &Network) -> Result<()> {
    let path = network.places().server_pid();
    let pid = || std::fs::read_to_string(&path).unwrap_or_default();
    let before = pid();
    signal(keeper, libc::SIGHUP)?;
    let begun = async {
        while pid().trim().is_empty() || pid() == before {
            sleep(PAUSE).await;
        }
    };
    if network.has_server() && timeout(PATIENCE, begun).await.is_err() {
        return Err(Error::Failed(format!(
            "dnsmasq of the network {} does not begin anew; look into the system's log",
            network.name.as_str()
        )));
    }
    Ok(())
}

fn signal(keeper: &Process, number: i32) -> Result<()> {
    match keeper.send(number) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            Err(Error::io("signalling who keeps a network", &error))
        }
        _ => Ok(()),
    }
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
