//! Sums by the kernel's own checksum code: `bpf_csum_diff`.

use super::checksum::{LEN, fold, words};
use super::{END, PKT};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::label::Target;
use crate::net::{eth, ipv4};
use crate::reg::{FP, Operand, Pointer, R0, R1, R2, R3, R4, R5, R8, R9, Reg};

/// Where a segment in a plain IPv4 frame starts.
const SEGMENT: i16 = eth::LEN + ipv4::LEN;
/// Stack slot of r8: few registers outlive a call.
const KEPT: i16 = -32;
/// Bytes that a call sums on all kernels; 6.13 takes any number.
const MOST: i32 = 512;

/// In place of [`checksum::sum`](super::checksum::sum), which says what it needs and gives; of an IPv4
/// segment of at most 4095 bytes. Loses `r1` to `r5`, `r9`, and 8 bytes of stack.
///
/// A verifier wants to see that the bytes of a call are there, and can't where their number varies: so each
/// bit of the length has calls of its own, with constant sizes. The last one to three bytes, which are no whole word, are
/// loaded.
pub fn sum(asm: &mut Assembler, pass: &impl Target) {
    const SUM: Reg = R8;
    const ALL: Reg = R9;
    const CURSOR: Reg = R3;
    asm.store(FP.u64(KEPT), R8, "r8 comes back at the end");
    asm.mov(ALL, LEN, "its length, kept over calls");
    asm.mov(SUM, 0, "nothing is summed");
    for (chunk, take, skip) in [
        (2048, "take2048", "no2048"),
        (1024, "take1024", "no1024"),
        (512, "take512", "no512"),
        (256, "take256", "no256"),
        (128, "take128", "no128"),
        (64, "take64", "no64"),
        (32, "take32", "no32"),
        (16, "take16", "no16"),
        (8, "take8", "no8"),
        (4, "take4", "no4"),
        (2, "take2", "no2"),
        (1, "take1", "no1"),
    ] {
        let (take, skip) = (asm.label(take), asm.label(skip));
        asm.jump_if(ALL.has(chunk), &take, format!("a chunk of {chunk}"));
        asm.jump(&skip, "none");
        asm.bind(take);
        for call in 0..(chunk / MOST).max(1) {
            asm.mov(CURSOR, ALL, "where it starts:");
            asm.and(CURSOR, -2 * chunk, "after all larger ones");
            asm.add(CURSOR, PKT, "in the packet");
            asm.add(
                CURSOR,
                i32::from(SEGMENT) + call * MOST,
                "in the segment, after earlier calls",
            );
            if chunk < 4 {
                asm.mov(R0, SUM, "the sum so far");
                words(asm, CURSOR, chunk, pass);
            } else {
                add(asm, chunk.min(MOST), SUM, pass);
            }
            asm.mov(SUM, R0, "the sum so far");
        }
        asm.bind(skip);
    }
    asm.mov(R0, SUM, "the sum of all");
    fold(asm, R0, R5, 3);
    asm.load(R8, FP.u64(KEPT), "r8 as it was");
}

/// `r0` = the folded sum of the first `len` bytes of an IPv4 segment, by one call. Above 0xffff before kernel 6.13
/// where `len` is above 512: it is `-EINVAL`. Goes to `pass` if the frame ends before them. Loses `r1` to `r5`.
pub fn one_call(asm: &mut Assembler, len: i32, pass: &impl Target) {
    asm.mov(R3, PKT, "the packet");
    asm.add(R3, i32::from(SEGMENT), "the segment");
    add(asm, len, 0, pass);
}

/// `r0` = `bpf_csum_diff(0, 0, r3, len, seed)`, if these bytes are there.
fn add(asm: &mut Assembler, len: i32, seed: impl Into<Operand>, pass: &impl Target) {
    asm.mov(R5, R3, "its end:");
    asm.add(R5, len, format!("{len} bytes on"));
    asm.jump_if(R5.gt(END), pass, "cut short");
    asm.mov(R1, 0, "nothing to take off");
    asm.mov(R2, 0, "of no length");
    asm.mov(R4, len, format!("{len} bytes"));
    asm.mov(R5, seed, "on top of");
    asm.call(Helper::CSUM_DIFF, "add them");
}
