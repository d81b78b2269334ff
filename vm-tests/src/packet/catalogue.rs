//! The packets that an expert would try: for every program, in the VM and in the kernel.

use super::{
    Check, Extension, GATEWAY, L4, Packet, arp, captured, icmp, icmp6, neighbour_solicitation,
    sctp, tcp, tcp6, udp, udp6,
};

/// A frame with a name that says what is special about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Unique in the catalogue, the same in every run.
    pub name: String,
    /// At least 14 bytes: `BPF_PROG_TEST_RUN` takes no less.
    pub frame: Vec<u8>,
}

/// The shortest frame that the kernel runs a program on (`ETH_HLEN`).
const SHORTEST: usize = 14;
/// The longest payload that fits MTU 1500 in TCP over IPv4.
const LONGEST_PAYLOAD: usize = 1460;

/// All cases, in a fixed order. The longest has 1514 bytes.
pub fn catalogue() -> Vec<Case> {
    let mut cases = Vec::new();
    lengths(&mut cases);
    truncations(&mut cases);
    checks(&mut cases);
    tags_and_headers(&mut cases);
    fragments(&mut cases);
    others(&mut cases);
    wrong_headers(&mut cases);
    for (n, captured) in captured().into_iter().enumerate() {
        add(&mut cases, format!("captured SYN {n}"), captured.frame_partial);
    }
    cases
}

fn add(cases: &mut Vec<Case>, name: impl Into<String>, frame: Vec<u8>) {
    cases.push(Case { name: name.into(), frame });
}

fn families() -> [(&'static str, Packet); 4] {
    [("tcp4", tcp()), ("udp4", udp()), ("tcp6", tcp6()), ("udp6", udp6())]
}

/// Payloads of every length near the sizes where checksum code changes its step.
fn lengths(cases: &mut Vec<Case>) {
    let near = [0..=9, 14..=17, 30..=34, 61..=68, 125..=131, 253..=259, 509..=516, 1021..=1028];
    let most = [1399, 1400, 1439, 1440, LONGEST_PAYLOAD - 1, LONGEST_PAYLOAD];
    for (family, packet) in families() {
        for len in near.clone().into_iter().flatten().chain(most) {
            // IPv6 has 20 bytes less of an MTU of 1500.
            if len > LONGEST_PAYLOAD - 20 && family.ends_with('6') {
                continue;
            }
            let packet = packet.clone().payload_len(len);
            add(cases, format!("{family}, payload {len}, whole"), packet.bytes());
            add(cases, format!("{family}, payload {len}, partial"), packet.partial().bytes());
        }
    }
}

/// Frames that end too early, wherever they can.
fn truncations(cases: &mut Vec<Case>) {
    for (family, packet) in families() {
        let frame = packet.payload_len(5).partial().bytes();
        for len in SHORTEST..frame.len() {
            add(cases, format!("{family}, cut to {len} bytes"), frame[..len].to_vec());
        }
    }
    let tagged = tcp().qinq(7, 5).partial().bytes();
    for len in SHORTEST..tagged.len() {
        add(cases, format!("qinq tcp4, cut to {len} bytes"), tagged[..len].to_vec());
    }
}

fn checks(cases: &mut Vec<Case>) {
    for (family, packet) in families() {
        let packet = packet.payload_len(33);
        for field in [0, 0xffff, 0xdead] {
            let frame = packet.clone().check(Check::Field(field)).bytes();
            add(cases, format!("{family}, checksum field {field:#06x}"), frame);
        }
        for len in 0..=6 {
            let packet = packet.clone().payload_len(len).padded();
            add(cases, format!("{family}, payload {len}, padded, whole"), packet.bytes());
            add(
                cases,
                format!("{family}, payload {len}, padded, partial"),
                packet.partial().bytes(),
            );
        }
    }
    // The right sum is 0, which UDP must send as 0xffff.
    for (name, packet) in [("udp4", udp()), ("udp6", udp6())] {
        let packet = with_sum_zero(packet);
        add(cases, format!("{name}, sum 0, whole"), packet.bytes());
        add(cases, format!("{name}, sum 0, partial"), packet.partial().bytes());
    }
}

/// Chooses a payload of two bytes that makes the checksum 0.
fn with_sum_zero(packet: Packet) -> Packet {
    let packet = packet.payload([0, 0]);
    let frame = packet.bytes();
    let at = packet.check_offset().unwrap_or_default();
    // The checksum is what the sum lacks to all ones, whose complement is 0.
    let missing = frame.get(at..at + 2).unwrap_or_default().to_vec();
    packet.payload(missing)
}

fn tags_and_headers(cases: &mut Vec<Case>) {
    for (family, packet) in families() {
        let packet = packet.payload_len(21).partial();
        let variants = [
            ("vlan", packet.clone().vlan(5)),
            ("priority tag", packet.clone().vlan(0xe000)),
            ("qinq", packet.clone().qinq(7, 5)),
            ("three tags", packet.clone().qinq(7, 5).vlan(6)),
            ("through the gateway", packet.clone().via(GATEWAY)),
            ("through the gateway, ttl 2", packet.clone().via(GATEWAY).ttl(2)),
            ("through the gateway, ttl 1", packet.clone().via(GATEWAY).ttl(1)),
            ("through the gateway, ttl 0", packet.clone().via(GATEWAY).ttl(0)),
            ("ttl 1", packet.ttl(1)),
        ];
        for (name, packet) in variants {
            add(cases, format!("{family}, {name}"), packet.bytes());
        }
    }
    for len in [4, 8, 40] {
        // Router alert (RFC 2113), then no-operations.
        let mut options = vec![0x94, 4, 0, 0];
        options.resize(len, 1);
        let packet = tcp().payload_len(21).options(options).partial();
        add(cases, format!("tcp4, {len} bytes of IP options"), packet.bytes());
    }
    let extensions = [
        ("hop-by-hop", vec![Extension::HopByHop]),
        ("destination options", vec![Extension::Destination]),
        ("two extension headers", vec![Extension::HopByHop, Extension::Destination]),
    ];
    for (name, extensions) in extensions {
        for (family, packet) in [("tcp6", tcp6()), ("udp6", udp6())] {
            let packet = packet.payload_len(21).partial();
            let packet = extensions.iter().fold(packet, |packet, ext| packet.extension(*ext));
            add(cases, format!("{family}, {name}"), packet.bytes());
        }
    }
}

fn fragments(cases: &mut Vec<Case>) {
    for (family, packet) in families() {
        let packet = packet.payload_len(32);
        for (name, offset, more) in
            [("first", 0, true), ("middle", 5, true), ("last", 9, false), ("atomic", 0, false)]
        {
            // Atomic: in IPv4 that is a packet without DF, in IPv6 it has a fragment header.
            let fragment = packet.clone().fragment(offset, more);
            add(cases, format!("{family}, {name} fragment"), fragment.bytes());
            add(cases, format!("{family}, {name} fragment, partial"), fragment.partial().bytes());
        }
    }
}

fn others(cases: &mut Vec<Case>) {
    let broadcast = [0xff; 6];
    let multicast = [0x01, 0x00, 0x5e, 0, 0, 0xfb];
    let mut to_all = udp().payload_len(8);
    to_all.dst_mac = broadcast;
    let mut to_group = udp().payload_len(8);
    to_group.dst_mac = multicast;
    let mut gre = udp().payload_len(40);
    gre.l4 = L4::Other(47);
    for (name, frame) in [
        ("arp", arp()),
        ("neighbour solicitation", neighbour_solicitation().bytes()),
        ("icmp echo", icmp().bytes()),
        ("icmp echo, padded", icmp().padded().bytes()),
        ("icmpv6 echo", icmp6().bytes()),
        ("icmpv6 echo, partial", icmp6().partial().bytes()),
        ("sctp", sctp().bytes()),
        ("sctp, partial", sctp().partial().bytes()),
        ("gre", gre.bytes()),
        ("broadcast udp4", to_all.bytes()),
        ("multicast udp4", to_group.bytes()),
    ] {
        add(cases, name, frame);
    }
}

/// Headers that lie about themselves.
fn wrong_headers(cases: &mut Vec<Case>) {
    let v4 = tcp().payload_len(21).partial().bytes();
    let v6 = tcp6().payload_len(21).partial().bytes();
    let len = |len: u16| len.to_be_bytes().to_vec();
    for (name, frame, at, bytes) in [
        ("ethertype unknown", &v4, 12, vec![0x88, 0xb5]),
        ("ethertype IPv6 on IPv4", &v4, 12, vec![0x86, 0xdd]),
        ("ethertype IPv4 on IPv6", &v6, 12, vec![0x08, 0x00]),
        ("IPv4, version 5", &v4, 14, vec![0x55]),
        ("IPv4, header of 4 words", &v4, 14, vec![0x44]),
        ("IPv4, header of 0 words", &v4, 14, vec![0x40]),
        ("IPv4, header of 15 words", &v4, 14, vec![0x4f]),
        ("IPv4, total length 0", &v4, 16, len(0)),
        ("IPv4, total length 19", &v4, 16, len(19)),
        ("IPv4, total length 20", &v4, 16, len(20)),
        ("IPv4, total length ends in the TCP header", &v4, 16, len(39)),
        ("IPv4, total length without the payload", &v4, 16, len(40)),
        ("IPv4, total length one too long", &v4, 16, len(62)),
        ("IPv4, total length 65535", &v4, 16, len(65535)),
        ("IPv6, version 4", &v6, 14, vec![0x40]),
        ("IPv6, payload length 0", &v6, 18, len(0)),
        ("IPv6, payload length ends in the TCP header", &v6, 18, len(19)),
        ("IPv6, payload length one too long", &v6, 18, len(42)),
        ("IPv6, payload length 65535", &v6, 18, len(65535)),
        ("IPv6, no next header", &v6, 20, vec![59]),
    ] {
        let mut frame = frame.clone();
        frame.splice(at..at + bytes.len(), bytes);
        add(cases, name, frame);
    }
    let mut udp_lies = udp().payload_len(21).partial().bytes();
    for (name, length) in [("0", 0), ("7", 7), ("one too long", 30), ("one too short", 28)] {
        udp_lies.splice(38..40, len(length));
        add(cases, format!("udp4, UDP length {name}"), udp_lies.clone());
    }
}
