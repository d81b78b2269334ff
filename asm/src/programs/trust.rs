//! `trust`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use crate::assembler::Assembler;
use crate::blocks::endpoint::{self, Side};
use crate::blocks::{Family, parse, skb};
use crate::error::Error;
use crate::hook::Hook;
use crate::label::Label;
use crate::net::eth;
use crate::program::Program;
use crate::reg::{R0, R9};
use crate::tc;

/// What it does.
pub(super) const ABOUT: &str = "\
On a container's eth0, where native XDP has lost what the sender's skb knew: that a checksum that is
not whole yet is right. Only of packets from one joined container to another, by their IP and
Ethernet addresses: what comes from elsewhere, or goes on from here, is summed as ever.";

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the action
r6     the packet
r7     the end of what lies there
r9     the interface, which nobody asks for";

/// The program.
pub fn trust() -> Result<Program, Error> {
    let mut asm = Assembler::on(Hook::Tc, Shipped::Trust.name());
    let leave = asm.label("leave");
    let other = asm.label("not_ipv4");
    let (known4, known6) = (asm.label("known4"), asm.label("known6"));
    let trusted = asm.label("trusted");

    skb::context(&mut asm, R9, &leave);
    parse::ethernet(&mut asm, &other, &leave);
    between_joined(&mut asm, Family::V4, known4, &leave);
    asm.jump(&trusted, "as in IPv6");
    asm.bind(other);
    parse::ipv6_type(&mut asm, &leave);
    between_joined(&mut asm, Family::V6, known6, &leave);
    asm.bind(trusted);
    skb::trust_checksum(&mut asm, &leave);
    asm.bind(leave);
    asm.mov(R0, tc::UNSPEC, "TC_ACT_UNSPEC: the stack takes it");
    asm.exit("done");
    asm.finish()
}

/// Goes on if both ends of the packet are joined containers.
fn between_joined(asm: &mut Assembler, family: Family, known: Label, leave: &Label) {
    let endpoints = asm.map(endpoint::endpoints(family));
    let elsewhere = "not its Ethernet address: it goes on from here";
    parse::ip_header(asm, family, known, leave);
    endpoint::lookup(asm, endpoints, family, Side::Destination, leave);
    endpoint::same_mac(asm, eth::DST, R0, leave, elsewhere);
    endpoint::lookup(asm, endpoints, family, Side::Source, leave);
    endpoint::same_mac(asm, eth::SRC, R0, leave, "not its Ethernet address: from elsewhere");
}
