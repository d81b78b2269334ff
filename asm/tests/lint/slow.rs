//! Programs that are made to be slow: what is said of them comes soon.

use std::time::{Duration, Instant};

use super::*;
use xhop_asm::{R9, Reg};

/// In a debug build on a busy machine; a release build takes about a second.
const SOON: Duration = Duration::from_secs(30);

/// The lint comes to an end, soon.
#[track_caller]
fn soon(bytes: &[u8]) -> Report {
    let start = Instant::now();
    let report = lint(Hook::Xdp, bytes, &[]);
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}, {} steps", report.facts.steps);
    report
}

/// There is too much of it, and that is said soon.
#[track_caller]
fn too_complex(build: impl FnOnce(&mut Assembler)) {
    let report = soon(&assemble(build).bytes(ByteOrder::Little));
    assert_eq!(rules(&report.findings), [(0, Rule::TooComplex)]);
}

/// A loop of as many rounds as may be.
fn many(asm: &mut Assembler, each: impl FnOnce(&mut Assembler)) {
    asm.mov(R8, 0, "count");
    let again = asm.label("again");
    let again = asm.bind(again);
    each(asm);
    asm.add(R8, 1, "one more");
    asm.jump_if(R8.lt(i32::MAX), &again, "again");
}

fn fill_stack(asm: &mut Assembler) {
    for slot in 1..=64 {
        asm.store(FP.u64(-8 * slot), R1, "the context");
    }
}

const LABELS: [&str; 24] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x",
];

#[test]
fn many_rounds() {
    too_complex(|asm| {
        many(asm, |_| {});
        leave(asm);
    });
    // Places where paths meet, and states that are large.
    too_complex(|asm| {
        asm.load(R3, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        fill_stack(asm);
        many(asm, |asm| {
            for name in LABELS {
                let label = asm.label(name);
                asm.jump_if(R3.eq(1), &label, "skip nothing");
                asm.bind(label);
            }
        });
        leave(asm);
    });
}

/// 2^24 paths, no two of which do the same.
#[test]
fn many_paths() {
    too_complex(|asm| {
        asm.load(R3, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        fill_stack(asm);
        asm.mov(R8, 0, "which");
        for (bit, name) in LABELS.into_iter().enumerate() {
            let label = asm.label(name);
            asm.jump_if(R3.has(1 << bit), &label, "one or the other");
            asm.add(R8, 1 << bit, "this one");
            asm.bind(label);
        }
        asm.mov(R0, R8, "verdict");
        asm.exit("done");
    });
}

#[test]
fn many_verdicts() {
    too_complex(|asm| {
        let out = asm.label("out");
        asm.load(R3, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        many(asm, |asm| {
            asm.mov(R0, R8, "count");
            asm.lsh(R0, 1, "only even ones");
            asm.jump_if(R3.eq(1), &out, "out");
        });
        asm.bind(out);
        asm.exit("done");
    });
}

/// Every other byte is read.
#[test]
fn many_places() {
    too_complex(|asm| {
        let out = asm.label("out");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
        asm.mov(R4, R6, "packet");
        asm.mov(R9, 0, "count");
        many(asm, |asm| {
            asm.add(R4, 2, "further");
            asm.jump_if(R4.gt(R7), &out, "is it there?");
            asm.load(R3, R4.u8(-2), "a byte");
        });
        asm.bind(out);
        leave(asm);
    });
}

fn set(dst: Reg, value: i32) -> Insn {
    Insn::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Operand::Imm(value) }
}

/// As many jumps back as are walked, and more.
#[test]
fn many_loops() {
    for (loops, rule) in
        [(256, None), (257, Some(Rule::TooComplex)), (2000, Some(Rule::TooComplex))]
    {
        let mut insns = vec![set(R8, 0)];
        for n in 1..=loops {
            let one = Operand::Imm(1);
            insns.push(Insn::Alu { width: Width::W64, op: AluOp::Add, dst: R8, src: one });
            insns.push(Insn::Branch { width: Width::W64, test: R8.lt(2 * n), off: -2 });
        }
        insns.extend([set(R0, 0), Insn::Exit]);
        let report = soon(&bytes(&insns));
        assert_eq!(report.findings.first().map(|finding| finding.rule), rule);
        assert!(rule.is_some() || report.facts.loops.len() == 256);
    }
    // From everywhere to one place.
    let mut insns = vec![
        Insn::Load { dst: R3, mem: R1.u32(xdp_md::INGRESS_IFINDEX) },
        set(R8, 0),
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: R8, src: Operand::Imm(1) },
    ];
    for at in 3..259_i16 {
        insns.push(Insn::Branch { width: Width::W64, test: R3.has(i32::from(at)), off: 1 - at });
    }
    insns.extend([set(R0, 0), Insn::Exit]);
    assert_eq!(rules(&soon(&bytes(&insns)).findings), [(0, Rule::TooComplex)]);
}

/// A finding at every third instruction, on every path.
#[test]
fn many_findings() {
    let mut insns = vec![Insn::Load { dst: R3, mem: R1.u32(xdp_md::INGRESS_IFINDEX) }];
    for _ in 0..1300 {
        insns.push(Insn::Branch { width: Width::W64, test: R3.has(1), off: 1 });
        insns.push(Insn::Jump { off: 1 });
        let nothing = Operand::from(R5);
        insns.push(Insn::Alu { width: Width::W64, op: AluOp::Mov, dst: R0, src: nothing });
    }
    insns.extend([set(R0, 0), Insn::Exit]);
    assert_eq!(soon(&bytes(&insns)).findings.len(), 1300);
}
