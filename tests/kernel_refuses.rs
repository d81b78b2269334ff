//! Programs that harm nothing, and that kernels refuse all the same for reasons of their own: the lint does
//! too, and this kernel shows that it must.

mod lab;

use std::os::fd::{AsFd, AsRawFd};

use lab::lab;
use lab::raw::{Raw, load};
use xhop::sys::bpf::Map;
use xhop_asm::blocks::endpoint;
use xhop_asm::lint::{Rule, lint_program};
use xhop_asm::tc::sk_buff;
use xhop_asm::xdp::{self, xdp_md};
use xhop_asm::{Assembler, ByteOrder, FP, Helper, Hook, Pointer, R0, R1, R2, R3, R4, R6, R7};

/// The lint finds that the rule is broken, and the kernel's log says so in these words.
#[track_caller]
fn refused(rule: Rule, log: &str, build: impl FnOnce(&mut Assembler)) {
    refused_on(Hook::Xdp, rule, log, build);
}

#[track_caller]
fn refused_on(hook: Hook, rule: Rule, log: &str, build: impl FnOnce(&mut Assembler)) {
    let mut asm = Assembler::on(hook, "quirk");
    build(&mut asm);
    let program = asm.finish().expect("assembles");
    let maps: Vec<Map> =
        program.maps().iter().map(|decl| Map::create(decl).expect("a map")).collect();
    let fd_array: Vec<i32> = maps.iter().map(|map| map.as_fd().as_raw_fd()).collect();
    let (kind, insns) = (hook.prog_type(), program.bytes(ByteOrder::NATIVE));
    let raw = Raw { kind, name: "quirk", insns: &insns, fd_array: &fd_array, ..Raw::default() };
    match load(&raw) {
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

/// `redirect_peer` with flags is not here: kernels take that, and drop the packet.
#[test]
fn what_belongs_to_another_hook() {
    lab("what_belongs_to_another_hook", |_| {
        for hook in [Hook::Xdp, Hook::XdpFrags] {
            refused_on(hook, Rule::Context, "invalid bpf_context access", |asm| {
                asm.load(R2, R1.u32(sk_buff::IFINDEX), "of an skb");
                leave(asm);
            });
            for (helper, name) in [
                (Helper::SKB_CHANGE_TYPE, "bpf_skb_change_type#32"),
                (Helper::CSUM_LEVEL, "bpf_csum_level#135"),
                (Helper::REDIRECT_PEER, "bpf_redirect_peer#155"),
            ] {
                refused_on(hook, Rule::Call, name, |asm| call(asm, helper));
            }
        }
        refused_on(Hook::Tc, Rule::Call, "bpf_xdp_adjust_tail#65", |asm| {
            call(asm, Helper::XDP_ADJUST_TAIL)
        });
        refused_on(Hook::Tc, Rule::Call, "bpf_redirect_map#51", |asm| {
            let ports = asm.map(endpoint::ports());
            asm.load_map(R1, ports, "ports");
            asm.mov(R3, 0, "no flags");
            call(asm, Helper::REDIRECT_MAP);
        });
        refused_on(Hook::Tc, Rule::Context, "invalid bpf_context access", |asm| {
            asm.store(R1.u32(sk_buff::PKT_TYPE), 0, "by a helper only");
            leave(asm);
        });
        for helper in [Helper::SKB_CHANGE_TYPE, Helper::CSUM_LEVEL] {
            refused_on(Hook::Tc, Rule::Call, "R1 type=fp expected=ctx", |asm| {
                asm.mov(R1, FP, "no context");
                call(asm, helper);
            });
        }
        refused_on(Hook::Tc, Rule::ValueBounds, "write into map forbidden", |asm| {
            let none = asm.label("none");
            let ports = asm.map(endpoint::ports());
            asm.store(FP.u32(-4), 1, "key");
            asm.load_map(R1, ports, "ports");
            asm.mov(R2, FP, "key:");
            asm.add(R2, -4, "on the stack");
            asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = an interface");
            asm.jump_if(R0.eq(0), &none, "none");
            asm.store(R0.u32(0), 2, "another");
            asm.bind(none);
            leave(asm);
        });
    });
}

fn call(asm: &mut Assembler, helper: Helper) {
    asm.mov(R2, 0, "a number");
    asm.call(helper, "the call");
    leave(asm);
}
