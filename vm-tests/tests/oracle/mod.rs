//! A second opinion on checksums, by code that is not ours.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// The checksum of a frame's TCP, UDP or ICMP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sums {
    /// What the frame holds.
    pub field: u16,
    /// What a receiver wants to find.
    pub right: u16,
}

/// `None` where there is no such checksum: other protocols, fragments, broken frames.
pub fn sums(frame: &[u8]) -> Option<Sums> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    match (packet.net?, packet.transport?) {
        (NetSlice::Ipv4(ip), transport) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            Some(match transport {
                TransportSlice::Tcp(tcp) => {
                    Sums { field: tcp.checksum(), right: tcp.calc_checksum_ipv4(src, dst).ok()? }
                }
                TransportSlice::Udp(udp) => Sums {
                    field: udp.checksum(),
                    right: udp.to_header().calc_checksum_ipv4_raw(src, dst, udp.payload()).ok()?,
                },
                TransportSlice::Icmpv4(icmp) => Sums {
                    field: icmp.checksum(),
                    right: icmp.icmp_type().calc_checksum(icmp.payload()),
                },
                _ => return None,
            })
        }
        (NetSlice::Ipv6(ip), transport) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            Some(match transport {
                TransportSlice::Tcp(tcp) => {
                    Sums { field: tcp.checksum(), right: tcp.calc_checksum_ipv6(src, dst).ok()? }
                }
                TransportSlice::Udp(udp) => Sums {
                    field: udp.checksum(),
                    right: udp.to_header().calc_checksum_ipv6_raw(src, dst, udp.payload()).ok()?,
                },
                TransportSlice::Icmpv6(icmp) => Sums {
                    field: icmp.checksum(),
                    right: icmp.icmp_type().calc_checksum(src, dst, icmp.payload()).ok()?,
                },
                _ => return None,
            })
        }
        _ => None,
    }
}
