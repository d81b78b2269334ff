//! Where a program goes: jumps, loops, ends, and what no kernel runs.

use super::*;

#[test]
fn code_that_is_never_reached() {
    breaks(Rule::Unreachable, |asm| {
        leave(asm);
        asm.exit(HERE);
    });
    // Not even if a jump leads there that is never taken.
    breaks(Rule::Unreachable, |asm| {
        let never = asm.label("never");
        asm.mov(R0, xdp::PASS, "verdict");
        asm.jump_if(R0.eq(xdp::DROP), &never, "no");
        asm.exit("done");
        asm.bind(never);
        asm.exit(HERE);
    });
}

#[test]
fn paths_without_exit() {
    breaks(Rule::NoExit, |asm| asm.mov(R0, xdp::PASS, HERE));
    assert_eq!(rules(&lint(Hook::Xdp, &[], &[]).findings), [(0, Rule::NoExit)]);
}

#[test]
fn jumps_to_nowhere() {
    let wide = Insn::LoadImm64 { dst: R0, imm: 0 };
    for (off, rule) in [(-2, true), (4, true), (1, true), (0, false), (2, false)] {
        let code = bytes(&[Insn::Jump { off }, wide, Insn::Exit]);
        let found = lint(Hook::Xdp, &code, &[]).findings;
        assert_eq!(found.contains(&at(&found, Rule::JumpTarget)), rule, "{off}: {found:?}");
    }
}

fn at(findings: &[Finding], rule: Rule) -> Finding {
    let found = findings.iter().find(|finding| finding.rule == rule).cloned();
    found.unwrap_or(Finding { slot: usize::MAX, rule, what: String::new() })
}

#[test]
fn outside_the_subset() {
    let outside = [
        vec![0xff; 8],                                              // no instruction
        vec![0xdb, 0x0a, 0xf8, 0xff, 0, 0, 0, 0],                   // lock *(u64 *)(r10 - 8) += r0
        vec![0xbf, 0x10, 0x08, 0, 0, 0, 0, 0],                      // r0 = (s8)r1
        vec![0xd7, 0x00, 0, 0, 0x10, 0, 0, 0],                      // r0 = bswap16 r0
        vec![0x85, 0x10, 0, 0, 0, 0, 0, 0],                         // call pc+0
        vec![0x18, 0x10, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // a map's descriptor
        vec![0x95, 0, 0, 0],                                        // half an exit
    ];
    for code in outside {
        let found = lint(Hook::Xdp, &[code.clone(), bytes(&[Insn::Exit])].concat(), &[]).findings;
        assert_eq!(found.first().map(|f| (f.slot, f.rule)), Some((0, Rule::Subset)), "{code:02x?}");
    }
    breaks(Rule::Subset, |asm| {
        asm.mov(R2, 1, "one");
        asm.add32(R2, 1, HERE);
        leave(asm);
    });
    breaks(Rule::Subset, |asm| {
        let out = asm.label("out");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.jump_if(R2.eq(-1), &out, HERE);
        asm.bind(out);
        leave(asm);
    });
}

#[test]
fn loops_that_may_never_end() {
    breaks(Rule::Endless, |asm| {
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        let again = asm.label("again");
        let again = asm.bind(again);
        asm.jump_if(R2.ne(7), &again, HERE);
        leave(asm);
    });
    // Something changes, but not to the end that is waited for.
    breaks(Rule::Endless, |asm| {
        let again = asm.label("again");
        asm.load(R6, R1.u32(xdp_md::RX_QUEUE_INDEX), "a number");
        asm.mov(R7, R1, "context");
        let again = asm.bind(again);
        asm.load(R2, R7.u32(xdp_md::INGRESS_IFINDEX), HERE);
        asm.rsh(R6, 1, "less");
        asm.jump_if(R2.ne(R6), &again, "until they meet");
        leave(asm);
    });
    // It ends, after longer than anybody wants to wait.
    let found = report(|asm| {
        asm.mov(R2, 0, "count");
        let again = asm.label("again");
        let again = asm.bind(again);
        asm.add(R2, 1, "one more");
        asm.jump_if(R2.lt(1 << 24), &again, "again");
        leave(asm);
    });
    assert_eq!(rules(&found.findings), [(0, Rule::TooComplex)]);
}
