//! The last output of a console.

use std::collections::VecDeque;

/// Keeps the newest bytes up to a limit. Memory is taken as output comes.
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            limit,
        }
    }

    /// Keeps up to another limit from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.bytes.drain(..self.bytes.len().saturating_sub(limit));
    }

    /// Adds output; the oldest goes when there is no room.
    pub(crate) fn push(&mut self, output: &[u8]) {
        let output = output
            .get(output.len().saturating_sub(self.limit)..)
            .unwrap_or_default();
        let excess = (self.bytes.len() + output.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend(output);
    }

    /// Takes out the oldest bytes, at most `limit` of them; 0 is all.
    pub(crate) fn take(&mut self, limit: usize) -> Vec<u8> {
        let end = if limit == 0 {
            self.bytes.len()
        } else {
            limit.min(self.bytes.len())
        };
        self.bytes.drain(..end).collect()
    }

    /// Everything, oldest first.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn the_newest_bytes_stay() {
        let mut ring = Ring::new(8);
        ring.push(b"abcdef");
        ring.push(b"ghij");
        assert_eq!(ring.content(), b"cdefghij");
        ring.push(b"0123456789");
        assert_eq!(ring.content(), b"23456789");
    }

    #[test]
    fn a_smaller_limit_lets_the_oldest_go() {
        let mut ring = Ring::new(8);
        ring.push(b"abcdefgh");
        ring.set_limit(3);
        assert_eq!(ring.content(), b"fgh");
        ring.set_limit(5);
        ring.push(b"ijk");
        assert_eq!(ring.content(), b"ghijk");
    }

    #[test]
    fn reading_consumes() {
        let mut ring = Ring::new(8);
        ring.push(b"abcd");
        assert_eq!(ring.take(3), b"abc");
        assert_eq!(ring.take(0), b"d");
        assert!(ring.is_empty());
        ring.push(b"x");
        ring.clear();
        assert!(ring.is_empty());
    }
}
