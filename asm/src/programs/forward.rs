//! `forward`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use super::exits::{Exits, Told};
use crate::Label;
use crate::assembler::Assembler;
use crate::blocks::endpoint::{self, Side};
use crate::blocks::verify_source::verify_source;
use crate::blocks::{Family, capture, checksum, parse};
use crate::error::Error;
use crate::hook::Hook;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R8, R9, Reg};

/// What it does.
pub(super) const ABOUT: &str = "\
From a container's host-side veth straight to another's. The decision is made first and no byte is
written before it: what is not understood, or not known, leaves the program as it came and the
bridge works as ever.";

/// What it does with [`Checksum::Keep`].
pub(super) const KEEP: &str = "Checksums stay as they are: no byte of a packet is ever written.";

/// What it does with [`Checksum::Complete`].
pub(super) const COMPLETE: &str = "\
A TCP or UDP checksum that the sender left to the device, so that its field holds just the sum of
the pseudo-header, is completed. A whole one is not touched; of UDP, none or a wrong one passes.";

/// What it does on [`Hook::XdpFrags`].
pub(super) const FRAGS: &str = "\
Frames may lie in several pieces, of which it sees the first: how long they are it does not ask.";

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     its end; once the verdict is known, bytes of the frame, or of its first piece
r8     the destination's endpoint until the decision, then the verdict that is counted
r9     the ingress interface until the source is verified, then the action that is returned";

/// What is done about checksums that the sender left to the device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Checksum {
    /// Nothing: they are whole already, or shall show what goes wrong.
    Keep,
    /// They are completed here.
    Complete,
}

const DESTINATION: Reg = R8;
const INGRESS: Reg = R9;

/// The program, by what it does about checksums.
pub fn forward(checksum: Checksum) -> Result<Program, Error> {
    assemble(Shipped::Forward(checksum), Hook::Xdp, checksum, Told::No)
}

/// The program for frames that may lie in several pieces.
pub fn forward_frags() -> Result<Program, Error> {
    assemble(Shipped::ForwardFrags, Hook::XdpFrags, Checksum::Keep, Told::No)
}

pub(super) fn assemble(
    shipped: Shipped,
    hook: Hook,
    checksum: Checksum,
    told: Told,
) -> Result<Program, Error> {
    let mut asm = Assembler::on(hook, shipped.name());
    let exits = Exits::new(&mut asm);
    let forwarded = asm.label("forwarded");
    let other = asm.label("not_ipv4");
    let (known4, known6) = (asm.label("known4"), asm.label("known6"));

    if told == Told::Yes {
        capture::keep(&mut asm);
    }
    parse::context(&mut asm, INGRESS);
    parse::ethernet(&mut asm, &other, &exits.pass);

    let segment = (checksum == Checksum::Complete).then(|| asm.label("segment"));
    hop(&mut asm, hook, Family::V4, known4, checksum, &exits, &forwarded);
    asm.jump(segment.as_ref().unwrap_or(&forwarded), "as in IPv6");
    asm.bind(other);
    parse::ipv6_type(&mut asm, &exits.pass);
    hop(&mut asm, hook, Family::V6, known6, checksum, &exits, &forwarded);
    if let Some(segment) = segment {
        asm.bind(segment);
        checksum::complete(&mut asm, &exits.pass);
    }
    asm.bind(forwarded);
    exits.leave(&mut asm, hook, told);
    asm.finish()
}

/// One family, from the IP header to the decision to forward, or out by one of the exits.
fn hop(
    asm: &mut Assembler,
    hook: Hook,
    family: Family,
    known: Label,
    checksum: Checksum,
    exits: &Exits,
    forwarded: &Label,
) {
    let endpoints = asm.map(endpoint::endpoints(family));
    let ports = asm.map(endpoint::ports());

    match hook {
        Hook::XdpFrags => parse::ip_header(asm, family, known, &exits.pass),
        _ => parse::ip(asm, family, known, &exits.pass),
    }
    endpoint::lookup(asm, endpoints, family, Side::Destination, &exits.pass);
    asm.mov(DESTINATION, R0, "the destination's endpoint");
    endpoint::same_mac(asm, eth::DST, DESTINATION, &exits.pass, endpoint::MOVED);
    verify_source(asm, endpoints, family, INGRESS, &exits.spoofed, &exits.pass);
    endpoint::redirect(asm, ports, DESTINATION, &exits.stale);
    if checksum == Checksum::Complete {
        checksum::pseudo_header(asm, family, forwarded);
    }
}
