//! A network's uplink: an interface of the host that becomes a port of its bridge, on trial
//! where the host might be cut off by it.

use super::up::write_record;
use crate::engine::{Engine, Error, Result};
use crate::linux::files;
use crate::network::definitions::{self, Definition};
use crate::network::{bridge, uplink};
use gantry_core::name::InterfaceName;
use gantry_core::networks::{Network, Places};
use std::io;
use std::path::Path;

impl Engine {
    /// Plugs the uplink in; on trial, unless somebody has confirmed that the host can be
    /// reached so.
    pub(super) async fn plug_uplink(&self, network: &Network) -> Result<()> {
        let (places, uplink) = (network.places(), network.uplink.as_str());
        let trial = places.trial();
        let trial = Path::new(&trial);
        let link = bridge::find(uplink).await?;
        let is_on_trial = match &link {
            Some(link) if !network.uplink_confirmed && link.master != network.name.as_str() => {
                uplink::ways_out().await?.contains(&link.name)
            }
            _ => false,
        };
        if !is_on_trial {
            uplink::plug(network).await?;
            return self.end_trial_of_another(network);
        }
        files::replace(trial, uplink.as_bytes(), 0o600)
            .map_err(|error| Error::path("writing", trial, &error))?;
        let plugged = uplink::plug(network).await;
        let (name, engine) = (network.name.clone(), self.clone());
        let keep = async move { engine.keep_uplink(&name).await };
        let (name, engine) = (network.name.clone(), self.clone());
        let undo = async move {
            let _lock = engine.0.networks.lock().await;
            engine.give_uplink_back(&name).await
        };
        self.put_on_trial(uplink, keep, undo);
        plugged
    }

    /// Ends the trial of an uplink that the network has no more: somebody has not waited for
    /// it to be taken back.
    fn end_trial_of_another(&self, network: &Network) -> Result<()> {
        let places = network.places();
        let trial = places.trial();
        let failed = |error: io::Error| Error::path("reading", Path::new(&trial), &error);
        match std::fs::read_to_string(&trial) {
            Ok(uplink) if uplink != network.uplink => {
                forget_trial(&places)?;
                self.end_trial(&uplink);
                Ok(())
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The host has been reached by its uplink's bridge.
    async fn keep_uplink(&self, name: &InterfaceName) -> Result<()> {
        let _lock = self.0.networks.lock().await;
        let (places, definition) = (Places::of(name), self.described(name.as_str()).await?);
        let mut network = definition.network?;
        network.uplink_confirmed = true;
        definitions::write(definition.source, &network)?;
        forget_trial(&places)
    }

    /// Gives the uplink back to the host, if it is on trial, and has the network do without
    /// it from now on.
    pub(super) async fn give_uplink_back(&self, name: &InterfaceName) -> Result<()> {
        let (places, definition) = (Places::of(name), definitions::find(name.as_str())?);
        if !Path::new(&places.trial()).exists() {
            return Ok(());
        }
        let mut network = match definition {
            Some(Definition {
                network: Ok(network),
                source,
                ..
            }) => {
                let mut without = network.clone();
                without.uplink.clear();
                definitions::write(source, &without)?;
                network
            }
            _ => Network::new(name.clone()),
        };
        uplink::unplug(&places, &network).await?;
        network.uplink.clear();
        write_record(Path::new(&places.record()), &network)?;
        forget_trial(&places)
    }
}

fn forget_trial(places: &Places) -> Result<()> {
    let path = places.trial();
    files::remove(Path::new(&path))
        .map_err(|error| Error::path("removing", Path::new(&path), &error))
}
