//! One who looks at the console, over a terminal of its own.

use gantry_core::monitor::Owner;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The most bytes kept for one who does not read: beyond, the oldest are left
/// out, so that nobody else waits.
const QUEUE: usize = 256 * 1024;

/// Behind by so much, one who reads is waited for: output at a terminal's pace
/// comes whole. The rest of the queue is room for what is read in one turn.
const FAR: usize = QUEUE / 2;

/// Who reads takes at least [`PACE`] bytes in this time.
const PATIENCE: Duration = Duration::from_secs(1);
const PACE: usize = 64 * 1024;

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
    /// What it types is for the container.
    pub(super) types: bool,
    /// The end that the monitor keeps.
    pub(super) end: OwnedFd,
    queue: VecDeque<u8>,
    /// When it had last kept the pace, and what it has taken since.
    kept_pace: Instant,
    taken: usize,
}

impl Viewer {
    /// Begins with what the console showed last.
    pub(super) fn new(holder: Holder, end: OwnedFd, shown: Vec<u8>) -> Self {
        Self {
            holder,
            types: true,
            end,
            queue: shown.into(),
            kept_pace: Instant::now(),
            taken: 0,
        }
    }

    /// Adds output and writes what can be written now.
    pub(super) fn show(&mut self, output: &[u8]) -> io::Result<()> {
        if self.queue.is_empty() {
            self.kept_pace = Instant::now();
        }
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
                Ok(written) => {
                    self.queue.drain(..written);
                    self.taken += written;
                    if self.taken >= PACE {
                        self.taken = 0;
                        self.kept_pace = Instant::now();
                    }
                }
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

    /// Until when the container's output waits for it, if it is far behind.
    pub(super) fn awaited_until(&self) -> Option<Instant> {
        let until = self.kept_pace + PATIENCE;
        (self.queue.len() > FAR && until > Instant::now()).then_some(until)
    }
}
