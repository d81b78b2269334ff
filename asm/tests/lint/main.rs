//! The lint: each rule has a program that breaks it, and what is said of those that break none is true.

use xhop_asm::blocks::endpoint;
use xhop_asm::lint::{Finding, Loop, Report, Rule, lint, lint_program};
use xhop_asm::programs::Shipped;
use xhop_asm::xdp::{self, xdp_md};
use xhop_asm::{
    AluOp, Assembler, ByteOrder, FP, Helper, Hook, Insn, MapDecl, MapKind, Operand, Pointer, R0,
    R1, R2, R3, R4, R5, R6, R7, R8, Width,
};

mod code;
mod constants;
mod facts;
mod fuzz;
mod kernels;
mod meet;
mod memory;
mod registers;
mod slow;
mod tc;

/// The comment of the instruction that breaks the rule.
const HERE: &str = "here";

fn assemble(build: impl FnOnce(&mut Assembler)) -> xhop_asm::Program {
    assemble_on(Hook::Xdp, build)
}

fn assemble_on(hook: Hook, build: impl FnOnce(&mut Assembler)) -> xhop_asm::Program {
    let mut asm = Assembler::on(hook, "test");
    build(&mut asm);
    asm.finish().expect("assembles")
}

fn report(build: impl FnOnce(&mut Assembler)) -> Report {
    lint_program(&assemble(build))
}

/// The program breaks this rule, and no other, at the instruction that is marked [`HERE`].
#[track_caller]
fn breaks(rule: Rule, build: impl FnOnce(&mut Assembler)) {
    breaks_on(Hook::Xdp, rule, build);
}

#[track_caller]
fn breaks_on(hook: Hook, rule: Rule, build: impl FnOnce(&mut Assembler)) {
    let program = assemble_on(hook, build);
    let mut slot = 0;
    let marked = program.lines().iter().find_map(|line| {
        slot += line.insn.slots();
        (line.comment == HERE).then(|| slot - line.insn.slots())
    });
    let found = lint_program(&program).findings;
    let said: Vec<(usize, Rule)> = found.iter().map(|f| (f.slot, f.rule)).collect();
    assert_eq!(said, [(marked.expect("a marked instruction"), rule)], "{found:?}");
}

/// The same without the mistake is let through.
#[track_caller]
fn passes(build: impl FnOnce(&mut Assembler)) -> Report {
    let report = report(build);
    assert_eq!(report.findings, [], "{:?}", report.findings);
    report
}

fn leave(asm: &mut Assembler) {
    asm.mov(R0, xdp::PASS, "verdict");
    asm.exit("done");
}

/// `r6` = packet, `r7` = its end; goes on with `len` bytes known to be there.
fn packet(asm: &mut Assembler, len: i32) {
    let enough = asm.label("enough");
    asm.load(R6, R1.u32(xdp_md::DATA), "packet");
    asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
    asm.mov(R2, R6, "packet");
    asm.add(R2, len, "so many bytes");
    asm.jump_if(R2.le(R7), &enough, "are there");
    leave(asm);
    asm.bind(enough);
}

fn values() -> MapDecl {
    MapDecl {
        name: "values",
        kind: MapKind::Hash,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        flags: 0,
    }
}

/// `r0` = a value of `values`, or NULL.
fn look_up(asm: &mut Assembler) {
    let map = asm.map(values());
    asm.store(FP.u32(-4), 7, "key");
    asm.load_map(R1, map, "map");
    asm.mov(R2, FP, "key:");
    asm.add(R2, -4, "on the stack");
    asm.call(Helper::MAP_LOOKUP_ELEM, "look it up");
}

#[test]
fn all_that_is_shipped_is_well() {
    for shipped in Shipped::ALL {
        let report = lint_program(&shipped.program().expect("assembles"));
        assert_eq!(report.findings, [], "{}: {:?}", shipped.name(), report.findings);
    }
}

fn texts(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn rules(findings: &[Finding]) -> Vec<(usize, Rule)> {
    findings.iter().map(|finding| (finding.slot, finding.rule)).collect()
}

fn bytes(insns: &[Insn]) -> Vec<u8> {
    let mut bytes = Vec::new();
    insns.iter().for_each(|insn| insn.encode(ByteOrder::Little, &mut bytes));
    bytes
}
