//! What matches and targets of xtables name, as iptables(8) gives them to the kernel and nf_tables keeps them
//! (include/uapi/linux/netfilter/xt_*.h, nf_nat.h, netfilter_bridge/ebt_ip.h). What is cut short names less.

use super::super::rule::{Kind, Part, Side};

/// The two sides, and which of two it is.
const SIDES: [(usize, Side); 2] = [(0, Side::From), (1, Side::To)];

/// Adds what a match of this name names, where IP addresses are of this kind.
pub(in crate::sys) fn of_match(name: &[u8], info: &[u8], ip: Kind, parts: &mut Vec<Part>) {
    let byte = |at: usize| info.get(at).copied().unwrap_or(0);
    match name {
        b"physdev" => interfaces(info, 16, 32, byte(64), parts),
        b"iprange" => {
            for (at, side) in SIDES {
                if byte(64) & 1 << at != 0 {
                    let from = info.get(32 * at..).unwrap_or_default();
                    let part = Part::between(ip, side, from, from.get(16..).unwrap_or_default());
                    parts.push(part.negated(byte(64) & 16 << at != 0));
                }
            }
        }
        b"mac" => {
            parts.push(Part::between(Kind::Mac, Side::From, info, info).negated(byte(8) != 0));
        }
        // Those of ebtables.
        b"ip" => addresses(info, Kind::V4, byte(18), byte(19), parts),
        b"ip6" => addresses(info, Kind::V6, byte(66), byte(67), parts),
        _ => {}
    }
}

/// Source and destination, then a mask for each. The lowest bit of `used` says whether the first is asked for, of
/// `inverted` whether all others are meant; the next ones of the second.
pub(super) fn addresses(info: &[u8], ip: Kind, used: u8, inverted: u8, parts: &mut Vec<Part>) {
    for (at, side) in SIDES {
        if used & 1 << at != 0 {
            masked(info, ip, side, at * ip.size(), 2 * ip.size(), inverted & 1 << at != 0, parts);
        }
    }
}

/// By which interface it comes in, and by which it goes out: names, and masks, which are empty where any will do.
/// Between a name and its mask are `mask` bytes, between both and the others `next`.
pub(super) fn interfaces(
    info: &[u8],
    mask: usize,
    next: usize,
    inverted: u8,
    parts: &mut Vec<Part>,
) {
    for (at, side) in SIDES {
        masked(info, Kind::Ifname, side, at * next, mask, inverted & 1 << at != 0, parts);
    }
}

/// A value that stands at `at`, and its mask `mask` bytes behind.
fn masked(
    info: &[u8],
    kind: Kind,
    side: Side,
    at: usize,
    mask: usize,
    negated: bool,
    parts: &mut Vec<Part>,
) {
    let value = info.get(at..).unwrap_or_default();
    let mask = value.get(mask..).unwrap_or_default();
    parts.push(Part::masked(kind, side, value, mask).negated(negated));
}

/// Adds to what a target of this name translates addresses.
pub(in crate::sys) fn of_target(
    name: &[u8],
    revision: u32,
    info: &[u8],
    ip: Kind,
    parts: &mut Vec<Part>,
) {
    // struct nf_nat_ipv4_multi_range_compat, or nf_nat_range: flags, the first and the last address.
    let (flags, last) = if revision == 0 && ip == Kind::V4 { (4, 4) } else { (0, 16) };
    let info = info.get(flags..).unwrap_or_default();
    // NF_NAT_RANGE_MAP_IPS
    let has = info.first_chunk().copied().map_or(0, u32::from_ne_bytes) & 1 != 0;
    if let (b"DNAT" | b"SNAT" | b"NETMAP", true, Some(first)) = (name, has, info.get(4..)) {
        let last = first.get(last..).unwrap_or_default();
        parts.push(Part::between(ip, Side::Given, first, last));
    }
}
