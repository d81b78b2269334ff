//! Frames of ours: which probe one belongs to, and whether its checksum is right.

use std::net::IpAddr;

use xhop_asm::net::{eth, ipv4, ipv6, proto, udp};
use xhop_vm::packet::checksum;
use xhop_vm::wire::Wire;

use crate::sys::tap::MARK_AT;

/// Bytes of the mark that begins what a probe carries: a number of this run, the probe's place, and zero.
pub const MARK: usize = 6;

/// What a probe carries: `count` pieces of `bytes`, each with the mark.
pub fn payload(run: u32, probe: u8, bytes: usize, count: usize) -> Vec<u8> {
    let piece = |_| {
        let mut piece = run.to_be_bytes().to_vec();
        piece.extend([probe, 0]);
        // No two neighbours alike: a word that is lost or swapped changes the sum.
        piece.extend((MARK..bytes).map(|n| (n * 7 + 1) as u8));
        piece
    };
    (0..count).flat_map(piece).collect()
}

/// The place of the probe that this payload is of, if it is of this run.
pub fn probe_of(payload: &[u8], run: u32) -> Option<u8> {
    (payload.get(..4)? == run.to_be_bytes()).then(|| payload.get(4).copied())?
}

/// A frame that carries a mark.
pub struct Marked<'a> {
    /// To whom it is.
    pub to: IpAddr,
    /// What follows the header of UDP or ICMP.
    pub payload: &'a [u8],
    /// Whether the checksum there is right.
    pub right: bool,
}

impl<'a> Marked<'a> {
    /// Reads a frame; `None` if it is none of IP, or cut short.
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let wire = Wire::read(frame)?;
        let (from, to) = wire.ips.filter(|_| !wire.is_arp())?;
        let [at4, at6] = MARK_AT.map(|at| at as usize);
        let net = frame.get(eth::LEN as usize..)?;
        let (at, header) = if to.is_ipv4() { (at4, ipv4::LEN) } else { (at6, ipv6::LEN) };
        let len = match to {
            IpAddr::V4(_) => u16_at(net, ipv4::TOTAL_LENGTH as usize)?,
            IpAddr::V6(_) => u16_at(net, ipv6::PAYLOAD_LENGTH as usize)? + ipv6::LEN as usize,
        };
        // From a NIC it would be padded.
        let l4 = net.get(header as usize..len.min(net.len()))?;
        let right = is_right(from, to, wire.protocol?, l4);
        Some(Self { to, payload: frame.get(at..eth::LEN as usize + len.min(net.len()))?, right })
    }
}

/// Whether the checksum of UDP or ICMP is (RFC 1071): with it the sum is all ones.
fn is_right(from: IpAddr, to: IpAddr, protocol: u8, l4: &[u8]) -> bool {
    let kind = i32::from(protocol);
    if kind == proto::UDP && to.is_ipv4() && u16_at(l4, udp::CHECK as usize) == Some(0) {
        return true;
    }
    let mut summed = Vec::new();
    if kind != proto::ICMP {
        for ip in [from, to] {
            match ip {
                IpAddr::V4(ip) => summed.extend(ip.octets()),
                IpAddr::V6(ip) => summed.extend(ip.octets()),
            }
        }
        summed.extend((l4.len() as u32).to_be_bytes());
        summed.extend([0, 0, 0, protocol]);
    }
    summed.extend(l4);
    checksum(&summed) == 0
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|chunk| usize::from(u16::from_be_bytes(*chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xhop_vm::packet::{icmp, icmp6, udp, udp6};

    #[test]
    fn sums_that_are_right_and_half_sums() {
        let carried = payload(7, 3, 33, 1);
        for packet in [udp(), udp6(), icmp(), icmp6()] {
            // Of ICMP the payload begins with identifier and sequence number.
            let packet = match packet.check_offset() {
                Some(at) if at + 6 == packet.l4_offset() + 8 => {
                    packet.payload([&[1, 2, 3, 4], &carried[..]].concat())
                }
                _ => packet.payload(carried.clone()),
            };
            for packet in [packet.clone(), packet.clone().padded()] {
                let bytes = packet.bytes();
                let marked = Marked::read(&bytes).expect("a frame");
                assert!(marked.right, "{packet:?}");
                assert_eq!(marked.payload, carried, "{packet:?}");
                assert_eq!(probe_of(marked.payload, 7), Some(3));
                assert_eq!(probe_of(marked.payload, 8), None);
            }
            let half = packet.clone().partial().bytes();
            let icmp_v4 = packet.protocol() == 1;
            assert_eq!(Marked::read(&half).expect("a frame").right, icmp_v4, "{packet:?}");
            for len in 0..half.len() {
                // Whatever it says.
                let _ = Marked::read(&half[..len]);
            }
        }
    }

    #[test]
    fn a_sum_of_zero_is_none() {
        let none = |packet: xhop_vm::packet::Packet| {
            let bytes = packet.payload([1; 9]).check(xhop_vm::packet::Check::Field(0)).bytes();
            Marked::read(&bytes).expect("a frame").right
        };
        assert!(none(udp()));
        assert!(!none(udp6()));
    }
}
