//! Bytes through each of a container's interfaces. Where the host has the other end of a
//! pair, its counters tell (sysfs-class-net-statistics): they stay open and cost two reads.
//! Of the rest the kernel tells in the network namespace of the container's init
//! (proc_net(5)), which is walked to anew each time: to hold it would keep the namespace,
//! and the host's interfaces in it, beyond the container's end.

use crate::linux::netlink::Netlink;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rustix::fs::{Mode, OFlags, open, openat};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// As much is read: a container may make as many interfaces as it likes.
const MOST: u64 = 64 << 10;
/// Few have more lines than fit: one call reads them all.
const USUAL: usize = 4 << 10;
/// As long may an interface that a container makes or renames stay unseen.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

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

/// One look at a container's interfaces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// All but loopback; none when the process has ended.
    pub(crate) links: Vec<LinkTraffic>,
    /// Bytes received and sent on those that have an end on the host; none if none has.
    pub(crate) total: Option<(u64, u64)>,
    /// The container has other interfaces now: it is to be opened anew.
    pub(crate) is_outdated: bool,
}

/// The interfaces of a process's network namespace. Its place in /proc is held, so that
/// it is nobody else's.
#[derive(Debug)]
pub(crate) struct Traffic {
    process: OwnedFd,
    links: Vec<Link>,
    looked: Mutex<Instant>,
}

#[derive(Debug)]
struct Link {
    name: String,
    end: Option<End>,
}

/// Open counters of a host's end: what the host sent is what the container received.
#[derive(Debug)]
pub(crate) struct End {
    sent: File,
    received: File,
}

impl Traffic {
    /// Of a process, of whose interfaces those ends are known.
    pub(crate) fn of(pid: u32, mut ends: HashMap<String, End>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = open(format!("/proc/{pid}"), flags, Mode::empty())?;
        let links = seen_inside(&process).into_iter().map(|link| Link {
            end: ends.remove(&link.name),
            name: link.name,
        });
        let links = links.collect();
        Ok(Self {
            process,
            links,
            looked: Mutex::new(Instant::now()),
        })
    }

    /// What has gone through until now.
    pub(crate) fn read(&self) -> Reading {
        if let Some(links) = self.by_ends() {
            let total = sum(links.iter());
            return Reading {
                links,
                total,
                is_outdated: false,
            };
        }
        let links = seen_inside(&self.process);
        let has_end =
            |name: &str| (self.links.iter()).any(|link| link.name == name && link.end.is_some());
        let names = links.iter().map(|link| &link.name);
        Reading {
            total: sum(links.iter().filter(|link| has_end(&link.name))),
            is_outdated: !names.eq(self.links.iter().map(|link| &link.name)),
            links,
        }
    }

    /// None if one has no end, or it is time to look whether there are others.
    fn by_ends(&self) -> Option<Vec<LinkTraffic>> {
        let now = Instant::now();
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(*looked) >= LOOK_AGAIN {
            *looked = now;
            return None;
        }
        let links = self.links.iter();
        links.map(Link::read).collect()
    }
}

impl Link {
    fn read(&self) -> Option<LinkTraffic> {
        let end = self.end.as_ref()?;
        Some(LinkTraffic {
            name: self.name.clone(),
            rx: number(&end.sent)?,
            tx: number(&end.received)?,
        })
    }
}

fn sum<'a>(links: impl Iterator<Item = &'a LinkTraffic>) -> Option<(u64, u64)> {
    links
        .map(|link| (link.rx, link.tx))
        .reduce(|one, other| (one.0.saturating_add(other.0), one.1.saturating_add(other.1)))
}

fn seen_inside(process: &OwnedFd) -> Vec<LinkTraffic> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut text = String::with_capacity(USUAL);
    match openat(process, "net/dev", flags, Mode::empty()) {
        Ok(file) => match File::from(file).take(MOST).read_to_string(&mut text) {
            Ok(_) => parse(&text),
            Err(_) => Vec::new(),
        },
        Err(_) => Vec::new(),
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

/// The host's ends of the interfaces in a container's network namespace, to which the
/// socket belongs, by the names inside.
pub(crate) async fn ends(container: &Netlink) -> io::Result<HashMap<String, End>> {
    let links = container.links().await?;
    let ends = links.iter().filter_map(|link| {
        let end = End::open(pair(link)?, link.header.index).ok()?;
        Some((name(link)?, end))
    });
    Ok(ends.collect())
}

impl End {
    /// Of the pair in which the container's end is `inside`. A container may have pairs
    /// with namespaces of its own, whose numbers mean nothing here.
    fn open(index: u32, inside: u32) -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
        let flags = SocketFlags::CLOEXEC;
        let any = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let name = netdevice::index_to_name(&any, index)?;
        let place = Path::new("/sys/class/net").join(name);
        let file = |name: &str| File::open(place.join(name));
        let end = Self {
            sent: file("statistics/tx_bytes")?,
            received: file("statistics/rx_bytes")?,
        };
        if number(&file("iflink")?) == Some(inside.into()) {
            Ok(end)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// The index of a pair's other end, which is in another namespace. (What else names
/// another interface is on top of it, and shares it with others.)
fn pair(link: &LinkMessage) -> Option<u32> {
    let is_veth = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    };
    let is_elsewhere =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::LinkNetNsId(_));
    let has = |is: &dyn Fn(&LinkAttribute) -> bool| link.attributes.iter().any(is);
    let mut attributes = link.attributes.iter();
    let other = attributes.find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    });
    other.filter(|_| has(&is_veth) && has(&is_elsewhere))
}

fn name(link: &LinkMessage) -> Option<String> {
    let mut attributes = link.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn number(file: &File) -> Option<u64> {
    let mut buffer = [0; 32];
    let length = file.read_at(&mut buffer, 0).ok()?;
    std::str::from_utf8(buffer.get(..length)?)
        .ok()?
        .trim()
        .parse()
        .ok()
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
        let traffic = Traffic::of(std::process::id(), HashMap::new()).unwrap();
        let reading = traffic.read();
        assert!(reading.links.iter().all(|link| !link.name.is_empty()));
        assert_eq!((reading.total, reading.is_outdated), (None, false));
    }
}
