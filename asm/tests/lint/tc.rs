//! What differs from hook to hook.

use super::*;
use xhop_asm::tc::{self, sk_buff};

/// All of them.
const HOOKS: [Hook; 3] = [Hook::Tc, Hook::Xdp, Hook::XdpFrags];

#[test]
fn fields_of_the_context() {
    // As include/uapi/linux/bpf.h counts them.
    for (hook, fields) in [
        (Hook::Tc, &[0, 4, 20, 40, 76, 80][..]),
        (Hook::Xdp, &[0, 4, 12, 16]),
        (Hook::XdpFrags, &[0, 4, 12, 16]),
    ] {
        for off in (0..200).step_by(4) {
            let program = assemble_on(hook, |asm| {
                asm.load(R2, R1.u32(off), "a field");
                leave(asm);
            });
            let found = rules(&lint_program(&program).findings);
            let expected = if fields.contains(&off) { vec![] } else { vec![(0, Rule::Context)] };
            assert_eq!(found, expected, "{hook:?}: {off}");
        }
    }
}

/// As `tc_cls_act_is_valid_access` has it, of what is of use to who is next.
#[test]
fn what_may_be_written_to_the_context() {
    for hook in HOOKS {
        for off in (0..192).step_by(4) {
            let program = assemble_on(hook, |asm| {
                asm.mov(R2, 0, "a number");
                asm.store(R1.u32(off), R2, "a field");
                leave(asm);
            });
            let found = rules(&lint_program(&program).findings);
            let may = hook == Hook::Tc && [8, 32].contains(&off);
            assert_eq!(
                found,
                if may { vec![] } else { vec![(1, Rule::Context)] },
                "{hook:?} {off}"
            );
        }
    }
    breaks_on(Hook::Tc, Rule::Context, |asm| {
        asm.store(R1.u32(sk_buff::MARK), 0, HERE);
        leave(asm);
    });
    breaks_on(Hook::Tc, Rule::Context, |asm| {
        asm.mov(R2, 0, "a number");
        asm.store(R1.u16(sk_buff::MARK), R2, HERE);
        leave(asm);
    });
    breaks_on(Hook::Tc, Rule::PointerLeak, |asm| {
        asm.store(R1.u32(sk_buff::MARK), FP, HERE);
        leave(asm);
    });
    // The kernel makes another of it: it must be one on all paths.
    breaks_on(Hook::Tc, Rule::Context, |asm| {
        let (stack, store) = (asm.label("stack"), asm.label("store"));
        asm.mov(R2, 0, "a number");
        asm.load(R3, R1.u32(sk_buff::LEN), "some number");
        asm.jump_if(R3.eq(7), &stack, "now and then");
        asm.jump(&store, "else");
        asm.bind(stack);
        asm.mov(R1, FP, "the stack");
        asm.add(R1, -64, "somewhere");
        asm.bind(store);
        asm.store(R1.u32(sk_buff::MARK), R2, HERE);
        leave(asm);
    });
}

#[test]
fn helpers_of_each_hook() {
    let call = |hook, helper: Helper| {
        let program = assemble_on(hook, |asm| {
            match helper {
                Helper::REDIRECT_PEER => asm.mov(R1, 7, "ifindex"),
                Helper::REDIRECT_MAP => {
                    let ports = asm.map(endpoint::ports());
                    asm.load_map(R1, ports, "ports");
                }
                _ => {}
            }
            asm.mov(R2, 0, "a number");
            asm.mov(R3, 0, "a number");
            asm.call(helper, HERE);
            leave(asm);
        });
        lint_program(&program).findings.iter().map(|found| found.rule).collect::<Vec<_>>()
    };
    for hook in HOOKS {
        for (helper, tc) in [
            (Helper::SKB_CHANGE_TYPE, true),
            (Helper::CSUM_LEVEL, true),
            (Helper::REDIRECT_PEER, true),
            (Helper::REDIRECT_MAP, false),
            (Helper::XDP_ADJUST_TAIL, false),
        ] {
            let fits = tc == (hook == Hook::Tc);
            let expected = if fits { vec![] } else { vec![Rule::Call] };
            assert_eq!(call(hook, helper), expected, "{hook:?}: {helper}");
        }
    }
}

#[test]
fn arguments() {
    breaks_on(Hook::Tc, Rule::Call, |asm| {
        asm.mov(R1, 7, "ifindex");
        asm.mov(R2, 1, "flags, of which there are none");
        asm.call(Helper::REDIRECT_PEER, HERE);
        leave(asm);
    });
    breaks_on(Hook::Tc, Rule::Call, |asm| {
        asm.load(R2, R1.u32(sk_buff::LEN), "some number");
        asm.mov(R1, 7, "ifindex");
        asm.call(Helper::REDIRECT_PEER, HERE);
        leave(asm);
    });
    for helper in [Helper::SKB_CHANGE_TYPE, Helper::CSUM_LEVEL] {
        breaks_on(Hook::Tc, Rule::Call, |asm| {
            asm.mov(R1, FP, "no context");
            asm.mov(R2, tc::PACKET_HOST, "a number");
            asm.call(helper, HERE);
            leave(asm);
        });
    }
}

/// The interfaces in a devmap may be read: the kernel alone writes them.
#[test]
fn values_of_a_devmap() {
    let interface = |asm: &mut Assembler, none: &xhop_asm::Label| {
        let ports = asm.map(endpoint::ports());
        asm.store(FP.u32(-4), 7, "key");
        asm.load_map(R1, ports, "ports");
        asm.mov(R2, FP, "key:");
        asm.add(R2, -4, "on the stack");
        asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = an interface");
        asm.jump_if(R0.eq(0), none, "none");
    };
    for hook in HOOKS {
        let reads = assemble_on(hook, |asm| {
            let none = asm.label("none");
            interface(asm, &none);
            asm.load(R2, R0.u32(0), "its index");
            asm.bind(none);
            leave(asm);
        });
        assert_eq!(lint_program(&reads).findings, []);
        breaks_on(hook, Rule::ValueBounds, |asm| {
            let none = asm.label("none");
            interface(asm, &none);
            asm.store(R0.u32(0), 8, HERE);
            asm.bind(none);
            leave(asm);
        });
    }
}

#[test]
fn verdicts_by_hook() {
    for (hook, said) in
        [(Hook::Tc, "TC_ACT_UNSPEC"), (Hook::Xdp, "4294967295"), (Hook::XdpFrags, "4294967295")]
    {
        let program = assemble_on(hook, |asm| {
            asm.mov(R0, tc::UNSPEC, "verdict");
            asm.exit("done");
        });
        assert_eq!(lint_program(&program).facts.verdicts.named(hook), said);
    }
}
