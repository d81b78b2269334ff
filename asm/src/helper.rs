//! The kernel's helper functions (`__BPF_FUNC_MAPPER`, include/uapi/linux/bpf.h).

use std::fmt;

/// The kernel's names, one a line: line `n` is number `n`. The list is closed since Linux 6.1;
/// what came later are kfuncs.
const NAMES: &str = include_str!("helper_names.txt");

/// A helper, by the number that its `call` has as immediate. Any number can stand in bytes; whether
/// there is such a helper, [`Helper::name`] tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Helper(i32);

impl Helper {
    /// `void *bpf_map_lookup_elem(map, key)`: the value, or NULL.
    pub const MAP_LOOKUP_ELEM: Self = Self(1);
    /// `u64 bpf_ktime_get_ns()`: nanoseconds since boot, but for those asleep (`CLOCK_MONOTONIC`).
    pub const KTIME_GET_NS: Self = Self(5);
    /// `long bpf_skb_load_bytes(skb, offset, to, len)`: copies from the packet, wherever it lies.
    pub const SKB_LOAD_BYTES: Self = Self(26);
    /// `s64 bpf_csum_diff(from, from_size, to, to_size, seed)`: a partial sum, of 16 bits since 6.13, of 32 before.
    pub const CSUM_DIFF: Self = Self(28);
    /// `long bpf_skb_change_type(skb, type)`: `PACKET_*` of the packet.
    pub const SKB_CHANGE_TYPE: Self = Self(32);
    /// `long bpf_redirect_map(map, key, flags)`: `XDP_REDIRECT`, or the action in the two
    /// low bits of `flags` where the map has no such key.
    pub const REDIRECT_MAP: Self = Self(51);
    /// `long bpf_xdp_adjust_tail(xdp_md, delta)`: moves `data_end`; every packet pointer is void after it.
    pub const XDP_ADJUST_TAIL: Self = Self(65);

    /// `long bpf_ringbuf_output(ring, data, size, flags)`: adds a record, if there is room.
    pub const RINGBUF_OUTPUT: Self = Self(130);
    /// `long bpf_csum_level(skb, level)`: how much of the packet's checksums is known to be right.
    pub const CSUM_LEVEL: Self = Self(135);
    /// `long bpf_redirect_peer(ifindex, flags)`: into the namespace of the veth's other end, at ingress.
    pub const REDIRECT_PEER: Self = Self(155);
    /// `u64 bpf_xdp_get_buff_len(xdp_md)`: bytes of the frame, in however many pieces (kernels from 5.18).
    pub const XDP_GET_BUFF_LEN: Self = Self(188);
    /// `long bpf_xdp_load_bytes(xdp_md, offset, to, len)`: copies from the frame (kernels from 5.18).
    pub const XDP_LOAD_BYTES: Self = Self(189);

    /// The helper with this number.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The number in the call's immediate.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The kernel's name (`bpf_map_lookup_elem`); `None` if no kernel has a helper of this number.
    pub fn name(self) -> Option<&'static str> {
        let line = usize::try_from(self.0).ok()?.checked_sub(1)?;
        NAMES.lines().nth(line)
    }
}

/// As the kernel's log and bpftool show it: `bpf_map_lookup_elem#1`, or the bare number.
impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}#{}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}
