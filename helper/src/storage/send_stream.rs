//! The paths that are named in a stream of `btrfs send` (fs/btrfs/send.h, version 1):
//! commands, each with a length, a number and a checksum, of attributes that have a
//! number and a length, all little-endian.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const MAGIC: &[u8] = b"btrfs-stream\0";
/// Longer than any command without content of files: paths and attributes.
const LONGEST: usize = 256 << 10;
/// Commands that name a subvolume and no path in it.
const SUBVOLUME: u16 = 1;
const SNAPSHOT: u16 = 2;
/// Attributes that are paths of what changes.
const PATH: u16 = 15;
const PATH_TO: u16 = 16;

/// The paths of a stream; none if there are more than `most`.
pub(super) fn paths(mut stream: impl Read, most: usize) -> io::Result<Option<BTreeSet<PathBuf>>> {
    let mut head = [0; MAGIC.len() + 4];
    match stream.read_exact(&mut head) {
        // The sender failed before the first byte, and says why.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Some(BTreeSet::new()));
        }
        result => result?,
    }
    if !head.starts_with(MAGIC) {
        return Err(invalid());
    }
    let mut found = BTreeSet::new();
    let mut head = [0; 10];
    loop {
        match stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(found)),
            result => result?,
        }
        let [a, b, c, d, low, high, ..] = head;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(io::Error::other)?;
        if length > LONGEST {
            return Err(invalid());
        }
        let mut command = vec![0; length];
        stream.read_exact(&mut command)?;
        let number = u16::from_le_bytes([low, high]);
        if number != SUBVOLUME && number != SNAPSHOT {
            attributes(&command, &mut found).ok_or_else(invalid)?;
        }
        if found.len() > most {
            return Ok(None);
        }
    }
}

fn attributes(mut command: &[u8], found: &mut BTreeSet<PathBuf>) -> Option<()> {
    while !command.is_empty() {
        let (head, rest) = command.split_first_chunk::<4>()?;
        let [low, high, length_low, length_high] = *head;
        let length = usize::from(u16::from_le_bytes([length_low, length_high]));
        let (value, rest) = rest.split_at_checked(length)?;
        if matches!(u16::from_le_bytes([low, high]), PATH | PATH_TO) && !value.is_empty() {
            found.insert(PathBuf::from(OsStr::from_bytes(value)));
        }
        command = rest;
    }
    Some(())
}

fn invalid() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's stream of changes is not as expected",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn command(number: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_le_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            body.extend(*value);
        }
        let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(number.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    fn stream(commands: &[Vec<u8>]) -> Vec<u8> {
        [MAGIC, &[1, 0, 0, 0], &commands.concat()].concat()
    }

    #[test]
    fn what_is_named_is_found() {
        let bytes = stream(&[
            command(SNAPSHOT, &[(PATH, b"new")]),
            command(9, &[(PATH, b"a"), (PATH_TO, b"b/c")]),
            command(8, &[(PATH, b"link"), (17, b"/etc/passwd")]),
            command(21, &[]),
        ]);
        let found = paths(bytes.as_slice(), 10).unwrap().unwrap();
        assert_eq!(
            found.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
            [Path::new("a"), Path::new("b/c"), Path::new("link")]
        );
        assert_eq!(paths(bytes.as_slice(), 2).unwrap(), None);
    }

    #[test]
    fn what_is_broken_is_refused() {
        assert_eq!(paths(&b""[..], 1).unwrap().unwrap().len(), 0);
        assert!(paths(&b"something else that is long enough"[..], 1).is_err());
        let mut bytes = stream(&[command(9, &[(PATH, b"abc")])]);
        bytes.pop();
        assert!(paths(bytes.as_slice(), 1).is_err());
        let mut bytes = stream(&[command(9, &[(PATH, b"abc")])]);
        let length = bytes.len() - 5;
        bytes[length] = 200;
        assert!(paths(bytes.as_slice(), 1).is_err());
        bytes[17..21].fill(0xff);
        assert!(paths(bytes.as_slice(), 1).is_err());
    }
}
