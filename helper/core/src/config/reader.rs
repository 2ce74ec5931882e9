//! From text to items.

use super::scan::{KeyLine, Line, Statement, lines, statement};
use super::{
    Config, ConfigError, ConfigErrorKind, Included, Includes, Item, included_by_directory, stock,
};
use crate::keys::{self, FoundKey, Group, Match, NetworkIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep includes may nest.
const MAX_DEPTH: usize = 16;
/// How many files one config may take in, counted each time.
const MAX_FILES: usize = 512;

pub(super) fn read(path: Arc<Path>, text: String, includes: &mut dyn Includes) -> Config {
    let mut reader = Reader {
        includes,
        items: Vec::new(),
        errors: Vec::new(),
        lines: Vec::new(),
        files: BTreeSet::new(),
        open: vec![path.to_path_buf()],
        opened: 0,
        latest_network: 0,
        next_network: 0,
        types: BTreeMap::new(),
    };
    reader.file(&path, &text);
    reader.check_conflicts();
    let Reader {
        items,
        errors,
        lines,
        files,
        ..
    } = reader;
    Config {
        path,
        text,
        items,
        errors,
        lines,
        files,
    }
}

struct Reader<'a> {
    includes: &'a mut dyn Includes,
    items: Vec<Item>,
    errors: Vec<ConfigError>,
    lines: Vec<KeyLine>,
    files: BTreeSet<PathBuf>,
    /// The files being read, the config itself first.
    open: Vec<PathBuf>,
    opened: usize,
    /// The network that legacy lines are about.
    latest_network: u32,
    /// The number that the next `lxc.network.type` gets.
    next_network: u32,
    types: BTreeMap<u32, String>,
}

/// Where a line stands.
struct Place<'a> {
    file: &'a Arc<Path>,
    line: u32,
    written: &'a str,
}

impl Place<'_> {
    fn error(&self, kind: ConfigErrorKind, reason: String) -> ConfigError {
        ConfigError {
            file: self.file.to_path_buf(),
            line: self.line,
            key: self.written.to_owned(),
            kind,
            reason,
        }
    }
}

impl Reader<'_> {
    fn file(&mut self, path: &Arc<Path>, text: &str) {
        for line in lines(text) {
            match statement(line.text) {
                Statement::Nothing => {}
                Statement::Malformed(content) => {
                    let written = content.split_whitespace().next().unwrap_or_default();
                    let place = Place {
                        file: path,
                        line: line.number,
                        written,
                    };
                    let reason = "the line has no '='; write 'key = value'".to_owned();
                    self.errors
                        .push(place.error(ConfigErrorKind::Syntax, reason));
                }
                Statement::Assignment(written, value) => {
                    let place = Place {
                        file: path,
                        line: line.number,
                        written,
                    };
                    self.assignment(&place, &line, value, text);
                }
            }
        }
    }

    fn assignment(&mut self, place: &Place<'_>, line: &Line<'_>, value: &str, text: &str) {
        let outcome = match keys::find(place.written) {
            None => {
                let reason =
                    "no version of LXC has such a key; correct or remove the line".to_owned();
                Err(place.error(ConfigErrorKind::UnknownKey, reason))
            }
            Some(Match::Group(group)) => {
                self.note_line(place, line, text, group_name(group), value);
                self.clear_group(place, group, value)
            }
            Some(Match::Key(found)) => {
                self.follow_networks(&found, value);
                let key = found.name(self.latest_network);
                self.note_line(place, line, text, key.clone(), value);
                if value.is_empty() {
                    self.clear(&found, &key)
                } else {
                    self.set(place, &found, key, value)
                }
            }
        };
        self.errors.extend(outcome.err());
    }

    /// Remembers where lines of the config itself are, for edits.
    fn note_line(
        &mut self,
        place: &Place<'_>,
        line: &Line<'_>,
        text: &str,
        key: String,
        value: &str,
    ) {
        if self.open.len() > 1 {
            return;
        }
        let content = line.start + line.text.len();
        let rest = text.get(content..).unwrap_or_default();
        let end = content
            + if rest.starts_with("\r\n") {
                2
            } else {
                rest.chars().next().map_or(0, char::len_utf8)
            };
        self.lines.push(KeyLine {
            range: line.start..end,
            key,
            written: place.written.to_owned(),
            value: value.to_owned(),
        });
    }

    fn clear_group(
        &mut self,
        place: &Place<'_>,
        group: Group,
        value: &str,
    ) -> Result<(), ConfigError> {
        if !value.is_empty() {
            let reason = "this name takes no value, it only clears; write one of the keys below it"
                .to_owned();
            return Err(place.error(ConfigErrorKind::InvalidValue, reason));
        }
        self.remove_group(group);
        Ok(())
    }

    fn remove_group(&mut self, group: Group) {
        self.items.retain(|item| !group.contains(&item.key));
        self.types
            .retain(|number, _| !group.contains(&format!("lxc.net.{number}.type")));
        self.next_network = self
            .types
            .keys()
            .next_back()
            .map_or(0, |number| number.saturating_add(1));
    }

    /// `lxc.network.type` opens the next network; later legacy lines are about
    /// the one whose type was given last.
    fn follow_networks(&mut self, found: &FoundKey<'_>, value: &str) {
        if found.key.name != "lxc.net.N.type" || value.is_empty() {
            return;
        }
        self.latest_network = match found.network {
            NetworkIndex::Number(number) => number,
            _ => self.next_network,
        };
        self.next_network = self.next_network.max(self.latest_network.saturating_add(1));
    }

    fn clear(&mut self, found: &FoundKey<'_>, key: &str) -> Result<(), ConfigError> {
        if found.key.name == "lxc.net.N.type" {
            match found.network {
                NetworkIndex::Number(number) => drop(self.types.remove(&number)),
                _ => self.remove_group(Group::Prefix("lxc.net.")),
            }
        }
        self.items.retain(|item| item.key != key);
        Ok(())
    }

    fn set(
        &mut self,
        place: &Place<'_>,
        found: &FoundKey<'_>,
        key: String,
        value: &str,
    ) -> Result<(), ConfigError> {
        found
            .key
            .grammar
            .validate(value)
            .map_err(|reason| place.error(ConfigErrorKind::InvalidValue, reason))?;
        self.check_network(found, &key, value)
            .map_err(|reason| place.error(ConfigErrorKind::Conflict, reason))?;
        if !found.key.multi {
            self.items.retain(|item| item.key != key);
        }
        self.items.push(Item {
            key,
            written: place.written.to_owned(),
            value: value.to_owned(),
            file: Arc::clone(place.file),
            line: place.line,
            description: found.key,
            suffix: found.suffix.to_owned(),
        });
        if found.key.name == "lxc.include" {
            return self.include(place, value);
        }
        Ok(())
    }

    /// Keys of one type of network need that type set before.
    fn check_network(
        &mut self,
        found: &FoundKey<'_>,
        key: &str,
        value: &str,
    ) -> Result<(), String> {
        let Some((number, part)) = key
            .strip_prefix("lxc.net.")
            .and_then(|rest| rest.split_once('.'))
        else {
            return Ok(());
        };
        let Ok(number) = crate::values::unsigned(number) else {
            return Ok(());
        };
        if found.key.name == "lxc.net.N.type" {
            self.types.insert(number, value.to_owned());
            return Ok(());
        }
        let needed = part
            .split('.')
            .next()
            .filter(|first| matches!(*first, "veth" | "macvlan" | "ipvlan" | "vlan"));
        match (needed, self.types.get(&number)) {
            (Some(needed), Some(found)) if needed != found => Err(format!(
                "network {number} is of type {found}; this key is for type {needed}"
            )),
            (Some(needed), None) => Err(format!(
                "write 'lxc.net.{number}.type = {needed}' on a line before this one"
            )),
            _ => Ok(()),
        }
    }

    fn include(&mut self, place: &Place<'_>, value: &str) -> Result<(), ConfigError> {
        let fail = |reason: String| Err(place.error(ConfigErrorKind::Include, reason));
        let path = PathBuf::from(value);
        if self.open.len() > MAX_DEPTH {
            return fail(format!("includes nest deeper than {MAX_DEPTH} files"));
        }
        self.files.insert(path.clone());
        let members = match self.includes.read(&path) {
            Ok(Included::File(text)) => vec![(path, text)],
            Ok(Included::Directory(mut members)) => {
                members.retain(|(member, _)| is_included_by_directory(member));
                members.sort();
                members
            }
            Ok(Included::Missing) if value.ends_with('/') => Vec::new(),
            Ok(Included::Missing) => match stock::file(&path) {
                Some(text) => vec![(path, text)],
                None => return fail(format!("the included file '{value}' does not exist")),
            },
            Err(error) => return fail(format!("'{value}' cannot be read: {error}")),
        };
        for (member, text) in members {
            if self.open.contains(&member) {
                return fail(format!("'{}' includes itself", member.display()));
            }
            self.opened += 1;
            if self.opened > MAX_FILES {
                return fail(format!("more than {MAX_FILES} files are included"));
            }
            self.open.push(member.clone());
            self.file(&Arc::from(member), &text);
            self.open.pop();
        }
        Ok(())
    }

    fn check_conflicts(&mut self) {
        for (one, other) in [
            ("lxc.cap.drop", "lxc.cap.keep"),
            ("lxc.namespace.clone", "lxc.namespace.keep"),
        ] {
            let last = |key: &str| self.items.iter().rposition(|item| item.key == key);
            if let (Some(a), Some(b)) = (last(one), last(other))
                && let Some(item) = self.items.get(a.max(b))
            {
                let reason = format!(
                    "{one} and {other} exclude each other; clear one of them with an empty value"
                );
                self.errors
                    .push(item.error(ConfigErrorKind::Conflict, reason));
            }
        }
    }
}

fn is_included_by_directory(member: &Path) -> bool {
    member
        .file_name()
        .is_some_and(|name| included_by_directory(&name.to_string_lossy()))
}

pub(super) fn group_name(group: Group) -> String {
    match group {
        Group::Prefix(prefix) => prefix.trim_end_matches('.').to_owned(),
        Group::Network(number) => format!("lxc.net.{number}"),
    }
}
