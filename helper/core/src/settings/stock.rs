//! Values as stock LXC gives them back: what `lxc-info -c` prints and what a
//! monitor answers to command 7. Spellings are those of LXC 6.0.4.

use crate::arch::Personality;
use crate::config::{Config, Item};
use crate::keys::{self, FoundKey, Grammar, Group, Match};
use crate::namespaces::Namespace;
use crate::signals;
use crate::values::mount::AutoMounts;
use crate::values::network::{Ipv4Assignment, Ipv6Assignment};
use crate::values::rootfs::RootfsPath;
use crate::values::{self, Limit, LogLevel, TimeOffset, words};

/// The value of a key in stock LXC's spelling. None if it is unset or stock
/// LXC knows no such key, which a monitor answers with -1.
///
/// Most lists have a line end after each value; id maps, addresses and VLANs
/// have one between values. A bare `lxc.net` gives every network's type, and
/// `lxc.cgroup2`, `lxc.prlimit`, `lxc.sysctl` and `lxc.proc` give whole lines.
pub fn stock_value(config: &Config, key: &str) -> Option<String> {
    let text = match keys::find(key)? {
        Match::Group(Group::Prefix("lxc.net.")) => {
            let types = config
                .items()
                .iter()
                .filter(|item| item.description.name == "lxc.net.N.type");
            types.map(|item| format!("{}\n", item.value)).collect()
        }
        Match::Group(Group::Prefix("lxc.hook.") | Group::Network(_)) => return None,
        Match::Group(group) => {
            let items = config
                .items()
                .iter()
                .filter(|item| group.contains(&item.key));
            items
                .map(|item| format!("{} = {}\n", item.key, one(item)))
                .collect()
        }
        Match::Key(found)
            if found.legacy || found.key.obsolete || found.key.name == "lxc.include" =>
        {
            return None;
        }
        Match::Key(found) => {
            let items: Vec<&Item> = config.items_of(key).collect();
            if items.is_empty() {
                unset(config, &found, key)
            } else {
                set(found.key.grammar, &items)
            }
        }
    };
    (!text.is_empty()).then_some(text)
}

fn set(grammar: Grammar, items: &[&Item]) -> String {
    let values = || items.iter().map(|item| item.value.as_str());
    let each = |values: Vec<&str>| {
        values
            .into_iter()
            .map(|value| format!("{value}\n"))
            .collect()
    };
    match grammar {
        Grammar::Capabilities | Grammar::CapabilitiesOrNone | Grammar::Words => {
            each(values().flat_map(words).collect())
        }
        Grammar::Namespaces => {
            let chosen: Vec<Namespace> = values()
                .flat_map(|value| values::namespaces(value).unwrap_or_default())
                .collect();
            each(
                STOCK_ORDER
                    .iter()
                    .filter(|kind| chosen.contains(kind))
                    .map(|kind| kind.proc_name())
                    .collect(),
            )
        }
        Grammar::Variable => each(values().filter(|value| value.contains('=')).collect()),
        Grammar::MountEntry | Grammar::CgroupFile => each(values().collect()),
        Grammar::GroupIds => joined(items, ","),
        Grammar::AutoMounts => {
            let mut mounts = AutoMounts::default();
            for value in values() {
                // Items were validated when they were read.
                if mounts.apply(value).is_err() {
                    return String::new();
                }
            }
            mounts.to_string()
        }
        _ => match items {
            [item] if !item.description.multi => one(item),
            _ if matches!(grammar, Grammar::Command | Grammar::Text) => each(values().collect()),
            _ => joined(items, "\n"),
        },
    }
}

/// The order in which stock LXC lists namespaces.
const STOCK_ORDER: [Namespace; 8] = [
    Namespace::User,
    Namespace::Mount,
    Namespace::Pid,
    Namespace::Uts,
    Namespace::Ipc,
    Namespace::Cgroup,
    Namespace::Net,
    Namespace::Time,
];

fn joined(items: &[&Item], separator: &str) -> String {
    items
        .iter()
        .map(|item| one(item))
        .collect::<Vec<_>>()
        .join(separator)
}

/// One value.
fn one(item: &Item) -> String {
    let value = item.value.as_str();
    let spelled = match item.description.grammar {
        Grammar::Architecture => {
            Personality::from_name(value).map(|found| found.stock_name().to_owned())
        }
        Grammar::RootfsPath => Some(RootfsPath::parse(value).path),
        Grammar::LogLevel => LogLevel::parse(value)
            .ok()
            .map(|level| level.stock_name().to_owned()),
        Grammar::Signal => signals::parse(value).map(|number| number.to_string()),
        Grammar::BufferSize => values::size(value)
            .and_then(values::buffer_size)
            .ok()
            .map(|bytes| bytes.to_string()),
        Grammar::TimeOffset => TimeOffset::parse(value)
            .ok()
            .map(|offset| offset.to_string()),
        Grammar::Limit => Limit::parse(value).ok().map(|limit| limit.to_string()),
        Grammar::UnixAddress => value.strip_prefix("unix:").map(str::to_owned),
        Grammar::Ipv4Address => Ipv4Assignment::parse(value)
            .ok()
            .map(|found| format!("{}/{}", found.address, found.prefix)),
        Grammar::Ipv6Address => Ipv6Assignment::parse(value)
            .ok()
            .map(|found| format!("{}/{}", found.address, found.prefix)),
        _ if item.description.name == "lxc.net.N.flags" => Some("up".to_owned()),
        _ => None,
    };
    spelled.unwrap_or_else(|| value.to_owned())
}

/// What stock LXC says about keys that are not set.
fn unset(config: &Config, found: &FoundKey<'_>, key: &str) -> String {
    let default = match (found.key.name, found.key.grammar) {
        ("lxc.autodev" | "lxc.rootfs.managed", _) => "1",
        ("lxc.monitor.signal.pdeath", _) => "9",
        (_, Grammar::LogLevel) => "NOTSET",
        (_, Grammar::TimeOffset) => "0ns",
        (name, _) if name.starts_with("lxc.net.N.") => {
            let network = key.split('.').take(3).collect::<Vec<_>>().join(".");
            let kind = config.get(&format!("{network}.type"));
            match (found.key.grammar, kind) {
                (Grammar::Flag, Some(_)) => "0",
                (Grammar::VethMode, Some("veth"))
                | (Grammar::MacvlanMode, Some("macvlan"))
                | (Grammar::IpvlanMode | Grammar::IpvlanIsolation, Some("ipvlan")) => {
                    found.key.default
                }
                _ => "",
            }
        }
        (
            _,
            Grammar::Flag
            | Grammar::Unsigned
            | Grammar::Integer
            | Grammar::Bytes
            | Grammar::BufferSize
            | Grammar::Signal,
        ) => "0",
        _ => "",
    };
    default.to_owned()
}

/// The groups as `lxc-ls` prints them: stock LXC splits at blanks only.
pub fn stock_groups(config: &Config) -> Vec<&str> {
    config
        .items_of("lxc.group")
        .flat_map(|item| words(&item.value))
        .collect()
}
