//! Tables of the kernel, whole and odd.

use proptest::prelude::*;

use super::super::rule::{Part, Side};
use super::*;

/// A match or a target.
fn extended(name: &str, revision: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEAD + data.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(name.bytes());
    bytes.resize(HEAD - 1, 0);
    bytes.push(revision);
    bytes.extend(data);
    bytes
}

fn entry(family: &Family, address: &[u8], matches: &[u8], target: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; family.entry];
    bytes[..address.len()].copy_from_slice(address);
    // The source's mask.
    bytes[2 * address.len()..3 * address.len()].fill(0xff);
    bytes[family.inverted] = 8;
    let at = (family.entry + matches.len()) as u16;
    let next = at + target.len() as u16;
    bytes[family.offsets..family.offsets + 2].copy_from_slice(&at.to_ne_bytes());
    bytes[family.offsets + 2..family.offsets + 4].copy_from_slice(&next.to_ne_bytes());
    [&bytes, matches, target].concat()
}

/// FORWARD with a rule that has a match, a chain `mine` with one that translates; and the end.
fn table(family: &Family, address: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let drop = extended("", 0, &(-1i32).to_ne_bytes());
    let mac = extended("mac", 0, &[2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mine = extended("ERROR", 0, b"mine\0\0\0\0");
    let range = [&1u32.to_ne_bytes()[..], address, &[0; 12], address, &[0; 16]].concat();
    let dnat = extended("DNAT", 2, &range);
    let entries = [
        entry(family, address, &mac, &drop),
        entry(family, address, &[], &mine),
        entry(family, address, &[], &dnat),
    ];
    let mut info = named("filter", INFO);
    // NF_INET_FORWARD begins at 0.
    info[NAME..NAME + 4].copy_from_slice(&4u32.to_ne_bytes());
    (info, entries.concat())
}

fn read(family: &Family, info: &[u8], entries: &[u8]) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    family.parse("filter", info, entries, &mut |rule| rules.push(rule.clone())).map(|()| rules)
}

#[test]
fn a_table_is_read() {
    for (family, address) in FAMILIES.iter().zip([&[10, 9, 0, 2][..], &[0xfd; 16]]) {
        let (info, entries) = table(family, address);
        let rules = read(family, &info, &entries).expect("a table");
        let told: Vec<_> = rules
            .iter()
            .map(|rule| (rule.place.as_str(), rule.number, rule.does.as_str()))
            .collect();
        assert_eq!(told, [("filter FORWARD", 1, "DROP"), ("filter mine", 1, "DNAT")]);
        let [of_drop, of_dnat] = &rules[..] else { panic!("{rules:?}") };
        let source = Part::between(family.ip, Side::From, address, address).negated(true);
        assert_eq!(of_drop.parts.first(), Some(&source));
        let mac = Part::between(Kind::Mac, Side::From, &[2, 0, 0, 0, 0, 1], &[2, 0, 0, 0, 0, 1]);
        assert_eq!(of_drop.parts.last(), Some(&mac));
        let last = &of_dnat.parts[of_dnat.parts.len() - 1];
        assert_eq!((last.side, last.from), (Side::Given, family.ip.number(address, 0)));
    }
}

#[test]
fn tables_cut_short_or_changed_do_not_panic() {
    for (family, address) in FAMILIES.iter().zip([&[10, 9, 0, 2][..], &[0xfd; 16]]) {
        let (info, entries) = table(family, address);
        // The ends of the three entries.
        let ends = (0..entries.len()).filter(|len| read(family, &info, &entries[..*len]).is_some());
        assert_eq!(ends.count(), 3);
        for len in 0..info.len() {
            let _ = read(family, &info[..len], &entries);
        }
        for at in 0..entries.len() {
            for byte in [0, 1, 31, 0x7f, 0xff] {
                let mut odd = entries.clone();
                odd[at] = byte;
                let _ = read(family, &info, &odd);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(
        info in proptest::collection::vec(any::<u8>(), 0..100),
        entries in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        for family in &FAMILIES {
            let _ = read(family, &info, &entries);
        }
        let mut parts = Vec::new();
        for name in [&b"physdev"[..], b"iprange", b"mac", b"ip", b"ip6", b"DNAT"] {
            of_match(name, &entries, Kind::V4, &mut parts);
            of_target(name, info.len() as u32, &entries, Kind::V6, &mut parts);
        }
    }
}
