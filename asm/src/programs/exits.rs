//! How programs on a host's veth end: each verdict is counted, then returned as the kernel's action.

use crate::Label;
use crate::assembler::Assembler;
use crate::blocks::count::{self, Verdict};
use crate::blocks::{END, PKT, capture, skb};
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
    pub(super) fn leave(self, asm: &mut Assembler, hook: Hook, told: Told) {
        let Self { pass, stale, spoofed } = self;
        let others =
            [(spoofed, Verdict::Spoofed), (stale, Verdict::Stale), (pass, Verdict::Passed)];
        leave(asm, hook, told, others.map(|(label, verdict)| (label, verdict, Fate::Kernel)));
    }
}

/// What becomes of what is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The kernel gets it: the endpoints may be older than the network, and a packet that is dropped for that
    /// would be missed.
    Kernel,
    /// XDP drops it: nobody would miss it, and the kernel would send it round.
    Drop,
}

/// Whether each packet is told of with its verdict, to whoever captures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// Only counted.
    No,
    /// Told; the context must have been kept ([`capture::keep`]).
    Yes,
}

/// The same, with just these exits besides.
pub(super) fn leave(
    asm: &mut Assembler,
    hook: Hook,
    told: Told,
    others: impl IntoIterator<Item = (Label, Verdict, Fate)>,
) {
    let stats = asm.map(count::stats());
    let (count_it, counted) = (asm.label("count"), asm.label("counted"));

    let redirect = match hook {
        Hook::Xdp | Hook::XdpFrags => (xdp::REDIRECT, "XDP_REDIRECT"),
        Hook::Tc => (tc::REDIRECT, "TC_ACT_REDIRECT"),
    };
    verdict(asm, Verdict::Forwarded, redirect);
    for (label, other, fate) in others {
        asm.jump(&count_it, "count it");
        asm.bind(label);
        let left = match (hook, fate) {
            (Hook::Xdp | Hook::XdpFrags, Fate::Kernel) => (xdp::PASS, "XDP_PASS"),
            (Hook::Xdp | Hook::XdpFrags, Fate::Drop) => (xdp::DROP, "XDP_DROP"),
            (Hook::Tc, Fate::Kernel) => (tc::UNSPEC, "TC_ACT_UNSPEC: who is next decides"),
            (Hook::Tc, Fate::Drop) => (tc::SHOT, "TC_ACT_SHOT"),
        };
        verdict(asm, other, left);
    }

    asm.bind(count_it);
    match hook {
        Hook::Xdp | Hook::XdpFrags => asm.sub(END, PKT, "bytes of the frame"),
        Hook::Tc => skb::length(asm, END),
    }
    count::count(asm, stats, VERDICT, END, counted);
    if told == Told::Yes {
        capture::tell(asm, hook, END);
    }
    asm.mov(R0, ACTION, "the action");
    asm.exit("done");
}

#[track_caller]
fn verdict(asm: &mut Assembler, verdict: Verdict, (action, name): (i32, &'static str)) {
    asm.mov(VERDICT, verdict as i32, format!("verdict: {}", verdict.name()));
    asm.mov(ACTION, action, name);
}
