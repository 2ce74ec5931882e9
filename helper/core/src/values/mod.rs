//! The values of configuration keys and how they are read. The table of keys
//! validates with these functions and the settings are built with them, so a
//! spelling is known in one place.
//!
//! Every `parse` gives back a reason, without a full stop, when it refuses.

pub mod mount;
pub mod network;
pub mod rootfs;

#[cfg(test)]
mod tests;

use crate::namespaces::Namespace;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// `0` or `1`.
pub fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("'{text}' is neither 0 nor 1")),
    }
}

/// A decimal number without sign.
pub fn unsigned(text: &str) -> Result<u32, String> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("'{text}' is not a number from 0 on"))
}

/// A decimal number, possibly negative.
pub fn integer(text: &str) -> Result<i32, String> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    digits(unsigned)
        .and_then(|_| text.parse().ok())
        .ok_or_else(|| format!("'{text}' is not a number"))
}

/// A decimal number of bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("'{text}' is not a number of bytes"))
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

/// What `auto` stands for in `lxc.console.buffer.size` and `.size`.
pub const AUTO_SIZE: u64 = 131_072;

/// A size in bytes: a number, a number with `kB`, `MB` or `GB` (of 1024) in any
/// case, or `auto`.
pub fn size(text: &str) -> Result<u64, String> {
    if text == "auto" {
        return Ok(AUTO_SIZE);
    }
    let units = [("kb", 1_u64 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];
    let lower = text.to_ascii_lowercase();
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1));
    digits(number.trim_end())
        .and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(factor))
        .ok_or_else(|| {
            format!(
                "'{text}' is not a size; write a number of bytes, '64kB', '1MB', '1GB' or 'auto'"
            )
        })
}

/// How much a console buffer really gets, as in stock LXC: at least a page,
/// rounded up to a power of two.
pub fn buffer_size(bytes: u64) -> Result<u64, String> {
    const PAGE: u64 = 4096;
    let size = bytes.max(PAGE).checked_next_power_of_two();
    size.ok_or_else(|| format!("{bytes} bytes are too many"))
}

/// The parts of a list separated by blanks.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t']).filter(|word| !word.is_empty())
}

/// Splits a command line at blanks; single and double quotes keep blanks
/// together. A quote that is not closed reaches to the end.
pub fn command_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ' | '\t', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A resource limit (`lxc.prlimit.NAME`), see setrlimit(2). None is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The limit in force.
    pub soft: Option<u64>,
    /// Up to where the process may raise it.
    pub hard: Option<u64>,
}

impl Limit {
    /// Reads `soft[:hard]`, each a number or `unlimited`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let one = |text: &str| match text.trim() {
            "unlimited" => Ok(None),
            number => digits(number)
                .and_then(|digits| digits.parse().ok())
                .map(Some)
                .ok_or_else(|| format!("'{number}' is neither a number nor 'unlimited'")),
        };
        let (soft, hard) = match text.split_once(':') {
            Some((soft, hard)) if !hard.trim().is_empty() => (soft, hard),
            Some((soft, _)) => (soft, soft),
            None => (text, text),
        };
        let limit = Self {
            soft: one(soft)?,
            hard: one(hard)?,
        };
        if limit.soft.unwrap_or(u64::MAX) > limit.hard.unwrap_or(u64::MAX) {
            return Err(format!("in '{text}' the soft limit is above the hard one"));
        }
        Ok(limit)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |limit: Option<u64>| {
            limit.map_or_else(|| "unlimited".to_owned(), |number| number.to_string())
        };
        f.write_str(&text(self.soft))?;
        if self.soft == self.hard {
            Ok(())
        } else {
            write!(f, ":{}", text(self.hard))
        }
    }
}

/// The names of resources that can be limited: RLIMIT_* in lower case.
pub const RESOURCES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// An offset of a clock in a new time namespace, see time_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeOffset {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0..=999999999, added to the seconds.
    pub nanoseconds: u32,
}

impl TimeOffset {
    /// Reads a number and a unit: `h`, `m`, `s`, `ms`, `us` or `ns`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "'{text}' is not an offset; write a number and h, m, s, ms, us or ns, such as '3h'"
            )
        };
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .ok_or_else(refuse)?;
        let (number, unit) = text.split_at_checked(end).ok_or_else(refuse)?;
        let number: i64 = number.parse().map_err(|_| refuse())?;
        let per_unit: i128 = match unit.trim_start() {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return Err(refuse()),
        };
        let nanoseconds = i128::from(number) * per_unit;
        let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).map_err(|_| refuse())?;
        Ok(Self {
            seconds,
            nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
        })
    }
}

impl fmt::Display for TimeOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nanoseconds {
            0 => write!(f, "{}s", self.seconds),
            rest => write!(
                f,
                "{}ns",
                i128::from(self.seconds) * 1_000_000_000 + i128::from(rest)
            ),
        }
    }
}

/// Where a shared namespace comes from (`lxc.namespace.share.NS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareSource {
    /// A process.
    Pid(u32),
    /// A namespace file.
    Path(PathBuf),
    /// A running container below the same LXC path.
    Container(String),
}

impl ShareSource {
    /// A number is a pid, a text with a slash is a path, another a container.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(number) = digits(text) {
            return number
                .parse()
                .map(Self::Pid)
                .map_err(|_| format!("'{text}' is not a process id"));
        }
        if text.contains('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        match crate::name::ContainerName::new(text) {
            Ok(name) => Ok(Self::Container(name.into())),
            Err(error) => Err(format!(
                "'{text}' is neither a container, a process id nor a path: {error}"
            )),
        }
    }
}

/// Reads a blank-separated list of namespaces.
pub fn namespaces(text: &str) -> Result<Vec<Namespace>, String> {
    words(text)
        .map(|word| {
            Namespace::from_name(word).ok_or_else(|| {
                format!(
                    "'{word}' is not a namespace; use user, mnt, pid, uts, ipc, net, cgroup or time"
                )
            })
        })
        .collect()
}

/// A variable for the container's processes or hooks (`lxc.environment`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; none takes it from the environment of whoever starts.
    pub value: Option<String>,
    /// Who gets it.
    pub scope: VariableScope,
}

/// Who gets a [`Variable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableScope {
    /// Init, attached processes and hooks (`lxc.environment`).
    Everyone,
    /// Init only (`lxc.environment.runtime`).
    Runtime,
    /// Hooks only (`lxc.environment.hooks`).
    Hooks,
}

impl Variable {
    /// Reads `NAME=VALUE` or `NAME`.
    pub fn parse(text: &str, scope: VariableScope) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err(format!("'{text}' names no variable; write NAME=VALUE"));
        }
        Ok(Self {
            name: name.to_owned(),
            value,
            scope,
        })
    }
}

/// How much LXC logs (`lxc.log.level`), by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Notice,
    /// 4
    Warn,
    /// 5
    Error,
    /// 6
    Crit,
    /// 7
    Alert,
    /// 8
    Fatal,
}

impl LogLevel {
    const NAMES: [(&'static str, Self); 9] = [
        ("TRACE", Self::Trace),
        ("DEBUG", Self::Debug),
        ("INFO", Self::Info),
        ("NOTICE", Self::Notice),
        ("WARN", Self::Warn),
        ("ERROR", Self::Error),
        ("CRIT", Self::Crit),
        ("ALERT", Self::Alert),
        ("FATAL", Self::Fatal),
    ];

    /// Reads a number 0..=8 or a name in any case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let by_name = Self::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        let by_number =
            digits(text).and_then(|digits| Self::NAMES.get(digits.parse::<usize>().ok()?));
        by_name.or(by_number).map(|(_, level)| *level).ok_or_else(|| {
            format!("'{text}' is not a log level; use trace, debug, info, notice, warn, error, crit, alert or fatal")
        })
    }

    /// Its name in upper case, as stock LXC gives it back.
    pub fn stock_name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}
