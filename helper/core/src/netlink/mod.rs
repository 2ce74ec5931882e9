//! What the kernel tells of links and routes (rtnetlink(7)), as far as both the helper and
//! a monitor judge it: neither reads it here.

mod route;
mod ways_out;

pub use route::Route;
pub use ways_out::{Way, ways_out};

/// The two bytes at an offset, as a number.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u16::from_ne_bytes(*chunk))
}

/// The four bytes at an offset, as a number.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u32::from_ne_bytes(*chunk))
}

/// The attributes in `bytes`, by kind (netlink(7)). A broken one ends the list.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_attributes_end_the_list() {
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[3]).count(), 0);
    }
}
