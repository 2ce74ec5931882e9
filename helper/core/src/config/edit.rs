//! Changes to the text. Lines that are not about the key stay as they are,
//! byte for byte.

use super::{Config, ConfigError, ConfigErrorKind, Includes, reader, scan};
use crate::keys::{self, Match, NetworkIndex};

impl Config {
    /// Gives a key exactly these values; none takes it away. The new lines
    /// stand where the old ones were, else at the end. Where an include gives
    /// the key other values, an empty value goes before, which clears them.
    ///
    /// `key` may be a legacy name; the modern one is written. Nothing is
    /// changed when a value is refused, or when it is what it was.
    pub fn set(
        &mut self,
        key: &str,
        values: &[&str],
        includes: &mut dyn Includes,
    ) -> Result<(), ConfigError> {
        let name = self.writable(key, values)?;
        if self.values(&name) == values {
            return Ok(());
        }
        let reread = |text: String, includes: &mut dyn Includes| {
            reader::read(self.path.clone(), text, includes)
        };
        let in_place = reread(self.replaced(&name, values), includes);
        let edited = if in_place.values(&name) == values {
            in_place
        } else {
            // A single value overrides; only a list has to be emptied first.
            let mut lines = if values.len() == 1 && !is_list(&name) {
                Vec::new()
            } else {
                vec![""]
            };
            lines.extend(values);
            reread(appended(self.replaced(&name, &[]), &name, &lines), includes)
        };
        self.accept(edited)
    }

    /// Adds a value at the end: another one for keys that take several, else
    /// the only one.
    pub fn append(
        &mut self,
        key: &str,
        value: &str,
        includes: &mut dyn Includes,
    ) -> Result<(), ConfigError> {
        let name = self.writable(key, &[value])?;
        if !is_list(&name) {
            return self.set(key, &[value], includes);
        }
        let text = appended(self.text.clone(), &name, &[value]);
        self.accept(reader::read(self.path.clone(), text, includes))
    }

    /// Takes a key away, or with a bare name such as `lxc.net`, `lxc.net.0`
    /// or `lxc.hook` all keys below it.
    pub fn clear(&mut self, key: &str, includes: &mut dyn Includes) -> Result<(), ConfigError> {
        let Some(Match::Group(group)) = keys::find(key) else {
            return self.set(key, &[], includes);
        };
        let name = reader::group_name(group);
        let text = self.without(|line| line.key == name || group.contains(&line.key));
        let edited = reader::read(self.path.clone(), text, includes);
        let edited = if edited.items.iter().any(|item| group.contains(&item.key)) {
            reader::read(
                self.path.clone(),
                appended(edited.text, &name, &[""]),
                includes,
            )
        } else {
            edited
        };
        self.accept(edited)
    }

    /// Takes an edit over unless it brought an error that was not there.
    pub(super) fn accept(&mut self, edited: Self) -> Result<(), ConfigError> {
        let known = |error: &ConfigError| {
            self.errors.iter().any(|old| {
                (&old.file, &old.key, &old.reason) == (&error.file, &error.key, &error.reason)
            })
        };
        if let Some(error) = edited.errors.iter().find(|error| !known(error)) {
            return Err(error.clone());
        }
        *self = edited;
        Ok(())
    }

    /// The modern name of a key that these values can be written for.
    fn writable(&self, key: &str, values: &[&str]) -> Result<String, ConfigError> {
        let refuse = |kind, reason: &str| ConfigError {
            file: self.path.to_path_buf(),
            line: 0,
            key: key.to_owned(),
            kind,
            reason: reason.to_owned(),
        };
        let found = match keys::find(key) {
            Some(Match::Key(found)) => found,
            Some(Match::Group(_)) => {
                return Err(refuse(
                    ConfigErrorKind::InvalidValue,
                    "this name takes no value, it can only be cleared",
                ));
            }
            None => {
                return Err(refuse(
                    ConfigErrorKind::UnknownKey,
                    "no version of LXC has such a key",
                ));
            }
        };
        if found.key.obsolete {
            let reason = "only LXC 1.x had this key; it is not written any more";
            return Err(refuse(ConfigErrorKind::UnknownKey, reason));
        }
        if found.network == NetworkIndex::Latest {
            let reason = "which network is meant is not said; write lxc.net.N. and a number for N";
            return Err(refuse(ConfigErrorKind::UnknownKey, reason));
        }
        if values.len() > 1 && !found.key.multi {
            return Err(refuse(
                ConfigErrorKind::InvalidValue,
                "the key takes one value",
            ));
        }
        for value in values {
            if value.is_empty() {
                return Err(refuse(
                    ConfigErrorKind::InvalidValue,
                    "a value is empty; clear the key instead",
                ));
            }
            found
                .key
                .grammar
                .validate(value)
                .map_err(|reason| refuse(ConfigErrorKind::InvalidValue, &reason))?;
        }
        Ok(found.name(0))
    }

    /// The text without some of its lines.
    fn without(&self, drop: impl Fn(&scan::KeyLine) -> bool) -> String {
        let mut text = self.text.clone();
        for line in self.lines.iter().rev().filter(|line| drop(line)) {
            text.replace_range(line.range.clone(), "");
        }
        text
    }

    /// The text with `values` where the first line of `key` was, or at the end.
    fn replaced(&self, key: &str, values: &[&str]) -> String {
        let text = self.without(|line| line.key == key);
        match self.lines.iter().find(|line| line.key == key) {
            Some(first) if !values.is_empty() => {
                let mut text = text;
                let lines: String = values
                    .iter()
                    .map(|value| assignment(key, value, line_end(&self.text)))
                    .collect();
                text.insert_str(first.range.start, &lines);
                text
            }
            _ if values.is_empty() => text,
            _ => appended(text, key, values),
        }
    }
}

fn is_list(name: &str) -> bool {
    matches!(keys::find(name), Some(Match::Key(found)) if found.key.multi)
}

fn appended(mut text: String, key: &str, values: &[&str]) -> String {
    let end = line_end(&text);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(end);
    }
    for value in values {
        text.push_str(&assignment(key, value, end));
    }
    text
}

fn assignment(key: &str, value: &str, end: &str) -> String {
    match value {
        "" => format!("{key} ={end}"),
        value => format!("{key} = {}{end}", scan::quote(value)),
    }
}

/// The line end that the text uses.
fn line_end(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}
