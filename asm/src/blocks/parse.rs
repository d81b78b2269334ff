//! Headers: from the context to a packet of which it is known that it can be forwarded.
//!
//! Where frames are changed, only what is understood whole goes on: untagged unicast Ethernet; IPv4 without
//! options or IPv6 without extension headers; TCP, UDP or ICMP. A frame shorter than its IP length, neighbour
//! discovery, tunnels, SCTP (whose CRC nobody here would complete): to the kernel. Where nothing is changed,
//! [`addressed`] does.

use super::{END, Family, PKT};
use crate::assembler::Assembler;
use crate::label::{Label, Target};
use crate::net::{eth, icmpv6, ipv4, ipv6, proto};
use crate::reg::{Pointer, R1, R2, R3, R4, Reg};
use crate::xdp::xdp_md;

/// Fills [`PKT`] and [`END`] from the context in `r1`, and `ingress` with the interface's index.
#[track_caller]
pub fn context(asm: &mut Assembler, ingress: Reg) {
    asm.load(ingress, R1.u32(xdp_md::INGRESS_IFINDEX), "the host veth that it came in by");
    asm.load(PKT, R1.u32(xdp_md::DATA), "the packet");
    asm.load(END, R1.u32(xdp_md::DATA_END), "its end");
}

/// Goes on with IPv4, and to `other`, where [`ipv6_type`] belongs, with what is not; its fixed header is known
/// to be inside the frame. Multicast goes to `pass`. Loses `r2`; `r3` is the EtherType.
pub fn ethernet(asm: &mut Assembler, other: &impl Target, pass: &impl Target) {
    within(asm, eth::LEN + ipv4::LEN, pass, "too short for Ethernet and IP");
    asm.load(R3, PKT.u8(eth::DST), "first byte of the destination");
    asm.jump_if(R3.has(1), pass, "group bit: multicast and broadcast are the bridge's");
    asm.load(R3, PKT.u16(eth::TYPE), "EtherType");
    asm.be16(R3, "in host order");
    asm.jump_if(R3.ne(eth::IPV4), other, "not IPv4");
}

/// Goes on with IPv6, else to `pass`.
pub fn ipv6_type(asm: &mut Assembler, pass: &impl Target) {
    asm.jump_if(R3.ne(eth::IPV6), pass, "ARP, VLAN, anything else");
}

/// Goes on with a datagram that lies whole in the frame and is of a protocol that can be
/// forwarded, else to `pass`. Needs [`ethernet`] before it. Loses `r2` to `r4`.
pub fn ip(asm: &mut Assembler, family: Family, known: Label, pass: &impl Target) {
    header(asm, family, pass);
    whole(asm, family, pass);
    protocol(asm, family, known, pass);
}

/// The same without a look at the datagram's end: an skb has parts elsewhere, and a length of zero where
/// 16 bits are too few for it. Loses `r2` to `r4`.
pub fn ip_header(asm: &mut Assembler, family: Family, known: Label, pass: &impl Target) {
    header(asm, family, pass);
    protocol(asm, family, known, pass);
}

/// Goes on with whatever has a source and a destination: what is not changed need not be understood. Neighbour
/// discovery is told apart, unless extension headers are before it. Needs [`ethernet`] before it. Loses `r2` to `r4`.
pub fn addressed(asm: &mut Assembler, family: Family, pass: &impl Target) {
    match family {
        Family::V4 => {
            asm.load(R3, PKT.u8(eth::LEN + ipv4::VERSION_IHL), "version and header length");
            asm.and(R3, 0xf0, "version");
            asm.jump_if(R3.ne(0x40), pass, "not IPv4");
        }
        Family::V6 => {
            let known = asm.label("known6");
            header(asm, family, pass);
            asm.load(R4, PKT.u8(eth::LEN + ipv6::NEXT_HEADER), "next header");
            asm.jump_if(R4.ne(proto::ICMPV6), &known, "no neighbour discovery");
            // What an skb has elsewhere is of some thousand bytes: no neighbour discovery either.
            icmpv6(asm, &known, pass, &known);
            asm.bind(known);
        }
    }
}

/// A plain header of this family.
fn header(asm: &mut Assembler, family: Family, pass: &impl Target) {
    const IP: i16 = eth::LEN;
    match family {
        Family::V4 => {
            asm.load(R3, PKT.u8(IP + ipv4::VERSION_IHL), "version and header length");
            asm.jump_if(R3.ne(ipv4::PLAIN), pass, "not IPv4, or with options");
        }
        Family::V6 => {
            within(asm, IP + ipv6::LEN, pass, "too short for IPv6");
            asm.load(R3, PKT.u8(IP + ipv6::VERSION), "version and traffic class");
            asm.and(R3, 0xf0, "version");
            asm.jump_if(R3.ne(0x60), pass, "not IPv6");
        }
    }
}

/// The datagram lies in the frame, whole. Needs [`header`].
fn whole(asm: &mut Assembler, family: Family, pass: &impl Target) {
    const IP: i16 = eth::LEN;
    let (length, what, from, before) = match family {
        Family::V4 => (ipv4::TOTAL_LENGTH, "total length", IP, "+ Ethernet"),
        Family::V6 => {
            (ipv6::PAYLOAD_LENGTH, "payload length", IP + ipv6::LEN, "+ Ethernet and IPv6")
        }
    };
    asm.load(R3, PKT.u16(IP + length), what);
    asm.be16(R3, "in host order");
    asm.and(R3, 0xffff, "16 bits, also for the verifier: be16 hides it");
    if family == Family::V4 {
        asm.jump_if(R3.lt(i32::from(ipv4::LEN)), pass, "shorter than its own header");
    }
    asm.mov(R2, PKT, "where the datagram ends: the packet");
    asm.add(R2, i32::from(from), before);
    asm.add(R2, R3, format!("+ {what}"));
    asm.jump_if(R2.gt(END), pass, "cut short");
}

/// A protocol that is forwarded. Needs [`header`].
fn protocol(asm: &mut Assembler, family: Family, known: Label, pass: &impl Target) {
    match family {
        Family::V4 => asm.load(R4, PKT.u8(eth::LEN + ipv4::PROTOCOL), "protocol"),
        Family::V6 => asm.load(R4, PKT.u8(eth::LEN + ipv6::NEXT_HEADER), "next header"),
    }
    asm.jump_if(R4.eq(proto::TCP), &known, "TCP");
    asm.jump_if(R4.eq(proto::UDP), &known, "UDP");
    match family {
        Family::V4 => asm.jump_if(R4.ne(proto::ICMP), pass, "neither TCP, UDP nor ICMP"),
        Family::V6 => {
            let why = "an extension header, or a protocol not known here";
            asm.jump_if(R4.ne(proto::ICMPV6), pass, why);
            icmpv6(asm, &known, pass, pass);
        }
    }
    asm.bind(known);
}

/// ICMPv6 that is not the kernel's. Goes to `far` if its type is not in what lies there.
fn icmpv6(asm: &mut Assembler, known: &impl Target, pass: &impl Target, far: &impl Target) {
    const ICMP: i16 = eth::LEN + ipv6::LEN;
    asm.load(R3, PKT.u16(eth::LEN + ipv6::PAYLOAD_LENGTH), "payload length");
    asm.be16(R3, "in host order");
    asm.jump_if(R3.lt(i32::from(icmpv6::LEN)), pass, "shorter than its own header");
    within(asm, ICMP + 1, far, "no ICMPv6 type");
    asm.load(R3, PKT.u8(ICMP), "ICMPv6 type");
    asm.jump_if(R3.lt(icmpv6::ND_FIRST), known, "an error or an echo");
    asm.jump_if(R3.le(icmpv6::ND_LAST), pass, "neighbour discovery is the kernel's");
}

/// Goes on if the frame has `len` bytes. Loses `r2`.
#[track_caller]
pub(crate) fn within(asm: &mut Assembler, len: i16, pass: &impl Target, why: &'static str) {
    asm.mov(R2, PKT, "the packet");
    asm.add(R2, i32::from(len), format!("its first {len} bytes"));
    asm.jump_if(R2.gt(END), pass, why);
}
