//! Interfaces of the host that are moved into a container while it runs. They
//! come home when it ends, however that may be: the kernel would delete those of
//! some kinds with the container's namespace, and leave the others under their
//! new names.

use super::Interfaces;
use super::phys::{self, Guest};
use super::undo::Debt;
use crate::netlink::Netlink;
use gantry_core::monitor::LentInterface;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// What a container has of the host.
pub(super) struct Lent {
    interface: LentInterface,
    guest: Guest,
}

impl Interfaces {
    /// What is lent, by the names that were given.
    pub(crate) fn lent(&self) -> Vec<LentInterface> {
        self.lent.iter().map(|one| one.interface.clone()).collect()
    }

    /// Moves an interface of the host into the container's namespace.
    pub(crate) fn lend(&mut self, wanted: LentInterface, namespace: &OwnedFd) -> io::Result<()> {
        let mut host = Netlink::open()?;
        let link = host.link(&wanted.host)?.ok_or(Errno::NODEV)?;
        let mut inside = Netlink::open_in(namespace)?;
        if inside.link(&wanted.name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        let guest = Guest::of(&link, &mut host, &mut inside)?;
        self.tell_of(&Debt::Phys(guest.clone()), &[namespace])
            .map_err(|failure| io::Error::other(failure.message))?;
        if let Err(error) = phys::move_in(&link, &guest, &wanted.name, namespace, &mut host) {
            self.forget(Debt::Phys(guest));
            return Err(error);
        }
        self.lent.push(Lent {
            interface: wanted,
            guest,
        });
        Ok(())
    }

    /// Moves one back, by its name in the container.
    pub(crate) fn take_back(&mut self, name: &str, namespace: &OwnedFd) -> io::Result<()> {
        let at = self.lent.iter().position(|one| one.interface.name == name);
        let one = at.and_then(|at| self.lent.get(at)).ok_or(Errno::NODEV)?;
        one.guest.come_home(namespace)?;
        let guest = one.guest.clone();
        self.forget(Debt::Phys(guest));
        self.lent.retain(|one| one.interface.name != name);
        Ok(())
    }
}
