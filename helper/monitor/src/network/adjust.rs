//! Changes of an interface that stays what it is, in place: with its index, and without
//! losing more than has to be.

use super::live::complain;
use super::names::random_name;
use super::wire::{Ground, Wire};
use super::{Interfaces, LOOPBACK, STEP, addresses, veth};
use crate::failure::{At, Step, failed};
use crate::netlink::Link;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{Network, NetworkKind, Veth};
use gantry_core::values::network::VethMode;
use std::time::{Duration, Instant};

/// How long the kernel may take to tell that a cable was pulled. Who listens then sees
/// it also where the other end is plugged in elsewhere at once.
const NOTICE: Duration = Duration::from_millis(500);
/// The MTU of a pair that no link gives one.
const USUAL_MTU: u32 = 1500;

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

/// Whether one can become the other without being made anew.
pub(super) fn is_adjustable(was: &Network, is: &Network) -> bool {
    let same_kind = match (&was.kind, &is.kind) {
        (NetworkKind::Veth(was), NetworkKind::Veth(is)) => {
            is_plain(was) && without_name(was) == without_name(is)
        }
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

impl Interfaces {
    /// Has an interface go by other lines, or leaves it as it was.
    pub(super) fn adjust(
        &mut self,
        old: &Wire<'_>,
        new: &Wire<'_>,
        ground: &mut Ground<'_>,
    ) -> Step<()> {
        let index = self.index(new);
        let there = ground.inside.link_at(index);
        let there = there.at(STEP, || "cannot look into the container".to_owned())?;
        let Some(before) = there else {
            let message = format!(
                "The container has removed '{}' (lxc.net.{}); remove it here, too, and add another.",
                old.name, old.number
            );
            return failed(FailureKind::WrongState, STEP, message);
        };
        let name = self.host_name(new.number).map(str::to_owned);
        for (number, step) in ADJUSTMENTS.iter().enumerate() {
            let Err(failure) = step(self, old, new, ground) else {
                continue;
            };
            for step in ADJUSTMENTS.iter().take(number + 1) {
                complain(step(self, new, old, ground));
            }
            complain(self.restore(new.number, &before, name, ground));
            return Err(failure);
        }
        Ok(())
    }

    /// Gives an interface back what its config leaves open.
    fn restore(
        &mut self,
        number: u32,
        before: &Link,
        name: Option<String>,
        ground: &mut Ground<'_>,
    ) -> Step<()> {
        let what = || format!("cannot restore lxc.net.{number}");
        let index = before.index;
        if let (Some(end), Some(name)) = (self.host_end(number), name) {
            if end.name != name {
                ground.host.rename(end.index, &name).at(STEP, what)?;
                end.name = name;
            }
            if let Some(mtu) = before.mtu {
                ground.host.set_mtu(end.index, mtu).at(STEP, what)?;
            }
        }
        if let Some(mtu) = before.mtu {
            ground.inside.set_mtu(index, mtu).at(STEP, what)?;
        }
        let now = ground.inside.link_at(index).at(STEP, what)?;
        if now.is_some_and(|now| now.address != before.address) {
            let address = &before.address;
            ground.inside.set_address(index, address).at(STEP, what)?;
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
        let Some(end) = self
            .host_end(number)
            .filter(|_| old.network.link != new.network.link)
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
        let changed = new
            .address
            .filter(|_| old.network.hwaddr != new.network.hwaddr);
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
}
