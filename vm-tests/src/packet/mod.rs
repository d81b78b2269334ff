//! Test packets as values: what differs from a plain packet is said, nothing else.
//!
//! ```
//! use xhop_vm::packet::{Check, tcp, udp6};
//!
//! let syn = tcp().vlan(5).ttl(1).payload(b"odd").check(Check::Partial).bytes();
//! let datagram = udp6().port(53).payload([0; 1400]).bytes();
//! # assert_eq!((syn.len(), datagram.len()), (14 + 4 + 20 + 20 + 3, 14 + 40 + 8 + 1400));
//! ```

mod build;
mod captured;
mod catalogue;
mod net;
mod sum;

pub use captured::{Captured, captured};
pub use catalogue::{Case, catalogue};
pub use net::{Extension, Ipv4, Ipv6, Net};
pub use sum::{checksum, pseudo_sum};

/// A container or the bridge, as the sender or receiver of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub v4: [u8; 4],
    /// Its IPv6 address.
    pub v6: [u8; 16],
}

/// The bridge: 172.17.0.1.
pub const GATEWAY: Host = host(1);
/// The container that sends: 172.17.0.2, fd00:17::2.
pub const A: Host = host(2);
/// The container that receives: 172.17.0.3, fd00:17::3.
pub const B: Host = host(3);

/// The host with this last byte in all of its addresses.
pub const fn host(n: u8) -> Host {
    Host {
        mac: [0x02, 0x42, 0xac, 0x11, 0x00, n],
        v4: [172, 17, 0, n],
        v6: [0xfd, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n],
    }
}

/// TPID of a VLAN tag (IEEE 802.1Q, `ETH_P_8021Q`).
pub const ETH_P_8021Q: u16 = 0x8100;
/// TPID of a service provider's outer tag (IEEE 802.1ad, `ETH_P_8021AD`).
pub const ETH_P_8021AD: u16 = 0x88a8;

/// What the checksum field of TCP, UDP or ICMP holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// The right sum.
    Whole,
    /// The folded sum of the pseudo header, not inverted: what a stack leaves to the device
    /// (`CHECKSUM_PARTIAL`). ICMP over IPv4 has no pseudo header and gets its whole sum, SCTP 0.
    Partial,
    /// This, be it right or not. 0 in UDP over IPv4 means that there is no sum.
    Field(u16),
}

/// What IP carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum L4 {
    /// TCP, with the options after its 20 bytes.
    Tcp(Tcp),
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// ICMP, of IPv4 or IPv6: the payload is all that follows the four bytes with the checksum.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// SCTP: 12 bytes of header, with a CRC32c.
    Sctp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// Another protocol, by number: all of it is payload.
    Other(u8),
}

/// The fields of a TCP header that tests vary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// `FIN` 1, `SYN` 2, `RST` 4, `PSH` 8, `ACK` 16.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// A multiple of 4 bytes, at most 40.
    pub options: Vec<u8>,
}

/// A packet. Its fields are open for what the methods have no word for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Ethernet source.
    pub src_mac: [u8; 6],
    /// Ethernet destination.
    pub dst_mac: [u8; 6],
    /// VLAN tags, outermost first: TPID and TCI.
    pub tags: Vec<(u16, u16)>,
    /// The IP header.
    pub net: Net,
    /// The header after it. A later fragment has none: its payload stands there.
    pub l4: L4,
    /// What follows.
    pub payload: Vec<u8>,
    /// What the checksum field of `l4` holds.
    pub check: Check,
    /// Frames are made at least this long, with bytes that are not zero: what sums them is wrong.
    pub min_len: usize,
}

fn packet(net: Net, l4: L4) -> Packet {
    Packet {
        src_mac: A.mac,
        dst_mac: B.mac,
        tags: Vec::new(),
        net,
        l4,
        payload: Vec::new(),
        check: Check::Whole,
        min_len: 0,
    }
}

fn plain_tcp() -> L4 {
    L4::Tcp(Tcp {
        src_port: 44498,
        dst_port: 80,
        seq: 1_956_521_919,
        ack: 1_119_689_020,
        flags: 0x18,
        window: 502,
        options: Vec::new(),
    })
}

/// A TCP segment over IPv4, from [`A`] to [`B`], without payload.
pub fn tcp() -> Packet {
    packet(Net::v4(), plain_tcp())
}

/// A TCP segment over IPv6.
pub fn tcp6() -> Packet {
    packet(Net::v6(), plain_tcp())
}

/// A UDP datagram over IPv4.
pub fn udp() -> Packet {
    packet(Net::v4(), L4::Udp { src_port: 40000, dst_port: 5201 })
}

/// A UDP datagram over IPv6.
pub fn udp6() -> Packet {
    packet(Net::v6(), L4::Udp { src_port: 40000, dst_port: 5201 })
}

/// An ICMP echo request; its payload starts with identifier and sequence number.
pub fn icmp() -> Packet {
    packet(Net::v4(), L4::Icmp { kind: 8, code: 0 }).payload([0x12, 0x34, 0, 1])
}

/// An ICMPv6 echo request.
pub fn icmp6() -> Packet {
    packet(Net::v6(), L4::Icmp { kind: 128, code: 0 }).payload([0x12, 0x34, 0, 1])
}

/// An SCTP packet over IPv4 with one COOKIE ACK chunk.
pub fn sctp() -> Packet {
    packet(Net::v4(), L4::Sctp { src_port: 5000, dst_port: 5001 }).payload([11, 0, 0, 4])
}

/// The neighbour solicitation (RFC 4861, 4.3) by which [`A`] looks for [`B`].
pub fn neighbour_solicitation() -> Packet {
    let mut body = vec![0; 4];
    body.extend(B.v6);
    // Option: source link-layer address, one unit of 8 bytes.
    body.extend([1, 1]);
    body.extend(A.mac);
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 3];
    let ip = Ipv6 { dst: group, hop_limit: 255, ..Ipv6::default() };
    let mut packet = packet(Net::V6(ip), L4::Icmp { kind: 135, code: 0 }).payload(body);
    packet.dst_mac = [0x33, 0x33, 0xff, 0, 0, 3];
    packet
}

/// The ARP request (RFC 826) by which [`A`] looks for [`B`]: 42 bytes.
pub fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(A.mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(A.mac);
    frame.extend(A.v4);
    frame.extend([0; 6]);
    frame.extend(B.v4);
    frame
}

impl Packet {
    /// Who sends: both addresses.
    pub fn from(mut self, host: Host) -> Self {
        self.src_mac = host.mac;
        match &mut self.net {
            Net::V4(ip) => ip.src = host.v4,
            Net::V6(ip) => ip.src = host.v6,
        }
        self
    }

    /// Who receives: both addresses.
    pub fn to(mut self, host: Host) -> Self {
        self.dst_mac = host.mac;
        match &mut self.net {
            Net::V4(ip) => ip.dst = host.v4,
            Net::V6(ip) => ip.dst = host.v6,
        }
        self
    }

    /// The next hop alone: the Ethernet destination.
    pub fn via(mut self, host: Host) -> Self {
        self.dst_mac = host.mac;
        self
    }

    /// Adds a VLAN tag inside of those that are there.
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((ETH_P_8021Q, id));
        self
    }

    /// Adds a provider's tag and a VLAN tag.
    pub fn qinq(mut self, outer: u16, inner: u16) -> Self {
        self.tags.push((ETH_P_8021AD, outer));
        self.vlan(inner)
    }

    /// Time to live, or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        match &mut self.net {
            Net::V4(ip) => ip.ttl = ttl,
            Net::V6(ip) => ip.hop_limit = ttl,
        }
        self
    }

    /// IPv4 options, a multiple of 4 bytes and at most 40. IPv6 has none: see [`Packet::extension`].
    pub fn options(mut self, options: impl Into<Vec<u8>>) -> Self {
        if let Net::V4(ip) = &mut self.net {
            ip.options = options.into();
        }
        self
    }

    /// Adds an IPv6 extension header. IPv4 has none: see [`Packet::options`].
    pub fn extension(mut self, extension: Extension) -> Self {
        if let Net::V6(ip) = &mut self.net {
            ip.extensions.push(extension);
        }
        self
    }

    /// Makes it a fragment: `offset` in units of 8 bytes, `more` unless it is the last one.
    /// At an offset above 0 the payload follows the IP header at once.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        match &mut self.net {
            Net::V4(ip) => {
                (ip.dont_fragment, ip.more_fragments, ip.fragment_offset) = (false, more, offset);
            }
            Net::V6(ip) => ip.extensions.push(Extension::Fragment { offset, more, id: 0x1234 }),
        }
        self
    }

    /// The destination port of TCP, UDP and SCTP.
    pub fn port(mut self, port: u16) -> Self {
        match &mut self.l4 {
            L4::Tcp(Tcp { dst_port, .. })
            | L4::Udp { dst_port, .. }
            | L4::Sctp { dst_port, .. } => *dst_port = port,
            L4::Icmp { .. } | L4::Other(_) => {}
        }
        self
    }

    /// What follows the header.
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// A payload of `len` bytes, no two neighbours alike.
    pub fn payload_len(self, len: usize) -> Self {
        self.payload((0..len).map(|n| (n * 7 + 1) as u8).collect::<Vec<_>>())
    }

    /// What the checksum field holds.
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// As a container's stack sends it: the checksum is left to the device.
    pub fn partial(self) -> Self {
        self.check(Check::Partial)
    }

    /// At least 60 bytes long, as a frame from a NIC is. The padding is not zero.
    pub fn padded(mut self) -> Self {
        self.min_len = 60;
        self
    }
}
