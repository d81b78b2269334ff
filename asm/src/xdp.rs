//! What the kernel tells an XDP program and what it takes back (include/uapi/linux/bpf.h).

/// `XDP_ABORTED`: an error; dropped, and seen by the `xdp_exception` tracepoint.
pub const ABORTED: i32 = 0;
/// `XDP_DROP`
pub const DROP: i32 = 1;
/// `XDP_PASS`: the kernel takes the packet.
pub const PASS: i32 = 2;
/// `XDP_TX`: out of the interface it came from.
pub const TX: i32 = 3;
/// `XDP_REDIRECT`: where `bpf_redirect_map` said.
pub const REDIRECT: i32 = 4;

/// The name of a verdict; `None` for a number that the kernel does not know.
pub const fn action(verdict: i32) -> Option<&'static str> {
    match verdict {
        ABORTED => Some("XDP_ABORTED"),
        DROP => Some("XDP_DROP"),
        PASS => Some("XDP_PASS"),
        TX => Some("XDP_TX"),
        REDIRECT => Some("XDP_REDIRECT"),
        _ => None,
    }
}

/// Offsets in `struct xdp_md`, each a `__u32`.
#[allow(non_snake_case)]
pub mod xdp_md {
    /// First byte of the packet; loads as a pointer.
    pub const DATA: i16 = 0;
    /// The byte after the last; loads as a pointer.
    pub const DATA_END: i16 = 4;
    /// Where metadata starts, before the packet.
    pub const DATA_META: i16 = 8;
    /// The interface that the packet came in by.
    pub const INGRESS_IFINDEX: i16 = 12;
    /// Its receive queue.
    pub const RX_QUEUE_INDEX: i16 = 16;
    /// Where a devmap program's packet leaves.
    pub const EGRESS_IFINDEX: i16 = 20;
    /// Bytes of the structure.
    pub const SIZE: usize = 24;
}
