//! `chain-in` and `next`, which [`ABOUT`], [`NEXT`] and [`CONTRACT`] describe.

use super::Shipped;
use super::exits::leave;
use crate::assembler::Assembler;
use crate::blocks::count::Verdict;
use crate::blocks::{chain, endpoint, parse};
use crate::error::Error;
use crate::hook::Hook;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R8, R9, Reg};

/// What `chain-in` does.
pub(super) const ABOUT: &str = "\
From a NIC into the first container of a chain: what is for one of the chain's addresses, be it all or just a
protocol or a port of it. It gets the mark of the chain as its Ethernet source, and the container's address as
its destination; nothing else is written. Where a member is gone, nothing goes in: it all goes to the kernel.";

/// What `next` does.
pub(super) const NEXT: &str = "\
From the host side of a chain's member to the next member: what the container sends back by XDP_TX, which is
what bears the mark, if it is still for one of the chain's addresses. What the container sends of itself goes to
the kernel as it came.";

/// The registers of both.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     its end; once the verdict is known, bytes of the frame
r8     the header that is looked at until it is known to match, then the verdict that is counted
r9     the ingress interface, then the hop from there until the decision, then the action";

const AT: Reg = R8;
const HOP: Reg = R9;

/// The program on the NIC.
pub fn chain_in() -> Result<Program, Error> {
    assemble(Shipped::ChainIn)
}

/// The program on a member's host side.
pub fn next() -> Result<Program, Error> {
    assemble(Shipped::Next)
}

fn assemble(shipped: Shipped) -> Result<Program, Error> {
    let mut asm = Assembler::new(shipped.name());
    let (pass, stale) = (asm.label("pass"), asm.label("stale"));
    // In the order in which they are used: so the kernel lists them.
    let [hops, matches] = [chain::hops(), chain::matches()].map(|decl| asm.map(decl));
    let ports = asm.map(endpoint::ports());

    parse::context(&mut asm, HOP);
    parse::within(&mut asm, eth::LEN, &pass, "too short for Ethernet");
    if shipped == Shipped::Next {
        let (swapped, marked) = (asm.label("swapped"), asm.label("marked"));
        chain::marked(&mut asm, eth::SRC, &swapped);
        asm.jump(&marked, "as it was sent in");
        asm.bind(swapped);
        chain::marked(&mut asm, eth::DST, &pass);
        asm.bind(marked);
    }
    chain::hop_from(&mut asm, hops, HOP, &pass);
    asm.mov(HOP, R0, "the hop from here");
    chain::matched(&mut asm, matches, AT, &pass);
    chain::whole(&mut asm, ports, HOP, &stale);
    endpoint::redirect(&mut asm, ports, HOP, &stale);
    chain::address(&mut asm, HOP);
    leave(&mut asm, Hook::Xdp, [(stale, Verdict::Stale), (pass, Verdict::Passed)]);
    asm.finish()
}
