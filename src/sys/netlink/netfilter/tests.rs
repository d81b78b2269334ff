//! Replies of the kernel, whole and odd.

use neli::consts::nl::NlmF;
use proptest::prelude::*;

use super::super::msg::Message;
use super::chain;
use super::expr::parse;
use super::request;
use super::set::Around;
use crate::sys::rule::{Kind, Lookup, Named, Part, Side};

/// What follows the header of a message.
fn body(family: u8, write: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = request(6, family, NlmF::empty());
    write(&mut message);
    message.finish(1).split_off(16)
}

fn numbers(message: &mut Message, numbers: &[(u16, u32)]) {
    numbers.iter().for_each(|(kind, number)| message.attr(*kind, &number.to_be_bytes()));
}

fn data(message: &mut Message, kind: u16, bytes: &[u8]) {
    message.nest(kind, |data| data.attr(1u16, bytes));
}

/// An expression, in a list of them.
fn expr(list: &mut Message, name: &str, inside: impl FnOnce(&mut Message)) {
    list.nest(1u16, |expr| {
        expr.attr_str(1u16, name);
        expr.nest(2u16, inside);
    });
}

/// `ip saddr & 255.255.255.254 == 10.9.0.2 ip daddr @set meta iifname "veth*" xt match dnat to 10.9.0.3 drop`
fn rule() -> Vec<u8> {
    let load = |list: &mut Message, offset| {
        expr(list, "payload", |e| numbers(e, &[(1, 1), (2, 1), (3, offset), (4, 4)]));
    };
    body(2, |message| {
        message.attr_str(1u16, "filter");
        message.attr_str(2u16, "FORWARD");
        message.attr(3u16, &7u64.to_be_bytes());
        message.nest(4u16, |list| {
            load(list, 12);
            expr(list, "bitwise", |e| {
                numbers(e, &[(1, 1), (2, 1), (3, 4)]);
                data(e, 4, &[255, 255, 255, 254]);
                data(e, 5, &[0; 4]);
            });
            expr(list, "cmp", |e| {
                numbers(e, &[(1, 1), (2, 0)]);
                data(e, 3, &[10, 9, 0, 2]);
            });
            load(list, 16);
            expr(list, "lookup", |e| {
                e.attr_str(1u16, "set");
                numbers(e, &[(2, 8)]);
            });
            expr(list, "meta", |e| numbers(e, &[(1, 1), (2, 6)]));
            expr(list, "cmp", |e| {
                numbers(e, &[(1, 1), (2, 1)]);
                data(e, 3, b"veth");
            });
            expr(list, "match", |e| {
                e.attr_str(1u16, "iprange");
                numbers(e, &[(2, 1)]);
                e.attr(3u16, &[1; 68]);
            });
            expr(list, "immediate", |e| {
                numbers(e, &[(1, 1)]);
                data(e, 2, &[10, 9, 0, 3]);
            });
            expr(list, "nat", |e| numbers(e, &[(1, 1), (2, 2), (3, 1)]));
            expr(list, "immediate", |e| {
                numbers(e, &[(1, 0)]);
                e.nest(2u16, |e| e.nest(2u16, |e| numbers(e, &[(1, 0)])));
            });
        });
    })
}

fn v4(address: [u8; 4]) -> u128 {
    Kind::V4.number(&address, 0)
}

#[test]
fn a_rule_is_read() {
    let rule = parse(&rule()).expect("a rule");
    assert_eq!((rule.place.as_str(), rule.number), ("ip filter FORWARD", 7));
    assert_eq!(rule.does, "drop");
    let (table, set) = ("filter".into(), "set".into());
    let lookup = Lookup { family: 2, table, set, at: 0, kind: Kind::V4, given: false };
    assert_eq!(rule.lookups, [lookup]);
    let part =
        |kind, side, from, to| Part { kind, side, from, to, mask: Kind::max(kind), negated: false };
    let wildcard = Part::between(Kind::Ifname, Side::From, b"veth", b"veth").negated(true);
    let ones = v4([1; 4]);
    let want = [
        Part::masked(Kind::V4, Side::From, &[10, 9, 0, 2], &[255, 255, 255, 254]),
        wildcard,
        part(Kind::V4, Side::From, ones, ones),
        part(Kind::V4, Side::Given, v4([10, 9, 0, 3]), v4([10, 9, 0, 3])),
    ];
    assert_eq!(rule.parts, want);
}

fn sought() -> Named {
    let within = (v4([10, 9, 0, 0]), v4([10, 9, 0, 255]));
    Named { kind: Kind::V4, number: v4([10, 9, 0, 2]), within, text: String::new() }
}

fn lookup(kind: Kind, at: usize, given: bool) -> Lookup {
    Lookup { family: 2, table: String::new(), set: String::new(), at, kind, given }
}

fn element(key: [u8; 4], flags: u32) -> Vec<u8> {
    body(2, |message| {
        data(message, 1, &key);
        numbers(message, &[(3, flags)]);
    })
    .split_off(4)
}

#[test]
fn intervals_in_any_order() {
    let (sought, lookup) = (sought(), lookup(Kind::V4, 0, false));
    let is_named = |cuts: &[([u8; 4], u32)]| {
        let [mut around, mut back] = [Around::new(&sought), Around::new(&sought)];
        cuts.iter().for_each(|(key, flags)| around.look(&element(*key, *flags), &lookup));
        cuts.iter().rev().for_each(|(key, flags)| back.look(&element(*key, *flags), &lookup));
        assert_eq!(around.is_named(), back.is_named(), "{cuts:?}");
        around.is_named()
    };
    let (a, next) = ([10, 9, 0, 2], [10, 9, 0, 3]);
    assert!(is_named(&[([0; 4], 1), (a, 0), (next, 1)]));
    assert!(is_named(&[([10, 9, 0, 1], 0), ([10, 9, 0, 9], 1)]));
    assert!(
        is_named(&[([10, 9, 0, 1], 0), (a, 1), (a, 0), (next, 1)]),
        "where one ends and one begins"
    );
    assert!(is_named(&[([0; 4], 1), (a, 0)]), "without an end");
    assert!(is_named(&[(a, 0), ([10, 9, 0, 9], 0)]), "no intervals");
    assert!(!is_named(&[([10, 9, 0, 1], 0), (next, 0)]), "no intervals");
    assert!(!is_named(&[([10, 9, 0, 1], 0), (a, 1)]), "the end is outside");
    assert!(!is_named(&[(next, 0), ([10, 9, 0, 9], 1)]));
    assert!(!is_named(&[([10, 0, 0, 0], 0), ([11, 0, 0, 0], 1)]), "more than the subnet");
    assert!(!is_named(&[]));
}

fn read_all(bytes: &[u8]) {
    let _ = parse(bytes);
    let _ = chain::parse(bytes);
    for (kind, given) in [(Kind::V4, false), (Kind::Ifname, true)] {
        let sought = Named { kind, ..sought() };
        let mut around = Around::new(&sought);
        around.look(bytes, &lookup(kind, 4, given));
        let _ = around.is_named();
    }
}

#[test]
fn bytes_cut_short_or_changed_do_not_panic() {
    let whole = rule();
    for len in 0..whole.len() {
        read_all(&whole[..len]);
    }
    for at in 0..whole.len() {
        for byte in [0, 1, 4, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
            let mut odd = whole.clone();
            odd[at] = byte;
            read_all(&odd);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    /// Expressions with any numbers, registers and values.
    #[test]
    fn any_expressions_do_not_panic(
        family in prop::sample::select(vec![1u8, 2, 5, 7, 10]),
        exprs in proptest::collection::vec((
            prop::sample::select(vec![
                "payload", "meta", "ct", "bitwise", "cmp", "range", "lookup", "immediate", "nat", "match", "target",
            ]),
            [prop_oneof![0u32..30, any::<u32>()], prop_oneof![0u32..8, any::<u32>()],
             prop_oneof![0u32..40, any::<u32>()], prop_oneof![0u32..40, any::<u32>()]],
            proptest::collection::vec(any::<u8>(), 0..40),
        ), 0..12),
    ) {
        read_all(&body(family, |message| {
            message.attr_str(1u16, "t");
            message.attr_str(2u16, "c");
            message.attr(3u16, &[0; 8]);
            message.nest(4u16, |list| for (name, values, bytes) in &exprs {
                expr(list, name, |e| {
                    for (kind, value) in (1u16..).zip(values) {
                        numbers(e, &[(kind, *value)]);
                    }
                    (2u16..=5).for_each(|kind| data(e, kind, bytes));
                });
                expr(list, name, |e| {
                    numbers(e, &[(1, values[0]), (2, values[1])]);
                    (3u16..=5).for_each(|kind| data(e, kind, bytes));
                });
                expr(list, name, |e| {
                    e.attr_str(1u16, "iprange");
                    e.attr(3u16, bytes);
                });
            });
        }));
    }
}
