//! The states of a container, in LXC's words and numbers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How many states there are: the value that stands for "none of them" on the
/// wire (`MAX_STATE` in LXC).
pub const STATE_COUNT: usize = 8;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// No process of it runs; nobody answers its command socket.
    Stopped = 0,
    /// Its monitor is preparing it.
    Starting = 1,
    /// Its init has been executed.
    Running = 2,
    /// Its init has ended and the monitor is cleaning up.
    Stopping = 3,
    /// A start failed and the monitor is cleaning up.
    Aborting = 4,
    /// Being frozen.
    Freezing = 5,
    /// Every process is held by the freezer.
    Frozen = 6,
    /// Just unfrozen; becomes `Running`.
    Thawed = 7,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; STATE_COUNT] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Aborting,
        Self::Freezing,
        Self::Frozen,
        Self::Thawed,
    ];

    /// The state of a number on the wire.
    pub fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index))
            .copied()
    }

    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The word every LXC tool prints.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Aborting => "ABORTING",
            Self::Freezing => "FREEZING",
            Self::Frozen => "FROZEN",
            Self::Thawed => "THAWED",
        }
    }

    /// The state of a word, upper case as LXC writes it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Reads `STOPPED|RUNNING` as `lxc-wait -s` takes it. The error is the
    /// word that is no state.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split('|')
            .map(|word| Self::from_word(word.trim()).ok_or_else(|| word.to_owned()))
            .collect()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_agree() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state.number() as usize, number);
            assert_eq!(State::from_number(number as i64), Some(state));
            assert_eq!(State::from_word(state.word()), Some(state));
        }
        assert_eq!(State::from_number(8), None);
        assert_eq!(State::from_number(-1), None);
    }

    #[test]
    fn lists_are_split_at_bars() {
        assert_eq!(
            State::parse_list("STOPPED|RUNNING"),
            Ok(vec![State::Stopped, State::Running])
        );
        assert_eq!(State::parse_list("FROZEN"), Ok(vec![State::Frozen]));
        assert_eq!(
            State::parse_list("STOPPED|sleeping"),
            Err("sleeping".to_owned())
        );
        assert!(State::parse_list("").is_err());
    }
}
