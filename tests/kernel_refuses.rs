//! Programs that harm nothing, and that kernels refuse all the same for reasons of their own: the lint does
//! too, and this kernel shows that it must.

mod lab;

use lab::{lab, load_xdp};
use xhop_asm::lint::{Rule, lint_program};
use xhop_asm::xdp::{self, xdp_md};
use xhop_asm::{Assembler, ByteOrder, FP, Pointer, R0, R1, R2, R3, R4, R6, R7};

/// The lint finds that the rule is broken, and the kernel's log says so in these words.
#[track_caller]
fn refused(rule: Rule, log: &str, build: impl FnOnce(&mut Assembler)) {
    let mut asm = Assembler::new("quirk");
    build(&mut asm);
    let program = asm.finish().expect("assembles");
    match load_xdp("quirk", &program.bytes(ByteOrder::NATIVE), &[]) {
        Ok(_) => panic!("the kernel takes it, and not for {log:?}"),
        Err(said) => assert!(said.contains(log), "{said}"),
    }
    let found = lint_program(&program).findings;
    assert!(found.iter().any(|finding| finding.rule == rule), "{log}: {found:?}");
}

fn leave(asm: &mut Assembler) {
    asm.mov(R0, xdp::PASS, "verdict");
    asm.exit("done");
}

#[test]
fn what_kernels_refuse_for_reasons_of_their_own() {
    lab("what_kernels_refuse_for_reasons_of_their_own", |_| {
        refused(Rule::NoExit, "last insn is not an exit or jmp", |asm| {
            let (over, back) = (asm.label("over"), asm.label("back"));
            asm.mov(R0, xdp::PASS, "verdict");
            asm.jump(&over, "to the end");
            let back = asm.bind(back);
            asm.exit("done");
            asm.bind(over);
            asm.jump_if(R0.eq(xdp::PASS), &back, "always");
        });
        refused(Rule::PointerArithmetic, "subtraction from stack pointer prohibited", |asm| {
            asm.mov(R2, FP, "stack");
            asm.sub(R2, 8, "in a way that no kernel likes");
            leave(asm);
        });
        refused(Rule::Context, "same insn cannot be used with different pointers", |asm| {
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
            asm.load(R4, R2.u32(xdp_md::DATA), "either");
            leave(asm);
        });
        // Since 5.11.
        refused(Rule::Uninitialised, "R2 offset is outside of the packet", |asm| {
            let (short, beyond) = (asm.label("short"), asm.label("beyond"));
            asm.load(R6, R1.u32(xdp_md::DATA), "packet");
            asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
            asm.mov(R2, R6, "packet");
            asm.add(R2, 14, "fourteen bytes");
            asm.jump_if(R2.gt(R7), &short, "are there?");
            asm.jump_if(R2.ge(R7), &beyond, "and more?");
            leave(asm);
            asm.bind(beyond);
            asm.load(R4, R2.u8(-1), "the last");
            asm.bind(short);
            leave(asm);
        });
    });
}
