//! The container's terminals: /dev/console, which the monitor reads, keeps
//! and shows to any number of viewers, and the ttys, which are handed out one
//! at a time.

mod file;
mod ring;
mod viewer;

pub(crate) use viewer::Holder;

use crate::failure::{At, Step};
use crate::log;
use crate::terminal;
use file::OutputFile;
use gantry_core::monitor::Viewer as ViewerFacts;
use gantry_core::settings::{Console as ConsoleSettings, ConsolePath};
use gantry_core::values::AUTO_SIZE;
use ring::Ring;
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::termios::isatty;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;
use viewer::Viewer;

const STEP: &str = "preparing the console";

/// Input that the container has not read; beyond, viewers are not read.
const INPUT: usize = 64 * 1024;

/// All terminals of one container.
pub(crate) struct Console {
    terminal: Option<Pair>,
    ring: Ring,
    file: Option<OutputFile>,
    viewers: Vec<Viewer>,
    input: VecDeque<u8>,
    ttys: Vec<Tty>,
}

/// A pseudoterminal of the container. The slave is kept open, so that the
/// master does not end between two processes that use it.
struct Pair {
    master: OwnedFd,
    _slave: OwnedFd,
}

struct Tty {
    pair: Pair,
    holder: Option<Holder>,
}

/// Why a terminal is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none of this number.
    Missing,
    /// Somebody has it.
    Taken,
    /// The host gave no pseudoterminal.
    Host,
}

impl Console {
    /// Opens what the config names on the host.
    pub(crate) fn new(settings: &ConsoleSettings) -> Step<Self> {
        let mut viewers = Vec::new();
        if let ConsolePath::Peer(path) = &settings.path {
            let flags = OFlags::RDWR
                | OFlags::CREATE
                | OFlags::APPEND
                | OFlags::NONBLOCK
                | OFlags::NOCTTY
                | OFlags::CLOEXEC;
            let peer = open(path, flags, Mode::from_raw_mode(0o600)).at(STEP, || {
                format!("cannot open lxc.console.path = {}", path.display())
            })?;
            let mut viewer = Viewer::new(Holder::Config, peer, Vec::new());
            // A file only takes, and a pipe would give back what it got.
            viewer.types = isatty(&viewer.end);
            if viewer.types {
                terminal::make_raw(&viewer.end).at(STEP, || {
                    format!("cannot set up lxc.console.path = {}", path.display())
                })?;
            }
            viewers.push(viewer);
        }
        Ok(Self {
            terminal: None,
            ring: Ring::new(ring_size(settings)),
            file: open_log(settings)?,
            viewers,
            input: VecDeque::new(),
            ttys: Vec::new(),
        })
    }

    /// Keeps of the output what other settings say, from now on.
    pub(crate) fn reconfigure(&mut self, settings: &ConsoleSettings) -> Step<()> {
        self.file = open_log(settings)?;
        self.ring.set_limit(ring_size(settings));
        Ok(())
    }

    /// Takes over the terminals of a container that has just been built.
    pub(crate) fn connect(&mut self, console: Option<OwnedFd>, ttys: Vec<OwnedFd>) -> Step<()> {
        let pair = |master: OwnedFd| {
            let slave = terminal::slave_of(&master)?;
            Ok::<Pair, io::Error>(Pair {
                master,
                _slave: slave,
            })
        };
        self.input.clear();
        self.terminal = console
            .map(pair)
            .transpose()
            .at(STEP, || "cannot open the console".to_owned())?;
        if let Some(terminal) = &self.terminal {
            set_nonblocking(&terminal.master).at(STEP, || "cannot open the console".to_owned())?;
        }
        let ttys: io::Result<Vec<Tty>> = ttys
            .into_iter()
            .map(|master| {
                Ok(Tty {
                    pair: pair(master)?,
                    holder: None,
                })
            })
            .collect();
        self.ttys = ttys.at(STEP, || "cannot open the ttys".to_owned())?;
        Ok(())
    }

    /// Lets go of the terminals of a container that has ended. Viewers of the
    /// console stay, for when it is rebooted.
    pub(crate) fn disconnect(&mut self) {
        self.read_output();
        self.terminal = None;
        self.ttys.clear();
    }

    /// Until when output stays where it is, for viewers who are behind.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.viewers.iter().filter_map(Viewer::awaited_until).max()
    }

    /// What the loop is to wait for: descriptors, and whether to read and write.
    pub(crate) fn interests(&self) -> Vec<(BorrowedFd<'_>, bool, bool)> {
        let readable = self.input.len() < INPUT;
        let output = self.deadline().is_none();
        let master = self
            .terminal
            .iter()
            .map(|t| (t.master.as_fd(), output, !self.input.is_empty()));
        let viewers = self.viewers.iter().filter(|v| v.types || v.is_behind());
        master
            .chain(viewers.map(|v| (v.end.as_fd(), readable && v.types, v.is_behind())))
            .collect()
    }

    /// Does what can be done with a descriptor that is ready. Gives back
    /// whether it is one of these.
    pub(crate) fn ready(&mut self, fd: i32) -> bool {
        if self
            .terminal
            .as_ref()
            .is_some_and(|terminal| terminal.master.as_raw_fd() == fd)
        {
            if self.deadline().is_none() {
                self.read_output();
            }
            self.write_input();
            return true;
        }
        let Some(index) = self
            .viewers
            .iter()
            .position(|viewer| viewer.end.as_raw_fd() == fd)
        else {
            return false;
        };
        if !self.serve_viewer(index) {
            self.viewers.remove(index);
        }
        true
    }

    /// Gives back whether the viewer stays.
    fn serve_viewer(&mut self, index: usize) -> bool {
        let Some(viewer) = self.viewers.get_mut(index) else {
            return true;
        };
        if viewer.flush().is_err() {
            return false;
        }
        if self.input.len() >= INPUT || !viewer.types {
            return true;
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&viewer.end, &mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.input.extend(buffer.iter().take(length));
                self.write_input();
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // The other end is closed by everybody.
            Err(_) => false,
        }
    }

    /// Reads the container's output, a bounded amount so that others get their
    /// turn, and passes it on.
    fn read_output(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            let Some(terminal) = &self.terminal else {
                return;
            };
            let Ok(length) = rustix::io::read(&terminal.master, &mut buffer) else {
                return;
            };
            let output = buffer.get(..length).unwrap_or_default();
            if output.is_empty() {
                return;
            }
            self.ring.push(output);
            if let Some(file) = &mut self.file {
                file.write(output);
            }
            self.viewers
                .retain_mut(|viewer| viewer.show(output).is_ok());
        }
    }

    fn write_input(&mut self) {
        let Some(terminal) = &self.terminal else {
            return self.input.clear();
        };
        while !self.input.is_empty() {
            let (first, _) = self.input.as_slices();
            match rustix::io::write(&terminal.master, first) {
                Ok(written) => drop(self.input.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(errno) => {
                    log::debug(format!("input for the console is lost: {errno}"));
                    self.input.clear();
                }
            }
        }
    }

    /// Opens a viewer on /dev/console: gives a terminal's master away, and
    /// keeps the slave.
    pub(crate) fn view(
        &mut self,
        holder: Holder,
        size: Option<(u16, u16)>,
    ) -> Result<OwnedFd, Refusal> {
        if self.terminal.is_none() {
            return Err(Refusal::Missing);
        }
        let open = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (master, slave) = terminal::open_on_host()?;
            terminal::make_raw(&slave)?;
            if let Some((columns, rows)) = size {
                terminal::resize(&master, columns, rows)?;
            }
            set_nonblocking(&slave)?;
            Ok((slave, master))
        };
        let (kept, given) = open().map_err(|error| {
            log::error(format!("cannot open a terminal for a viewer: {error}"));
            Refusal::Host
        })?;
        let mut viewer = Viewer::new(holder, kept, self.ring.content());
        // A viewer that cannot be written to shows so at the next event.
        drop(viewer.flush());
        self.viewers.push(viewer);
        if let Some((columns, rows)) = size {
            self.resize_console(columns, rows);
        }
        Ok(given)
    }

    /// Hands out a tty's master: a certain one, or the next that is free.
    pub(crate) fn take_tty(
        &mut self,
        number: Option<u32>,
        holder: Holder,
    ) -> Result<(u32, OwnedFd), Refusal> {
        let number = match number {
            Some(number) => number,
            None => (1..)
                .zip(&self.ttys)
                .find(|(_, tty)| tty.holder.is_none())
                .map_or(0, |(number, _)| number),
        };
        let tty = usize::try_from(number)
            .ok()
            .and_then(|n| self.ttys.get_mut(n.checked_sub(1)?));
        let tty = tty.ok_or(Refusal::Missing)?;
        if tty.holder.is_some() {
            return Err(Refusal::Taken);
        }
        let master = tty.pair.master.try_clone().map_err(|_| Refusal::Host)?;
        tty.holder = Some(holder);
        Ok((number, master))
    }

    /// Ends what somebody holds. Gives back whether there was anything.
    pub(crate) fn release(&mut self, holds: impl Fn(&Holder) -> bool) -> bool {
        let before = self.viewers.len();
        self.viewers.retain(|viewer| !holds(&viewer.holder));
        let mut released = self.viewers.len() != before;
        for tty in self
            .ttys
            .iter_mut()
            .filter(|tty| tty.holder.as_ref().is_some_and(&holds))
        {
            tty.holder = None;
            released = true;
        }
        released
    }

    /// Whether a session of this number is open.
    pub(crate) fn has_session(&self, number: u64) -> bool {
        self.list().iter().any(|viewer| viewer.session == number)
    }

    /// The sessions that are open.
    pub(crate) fn list(&self) -> Vec<ViewerFacts> {
        let facts = |holder: &Holder, tty: u32| match holder {
            Holder::Session { session, owner } => Some(ViewerFacts {
                session: *session,
                tty,
                owner: owner.clone(),
            }),
            _ => None,
        };
        let viewers = self
            .viewers
            .iter()
            .filter_map(|viewer| facts(&viewer.holder, 0));
        let ttys = (1..)
            .zip(&self.ttys)
            .filter_map(|(number, tty)| facts(tty.holder.as_ref()?, number));
        viewers.chain(ttys).collect()
    }

    /// Changes the size of a session's terminal. Gives back whether there is
    /// such a session.
    pub(crate) fn resize(&mut self, number: u64, columns: u16, rows: u16) -> bool {
        let is_it = |holder: &Holder| matches!(holder, Holder::Session { session, .. } if *session == number);
        if let Some(tty) = self
            .ttys
            .iter()
            .find(|tty| tty.holder.as_ref().is_some_and(is_it))
        {
            log_failure(terminal::resize(&tty.pair.master, columns, rows));
            return true;
        }
        let Some(viewer) = self.viewers.iter().find(|viewer| is_it(&viewer.holder)) else {
            return false;
        };
        log_failure(terminal::resize(&viewer.end, columns, rows));
        self.resize_console(columns, rows);
        true
    }

    fn resize_console(&self, columns: u16, rows: u16) {
        if let Some(terminal) = &self.terminal {
            log_failure(terminal::resize(&terminal.master, columns, rows));
        }
    }

    /// What is kept of the output.
    pub(crate) fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Writes what is kept to the file of `lxc.console.logfile`, if there is
    /// one.
    pub(crate) fn write_ring_to_file(&mut self) -> bool {
        let Some(file) = &mut self.file else {
            return false;
        };
        file.write(&self.ring.content());
        true
    }
}

/// `lxc.console.logfile`
fn open_log(settings: &ConsoleSettings) -> Step<Option<OutputFile>> {
    let open = |path| OutputFile::open(path, settings.log_size, settings.rotate);
    settings.log_file.as_deref().map(open).transpose()
}

/// `lxc.console.buffer.size`
fn ring_size(settings: &ConsoleSettings) -> usize {
    let size = match settings.buffer_size {
        0 => AUTO_SIZE,
        size => size,
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn log_failure(result: io::Result<()>) {
    if let Err(error) = result {
        log::debug(format!("cannot resize a terminal: {error}"));
    }
}

fn set_nonblocking(file: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)?)
}
