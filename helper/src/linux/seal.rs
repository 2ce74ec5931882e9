//! What Gantry's archives have besides others: a manifest as their first member, and as
//! their last a checksum of all that is before it. Both are plain members of a tar
//! archive (tar(5)), of a form that is known to the byte.

use sha2::{Digest, Sha256};

/// The name of the first member.
pub(crate) const MANIFEST: &str = "gantry.json";
/// The name of the last member.
pub(crate) const CHECKSUM: &str = "gantry.sha256";
/// The unit of a tar archive.
pub(super) const BLOCK: usize = 512;
/// The last member and the two blocks of zeros that end an archive.
pub(super) const TRAILER: usize = 4 * BLOCK;
/// The longest manifest, in bytes.
const LONGEST: usize = 1 << 20;

/// A running checksum of an archive.
#[derive(Default)]
pub(super) struct Seal {
    digest: Sha256,
    bytes: u64,
}

impl Seal {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The end of an archive of all that was taken.
    pub(super) fn trailer(self) -> Vec<u8> {
        let hex: String = self
            .digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let text = format!("sha256 {hex}\nbytes {}\n", self.bytes);
        let mut trailer = member(CHECKSUM, text.as_bytes());
        trailer.resize(TRAILER, 0);
        trailer
    }
}

/// A regular file of root's as it stands in an archive.
pub(super) fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| {
        for (byte, new) in header.iter_mut().skip(at).zip(text) {
            *byte = *new;
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\x00");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\x00");
    // The checksum is over a header with blanks in its place.
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (byte, new) in header
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *byte = new;
    }
    let mut member = header.to_vec();
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(BLOCK), 0);
    member
}

/// If an archive begins with a manifest: how long that is, in bytes. `start` is its
/// first block.
pub(super) fn manifest_length(start: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(start.get(124..135)?).ok()?;
    let length = usize::from_str_radix(digits, 8).ok()?;
    // Only what was written here, and by nobody else.
    let header = member(MANIFEST, &[]);
    let same = |from: usize, to: usize| start.get(from..to) == header.get(from..to);
    (same(0, 124) && same(136, 148) && same(156, BLOCK) && length <= LONGEST).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_known_by_its_form() {
        let first = member(MANIFEST, b"{}");
        assert_eq!(first.len(), 2 * BLOCK);
        assert_eq!(manifest_length(first.get(..BLOCK).unwrap()), Some(2));
        let other = member("config", b"{}");
        assert_eq!(manifest_length(&other), None);
        assert_eq!(manifest_length(b"short"), None);
    }

    #[test]
    fn every_change_changes_the_end() {
        let end = |bytes: &[u8]| {
            let mut seal = Seal::default();
            seal.update(bytes);
            seal.trailer()
        };
        assert_eq!(end(b"one").len(), TRAILER);
        assert_eq!(end(b"one"), end(b"one"));
        assert_ne!(end(b"one"), end(b"two"));
    }
}
