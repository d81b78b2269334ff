//! How programs on a host's veth end: each verdict is counted, then returned as the kernel's action.

use crate::Label;
use crate::assembler::Assembler;
use crate::blocks::count::{self, Verdict};
use crate::blocks::{END, PKT, skb};
use crate::hook::Hook;
use crate::reg::{R0, R8, R9, Reg};
use crate::{tc, xdp};

/// The verdict that is counted.
const VERDICT: Reg = R8;
/// The action that is returned.
const ACTION: Reg = R9;

/// One for each verdict but to forward.
pub(super) struct Exits {
    pub(super) pass: Label,
    pub(super) stale: Label,
    pub(super) spoofed: Label,
}

impl Exits {
    pub(super) fn new(asm: &mut Assembler) -> Self {
        Self { pass: asm.label("pass"), stale: asm.label("stale"), spoofed: asm.label("spoofed") }
    }

    /// The end of a program on this hook, which begins where what is forwarded goes on.
    pub(super) fn leave(self, asm: &mut Assembler, hook: Hook) {
        let Self { pass, stale, spoofed } = self;
        let others =
            [(spoofed, Verdict::Spoofed), (stale, Verdict::Stale), (pass, Verdict::Passed)];
        leave(asm, hook, others);
    }
}

/// The same, with just these exits besides.
pub(super) fn leave<const N: usize>(
    asm: &mut Assembler,
    hook: Hook,
    others: [(Label, Verdict); N],
) {
    let stats = asm.map(count::stats());
    let (count_it, counted) = (asm.label("count"), asm.label("counted"));

    verdict(asm, hook, Verdict::Forwarded);
    for (label, other) in others {
        asm.jump(&count_it, "count it");
        asm.bind(label);
        verdict(asm, hook, other);
    }

    asm.bind(count_it);
    match hook {
        Hook::Xdp | Hook::XdpFrags => asm.sub(END, PKT, "bytes of the frame"),
        Hook::Tc => skb::length(asm, END),
    }
    count::count(asm, stats, VERDICT, END, counted);
    asm.mov(R0, ACTION, "the action");
    asm.exit("done");
}

/// All but what is forwarded goes to the kernel: the endpoints may be older than the network, and a
/// packet that is dropped for that would be missed.
#[track_caller]
fn verdict(asm: &mut Assembler, hook: Hook, verdict: Verdict) {
    asm.mov(VERDICT, verdict as i32, format!("verdict: {}", verdict.name()));
    match (hook, verdict) {
        (Hook::Xdp | Hook::XdpFrags, Verdict::Forwarded) => {
            asm.mov(ACTION, xdp::REDIRECT, "XDP_REDIRECT")
        }
        (Hook::Xdp | Hook::XdpFrags, _) => asm.mov(ACTION, xdp::PASS, "XDP_PASS"),
        (Hook::Tc, Verdict::Forwarded) => asm.mov(ACTION, tc::REDIRECT, "TC_ACT_REDIRECT"),
        (Hook::Tc, _) => asm.mov(ACTION, tc::UNSPEC, "TC_ACT_UNSPEC: who is next decides"),
    }
}
