//! The table of configuration keys: each is described once, and the parser,
//! the writer, validation, authorization and the documentation all read it.

mod confinement;
mod container;
mod grammar;
mod network;
mod safety;

pub use grammar::Grammar;
pub(crate) use grammar::{capabilities, group_ids};
pub use safety::Safety;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

/// When a key's value is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// While the container is created.
    Create,
    /// At each start.
    Start,
    /// By the monitor, while the container runs.
    Run,
    /// When a process is attached.
    Attach,
    /// When it stops, and after.
    Stop,
    /// By autostart, when the host starts or shuts down.
    Boot,
    /// When it is cloned.
    Clone,
    /// When it is destroyed.
    Destroy,
    /// When the file is read.
    Read,
}

/// One key of the configuration language.
#[derive(Debug)]
pub struct Key {
    /// Its name since LXC 2.1. A part in capitals stands for what varies: `N`
    /// for a network's number, `FILE`, `NAME`, `NS` or `KEY` for any rest.
    pub name: &'static str,
    /// Names in LXC 1.x and 2.0 that differ.
    pub legacy: &'static [&'static str],
    /// What a value looks like.
    pub grammar: Grammar,
    /// Whether several lines add up; else the last one counts.
    pub multi: bool,
    /// The value when there is none, for people to read.
    pub default: &'static str,
    /// When it is used.
    pub effect: &'static [Effect],
    /// Whether a container that runs takes it over when it is set
    /// (`SetConfigItem`); else a change waits for the next start.
    pub live: bool,
    /// Whether changing it can equal root on the host.
    pub safety: Safety,
    /// Whether only LXC 1.x had it: it is read but never written.
    pub obsolete: bool,
    /// What it is for, in a sentence.
    pub meaning: &'static str,
}

impl Key {
    const fn new(
        name: &'static str,
        grammar: Grammar,
        effect: &'static [Effect],
        meaning: &'static str,
    ) -> Self {
        Self {
            name,
            legacy: &[],
            grammar,
            multi: false,
            default: "",
            effect,
            live: false,
            safety: Safety::Unsafe,
            obsolete: false,
            meaning,
        }
    }

    const fn legacy(mut self, names: &'static [&'static str]) -> Self {
        self.legacy = names;
        self
    }

    const fn multi(mut self) -> Self {
        self.multi = true;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = value;
        self
    }

    const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    const fn obsolete(mut self) -> Self {
        self.obsolete = true;
        self
    }

    const fn safe(mut self) -> Self {
        self.safety = Safety::Safe;
        self
    }

    const fn safe_if(mut self, rule: fn(&str, &str) -> bool) -> Self {
        self.safety = Safety::ByValue(rule);
        self
    }

    /// The fixed beginning of a name that ends in a part of any text.
    fn prefix(&self) -> Option<&'static str> {
        let dot = self.name.rfind('.')?;
        let last = self.name.get(dot + 1..)?;
        (last.len() > 1 && last.bytes().all(|b| b.is_ascii_uppercase()))
            .then(|| self.name.split_at(dot + 1).0)
    }

    /// What follows `lxc.net.N.`, for keys of networks.
    fn network_part(&self) -> Option<&'static str> {
        self.name.strip_prefix("lxc.net.N.")
    }

    /// Whether a container that runs goes by the value that it was started
    /// with, or has taken over since. What is used while it is stopped, or by
    /// whoever starts it, counts as it is saved.
    pub fn is_held(&self) -> bool {
        self.effect
            .iter()
            .any(|effect| matches!(effect, Effect::Start | Effect::Run | Effect::Stop))
    }
}

/// Every key, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Key> {
    container::KEYS
        .iter()
        .chain(confinement::KEYS)
        .chain(network::KEYS)
}

/// A name as found in a file, matched with the table.
#[derive(Debug, Clone, Copy)]
pub enum Match<'a> {
    /// It sets or clears one key.
    Key(FoundKey<'a>),
    /// It clears all keys that begin so; it has no value.
    Group(Group),
}

/// A key that was found by a written name.
#[derive(Debug, Clone, Copy)]
pub struct FoundKey<'a> {
    /// Its description.
    pub key: &'static Key,
    /// Which network it is about, for keys of networks.
    pub network: NetworkIndex,
    /// What stands for the part of the name in capitals; else empty.
    pub suffix: &'a str,
    /// Whether the name is one of LXC 1.x.
    pub legacy: bool,
}

impl FoundKey<'_> {
    /// The modern name. `latest` is the number of the network that legacy
    /// lines are about.
    pub fn name(&self, latest: u32) -> String {
        let network = match self.network {
            NetworkIndex::NotNetwork => None,
            NetworkIndex::Number(number) => Some(number),
            NetworkIndex::Latest => Some(latest),
        };
        match (network, self.key.network_part(), self.key.prefix()) {
            (Some(number), Some(part), _) => format!("lxc.net.{number}.{part}"),
            (_, _, Some(prefix)) => format!("{prefix}{}", self.suffix),
            _ => self.key.name.to_owned(),
        }
    }
}

/// Which network a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkIndex {
    /// It is not about a network.
    NotNetwork,
    /// The network of this number.
    Number(u32),
    /// The network whose type was given last (`lxc.network.*` of LXC 1.x).
    Latest,
}

/// Keys that are cleared together by a bare name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// All that begin so, the dot included.
    Prefix(&'static str),
    /// One network.
    Network(u32),
}

impl Group {
    /// Whether a key of this modern name is in the group.
    pub fn contains(self, name: &str) -> bool {
        match self {
            // Their names begin like those of controllers' files.
            Self::Prefix("lxc.cgroup.") => {
                name.starts_with("lxc.cgroup.")
                    && !name.starts_with("lxc.cgroup.dir")
                    && name != "lxc.cgroup.relative"
            }
            Self::Prefix(prefix) => name.starts_with(prefix) && name != "lxc.hook.version",
            Self::Network(number) => name
                .strip_prefix("lxc.net.")
                .and_then(|rest| rest.strip_prefix(&number.to_string()))
                .is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

const GROUPS: [(&str, &str); 9] = [
    ("lxc.net", "lxc.net."),
    ("lxc.network", "lxc.net."),
    ("lxc.hook", "lxc.hook."),
    ("lxc.cgroup", "lxc.cgroup."),
    ("lxc.cgroup2", "lxc.cgroup2."),
    ("lxc.prlimit", "lxc.prlimit."),
    ("lxc.limit", "lxc.prlimit."),
    ("lxc.sysctl", "lxc.sysctl."),
    ("lxc.proc", "lxc.proc."),
];

struct Index {
    exact: HashMap<&'static str, (&'static Key, bool)>,
    network: HashMap<&'static str, (&'static Key, bool)>,
    prefixes: Vec<(&'static str, &'static Key, bool)>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index {
        exact: HashMap::new(),
        network: HashMap::new(),
        prefixes: Vec::new(),
    };
    for key in all() {
        let legacy = key.legacy.iter().map(|name| (*name, true));
        for (name, is_legacy) in std::iter::once((key.name, false)).chain(legacy) {
            if let Some(part) = name
                .strip_prefix("lxc.net.N.")
                .or_else(|| name.strip_prefix("lxc.network."))
            {
                index.network.entry(part).or_insert((key, is_legacy));
            } else if key.prefix().is_some() {
                let fixed = name.rfind('.').map_or(name, |dot| name.split_at(dot + 1).0);
                index.prefixes.push((fixed, key, is_legacy));
            } else {
                index.exact.insert(name, (key, is_legacy));
            }
        }
    }
    index
});

/// Looks a written name up, of either generation. None: no version of LXC has
/// such a key.
pub fn find(written: &str) -> Option<Match<'_>> {
    if let Some((key, legacy)) = INDEX.exact.get(written) {
        return Some(Match::Key(FoundKey {
            key,
            network: NetworkIndex::NotNetwork,
            suffix: "",
            legacy: *legacy,
        }));
    }
    if let Some((_, prefix)) = GROUPS.iter().find(|(name, _)| *name == written) {
        return Some(Match::Group(Group::Prefix(prefix)));
    }
    for (prefix, old) in [("lxc.net.", false), ("lxc.network.", true)] {
        if let Some(rest) = written.strip_prefix(prefix) {
            return find_network(rest, old);
        }
    }
    INDEX.prefixes.iter().find_map(|(prefix, key, legacy)| {
        let suffix = written
            .strip_prefix(prefix)
            .filter(|suffix| key.grammar.allows_suffix(suffix))?;
        Some(Match::Key(FoundKey {
            key,
            network: NetworkIndex::NotNetwork,
            suffix,
            legacy: *legacy,
        }))
    })
}

fn find_network(rest: &str, old: bool) -> Option<Match<'_>> {
    let (number, part) = rest
        .split_once('.')
        .map_or((rest, None), |(number, part)| (number, Some(part)));
    if let Ok(number) = crate::values::unsigned(number) {
        let Some(part) = part else {
            return Some(Match::Group(Group::Network(number)));
        };
        let (key, legacy) = INDEX
            .network
            .get(part)
            .filter(|(_, legacy)| old || !legacy)?;
        let network = NetworkIndex::Number(number);
        return Some(Match::Key(FoundKey {
            key,
            network,
            suffix: "",
            legacy: old || *legacy,
        }));
    }
    let (key, _) = INDEX.network.get(rest).filter(|_| old)?;
    Some(Match::Key(FoundKey {
        key,
        network: NetworkIndex::Latest,
        suffix: "",
        legacy: true,
    }))
}
