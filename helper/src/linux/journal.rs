//! systemd's journal, in its own protocol: one datagram an entry
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).

use std::io;
use std::os::unix::net::UnixDatagram;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The longest message, well below what fits into a datagram.
const LONGEST: usize = 32 << 10;

/// How important an entry is, by the numbers of syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// An open way to the journal.
#[derive(Debug)]
pub(crate) struct Journal(UnixDatagram);

impl Journal {
    /// Connects, where our standard error goes to the journal anyway
    /// (`JOURNAL_STREAM`, systemd.exec(5)); elsewhere it is nobody's wish.
    pub(crate) fn where_used() -> Option<Self> {
        std::env::var_os("JOURNAL_STREAM")?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        Some(Self(socket))
    }

    /// Adds an entry. The names of `fields` are upper-case letters.
    pub(crate) fn write(
        &self,
        priority: Priority,
        message: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<()> {
        self.0.send(&entry(priority, message, fields)).map(drop)
    }
}

fn entry(priority: Priority, message: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let message = match message.char_indices().find(|(at, _)| *at >= LONGEST) {
        Some((end, _)) => message.get(..end).unwrap_or_default(),
        None => message,
    };
    let priority = (priority as u8).to_string();
    let mut bytes = Vec::with_capacity(message.len() + 200);
    for (name, value) in [
        ("MESSAGE", message),
        ("PRIORITY", &priority),
        ("SYSLOG_IDENTIFIER", "gantry-helper"),
    ]
    .iter()
    .chain(fields)
    {
        // A length instead of an end, so that a value may contain line breaks.
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_length_so_that_none_can_forge_a_field() {
        let bytes = entry(
            Priority::Warning,
            "two\nCONTAINER=x",
            &[("CONTAINER", "web")],
        );
        let expected = [
            b"MESSAGE\n\x0f\0\0\0\0\0\0\0two\nCONTAINER=x\n".as_slice(),
            b"PRIORITY\n\x01\0\0\0\0\0\0\x004\n",
            b"SYSLOG_IDENTIFIER\n\x0d\0\0\0\0\0\0\0gantry-helper\n",
            b"CONTAINER\n\x03\0\0\0\0\0\0\0web\n",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let bytes = entry(Priority::Info, &"ä".repeat(LONGEST), &[]);
        assert!(bytes.len() < LONGEST + 200);
        assert!(bytes.windows(3).any(|bytes| bytes == "ä\n".as_bytes()));
    }
}
