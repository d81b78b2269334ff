//! What a frame says of itself, for people and to find out who sends it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xhop_asm::net::{eth, ipv4, ipv6, proto};

const ETH_P_ARP: u16 = 0x0806;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const IPPROTO_SCTP: u8 = 132;
/// The only form of ARP there is: IPv4 (0x0800, 4 bytes) on Ethernet (1, 6 bytes).
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An Ethernet address, shown as `02:42:ac:11:00:02`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it may be an interface's own: no group's, and not zero.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A frame's headers, as far as they are there and understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wire {
    /// Ethernet destination.
    pub dst: Mac,
    /// Ethernet source.
    pub src: Mac,
    /// The outermost VLAN's number.
    pub vlan: Option<u16>,
    /// EtherType, after all tags.
    pub kind: u16,
    /// Of IP; of ARP the sender's and the target's.
    pub ips: Option<(IpAddr, IpAddr)>,
    /// What IP carries; in IPv6 the next header.
    pub protocol: Option<u8>,
    /// Source and destination ports; later fragments have none.
    pub ports: Option<(u16, u16)>,
}

impl Wire {
    /// Reads a frame; `None` if it is shorter than an Ethernet header.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let mac = |at| Some(Mac(*frame.get(at..)?.first_chunk()?));
        let (dst, src) = (mac(0)?, mac(6)?);
        let (mut vlan, mut at) = (None, eth::TYPE as usize);
        let mut kind = u16_at(frame, at)?;
        while matches!(kind, ETH_P_8021Q | ETH_P_8021AD) {
            let Some(inner) = u16_at(frame, at + 4) else { break };
            vlan = vlan.or(u16_at(frame, at + 2).map(|tci| tci & 0xfff));
            (kind, at) = (inner, at + 4);
        }
        let mut wire = Self { dst, src, vlan, kind, ips: None, protocol: None, ports: None };
        let _ = wire.read_net(frame.get(at + 2..).unwrap_or_default());
        Some(wire)
    }

    /// What follows Ethernet; ends with `None` where the packet or our knowledge does.
    fn read_net(&mut self, net: &[u8]) -> Option<()> {
        let at;
        match i32::from(self.kind) {
            eth::IPV4 if net.first()? >> 4 == 4 => {
                let ip = |at| Some(Ipv4Addr::from(*net.get(at as usize..)?.first_chunk::<4>()?));
                self.ips = Some((ip(ipv4::SRC)?.into(), ip(ipv4::DST)?.into()));
                self.protocol = net.get(ipv4::PROTOCOL as usize).copied();
                if u16_at(net, ipv4::FLAGS_FRAGMENT as usize)? & 0x1fff != 0 {
                    return None;
                }
                at = usize::from(net.first()? & 0xf) * 4;
            }
            eth::IPV6 if net.first()? >> 4 == 6 => {
                let ip = |at| Some(Ipv6Addr::from(*net.get(at as usize..)?.first_chunk::<16>()?));
                self.ips = Some((ip(ipv6::SRC)?.into(), ip(ipv6::DST)?.into()));
                self.protocol = net.get(ipv6::NEXT_HEADER as usize).copied();
                at = ipv6::LEN as usize;
            }
            kind if kind == i32::from(ETH_P_ARP) && net.starts_with(&ARP_HEAD) => {
                let ip = |at: usize| Some(Ipv4Addr::from(*net.get(at..)?.first_chunk::<4>()?));
                self.ips = Some((ip(14)?.into(), ip(24)?.into()));
                return None;
            }
            _ => return None,
        }
        if matches!(self.protocol.map(i32::from), Some(proto::TCP | proto::UDP))
            || self.protocol == Some(IPPROTO_SCTP)
        {
            self.ports = Some((u16_at(net, at)?, u16_at(net, at + 2)?));
        }
        Some(())
    }

    /// Whether it is ARP; then `ips` are not those of a packet.
    pub fn is_arp(&self) -> bool {
        self.kind == ETH_P_ARP
    }
}

/// One line: who to whom, and what.
impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(vlan) = self.vlan {
            write!(f, "vlan {vlan} ")?;
        }
        match (self.ips, self.ports) {
            (Some((src, dst)), _) if self.is_arp() => write!(f, "{src} > {dst} ARP"),
            (Some((src, dst)), Some((from, to))) => write!(f, "{src}.{from} > {dst}.{to} "),
            (Some((src, dst)), None) => write!(f, "{src} > {dst} "),
            (None, _) => write!(f, "{} > {} {:#06x}", self.src, self.dst, self.kind),
        }?;
        match self.protocol {
            None => Ok(()),
            Some(IPPROTO_SCTP) => f.write_str("SCTP"),
            Some(protocol) => match i32::from(protocol) {
                proto::ICMP => f.write_str("ICMP"),
                proto::TCP => f.write_str("TCP"),
                proto::UDP => f.write_str("UDP"),
                proto::ICMPV6 => f.write_str("ICMPv6"),
                other => write!(f, "protocol {other}"),
            },
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}
