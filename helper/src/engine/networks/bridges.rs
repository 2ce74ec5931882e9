//! Bridges as they are found in the kernel: those of other programs, and their ports.

use super::change::refusal;
use super::up::is_link_local;
use super::{network_name, no_network, whose};
use crate::engine::{Engine, Error, Result};
use crate::linux::files;
use crate::network::definitions::{self, Source};
use crate::network::{bridge, ovs};
use gantry_core::name::ContainerName;
use gantry_core::networks::{Driver, Network, Subnet};
use gantry_core::ports;
use std::net::IpAddr;

impl Engine {
    /// Describes a bridge that another program has made as it is, to be taken over.
    pub(super) async fn describe_foreign(&self, name: &str) -> Result<()> {
        let link = bridge::find(name).await?.ok_or_else(|| no_network(name))?;
        let mut network = Network::new(network_name(name)?);
        network.driver = match link.kind.as_str() {
            "bridge" => Driver::Bridge,
            ovs::KIND => Driver::Ovs,
            kind => {
                return Err(Error::InvalidArgument(format!(
                    "{name} is no bridge but of the kind {kind}, and cannot be taken over"
                )));
            }
        };
        let addresses = link.addresses.iter().filter_map(|text| text.parse().ok());
        for home in addresses.filter(|home: &Subnet| !is_link_local(*home)) {
            let place = match home.address {
                IpAddr::V4(_) => &mut network.ipv4,
                IpAddr::V6(_) => &mut network.ipv6,
            };
            place.get_or_insert(home);
        }
        network.check().map_err(refusal)?;
        definitions::write(Source::Own, &network)
    }

    /// Has a network's bridge treat a port otherwise. A container's has it also at its next
    /// start; another one for as long as it is there.
    pub(crate) async fn set_port(
        &self,
        name: &str,
        port: &str,
        hairpin: Option<bool>,
        isolated: Option<bool>,
    ) -> Result<()> {
        let link = bridge::find(port).await?;
        let Some(link) = link.filter(|link| link.master == name) else {
            return Err(Error::NotFound(format!(
                "there is no port {:?} on the network {name}",
                super::shortened(port)
            )));
        };
        if bridge::find(name)
            .await?
            .is_some_and(|bridge| bridge.kind == ovs::KIND)
        {
            return Err(Error::Unsupported(format!(
                "ports of Open vSwitch know neither hairpin nor isolated; use its flows on {name} (ovs-ofctl)"
            )));
        }
        bridge::set_port(&link, hairpin, isolated)
            .await
            .map_err(|error| {
                Error::io(
                    format_args!("setting the port {port} of the network {name}"),
                    &error,
                )
            })?;
        let Some((container, interface)) = whose(&link) else {
            return Ok(());
        };
        let layout = self.layout(&ContainerName::new(container)?);
        if !layout.directory().is_dir() {
            return Ok(());
        }
        let path = layout.ports();
        let text = files::read_if_there(&path, ports::LONGEST)
            .map_err(|error| Error::path("reading", &path, &error))?
            .unwrap_or_default();
        let mut treatments = ports::parse(&String::from_utf8_lossy(&text));
        let of_port = (interface.to_owned(), name.to_owned());
        let treatment = treatments.entry(of_port).or_default();
        treatment.hairpin = hairpin.unwrap_or(treatment.hairpin);
        treatment.isolated = isolated.unwrap_or(treatment.isolated);
        files::replace(&path, ports::write(&treatments).as_bytes(), 0o600)
            .map_err(|error| Error::path("writing", &path, &error))
    }
}
