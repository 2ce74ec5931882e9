//! `lxc.log.syslog`: lines for the system's log, as syslog(3) sends them
//! (RFC 3164).

use gantry_core::values::LogLevel;
use std::os::unix::net::UnixDatagram;

/// Where the system's log listens.
const SOCKET: &str = "/dev/log";

/// The system's log, with what goes there.
pub(crate) struct Syslog {
    socket: UnixDatagram,
    facility: u8,
    name: String,
    least: LogLevel,
}

impl Syslog {
    /// None if the facility is unknown or there can be no socket.
    pub(crate) fn open(facility: &str, name: &str, least: LogLevel) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            facility: number(facility)?,
            name: name.to_owned(),
            least,
        })
    }

    /// Sends a line, if it is important enough. A log that takes none must
    /// not stop a container.
    pub(crate) fn write(&self, level: LogLevel, message: &str) {
        if level < self.least {
            return;
        }
        let line = format!(
            "<{}>gantry[{}]: {} {message}",
            self.facility * 8 + severity(level),
            std::process::id(),
            self.name
        );
        drop(self.socket.send_to(line.as_bytes(), SOCKET));
    }
}

/// The number of a facility that the key may name.
fn number(facility: &str) -> Option<u8> {
    match facility {
        "daemon" => Some(3),
        local => local
            .strip_prefix("local")?
            .parse()
            .ok()
            .filter(|number| *number < 8)
            .map(|number: u8| 16 + number),
    }
}

fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Trace | LogLevel::Debug => 7,
        LogLevel::Info => 6,
        LogLevel::Notice => 5,
        LogLevel::Warn => 4,
        LogLevel::Error => 3,
        LogLevel::Crit => 2,
        LogLevel::Alert => 1,
        LogLevel::Fatal => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_are_those_of_the_manual() {
        assert_eq!(number("daemon"), Some(3));
        assert_eq!(number("local0"), Some(16));
        assert_eq!(number("local7"), Some(23));
        assert_eq!(number("local8"), None);
        assert_eq!(number("kern"), None);
    }
}
