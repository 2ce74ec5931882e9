//! What all kinds of interfaces have in common.

use super::{STEP, addresses};
use crate::failure::{At, Step, failure};
use crate::netlink::{Link, Netlink, NewKind, NewLink};
use crate::sys;
use gantry_core::monitor::{Failure, FailureKind};
use gantry_core::settings::{Network, NetworkKind};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long the kernel may take to remove what a container left that has
/// stopped already.
const PATIENCE: Duration = Duration::from_secs(1);

/// The two namespaces that a container's interfaces lie in.
pub(super) struct Ground<'a> {
    pub(super) host: Netlink,
    pub(super) inside: Netlink,
    pub(super) namespace: &'a OwnedFd,
}

impl<'a> Ground<'a> {
    pub(super) fn open(namespace: &'a OwnedFd) -> Step<Self> {
        let what = || "cannot open a netlink socket".to_owned();
        Ok(Self {
            host: Netlink::open().at(STEP, what)?,
            inside: Netlink::open_in(namespace).at(STEP, what)?,
            namespace,
        })
    }

    /// One more socket in the container's namespace.
    pub(super) fn another_inside(&self) -> Step<Netlink> {
        Netlink::open_in(self.namespace).at(STEP, || "cannot open a netlink socket".to_owned())
    }

    /// The index of an interface in the container.
    pub(super) fn index_of(&mut self, name: &str) -> Step<u32> {
        let found = self
            .inside
            .link(name)
            .at(STEP, || format!("cannot find {name}"))?;
        found.map(|link| link.index).ok_or_else(|| {
            let message = format!("{name} vanished while it was made.");
            failure(FailureKind::StartFailed, STEP, message)
        })
    }
}

/// One interface of the config.
pub(super) struct Wire<'a> {
    pub(super) number: u32,
    pub(super) network: &'a Network,
    /// Its name in the container; empty for that of its link.
    pub(super) name: &'a str,
    /// Its MAC address; none for the kernel's choice.
    pub(super) address: Option<[u8; 6]>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(number: u32, network: &'a Network, name: &'a str) -> Step<Self> {
        let random = sys::random().at(STEP, || "cannot draw a random address".to_owned())?;
        Ok(Self {
            number,
            network,
            name,
            address: network.hwaddr.map(|hwaddr| hwaddr.fill(random)),
        })
    }

    /// A failure because of a key's value.
    pub(super) fn wrong(&self, part: &str, reason: &str) -> Failure {
        let number = self.number;
        let message = format!("lxc.net.{number}.{part}: {reason}.");
        failure(FailureKind::InvalidConfig, STEP, message)
    }

    /// The interface of the host that the config names.
    pub(super) fn link_name(&self) -> Step<&'a str> {
        let word = self.network.kind.kind().word();
        self.network.link.as_deref().ok_or_else(|| {
            let reason = format!("an interface of type {word} needs one of the host; name it");
            self.wrong("link", &reason)
        })
    }

    /// Finds the interface of the host that the config names.
    pub(super) fn link(&self, ground: &mut Ground<'_>) -> Step<Link> {
        let name = self.link_name()?;
        let found = ground
            .host
            .link(name)
            .at(STEP, || format!("cannot look for {name}"))?;
        found.ok_or_else(|| {
            let number = self.number;
            let message = format!(
                "The host has no interface '{name}', which lxc.net.{number}.link names; make it or choose another."
            );
            failure(FailureKind::StartFailed, STEP, message)
        })
    }

    /// Refuses a link that a bridge has.
    pub(super) fn refuse_port(&self, link: &Link, ground: &mut Ground<'_>) -> Step<()> {
        let Some(master) = link.master else {
            return Ok(());
        };
        let master = ground
            .host
            .link_at(master)
            .at(STEP, || format!("cannot look at {}", link.name))?
            .map_or_else(|| "another".to_owned(), |master| master.name);
        let reason = format!(
            "'{}' is a port of '{master}'; use lxc.net.{}.type = veth with link = {master}, or take it out there",
            link.name, self.number
        );
        Err(self.wrong("link", &reason))
    }

    /// Refuses an MTU outside of what a link can carry; 0 is no limit.
    pub(super) fn check_mtu(&self, (least, most): (u32, u32)) -> Step<()> {
        match self.network.mtu {
            Some(mtu) if mtu < least || (most > 0 && mtu > most) => {
                let reason = format!("{mtu} is not an MTU from {least} to {most}");
                Err(self.wrong("mtu", &reason))
            }
            _ => Ok(()),
        }
    }

    /// Makes an interface on top of the link, in the container.
    pub(super) fn make_on(
        &self,
        link: &Link,
        kind: &NewKind<'_>,
        ground: &mut Ground<'_>,
    ) -> Step<u32> {
        self.check_mtu((68, link.mtu.unwrap_or_default()))?;
        let new = NewLink {
            name: self.name,
            mtu: self.network.mtu,
            namespace: Some(ground.namespace),
            ..NewLink::default()
        };
        patiently(|| ground.host.add_link(&new, kind)).map_err(|error| self.explain(error))?;
        ground.index_of(self.name)
    }

    /// Why an interface cannot be made.
    pub(super) fn explain(&self, error: io::Error) -> Failure {
        let word = self.network.kind.kind().word();
        let link = self.network.link.as_deref().unwrap_or_default();
        match (error.raw_os_error(), &self.network.kind) {
            (Some(libc::EOPNOTSUPP), _) => {
                let message = format!(
                    "This kernel cannot make interfaces of type {word}; load its module '{word}' or use another lxc.net.{}.type.",
                    self.number
                );
                failure(FailureKind::Unsupported, STEP, message)
            }
            (Some(libc::EEXIST), NetworkKind::Vlan { id }) => {
                let reason = format!("VLAN {id} of '{link}' is in use already; choose another");
                self.wrong("vlan.id", &reason)
            }
            (Some(libc::EBUSY | libc::EINVAL), NetworkKind::Macvlan { .. }) => {
                let reason = format!(
                    "'{link}' is in use in another way: by a bridge or an ipvlan, or one macvlan in passthru mode wants it whole"
                );
                self.wrong("link", &reason)
            }
            (Some(libc::EBUSY | libc::EINVAL), _) => {
                let reason = format!(
                    "'{link}' is in use in another way, by a bridge or a macvlan ({error})"
                );
                self.wrong("link", &reason)
            }
            _ => {
                let message = format!(
                    "Cannot make lxc.net.{} of type {word}: {error}.",
                    self.number
                );
                failure(FailureKind::StartFailed, STEP, message)
            }
        }
    }

    /// Sets up what is in the container.
    pub(super) fn configure(&self, index: u32, ground: &mut Ground<'_>) -> Step<()> {
        let number = self.number;
        let inside = &mut ground.inside;
        if self.network.up {
            inside
                .bring_up(index)
                .at(STEP, || format!("cannot bring up lxc.net.{number}"))?;
        }
        addresses::configure(ground, number, self.network, index)
    }
}

/// Does something on the host again while what another container had is in the
/// way. (A link that another takes whole is told by EINVAL.)
pub(super) fn patiently<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let in_the_way = |error: &io::Error| {
        matches!(
            error.raw_os_error(),
            Some(libc::EEXIST | libc::EBUSY | libc::EINVAL | libc::ENODEV)
        )
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work() {
            Err(error) if in_the_way(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}
