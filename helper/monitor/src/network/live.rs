//! Changes to the interfaces of a container that runs. What can be refused is refused
//! before anything is done; what fails after that is changed back.

use super::addresses::{self, default_routes};
use super::names::random_name;
use super::undo::{self, Debt};
use super::veth::{self, MTU_RANGE};
use super::wire::{Ground, Wire};
use super::{HostEnd, Interfaces, LOOPBACK, Made, RunScript, STEP, check, phys, wrong};
use crate::config::{Remembered, invalid};
use crate::failure::{At, Step, failed};
use crate::log;
use crate::netlink::Link;
use gantry_core::config::Config;
use gantry_core::monitor::{FailureKind, LiveWire};
use gantry_core::settings::{Network, NetworkKind, Settings, Veth, inner_names};
use gantry_core::values::network::VethMode;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long the kernel may take to tell that a cable was pulled. Who listens then sees
/// it also where the other end is plugged in elsewhere at once.
const NOTICE: Duration = Duration::from_millis(500);
/// The MTU of a pair that no link gives one.
const USUAL_MTU: u32 = 1500;

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

/// A step of a change from one wire to another, which can be done again, and backwards.
type Adjustment = fn(&mut Interfaces, &Wire<'_>, &Wire<'_>, &mut Ground<'_>) -> Step<()>;

const ADJUSTMENTS: [Adjustment; 7] = [
    Interfaces::rename_host_end,
    Interfaces::replug,
    Interfaces::resize,
    Interfaces::readdress,
    Interfaces::rename,
    Interfaces::switch,
    Interfaces::reconfigure,
];

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
                    && let Some(taken) = ground.host.link(pair).at(STEP, || "cannot look".to_owned())?
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
    fn settle_all(&mut self, number: u32, namespace: &OwnedFd) -> Step<()> {
        while let Some(debt) = self.made.get_mut(&number).and_then(|made| made.debts.pop()) {
            let settled = match &debt {
                Debt::Phys(guest) => guest.come_home(namespace).map_err(|error| error.to_string()),
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

    fn adjust(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        let index = self.index(new);
        let there = ground.inside.link_at(index);
        if there.at(STEP, || "cannot look into the container".to_owned())?.is_none() {
            let message = format!(
                "The container has removed '{}' (lxc.net.{}); remove it here, too, and add another.",
                old.name, old.number
            );
            return failed(FailureKind::WrongState, STEP, message);
        }
        for (number, step) in ADJUSTMENTS.iter().enumerate() {
            let Err(failure) = step(self, old, new, ground) else {
                continue;
            };
            for step in ADJUSTMENTS.iter().take(number + 1) {
                complain(step(self, new, old, ground));
            }
            return Err(failure);
        }
        Ok(())
    }

    fn rename_host_end(
        &mut self,
        old: &Wire<'_>,
        new: &Wire<'_>,
        ground: &mut Ground<'_>,
    ) -> Step<()> {
        let (NetworkKind::Veth(was), NetworkKind::Veth(is)) =
            (&old.network.kind, &new.network.kind)
        else {
            return Ok(());
        };
        let Some(end) = self.host_end(new.number).filter(|_| was.pair != is.pair) else {
            return Ok(());
        };
        let name = match &is.pair {
            Some(pair) => pair.clone(),
            None => random_name()?,
        };
        ground
            .host
            .rename(end.index, &name)
            .at(STEP, || format!("cannot rename {} to {name}", end.name))?;
        end.name = name;
        Ok(())
    }

    /// Pulls the host's end of a pair out of its bridge and plugs it in elsewhere, or
    /// leaves it on nothing.
    fn replug(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        let NetworkKind::Veth(veth) = &new.network.kind else {
            return Ok(());
        };
        let number = new.number;
        let Some(end) = self.host_end(number).filter(|_| old.network.link != new.network.link)
        else {
            return Ok(());
        };
        let (name, index) = (end.name.clone(), end.index);
        let pulling = || format!("cannot pull {name}");
        ground.host.take_down(index).at(STEP, pulling)?;
        self.settle_all(number, ground.namespace)?;
        ground.host.set_master(index, 0).at(STEP, pulling)?;
        self.await_notice(new, ground);
        if new.network.link.is_none() {
            return Ok(());
        }
        let bridge = new.link(ground)?;
        veth::connect(new, veth, &name, index, &bridge, ground, self)?;
        let plugging = || format!("cannot bring up {name}");
        ground.host.bring_up(index).at(STEP, plugging)
    }

    /// Waits until those who listen in the container have been told that nothing is at
    /// the other end.
    fn await_notice(&self, wire: &Wire<'_>, ground: &mut Ground<'_>) {
        let deadline = Instant::now() + NOTICE;
        let index = self.index(wire);
        let mut is_told = || match ground.inside.link_at(index) {
            Ok(Some(link)) => !link.is_operational,
            _ => true,
        };
        while !is_told() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn resize(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        let has_changed = old.network.mtu != new.network.mtu
            || (new.network.mtu.is_none() && old.network.link != new.network.link);
        if !has_changed {
            return Ok(());
        }
        let link = match &new.network.link {
            Some(_) if new.network.kind != NetworkKind::Phys => new.link(ground)?.mtu,
            _ => None,
        };
        let mtu = new.network.mtu.or(link).unwrap_or(USUAL_MTU);
        let what = || format!("cannot set lxc.net.{}.mtu", new.number);
        if let Some(end) = self.host_end(new.number) {
            ground.host.set_mtu(end.index, mtu).at(STEP, what)?;
        }
        ground.inside.set_mtu(self.index(new), mtu).at(STEP, what)
    }

    fn readdress(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        let changed = new.address.filter(|_| old.network.hwaddr != new.network.hwaddr);
        let Some(address) = changed else {
            return Ok(());
        };
        let what = || format!("cannot set lxc.net.{}.hwaddr", new.number);
        let index = self.index(new);
        ground.inside.set_address(index, &address).at(STEP, what)
    }

    fn rename(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        if old.name == new.name || new.name.is_empty() {
            return Ok(());
        }
        let index = self.index(new);
        let what = || format!("cannot rename {} to {}", old.name, new.name);
        match ground.inside.rename(index, new.name) {
            // Kernels before 6.2 rename only what is down.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                ground.inside.take_down(index).at(STEP, what)?;
                ground.inside.rename(index, new.name).at(STEP, what)?;
                if old.network.up {
                    ground.inside.bring_up(index).at(STEP, what)?;
                }
            }
            renamed => renamed.at(STEP, what)?,
        }
        let container = self.container.clone();
        match self.host_end(new.number) {
            Some(end) => veth::tag(&container, new.name, end, ground),
            None => Ok(()),
        }
    }

    fn switch(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        let (was, is) = (old.network.up, new.network.up);
        let index = self.index(new);
        if was == is || index == LOOPBACK {
            return Ok(());
        }
        let switched = match is {
            true => ground.inside.bring_up(index),
            false => ground.inside.take_down(index),
        };
        switched.at(STEP, || format!("cannot set lxc.net.{}.flags", new.number))
    }

    fn reconfigure(&mut self, old: &Wire<'_>, new: &Wire<'_>, ground: &mut Ground<'_>) -> Step<()> {
        // What was down has no routes.
        let is_fresh = old.name != new.name || (new.network.up && !old.network.up);
        let index = self.index(new);
        addresses::change(ground, index, old, new, is_fresh)
    }

    fn host_end(&mut self, number: u32) -> Option<&mut HostEnd> {
        self.made.get_mut(&number)?.host_end.as_mut()
    }

    /// The index of an interface in the container.
    fn index(&self, wire: &Wire<'_>) -> u32 {
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
        container: &str,
        settings: &Settings,
        namespace: &OwnedFd,
    ) -> Step<Self> {
        let mut found = Self::none(container, false);
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
    let pairs: Vec<String> = link.address.iter().map(|byte| format!("{byte:02x}")).collect();
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

/// Whether one can become the other without being made anew.
fn is_adjustable(was: &Network, is: &Network) -> bool {
    let same_kind = match (&was.kind, &is.kind) {
        (NetworkKind::Veth(was), NetworkKind::Veth(is)) => is_plain(was) && without_name(was) == without_name(is),
        (was_kind, is_kind) => was_kind == is_kind && was.link == is.link,
    };
    let aside = |network: &Network| {
        let Network {
            l2proxy,
            script_up,
            script_down,
            ..
        } = network;
        (*l2proxy, script_up.clone(), script_down.clone())
    };
    same_kind && !was.l2proxy && aside(was) == aside(is)
}

/// Whether all there is on the host of a pair is its end.
fn is_plain(veth: &Veth) -> bool {
    veth.mode == VethMode::Bridge && veth.ipv4_routes.is_empty() && veth.ipv6_routes.is_empty()
}

fn without_name(veth: &Veth) -> Veth {
    Veth {
        pair: None,
        ..veth.clone()
    }
}

/// What fails on the way back is for the log.
fn complain(done: Step<()>) {
    if let Err(failure) = done {
        log::error(failure.message);
    }
}
