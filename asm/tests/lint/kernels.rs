//! What kernels refuse for reasons of their own, and what only some of them know.
//! tests/kernel_refuses.rs shows that this machine's kernel does.

use super::*;
use xhop_asm::{ByteOrder, Cond, MapShape, Test};

/// `check_subprogs`: "last insn is not an exit or jmp", although it always jumps.
#[test]
fn the_last_instruction() {
    let back = |insn| {
        let skip = Insn::Jump { off: 1 };
        let mov = Insn::Alu { width: Width::W64, op: AluOp::Mov, dst: R0, src: Operand::Imm(2) };
        rules(&lint(Hook::Xdp, &bytes(&[mov, skip, Insn::Exit, insn]), &[]).findings)
    };
    let always = Test { dst: R0.into(), cond: Cond::Eq, src: Operand::Imm(2) };
    assert_eq!(
        back(Insn::Branch { width: Width::W64, test: always, off: -2 }),
        [(3, Rule::NoExit)]
    );
    assert_eq!(back(Insn::Jump { off: -2 }), []);
}

/// `adjust_ptr_min_max_vals`: "subtraction from stack pointer prohibited".
#[test]
fn nothing_is_subtracted_from_the_frame_pointer() {
    breaks(Rule::PointerArithmetic, |asm| {
        asm.mov(R2, FP, "stack");
        asm.sub(R2, 8, HERE);
        leave(asm);
    });
}

/// `do_check`: "same insn cannot be used with different pointers".
#[test]
fn one_load_of_the_context_and_of_something_else() {
    breaks(Rule::Context, |asm| {
        let (stack, meet) = (asm.label("stack"), asm.label("meet"));
        asm.store(FP.u64(-8), 0, "something");
        asm.load(R3, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.jump_if(R3.eq(1), &stack, "one or the other");
        asm.mov(R2, R1, "the context");
        asm.jump(&meet, "meet");
        asm.bind(stack);
        asm.mov(R2, FP, "the stack");
        asm.add(R2, -8, "there");
        asm.bind(meet);
        asm.load(R4, R2.u32(xdp_md::DATA), HERE);
        leave(asm);
    });
}

/// `mark_pkt_end`, since 5.11: what was compared and lies beyond the end gives access to nothing, whatever was
/// checked before; and once moved back, it is still taken to lie there.
#[test]
fn an_address_beyond_the_end() {
    let beyond_if_taken =
        [(R2, Cond::Gt, R7), (R2, Cond::Ge, R7), (R7, Cond::Lt, R2), (R7, Cond::Le, R2)];
    let beyond_if_not =
        [(R2, Cond::Lt, R7), (R2, Cond::Le, R7), (R7, Cond::Gt, R2), (R7, Cond::Ge, R2)];
    for ((dst, cond, src), taken) in beyond_if_taken
        .map(|test| (test, true))
        .into_iter()
        .chain(beyond_if_not.map(|test| (test, false)))
    {
        breaks(Rule::Uninitialised, |asm| {
            let (beyond, test) =
                (asm.label("taken"), Test { dst: dst.into(), cond, src: src.into() });
            packet(asm, 14);
            asm.mov(R2, R6, "packet");
            asm.add(R2, 14, "fourteen bytes, which were checked");
            asm.jump_if(test, &beyond, "beyond, or not");
            asm.load(
                R3,
                if taken { R6.u8(0) } else { R2.u8(-1) },
                if taken { "fine" } else { HERE },
            );
            leave(asm);
            asm.bind(beyond);
            asm.load(
                R3,
                if taken { R2.u8(-1) } else { R6.u8(0) },
                if taken { HERE } else { "fine" },
            );
            leave(asm);
        });
    }
}

/// `MAX_USED_MAPS`
#[test]
fn maps_by_the_dozen() {
    let map = |index: u8| [0x18, 0x51, 0, 0, index, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let program = |index: u8| {
        let mov = Insn::Alu { width: Width::W64, op: AluOp::Mov, dst: R0, src: Operand::Imm(2) };
        [map(index).to_vec(), bytes(&[mov, Insn::Exit])].concat()
    };
    let maps = vec![MapShape::from(&values()); 65];
    assert_eq!(rules(&lint(Hook::Xdp, &program(63), &maps).findings), []);
    assert_eq!(rules(&lint(Hook::Xdp, &program(64), &maps).findings), [(0, Rule::Map)]);
}

/// Whether the jump of `r2 > bound` is known never to be taken, after `build`.
fn never_above(bound: i32, build: impl FnOnce(&mut Assembler)) -> bool {
    let found = report(|asm| {
        let more = asm.label("more");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "32 bits");
        build(asm);
        asm.jump_if(R2.gt(bound), &more, "can it be?");
        leave(asm);
        asm.bind(more);
        leave(asm);
    })
    .findings;
    assert!(found.iter().all(|finding| finding.rule == Rule::Unreachable), "{found:?}");
    !found.is_empty()
}

/// What is known at least: of the low half only which bits may be set, in older kernels.
#[test]
fn bounds_and_bits() {
    let alu = |asm: &mut Assembler, op, imm| {
        let src = Operand::Imm(imm);
        asm.emit(Insn::Alu { width: Width::W64, op, dst: R2, src }, "compute");
    };
    // What is done with a number up to 100, and up to what it is known to be then.
    type Then<'a> = &'a dyn Fn(&mut Assembler);
    let cases: [(i32, Then); 11] = [
        (100, &|_| {}),
        (127, &|asm| asm.mov32(R2, R2, "the low half")),
        (127, &|asm| alu(asm, AluOp::Or, 1)),
        (127, &|asm| alu(asm, AluOp::Xor, 1)),
        (100, &|asm| alu(asm, AluOp::And, 0xf0)),
        (150, &|asm| asm.add(R2, 50, "more")),
        (25, &|asm| asm.rsh(R2, 2, "a quarter")),
        (31, &|asm| {
            asm.rsh(R2, 2, "a quarter");
            asm.mov32(R2, R2, "the low half");
        }),
        (300, &|asm| asm.mul(R2, 3, "three times")),
        // Less what is not known.
        (200, &|asm| {
            asm.mov(R3, R2, "some");
            asm.and(R3, 7, "up to seven");
            asm.add(R2, 100, "100..=200");
            asm.sub(R2, R3, "93..=200");
        }),
        // Bits that may go out at the top.
        (15, &|asm| {
            asm.and(R2, 7, "up to seven");
            asm.lsh(R2, 61, "to the top");
            asm.rsh(R2, 60, "and back");
        }),
    ];
    for (most, then) in cases {
        let build = |asm: &mut Assembler| {
            let small = asm.label("small");
            asm.jump_if(R2.le(100), &small, "small");
            leave(asm);
            asm.bind(small);
            then(asm);
        };
        assert!(never_above(most, build), "{most}");
        assert!(!never_above(most - 1, build), "{most}");
    }
}

/// 2^32 >> 16 is known of the whole, and all bits up to that one of its low half.
#[test]
fn halves_after_a_shift() {
    let build = |half: bool| {
        move |asm: &mut Assembler| {
            asm.add(R2, 1, "33 bits, of which one is for 2^32 alone");
            asm.rsh(R2, 16, "and less");
            if half {
                asm.mov32(R2, R2, "the low half");
            }
        }
    };
    assert!(never_above(0x1_0000, build(false)) && !never_above(0xffff, build(false)));
    assert!(never_above(0x1_ffff, build(true)) && !never_above(0x1_fffe, build(true)));
}

/// A helper sums whole words from each side, or says EINVAL (before 6.13).
#[test]
fn halves_of_words() {
    for (from, to) in [(2, 2), (6, 2), (1, 3)] {
        breaks(Rule::Call, |asm| {
            asm.store(FP.u64(-8), 0, "something");
            for (reg, len, next) in [(R1, from, R2), (R3, to, R4)] {
                asm.mov(reg, FP, "stack");
                asm.add(reg, -8, "there");
                asm.mov(next, len, "so much");
            }
            asm.mov(R5, 0, "seed");
            asm.call(Helper::CSUM_DIFF, HERE);
            leave(asm);
        });
    }
}

/// Shapes of maps come from files, and may be any.
#[test]
fn maps_of_impossible_shapes() {
    for size in [0, 1, 3, 4, 8, 512, 513, i32::MAX as u32, 1 << 31, u32::MAX - 3, u32::MAX] {
        let shape = MapShape { key_size: size, value_size: size, ..MapShape::from(&values()) };
        for key in [1, 2, 3] {
            let program = assemble(|asm| {
                let none = asm.label("none");
                packet(asm, 14);
                look_up(asm);
                asm.jump_if(R0.eq(0), &none, "none");
                let map = asm.map(MapDecl { name: "more", ..values() });
                asm.load_map(R1, map, "map");
                match key {
                    1 => asm.mov(R2, R6, "packet"),
                    2 => asm.mov(R2, R0, "value"),
                    _ => asm.mov(R2, FP, "stack"),
                }
                asm.add(R2, if key == 3 { -4 } else { 4 }, "somewhere in it");
                asm.call(Helper::MAP_LOOKUP_ELEM, "look up");
                asm.bind(none);
                leave(asm);
            });
            let found =
                lint(Hook::Xdp, &program.bytes(ByteOrder::Little), &[shape.clone(), shape.clone()]);
            let fits = (1..=16).contains(&size);
            assert!(fits || !found.findings.is_empty(), "{size}: {found:?}");
        }
    }
}

/// `MAX_PACKET_OFF`: what is checked further out counts for nothing.
#[test]
fn packet_addresses_at_the_edge() {
    for (mask, fine) in [(0xfffe, true), (0xffff, false)] {
        let build = |asm: &mut Assembler| {
            let out = asm.label("out");
            packet(asm, 14);
            asm.load(R3, R6.u16(0), "any number");
            asm.and(R3, mask, "or any even one");
            asm.add(R3, R6, "so far into the packet");
            asm.mov(R2, R3, "there");
            asm.add(R2, 1, "a byte");
            asm.jump_if(R2.gt(R7), &out, "is it there?");
            asm.load(R4, R3.u8(0), HERE);
            asm.bind(out);
            leave(asm);
        };
        if fine { drop(passes(build)) } else { breaks(Rule::PacketBounds, build) }
    }
    // Nor can an address be further out.
    breaks(Rule::PointerArithmetic, |asm| {
        packet(asm, 14);
        asm.add(R6, 0xffff, "far");
        asm.add(R6, 1, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        packet(asm, 14);
        asm.load(R3, R6.u16(0), "any number");
        asm.mov(R4, R3, "the same");
        asm.add(R4, R6, "far");
        asm.add(R4, R3, HERE);
        leave(asm);
    });
}

/// Kernels before 5.16 take one byte less to be there where it is `<`, not `<=`.
#[test]
fn comparisons_that_say_less() {
    for (cond, fine) in [(Cond::Le, true), (Cond::Lt, false)] {
        let build = |asm: &mut Assembler| {
            let fits = asm.label("fits");
            asm.load(R6, R1.u32(xdp_md::DATA), "packet");
            asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
            asm.mov(R2, R6, "packet");
            asm.add(R2, 14, "and so much");
            asm.jump_if(Test { dst: R2.into(), cond, src: R7.into() }, &fits, "is there");
            leave(asm);
            asm.bind(fits);
            asm.load(R3, R6.u8(13), HERE);
            leave(asm);
        };
        if fine { drop(passes(build)) } else { breaks(Rule::PacketBounds, build) }
    }
}

/// Half a comparison tells nothing of the whole.
#[test]
fn comparisons_of_halves() {
    for (size, fine) in [(R6.u32(0), true), (R6.u64(0), false)] {
        let build = |asm: &mut Assembler| {
            packet(asm, 14);
            asm.load(R3, size, "a number");
            // Over what `leave` is made of.
            let small = Insn::Branch { width: Width::W32, test: R3.le(100), off: 2 };
            asm.emit(small, "its low half is small");
            leave(asm);
            asm.add(R6, R3, HERE);
            leave(asm);
        };
        if fine { drop(passes(build)) } else { breaks(Rule::PointerArithmetic, build) }
    }
}

/// Numbers that are the only ones in their range are not known to all kernels as such.
#[test]
fn ranges_of_one() {
    breaks(Rule::Uninitialised, |asm| {
        let (out, four) = (asm.label("out"), asm.label("four"));
        packet(asm, 14);
        asm.load(R3, R6.u8(0), "a byte");
        asm.jump_if(R3.lt(4), &out, "less");
        asm.jump_if(R3.gt(4), &out, "more");
        asm.jump_if(R3.eq(4), &four, "four");
        asm.mov(R4, R5, HERE);
        asm.bind(four);
        asm.bind(out);
        leave(asm);
    });
}

/// A shift by as many bits as there are, or more, gives anything.
#[test]
fn shifts_by_too_much() {
    for (width, counts) in [(Width::W32, [32, 40, 63, -1]), (Width::W64, [64, 65, 1000, -1])] {
        let ops = [AluOp::Lsh, AluOp::Rsh, AluOp::Arsh];
        for (op, count) in ops.into_iter().flat_map(|op| counts.map(|count| (op, count))) {
            assert!(!never_above(i32::MAX - 1, |asm| {
                asm.and(R2, 1, "a bit");
                asm.mov(R3, count, "so many");
                asm.emit(Insn::Alu { width, op, dst: R2, src: R3.into() }, "shift");
            }));
        }
    }
}
