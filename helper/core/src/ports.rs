//! What bridges do otherwise with ports of a container than with others. It stands beside
//! the container's config, which has no words for it, and goes with the container alone,
//! not with its copies: a line `INTERFACE BRIDGE [hairpin] [isolated]` for each port, by the
//! interface's name in the container.

use std::collections::BTreeMap;

/// More than a container can have.
pub const LONGEST: u64 = 1 << 20;

/// How a bridge treats a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Treatment {
    /// Frames go back by the port that they came from.
    pub hairpin: bool,
    /// Nothing passes between this port and others that are isolated.
    pub isolated: bool,
}

/// By interface and bridge.
pub type Treatments = BTreeMap<(String, String), Treatment>;

/// Reads the lines. What is none says nothing.
pub fn parse(text: &str) -> Treatments {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let port = (words.next()?.to_owned(), words.next()?.to_owned());
        let words: Vec<&str> = words.collect();
        let treatment = Treatment {
            hairpin: words.contains(&"hairpin"),
            isolated: words.contains(&"isolated"),
        };
        Some((port, treatment))
    };
    text.lines().filter_map(line).collect()
}

/// The lines, without those of ports that are as others.
pub fn write(treatments: &Treatments) -> String {
    let mut text = String::new();
    for ((interface, bridge), treatment) in treatments {
        let words = [
            (treatment.hairpin, " hairpin"),
            (treatment.isolated, " isolated"),
        ];
        let words: String = words
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, word)| *word)
            .collect();
        if !words.is_empty() {
            text += &format!("{interface} {bridge}{words}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_none_says_nothing() {
        let text = "eth0 br0 isolated\neth1 br0 hairpin isolated\n";
        assert_eq!(write(&parse(text)), text);
        assert_eq!(write(&parse("eth0 br0\n\nx\neth2 br1 sideways\n")), "");
    }
}
