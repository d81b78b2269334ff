//! What `forward` and `peer` have to do, once more: in plain Rust, from what the blocks promise, with headers
//! and sums by etherparse.

// Each test file uses its share.
#![allow(dead_code)]

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, Ethernet2HeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};
use xhop_asm::blocks::count::Verdict;
use xhop_vm::packet::Host;

use crate::bridge::{Checksum, Hop, JOINED};

/// A datagram that can be forwarded.
struct Datagram<'a> {
    src: IpAddr,
    dst: IpAddr,
    protocol: IpNumber,
    fragment: bool,
    /// Where its payload starts in the frame.
    at: usize,
    payload: &'a [u8],
    /// All of it is there.
    whole: bool,
}

/// What becomes of its checksum.
enum Field {
    Stays,
    Becomes(usize, u16),
    /// Only the kernel knows.
    Unclear,
}

/// What becomes of a frame that comes in by `veth`, while `gone` is no port any more.
pub fn forward(checksum: Checksum, gone: Option<u32>, frame: &[u8], veth: u32) -> Hop {
    match understood(frame) {
        Some((_, datagram)) if datagram.whole => hop(understood, checksum, gone, frame, veth),
        _ => Hop { verdict: Verdict::Passed, to: None, frame: frame.to_vec() },
    }
}

/// The same where only the headers need be there, and no byte is written: `forward+frags`.
pub fn forward_frags(gone: Option<u32>, frame: &[u8], veth: u32) -> Hop {
    hop(understood, Checksum::Keep, gone, frame, veth)
}

/// The same where only the addresses need be: `peer`.
pub fn peer(gone: Option<u32>, frame: &[u8], veth: u32) -> Hop {
    hop(addressed, Checksum::Keep, gone, frame, veth)
}

/// Whether `trust` may take the checksum to be right.
pub fn trusts(frame: &[u8]) -> bool {
    let Some((ethernet, datagram)) = understood(frame) else { return false };
    let is = |addr, mac: [u8; 6]| owner(addr).is_some_and(|(host, _)| host.mac == mac);
    is(datagram.src, ethernet.source()) && is(datagram.dst, ethernet.destination())
}

type Read = fn(&[u8]) -> Option<(Ethernet2HeaderSlice<'_>, Datagram<'_>)>;

fn hop(read: Read, checksum: Checksum, gone: Option<u32>, frame: &[u8], veth: u32) -> Hop {
    let leave = |verdict| Hop { verdict, to: None, frame: frame.to_vec() };
    let Some((ethernet, datagram)) = read(frame) else { return leave(Verdict::Passed) };
    let to = match owner(datagram.dst) {
        Some((host, to)) if host.mac == ethernet.destination() => to,
        _ => return leave(Verdict::Passed),
    };
    match owner(datagram.src) {
        Some((_, own)) if own != veth => return leave(Verdict::Spoofed),
        Some((host, _)) if host.mac == ethernet.source() => {}
        _ => return leave(Verdict::Passed),
    }
    if gone == Some(to) {
        return leave(Verdict::Stale);
    }
    let mut frame = frame.to_vec();
    if checksum == Checksum::Complete {
        match datagram.field() {
            Field::Stays => {}
            Field::Becomes(at, field) => frame[at..at + 2].copy_from_slice(&field.to_be_bytes()),
            Field::Unclear => return leave(Verdict::Passed),
        }
    }
    Hop { verdict: Verdict::Forwarded, to: Some(to), frame }
}

fn owner(addr: IpAddr) -> Option<(Host, u32)> {
    JOINED.into_iter().find(|(host, _)| [IpAddr::from(host.v4), host.v6.into()].contains(&addr))
}

/// Untagged unicast Ethernet; IP without options or extensions; TCP, UDP, ICMP but for neighbour
/// discovery.
fn understood(frame: &[u8]) -> Option<(Ethernet2HeaderSlice<'_>, Datagram<'_>)> {
    let ethernet = Ethernet2HeaderSlice::from_slice(frame).ok()?;
    if ethernet.destination()[0] & 1 == 1 {
        return None;
    }
    let ip = &frame[14..];
    let datagram = match ethernet.ether_type() {
        EtherType::IPV4 => ipv4(ip)?,
        EtherType::IPV6 => ipv6(ip)?,
        _ => return None,
    };
    Some((ethernet, datagram))
}

/// Untagged unicast Ethernet; IP but for neighbour discovery. Of the datagram no more than the addresses.
fn addressed(frame: &[u8]) -> Option<(Ethernet2HeaderSlice<'_>, Datagram<'_>)> {
    let ethernet = Ethernet2HeaderSlice::from_slice(frame).ok()?;
    let ip = &frame[14..];
    let (src, dst): (IpAddr, IpAddr) = match ethernet.ether_type() {
        EtherType::IPV4 if ip.len() >= 20 && ip[0] >> 4 == 4 => {
            let address = |at: usize| <[u8; 4]>::try_from(&ip[at..at + 4]).expect("four");
            (address(12).into(), address(16).into())
        }
        EtherType::IPV6 => {
            let header = Ipv6HeaderSlice::from_slice(ip).ok()?;
            let icmp = header.next_header() == IpNumber::IPV6_ICMP;
            let discovery = |kind: &u8| (133..=137).contains(kind);
            if icmp && (header.payload_length() < 8 || ip.get(40).is_some_and(discovery)) {
                return None;
            }
            (header.source_addr().into(), header.destination_addr().into())
        }
        _ => return None,
    };
    let (protocol, payload) = (IpNumber::IPV6_NO_NEXT_HEADER, &ip[..0]);
    let datagram = Datagram { src, dst, protocol, fragment: false, at: 14, payload, whole: false };
    (ethernet.destination()[0] & 1 == 0).then_some((ethernet, datagram))
}

fn ipv4(ip: &[u8]) -> Option<Datagram<'_>> {
    let header = Ipv4HeaderSlice::from_slice(ip).ok().filter(|header| header.ihl() == 5)?;
    let protocol = header.protocol();
    let payload = ip.get(20..usize::from(header.total_len()));
    [IpNumber::ICMP, IpNumber::TCP, IpNumber::UDP].contains(&protocol).then_some(Datagram {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol,
        fragment: header.is_fragmenting_payload(),
        at: 14 + 20,
        payload: payload.unwrap_or_default(),
        whole: payload.is_some(),
    })
}

fn ipv6(ip: &[u8]) -> Option<Datagram<'_>> {
    let header = Ipv6HeaderSlice::from_slice(ip).ok()?;
    let protocol = header.next_header();
    let payload = ip.get(40..40 + usize::from(header.payload_length()));
    let known = match protocol {
        IpNumber::TCP | IpNumber::UDP => true,
        IpNumber::IPV6_ICMP => header.payload_length() >= 8 && !(133..=137).contains(ip.get(40)?),
        _ => false,
    };
    known.then_some(Datagram {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol,
        fragment: false,
        at: 14 + 40,
        payload: payload.unwrap_or_default(),
        whole: payload.is_some(),
    })
}

impl Datagram<'_> {
    fn field(&self) -> Field {
        let (header, check) = match self.protocol {
            _ if self.fragment => return Field::Stays,
            IpNumber::TCP => (20, 16),
            IpNumber::UDP => (8, 6),
            _ => return Field::Stays,
        };
        if !(header..=4095).contains(&self.payload.len()) {
            return Field::Unclear;
        }
        let found = u16::from_be_bytes([self.payload[check], self.payload[check + 1]]);
        let partial = found == folded(&self.pseudo_header());
        match self.protocol {
            _ if partial => {
                let sum = Sum16BitWords::new().add_slice(self.payload);
                Field::Becomes(self.at + check, sum.to_ones_complement_with_no_zero().to_be())
            }
            IpNumber::TCP => Field::Stays,
            _ if found != 0 && self.verifies() => Field::Stays,
            _ => Field::Unclear,
        }
    }

    fn verifies(&self) -> bool {
        folded(&self.pseudo_header().add_slice(self.payload)) == 0xffff
    }

    fn pseudo_header(&self) -> Sum16BitWords {
        let mut sum = Sum16BitWords::new();
        for addr in [self.src, self.dst] {
            sum = match addr {
                IpAddr::V4(addr) => sum.add_4bytes(addr.octets()),
                IpAddr::V6(addr) => sum.add_16bytes(addr.octets()),
            };
        }
        sum.add_2bytes([0, self.protocol.0]).add_2bytes((self.payload.len() as u16).to_be_bytes())
    }
}

fn folded(sum: &Sum16BitWords) -> u16 {
    !sum.ones_complement().to_be()
}
