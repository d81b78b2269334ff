//! The packet's headers, as far as a path knows them: what the bytes that it touches are called.

use super::scalar::Scalar;
use crate::insn::AluOp;
use crate::net::{eth, ipv4, proto};

/// Bytes of the packet that a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    /// From the packet's first byte.
    pub(super) off: u32,
    /// How many bytes.
    pub(super) len: u32,
    /// In host order, of a machine that is little-endian.
    pub(super) swapped: bool,
}

impl Field {
    /// Whether the register still holds it after this operation.
    pub(super) fn survives(self, op: AluOp, other: Scalar) -> bool {
        let all = if self.len == 8 { u64::MAX } else { (1 << (8 * self.len)) - 1 };
        op == AluOp::And && other.known().is_some_and(|mask| mask & all == all)
    }

    /// Whether some of its bytes are in `start..end`.
    pub(super) fn meets(self, start: u32, end: u32) -> bool {
        start < self.off + self.len && self.off < end
    }

    /// The value in host order, where the register holds `value`.
    fn host_order(self, value: u64) -> u64 {
        match (self.swapped, self.len) {
            // More than it can hold stays so.
            (false, 2) if value <= u16::MAX.into() => u64::from((value as u16).swap_bytes()),
            _ => value,
        }
    }
}

/// What a path has found out about its packet. It names what is done, and leaves out what no packet can
/// make happen; what may be done does not depend on it, as the kernel knows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Headers {
    ethertype: Option<u64>,
    /// The first byte of the IP header.
    version: Option<u64>,
    protocol: Option<u64>,
    /// A field was found to be two things at once.
    pub(super) impossible: bool,
}

const IP: u32 = eth::LEN as u32;

impl Headers {
    /// A comparison has shown what a field holds, or (`equal` false) one thing that it does not.
    pub(super) fn learn(&mut self, field: Field, value: u64, equal: bool) {
        let value = field.host_order(value);
        let known = match (field.off, field.len) {
            (12, 2) => &mut self.ethertype,
            (IP, 1) => &mut self.version,
            (23, 1) if self.is(eth::IPV4) => &mut self.protocol,
            (20, 1) if self.is(eth::IPV6) => &mut self.protocol,
            _ => return,
        };
        let contradicts = known.is_some_and(|known| (known == value) != equal);
        if equal {
            *known = Some(value);
        }
        self.impossible |= contradicts;
    }

    /// The packet's bytes `start..end` were written: what was known of them is no more.
    pub(super) fn forget(&mut self, start: u32, end: u32) {
        let hit = |off, len| Field { off, len, swapped: false }.meets(start, end);
        if hit(12, 2) {
            self.ethertype = None;
        }
        if hit(IP, 1) {
            self.version = None;
        }
        // Where it stands, the EtherType tells.
        if hit(20, 1) || hit(23, 1) || hit(12, 2) {
            self.protocol = None;
        }
    }

    /// Whether `self` knows all that `other` knows.
    pub(super) fn knows(&self, other: &Self) -> bool {
        let same = |mine, others: Option<u64>| others.is_none() || mine == others;
        same(self.ethertype, other.ethertype)
            && same(self.version, other.version)
            && same(self.protocol, other.protocol)
            && (self.impossible || !other.impossible)
    }

    fn is(&self, ethertype: i32) -> bool {
        self.ethertype == Some(ethertype as u64)
    }

    /// Where the IP header ends, if that is known.
    fn payload(&self) -> Option<u32> {
        match (self.is(eth::IPV4), self.is(eth::IPV6)) {
            (true, _) if self.version == Some(ipv4::PLAIN as u64) => Some(IP + 20),
            (_, true) => Some(IP + 40),
            _ => None,
        }
    }

    /// The named pieces of `start..end` of the packet, in order.
    pub(super) fn pieces(&self, start: u32, end: u32) -> Vec<(&'static str, u32, u32)> {
        let mut pieces = Vec::new();
        let mut at = start;
        while at < end {
            let (name, until) = self.name(at);
            let until = until.min(end).max(at + 1);
            pieces.push((name, at, until));
            at = until;
        }
        pieces
    }

    /// What the bytes from `off` on are, no closer than a header.
    pub(super) fn region(&self, off: u32) -> &'static str {
        if self.payload().is_some_and(|payload| off >= payload) { "l4" } else { "frame" }
    }

    /// What the byte at `off` belongs to, and where that ends.
    fn name(&self, off: u32) -> (&'static str, u32) {
        if off < IP {
            return find(ETH, 0, off).unwrap_or(("eth", IP));
        }
        if let Some(payload) = self.payload().filter(|payload| off >= *payload) {
            let table = match self.protocol.map(|protocol| protocol as i32) {
                Some(proto::TCP) => TCP,
                Some(proto::UDP) => UDP,
                Some(proto::ICMP | proto::ICMPV6) => ICMP,
                _ => &[],
            };
            return find(table, payload, off).unwrap_or(("l4", u32::MAX));
        }
        let table = match (self.is(eth::IPV4), self.is(eth::IPV6)) {
            (true, _) => IPV4,
            (_, true) => IPV6,
            _ => &[],
        };
        find(table, IP, off).unwrap_or(("frame", u32::MAX))
    }
}

type Table = &'static [(&'static str, u32)];

/// The entry of `table`, which begins at `base`, that holds `off`: its name, and where it ends.
fn find(table: Table, base: u32, off: u32) -> Option<(&'static str, u32)> {
    let mut end = base;
    table.iter().find_map(|(name, len)| {
        end += len;
        (off < end).then_some((*name, end))
    })
}

const ETH: Table = &[("eth.dst", 6), ("eth.src", 6), ("eth.type", 2)];
const IPV4: Table = &[
    ("ip.version", 1),
    ("ip.tos", 1),
    ("ip.length", 2),
    ("ip.id", 2),
    ("ip.fragment", 2),
    ("ip.ttl", 1),
    ("ip.protocol", 1),
    ("ip.check", 2),
    ("ip.src", 4),
    ("ip.dst", 4),
];
const IPV6: Table = &[
    ("ip6.version", 4),
    ("ip6.length", 2),
    ("ip6.next", 1),
    ("ip6.hops", 1),
    ("ip6.src", 16),
    ("ip6.dst", 16),
];
const TCP: Table = &[
    ("tcp.sport", 2),
    ("tcp.dport", 2),
    ("tcp.seq", 4),
    ("tcp.ack", 4),
    ("tcp.flags", 2),
    ("tcp.window", 2),
    ("tcp.check", 2),
    ("tcp.urgent", 2),
];
const UDP: Table = &[("udp.sport", 2), ("udp.dport", 2), ("udp.length", 2), ("udp.check", 2)];
const ICMP: Table = &[("icmp.type", 1), ("icmp.code", 1), ("icmp.check", 2)];
