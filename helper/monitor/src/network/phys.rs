//! An interface of the host itself, for as long as the container runs.

use super::undo::Debt;
use super::uplink::uplinks;
use super::wire::{Ground, Wire, patiently};
use super::{Interfaces, STEP};
use crate::failure::{At, Step, failed, failure};
use crate::log;
use crate::netlink::{Belongings, Link, Netlink};
use gantry_core::monitor::FailureKind;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// An interface of the host in a container, and what it was at home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Guest {
    /// Its index in the container.
    index: u32,
    kind: String,
    name: String,
    mtu: Option<u32>,
    address: Vec<u8>,
    alternative_names: Vec<String>,
    /// What the host reached others by, which would be cut off without it: of the interface
    /// and of what is on top of it.
    way_out: Vec<Belongings>,
}

/// Finds the interface. One that comes home from another container at this
/// moment is waited for.
pub(super) fn find(wire: &Wire<'_>, ground: &mut Ground<'_>) -> Step<Link> {
    let wanted = wire.link_name()?;
    let prefix = wanted.strip_suffix('+');
    let mut look = || {
        let found = match prefix {
            Some(prefix) => {
                let mut links = ground.host.links()?.into_iter();
                links.find(|link| link.name.starts_with(prefix))
            }
            None => ground.host.link(wanted)?,
        };
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    };
    let link = patiently(&mut look).map_err(|_| {
        let number = wire.number;
        let message = format!(
            "The host has no interface '{wanted}', which lxc.net.{number}.link names; plug it in or choose another."
        );
        failure(FailureKind::StartFailed, STEP, message)
    })?;
    wire.refuse_port(&link, ground)?;
    let wireless = Path::new("/sys/class/net")
        .join(&link.name)
        .join("phy80211");
    if wireless.exists() {
        let message = format!(
            "lxc.net.{}.link: '{}' is wireless, and such interfaces stay on the host; use one with a cable.",
            wire.number, link.name
        );
        return failed(FailureKind::Unsupported, STEP, message);
    }
    wire.check_mtu(link.mtu_range)?;
    Ok(link)
}

/// Moves the interface; gives back its index in the container.
pub(super) fn make(
    wire: &Wire<'_>,
    link: Link,
    ground: &mut Ground<'_>,
    interfaces: &mut Interfaces,
) -> Step<u32> {
    let what = || format!("cannot move '{}' into the container", link.name);
    let guest = Guest::of(&link, &mut ground.host, &mut ground.inside).at(STEP, what)?;
    interfaces.owe(wire.number, Debt::Phys(guest.clone()), &[ground.namespace])?;
    let name = if wire.name.is_empty() {
        &link.name
    } else {
        wire.name
    };
    let index = guest.index;
    move_in(&link, &guest, name, ground.namespace, &mut ground.host).at(STEP, what)?;
    if let Some(mtu) = wire.network.mtu {
        ground
            .inside
            .set_mtu(index, mtu)
            .at(STEP, || format!("cannot set lxc.net.{}.mtu", wire.number))?;
    }
    if let Some(address) = wire.address {
        ground.inside.set_address(index, &address).at(STEP, || {
            format!("cannot set lxc.net.{}.hwaddr", wire.number)
        })?;
    }
    Ok(index)
}

/// Moves an interface of the host into a container, where it gets a name.
pub(super) fn move_in(
    link: &Link,
    guest: &Guest,
    name: &str,
    namespace: &OwnedFd,
    host: &mut Netlink,
) -> io::Result<()> {
    for name in &link.alternative_names {
        host.change_alternative_name(link.index, name, false)?;
    }
    host.move_link(link.index, namespace, name, Some(guest.index))
}

impl Guest {
    /// An interface of the host as it is now, and the index that it is going to
    /// have in the container: its own, if that is free there.
    pub(super) fn of(link: &Link, host: &mut Netlink, inside: &mut Netlink) -> io::Result<Self> {
        let taken = inside.links()?;
        let is_free = |index: &u32| taken.iter().all(|link| link.index != *index);
        Ok(Self {
            index: (link.index..).find(is_free).unwrap_or(link.index),
            kind: link.kind.clone(),
            name: link.name.clone(),
            mtu: link.mtu,
            address: link.address.clone(),
            alternative_names: link.alternative_names.clone(),
            way_out: match uplinks(host)?.contains(&link.name) {
                true => host.belongings(link.index)?,
                false => Vec::new(),
            },
        })
    }

    /// As [`Self::bring_home`], for while the container runs. That it is back by another
    /// name, for its own is taken, is only told.
    pub(super) fn come_home(&self, namespace: &OwnedFd) -> io::Result<()> {
        match self.bring_home(namespace) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                log::error(format!(
                    "{} is back on the host by another name, for that is taken",
                    self.name
                ));
                Ok(())
            }
            home => home,
        }
    }

    /// Brings the interface back to this process's namespace, as it was, with its addresses
    /// and routes if the host reached others by it. One
    /// that is not there, or not what was lent, is left alone: the container
    /// may have done away with it.
    pub(super) fn bring_home(&self, namespace: &OwnedFd) -> io::Result<()> {
        let mut inside = Netlink::open_in(namespace)?;
        let mut host = Netlink::open()?;
        let found = inside.link_at(self.index)?;
        if let Some(found) = found.filter(|link| link.kind == self.kind) {
            for name in &found.alternative_names {
                inside.change_alternative_name(self.index, name, false)?;
            }
            inside.take_down(self.index)?;
            if found.address != self.address {
                inside.set_address(self.index, &self.address)?;
            }
            if let Some(mtu) = self.mtu.filter(|mtu| found.mtu != Some(*mtu)) {
                inside.set_mtu(self.index, mtu)?;
            }
            let home = File::open("/proc/self/ns/net")?;
            if let Err(error) = inside.move_link(self.index, &home, &self.name, None) {
                // Its name has been taken meanwhile, or the one it had in there.
                let retried = inside.move_link(self.index, &home, "phys%d", None);
                return retried.and(Err(error));
            }
        }
        // It may also not have left home at all.
        let Some(link) = host.link(&self.name)? else {
            return Ok(());
        };
        for name in &self.alternative_names {
            if !link.alternative_names.contains(name) {
                host.change_alternative_name(link.index, name, true)?;
            }
        }
        let given = self.way_out.iter().map(|one| host.give_back(one));
        given.fold(Ok(()), io::Result::and)
    }
}
