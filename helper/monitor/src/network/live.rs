//! Changes to the interfaces of a container that runs. What can be refused is refused
//! before anything is done; what fails after that is changed back.

use super::addresses::default_routes;
use super::adjust::is_adjustable;
use super::undo::{self, Debt};
use super::veth::{self, MTU_RANGE};
use super::wire::{Ground, Wire};
use super::{HostEnd, Interfaces, LOOPBACK, Made, RunScript, STEP, check, phys, wrong};
use crate::config::{Remembered, invalid};
use crate::failure::{At, Step, failed};
use crate::log;
use crate::netlink::Link;
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{FailureKind, LiveWire};
use gantry_core::settings::{Network, NetworkKind, Settings, inner_names};
use gantry_core::values::network::VethMode;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// What an interface is to become.
pub(crate) struct Change<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// What the container goes by.
    pub(crate) before: &'a Settings,
    /// What it is to go by. Other interfaces are the same.
    pub(crate) after: &'a Settings,
}

/// A config with other lines for one interface, and what it says.
pub(crate) fn planned(
    config: &Config,
    included: &mut Remembered,
    number: u32,
    lines: &[(String, String)],
) -> Step<(Config, Settings)> {
    let mut config = config.clone();
    config.set_wire(number, lines, included).map_err(invalid)?;
    let settings = Settings::from_config(&config).map_err(invalid)?;
    check(&settings)?;
    Ok((config, settings))
}

impl Interfaces {
    /// Has the kernel go by a change, or leaves it as it was.
    pub(crate) fn change(
        &mut self,
        change: &Change<'_>,
        namespace: &OwnedFd,
        run: RunScript<'_>,
    ) -> Step<()> {
        let number = change.number;
        let (old_name, new_name) = (
            inner_name(change.before, number)?,
            inner_name(change.after, number)?,
        );
        let old = wire(change.before, number, &old_name)?;
        let new = wire(change.after, number, &new_name)?;
        let mut ground = Ground::open(namespace)?;
        if let Some(new) = &new {
            self.refuse(old.as_ref(), new, &mut ground)?;
        }
        match (&old, &new) {
            (Some(old), Some(new)) if is_adjustable(old.network, new.network) => {
                self.adjust(old, new, &mut ground)
            }
            _ => self.replace(old.as_ref(), new.as_ref(), &mut ground, run),
        }
    }

    /// Refuses what cannot be.
    fn refuse(
        &mut self,
        old: Option<&Wire<'_>>,
        new: &Wire<'_>,
        ground: &mut Ground<'_>,
    ) -> Step<()> {
        let was = old.map(|old| old.network);
        let own = self.made.get(&new.number);
        if !new.name.is_empty() {
            let there = ground.inside.link(new.name);
            let there = there.at(STEP, || format!("cannot look for {}", new.name))?;
            if there.is_some_and(|link| own.and_then(|own| own.inside) != Some(link.index)) {
                let reason = format!(
                    "the container has an interface '{}' already; choose another name",
                    new.name
                );
                return Err(new.wrong("name", &reason));
            }
        }
        match &new.network.kind {
            NetworkKind::Veth(veth) => {
                let end = own.and_then(|own| own.host_end.as_ref());
                if let Some(pair) = veth.pair.as_deref()
                    && end.is_none_or(|end| end.name != pair)
                    && let Some(taken) = ground
                        .host
                        .link(pair)
                        .at(STEP, || "cannot look".to_owned())?
                {
                    return Err(veth::taken(new, &taken.name));
                }
                new.check_mtu(MTU_RANGE)?;
                if new.network.link.is_some() {
                    let link = new.link(ground)?;
                    if veth.mode == VethMode::Bridge {
                        veth::check_bridge(new, veth, &link)?;
                    }
                }
            }
            NetworkKind::Phys if was.is_none_or(|was| !has_same_link(was, new.network)) => {
                phys::find(new, ground)?;
            }
            NetworkKind::Phys | NetworkKind::Empty => {}
            NetworkKind::None if was.is_some_and(|was| was.kind == NetworkKind::None) => {}
            NetworkKind::None => {
                let message = "A container that runs in a network of its own cannot leave it; stop it to set the type none.";
                return failed(FailureKind::WrongState, STEP, message);
            }
            _ => {
                let link = new.link(ground)?;
                new.refuse_port(&link, ground)?;
                new.check_mtu((68, link.mtu.unwrap_or_default()))?;
            }
        }
        default_routes(&mut ground.host, new.number, new.network).map(drop)
    }

    /// Removes one and makes the other.
    fn replace(
        &mut self,
        old: Option<&Wire<'_>>,
        new: Option<&Wire<'_>>,
        ground: &mut Ground<'_>,
        run: RunScript<'_>,
    ) -> Step<()> {
        let address = old.and_then(|old| self.address(old.number, ground));
        if let Some(old) = old {
            self.take_away(old, ground, run)?;
        }
        let Some(new) = new else { return Ok(()) };
        let Err(failure) = self.make_one(new, ground, run) else {
            return Ok(());
        };
        let restored = self.take_away(new, ground, run).and_then(|()| match old {
            Some(old) => {
                let old = Wire {
                    address: address.or(old.address),
                    ..*old
                };
                self.make_one(&old, ground, run)
            }
            None => Ok(()),
        });
        complain(restored);
        Err(failure)
    }

    /// Removes all that was made for an interface.
    fn take_away(
        &mut self,
        wire: &Wire<'_>,
        ground: &mut Ground<'_>,
        run: RunScript<'_>,
    ) -> Step<()> {
        let number = wire.number;
        if let Some(script) = self.lower(number, wire.network) {
            complain(run(&script));
        }
        self.settle_all(number, ground.namespace)?;
        let Some(made) = self.made.remove(&number) else {
            return Ok(());
        };
        let what = || format!("cannot remove lxc.net.{number}");
        if let Some(index) = made.inside.filter(|_| made.is_upper) {
            ground.inside.delete_link(index).at(STEP, what)?;
        }
        if let Some(end) = &made.host_end {
            ground.host.delete_link(end.index).at(STEP, what)?;
        }
        Ok(())
    }

    /// Undoes on the host what was done for an interface, the last thing first.
    pub(super) fn settle_all(&mut self, number: u32, namespace: &OwnedFd) -> Step<()> {
        while let Some(debt) = self.made.get_mut(&number).and_then(|made| made.debts.pop()) {
            let settled = match &debt {
                Debt::Phys(guest) => guest
                    .come_home(namespace)
                    .map_err(|error| error.to_string()),
                debt => undo::settle(debt, None),
            };
            if let Err(complaint) = settled {
                self.made.entry(number).or_default().debts.push(debt);
                let message = format!("Cannot remove lxc.net.{number}: {complaint}.");
                return failed(FailureKind::StartFailed, STEP, message);
            }
            self.forget(debt);
        }
        Ok(())
    }

    pub(super) fn host_end(&mut self, number: u32) -> Option<&mut HostEnd> {
        self.made.get_mut(&number)?.host_end.as_mut()
    }

    /// The index of an interface in the container.
    pub(super) fn index(&self, wire: &Wire<'_>) -> u32 {
        let made = self.made.get(&wire.number);
        made.and_then(|made| made.inside).unwrap_or(LOOPBACK)
    }

    /// The MAC address that an interface has at present.
    fn address(&self, number: u32, ground: &mut Ground<'_>) -> Option<[u8; 6]> {
        let index = self.made.get(&number)?.inside?;
        let link = ground.inside.link_at(index).ok().flatten()?;
        link.address.try_into().ok()
    }

    /// How the interfaces are.
    pub(crate) fn wires(&self, namespace: &OwnedFd) -> Step<Vec<LiveWire>> {
        let mut ground = Ground::open(namespace)?;
        let what = || "cannot look at the container's interfaces".to_owned();
        let mut found = Vec::new();
        for (number, made) in &self.made {
            let Some(index) = made.inside else { continue };
            let Some(link) = ground.inside.link_at(index).at(STEP, what)? else {
                continue;
            };
            let addresses = ground.inside.all_addresses(index).at(STEP, what)?;
            found.push(live(*number, made, &link, &addresses));
        }
        Ok(found)
    }

    /// Finds what another's monitor has made of a config.
    pub(crate) fn of_others(
        layout: &ContainerLayout,
        settings: &Settings,
        namespace: &OwnedFd,
    ) -> Step<Self> {
        let mut found = Self::none(layout, false);
        found.custody = super::Custody::Others;
        let mut ground = Ground::open(namespace)?;
        let what = || "cannot look at the container's interfaces".to_owned();
        let here = ground.host.number_of(namespace).at(STEP, what)?;
        for (number, name) in inner_names(&settings.networks).map_err(wrong)? {
            let Some(link) = ground.inside.link(&name).at(STEP, what)? else {
                continue;
            };
            let kind = settings.networks.get(&number).map(|network| &network.kind);
            let mut made = Made {
                inside: Some(link.index),
                is_upper: kind.is_some_and(NetworkKind::is_upper),
                ..Made::default()
            };
            if let Some(NetworkKind::Veth(_)) = kind
                && let Some(other) = link.lower
                && let Some(end) = ground.host.link_at(other).at(STEP, what)?
                // The container may have put anything in the place of its interface.
                && end.kind == "veth"
                && end.lower == Some(link.index)
                && here.is_some()
                && end.lower_namespace == here
            {
                made.host_end = Some(HostEnd {
                    name: end.name,
                    index: end.index,
                });
            }
            found.made.insert(number, made);
        }
        Ok(found)
    }
}

fn live(number: u32, made: &Made, link: &Link, addresses: &[(IpAddr, u8)]) -> LiveWire {
    let pairs: Vec<String> = link
        .address
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let host_name = made.host_end.as_ref().map(|end| end.name.clone());
    LiveWire {
        number,
        name: link.name.clone(),
        hwaddr: pairs.join(":"),
        mtu: link.mtu.unwrap_or_default(),
        host_name: host_name.unwrap_or_default(),
        carrier: link.carrier,
        addresses: addresses
            .iter()
            .map(|(address, prefix)| format!("{address}/{prefix}"))
            .collect(),
        unconfirmed: None,
    }
}

fn wire<'a>(settings: &'a Settings, number: u32, name: &'a str) -> Step<Option<Wire<'a>>> {
    let network = settings.networks.get(&number);
    network
        .map(|network| Wire::new(number, network, name))
        .transpose()
}

fn inner_name(settings: &Settings, number: u32) -> Step<String> {
    let mut names = inner_names(&settings.networks).map_err(wrong)?;
    Ok(names.remove(&number).unwrap_or_default())
}

fn has_same_link(one: &Network, other: &Network) -> bool {
    one.kind.kind() == other.kind.kind() && one.link == other.link
}

/// What fails on the way back is for the log.
pub(super) fn complain(done: Step<()>) {
    if let Err(failure) = done {
        log::error(failure.message);
    }
}
