//! The checksum that an `xdp_frame` has no room for.
//!
//! A sending stack leaves TCP and UDP checksums to the device (`CHECKSUM_PARTIAL`): the field holds
//! the folded sum of the pseudo-header, not complemented. [`complete`] does what a device would do:
//! sum the segment as it stands, that seed included, fold, complement, store. A checksum that is
//! whole is not touched, so what was corrupt stays corrupt (but for the one in 65 536 whose wrong
//! checksum happens to be the pseudo-header's sum).
//!
//! All sums are of native-order words: the one's complement sum does not care (RFC 1071, 2.B).

use super::{END, Family, PKT};
use crate::assembler::Assembler;
use crate::label::Target;
use crate::net::{eth, ipv4, ipv6, proto, tcp, udp};
use crate::reg::{FP, Pointer, R0, R1, R2, R3, R4, R5, R8, R9, Reg};

/// The segment's first byte.
pub const L4: Reg = R1;
/// Its length in bytes, from the IP header: frames may carry padding after it.
pub const LEN: Reg = R2;
/// The pseudo-header's sum.
const PSEUDO: Reg = R3;
/// TCP or UDP.
const PROTO: Reg = R4;
/// The end of the checksum's field.
const FIELD: Reg = R8;

/// Stack slot of the pseudo-header's sum while registers are short.
const KEPT: i16 = -16;
/// Byte of the stack: where in the packet the segment starts. By way of the stack, a verifier does not know
/// it, nor the next: what follows is the same for it with both families and protocols, and is walked once.
const START: i16 = -5;
/// Byte of the stack: where in the segment the checksum stands.
const CHECK: i16 = -6;

/// Longer segments are not summed: with pages of 4 KiB no frame on a veth has one.
const MAX_LEN: i32 = 4095;
/// Bytes that the loop of [`sum`] takes a round.
const BLOCK: i32 = 256;

/// Prepares [`complete`]: sets `START`, [`LEN`], `PSEUDO` and `PROTO`, or goes to `none` where there is
/// no checksum to complete: ICMP, which the kernel sums itself, and fragments, which it sums before it
/// cuts. Needs a datagram that `parse::ip` let through. Loses `r5`.
pub fn pseudo_header(asm: &mut Assembler, family: Family, none: &impl Target) {
    const IP: i16 = eth::LEN;
    match family {
        Family::V4 => {
            asm.load(R5, PKT.u16(IP + ipv4::FLAGS_FRAGMENT), "flags and fragment offset");
            asm.be16(R5, "in host order");
            asm.jump_if(R5.has(ipv4::FRAGMENT), none, "a fragment");
            asm.load(PROTO, PKT.u8(IP + ipv4::PROTOCOL), "protocol");
            asm.jump_if(PROTO.eq(proto::ICMP), none, "ICMP");
            asm.load(LEN, PKT.u16(IP + ipv4::TOTAL_LENGTH), "total length");
            asm.be16(LEN, "in host order");
            asm.sub(LEN, i32::from(ipv4::LEN), "without the header: the segment's length");
            addresses(asm, IP + ipv4::SRC, 2);
        }
        Family::V6 => {
            asm.load(PROTO, PKT.u8(IP + ipv6::NEXT_HEADER), "next header");
            asm.jump_if(PROTO.eq(proto::ICMPV6), none, "ICMPv6");
            asm.load(LEN, PKT.u16(IP + ipv6::PAYLOAD_LENGTH), "payload length");
            asm.be16(LEN, "in host order: the segment's length");
            addresses(asm, IP + ipv6::SRC, 8);
        }
    }
    // Both fit in 16 bits, where the segment is no longer than a page.
    asm.mov(R5, PROTO, "protocol");
    asm.add(R5, LEN, "+ length");
    asm.be16(R5, "in network order");
    asm.add(PSEUDO, R5, "+ both");
    fold(asm, PSEUDO, R5, 3);
    let header = IP + if family == Family::V4 { ipv4::LEN } else { ipv6::LEN };
    asm.store(FP.u8(START), i32::from(header), "the segment starts after Ethernet and IP");
}

/// `PSEUDO` = sum of `words` 32-bit words at `off`. Loses `r5`.
fn addresses(asm: &mut Assembler, off: i16, words: i16) {
    asm.load(PSEUDO, PKT.u32(off), "source and destination address");
    for word in 1..words {
        asm.load(R5, PKT.u32(off + 4 * word), "next word");
        asm.add(PSEUDO, R5, "+");
    }
}

/// Completes the checksum of the segment that [`pseudo_header`] found; goes on after it.
///
/// - Partial: it is completed. A result of 0 is written as 0xffff, as `skb_checksum_help` does
///   (net/core/dev.c): in UDP 0 would mean that there is none (RFC 768), in TCP both are zero.
/// - TCP, whole: untouched, right or wrong.
/// - UDP, whole or absent: a tunnel's outer header may look so while the checksum *inside* is still
///   partial (Documentation/networking/checksum-offloads.rst, "LCO"). One that does not verify, or
///   has none, goes to `pass`: the kernel still knows what is missing.
///
/// Also to `pass`: segments shorter than their header or longer than `MAX_LEN`. Loses `r0` to `r5`, `r8`,
/// `r9` and 10 bytes of stack.
pub fn complete<T: Target>(asm: &mut Assembler, pass: &T) {
    complete_by(asm, pass, sum);
}

/// [`complete`] with another routine in place of [`sum`].
pub(crate) fn complete_by<T: Target>(
    asm: &mut Assembler,
    pass: &T,
    sum: impl FnOnce(&mut Assembler, &T),
) {
    let (is_tcp, look) = (asm.label("tcp"), asm.label("field"));
    let sum_up = asm.label("sum");
    let whole_udp = asm.label("whole_udp");
    let store = asm.label("store");
    let done = asm.label("complete");

    asm.jump_if(LEN.gt(MAX_LEN), pass, "longer than a page: not ours");
    asm.jump_if(PROTO.eq(proto::TCP), &is_tcp, "TCP");
    header(asm, udp::LEN, udp::CHECK, pass);
    asm.jump(&look, "as in TCP");
    asm.bind(is_tcp);
    header(asm, tcp::LEN, tcp::CHECK, pass);

    asm.bind(look);
    asm.load(L4, FP.u8(START), "where the segment starts");
    asm.add(L4, PKT, "in the packet");
    asm.load(FIELD, FP.u8(CHECK), "where its checksum stands");
    asm.add(FIELD, L4, "in the packet");
    asm.add(FIELD, 2, "and its end");
    asm.jump_if(FIELD.gt(END), pass, "cut short");
    asm.load(R5, FIELD.u16(-2), "the checksum as it stands");
    asm.jump_if(R5.eq(PSEUDO), &sum_up, "partial");
    asm.jump_if(PROTO.eq(proto::TCP), &done, "TCP, whole: right or wrong, it stays");
    asm.jump_if(R5.eq(0), pass, "none: perhaps a tunnel, with one inside that is partial");

    asm.bind(sum_up);
    asm.store(FP.u64(KEPT), PSEUDO, "keep the pseudo-header's sum");
    sum(asm, pass);
    asm.load(PSEUDO, FP.u64(KEPT), "the pseudo-header's sum");
    asm.load(R5, FIELD.u16(-2), "the checksum as it stands");
    asm.jump_if(R5.ne(PSEUDO), &whole_udp, "UDP, whole: does it verify?");
    asm.xor(R0, 0xffff, "complement");
    asm.jump_if(R0.ne(0), &store, "a checksum");
    asm.mov(R0, 0xffff, "the other zero");
    asm.bind(store);
    asm.store(FIELD.u16(-2), R0, "the checksum that a device would have written");
    asm.jump(&done, "complete");

    asm.bind(whole_udp);
    asm.add(R0, PSEUDO, "the segment's sum + the pseudo-header's");
    fold(asm, R0, R5, 1);
    asm.jump_if(R0.ne(0xffff), pass, "wrong: corrupt, or a tunnel's with a partial one inside");
    asm.bind(done);
}

/// A segment no shorter than its header of `len` bytes, which has the checksum at `check`.
#[track_caller]
fn header(asm: &mut Assembler, len: i16, check: i16, pass: &impl Target) {
    asm.jump_if(LEN.lt(i32::from(len)), pass, "shorter than its own header");
    asm.store(FP.u8(CHECK), i32::from(check), "its checksum stands there");
}

/// `r0` = the folded sum of [`LEN`] bytes from [`L4`], in 0..=0xffff; at most 65 535 bytes. Goes to `pass` if
/// the frame ends before them. Loses `r1` to `r5`, `r9`.
///
/// A loop of `BLOCK` bytes, then one chunk for each bit of the rest. Each chunk's place is computed
/// anew from the length, so that the verifier sees the same state before a chunk whichever were taken
/// before it: it walks the chunks once, not once for each of their combinations. Nor once for each number
/// of rounds: `REST` is a difference, and of that a bound tells it nothing of the length.
pub fn sum(asm: &mut Assembler, pass: &impl Target) {
    const REST: Reg = R3;
    const CURSOR: Reg = R4;
    let rest = asm.label("rest");
    let block = asm.label("block");

    asm.mov(R0, 0, "sum of the even words");
    asm.mov(R9, 0, "sum of the odd words: two chains add twice as fast as one");
    asm.mov(CURSOR, L4, "from the segment's first byte");
    asm.mov(REST, 0xffff, "a bit that is set here is a chunk that is not there:");
    asm.sub(REST, LEN, "all of it is still to do");
    asm.jump_if(REST.gt(0xffff - BLOCK), &rest, "less than a block");
    let block = asm.bind(block);
    words(asm, CURSOR, BLOCK, pass);
    asm.add(CURSOR, BLOCK, "next block");
    asm.add(REST, BLOCK, "less to do");
    asm.jump_if(REST.le(0xffff - BLOCK), &block, "another whole block");
    asm.bind(rest);

    for (chunk, skip) in [
        (128, "no128"),
        (64, "no64"),
        (32, "no32"),
        (16, "no16"),
        (8, "no8"),
        (4, "no4"),
        (2, "no2"),
        (1, "no1"),
    ] {
        let skip = asm.label(skip);
        asm.jump_if(REST.has(chunk), &skip, format!("no chunk of {chunk}"));
        asm.mov(CURSOR, LEN, "where it starts:");
        asm.and(CURSOR, -2 * chunk, "after all larger ones");
        asm.add(CURSOR, L4, "in the segment");
        words(asm, CURSOR, chunk, pass);
        asm.bind(skip);
    }
    asm.add(R0, R9, "both sums");
    fold(asm, R0, R5, 3);
}

/// Adds `len` bytes at `cursor` to `r0` and `r9`. Loses `r5`.
pub(super) fn words(asm: &mut Assembler, cursor: Reg, len: i32, pass: &impl Target) {
    asm.mov(R5, cursor, "its end:");
    asm.add(R5, len, format!("{len} bytes on"));
    asm.jump_if(R5.gt(END), pass, "cut short");
    match len {
        1 => {
            asm.load(R5, cursor.u8(0), "the last byte");
            asm.lsh(R5, 8, "is the upper half of a word");
            asm.be16(R5, "in network order");
            asm.add(R0, R5, "+");
        }
        2 => {
            asm.load(R5, cursor.u16(0), "a half word");
            asm.add(R0, R5, "+");
        }
        _ => {
            for off in (0..len as i16).step_by(4) {
                asm.load(R5, cursor.u32(off), "a word");
                asm.add(if off % 8 == 0 { R0 } else { R9 }, R5, "+");
            }
        }
    }
}

/// Folds `sum` to 16 bits by end-around carry, in `rounds`: one for two 16-bit numbers, three for a
/// sum below 2^47. Loses `tmp`.
#[track_caller]
pub fn fold(asm: &mut Assembler, sum: Reg, tmp: Reg, rounds: u8) {
    for _ in 0..rounds {
        asm.mov(tmp, sum, "fold: the carries");
        asm.rsh(tmp, 16, "above 16 bits");
        asm.and(sum, 0xffff, "go to the low end");
        asm.add(sum, tmp, "of the sum");
    }
}
