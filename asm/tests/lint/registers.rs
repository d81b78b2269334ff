//! What registers hold, and what is computed with it.

use super::*;

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
