//! What the kernel tells a traffic control program and what it takes back
//! (include/uapi/linux/bpf.h, include/uapi/linux/pkt_cls.h).

/// `TC_ACT_UNSPEC`, the same as `TCX_NEXT`: whoever is next decides, and in the end the kernel.
pub const UNSPEC: i32 = -1;
/// `TC_ACT_OK`
pub const OK: i32 = 0;
/// `TC_ACT_SHOT`: dropped.
pub const SHOT: i32 = 2;
/// `TC_ACT_REDIRECT`: where `bpf_redirect_peer` said.
pub const REDIRECT: i32 = 7;

/// `PACKET_HOST` (include/uapi/linux/if_packet.h): to us.
pub const PACKET_HOST: i32 = 0;
/// `BPF_CSUM_LEVEL_QUERY`: how many are known to be right, less one; negative if none is.
pub const CSUM_LEVEL_QUERY: i32 = 0;
/// The largest answer (`SKB_MAX_CSUM_LEVEL`).
pub const CSUM_LEVEL_MAX: i32 = 3;
/// `BPF_CSUM_LEVEL_INC`: one more checksum of the packet is known to be right.
pub const CSUM_LEVEL_INC: i32 = 1;

/// The name of a verdict; `None` for a number that the kernel does not know.
pub const fn action(verdict: i32) -> Option<&'static str> {
    match verdict {
        UNSPEC => Some("TC_ACT_UNSPEC"),
        OK => Some("TC_ACT_OK"),
        SHOT => Some("TC_ACT_SHOT"),
        REDIRECT => Some("TC_ACT_REDIRECT"),
        _ => None,
    }
}

/// Offsets in `struct __sk_buff`, each a `__u32`: those that our programs read or write.
#[allow(non_snake_case)]
pub mod sk_buff {
    /// Bytes of the packet, with those that do not lie at `data`.
    pub const LEN: i16 = 0;
    /// `PACKET_*`: whether the interface that it came in by is who is meant.
    pub const PKT_TYPE: i16 = 4;
    /// What rules of the namespace that it is in have noted of it.
    pub const MARK: i16 = 8;
    /// Whether a VLAN tag goes beside the packet.
    pub const VLAN_PRESENT: i16 = 20;
    /// Its class among those that are waiting to be sent.
    pub const PRIORITY: i16 = 32;
    /// The interface that it is at.
    pub const IFINDEX: i16 = 40;
    /// First byte of the packet; loads as a pointer.
    pub const DATA: i16 = 76;
    /// The byte after the last that lies there; loads as a pointer.
    pub const DATA_END: i16 = 80;
    /// What a program may write, as far as ours do.
    pub const WRITABLE: [i16; 2] = [MARK, PRIORITY];
    /// Bytes of the structure.
    pub const SIZE: usize = 192;
}
