//! Captures: of each packet its verdict and its first bytes, to whoever reads the ring.
//!
//! By the one kind of ring that programs may write to whose licence is not the GPL's, for which the record has to lie
//! in one piece: in `scratch`.

use super::{PKT, skb};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::hook::Hook;
use crate::label::Target;
use crate::map::{MapDecl, MapIndex, MapKind};
use crate::reg::{FP, Pointer, R0, R1, R2, R3, R4, R8, Reg};
use crate::tc::sk_buff;
use crate::xdp::xdp_md;

/// Offsets in a record, numbers in the machine's order.
pub mod record {
    /// `CLOCK_MONOTONIC` in nanoseconds, `u64`.
    pub const TIME: i16 = 0;
    /// A [`Verdict`](crate::blocks::count::Verdict), `u32`.
    pub const VERDICT: i16 = 8;
    /// Bytes of the frame, of which fewer may be there, `u32`.
    pub const BYTES: i16 = 12;
    /// The host veth that it came in by, `u32`.
    pub const IFINDEX: i16 = 16;
    /// The packet's first bytes, up to the record's end.
    pub const PACKET: i16 = 20;
}

/// Offsets in the value of `tally`, each a `u64` in the machine's order.
pub mod tally {
    /// How many packets came by.
    pub const SEEN: i16 = 0;
    /// Of how many of them nothing is told, since the ring had no room.
    pub const LOST: i16 = 8;
    /// How many bytes of a packet are told at most: 1 to [`SNAPLEN_MAX`](super::SNAPLEN_MAX).
    pub const SNAPLEN: i16 = 16;
    /// Bytes of the value.
    pub const SIZE: usize = 24;
}

/// The most bytes of a packet that are told: with what goes before them they have to lie in one value of a
/// per-CPU map (`PCPU_MIN_UNIT_SIZE`, 32 KiB).
pub const SNAPLEN_MAX: u32 = 32_000;
/// Bytes of the ring: a power of two.
pub const RING: u32 = 4 << 20;
/// Stack slots: of the context, where [`skb`] keeps none, and of the time.
const CTX: i16 = -64;
const TIME: i16 = -40;

/// `tally`: one value, of which each CPU has its own.
pub fn tally() -> MapDecl {
    let value_size = tally::SIZE as u32;
    MapDecl {
        name: "tally",
        kind: MapKind::PercpuArray,
        key_size: 4,
        value_size,
        max_entries: 1,
        flags: 0,
    }
}

/// `scratch`: where a record is put together.
pub fn scratch() -> MapDecl {
    MapDecl { name: "scratch", value_size: record::PACKET as u32 + SNAPLEN_MAX, ..tally() }
}

/// `ring`: what is told, in its order.
pub fn ring() -> MapDecl {
    let kind = MapKind::Ringbuf;
    MapDecl { name: "ring", kind, key_size: 0, value_size: 0, max_entries: RING, flags: 0 }
}

/// Keeps the context that is in `r1`, for [`tell`]. Programs of traffic control do by themselves.
#[track_caller]
pub fn keep(asm: &mut Assembler) {
    asm.store(FP.u64(CTX), R1, "keep the context");
}

/// Tells of the packet, of so many `bytes`, with the verdict that is in `r8`. Of a frame in pieces `bytes` are those
/// of the first. Loses `r0` to `r5`, `bytes`, the packet and the verdict.
#[track_caller]
pub fn tell(asm: &mut Assembler, hook: Hook, bytes: Reg) {
    const TALLY: Reg = PKT;
    const SCRATCH: Reg = R8;
    let (tally_map, scratch_map, ring_map) =
        (asm.map(tally()), asm.map(scratch()), asm.map(ring()));
    let (told, lost, fits) = (asm.label("told"), asm.label("lost"), asm.label("fits"));

    if hook == Hook::XdpFrags {
        context(asm, hook);
        asm.call(Helper::XDP_GET_BUFF_LEN, "r0 = bytes of all pieces");
        asm.mov(bytes, R0, "bytes of the frame");
    }
    asm.call(Helper::KTIME_GET_NS, "r0 = now");
    asm.store(FP.u64(TIME), R0, "keep it");
    of_this_cpu(asm, tally_map, "the capture's tally", &told);
    asm.mov(TALLY, R0, "the tally");
    one_more(asm, TALLY, tally::SEEN, "packets");
    of_this_cpu(asm, scratch_map, "room for a record", &lost);
    head(asm, hook, R8, bytes);
    asm.mov(SCRATCH, R0, "the record");

    asm.load(R1, TALLY.u64(tally::SNAPLEN), "the most bytes that are told");
    asm.jump_if(bytes.le(R1), &fits, "it has no more");
    asm.mov(bytes, R1, "no more of it");
    asm.bind(fits);
    asm.jump_if(bytes.lt(1), &lost, "never: a frame has a header");
    asm.jump_if(bytes.gt(SNAPLEN_MAX as i32), &lost, "never: no more are asked for");
    context(asm, hook);
    asm.mov(R2, 0, "from its first byte on");
    asm.mov(R3, SCRATCH, "into the record:");
    asm.add(R3, i32::from(record::PACKET), "after its head");
    asm.mov(R4, bytes, "so many");
    let copy = match hook {
        Hook::Tc => Helper::SKB_LOAD_BYTES,
        Hook::Xdp | Hook::XdpFrags => Helper::XDP_LOAD_BYTES,
    };
    asm.call(copy, "r0 = 0 if they are there");
    asm.jump_if(R0.ne(0), &lost, "never: there are as many");
    asm.load_map(R1, ring_map, "the ring");
    asm.mov(R2, SCRATCH, "the record");
    asm.mov(R3, bytes, "its bytes: of the packet");
    asm.add(R3, i32::from(record::PACKET), "and its head");
    asm.mov(R4, 0, "no flags: who waits is woken");
    asm.call(Helper::RINGBUF_OUTPUT, "r0 = 0, or there is no room");
    asm.jump_if(R0.eq(0), &told, "it is told");

    asm.bind(lost);
    one_more(asm, TALLY, tally::LOST, "lost");
    asm.bind(told);
}

/// `r1` = the context.
#[track_caller]
fn context(asm: &mut Assembler, hook: Hook) {
    let slot = if hook == Hook::Tc { skb::CTX } else { CTX };
    asm.load(R1, FP.u64(slot), "the context");
}

/// `r0` = this CPU's value of a map that has one entry.
#[track_caller]
fn of_this_cpu(asm: &mut Assembler, map: MapIndex, what: &'static str, none: &impl Target) {
    asm.store(FP.u32(-4), 0, "key: there is one");
    asm.load_map(R1, map, what);
    asm.mov(R2, FP, "key:");
    asm.add(R2, -4, "on the stack");
    asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = this CPU's");
    asm.jump_if(R0.eq(0), none, "never: it has this entry");
}

/// Counts up. Loses `r1`.
#[track_caller]
fn one_more(asm: &mut Assembler, tally: Reg, off: i16, what: &'static str) {
    asm.load(R1, tally.u64(off), what);
    asm.add(R1, 1, "one more");
    asm.store(tally.u64(off), R1, "count it");
}

/// Writes what goes before the packet at `r0`. Loses `r1`.
#[track_caller]
fn head(asm: &mut Assembler, hook: Hook, verdict: Reg, bytes: Reg) {
    let ifindex = if hook == Hook::Tc { sk_buff::IFINDEX } else { xdp_md::INGRESS_IFINDEX };
    asm.load(R1, FP.u64(TIME), "when it came");
    asm.store(R0.u64(record::TIME), R1, "the time");
    asm.store(R0.u32(record::VERDICT), verdict, "the verdict");
    asm.store(R0.u32(record::BYTES), bytes, "bytes of the frame");
    context(asm, hook);
    asm.load(R1, R1.u32(ifindex), "the veth that it came in by");
    asm.store(R0.u32(record::IFINDEX), R1, "the veth");
}
