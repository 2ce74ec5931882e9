//! What a layer of an OCI image does to the layers below it, read from its tar archive
//! (tar(5); the image specification's layer.md). Only names are read: the files are for
//! tar(1).

use super::seal::BLOCK;
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind, Read};

/// What hides a file of a lower layer has its name after this.
pub(super) const WHITEOUT: &str = ".wh.";
/// What hides all that lower layers have in its directory.
const OPAQUE: &str = ".wh..wh..opq";
/// Files of aufs that are about a layer, not of it.
const ABOUT: &str = ".wh..wh.";
/// The most bytes of the names in a layer, and of what stands before one member.
const MOST_NAMES: usize = 128 << 20;
const MOST_HEADER: u64 = 1 << 20;
/// The most bytes in a layer.
const MOST: u64 = 256 << 30;

/// What a layer does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// The SHA-256 of the layer as it is unpacked.
    pub(super) sha256: String,
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// How many files there are.
    pub(super) members: u64,
    /// What is hidden: the directory, and the name in it.
    pub(super) hidden: Vec<(String, String)>,
    /// Directories of which everything is hidden.
    pub(super) opaque: Vec<String>,
    /// What is no directory, and takes the place of one.
    pub(super) others: Vec<String>,
}

/// Reads a layer to its end.
///
/// # Errors
/// `InvalidData` for what is no tar archive, or hides what is no file of a lower layer.
pub(super) fn survey(source: impl Read) -> io::Result<Survey> {
    let mut layer = Layer {
        source,
        digest: Sha256::new(),
        read: 0,
    };
    let mut found = Survey::default();
    let mut names = 0;
    // What stands before a member, about it alone.
    let (mut path, mut size) = (None::<String>, None::<u64>);
    while let Some(header) = layer.block()? {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let member = Header::read(&header)?;
        match member.kind {
            b'L' => path = Some(text(&layer.content(member.size)?)),
            // The target of a link.
            b'K' => drop(layer.content(member.size)?),
            kind @ (b'x' | b'g') => {
                let (told_path, told_size) = records(&layer.content(member.size)?)?;
                if kind == b'g' && (told_path.is_some() || told_size.is_some()) {
                    return Err(invalid("the layer gives every file the same name or size"));
                }
                path = told_path.or(path);
                size = told_size.or(size);
            }
            kind => {
                let bytes = match kind {
                    b'1' => 0,
                    _ => size.take().unwrap_or(member.size),
                };
                size = None;
                let name = path.take().unwrap_or(member.name);
                if kind == b'S' && header.get(482).is_some_and(|more| *more != 0) {
                    layer.sparse_map()?;
                }
                layer.skip(bytes)?;
                found.bytes += bytes;
                found.members += 1;
                names += name.len();
                if names > MOST_NAMES {
                    return Err(invalid("the layer has too many files"));
                }
                found.take(name, kind)?;
            }
        }
    }
    found.sha256 = layer.finish()?;
    Ok(found)
}

impl Survey {
    fn take(&mut self, name: String, kind: u8) -> io::Result<()> {
        let path: Vec<&str> = name
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        let Some((last, above)) = path.split_last() else {
            return Ok(());
        };
        if path.contains(&"..") {
            return Err(invalid(&format!("'{}' leads out", name.escape_debug())));
        }
        let above = above.join("/");
        if *last == OPAQUE {
            self.opaque.push(above);
        } else if last.starts_with(ABOUT) {
        } else if let Some(hidden) = last.strip_prefix(WHITEOUT) {
            if matches!(hidden, "" | "." | "..") {
                return Err(invalid(&format!("'{}' hides no file", name.escape_debug())));
            }
            self.hidden.push((above, hidden.to_owned()));
        } else if kind != b'5' {
            self.others.push(path.join("/"));
        }
        Ok(())
    }
}

/// A layer as it is read: all of it is hashed.
struct Layer<R> {
    source: R,
    digest: Sha256,
    read: u64,
}

impl<R: Read> Layer<R> {
    /// The next block; none at the end of the stream.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self
                .source
                .read(block.get_mut(filled..).unwrap_or_default())
            {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.hash(&block)?;
        Ok(Some(block))
    }

    fn hash(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.read += bytes.len() as u64;
        if self.read > MOST {
            return Err(invalid("the layer is too large"));
        }
        Ok(())
    }

    /// The content of a member that is about the next one.
    fn content(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MOST_HEADER {
            return Err(invalid("the layer has a file with too long a name"));
        }
        let mut content = Vec::new();
        while (content.len() as u64) < size {
            let block = self.block()?.ok_or(ErrorKind::UnexpectedEof)?;
            content.extend_from_slice(&block);
        }
        content.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(content)
    }

    fn skip(&mut self, size: u64) -> io::Result<()> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let mut left = padded.filter(|padded| *padded <= MOST);
        let left = left
            .as_mut()
            .ok_or_else(|| invalid("a file is too large"))?;
        let mut chunk = vec![0; 128 << 10];
        while *left > 0 {
            let wanted = usize::try_from(*left).map_or(chunk.len(), |left| left.min(chunk.len()));
            let space = chunk.get_mut(..wanted).unwrap_or_default();
            self.source.read_exact(space)?;
            self.hash(chunk.get(..wanted).unwrap_or_default())?;
            *left -= wanted as u64;
        }
        Ok(())
    }

    /// The rest of the map of a sparse file, as GNU tar writes it.
    fn sparse_map(&mut self) -> io::Result<()> {
        loop {
            let block = self.block()?.ok_or(ErrorKind::UnexpectedEof)?;
            if block.get(504).is_none_or(|more| *more == 0) {
                return Ok(());
            }
        }
    }

    /// Reads what follows the end, and gives the checksum.
    fn finish(mut self) -> io::Result<String> {
        let mut chunk = vec![0; 128 << 10];
        loop {
            match self.source.read(&mut chunk)? {
                0 => break,
                count => self.hash(chunk.get(..count).unwrap_or_default())?,
            }
        }
        let sum = self.digest.finalize();
        Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The part of a header that is looked at.
struct Header {
    name: String,
    size: u64,
    kind: u8,
}

impl Header {
    fn read(block: &[u8; BLOCK]) -> io::Result<Self> {
        let field = |from: usize, to: usize| block.get(from..to).unwrap_or_default();
        // The checksum is over a header with blanks in its place.
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => u64::from(b' '),
                _ => u64::from(*byte),
            })
            .sum();
        if number(field(148, 156)) != Some(sum) {
            return Err(invalid("the layer is no tar archive"));
        }
        let mut name = text(field(0, 100));
        // GNU tar has other things in the place of the prefix.
        if field(257, 263) == b"ustar\0" {
            let prefix = text(field(345, 500));
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        Ok(Self {
            name,
            size: number(field(124, 136)).ok_or_else(|| invalid("a file has no size"))?,
            kind: block.get(156).copied().unwrap_or_default(),
        })
    }
}

/// A number in octal digits, or as GNU tar has those that are too long for them.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first @ 0x80..=0xff, rest)) = field.split_first() {
        let start = u64::from(first & 0x7f);
        return rest.iter().try_fold(start, |value, byte| {
            Some(value.checked_mul(256)? + u64::from(*byte))
        });
    }
    let text = std::str::from_utf8(field).ok()?;
    match text.trim_matches(['\0', ' ']) {
        "" => Some(0),
        digits => u64::from_str_radix(digits, 8).ok(),
    }
}

/// The name and the size that records of pax(1) tell.
fn records(mut content: &[u8]) -> io::Result<(Option<String>, Option<u64>)> {
    let wrong = || invalid("the layer has a broken header");
    let (mut path, mut size) = (None, None);
    while !content.is_empty() {
        let blank = content.iter().position(|byte| *byte == b' ');
        let blank = blank.ok_or_else(wrong)?;
        let length: Option<usize> = content
            .get(..blank)
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let (record, rest) = length
            .filter(|length| *length > blank + 1)
            .and_then(|length| content.split_at_checked(length))
            .ok_or_else(wrong)?;
        content = rest;
        let record = record.get(blank + 1..record.len() - 1).unwrap_or_default();
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(text(value));
        } else if let Some(value) = record.strip_prefix(b"size=") {
            size = Some(text(value).parse().map_err(|_| wrong())?);
        }
    }
    Ok((path, size))
}

/// What is before the first zero. Names of other encodings hide nothing.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::seal::member;

    fn layer(members: &[Vec<u8>]) -> Vec<u8> {
        [members.concat(), vec![0; 2 * BLOCK]].concat()
    }

    fn pax(records: &[u8]) -> Vec<u8> {
        let mut block = member("pax", records);
        let old = block[156];
        block[156] = b'x';
        let sum = number(&block[148..156]).unwrap() - u64::from(old) + u64::from(b'x');
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        let bytes = layer(&[
            member("./etc/.wh.motd", b""),
            member("var/cache/.wh..wh..opq", b""),
            member(".wh..wh.plnk", b""),
            member("bin/sh", b"0123456789"),
        ]);
        let found = survey(&*bytes).unwrap();
        assert_eq!(found.hidden, [("etc".to_owned(), "motd".to_owned())]);
        assert_eq!(found.opaque, ["var/cache"]);
        assert_eq!(found.others, ["bin/sh"]);
        assert_eq!((found.bytes, found.members), (10, 4));
        let sum = Sha256::digest(&bytes);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found.sha256, sum);
    }

    #[test]
    fn long_names_come_before_their_file() {
        let bytes = layer(&[pax(b"20 path=a/.wh.long1\n"), member("short", b"x")]);
        let found = survey(&*bytes).unwrap();
        assert_eq!(found.hidden, [("a".to_owned(), "long1".to_owned())]);
        assert!(found.others.is_empty());
    }

    #[test]
    fn what_hides_more_than_a_file_is_refused() {
        for name in [".wh...", "a/.wh..", "a/.wh.", "../x", "a/../.wh.x"] {
            let error = survey(&*layer(&[member(name, b"")])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}");
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bytes in [
            &[7; 4 * BLOCK][..],
            b"short",
            &member("a", &[1; 600])[..BLOCK],
        ] {
            assert!(survey(bytes).is_err());
        }
        for records in [&b"999 path=x\n"[..], b"x", b"1 \n", b"12 size=-10\n"] {
            let bytes = layer(&[pax(records), member("a", b"")]);
            assert!(survey(&*bytes).is_err(), "{records:?}");
        }
    }
}
