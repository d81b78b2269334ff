//! The kernel's helper functions that our programs call.

/// A helper, with the number of its `call` (`__BPF_FUNC_MAPPER`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum Helper {
    /// `void *bpf_map_lookup_elem(map, key)`: the value, or NULL.
    MapLookupElem = 1,
    /// `s64 bpf_csum_diff(from, from_size, to, to_size, seed)`: a 32-bit partial sum.
    CsumDiff = 28,
    /// `long bpf_redirect_map(map, key, flags)`: `XDP_REDIRECT`, or the action in the two
    /// low bits of `flags` where the map has no such key.
    RedirectMap = 51,
    /// `long bpf_xdp_adjust_tail(xdp_md, delta)`: moves `data_end`; every packet pointer is void after it.
    XdpAdjustTail = 65,
}

/// All of [`Helper`].
pub const HELPERS: [Helper; 4] =
    [Helper::MapLookupElem, Helper::CsumDiff, Helper::RedirectMap, Helper::XdpAdjustTail];

impl Helper {
    /// The number in the call's immediate.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The helper with this number, if we know it.
    pub fn from_number(n: i32) -> Option<Self> {
        HELPERS.into_iter().find(|helper| helper.number() == n)
    }

    /// The kernel's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MapLookupElem => "bpf_map_lookup_elem",
            Self::CsumDiff => "bpf_csum_diff",
            Self::RedirectMap => "bpf_redirect_map",
            Self::XdpAdjustTail => "bpf_xdp_adjust_tail",
        }
    }
}
