//! Source verification: a host veth forwards only what its own container sent.
//!
//! The endpoint maps say it all: who owns the source address, by which veth, with which Ethernet
//! address. No table of its own is needed, and none can disagree.

use super::Family;
use super::endpoint::{self, Maps, Side, value};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::label::Target;
use crate::net::eth;
use crate::reg::{Pointer, R0, R1, R2, R3, Reg};
use crate::xdp;

/// Goes on if the packet's source IP and Ethernet addresses are those of the container behind the
/// interface in `ingress`.
///
/// - An address that belongs to *another* joined container: to `spoofed`.
/// - One that belongs to nobody here (added later, a macvlan inside), or to a container that is gone: to
///   `pass`; the fast path does not carry it, the kernel's own path decides as if we were not there.
///
/// Loses `r0` to `r5`.
#[track_caller]
pub fn verify_source(
    asm: &mut Assembler,
    maps: Maps,
    family: Family,
    ingress: Reg,
    spoofed: &impl Target,
    pass: &impl Target,
) {
    let own = asm.label(match family {
        Family::V4 => "own4",
        Family::V6 => "own6",
    });
    endpoint::lookup(asm, maps.endpoints, family, Side::Source, pass);
    asm.load(R2, R0.u32(value::IFINDEX), "the veth of the source address's owner");
    asm.jump_if(R2.eq(ingress), &own, "it came in by that");
    asm.load_map(R1, maps.ports, "is that veth still there?");
    asm.mov(R3, xdp::PASS, "if not:");
    asm.call(Helper::RedirectMap, "r0 = XDP_PASS");
    asm.jump_if(R0.ne(xdp::REDIRECT), pass, "its owner is gone: the address may be anybody's");
    asm.jump(spoofed, "sent by somebody else");
    asm.bind(own);
    endpoint::same_mac(asm, eth::SRC, R0, pass, "not the Ethernet address that goes with it");
}
