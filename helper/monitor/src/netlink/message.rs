//! The bytes of messages: a head, a fixed part, attributes (netlink(7)).

use super::REQUEST;

/// Bytes of a message's head.
pub(super) const HEAD: usize = 16;

/// A message under construction.
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut message = Self(vec![0; HEAD]);
        message.put(4, &kind.to_ne_bytes());
        message.put(6, &(REQUEST | flags).to_ne_bytes());
        message.0.extend(fixed);
        message
    }

    fn put(&mut self, offset: usize, value: &[u8]) {
        if let Some(place) = self.0.get_mut(offset..offset + value.len()) {
            place.copy_from_slice(value);
        }
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |message| message.0.extend(value));
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.nest(kind, |message| message.0.extend(value.bytes().chain([0])));
    }

    /// An attribute whose value is what `fill` adds; its length is known last.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let length = self.0.len() - start;
        self.put(start, &(length as u16).to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.put(0, &length.to_ne_bytes());
        self.put(8, &sequence.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::netlink::{attributes, u32_at};

    const MTU: u16 = 4;
    const LINKINFO: u16 = 18;
    const INFO_KIND: u16 = 1;

    #[test]
    fn attributes_nest_and_are_padded() {
        let mut message = Message::new(16, 0, &[]);
        message.nest(LINKINFO, |message| message.text(INFO_KIND, "veth"));
        message.attribute(MTU, &1400_u32.to_ne_bytes());
        let bytes = message.finish(7);
        assert_eq!(u32_at(&bytes, 0), Some(bytes.len() as u32));
        let found: Vec<_> = attributes(&bytes[HEAD..]).collect();
        assert_eq!(found[0].0, LINKINFO);
        assert_eq!(
            attributes(found[0].1).next(),
            Some((INFO_KIND, b"veth\0".as_slice()))
        );
        assert_eq!(found[1], (MTU, 1400_u32.to_ne_bytes().as_slice()));
    }
}
