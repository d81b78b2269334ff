//! The programs of service chains on the host's side, each described by a constant here.

use super::Shipped;
use super::exits::{Fate, Told, leave};
use crate::Label;
use crate::assembler::Assembler;
use crate::blocks::chain::{self, As};
use crate::blocks::count::Verdict;
use crate::blocks::endpoint::{self, Side};
use crate::blocks::{PKT, parse};
use crate::error::Error;
use crate::hook::Hook;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R8, R9, Reg};

/// What `chain-in` does.
pub(super) const IN: &str = "\
From a NIC into the first container of a chain: what is for one of the chain's addresses, be it all or just a
protocol or a port of it. It gets the mark of the chain as its Ethernet source, and the container's address as
its destination; nothing else is written. Where a member is gone, nothing goes in: it all goes to the kernel.";

/// What `next` does.
pub(super) const NEXT: &str = "\
From the host side of a chain's member to the next member: what the container sends back by XDP_TX, which is
what bears the mark, if it is still for one of the chain's addresses. If it is not, or a member is gone, it is
dropped: the kernel gets nothing with a mark on it, as a bridge would send it to other members, and these back
to the bridge, without an end. What the container sends of itself goes to the kernel as it came.";

/// What `next+back` does besides.
pub(super) const NEXT_BACK: &str = "\
What bears the mark of the way back goes to the member before. From the first one, or to a member itself, it goes to
the kernel, as if the container had sent it: without the mark.";

/// What `back-in` does.
pub(super) const BACK_IN: &str = "\
From the host side of a chain's last member back to the one before it: what it sends from one of the chain's
addresses and ports. It gets the mark of the way back as its Ethernet source and keeps its destination.";

/// The registers of all.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     its end; once the verdict is known, bytes of the frame
r8     the header that is looked at until it is known to match, or where the Ethernet address is of whom it
       was sent to; then the verdict that is counted
r9     the ingress interface, then the hop from there until the decision, then the action";

const AT: Reg = R8;
/// On the way back.
const TO: Reg = R8;
const HOP: Reg = R9;

/// The program on the NIC.
pub fn chain_in() -> Result<Program, Error> {
    let (mut asm, exits) = begin(Shipped::ChainIn);
    inward(&mut asm, &exits.pass, &exits.stale);
    end(asm, exits)
}

/// The program on the host side of a member but the last.
pub fn next() -> Result<Program, Error> {
    let (mut asm, exits) = begin(Shipped::Next);
    let (other, forwarded) = (asm.label("other_way"), asm.label("forwarded"));
    let strayed = asm.label("strayed");
    marked(&mut asm, chain::MARK, ["swapped", "marked"], &other);
    inward(&mut asm, &strayed, &exits.stale);
    asm.jump(&forwarded, "done");
    asm.bind(other);
    // `bounce` answers to that mark too, and nobody is on that way here.
    marked(&mut asm, chain::BACK, ["swapped_back", "marked_back"], &exits.pass);
    asm.jump(&strayed, "there is no way back");
    asm.bind(forwarded);
    end_between(asm, exits, strayed, None)
}

/// The same where answers go back.
pub fn next_back() -> Result<Program, Error> {
    let (mut asm, exits) = begin(Shipped::NextBack);
    let (other, forwarded) = (asm.label("other_way"), asm.label("forwarded"));
    let (strayed, left) = (asm.label("strayed"), asm.label("left"));
    marked(&mut asm, chain::MARK, ["swapped", "marked"], &other);
    inward(&mut asm, &strayed, &exits.stale);
    asm.jump(&forwarded, "as on the way back");
    asm.bind(other);
    backward(&mut asm, &exits.pass, &strayed, &left, forwarded);
    end_between(asm, exits, strayed, Some(left))
}

/// The program on the host side of the last member where answers go back.
pub fn back_in() -> Result<Program, Error> {
    let (mut asm, exits) = begin(Shipped::BackIn);
    let hops = asm.map(chain::hops_back());
    let matches = asm.map(chain::matches());
    let ports = asm.map(endpoint::ports());
    let all_there = asm.label("all_there");

    chain::hop_from(&mut asm, hops, HOP, &exits.pass);
    asm.mov(HOP, R0, "the hop from here");
    chain::matched(&mut asm, matches, AT, Side::Source, &exits.pass);
    asm.mov(TO, PKT, "whom it is sent to");
    chain::onward(&mut asm, HOP, TO, &exits.pass);
    chain::whole(&mut asm, ports, HOP, all_there, &exits.stale);
    endpoint::redirect(&mut asm, ports, HOP, &exits.stale);
    chain::address_back(&mut asm, HOP, TO, As::Marked);
    end(asm, exits)
}

struct Exits {
    pass: Label,
    stale: Label,
}

fn begin(shipped: Shipped) -> (Assembler, Exits) {
    let mut asm = Assembler::new(shipped.name());
    let exits = Exits { pass: asm.label("pass"), stale: asm.label("stale") };
    parse::context(&mut asm, HOP);
    parse::within(&mut asm, eth::LEN, &exits.pass, "too short for Ethernet");
    (asm, exits)
}

fn end(mut asm: Assembler, exits: Exits) -> Result<Program, Error> {
    let Exits { pass, stale } = exits;
    let others = [(stale, Verdict::Stale, Fate::Kernel), (pass, Verdict::Passed, Fate::Kernel)];
    leave(&mut asm, Hook::Xdp, Told::No, others);
    asm.finish()
}

/// The same between members, where nothing that bears a mark goes to the kernel: what is `strayed`, and none of the
/// chain's, and what is stale. Elsewhere the kernel gets what is not understood; but the marks are our own, and
/// members answer to them whoever has sent them. A bridge would give such a frame to all of them, and each would
/// send it back: for ever. What is in `out` bears none any more.
fn end_between(
    mut asm: Assembler,
    exits: Exits,
    strayed: Label,
    out: Option<Label>,
) -> Result<Program, Error> {
    let Exits { pass, stale } = exits;
    let dropped = [(strayed, Verdict::Spoofed, Fate::Drop), (stale, Verdict::Stale, Fate::Drop)];
    let out = out.map(|out| (out, Verdict::Stale, Fate::Kernel));
    let left = out.into_iter().chain([(pass, Verdict::Passed, Fate::Kernel)]);
    leave(&mut asm, Hook::Xdp, Told::No, dropped.into_iter().chain(left));
    asm.finish()
}

/// Goes on with what bears the mark, in either place, else to `other`.
fn marked(asm: &mut Assembler, mark: [u8; 6], names: [&'static str; 2], other: &Label) {
    let [swapped, marked] = names.map(|name| asm.label(name));
    chain::marked(asm, mark, eth::SRC, &swapped);
    asm.jump(&marked, "as it was sent in");
    asm.bind(swapped);
    chain::marked(asm, mark, eth::DST, other);
    asm.bind(marked);
}

/// To the next one what is for the chain; what is not, and what can't go all the way, to these.
fn inward(asm: &mut Assembler, not_for_it: &Label, stale: &Label) {
    // In the order in which they are used: so the kernel lists them.
    let hops = asm.map(chain::hops());
    let matches = asm.map(chain::matches());
    let ports = asm.map(endpoint::ports());
    let all_there = asm.label("all_there");

    chain::hop_from(asm, hops, HOP, not_for_it);
    asm.mov(HOP, R0, "the hop from here");
    chain::matched(asm, matches, AT, Side::Destination, not_for_it);
    chain::whole(asm, ports, HOP, all_there, stale);
    endpoint::redirect(asm, ports, HOP, stale);
    chain::address(asm, HOP);
}

/// To the one before, or to the kernel as if the container had sent it, what is on its way back.
/// What bears no mark goes to `pass`, as it came; where the next one is gone, what is for the kernel to `left`.
fn backward(asm: &mut Assembler, pass: &Label, strayed: &Label, left: &Label, forwarded: Label) {
    let ports = asm.map(endpoint::ports());
    let hops = asm.map(chain::hops_back());
    let (swapped, back) = (asm.label("swapped_back"), asm.label("marked_back"));
    let (out, broken) = (asm.label("out"), asm.label("broken"));
    let all_there = asm.label("all_there_back");

    asm.mov(TO, PKT, "whom it was sent to: the destination");
    chain::marked(asm, chain::BACK, eth::SRC, &swapped);
    chain::marked(asm, chain::BACK, eth::DST, &back);
    asm.jump(strayed, "sent to a mark: by nobody in the chain");
    asm.bind(swapped);
    chain::marked(asm, chain::BACK, eth::DST, pass);
    asm.add(TO, i32::from(eth::SRC), "no, the source");
    asm.bind(back);
    chain::is_ip(asm, strayed);
    chain::hop_from(asm, hops, HOP, strayed);
    asm.mov(HOP, R0, "the hop back from here");
    chain::onward(asm, HOP, TO, &out);
    chain::whole(asm, ports, HOP, all_there, &broken);
    endpoint::redirect(asm, ports, HOP, &broken);
    chain::address_back(asm, HOP, TO, As::Marked);
    asm.jump(&forwarded, "done");
    asm.bind(broken);
    chain::address_back(asm, HOP, TO, As::Own);
    asm.jump(left, "to the kernel");
    asm.bind(out);
    chain::address_back(asm, HOP, TO, As::Own);
    asm.jump(pass, "to the kernel");
    asm.bind(forwarded);
}
