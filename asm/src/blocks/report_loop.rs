//! The baseline: the checksum routine of the report that this project began with.

use super::checksum::{LEN, fold};
use super::{END, PKT};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::net::{eth, ipv4};
use crate::reg::{FP, Pointer, R0, R1, R2, R3, R4, R5, R9, Reg};

/// The report's routine in C, as clang 14 compiles it (`-O2`): its loop instruction by instruction, what
/// stands before and after in substance. `r0` = the checksum, complemented, of an IPv4 segment that starts 34 bytes into the
/// packet and ends with the frame.
///
/// Four `bpf_csum_diff` for the pseudo-header, then two bytes at a time up to the frame's end. Needs
/// the IP header and [`LEN`]; [`PKT`] and [`END`] hold the frame. Loses `r0` to `r5`, `r9`, and 8 bytes
/// of stack.
pub fn report_loop(asm: &mut Assembler) {
    const MAX_TCP_LENGTH: i32 = 1480;
    const IP: i16 = eth::LEN;
    const SEGMENT: i16 = IP + ipv4::LEN;
    asm.mov(R9, LEN, "the segment's length, kept over calls");
    asm.mov(R5, 0, "seed");
    asm.mov(R3, PKT, "the packet");
    asm.add(R3, i32::from(IP + ipv4::SRC), "source address");
    diff(asm);
    asm.mov(R3, PKT, "the packet");
    asm.add(R3, i32::from(IP + ipv4::DST), "destination address");
    diff(asm);
    asm.load(R4, PKT.u8(IP + ipv4::PROTOCOL), "protocol");
    on_stack(asm, R4);
    diff(asm);
    on_stack(asm, R9);
    diff(asm);

    let (odd, out, next) = (asm.label("odd"), asm.label("out"), asm.label("loop"));
    let last = asm.label("last");
    asm.mov(R0, R5, "csum");
    asm.mov(R1, PKT, "buf");
    asm.add(R1, i32::from(SEGMENT), "= the segment");
    asm.mov(R2, R1, "buf");
    asm.add(R2, 2, "+ 1");
    asm.jump_if(R2.gt(END), &odd, "the frame ends");
    asm.mov(R1, 0, "i");
    asm.mov(R9, 0, "i, as the address needs it");
    let next = asm.bind(next);
    asm.mov(R2, PKT, "the packet");
    asm.add(R2, R9, "+ i");
    asm.load(R3, R2.u16(SEGMENT), "*buf");
    asm.add(R0, R3, "csum += *buf");
    asm.add(R1, 2, "i += 2");
    asm.lsh(R9, 32, "i is an int:");
    asm.rsh(R9, 32, "32 bits");
    asm.jump_if(R9.gt(MAX_TCP_LENGTH - 3), &last, "no more than MAX_TCP_LENGTH");
    asm.add(R2, i32::from(SEGMENT) + 4, "buf + 1");
    asm.mov(R9, R1, "i");
    asm.jump_if(END.ge(R2), &next, "the frame goes on");
    asm.bind(last);
    asm.mov(R2, PKT, "the packet");
    asm.add(R2, R1, "+ i");
    asm.add(R2, i32::from(SEGMENT), "= buf");
    asm.mov(R1, R2, "buf");
    asm.bind(odd);
    asm.mov(R2, R1, "buf");
    asm.add(R2, 1, "+ 1 byte");
    asm.jump_if(R2.gt(END), &out, "no odd byte");
    asm.load(R3, R1.u8(0), "the odd byte");
    asm.add(R0, R3, "csum += *(u8 *)buf");
    asm.bind(out);
    fold(asm, R0, R5, 3);
    asm.xor(R0, 0xffff, "complement");
}

/// `r5` = `bpf_csum_diff(0, 0, r3, 4, r5)`
#[track_caller]
fn diff(asm: &mut Assembler) {
    asm.mov(R1, 0, "nothing to take off");
    asm.mov(R2, 0, "of no length");
    asm.mov(R4, 4, "4 bytes");
    asm.call(Helper::CSUM_DIFF, "add them");
    asm.mov(R5, R0, "the sum is the next seed");
}

/// `r3` = the address of `value` on the stack, as a 32-bit number in network order.
#[track_caller]
fn on_stack(asm: &mut Assembler, value: Reg) {
    asm.be16(value, "in network order");
    asm.store(FP.u32(-8), value, "on the stack");
    asm.mov(R3, FP, "its address:");
    asm.add(R3, -8, "on the stack");
}
