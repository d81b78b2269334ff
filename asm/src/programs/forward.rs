//! `forward`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use crate::Label;
use crate::assembler::Assembler;
use crate::blocks::count::{self, Verdict};
use crate::blocks::endpoint::{self, Side};
use crate::blocks::verify_source::verify_source;
use crate::blocks::{Family, checksum, parse};
use crate::error::Error;
use crate::map::MapIndex;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R8, R9, Reg};
use crate::xdp;

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

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     its end; once the verdict is counted, bytes of the frame
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
const VERDICT: Reg = R8;
const ACTION: Reg = R9;

struct Exits {
    pass: Label,
    stale: Label,
    spoofed: Label,
    forwarded: Label,
}

/// The program, by what it does about checksums.
pub fn forward(checksum: Checksum) -> Result<Program, Error> {
    let mut asm = Assembler::new(Shipped::Forward(checksum).name());
    let exits = Exits {
        pass: asm.label("pass"),
        stale: asm.label("stale"),
        spoofed: asm.label("spoofed"),
        forwarded: asm.label("forwarded"),
    };
    let (v4, v6) = (asm.label("ipv4"), asm.label("ipv6"));
    let (known4, known6) = (asm.label("known4"), asm.label("known6"));

    parse::context(&mut asm, INGRESS);
    parse::ethernet(&mut asm, &v4, &v6, &exits.pass);

    let segment = (checksum == Checksum::Complete).then(|| asm.label("segment"));
    asm.bind(v4);
    hop(&mut asm, Family::V4, known4, checksum, &exits);
    asm.jump(segment.as_ref().unwrap_or(&exits.forwarded), "as in IPv6");
    asm.bind(v6);
    hop(&mut asm, Family::V6, known6, checksum, &exits);
    if let Some(segment) = segment {
        asm.bind(segment);
        checksum::complete(&mut asm, &exits.pass);
    }
    leave(&mut asm, exits);
    asm.finish()
}

/// One family, from the IP header to the decision to forward, or out by one of the exits.
fn hop(asm: &mut Assembler, family: Family, known: Label, checksum: Checksum, exits: &Exits) {
    let endpoints = asm.map(endpoint::endpoints(family));
    let ports = asm.map(endpoint::ports());

    parse::ip(asm, family, known, &exits.pass);
    endpoint::lookup(asm, endpoints, family, Side::Destination, &exits.pass);
    asm.mov(DESTINATION, R0, "the destination's endpoint");
    let moved = "not its Ethernet address: routed, or the IP address has moved";
    endpoint::same_mac(asm, eth::DST, DESTINATION, &exits.pass, moved);
    verify_source(asm, endpoints, family, INGRESS, &exits.spoofed, &exits.pass);
    endpoint::redirect(asm, ports, DESTINATION, &exits.stale);
    if checksum == Checksum::Complete {
        checksum::pseudo_header(asm, family, &exits.forwarded);
    }
}

/// The exits: each verdict is counted, then returned as the kernel's action.
fn leave(asm: &mut Assembler, exits: Exits) {
    let stats: MapIndex = asm.map(count::stats());
    let (count_it, counted) = (asm.label("count"), asm.label("counted"));

    asm.bind(exits.forwarded);
    verdict(asm, Verdict::Forwarded);
    asm.jump(&count_it, "count it");
    asm.bind(exits.spoofed);
    verdict(asm, Verdict::Spoofed);
    asm.jump(&count_it, "count it");
    asm.bind(exits.stale);
    verdict(asm, Verdict::Stale);
    asm.jump(&count_it, "count it");
    asm.bind(exits.pass);
    verdict(asm, Verdict::Passed);

    asm.bind(count_it);
    count::count(asm, stats, VERDICT, counted);
    asm.mov(R0, ACTION, "the action");
    asm.exit("done");
}

/// All but what is forwarded goes to the kernel: the endpoints may be older than the network, and a
/// packet that is dropped for that would be missed.
#[track_caller]
fn verdict(asm: &mut Assembler, verdict: Verdict) {
    asm.mov(VERDICT, verdict as i32, format!("verdict: {}", verdict.name()));
    match verdict {
        Verdict::Forwarded => asm.mov(ACTION, xdp::REDIRECT, "XDP_REDIRECT"),
        _ => asm.mov(ACTION, xdp::PASS, "XDP_PASS"),
    }
}
