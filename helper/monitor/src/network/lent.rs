//! Interfaces of the host that are moved into a running container, and back
//! when it ends: the kernel would delete those of some kinds with the
//! container's namespace, and leave the others under their new names.

use crate::log;
use crate::netlink::Netlink;
use gantry_core::monitor::LentInterface;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// What a container has of the host.
#[derive(Default)]
pub(crate) struct Lent {
    /// The container's network namespace; it lasts as long as this does.
    namespace: Option<OwnedFd>,
    all: Vec<Moved>,
}

struct Moved {
    interface: LentInterface,
    /// Its number in the container, which may have renamed it.
    index: u32,
}

impl Lent {
    /// What is lent, by the names that were given.
    pub(crate) fn list(&self) -> Vec<LentInterface> {
        self.all.iter().map(|one| one.interface.clone()).collect()
    }

    /// Moves an interface into a network namespace.
    pub(crate) fn lend(&mut self, wanted: LentInterface, namespace: OwnedFd) -> io::Result<()> {
        let mut host = Netlink::open()?;
        let link = host.link(&wanted.host)?.ok_or(Errno::NODEV)?;
        let mut inside = Netlink::open_in(&namespace)?;
        if inside.link(&wanted.name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        host.move_link(link.index, &namespace, &wanted.name, None)?;
        let moved = inside.link(&wanted.name)?.ok_or(Errno::NODEV)?;
        self.namespace = Some(namespace);
        self.all.push(Moved {
            interface: wanted,
            index: moved.index,
        });
        Ok(())
    }

    /// Moves one back, by its name in the container.
    pub(crate) fn take_back(&mut self, name: &str) -> io::Result<()> {
        let at = self.all.iter().position(|one| one.interface.name == name);
        let one = at.and_then(|at| self.all.get(at)).ok_or(Errno::NODEV)?;
        self.move_back(one)?;
        self.all.retain(|one| one.interface.name != name);
        Ok(())
    }

    /// Moves all back.
    pub(crate) fn take_all_back(&mut self) {
        for one in &self.all {
            if let Err(error) = self.move_back(one) {
                let host = &one.interface.host;
                log::error(format!("cannot move {host} back to the host: {error}"));
            }
        }
        *self = Self::default();
    }

    fn move_back(&self, one: &Moved) -> io::Result<()> {
        let namespace = self.namespace.as_ref().ok_or(Errno::NODEV)?;
        let mut inside = Netlink::open_in(namespace)?;
        let host = std::fs::File::open("/proc/self/ns/net")?;
        match inside.move_link(one.index, &host, &one.interface.host, None) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                // Its name is another's by now; better so than lost.
                inside.move_link(one.index, &host, "lent%d", None)?;
                log::error(format!(
                    "{} is back on the host by another name, for that is taken",
                    one.interface.host
                ));
                Ok(())
            }
            result => result,
        }
    }
}
