//! Changes to all the lines of one network interface.

use super::{Config, ConfigError, ConfigErrorKind, Includes};
use crate::keys::Group;

impl Config {
    /// The lines of an interface that are in force: each key without `lxc.net.N.`, and
    /// its value.
    pub fn wire(&self, number: u32) -> Vec<(String, String)> {
        let prefix = format!("lxc.net.{number}.");
        let items = self.items.iter();
        items
            .filter_map(|item| {
                let part = item.key.strip_prefix(&prefix)?;
                Some((part.to_owned(), item.value.clone()))
            })
            .collect()
    }

    /// Gives an interface exactly these lines; none takes it away. The others keep their
    /// numbers: where those follow from the order of legacy lines, these are written as
    /// modern ones first. Nothing is changed when a value is refused.
    pub fn set_wire(
        &mut self,
        number: u32,
        lines: &[(String, String)],
        includes: &mut dyn Includes,
    ) -> Result<(), ConfigError> {
        let mut edited = self.clone();
        let is_ordered = |item: &super::Item| item.written.starts_with("lxc.network.");
        if edited.items.iter().any(is_ordered) {
            let text = edited.to_modern().text;
            edited.accept(Self::read(&self.path, text, includes))?;
        }
        let name = format!("lxc.net.{number}");
        if lines.is_empty() {
            edited.clear(&name, includes)?;
        } else {
            for (part, _) in edited.wire(number) {
                if lines.iter().all(|(kept, _)| *kept != part) {
                    edited.set(&format!("{name}.{part}"), &[], includes)?;
                }
            }
            for (part, _) in lines {
                let same = lines.iter().filter(|(other, _)| other == part);
                let values: Vec<&str> = same.map(|(_, value)| value.as_str()).collect();
                edited.set(&format!("{name}.{part}"), &values, includes)?;
            }
        }
        let others =
            |key: &&String| key.starts_with("lxc.net.") && !Group::Network(number).contains(key);
        if let Some(key) = edited.changed_keys(self).iter().find(others) {
            let reason = "an included file numbers interfaces by the order of LXC 1.x's keys; write modern keys there";
            return Err(ConfigError {
                file: self.path.to_path_buf(),
                line: 0,
                key: key.clone(),
                kind: ConfigErrorKind::Conflict,
                reason: reason.to_owned(),
            });
        }
        *self = edited;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SkipIncludes;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("/c"), text.to_owned(), &mut SkipIncludes).unwrap()
    }

    fn set(text: &str, number: u32, lines: &[(&str, &str)]) -> String {
        let mut config = config(text);
        let lines: Vec<(String, String)> = lines
            .iter()
            .map(|(part, value)| ((*part).to_owned(), (*value).to_owned()))
            .collect();
        config.set_wire(number, &lines, &mut SkipIncludes).unwrap();
        assert_eq!(config.wire(number), lines);
        config.text().to_owned()
    }

    #[test]
    fn what_stays_keeps_its_line() {
        let text = "# wires\nlxc.net.0.type = veth\n# to br0\nlxc.net.0.link = br0\nlxc.net.0.mtu = 1400\nlxc.uts.name = a\n";
        assert_eq!(
            set(text, 0, &[("type", "veth"), ("link", "br1")]),
            "# wires\nlxc.net.0.type = veth\n# to br0\nlxc.net.0.link = br1\nlxc.uts.name = a\n"
        );
    }

    #[test]
    fn several_addresses_are_lines_of_one_key() {
        let lines = [
            ("type", "veth"),
            ("ipv4.address", "10.0.3.7/24"),
            ("ipv4.address", "10.0.3.8/24"),
        ];
        let text = set("lxc.net.0.type = veth\n", 0, &lines);
        assert!(
            text.ends_with("lxc.net.0.ipv4.address = 10.0.3.8/24\n"),
            "{text}"
        );
    }

    #[test]
    fn one_goes_and_the_others_keep_their_numbers() {
        let legacy = "lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.type = veth\nlxc.network.link = br1\n";
        let text = set(legacy, 0, &[]);
        assert_eq!(text, "lxc.net.1.type = veth\nlxc.net.1.link = br1\n");
        let text = set(&text, 0, &[("type", "empty")]);
        assert_eq!(config(&text).get("lxc.net.1.link"), Some("br1"));
    }

    #[test]
    fn what_cannot_be_changes_nothing() {
        let mut config = config("lxc.net.0.type = veth\n");
        let bad = [
            ("type".to_owned(), "veth".to_owned()),
            ("mtu".to_owned(), "large".to_owned()),
        ];
        assert!(config.set_wire(0, &bad, &mut SkipIncludes).is_err());
        assert_eq!(config.text(), "lxc.net.0.type = veth\n");
    }
}
