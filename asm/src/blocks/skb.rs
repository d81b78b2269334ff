//! What traffic control programs do with their skb. The context stays on the stack, at `CTX`.

use super::{END, PKT};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::label::Target;
use crate::reg::{FP, Pointer, R0, R1, R2, Reg};
use crate::tc::{self, sk_buff};

/// Stack slot of the context.
pub(super) const CTX: i16 = -16;

/// Fills [`PKT`] and [`END`] from the context in `r1`, which it keeps, and `ifindex` with the interface's
/// index; to `pass` if there is a VLAN tag, which does not stand in the packet. `END` is the end of the
/// part that lies in one piece: all headers do, in what a stack sends. Loses `r2`.
#[track_caller]
pub fn context(asm: &mut Assembler, ifindex: Reg, pass: &impl Target) {
    asm.store(FP.u64(CTX), R1, "keep the context");
    asm.load(ifindex, R1.u32(sk_buff::IFINDEX), "the veth that it came in by");
    asm.load(PKT, R1.u32(sk_buff::DATA), "the packet");
    asm.load(END, R1.u32(sk_buff::DATA_END), "the end of what lies there");
    asm.load(R2, R1.u32(sk_buff::VLAN_PRESENT), "a VLAN tag beside the packet?");
    asm.jump_if(R2.ne(0), pass, "VLANs are the bridge's");
}

/// The packet is for whom it is given to: on the host's side its address was nobody's, and a receiver
/// drops `PACKET_OTHERHOST`. Kernels from 6.16 do it themselves. Loses `r0` to `r5`.
#[track_caller]
pub fn to_this_host(asm: &mut Assembler) {
    asm.load(R1, FP.u64(CTX), "the context");
    asm.mov(R2, tc::PACKET_HOST, "PACKET_HOST");
    asm.call(Helper::SKB_CHANGE_TYPE, "the receiver must not take it for another's");
}

/// What was noted beside the packet in this namespace is nobody's affair in the next, as on any veth's way
/// there (`____dev_forward_skb`); kernels from 6.16 clear all but these two. Loses `r1`, `r2`.
///
/// When it came or is to go stays: a receive time is told some microseconds early, a departure time any veth
/// keeps.
#[track_caller]
pub fn forget_notes(asm: &mut Assembler) {
    asm.load(R1, FP.u64(CTX), "the context");
    asm.mov(R2, 0, "as in a new packet");
    asm.store(R1.u32(sk_buff::MARK), R2, "the mark is for rules of this namespace");
    asm.store(R1.u32(sk_buff::PRIORITY), R2, "and so is the priority");
}

/// `len` = bytes of the frame. Loses `r1`.
#[track_caller]
pub fn length(asm: &mut Assembler, len: Reg) {
    asm.load(R1, FP.u64(CTX), "the context");
    asm.load(len, R1.u32(sk_buff::LEN), "bytes of the frame");
}

/// Marks the packet's checksum as one that is known to be right, if none of it is known to be; else to
/// `known`: one more would vouch for what is inside a tunnel. Loses `r0` to `r5`.
#[track_caller]
pub fn trust_checksum(asm: &mut Assembler, known: &impl Target) {
    asm.load(R1, FP.u64(CTX), "the context");
    asm.mov(R2, tc::CSUM_LEVEL_QUERY, "BPF_CSUM_LEVEL_QUERY");
    asm.call(Helper::CSUM_LEVEL, "r0 = how many are known to be right, or an error");
    asm.jump_if(R0.le(tc::CSUM_LEVEL_MAX), known, "GRO has looked at it already");
    asm.load(R1, FP.u64(CTX), "the context");
    asm.mov(R2, tc::CSUM_LEVEL_INC, "BPF_CSUM_LEVEL_INC");
    asm.call(Helper::CSUM_LEVEL, "CHECKSUM_NONE becomes CHECKSUM_UNNECESSARY");
}
