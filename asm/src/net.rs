//! Offsets and numbers of the headers that the programs read. Offsets count from the first byte of
//! the header they belong to; numbers are in host order.

/// Ethernet II (IEEE 802.3), untagged.
pub mod eth {
    /// Destination address, 6 bytes.
    pub const DST: i16 = 0;
    /// Source address, 6 bytes.
    pub const SRC: i16 = 6;
    /// What follows, 2 bytes.
    pub const TYPE: i16 = 12;
    /// Bytes of the header (`ETH_HLEN`).
    pub const LEN: i16 = 14;
    /// `ETH_P_IP`
    pub const IPV4: i32 = 0x0800;
    /// `ETH_P_IPV6`
    pub const IPV6: i32 = 0x86dd;
}

/// A VLAN's tag (IEEE 802.1Q), which stands where the EtherType would. Offsets count from behind that.
pub mod vlan {
    /// `ETH_P_8021Q`, in the EtherType's place.
    pub const ETHERTYPE: i32 = 0x8100;
    /// Priority and VLAN, 2 bytes.
    pub const TCI: i16 = 0;
    /// What follows, 2 bytes.
    pub const TYPE: i16 = 2;
    /// Bytes that the frame is longer.
    pub const LEN: i16 = 4;
    /// The VLAN's number in the TCI (`VLAN_VID_MASK`).
    pub const VID: i32 = 0x0fff;
}

/// IPv4 (RFC 791).
pub mod ipv4 {
    /// Version and header length, 4 bits each.
    pub const VERSION_IHL: i16 = 0;
    /// Bytes of the whole datagram, 2 bytes.
    pub const TOTAL_LENGTH: i16 = 2;
    /// Three flags and the fragment offset, 2 bytes.
    pub const FLAGS_FRAGMENT: i16 = 6;
    /// Protocol of the payload, 1 byte.
    pub const PROTOCOL: i16 = 9;
    /// Source address, 4 bytes.
    pub const SRC: i16 = 12;
    /// Destination address, 4 bytes.
    pub const DST: i16 = 16;
    /// Bytes of a header without options.
    pub const LEN: i16 = 20;
    /// Version 4 and a header without options.
    pub const PLAIN: i32 = 0x45;
    /// More-fragments flag and fragment offset: zero in a datagram that is whole.
    pub const FRAGMENT: i32 = 0x3fff;
}

/// IPv6 (RFC 8200).
pub mod ipv6 {
    /// Version in the upper 4 bits.
    pub const VERSION: i16 = 0;
    /// Bytes after this header, 2 bytes.
    pub const PAYLOAD_LENGTH: i16 = 4;
    /// What follows, 1 byte.
    pub const NEXT_HEADER: i16 = 6;
    /// Source address, 16 bytes.
    pub const SRC: i16 = 8;
    /// Destination address, 16 bytes.
    pub const DST: i16 = 24;
    /// Bytes of the header.
    pub const LEN: i16 = 40;
}

/// Protocol numbers (IANA).
pub mod proto {
    /// RFC 792
    pub const ICMP: i32 = 1;
    /// RFC 9293
    pub const TCP: i32 = 6;
    /// RFC 768
    pub const UDP: i32 = 17;
    /// RFC 4443
    pub const ICMPV6: i32 = 58;
}

/// TCP (RFC 9293).
pub mod tcp {
    /// Checksum, 2 bytes.
    pub const CHECK: i16 = 16;
    /// Bytes of the shortest header.
    pub const LEN: i16 = 20;
}

/// UDP (RFC 768).
pub mod udp {
    /// Checksum, 2 bytes; 0 means that there is none.
    pub const CHECK: i16 = 6;
    /// Bytes of the header.
    pub const LEN: i16 = 8;
}

/// ICMPv6 (RFC 4443), and the types of neighbour discovery (RFC 4861): who has which address.
pub mod icmpv6 {
    /// Bytes of the shortest message that is worth forwarding: type, code, checksum, body.
    pub const LEN: i16 = 8;
    /// Router solicitation, the first of neighbour discovery.
    pub const ND_FIRST: i32 = 133;
    /// Redirect, the last of them.
    pub const ND_LAST: i32 = 137;
}
