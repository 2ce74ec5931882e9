//! What a hook prints: the beginning goes to the log, line by line, and the
//! last lines are kept for whoever is told that it failed.

use crate::log;
use std::collections::VecDeque;

/// The most bytes of a line; the rest of it is dropped.
const LONGEST: usize = 512;
/// The most bytes of one hook that go to the log.
const LOGGED: usize = 64 * 1024;
/// How many lines are kept.
const LAST: usize = 10;

/// The output of one program, so far.
pub(super) struct Output {
    key: String,
    line: Vec<u8>,
    last: VecDeque<String>,
    logged: usize,
    dropped: usize,
}

impl Output {
    /// Nothing yet; `key` is what log lines begin with.
    pub(super) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            line: Vec::new(),
            last: VecDeque::new(),
            logged: 0,
            dropped: 0,
        }
    }

    /// Takes in what was printed.
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.extend(line);
            self.end_line();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LONGEST - self.line.len();
        self.line.extend(bytes.iter().take(room));
        self.dropped += bytes.len().saturating_sub(room);
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text: String = String::from_utf8_lossy(&line)
            .trim_end()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if text.is_empty() {
            return;
        }
        if self.logged < LOGGED {
            self.logged += text.len();
            log::debug(format!("{}: {text}", self.key));
        } else {
            self.dropped += line.len();
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self) {
        self.end_line();
        if self.dropped > 0 {
            log::debug(format!(
                "{}: {} bytes more are left out",
                self.key, self.dropped
            ));
        }
    }

    /// The last lines, each after a line break; nothing if there are none.
    pub(super) fn last(&self) -> String {
        self.last.iter().flat_map(|line| ["\n", line]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_bounds() {
        let mut output = Output::new("hook");
        assert_eq!(output.last(), "");
        output.add(b"one\ntw");
        output.add(b"o\x1b[2J\n\n");
        output.add(&vec![b'x'; 3 * LONGEST]);
        output.finish();
        let last = output.last();
        assert!(last.starts_with("\none\ntwo [2J\nxxx"), "{last}");
        assert_eq!(last.matches('x').count(), LONGEST);
        for number in 0..100_000 {
            output.add(format!("line {number}\n").as_bytes());
        }
        output.finish();
        assert_eq!(output.last().lines().count(), LAST + 1);
        assert!(output.last().ends_with("line 99999"));
        assert!(output.logged < LOGGED + LONGEST);
    }
}
