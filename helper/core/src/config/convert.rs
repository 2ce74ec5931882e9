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
    pub fn to_modern(&self) -> Modern {
        let backend = self.get("lxc.rootfs.backend").map(RootfsKind::from_prefix);
        let mut text = self.text.clone();
        let mut changes = Vec::new();
        for line in self
            .lines
            .iter()
            .rev()
            .filter(|line| is_legacy(&line.written))
        {
            let Some((before, old)) = text
                .get(..line.range.end)
                .and_then(|text| text.split_at_checked(line.range.start))
            else {
                continue;
            };
            let content = old.trim_end_matches(['\n', '\r', '\0']);
            let end = old.get(content.len()..).unwrap_or_default();
            let new = modern_line(line, backend.as_ref());
            let number = before.matches('\n').count() + 1;
            let content = content.trim();
            changes.push(match &new {
                Some(new) => format!("line {number}: '{content}' is now '{new}'"),
                None => format!("line {number}: '{content}' is left out: LXC has no such key now"),
            });
            let new = new.map_or_else(String::new, |new| new + end);
            text.replace_range(line.range.clone(), &new);
        }
        changes.reverse();
        let included = self
            .items
            .iter()
            .filter(|item| item.file != self.path && is_legacy(&item.written));
        changes.extend(included.map(|item| {
            format!(
                "{}, line {}: {} is not changed, since the file is only included",
                item.file.display(),
                item.line,
                item.written
            )
        }));
        Modern { text, changes }
    }

    /// Whether `modern`, which was made of this, says the same: what only LXC 1.x
    /// had and where the root file system's store is named may differ.
    pub fn means_the_same(&self, modern: &Self) -> bool {
        self.changed_keys(modern)
            .iter()
            .all(|key| is_obsolete(key) || key == "lxc.rootfs.path")
    }
}

/// A config in the keys of LXC 3 and newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modern {
    /// The text of the file.
    pub text: String,
    /// What was changed, and what could not be, in a sentence each.
    pub changes: Vec<String>,
}

/// What takes the place of a legacy line, without its end; none if nothing does.
fn modern_line(line: &scan::KeyLine, backend: Option<&RootfsKind>) -> Option<String> {
    let value = match (backend, line.key.as_str()) {
        (Some(kind), "lxc.rootfs.path") => with_backend(&line.value, kind),
        _ => line.value.clone(),
    };
    match line.key.as_str() {
        key if is_obsolete(key) => None,
        // An empty lxc.network.type removes every network.
        key if value.is_empty() && line.written == "lxc.network.type" && key.ends_with(".type") => {
            Some("lxc.net =".to_owned())
        }
        key if value.is_empty() => Some(format!("{key} =")),
        key => Some(format!("{key} = {}", scan::quote(&value))),
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
