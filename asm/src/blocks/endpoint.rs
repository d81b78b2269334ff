//! Endpoints: who is joined, and by which veth it is reached.

use super::{Family, PKT};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::label::Target;
use crate::map::{MapDecl, MapIndex, MapKind};
use crate::net::{eth, ipv4, ipv6};
use crate::reg::{Pointer, R0, R1, R2, R3, Reg};
use crate::{tc, xdp};

/// Offsets in a value of the endpoint maps, and how to write one.
pub mod value {
    /// Index of the container's host-side veth, `u32` in the machine's order: a key of `ports`.
    pub const IFINDEX: i16 = 0;
    /// The container's own Ethernet address, 6 bytes, after two of zero: its last four are aligned.
    pub const MAC: i16 = 6;
    /// Bytes of a value.
    pub const SIZE: usize = 12;

    /// A value as the programs read it.
    pub fn encode(ifindex: u32, mac: [u8; 6]) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        out[..4].copy_from_slice(&ifindex.to_ne_bytes());
        out[6..].copy_from_slice(&mac);
        out
    }
}

/// How many addresses can be joined on one bridge (Linux bridges have at most 1023 ports).
const MAX_ADDRESSES: u32 = 8192;
/// How many containers can be joined on one bridge.
const MAX_PORTS: u32 = 1024;
/// `BPF_F_NO_PREALLOC`: an entry takes memory when it is made.
const BPF_F_NO_PREALLOC: u32 = 1;

/// `endpoints4` or `endpoints6`: an address as it stands in the packet gives a [`value`].
pub fn endpoints(family: Family) -> MapDecl {
    let (name, key_size) = match family {
        Family::V4 => ("endpoints4", 4),
        Family::V6 => ("endpoints6", 16),
    };
    MapDecl {
        name,
        kind: MapKind::Hash,
        key_size,
        value_size: value::SIZE as u32,
        max_entries: MAX_ADDRESSES,
        flags: BPF_F_NO_PREALLOC,
    }
}

/// `ports`: the interfaces that may be redirected to, by their index. The kernel takes an entry out
/// when its interface goes.
pub fn ports() -> MapDecl {
    MapDecl {
        name: "ports",
        kind: MapKind::DevmapHash,
        key_size: 4,
        value_size: 4,
        max_entries: MAX_PORTS,
        flags: 0,
    }
}

/// Why a packet is not forwarded that is for an address of a joined container.
pub const MOVED: &str = "not its Ethernet address: routed, or the IP address has moved";
const GONE: &str = "its veth is gone: the kernel will know better";
const AWAY: &str = "its veth is not in this namespace: neither is who is joined";

/// Which address of the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// `r0` = the endpoint with this address, else goes to `unknown`. Loses `r1` to `r5`.
///
/// The key is read where it lies in the packet: nothing is copied.
#[track_caller]
pub fn lookup(
    asm: &mut Assembler,
    map: MapIndex,
    family: Family,
    side: Side,
    unknown: &impl Target,
) {
    let (off, whose) = match (family, side) {
        (Family::V4, Side::Source) => (ipv4::SRC, "source"),
        (Family::V4, Side::Destination) => (ipv4::DST, "destination"),
        (Family::V6, Side::Source) => (ipv6::SRC, "source"),
        (Family::V6, Side::Destination) => (ipv6::DST, "destination"),
    };
    asm.load_map(R1, map, "who is joined");
    asm.mov(R2, PKT, "key:");
    asm.add(R2, i32::from(eth::LEN + off), format!("the {whose} address in the packet"));
    asm.call(Helper::MAP_LOOKUP_ELEM, format!("r0 = the {whose}'s endpoint"));
    asm.jump_if(R0.eq(0), unknown, format!("the {whose} is not joined"));
}

/// Goes on if the Ethernet address at `off` in the packet is that of `endpoint`, else to `other`.
/// Loses `r2`, `r3`.
#[track_caller]
pub fn same_mac(
    asm: &mut Assembler,
    off: i16,
    endpoint: Reg,
    other: &impl Target,
    why: &'static str,
) {
    // Where u16 and u32 are aligned differs between packet and value; u16 is aligned in both.
    for part in [0, 2, 4] {
        asm.load(R2, PKT.u16(off + part), "a third of the packet's address");
        asm.load(R3, endpoint.u16(value::MAC + part), "and of the endpoint's");
        asm.jump_if(R2.ne(R3), other, why);
    }
}

/// Goes on if `endpoint`'s veth is still there, else to `stale`: the kernel takes it out of `ports` when it
/// goes, also to another namespace. For programs that do not redirect by the map: `bpf_redirect_peer` looks
/// its interface up in the namespace of the one that the packet came in by, and drops what it does not find.
/// Loses `r0` to `r5`.
#[track_caller]
pub fn present(
    asm: &mut Assembler,
    ports: MapIndex,
    endpoint: Reg,
    side: Side,
    stale: &impl Target,
) {
    let (whose, why) = match side {
        Side::Source => ("the source's host veth", AWAY),
        Side::Destination => ("the destination's host veth", GONE),
    };
    asm.load_map(R1, ports, "interfaces that are joined");
    asm.mov(R2, endpoint, "key:");
    asm.add(R2, i32::from(value::IFINDEX), whose);
    asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = its port");
    asm.jump_if(R0.eq(0), stale, why);
}

/// Tells the kernel to give the packet to the other end of `endpoint`'s veth; to `stale` if it does not
/// take that. Nothing is written; it takes effect only if the verdict is `TC_ACT_REDIRECT`. Loses `r0` to
/// `r5`.
#[track_caller]
pub fn redirect_peer(asm: &mut Assembler, endpoint: Reg, stale: &impl Target) {
    asm.load(R1, endpoint.u32(value::IFINDEX), "the destination's host veth");
    asm.mov(R2, 0, "no flags");
    asm.call(Helper::REDIRECT_PEER, "r0 = TC_ACT_REDIRECT");
    asm.jump_if(R0.ne(tc::REDIRECT), stale, "never: there are no flags that could be wrong");
}

/// Tells the kernel to send the packet out by `endpoint`'s veth; goes to `stale` if that veth is
/// gone. Nothing is written; it takes effect only if the verdict is `XDP_REDIRECT`. Loses `r0` to `r5`.
#[track_caller]
pub fn redirect(asm: &mut Assembler, ports: MapIndex, endpoint: Reg, stale: &impl Target) {
    asm.load_map(R1, ports, "interfaces that are joined");
    asm.load(R2, endpoint.u32(value::IFINDEX), "key: the destination's host veth");
    asm.mov(R3, xdp::PASS, "verdict if it is not there any more");
    asm.call(Helper::REDIRECT_MAP, "r0 = XDP_REDIRECT, or XDP_PASS");
    asm.jump_if(R0.ne(xdp::REDIRECT), stale, GONE);
}
