//! From a [`Packet`] to its bytes.

use super::sum::{checksum, crc32c, l4_checksum};
use super::{Check, L4, Net, Packet, Tcp, pseudo_sum};

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const IPPROTO_ICMPV6: u8 = 58;
/// What a frame is padded with.
const PADDING: u8 = 0xee;

impl Packet {
    /// The frame, with all lengths and the IPv4 header's checksum right.
    pub fn bytes(&self) -> Vec<u8> {
        let l4 = self.l4_bytes();
        let mut frame = Vec::new();
        frame.extend(self.dst_mac);
        frame.extend(self.src_mac);
        for (tpid, tci) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        frame.extend(match self.net {
            Net::V4(_) => ETH_P_IP.to_be_bytes(),
            Net::V6(_) => ETH_P_IPV6.to_be_bytes(),
        });
        frame.extend(self.net.bytes(self.protocol(), l4.len()));
        frame.extend(l4);
        frame.resize(frame.len().max(self.min_len), PADDING);
        frame
    }

    /// The protocol's number in the IP header.
    pub fn protocol(&self) -> u8 {
        match (&self.l4, &self.net) {
            (L4::Tcp(_), _) => 6,
            (L4::Udp { .. }, _) => 17,
            (L4::Icmp { .. }, Net::V4(_)) => 1,
            (L4::Icmp { .. }, Net::V6(_)) => IPPROTO_ICMPV6,
            (L4::Sctp { .. }, _) => 132,
            (L4::Other(protocol), _) => *protocol,
        }
    }

    /// Where the L4 header starts in the frame.
    pub fn l4_offset(&self) -> usize {
        let net = match &self.net {
            Net::V4(ip) => 20 + ip.options.len(),
            Net::V6(ip) => 40 + 8 * ip.extensions.len(),
        };
        14 + 4 * self.tags.len() + net
    }

    /// Where the 16-bit checksum is in the frame; `None` if it has none.
    pub fn check_offset(&self) -> Option<usize> {
        Some(self.l4_offset() + self.check_in_l4()?)
    }

    /// Where the 16-bit checksum is in the L4 header.
    fn check_in_l4(&self) -> Option<usize> {
        match self.l4 {
            _ if self.net.later_fragment() => None,
            L4::Tcp(_) => Some(16),
            L4::Udp { .. } => Some(6),
            L4::Icmp { .. } => Some(2),
            L4::Sctp { .. } | L4::Other(_) => None,
        }
    }

    /// Header and payload, with the checksum as wished.
    fn l4_bytes(&self) -> Vec<u8> {
        if self.net.later_fragment() {
            return self.payload.clone();
        }
        let mut l4 = self.l4.header(self.payload.len());
        l4.extend(&self.payload);
        if let Some(at) = self.check_in_l4() {
            let field = self.check_field(&l4);
            put(&mut l4, at, &field.to_be_bytes());
        } else if matches!(self.l4, L4::Sctp { .. }) && self.check == Check::Whole {
            let crc = crc32c(&l4);
            put(&mut l4, 8, &crc.to_le_bytes());
        }
        l4
    }

    /// The checksum of an L4 whose field is still zero.
    fn check_field(&self, l4: &[u8]) -> u16 {
        let protocol = self.protocol();
        let icmp = matches!((&self.l4, &self.net), (L4::Icmp { .. }, Net::V4(_)));
        match (self.check, &self.l4) {
            (Check::Field(field), _) => field,
            (_, _) if icmp => checksum(l4),
            (Check::Partial, _) => pseudo_sum(&self.net, protocol, l4.len()),
            // RFC 768: a sum of 0 is sent as ones, for 0 means that there is none.
            (Check::Whole, L4::Udp { .. }) => match l4_checksum(&self.net, protocol, l4) {
                0 => 0xffff,
                sum => sum,
            },
            (Check::Whole, _) => l4_checksum(&self.net, protocol, l4),
        }
    }
}

impl L4 {
    /// The header before `payload` bytes, its checksum zero.
    fn header(&self, payload: usize) -> Vec<u8> {
        let ports = |src: &u16, dst: &u16| [src.to_be_bytes(), dst.to_be_bytes()].concat();
        match self {
            Self::Tcp(tcp) => tcp.header(),
            Self::Udp { src_port, dst_port } => {
                let mut header = ports(src_port, dst_port);
                header.extend(((payload + 8) as u16).to_be_bytes());
                header.extend([0, 0]);
                header
            }
            Self::Icmp { kind, code } => vec![*kind, *code, 0, 0],
            Self::Sctp { src_port, dst_port } => {
                let mut header = ports(src_port, dst_port);
                // Verification tag, then the CRC.
                header.extend([0, 0, 0, 1, 0, 0, 0, 0]);
                header
            }
            Self::Other(_) => Vec::new(),
        }
    }
}

impl Tcp {
    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.src_port.to_be_bytes());
        header.extend(self.dst_port.to_be_bytes());
        header.extend(self.seq.to_be_bytes());
        header.extend(self.ack.to_be_bytes());
        let words = 5 + self.options.len() / 4;
        header.extend([(words << 4) as u8, self.flags]);
        header.extend(self.window.to_be_bytes());
        // Checksum and urgent pointer.
        header.extend([0; 4]);
        header.extend(&self.options);
        header
    }
}

impl Net {
    /// The IP header with its extensions, before `len` bytes of `protocol`.
    fn bytes(&self, protocol: u8, len: usize) -> Vec<u8> {
        match self {
            Self::V4(ip) => {
                let header_len = 20 + ip.options.len();
                let mut header = vec![0x40 | (header_len / 4) as u8, ip.tos];
                header.extend(((header_len + len) as u16).to_be_bytes());
                header.extend(ip.id.to_be_bytes());
                let flags = u16::from(ip.dont_fragment) << 14 | u16::from(ip.more_fragments) << 13;
                header.extend((flags | ip.fragment_offset & 0x1fff).to_be_bytes());
                header.extend([ip.ttl, protocol, 0, 0]);
                header.extend(ip.src);
                header.extend(ip.dst);
                header.extend(&ip.options);
                let check = checksum(&header);
                put(&mut header, 10, &check.to_be_bytes());
                header
            }
            Self::V6(ip) => {
                let mut nexts = ip.extensions.iter().map(|ext| ext.number()).chain([protocol]);
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(((8 * ip.extensions.len() + len) as u16).to_be_bytes());
                header.extend([nexts.next().unwrap_or(protocol), ip.hop_limit]);
                header.extend(ip.src);
                header.extend(ip.dst);
                for (ext, next) in ip.extensions.iter().zip(nexts) {
                    header.extend(ext.bytes(next));
                }
                header
            }
        }
    }
}

/// Writes over bytes that are there already.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = *from);
}
