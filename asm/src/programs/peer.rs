//! `peer`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use super::exits::{Exits, Told};
use crate::assembler::Assembler;
use crate::blocks::endpoint::{self, Side};
use crate::blocks::verify_source::verify_source;
use crate::blocks::{Family, parse, skb};
use crate::error::Error;
use crate::hook::Hook;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R8, R9, Reg};

/// What it does.
pub(super) const ABOUT: &str = "\
From a container's host-side veth straight into another container, on the skb that its stack made:
segmentation and checksums stay left to the device, and nothing is copied. No byte of it is ever written, so
that the protocol, options and extension headers need not be understood; its mark and priority, which rules
of the host may have set, do not go along. What is not known goes on to the bridge as it came.";

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     the end of what lies there; at the end bytes of the frame
r8     the destination's endpoint until the decision, then the verdict that is counted
r9     the host veth that it came in by until the source is verified, then the action";

const DESTINATION: Reg = R8;
const INGRESS: Reg = R9;

/// The program.
pub fn peer() -> Result<Program, Error> {
    assemble(Shipped::Peer, Told::No)
}

pub(super) fn assemble(shipped: Shipped, told: Told) -> Result<Program, Error> {
    let mut asm = Assembler::on(Hook::Tc, shipped.name());
    let exits = Exits::new(&mut asm);
    let (other, joined) = (asm.label("not_ipv4"), asm.label("joined"));

    skb::context(&mut asm, INGRESS, &exits.pass);
    parse::ethernet(&mut asm, &other, &exits.pass);
    both_joined(&mut asm, Family::V4, &exits);
    asm.jump(&joined, "as in IPv6");
    asm.bind(other);
    parse::ipv6_type(&mut asm, &exits.pass);
    both_joined(&mut asm, Family::V6, &exits);
    asm.bind(joined);
    hop(&mut asm, &exits);
    exits.leave(&mut asm, Hook::Tc, told);
    asm.finish()
}

/// One family, from the IP header to where `r0` is the source's endpoint and `r8` the destination's, or out
/// by one of the exits.
fn both_joined(asm: &mut Assembler, family: Family, exits: &Exits) {
    let endpoints = asm.map(endpoint::endpoints(family));

    parse::addressed(asm, family, &exits.pass);
    endpoint::lookup(asm, endpoints, family, Side::Destination, &exits.pass);
    asm.mov(DESTINATION, R0, "the destination's endpoint");
    endpoint::same_mac(asm, eth::DST, DESTINATION, &exits.pass, endpoint::MOVED);
    verify_source(asm, endpoints, family, INGRESS, &exits.spoofed, &exits.pass);
}

/// The decision to forward, if both veths are still where they were joined.
fn hop(asm: &mut Assembler, exits: &Exits) {
    let ports = asm.map(endpoint::ports());

    endpoint::present(asm, ports, R0, Side::Source, &exits.stale);
    endpoint::present(asm, ports, DESTINATION, Side::Destination, &exits.stale);
    skb::to_this_host(asm);
    skb::forget_notes(asm);
    endpoint::redirect_peer(asm, DESTINATION, &exits.stale);
}
