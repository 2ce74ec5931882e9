//! Pseudoterminals of a container, from its own devpts.

use crate::sys;
use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, major, minor, openat};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The file system of pseudoterminals (`DEVPTS_SUPER_MAGIC`).
const DEVPTS: i64 = 0x1cd1;
/// Major numbers of their slaves.
const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;

/// A pseudoterminal with both ends.
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
    /// Its number in its devpts.
    pub(crate) number: u32,
}

/// Opens a new pseudoterminal of a devpts directory.
pub(crate) fn open(devpts: impl AsFd) -> io::Result<Terminal> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = openat(devpts, "ptmx", flags, Mode::empty())?;
    if fstatfs(&master)?.f_type != DEVPTS {
        return Err(io::Error::other("its ptmx is not one of devpts"));
    }
    unlockpt(&master)?;
    let slave = slave_of(&master)?;
    let number = sys::terminal_number(&master)?;
    Ok(Terminal {
        master,
        slave,
        number,
    })
}

/// The other end of a pseudoterminal's master.
pub(crate) fn slave_of(master: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(ioctl_tiocgptpeer(
        master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?)
}

/// Whether an open file is the slave `number` of a devpts and nothing else.
pub(crate) fn check_slave(file: impl AsFd, number: u32) -> io::Result<()> {
    let status = fstat(&file)?;
    let is_slave = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && SLAVES.contains(&major(status.st_rdev))
        && (major(status.st_rdev) - SLAVES.start()) * 256 + minor(status.st_rdev) == number
        && fstatfs(&file)?.f_type == DEVPTS;
    if is_slave {
        Ok(())
    } else {
        Err(io::Error::other(
            "it is not the pseudoterminal that was made",
        ))
    }
}

/// Passes bytes on as they are, without echo or line editing.
pub(crate) fn make_raw(terminal: &OwnedFd) -> io::Result<()> {
    let mut attributes = tcgetattr(terminal)?;
    attributes.make_raw();
    Ok(tcsetattr(terminal, OptionalActions::Now, &attributes)?)
}

/// Sets the size in characters.
pub(crate) fn resize(terminal: impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    Ok(tcsetwinsize(
        terminal,
        Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?)
}

/// Master and slave of a new pseudoterminal of the host.
pub(crate) fn open_on_host() -> io::Result<(OwnedFd, OwnedFd)> {
    let master =
        rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    let slave = slave_of(&master)?;
    Ok((master, slave))
}
