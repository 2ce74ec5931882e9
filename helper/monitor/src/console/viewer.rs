//! One who looks at the console, over a terminal of its own.

use gantry_core::monitor::Owner;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

/// The most bytes kept for one who does not read: beyond, the oldest are left
/// out, so that nobody else waits.
const QUEUE: usize = 256 * 1024;

/// For whom a viewer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A session of the helper.
    Session { session: u64, owner: Owner },
    /// A connection on the command socket, by its key; ends with it.
    Connection(u64),
    /// `lxc.console.path`.
    Config,
}

/// A viewer of /dev/console.
pub(super) struct Viewer {
    pub(super) holder: Holder,
    /// The end that the monitor keeps.
    pub(super) end: OwnedFd,
    queue: VecDeque<u8>,
}

impl Viewer {
    /// Begins with what the console showed last.
    pub(super) fn new(holder: Holder, end: OwnedFd, shown: Vec<u8>) -> Self {
        Self {
            holder,
            end,
            queue: shown.into(),
        }
    }

    /// Adds output and writes what can be written now.
    pub(super) fn show(&mut self, output: &[u8]) -> io::Result<()> {
        let excess = (self.queue.len() + output.len())
            .saturating_sub(QUEUE)
            .min(self.queue.len());
        self.queue.drain(..excess);
        self.queue.extend(output);
        self.flush()
    }

    /// Writes what can be written now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            let (first, _) = self.queue.as_slices();
            match rustix::io::write(&self.end, first) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.queue = VecDeque::new();
        Ok(())
    }

    /// Whether it waits until it can be written to.
    pub(super) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }
}
