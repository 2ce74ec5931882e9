//! From the keys of LXC 1.x to those of today.

use super::{Config, scan};
use crate::keys::{self, Match};
use crate::values::rootfs::{RootfsKind, RootfsPath};

impl Config {
    /// Whether the text uses a key of LXC 1.x or 2.0, which LXC 3 and newer
    /// refuse.
    pub fn is_legacy(&self) -> bool {
        self.lines.iter().any(|line| is_legacy(&line.written))
    }

    /// The text with modern keys in place of legacy ones. Other lines stay as
    /// they are; those of keys that have no effect any more are left out.
    pub fn to_modern(&self) -> String {
        let backend = self.get("lxc.rootfs.backend").map(RootfsKind::from_prefix);
        let mut text = self.text.clone();
        for line in self
            .lines
            .iter()
            .rev()
            .filter(|line| is_legacy(&line.written))
        {
            let Some(old) = text.get(line.range.clone()) else {
                continue;
            };
            let end = old.len() - old.trim_end_matches(['\n', '\r', '\0']).len();
            let (_, end) = old.split_at(old.len() - end);
            let value = match (&backend, line.key.as_str()) {
                (Some(kind), "lxc.rootfs.path") => with_backend(&line.value, kind),
                _ => line.value.clone(),
            };
            let new = match line.key.as_str() {
                key if is_obsolete(key) => String::new(),
                // An empty lxc.network.type removes every network.
                key if value.is_empty()
                    && line.written == "lxc.network.type"
                    && key.ends_with(".type") =>
                {
                    format!("lxc.net ={end}")
                }
                key if value.is_empty() => format!("{key} ={end}"),
                key => format!("{key} = {}{end}", scan::quote(&value)),
            };
            text.replace_range(line.range.clone(), &new);
        }
        text
    }
}

fn is_legacy(written: &str) -> bool {
    match keys::find(written) {
        Some(Match::Key(found)) => found.legacy || found.key.obsolete,
        Some(Match::Group(_)) => written.starts_with("lxc.network") || written == "lxc.limit",
        None => false,
    }
}

fn is_obsolete(name: &str) -> bool {
    matches!(keys::find(name), Some(Match::Key(found)) if found.key.obsolete)
}

/// A path with the store's prefix, unless it has one.
fn with_backend(path: &str, backend: &RootfsKind) -> String {
    match RootfsPath::parse(path).kind {
        RootfsKind::Unprefixed => format!("{}:{path}", backend.prefix()),
        _ => path.to_owned(),
    }
}
