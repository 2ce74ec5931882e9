//! Bytes through each of a container's interfaces, as the kernel tells of the network
//! namespace of its init (proc_net(5)).

use rustix::fs::{Mode, OFlags, open, openat};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// As much is read: a container may make as many interfaces as it likes.
const MOST: u64 = 64 << 10;

/// Few have more lines than fit: one call reads them all.
const USUAL: usize = 4 << 10;

/// What went through an interface, as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkTraffic {
    /// Its name in the container.
    pub(crate) name: String,
    /// Bytes received.
    pub(crate) rx: u64,
    /// Bytes sent.
    pub(crate) tx: u64,
}

/// The interfaces of a process's network namespace. Its place in /proc is held, so that
/// it is nobody else's; the namespace is not.
#[derive(Debug)]
pub(crate) struct Links(OwnedFd);

impl Links {
    /// Of a process.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open(format!("/proc/{pid}"), flags, Mode::empty())?))
    }

    /// All but loopback; none when the process has ended.
    pub(crate) fn read(&self) -> Vec<LinkTraffic> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut text = String::with_capacity(USUAL);
        match openat(&self.0, "net/dev", flags, Mode::empty()) {
            Ok(file) => match File::from(file).take(MOST).read_to_string(&mut text) {
                Ok(_) => parse(&text),
                Err(_) => Vec::new(),
            },
            Err(_) => Vec::new(),
        }
    }
}

/// Lines of `NAME: BYTES …` with eight numbers for each direction.
fn parse(text: &str) -> Vec<LinkTraffic> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(':'));
    lines
        .filter_map(|(name, numbers)| {
            let mut numbers = numbers.split_whitespace().map(str::parse);
            Some(LinkTraffic {
                name: name.trim().to_owned(),
                rx: numbers.next()?.ok()?,
                tx: numbers.nth(7)?.ok()?,
            })
        })
        .filter(|link| link.name != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_of_each_interface_but_loopback() {
        let text = "Inter-|   Receive                            |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
             lo:  100 1 0 0 0 0 0 0  100 1 0 0 0 0 0 0\n  \
             eth0: 1500 9 0 0 0 0 0 0 2700 8 0 0 0 0 0 0\n";
        let eth0 = LinkTraffic {
            name: "eth0".to_owned(),
            rx: 1500,
            tx: 2700,
        };
        assert_eq!(parse(text), [eth0]);
        assert_eq!(parse("half: 1 2"), []);
    }

    #[test]
    fn our_own_can_be_read() {
        let found = Links::of(std::process::id()).unwrap();
        assert!(found.read().iter().all(|link| !link.name.is_empty()));
    }
}
