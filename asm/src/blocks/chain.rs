//! Service chains: what goes into one, whom it goes to next, and how it is known on its way.
//!
//! What is in a chain bears [`MARK`] as its Ethernet source. A member that leaves the addresses alone, or swaps
//! them as most programs do that answer `XDP_TX`, leaves the mark in one of the two places; what a member sends
//! of itself never has it. So the two can't be taken for each other, whatever addresses a member gets, and a
//! bridge learns nobody's address at the wrong port.

use super::endpoint::Side;
use super::{END, PKT, parse};
use crate::assembler::Assembler;
use crate::helper::Helper;
use crate::label::{Label, Target};
use crate::map::{MapDecl, MapIndex, MapKind};
use crate::net::{eth, icmpv6, ipv4, ipv6, proto, vlan};
use crate::reg::{FP, Pointer, R0, R1, R2, R3, R4, Reg};

/// The Ethernet source of what is in a chain: a unicast address that is locally administered (IEEE 802). Each
/// third reads the same in either byte order.
pub const MARK: [u8; 6] = [0x0a, 0x0a, 0xc4, 0xc4, 0xa1, 0xa1];
/// The same of what goes back. It keeps its destination, which is for the kernel where the way back ends.
pub const BACK: [u8; 6] = [0x0a, 0x0a, 0xc4, 0xc4, 0xb4, 0xb4];

/// Where each third of a mark is in an address, and what it is.
fn thirds(mark: [u8; 6]) -> [(i16, i32); 3] {
    [0, 2, 4].map(|at| (at as i16, 0x0101 * i32::from(mark[at])))
}

/// How many members a chain can have.
pub const MAX_MEMBERS: usize = 8;
/// How many matches a chain can have.
pub const MAX_MATCHES: u32 = 256;
/// Where the chain can be entered, and its members.
const MAX_HOPS: u32 = 16;

/// A key of `matches`: what goes into the chain.
pub mod key {
    use std::net::IpAddr;

    /// Bytes of a key: address, port, VLAN, protocol.
    pub const SIZE: usize = 24;
    /// The address, 16 bytes; of IPv4 as `::ffff:a.b.c.d`.
    pub(super) const ADDRESS: i16 = 0;
    /// The port as in the packet, 0 for any.
    pub(super) const PORT: i16 = 16;
    /// The VLAN, 0 for none, `u16` in the machine's order.
    pub(super) const VLAN: i16 = 18;
    /// The protocol, 0 for any, `u32` in the machine's order.
    pub(super) const PROTOCOL: i16 = 20;

    /// A key as the programs look for it.
    pub fn encode(address: IpAddr, protocol: u8, port: u16, vlan: u16) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        out[..16].copy_from_slice(&address.octets());
        out[16..18].copy_from_slice(&port.to_be_bytes());
        out[18..20].copy_from_slice(&vlan.to_ne_bytes());
        out[20..].copy_from_slice(&u32::from(protocol).to_ne_bytes());
        out
    }
}

/// A value of `hops`: whom it goes to.
pub mod hop {
    use super::MAX_MEMBERS;

    /// The host's ends of who is still to come, the next one first; `u32` in the machine's order, then zeros.
    pub(super) const AHEAD: i16 = 0;
    /// The next one's Ethernet address, 6 bytes, after two of zero.
    pub(super) const MAC: i16 = 4 * MAX_MEMBERS as i16 + 2;
    /// The Ethernet address of whom it comes from, likewise: on the way back it is sent on as if by it.
    pub(super) const OWN: i16 = MAC + 8;
    /// Bytes of a value.
    pub const SIZE: usize = 4 * MAX_MEMBERS + 16;

    /// A value as the programs read it: the next one's Ethernet address, and that of whom it comes from. Of more
    /// than [`MAX_MEMBERS`] those are left out.
    pub fn encode(ahead: &[u32], mac: [u8; 6], own: [u8; 6]) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        let places = out.chunks_exact_mut(4).take(MAX_MEMBERS);
        for (place, ifindex) in places.zip(ahead) {
            place.copy_from_slice(&ifindex.to_ne_bytes());
        }
        out[MAC as usize..][..6].copy_from_slice(&mac);
        out[OWN as usize..].copy_from_slice(&own);
        out
    }
}

/// `matches`: a [`key`] that is there goes into the chain. The values say nothing.
pub fn matches() -> MapDecl {
    MapDecl {
        name: "matches",
        kind: MapKind::Hash,
        key_size: key::SIZE as u32,
        value_size: 4,
        max_entries: MAX_MATCHES,
        flags: 0,
    }
}

/// `hops`: the interface that a frame comes in by, the NIC or a member's host side, gives a [`hop`].
pub fn hops() -> MapDecl {
    hops_named("hops")
}

/// `hops_back`: the same on the way back, from the last one's host side. From the first one's nobody is ahead.
pub fn hops_back() -> MapDecl {
    hops_named("hops_back")
}

fn hops_named(name: &'static str) -> MapDecl {
    MapDecl {
        name,
        kind: MapKind::Hash,
        key_size: 4,
        value_size: hop::SIZE as u32,
        max_entries: MAX_HOPS,
        flags: 0,
    }
}

/// Stack slot of the key; of its port, its VLAN and its protocol.
const KEY: i16 = -(key::SIZE as i16);
const PORT: i16 = KEY + key::PORT;
const VLAN: i16 = KEY + key::VLAN;
const PROTOCOL: i16 = KEY + key::PROTOCOL;

/// Goes on if the frame bears this mark at `off`, as its source or its destination, else to `other`. Its
/// Ethernet header must be known to be there. Loses `r2`.
pub fn marked(asm: &mut Assembler, mark: [u8; 6], off: i16, other: &impl Target) {
    for (third, value) in thirds(mark) {
        asm.load(R2, PKT.u16(off + third), "a third of the address");
        asm.jump_if(R2.ne(value), other, "not the mark's");
    }
}

/// Goes on if the frame is on a chain's way, there or back, as it was sent in; else to `other`. Likewise.
pub fn on_its_way(asm: &mut Assembler, other: &impl Target) {
    let (there, back) = (asm.label("there"), asm.label("back"));
    marked(asm, MARK, eth::SRC, &back);
    asm.jump(&there, "on its way");
    asm.bind(back);
    marked(asm, BACK, eth::SRC, other);
    asm.bind(there);
}

/// Goes on with IP, tagged or not, else to `other`. Likewise. Loses `r3`.
pub fn is_ip(asm: &mut Assembler, other: &impl Target) {
    let ip = asm.label("ip");
    asm.load(R3, PKT.u16(eth::TYPE), "EtherType");
    asm.be16(R3, "in host order");
    asm.jump_if(R3.eq(eth::IPV4), &ip, "IPv4");
    asm.jump_if(R3.eq(eth::IPV6), &ip, "IPv6");
    asm.jump_if(R3.ne(vlan::ETHERTYPE), other, "ARP, anything else");
    asm.bind(ip);
}

/// `r0` = the hop from the interface in `ingress`, else goes to `none`. Loses `r1` to `r5` and 4 bytes of stack.
pub fn hop_from(asm: &mut Assembler, hops: MapIndex, ingress: Reg, none: &impl Target) {
    asm.store(FP.u32(-4), ingress, "key: the interface that it came in by");
    asm.load_map(R1, hops, "who comes after whom");
    asm.mov(R2, FP, "key:");
    asm.add(R2, -4, "on the stack");
    asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = the hop from here");
    asm.jump_if(R0.eq(0), none, "nobody comes after this one");
}

/// Goes on with a frame whose destination, or source, is one of the chain's `matches`, else to `pass`. Needs its
/// Ethernet header. `at` is void after it, and so are `r0` to `r5` and 24 bytes of stack.
///
/// IP may have any options, extension headers or protocol, of a match without a port; only plain headers and
/// whole datagrams have one. Untagged, or with one tag of 802.1Q: VLAN 0 is none.
pub fn matched(asm: &mut Assembler, matches: MapIndex, at: Reg, side: Side, pass: &impl Target) {
    let (other, look_up) = (asm.label("not_ipv4"), asm.label("look_up"));
    let ports = asm.label("ports");
    ethernet(asm, at, pass);
    asm.store(FP.u16(PORT), 0, "key: no port yet");
    asm.jump_if(R3.ne(eth::IPV4), &other, "not IPv4");
    ipv4(asm, at, side, &look_up, pass);
    asm.jump(&ports, "as in IPv6");
    asm.bind(other);
    asm.jump_if(R3.ne(eth::IPV6), pass, "ARP, another tag, anything else");
    ipv6(asm, at, side, pass);
    asm.bind(ports);
    port(asm, at, side, &look_up);
    asm.bind(look_up);
    any_of(asm, matches, pass);
}

/// `at` = the IP header, of which nothing is checked; `r3` = its EtherType. The VLAN is in the key.
fn ethernet(asm: &mut Assembler, at: Reg, pass: &impl Target) {
    let untagged = asm.label("untagged");
    asm.load(R3, PKT.u8(eth::DST), "first byte of the destination");
    asm.jump_if(R3.has(1), pass, "group bit: multicast and broadcast are the kernel's");
    asm.mov(at, PKT, "the IP header: the packet");
    asm.add(at, i32::from(eth::LEN), "+ Ethernet");
    asm.mov(R4, 0, "VLAN: none");
    asm.load(R3, PKT.u16(eth::TYPE), "EtherType");
    asm.be16(R3, "in host order");
    asm.jump_if(R3.ne(vlan::ETHERTYPE), &untagged, "no tag");
    parse::within(asm, eth::LEN + vlan::LEN, pass, "too short for its tag");
    asm.load(R4, PKT.u16(eth::LEN + vlan::TCI), "priority and VLAN");
    asm.be16(R4, "in host order");
    asm.and(R4, vlan::VID, "VLAN");
    asm.load(R3, PKT.u16(eth::LEN + vlan::TYPE), "EtherType");
    asm.be16(R3, "in host order");
    asm.add(at, i32::from(vlan::LEN), "+ the tag");
    asm.bind(untagged);
    asm.store(FP.u16(VLAN), R4, "key: the VLAN");
}

/// Address and protocol are in the key, `at` = what follows; to `portless` if that has no ports for sure.
fn ipv4(asm: &mut Assembler, at: Reg, side: Side, portless: &impl Target, pass: &impl Target) {
    let (off, whose) = match side {
        Side::Source => (ipv4::SRC, "the source"),
        Side::Destination => (ipv4::DST, "the destination"),
    };
    inside(asm, at, ipv4::LEN, pass, "too short for IPv4");
    asm.load(R4, at.u8(ipv4::VERSION_IHL), "version and header length");
    asm.mov(R3, R4, "of which");
    asm.and(R3, 0xf0, "the version");
    asm.jump_if(R3.ne(0x40), pass, "not IPv4");
    asm.load(R3, at.u8(ipv4::PROTOCOL), "protocol");
    asm.store(FP.u32(PROTOCOL), R3, "key: the protocol");
    asm.store(FP.u64(KEY), 0, "key: the address, as ::ffff:a.b.c.d");
    asm.store(FP.u16(KEY + 8), 0, "so are its first ten bytes");
    asm.store(FP.u16(KEY + 10), 0xffff, "then two");
    asm.load(R3, at.u32(off), whose);
    asm.store(FP.u32(KEY + 12), R3, "and the four of IPv4");
    asm.jump_if(R4.ne(ipv4::PLAIN), portless, "with options");
    asm.load(R3, at.u16(ipv4::FLAGS_FRAGMENT), "flags and fragment offset");
    asm.be16(R3, "in host order");
    asm.and(R3, ipv4::FRAGMENT, "but for DF and the reserved bit");
    asm.jump_if(R3.ne(0), portless, "a fragment: only the first would have ports");
    asm.add(at, i32::from(ipv4::LEN), "what follows");
}

/// The same; neighbour discovery goes to `pass`, unless extension headers are before it.
fn ipv6(asm: &mut Assembler, at: Reg, side: Side, pass: &impl Target) {
    let (off, whose) = match side {
        Side::Source => (ipv6::SRC, "a quarter of the source"),
        Side::Destination => (ipv6::DST, "a quarter of the destination"),
    };
    let known = asm.label("known6");
    inside(asm, at, ipv6::LEN, pass, "too short for IPv6");
    asm.load(R3, at.u8(ipv6::VERSION), "version and traffic class");
    asm.and(R3, 0xf0, "version");
    asm.jump_if(R3.ne(0x60), pass, "not IPv6");
    asm.load(R3, at.u8(ipv6::NEXT_HEADER), "next header");
    asm.store(FP.u32(PROTOCOL), R3, "key: the protocol");
    for word in (0..16).step_by(4) {
        asm.load(R4, at.u32(off + word), whose);
        asm.store(FP.u32(KEY + key::ADDRESS + word), R4, "key: the address");
    }
    asm.add(at, i32::from(ipv6::LEN), "what follows");
    asm.jump_if(R3.ne(proto::ICMPV6), &known, "no neighbour discovery");
    inside(asm, at, 1, pass, "no ICMPv6 type");
    asm.load(R3, at.u8(0), "ICMPv6 type");
    asm.jump_if(R3.lt(icmpv6::ND_FIRST), &known, "an error or an echo");
    asm.jump_if(R3.le(icmpv6::ND_LAST), pass, "neighbour discovery is the kernel's");
    asm.bind(known);
}

/// The port is in the key, if the protocol has some and they lie in the frame.
fn port(asm: &mut Assembler, at: Reg, side: Side, portless: &impl Target) {
    let (off, whose) = match side {
        Side::Source => (0, "the source's port"),
        Side::Destination => (2, "the destination's port"),
    };
    let has_ports = asm.label("has_ports");
    asm.load(R3, FP.u32(PROTOCOL), "the protocol");
    asm.jump_if(R3.eq(proto::TCP), &has_ports, "TCP");
    asm.jump_if(R3.ne(proto::UDP), portless, "neither TCP nor UDP");
    asm.bind(has_ports);
    inside(asm, at, PORTS, portless, "too short for its ports");
    asm.load(R3, at.u16(off), whose);
    asm.store(FP.u16(PORT), R3, "key: the port");
}

/// Bytes of both ports, the source's first, with which TCP and UDP begin.
const PORTS: i16 = 4;

/// Goes on if the key is there, or without its port, or without its protocol too.
fn any_of(asm: &mut Assembler, matches: MapIndex, pass: &impl Target) {
    let found = asm.label("found");
    let look = |asm: &mut Assembler| {
        asm.load_map(R1, matches, "what goes into the chain");
        asm.mov(R2, FP, "key:");
        asm.add(R2, i32::from(KEY), "on the stack");
        asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = whether this does");
    };
    look(asm);
    asm.jump_if(R0.ne(0), &found, "just this");
    asm.store(FP.u16(PORT), 0, "key: any port");
    look(asm);
    asm.jump_if(R0.ne(0), &found, "all of its protocol");
    asm.store(FP.u32(PROTOCOL), 0, "key: any protocol");
    look(asm);
    asm.jump_if(R0.eq(0), pass, "not for the chain");
    asm.bind(found);
}

/// Goes on if all who are still to come are there, else to `broken`: what can't go all the way must not go a
/// part of it. Loses `r0` to `r5`.
pub fn whole(
    asm: &mut Assembler,
    ports: MapIndex,
    hop: Reg,
    all_there: Label,
    broken: &impl Target,
) {
    for place in (hop::AHEAD..).step_by(4).take(MAX_MEMBERS) {
        if place > hop::AHEAD {
            asm.load(R1, hop.u32(place), "who comes then");
            asm.jump_if(R1.eq(0), &all_there, "nobody: that was the last");
        }
        asm.load_map(R1, ports, "who is there");
        asm.mov(R2, hop, "key:");
        asm.add(R2, i32::from(place), "the host's end");
        asm.call(Helper::MAP_LOOKUP_ELEM, "r0 = its port");
        asm.jump_if(R0.eq(0), broken, "it is gone: the chain is broken");
    }
    asm.bind(all_there);
}

/// The frame is for the next one, and bears the mark. Loses `r2`.
pub fn address(asm: &mut Assembler, hop: Reg) {
    for third in [0, 2, 4] {
        asm.load(R2, hop.u16(hop::MAC + third), "a third of the next one's address");
        asm.store(PKT.u16(eth::DST + third), R2, "is the destination's");
    }
    mark(asm, MARK);
}

fn mark(asm: &mut Assembler, mark: [u8; 6]) {
    for (third, value) in thirds(mark) {
        asm.store(PKT.u16(eth::SRC + third), value, "the mark is the source");
    }
}

/// Whom a frame on its way back is sent on as if by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum As {
    /// The chain: it is still on its way.
    Marked,
    /// The one that it comes from: there the way back ends.
    Own,
}

/// The frame is for whom it was sent to, whose address is at `to` in it, also if a member has swapped the two.
/// Loses `r2`.
pub fn address_back(asm: &mut Assembler, hop: Reg, to: Reg, by: As) {
    for third in [0, 2, 4] {
        asm.load(R2, to.u16(third), "a third of whom it was sent to");
        asm.store(PKT.u16(eth::DST + third), R2, "is the destination's");
    }
    match by {
        As::Marked => mark(asm, BACK),
        As::Own => {
            for third in [0, 2, 4] {
                asm.load(R2, hop.u16(hop::OWN + third), "a third of the member's address");
                asm.store(PKT.u16(eth::SRC + third), R2, "is the source's");
            }
        }
    }
}

/// Goes on if somebody is ahead to whom the frame, whose destination is at `to` in it, may go, else to `out`: the
/// next one would not get what is for itself, as a bridge sends nothing back where it comes from. Loses `r1` to
/// `r3`.
pub fn onward(asm: &mut Assembler, hop: Reg, to: Reg, out: &impl Target) {
    let onward = asm.label("onward");
    asm.load(R1, hop.u32(hop::AHEAD), "who is next");
    asm.jump_if(R1.eq(0), out, "nobody: the way back ends here");
    for third in [0, 2, 4] {
        asm.load(R2, to.u16(third), "a third of whom it was sent to");
        asm.load(R3, hop.u16(hop::MAC + third), "and of the next one's address");
        asm.jump_if(R2.ne(R3), &onward, "not for the next one itself");
    }
    asm.jump(out, "for the next one itself");
    asm.bind(onward);
}

/// Goes on if there are `len` bytes from `at` on. Loses `r2`.
#[track_caller]
fn inside(asm: &mut Assembler, at: Reg, len: i16, other: &impl Target, why: &'static str) {
    asm.mov(R2, at, "from here");
    asm.add(R2, i32::from(len), format!("{len} bytes"));
    asm.jump_if(R2.gt(END), other, why);
}
