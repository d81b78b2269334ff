//! A rule's expressions: what they load into registers, and with what they compare it.

use super::super::msg::{attr, attrs, text, until_nul};
use super::{BRIDGE, IPV4, IPV6, NETDEV, VALUE, number, place};
use crate::sys::rule::{Kind, Lookup, Part, Rule, Side};
use crate::sys::xtables::part::{of_match, of_target};

/// `NFTA_RULE_*`; the expression's name and what is in it: `NFTA_EXPR_*`.
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

/// From where fields are loaded: a header of the packet (`NFT_PAYLOAD_*`, the network's by what it is: IPv6's has a
/// number that is free), or `NFT_META_*` and `NFT_CT_*` from these numbers on.
const IP_HEADER: u32 = 1;
const IPV6_HEADER: u32 = 0x80;
const META: u32 = 0x100;
const CT: u32 = 0x200;

/// What may name somebody: from where, its offset there, what it is. In the order of offsets.
const FIELDS: [(u32, u32, Kind, Side); 14] = [
    (0, 0, Kind::Mac, Side::To),
    (0, 6, Kind::Mac, Side::From),
    (IP_HEADER, 12, Kind::V4, Side::From),
    (IP_HEADER, 16, Kind::V4, Side::To),
    (IPV6_HEADER, 8, Kind::V6, Side::From),
    (IPV6_HEADER, 24, Kind::V6, Side::To),
    (META | 4, 0, Kind::Ifindex, Side::From),
    (META | 5, 0, Kind::Ifindex, Side::To),
    (META | 6, 0, Kind::Ifname, Side::From),
    (META | 7, 0, Kind::Ifname, Side::To),
    (CT | 19, 0, Kind::V4, Side::Connection),
    (CT | 20, 0, Kind::V4, Side::Connection),
    (CT | 21, 0, Kind::V6, Side::Connection),
    (CT | 22, 0, Kind::V6, Side::Connection),
];

/// Expressions that neither decide nor change anything.
const SILENT: &str =
    "counter limit log byteorder connlimit quota fib exthdr numgen hash socket last rt osf";

/// Reads what follows the header of an `NFT_MSG_NEWRULE`; `None` if it is malformed. What is not understood of a
/// rule names nobody.
pub(super) fn parse(body: &[u8]) -> Option<Rule> {
    let (family, tail) = (*body.first()?, body.get(4..)?);
    let table = attr(tail, NFTA_RULE_TABLE)?;
    let mut reader = Reader {
        family,
        table,
        registers: Vec::new(),
        bytes: [0; 64],
        mapped: None,
        rule: Rule {
            by: "nftables",
            place: place(family, table, attr(tail, NFTA_RULE_CHAIN)?),
            number: attr(tail, NFTA_RULE_HANDLE)?.first_chunk().copied().map(u64::from_be_bytes)?,
            does: "continue".into(),
            parts: Vec::new(),
            lookups: Vec::new(),
            sees_bridge: !matches!(family, BRIDGE | NETDEV),
            is_local: false,
        },
    };
    for (_, expr) in attrs(attr(tail, NFTA_RULE_EXPRESSIONS).unwrap_or_default()) {
        reader.read(expr);
    }
    reader.free(0);
    Some(reader.rule)
}

/// A field in the registers.
#[derive(Clone, Copy)]
struct Register {
    /// Where it begins there, and how many bytes of it there are.
    at: usize,
    len: usize,
    kind: Kind,
    side: Side,
    /// The bits that were not cleared.
    mask: u128,
    /// Between what it must be, as far as only one end is said at a time.
    from: u128,
    to: u128,
}

/// What is known up to an expression.
struct Reader<'b> {
    family: u8,
    table: &'b [u8],
    /// In the order of where they begin.
    registers: Vec<Register>,
    /// The values that the rule has put there.
    bytes: [u8; 64],
    /// The map from which a register was filled last.
    mapped: Option<(u32, &'b [u8])>,
    rule: Rule,
}

impl<'b> Reader<'b> {
    /// Reads the next expression. Its attributes have numbers of its own: `NFTA_PAYLOAD_*` and so on.
    fn read(&mut self, expr: &'b [u8]) {
        let mut attributes = [&[][..]; 6];
        for (kind, payload) in attrs(attr(expr, NFTA_EXPR_DATA).unwrap_or_default()) {
            if let Some(at) = attributes.get_mut(usize::from(kind)) {
                *at = payload;
            }
        }
        let [_, first, second, third, fourth, fifth] = attributes;
        let of =
            |payload: &[u8]| payload.first_chunk().copied().map_or(u32::MAX, u32::from_be_bytes);
        let value = |payload: &'b [u8]| attr(payload, VALUE).unwrap_or_default();
        let [one, two, three, four] = [first, second, third, fourth].map(of);
        match until_nul(attr(expr, NFTA_EXPR_NAME).unwrap_or_default()) {
            b"payload" => {
                // By where IPv4 has its addresses: IPv6 has one before, and none begins there.
                let v4 = three >= 12 && three.saturating_add(four) <= 20;
                let v4 = self.family == IPV4 || v4 && self.family != IPV6;
                self.load(one, if two == 1 && !v4 { IPV6_HEADER } else { two }, three, four);
            }
            b"meta" => self.load(one, two | META, 0, 16),
            b"ct" => self.load(one, two | CT, 0, 16),
            b"bitwise" => self.mask(one, two, value(fourth), value(fifth)),
            b"cmp" => self.compare(one, two, value(third), value(third)),
            b"range" => self.compare(one, two, value(third), value(fourth)),
            b"lookup" => {
                for register in &self.registers {
                    let Some(at) = register.from(one_of(two)) else { continue };
                    let lookup = self.lookup(first, at, register.kind, false);
                    self.rule.lookups.push(lookup);
                }
                match three {
                    0 => self.rule.does = "vmap".into(),
                    _ => {
                        self.free(one_of(three));
                        self.mapped = Some((three, first));
                    }
                }
            }
            b"immediate" if one == 0 => self.verdict(attr(second, 2u16).unwrap_or_default()),
            b"immediate" => {
                self.free(one_of(one));
                let to = self.bytes.iter_mut().skip(one_of(one));
                to.zip(value(second)).for_each(|(to, byte)| *to = *byte);
                self.mapped = None;
            }
            b"nat" => {
                self.rule.does = if one == 0 { "snat" } else { "dnat" }.into();
                let kind = if two == u32::from(IPV6) { Kind::V6 } else { Kind::V4 };
                self.translate(kind, three, if four == u32::MAX { three } else { four });
            }
            b"match" => of_match(until_nul(first), third, self.ip(), &mut self.rule.parts),
            b"target" => {
                self.rule.does = text(first);
                of_target(until_nul(first), two, third, self.ip(), &mut self.rule.parts);
            }
            name => {
                // What is not understood is put there.
                match name {
                    b"exthdr" | b"fib" | b"numgen" | b"osf" | b"rt" | b"xfrm" => {
                        self.free(one_of(one));
                    }
                    b"hash" | b"socket" | b"tunnel" => self.free(one_of(two)),
                    b"inner" => self.free(0),
                    _ => {}
                }
                let name = text(name);
                if SILENT.split(' ').all(|silent| silent != name) {
                    self.rule.does = name;
                }
            }
        }
    }

    /// An IP address, of a table that knows of one family alone.
    fn ip(&self) -> Kind {
        if self.family == IPV6 { Kind::V6 } else { Kind::V4 }
    }

    /// So many bytes from there go to a register.
    fn load(&mut self, to: u32, source: u32, offset: u32, len: u32) {
        let to = one_of(to);
        self.free(to);
        let end = offset.saturating_add(len);
        for (from, at, kind, side) in FIELDS {
            if from == source && (offset..end).contains(&at) {
                let len = kind.size().min((end - at) as usize);
                let (at, to) = (to.saturating_add((at - offset) as usize), kind.max());
                self.registers.push(Register { at, len, kind, side, mask: to, from: 0, to });
            }
        }
    }

    /// Bits are cleared on the way from one register to another. Where others are turned, or all are moved, it is not
    /// known any more what is there.
    fn mask(&mut self, from: u32, to: u32, mask: &[u8], turned: &[u8]) {
        let mut moved = self.registers.clone();
        let to = one_of(to);
        self.free(to);
        moved.retain_mut(|register| {
            let Some(at) = register.from(one_of(from)) else { return false };
            register.mask &= register.kind.number(mask.get(at..).unwrap_or_default(), 0xff);
            register.at = to.saturating_add(at);
            // What it had to be until here has been said.
            (register.from, register.to) = (0, register.kind.max());
            !mask.is_empty() && turned.iter().all(|bits| *bits == 0)
        });
        self.registers.extend(moved);
    }

    /// What begins at a register is to be so (`NFT_CMP_*`; of `NFT_RANGE_*` the first two are the same).
    fn compare(&mut self, at: u32, op: u32, first: &[u8], last: &[u8]) {
        for register in &mut self.registers {
            let Some(skip) = register.from(one_of(at)) else { continue };
            let cut = |bytes: &[u8], fill| {
                let bytes = bytes.get(skip..).unwrap_or_default();
                register.kind.number(bytes.get(..register.len).unwrap_or(bytes), fill)
            };
            if first.len() <= skip {
                continue;
            }
            let (low, high) = (cut(first, 0), cut(last, 0xff));
            match op {
                0 | 1 => {
                    let part = Part { from: low, to: high, ..register.part() };
                    self.rule.parts.push(part.negated(op == 1));
                }
                2 => register.to = low.saturating_sub(1),
                3 => register.to = high,
                4 => register.from = high.saturating_add(1),
                _ => register.from = low,
            }
        }
    }

    fn verdict(&mut self, verdict: &[u8]) {
        let word = match number(verdict, 1).unwrap_or(0) as i32 {
            0 => "drop",
            1 => "accept",
            -3 => "jump ",
            -4 => "goto ",
            -5 => "return",
            _ => "continue",
        };
        self.rule.does = word.to_owned() + &attr(verdict, 2u16).map(text).unwrap_or_default();
    }

    /// What is in the one register up to what is in the other is the new address.
    fn translate(&mut self, kind: Kind, first: u32, last: u32) {
        if let Some((register, set)) = self.mapped.filter(|(register, _)| *register == first) {
            let lookup = self.lookup(set, 0, kind, register != 0);
            self.rule.lookups.push(lookup);
        } else if let (Some(first), Some(last)) =
            (self.bytes.get(one_of(first)..), self.bytes.get(one_of(last)..))
        {
            if !first.is_empty() {
                self.rule.parts.push(Part::between(kind, Side::Given, first, last));
            }
        }
    }

    fn lookup(&self, set: &[u8], at: usize, kind: Kind, given: bool) -> Lookup {
        let (family, table, set) = (self.family, text(self.table), text(set));
        Lookup { family, table, set, at, kind, given }
    }

    /// Of what was known from here on nothing is any more: nft(8) fills registers one after the other. What it had to
    /// be in between is said.
    fn free(&mut self, at: usize) {
        while let Some(register) = self.registers.last().copied().filter(|last| last.at >= at) {
            self.registers.pop();
            if (register.from, register.to) != (0, register.kind.max()) {
                self.rule.parts.push(register.part());
            }
        }
    }
}

impl Register {
    /// How far behind a place it begins.
    fn from(&self, at: usize) -> Option<usize> {
        self.at.checked_sub(at)
    }

    fn part(&self) -> Part {
        let Self { kind, side, from, to, mask, .. } = *self;
        Part { kind, side, from, to, mask, negated: false }
    }
}

/// The first byte of a register: of NFT_REG_1 to 4, of 16 bytes, or of NFT_REG32_00 to 15. Of another it is behind all.
fn one_of(register: u32) -> usize {
    match register {
        1..=4 => (register as usize - 1) * 16,
        8..=23 => (register as usize - 8) * 4,
        _ => 64,
    }
}
