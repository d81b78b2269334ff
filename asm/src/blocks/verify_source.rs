//! Source verification: a host veth forwards only what its own container sent.
//!
//! The endpoint maps say it all: who owns the source address, by which veth, with which Ethernet
//! address. No table of its own is needed, and none can disagree.

use super::Family;
use super::endpoint::{self, Side, value};
use crate::assembler::Assembler;
use crate::label::Target;
use crate::map::MapIndex;
use crate::net::eth;
use crate::reg::{Pointer, R0, R1, Reg};

/// Goes on if the packet's source IP and Ethernet addresses are those of the container behind the
/// interface in `ingress`, with its endpoint in `r0`.
///
/// - An address that belongs to *another* joined container: to `spoofed`.
/// - One that belongs to nobody here (added later, a macvlan inside), or goes with another Ethernet
///   address: to `pass`.
///
/// Loses `r1` to `r5`.
#[track_caller]
pub fn verify_source(
    asm: &mut Assembler,
    endpoints: MapIndex,
    family: Family,
    ingress: Reg,
    spoofed: &impl Target,
    pass: &impl Target,
) {
    endpoint::lookup(asm, endpoints, family, Side::Source, pass);
    asm.load(R1, R0.u32(value::IFINDEX), "the veth of the source address's owner");
    asm.jump_if(R1.ne(ingress), spoofed, "sent by somebody else");
    endpoint::same_mac(asm, eth::SRC, R0, pass, "not the Ethernet address that goes with it");
}
