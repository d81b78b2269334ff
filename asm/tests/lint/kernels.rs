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
        rules(&lint(&bytes(&[mov, skip, Insn::Exit, insn]), &[]).findings)
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
    assert_eq!(rules(&lint(&program(63), &maps).findings), []);
    assert_eq!(rules(&lint(&program(64), &maps).findings), [(0, Rule::Map)]);
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
    let cases: [(i32, Then); 9] = [
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
            let found = lint(&program.bytes(ByteOrder::Little), &[shape.clone(), shape.clone()]);
            let fits = (1..=16).contains(&size);
            assert!(fits || !found.findings.is_empty(), "{size}: {found:?}");
        }
    }
}

/// `MAX_PACKET_OFF`: what is checked further out counts for nothing.
#[test]
fn packet_addresses_at_the_edge() {
    for (len, known) in [(0xffff, true), (0x1_0000, false)] {
        let build = |asm: &mut Assembler| {
            let out = asm.label("out");
            asm.load(R6, R1.u32(xdp_md::DATA), "packet");
            asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
            asm.mov(R2, R6, "packet");
            asm.add(R2, 0x8000, "half of it");
            asm.add(R2, len - 0x8000, "and the rest");
            asm.jump_if(R2.gt(R7), &out, "are there?");
            asm.load(R3, R6.u8(0), HERE);
            asm.bind(out);
            leave(asm);
        };
        if known {
            drop(passes(build));
        } else {
            assert!(!report(build).findings.is_empty());
        }
    }
}
