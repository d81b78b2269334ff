//! Counters: packets and bytes by verdict, for the container whose veth runs the program.

use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::label::Label;
use crate::map::{MapDecl, MapIndex, MapKind};
use crate::reg::{FP, Pointer, R0, R1, R2, Reg};

/// What became of a packet: its place in `stats`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// Redirected to the destination's veth.
    Forwarded = 0,
    /// Left to the kernel: not joined, or not understood.
    Passed = 1,
    /// Left to the kernel: the destination is joined, but its veth is gone. Between members of a chain: dropped,
    /// as what is on its way there bears the mark.
    Stale = 2,
    /// Left to the kernel: the source address belongs to another joined container. Between members of a chain:
    /// dropped, as it bears a mark and is none of the chain's.
    Spoofed = 3,
}

/// All of [`Verdict`], in the order of `stats`.
pub const VERDICTS: [Verdict; 4] =
    [Verdict::Forwarded, Verdict::Passed, Verdict::Stale, Verdict::Spoofed];

impl Verdict {
    /// Its name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Passed => "passed",
            Self::Stale => "stale",
            Self::Spoofed => "spoofed",
        }
    }
}

/// Offsets in a value of `stats`: two `u64` in the machine's order.
pub mod value {
    /// Packets.
    pub const PACKETS: i16 = 0;
    /// Bytes of their frames, without preamble and checksum.
    pub const BYTES: i16 = 8;
    /// Bytes of a value.
    pub const SIZE: usize = 16;
}

/// `stats`: one per container, indexed by [`Verdict`]. Per CPU: no atomics are needed.
pub fn stats() -> MapDecl {
    MapDecl {
        name: "stats",
        kind: MapKind::PercpuArray,
        key_size: 4,
        value_size: value::SIZE as u32,
        max_entries: VERDICTS.len() as u32,
        flags: 0,
    }
}

/// Counts a packet of so many `bytes` under the verdict in `slot`. Loses `r0` to `r5` and 4 bytes of stack.
/// Goes on at `done`, which it binds.
#[track_caller]
pub fn count(asm: &mut Assembler, stats: MapIndex, slot: Reg, bytes: Reg, done: Label) {
    asm.store(FP.u32(-4), slot, "key: the verdict");
    asm.load_map(R1, stats, "this container's counters");
    asm.mov(R2, FP, "key:");
    asm.add(R2, -4, "on the stack");
    asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = this CPU's packets and bytes");
    asm.jump_if(R0.eq(0), &done, "never: every verdict has a slot");
    asm.load(R1, R0.u64(value::PACKETS), "packets");
    asm.add(R1, 1, "one more");
    asm.store(R0.u64(value::PACKETS), R1, "count it");
    asm.load(R1, R0.u64(value::BYTES), "bytes");
    asm.add(R1, bytes, "and these");
    asm.store(R0.u64(value::BYTES), R1, "count them");
    asm.bind(done);
}
