//! IP headers as values.

use super::{A, B};

/// The IP header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Net {
    /// RFC 791
    V4(Ipv4),
    /// RFC 8200
    V6(Ipv6),
}

/// An IPv4 header; lengths, protocol and checksum are filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ipv4 {
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// The DF bit.
    pub dont_fragment: bool,
    /// The MF bit.
    pub more_fragments: bool,
    /// In units of 8 bytes, 13 bits.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// A multiple of 4 bytes, at most 40.
    pub options: Vec<u8>,
}

/// An IPv6 header; length and next headers are filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ipv6 {
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// Hop limit.
    pub hop_limit: u8,
    /// In the order they stand.
    pub extensions: Vec<Extension>,
}

/// An IPv6 extension header, 8 bytes each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Hop-by-hop options (0): padding only.
    HopByHop,
    /// Destination options (60): padding only.
    Destination,
    /// Fragment (44).
    Fragment {
        /// In units of 8 bytes, 13 bits.
        offset: u16,
        /// The M bit.
        more: bool,
        /// Identification.
        id: u32,
    },
}

impl Default for Ipv4 {
    /// From [`A`] to [`B`], TTL 64, not to be fragmented.
    fn default() -> Self {
        Self {
            src: A.v4,
            dst: B.v4,
            tos: 0,
            id: 757,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            options: Vec::new(),
        }
    }
}

impl Default for Ipv6 {
    /// From [`A`] to [`B`], hop limit 64.
    fn default() -> Self {
        Self { src: A.v6, dst: B.v6, hop_limit: 64, extensions: Vec::new() }
    }
}

impl Net {
    /// The default IPv4 header.
    pub fn v4() -> Self {
        Self::V4(Ipv4::default())
    }

    /// The default IPv6 header.
    pub fn v6() -> Self {
        Self::V6(Ipv6::default())
    }

    /// Whether the packet starts within a datagram, so that no L4 header is in it.
    pub(super) fn later_fragment(&self) -> bool {
        match self {
            Self::V4(ip) => ip.fragment_offset > 0,
            Self::V6(ip) => ip
                .extensions
                .iter()
                .any(|ext| matches!(ext, Extension::Fragment { offset, .. } if *offset > 0)),
        }
    }
}

impl Extension {
    /// Its number in the next-header field before it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::HopByHop => 0,
            Self::Destination => 60,
            Self::Fragment { .. } => 44,
        }
    }

    /// Its 8 bytes.
    pub(super) fn bytes(self, next: u8) -> [u8; 8] {
        match self {
            // One PadN option of 6 bytes fills the header.
            Self::HopByHop | Self::Destination => [next, 0, 1, 4, 0, 0, 0, 0],
            Self::Fragment { offset, more, id } => {
                let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
                let [a, b, c, d] = id.to_be_bytes();
                [next, 0, high, low, a, b, c, d]
            }
        }
    }
}
