//! Numbers in control groups' files.

use super::{CgroupError, CgroupFile, invalid};

/// A period of `cpu.max` that nobody has set, in microseconds.
pub(super) const DEFAULT_PERIOD: u64 = 100_000;

/// Version 1 shows "no limit" as the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// Whether a number of either version means that there is no limit.
pub(super) fn is_unlimited(text: &str) -> bool {
    matches!(text, "max" | "-1") || text.parse::<u64>().is_ok_and(|number| number >= UNLIMITED)
}

/// A number with the suffixes that the kernel takes (`memparse`), in bytes.
pub(super) fn bytes(text: &str) -> Result<u64, CgroupError> {
    let refuse = || {
        CgroupError::Invalid(format!(
            "{text:?} is not a number; write one such as 500000 or 512M"
        ))
    };
    let shift = match text.bytes().last().map(|byte| byte.to_ascii_uppercase()) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P') => 50,
        Some(b'E') => 60,
        _ => 0,
    };
    let digits = match shift {
        0 => text,
        _ => text.get(..text.len() - 1).unwrap_or_default(),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(refuse)
}

pub(super) fn integer(text: &str) -> Result<i64, CgroupError> {
    text.parse()
        .map_err(|_| CgroupError::Invalid(format!("{text:?} is not a whole number")))
}

/// `cpu.max`: the quota, none for `max`, and the period if it is there.
pub(super) fn bandwidth(text: &str) -> Result<(Option<u64>, Option<u64>), CgroupError> {
    let number = |word: &str| word.parse::<u64>().ok();
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["max"] => Ok((None, None)),
        ["max", period] if number(period).is_some() => Ok((None, number(period))),
        [quota] if number(quota).is_some() => Ok((number(quota), None)),
        [quota, period] if number(quota).is_some() && number(period).is_some() => {
            Ok((number(quota), number(period)))
        }
        _ => invalid(format!(
            "{text:?} is not a quota and a period in microseconds, such as \"50000 100000\" or \"max\""
        )),
    }
}

/// Two ranges of weights, each with its least, default and greatest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) v1: (u64, u64, u64),
    pub(super) v2: (u64, u64, u64),
}

impl Scale {
    pub(super) fn to_v1(self, text: &str) -> Result<String, CgroupError> {
        convert(text, self.v2, self.v1)
    }

    pub(super) fn to_v2(self, text: &str) -> Result<String, CgroupError> {
        convert(text, self.v1, self.v2)
    }
}

/// In proportion to the defaults, rounded, and cut to the range. Where there
/// are lines for devices it is `default` that counts.
fn convert(
    text: &str,
    (least, default, greatest): (u64, u64, u64),
    to: (u64, u64, u64),
) -> Result<String, CgroupError> {
    let first = text.lines().next().unwrap_or_default();
    let word = first.strip_prefix("default ").unwrap_or(first).trim();
    match word.parse::<u64>() {
        Ok(number) if (least..=greatest).contains(&number) => {
            let scaled = (number * to.1 + default / 2) / default;
            Ok(scaled.clamp(to.0, to.2).to_string())
        }
        _ => invalid(format!(
            "{word:?} is not a weight from {least} to {greatest}"
        )),
    }
}

/// Whether what a file shows after it was written to is what was written:
/// the kernel rounds to pages and fills in what was left out, which is fine;
/// it also cuts, silently, what lies out of range.
pub fn took_effect(file: &CgroupFile, written: &str, shown: &str) -> bool {
    let (written, shown) = (written.trim(), shown.trim());
    if written == shown || (is_unlimited(written) && is_unlimited(shown)) {
        return true;
    }
    // These begin to count anew.
    const COUNTERS: [&str; 4] = ["usage", "usage_in_bytes", "peak", "failcnt"];
    if COUNTERS.iter().any(|end| file.name().ends_with(end)) {
        return true;
    }
    if file.name() == "cgroup.subtree_control" {
        let has = |name: &str| shown.split(' ').any(|known| known == name);
        return written
            .split(' ')
            .all(|word| match word.split_at_checked(1) {
                Some(("+", name)) => has(name),
                Some(("-", name)) => !has(name),
                _ => false,
            });
    }
    let mut words = written.split_whitespace();
    let first = words.next().unwrap_or_default();
    if is_device(first) {
        let line = shown
            .lines()
            .find_map(|line| line.strip_prefix(first)?.strip_prefix(' '));
        let is_set = |word: &str| match (word, line) {
            ("0", line) => line.is_none_or(|line| line == "0"),
            (word, line) if word.ends_with("=max") => {
                line.is_none_or(|line| line.split(' ').any(|known| known == word))
            }
            (word, Some(line)) => line.split(' ').any(|known| known == word),
            (_, None) => false,
        };
        return words.all(is_set);
    }
    if let (Ok(written), Ok(shown)) = (bytes(written), bytes(shown)) {
        const PAGE: u64 = 4096;
        return written == shown || written / PAGE * PAGE == shown;
    }
    if let (Some(written), Some(shown)) = (numbers(written), numbers(shown)) {
        return written == shown;
    }
    // `default 100` for 100, `50000 100000` for 50000.
    shown.split_once(' ').is_some_and(|(start, rest)| {
        start == written || (start == "default" && rest.lines().next() == Some(written))
    })
}

/// `MAJOR:MINOR`
fn is_device(word: &str) -> bool {
    word.split_once(':').is_some_and(|(major, minor)| {
        [major, minor]
            .iter()
            .all(|number| number.parse::<u32>().is_ok())
    })
}

/// The members of a list such as `0-2,5`, at most those of a large host.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last > 65_535 {
            return None;
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}
