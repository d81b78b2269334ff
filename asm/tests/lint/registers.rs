//! What registers hold, and what is computed with it.

use super::*;
use xhop_asm::Test;

#[test]
fn registers_that_hold_nothing() {
    breaks(Rule::Uninitialised, |asm| {
        asm.mov(R0, R3, HERE);
        asm.exit("done");
    });
    breaks(Rule::Uninitialised, |asm| asm.exit(HERE));
    // One of two paths is enough.
    breaks(Rule::Uninitialised, |asm| {
        let skip = asm.label("skip");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "unknown");
        asm.jump_if(R2.eq(1), &skip, "sometimes");
        asm.mov(R3, 2, "set");
        asm.bind(skip);
        asm.mov(R0, R3, HERE);
        asm.exit("done");
    });
}

#[test]
fn registers_after_a_call() {
    for (register, lost) in [(R1, true), (R2, true), (R5, true), (R6, false), (R0, false)] {
        let build = |asm: &mut Assembler| {
            for reg in [R1, R2, R3, R4, R5, R6] {
                asm.mov(reg, 0, "null, or nothing");
            }
            asm.call(Helper::CSUM_DIFF, "of nothing");
            asm.mov(R0, register, HERE);
            asm.exit("done");
        };
        if lost { breaks(Rule::Uninitialised, build) } else { drop(passes(build)) }
    }
}

#[test]
fn arithmetic_on_addresses() {
    breaks(Rule::PointerArithmetic, |asm| {
        asm.mul(R1, 2, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        asm.mov32(R2, R1, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        asm.add(R1, 4, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "up to 2^32");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.add(R6, R2, HERE);
        leave(asm);
    });
    breaks(Rule::NullCheck, |asm| {
        look_up(asm);
        asm.add(R0, 4, HERE);
        leave(asm);
    });
}

#[test]
fn constants() {
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.div(R2, 0, HERE);
        leave(asm);
    });
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.modulo32(R2, 0, HERE);
        leave(asm);
    });
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.lsh(R2, 64, HERE);
        leave(asm);
    });
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.rsh32(R2, 32, HERE);
        leave(asm);
    });
}

/// Values that only look alike are not taken for the same: an operation on half a register, and one whose
/// result depends on more than the range.
#[test]
fn widths() {
    breaks(Rule::PointerArithmetic, |asm| {
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.lsh(R2, 32, "in the upper half");
        asm.emit(
            Insn::Alu { width: Width::W64, op: AluOp::Or, dst: R2, src: Operand::Imm(1) },
            "and one",
        );
        asm.add(R6, R2, HERE);
        leave(asm);
    });
}

#[test]
fn addresses_are_kept_from_others() {
    breaks(Rule::PointerLeak, |asm| {
        asm.mov(R0, R1, "an address");
        asm.exit(HERE);
    });
    breaks(Rule::PointerLeak, |asm| {
        packet(asm, 14);
        asm.store(R6.u64(0), R6, HERE);
        leave(asm);
    });
    breaks(Rule::PointerLeak, |asm| {
        let none = asm.label("none");
        look_up(asm);
        asm.jump_if(R0.eq(0), &none, "none");
        asm.store(R0.u64(0), FP, HERE);
        asm.bind(none);
        leave(asm);
    });
    breaks(Rule::PointerLeak, |asm| {
        let out = asm.label("out");
        asm.jump_if(R1.eq(0), &out, HERE);
        asm.bind(out);
        leave(asm);
    });
}

/// Whether it is known that `test` of a byte in `r3` never holds, on one way after `first`.
fn never(first: Test, taken: bool, test: Test) -> bool {
    let program = assemble(|asm| {
        let (way, then) = (asm.label("way"), asm.label("then"));
        let ask = |asm: &mut Assembler| {
            asm.jump_if(test, &then, "does it hold?");
            leave(asm);
        };
        packet(asm, 14);
        asm.load(R3, R6.u8(0), "a byte");
        asm.jump_if(first, &way, "one way or the other");
        if taken {
            leave(asm)
        } else {
            ask(asm)
        }
        asm.bind(way);
        if taken {
            ask(asm)
        } else {
            leave(asm)
        }
        asm.bind(then);
        asm.exit("r0 is not set: found where it can be reached");
    });
    let found = lint_program(&program).findings;
    !found.iter().any(|finding| finding.rule == Rule::Uninitialised)
}

#[test]
fn what_comparisons_tell() {
    let table = [
        (R3.gt(10), (11, 255), (0, 10)),
        (R3.ge(10), (10, 255), (0, 9)),
        (R3.lt(10), (0, 9), (10, 255)),
        (R3.le(10), (0, 10), (11, 255)),
        (R3.eq(10), (10, 10), (0, 255)),
        (R3.ne(10), (0, 255), (10, 10)),
        (R3.has(10), (0, 255), (0, 255)),
    ];
    for (first, taken, not) in table {
        for (way, (min, max)) in [(true, taken), (false, not)] {
            let never = |test| never(first, way, test);
            let what = format!("{first:?} {way}");
            assert!(never(R3.gt(max)) && !never(R3.gt(max - 1)), "{what}: not above {max}");
            assert!(never(R3.ge(max + 1)) && !never(R3.ge(max)), "{what}: not above {max}");
            assert!(!never(R3.lt(min + 1)) && !never(R3.le(min)), "{what}: down to {min}");
            if min > 0 {
                assert!(never(R3.lt(min)) && never(R3.le(min - 1)), "{what}: not below {min}");
            }
        }
    }
}

#[test]
fn addresses_that_move() {
    // There and back.
    let facts = passes(|asm| {
        packet(asm, 14);
        asm.mov(R3, R6, "packet");
        asm.add(R3, 20, "on");
        asm.sub(R3, 10, "and back");
        asm.load(R4, R3.u8(3), "a byte");
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.reads), ["eth.type[13..14]"]);
    // By two numbers that are not known, and one that is.
    let facts = passes(|asm| {
        let out = asm.label("out");
        packet(asm, 14);
        asm.load(R3, R6.u8(0), "a byte");
        asm.and(R3, 7, "up to seven");
        asm.add(R3, 4, "4..=11");
        asm.load(R4, R6.u8(1), "another");
        asm.and(R4, 15, "up to 15");
        asm.add(R3, R6, "into the packet");
        asm.add(R3, R4, "and further");
        asm.add(R3, 2, "and further");
        asm.mov(R2, R3, "there");
        asm.add(R2, 4, "four bytes");
        asm.jump_if(R2.gt(R7), &out, "are there?");
        asm.store(R3.u32(0), 0, "written");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["frame[6..32]"]);
}
