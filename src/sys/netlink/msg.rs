//! Netlink messages as bytes: a writer for requests, readers for replies (netlink(7)).
//!
//! The readers take any bytes: what does not fit ends the reading. (neli's own compute with the
//! lengths they find, so that an odd reply can panic.)

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLA_TYPE_MASK`: without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 1 << 15;

/// A request being written.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Begins with the header and, after it, the fixed part of this kind of message.
    pub(crate) fn new(kind: impl Into<u16>, flags: neli::consts::nl::NlmF, fixed: &[u8]) -> Self {
        let mut out = vec![0; 4];
        out.extend(kind.into().to_ne_bytes());
        out.extend(flags.bits().to_ne_bytes());
        out.resize(HEADER, 0);
        let mut message = Self(out);
        message.put(fixed);
        message
    }

    /// Appends bytes and pads them to 4.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Appends an attribute.
    pub(crate) fn attr(&mut self, kind: impl Into<u16>, payload: &[u8]) {
        let len = payload.len() as u16 + 4;
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.into().to_ne_bytes());
        self.put(payload);
    }

    /// Appends a name, with its NUL.
    pub(crate) fn attr_str(&mut self, kind: impl Into<u16>, text: &str) {
        self.attr(kind, &[text.as_bytes(), b"\0"].concat());
    }

    /// Appends an attribute made of what `inside` appends.
    pub(crate) fn nest(&mut self, kind: impl Into<u16>, inside: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.attr(kind.into() | NLA_F_NESTED, &[]);
        inside(self);
        let len = (self.0.len() - start) as u16;
        if let Some(field) = self.0.get_mut(start..start + 2) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// The bytes to send, with their length and this sequence number in the header.
    pub(crate) fn finish(mut self, seq: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        for (at, value) in [(0, len), (8, seq)] {
            if let Some(field) = self.0.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_ne_bytes());
            }
        }
        self.0
    }
}

/// A message of a reply.
pub(crate) struct Reply<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram; an item of `None` says that the rest is malformed.
pub(crate) fn replies(mut datagram: &[u8]) -> impl Iterator<Item = Option<Reply<'_>>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let taken = take_reply(datagram);
        datagram = taken.as_ref().map_or(&[], |(_, rest)| rest);
        Some(taken.map(|(reply, _)| reply))
    })
}

fn take_reply(bytes: &[u8]) -> Option<(Reply<'_>, &[u8])> {
    let len = u32_at(bytes, 0)? as usize;
    let body = bytes.get(HEADER..len)?;
    let reply =
        Reply { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, seq: u32_at(bytes, 8)?, body };
    Some((reply, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}

/// The attributes in `bytes`: kind and payload.
pub(crate) fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let payload = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

/// The payload of the first attribute of this kind.
pub(crate) fn attr(bytes: &[u8], kind: impl Into<u16>) -> Option<&[u8]> {
    let kind = kind.into();
    attrs(bytes).find(|(k, _)| *k == kind).map(|(_, payload)| payload)
}

/// A number at an offset, in the machine's byte order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// A number at an offset, in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A number at an offset, in the machine's byte order.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes)
}

/// What stands before the NUL.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// Text up to its NUL, made printable: a container's root may give any name to its interfaces, also one
/// that moves the cursor.
pub(crate) fn text(bytes: &[u8]) -> String {
    until_nul(bytes).escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use neli::consts::nl::NlmF;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::new(7u16, NlmF::REQUEST, &[1, 2, 3, 4]);
        message.attr_str(3u16, "veth0");
        message.nest(18u16, |info| {
            info.attr(1u16, &5u32.to_ne_bytes());
            info.attr(2u16, &[]);
        });
        let bytes = message.finish(9);
        let replies: Vec<_> = replies(&bytes).flatten().collect();
        let [reply] = &replies[..] else { panic!("one message") };
        assert_eq!((reply.kind, reply.flags, reply.seq), (7, 1, 9));
        let kinds: Vec<_> = attrs(&reply.body[4..]).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [3, 18]);
        assert_eq!(attr(&reply.body[4..], 3u16).map(text).as_deref(), Some("veth0"));
        let nested = attr(&reply.body[4..], 18u16).expect("nested");
        assert_eq!(attr(nested, 1u16).and_then(|p| u32_at(p, 0)), Some(5));
        assert_eq!(attr(nested, 2u16), Some(&[][..]));
    }

    #[test]
    fn odd_lengths_end_the_reading() {
        for len in 0..16u32 {
            let mut bytes = [0xff; 16];
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(matches!(replies(&bytes).collect::<Vec<_>>()[..], [None]), "{len}");
        }
        assert_eq!(attrs(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attrs(&[9, 0, 1, 0, 1, 2, 3, 4]).count(), 0);
        assert_eq!(attrs(&[5, 0, 1, 0, 1]).count(), 1, "the last needs no padding");
    }
}
