//! Rules of packet filters by what they name: addresses and interfaces, each as a number, so that a prefix, a range
//! and a wildcard are all the same thing.

use std::cell::LazyCell;

/// What a rule may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// An Ethernet address.
    Mac,
    /// An interface, by its name; after it zeros.
    Ifname,
    /// An interface, by its index: its bytes as they are in memory.
    Ifindex,
}

impl Kind {
    /// Its size in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::V4 | Self::Ifindex => 4,
            Self::Mac => 6,
            Self::V6 | Self::Ifname => 16,
        }
    }

    /// Its bytes as a number, the first byte highest. Those that are missing are `fill`.
    pub fn number(self, bytes: &[u8], fill: u8) -> u128 {
        let byte = |at| u128::from(bytes.get(at).copied().unwrap_or(fill));
        (0..self.size()).fold(0, |number, at| number << 8 | byte(at))
    }

    /// The highest number.
    pub fn max(self) -> u128 {
        self.number(&[], 0xff)
    }
}

/// Of what in a packet something is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Whom it is from; the interface by which it comes.
    From,
    /// Whom it is to; the interface by which it goes.
    To,
    /// Of the connection that it is of, whichever way it goes itself.
    Connection,
    /// What it gets instead: a translation.
    Given,
}

/// A condition of a rule, or what it translates to: all whose bits of a mask are from one number to another, both
/// included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Of what.
    pub kind: Kind,
    /// Of which.
    pub side: Side,
    /// The first.
    pub from: u128,
    /// The last.
    pub to: u128,
    /// The bits that count. They may be any: `& 0.0.0.255`.
    pub mask: u128,
    /// All but these.
    pub negated: bool,
}

impl Part {
    /// Where the bits of `mask` are as in `value`. What is missing of both may be anything.
    pub fn masked(kind: Kind, side: Side, value: &[u8], mask: &[u8]) -> Self {
        let mask = kind.number(mask, 0);
        let only = kind.number(value, 0) & mask;
        Self { kind, side, from: only, to: only, mask, negated: false }
    }

    /// From the one to the other.
    pub fn between(kind: Kind, side: Side, from: &[u8], to: &[u8]) -> Self {
        let (from, to) = (kind.number(from, 0), kind.number(to, 0xff));
        Self { kind, side, from, to, mask: kind.max(), negated: false }
    }

    /// The same, or all but that.
    pub fn negated(self, negated: bool) -> Self {
        Self { negated, ..self }
    }

    fn covers(&self, one: &Named) -> bool {
        self.kind == one.kind && self.has(one.number)
    }

    fn has(&self, number: u128) -> bool {
        (self.from..=self.to).contains(&(number & self.mask))
    }

    /// Whether it is one, and not many.
    fn is_single(&self) -> bool {
        self.from == self.to && self.mask == self.kind.max()
    }
}

/// A rule as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Whose: `nftables`, `iptables-legacy`, `ip6tables-legacy`.
    pub by: &'static str,
    /// Its table and its chain; of nftables with the family.
    pub place: String,
    /// Of nftables its handle; else which it is in its chain, from 1.
    pub number: u64,
    /// What becomes of a packet, as who wrote it calls it: `drop`, `DNAT`.
    pub does: String,
    /// What it names.
    pub parts: Vec<Part>,
    /// And in which sets more of that is.
    pub lookups: Vec<Lookup>,
    /// Whether it sees what comes by the bridge as coming by the bridge, not by a port of it.
    pub sees_bridge: bool,
    /// Whether it sees only what is to the host itself, or from it.
    pub is_local: bool,
}

/// What is looked for in a set of nf_tables, or taken from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// `NFPROTO_*`
    pub family: u8,
    /// The table.
    pub table: String,
    /// The set.
    pub set: String,
    /// Where in the key it is.
    pub at: usize,
    /// As what.
    pub kind: Kind,
    /// Not in the key, but in what belongs to it.
    pub given: bool,
}

/// What may be named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// As what.
    pub kind: Kind,
    /// Which.
    pub number: u128,
    /// What has all of this names nobody in particular: the first and the last address of a subnet. Under any mask
    /// the one stays the lowest and the other the highest.
    pub within: (u128, u128),
    /// For people.
    pub text: String,
}

impl Named {
    /// Whether this is it, or has it among others.
    pub fn is_in(&self, part: &Part) -> bool {
        let wide = part.has(self.within.0) && part.has(self.within.1);
        part.covers(self) && (part.is_single() || !wide)
    }
}

/// Whom rules may name.
#[derive(Debug)]
pub struct Sought {
    /// Those of who is joined that are to be found.
    pub joined: Vec<Named>,
    /// Their bridge.
    pub bridge: Vec<Named>,
    /// Who else is joined there. Few rules ask for it.
    pub others: LazyCell<Vec<Named>, Others>,
}

/// Tells who else is joined.
pub type Others = Box<dyn FnOnce() -> Vec<Named>>;

impl Sought {
    /// Whom of those who are sought it names, each by its place in the list; but for what is in sets.
    pub fn named_by(&self, rule: &Rule) -> Vec<bool> {
        let named = |one: &Named| rule.parts.iter().any(|part| one.is_in(part));
        self.joined.iter().map(named).collect()
    }

    /// Whether these are interfaces by which what is joined comes or goes.
    pub fn is_here(&self, part: &Part) -> bool {
        self.bridge.iter().any(|one| part.covers(one)) || self.has_any(part)
    }

    fn has_any(&self, part: &Part) -> bool {
        let covered = |one| part.covers(one);
        self.joined.iter().any(covered) || self.others.iter().any(covered)
    }

    fn has_all(&self, part: &Part) -> bool {
        let covered = |one: &Named| one.kind != part.kind || part.covers(one);
        self.joined.iter().all(covered) && self.others.iter().all(covered)
    }

    /// Whether what was to others may be to one who is joined by this rule, or from one.
    fn is_given(&self, rule: &Rule) -> bool {
        rule.lookups.iter().any(|lookup| lookup.given)
            || rule.parts.iter().any(|part| part.side == Side::Given && self.has_any(part))
    }

    /// Whether the rule can't be for what goes from one who is joined to another, by what it says itself: it is for
    /// the host itself, for other interfaces, from others or to others, or for what comes back to whom it is from.
    pub fn is_elsewhere(&self, rule: &Rule) -> bool {
        let elsewhere = |part: &Part| match (part.kind, part.negated) {
            (Kind::Ifname | Kind::Ifindex, false) => !self.is_here(part),
            (Kind::Ifname | Kind::Ifindex, true) => {
                rule.sees_bridge && self.bridge.iter().any(|one| part.covers(one))
            }
            _ if !matches!(part.side, Side::From | Side::To) => false,
            // Of one alone it is not for others, even if nobody else is joined yet.
            (_, true) => !part.is_single() && self.has_all(part) && !self.is_given(rule),
            (_, false) => {
                let one = part.side == Side::From && part.is_single();
                one && rule.parts.contains(&Part { side: Side::To, ..*part })
                    || !self.has_any(part) && !self.is_given(rule)
            }
        };
        rule.is_local || rule.parts.iter().any(elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 4] = [10, 9, 0, 2];
    const OTHER: [u8; 4] = [10, 9, 0, 9];

    fn sought() -> Sought {
        let v4 = |address: [u8; 4]| Kind::V4.number(&address, 0);
        let name = |name: &[u8]| Named {
            kind: Kind::Ifname,
            number: Kind::Ifname.number(name, 0),
            within: (0, Kind::Ifname.max()),
            text: String::new(),
        };
        let within = (v4([10, 9, 0, 0]), v4([10, 9, 0, 255]));
        Sought {
            joined: vec![
                Named { kind: Kind::V4, number: v4(A), within, text: String::new() },
                name(b"veth-a"),
            ],
            bridge: vec![name(b"br0")],
            others: LazyCell::new(Box::new(move || {
                vec![Named { kind: Kind::V4, number: v4(OTHER), within, text: String::new() }]
            })),
        }
    }

    fn named(parts: Vec<Part>) -> Vec<usize> {
        let (place, does, lookups) = Default::default();
        let by = "nftables";
        let (sees_bridge, is_local) = (true, false);
        let rule = Rule { by, place, number: 1, does, parts, lookups, sees_bridge, is_local };
        let named = sought().named_by(&rule).into_iter().enumerate();
        let named = named.filter(|(_, named)| *named && !sought().is_elsewhere(&rule));
        named.map(|(at, _)| at).collect()
    }

    fn net(side: Side, address: [u8; 4], bits: u32) -> Part {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be_bytes();
        Part::masked(Kind::V4, side, &address, &mask)
    }

    fn by(name: &[u8]) -> Part {
        Part::between(Kind::Ifname, Side::From, name, name)
    }

    #[test]
    fn who_is_named() {
        assert_eq!(named(vec![net(Side::From, A, 32)]), [0]);
        assert_eq!(named(vec![net(Side::Given, A, 32)]), [0]);
        assert_eq!(named(vec![net(Side::To, A, 32).negated(true)]), [0]);
        assert_eq!(named(vec![net(Side::From, A, 25)]), [0], "narrower than the subnet");
        for wide in [0, 8, 24] {
            assert_eq!(named(vec![net(Side::From, A, wide)]), [] as [usize; 0], "{wide}");
        }
        assert_eq!(named(vec![net(Side::From, [10, 9, 0, 3], 32)]), [] as [usize; 0]);
        let range = |from, to| named(vec![Part::between(Kind::V4, Side::From, from, to)]);
        assert_eq!(range(&[10, 0, 0, 0], &A), [0]);
        assert_eq!(range(&[10, 0, 0, 0], &[11, 0, 0, 0]), [] as [usize; 0]);
        assert_eq!(named(vec![by(b"veth-a\0")]), [1]);
        assert_eq!(named(vec![by(b"veth")]), [1], "a wildcard");
        assert_eq!(named(vec![by(b"veth-a\0").negated(true)]), [1]);
        assert_eq!(named(vec![by(b"")]), [] as [usize; 0], "any");
        assert_eq!(named(vec![by(b"br0\0")]), [] as [usize; 0], "the bridge is nobody");
    }

    #[test]
    fn who_can_not_be_meant() {
        let a = || net(Side::From, A, 32);
        assert_eq!(named(vec![a(), by(b"br0\0")]), [0]);
        assert_eq!(named(vec![a(), by(b"eth0\0")]), [] as [usize; 0], "by a NIC");
        assert_eq!(named(vec![a(), by(b"eth0\0").negated(true)]), [0]);
        assert_eq!(named(vec![a(), by(b"br0\0").negated(true)]), [] as [usize; 0], "published");
        assert_eq!(named(vec![a(), net(Side::To, A, 32)]), [] as [usize; 0], "to itself");
        assert_eq!(named(vec![a(), net(Side::To, A, 31)]), [0]);
        let to = |address, bits| net(Side::To, address, bits);
        assert_eq!(named(vec![a(), to(OTHER, 32)]), [0], "joined too");
        assert_eq!(named(vec![a(), to([8, 8, 8, 8], 32)]), [] as [usize; 0], "to others");
        assert_eq!(named(vec![a(), to([10, 9, 0, 0], 24)]), [0]);
        assert_eq!(named(vec![a(), to([10, 9, 0, 0], 24).negated(true)]), [] as [usize; 0]);
        assert_eq!(named(vec![a(), to([10, 9, 0, 0], 29).negated(true)]), [0], "to the other");
        let of_connection = net(Side::Connection, [8, 8, 8, 8], 32);
        assert_eq!(named(vec![a(), of_connection]), [0], "whose address may have been given");
        let given = |address| named(vec![a(), to([8, 8, 8, 8], 32), net(Side::Given, address, 32)]);
        assert_eq!(given(OTHER), [0]);
        assert_eq!(given([8, 8, 4, 4]), [] as [usize; 0]);
    }

    #[test]
    fn masks_with_holes() {
        let masked = |value, mask: [u8; 4]| Part::masked(Kind::V4, Side::From, value, &mask);
        assert_eq!(named(vec![masked(&[0, 0, 0, 2], [0, 0, 0, 255])]), [0]);
        assert_eq!(named(vec![masked(&[10, 0, 0, 2], [255, 0, 0, 255])]), [0]);
        assert_eq!(named(vec![masked(&[0, 0, 0, 3], [0, 0, 0, 255])]), [] as [usize; 0]);
        let wide = masked(&[10, 0, 0, 0], [255, 0, 255, 0]);
        assert_eq!(named(vec![wide]), [] as [usize; 0], "all of the subnet");
    }
}
