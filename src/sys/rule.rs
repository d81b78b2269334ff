//! Rules of packet filters by what they name: addresses and interfaces, each as a number, so that a prefix, a range
//! and a wildcard are all the same thing.

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
    /// What it gets instead: a translation.
    Given,
}

/// A condition of a rule, or what it translates to: all from one number to another, both included.
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
    /// All but these.
    pub negated: bool,
}

impl Part {
    /// Where the bits of `mask` are as in `value`. What is missing of both may be anything.
    pub fn masked(kind: Kind, side: Side, value: &[u8], mask: &[u8]) -> Self {
        let mask = kind.number(mask, 0);
        let from = kind.number(value, 0) & mask;
        Self { kind, side, from, to: from | (kind.max() & !mask), negated: false }
    }

    /// From the one to the other.
    pub fn between(kind: Kind, side: Side, from: &[u8], to: &[u8]) -> Self {
        let (from, to) = (kind.number(from, 0), kind.number(to, 0xff));
        Self { kind, side, from, to, negated: false }
    }

    /// The same, or all but that.
    pub fn negated(self, negated: bool) -> Self {
        Self { negated, ..self }
    }

    fn covers(&self, one: &Named) -> bool {
        self.kind == one.kind && (self.from..=self.to).contains(&one.number)
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
    /// What has all of this names nobody in particular: the first and the last address of a subnet.
    pub within: (u128, u128),
    /// For people.
    pub text: String,
}

impl Named {
    /// Whether this is it, or has it among others.
    pub fn is_in(&self, part: &Part) -> bool {
        let wide = part.from <= self.within.0 && self.within.1 <= part.to;
        part.covers(self) && (part.from == part.to || !wide)
    }
}

/// Whom rules may name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sought {
    /// Who is joined.
    pub joined: Vec<Named>,
    /// Their bridge.
    pub bridge: Vec<Named>,
}

impl Sought {
    /// Whom of those who are joined it names, each by its place in the list; but for what is in sets.
    pub fn named_by(&self, rule: &Rule) -> Vec<bool> {
        let named = |one: &Named| rule.parts.iter().any(|part| one.is_in(part));
        self.joined.iter().map(named).collect()
    }

    /// Whether these are interfaces by which what is joined comes or goes.
    pub fn is_here(&self, part: &Part) -> bool {
        self.joined.iter().chain(&self.bridge).any(|one| part.covers(one))
    }

    /// Whether the rule can't be for what goes from one who is joined to another, by what it says itself: it is for
    /// other interfaces, or for what comes back to whom it is from.
    pub fn is_elsewhere(&self, rule: &Rule) -> bool {
        rule.parts.iter().any(|part| match (part.kind, part.negated) {
            (Kind::Ifname | Kind::Ifindex, false) => !self.is_here(part),
            (Kind::Ifname | Kind::Ifindex, true) => {
                rule.sees_bridge && self.bridge.iter().any(|one| part.covers(one))
            }
            (_, negated) => {
                let one = part.side == Side::From && part.from == part.to && !negated;
                one && rule.parts.contains(&Part { side: Side::To, ..*part })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 4] = [10, 9, 0, 2];

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
        }
    }

    fn named(parts: Vec<Part>) -> Vec<usize> {
        let (place, does, lookups) = Default::default();
        let by = "nftables";
        let rule = Rule { by, place, number: 1, does, parts, lookups, sees_bridge: true };
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
    }
}
