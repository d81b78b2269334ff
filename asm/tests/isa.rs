//! The instruction set: one of each, and the laws that hold for any bytes at all.

mod forms;
mod tools;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use xhop_asm::ByteOrder::{Big, Little};
use xhop_asm::{ByteOrder, Helper, Insn, Item, Slot, disassemble};

/// One of each. Where LLVM 19 knows the text, the bytes are what `llvm-mc` gives for it; the others
/// are put together from include/uapi/linux/bpf.h and include/linux/filter.h.
const ONE_OF_EACH: &[(&str, &str)] = &[
    ("r1 += r2", "0f21000000000000"),
    ("w1 -= 5", "1401000005000000"),
    ("r1 *= -5", "27010000fbffffff"),
    ("r1 /= r2", "3f21000000000000"),
    ("r1 s/= r2", "3f21010000000000"),
    ("w1 |= w10", "4ca1000000000000"),
    ("r1 &= 1", "5701000001000000"),
    ("w1 <<= 1", "6401000001000000"),
    ("r1 >>= r0", "7f01000000000000"),
    ("w1 %= 5", "9401000005000000"),
    ("w1 s%= 5", "9401010005000000"),
    ("r1 ^= r2", "af21000000000000"),
    ("w1 = 7", "b401000007000000"),
    ("r1 = r10", "bfa1000000000000"),
    ("r1 s>>= 3", "c701000003000000"),
    ("r1 = -r1", "8701000000000000"),
    ("w1 = -w1", "8401000000000000"),
    ("w1 = (s8)w2", "bc21080000000000"),
    ("w1 = (s16)w2", "bc21100000000000"),
    ("r1 = (s8)r2", "bf21080000000000"),
    ("r1 = (s16)r2", "bf21100000000000"),
    ("r1 = (s32)r2", "bf21200000000000"),
    ("r1 = addr_space_cast(r2, 0, 1)", "bf21010001000000"),
    ("r1 = &(void __percpu *)(r2)", "bf21ffff00000000"),
    ("r1 = le64 r1", "d401000040000000"),
    ("r1 = be16 r1", "dc01000010000000"),
    ("r1 = bswap32 r1", "d701000020000000"),
    ("r1 = *(u8 *)(r2 + 4)", "7121040000000000"),
    ("r1 = *(u16 *)(r2 + 4)", "6921040000000000"),
    ("r1 = *(u32 *)(r2 + 4)", "6121040000000000"),
    ("r1 = *(u64 *)(r10 - 8)", "79a1f8ff00000000"),
    ("r1 = *(s8 *)(r2 + 4)", "9121040000000000"),
    ("r1 = *(s16 *)(r2 + 4)", "8921040000000000"),
    ("r1 = *(s32 *)(r2 + 4)", "8121040000000000"),
    ("*(u8 *)(r1 - 5) = 7", "7201fbff07000000"),
    ("*(u32 *)(r1 + 0) = r2", "6321000000000000"),
    ("lock *(u64 *)(r1 + 0) += r2", "db21000000000000"),
    ("lock *(u32 *)(r1 + 0) |= w2", "c321000040000000"),
    ("lock *(u32 *)(r1 + 0) &= w2", "c321000050000000"),
    ("lock *(u64 *)(r1 - 4) ^= r10", "dba1fcffa0000000"),
    ("r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)", "db21000001000000"),
    ("r2 = atomic_fetch_or((u64 *)(r1 + 0), r2)", "db21000041000000"),
    ("w2 = atomic_fetch_and((u32 *)(r1 + 0), w2)", "c321000051000000"),
    ("w2 = atomic_fetch_xor((u32 *)(r1 + 0), w2)", "c3210000a1000000"),
    ("r2 = xchg_64(r1 + 0, r2)", "db210000e1000000"),
    ("w2 = xchg32_32(r1 + 0, w2)", "c3210000e1000000"),
    ("r0 = cmpxchg_64(r1 + 0, r0, r2)", "db210000f1000000"),
    ("w0 = cmpxchg32_32(r1 + 0, w0, w2)", "c3210000f1000000"),
    ("w1 = load_acquire((u8 *)(r2 + 4))", "d321040000010000"),
    ("w1 = load_acquire((u16 *)(r2 + 4))", "cb21040000010000"),
    ("w1 = load_acquire((u32 *)(r2 + 4))", "c321040000010000"),
    ("r1 = load_acquire((u64 *)(r2 + 4))", "db21040000010000"),
    ("store_release((u8 *)(r1 + 4), w2)", "d321040010010000"),
    ("store_release((u64 *)(r1 + 4), r2)", "db21040010010000"),
    ("r0 = *(u8 *)skb[4]", "3000000004000000"),
    ("r0 = *(u32 *)skb[-4096]", "2000000000f0ffff"),
    ("r0 = *(u16 *)skb[r2 + 5]", "4820000005000000"),
    ("r1 = 0x700000005 ll", "18010000050000000000000007000000"),
    ("r1 = map[fd:5] ll", "18110000050000000000000000000000"),
    ("r1 = map[fd:5][0]+7 ll", "18210000050000000000000007000000"),
    ("r1 = btf[id:5] ll", "18310000050000000000000000000000"),
    ("r1 = btf[fd:7 id:5] ll", "18310000050000000000000007000000"),
    ("r1 = subprog[+5] ll", "18410000050000000000000000000000"),
    ("r1 = map[5] ll", "18510000050000000000000000000000"),
    ("r1 = map[5][0]+7 ll", "18610000050000000000000007000000"),
    ("goto +0", "0500000000000000"),
    ("gotol +5", "0600000005000000"),
    ("may_goto +5", "e500050000000000"),
    ("if r1 == r2 goto +5", "1d21050000000000"),
    ("if r1 > 5 goto +5", "2501050005000000"),
    ("if w1 >= w2 goto +5", "3e21050000000000"),
    ("if r1 & r2 goto +5", "4d21050000000000"),
    ("if r1 != r2 goto +5", "5d21050000000000"),
    ("if w1 s> -5 goto -3", "6601fdfffbffffff"),
    ("if r1 s>= r2 goto +5", "7d21050000000000"),
    ("if r1 < r2 goto +5", "ad21050000000000"),
    ("if r1 <= r2 goto +5", "bd21050000000000"),
    ("if r1 s< r2 goto +5", "cd21050000000000"),
    ("if w10 s<= w2 goto +5", "de2a050000000000"),
    ("call bpf_map_lookup_elem#1", "8500000001000000"),
    ("call 4096", "8500000000100000"),
    ("call pc-5", "85100000fbffffff"),
    ("call kfunc#5", "8520000005000000"),
    ("call kfunc#5 fd_array[3]", "8520030005000000"),
    ("callx r1", "8d01000000000000"),
    ("nospec", "c200000000000000"),
    ("exit", "9500000000000000"),
];

fn unhex(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(pair).collect()
}

fn encoded(items: &[Item], order: ByteOrder) -> Vec<u8> {
    let mut bytes = Vec::new();
    items.iter().for_each(|item| item.encode(order, &mut bytes));
    bytes
}

fn text(items: &[Item]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

#[test]
fn one_of_each() {
    for (text, hex) in ONE_OF_EACH {
        let bytes = unhex(hex);
        let items = disassemble(&bytes, Little);
        assert!(matches!(items[..], [Item::Insn(_)]), "{text}: {items:?}");
        assert_eq!(items[0].to_string(), *text);
        assert_eq!(items[0].slots() * 8, bytes.len(), "{text}");
        assert_eq!(encoded(&items, Little), bytes, "{text}");
    }
}

/// No variant is left out of the table, and thus of the tests that go by it.
#[test]
fn one_of_each_is_all() {
    let variant = |insn: &Insn| {
        let shown = format!("{insn:?}");
        shown.split(' ').next().map(str::to_owned)
    };
    let listed: Vec<_> = ONE_OF_EACH
        .iter()
        .map(|(_, hex)| variant(&Insn::decode(&unhex(hex)).expect("decodes").0))
        .collect();
    for form in FORMS.iter() {
        assert!(listed.contains(&variant(form)), "{form:?}");
    }
}

/// The same in the other order: nibbles and fields are swapped, the code is not.
#[test]
fn big_endian() {
    for (bytes, text) in [
        ("6161000400000000", "r6 = *(u32 *)(r1 + 4)"),
        ("6ba0fffe00000000", "*(u16 *)(r10 - 2) = r0"),
        ("18100000000000020000000000000001", "r1 = 0x100000002 ll"),
        ("1815000000000002", "? code=0x18 dst=1 src=5 off=0 imm=2"),
    ] {
        let items = disassemble(&unhex(bytes), Big);
        assert_eq!(items[0].to_string(), text);
        assert_eq!(encoded(&items, Big), unhex(bytes), "{text}");
    }
}

/// What is wrong is shown whole, and what follows is not lost.
#[test]
fn no_instruction() {
    let shown = |hex| text(&disassemble(&unhex(hex), Little));
    for (hex, wanted) in [
        ("", ""),
        ("b70a000005000000", "? code=0xb7 dst=10 src=0 off=0 imm=5\n"),
        ("bc21200000000000", "? code=0xbc dst=1 src=2 off=32 imm=0\n"),
        ("95000000000000009500", "exit\n? 9500\n"),
        ("9500000001000000", "? code=0x95 dst=0 src=0 off=0 imm=1\n"),
        ("fffeffffffffffff", "? code=0xff dst=14 src=15 off=-1 imm=-1\n"),
        ("99210400000000009500000000000000", "? code=0x99 dst=1 src=2 off=4 imm=0\nexit\n"),
        // The second half of the immediate is an instruction: then it is none.
        ("18010000050000009500000000000000", "? code=0x18 dst=1 src=0 off=0 imm=5\nexit\n"),
        ("1801000005000000", "? code=0x18 dst=1 src=0 off=0 imm=5\n"),
        // A map by descriptor has no second immediate.
        (
            "18110000050000000000000007000000",
            "? code=0x18 dst=1 src=1 off=0 imm=5\n? code=0x00 dst=0 src=0 off=0 imm=7\n",
        ),
        // 8-bit atomics are loads and stores alone.
        ("d321000000000000", "? code=0xd3 dst=1 src=2 off=0 imm=0\n"),
        // It would put the old value into r10.
        ("dba1000001000000", "? code=0xdb dst=1 src=10 off=0 imm=1\n"),
    ] {
        assert_eq!(shown(hex), wanted);
    }
}

#[test]
fn helper_names() {
    assert_eq!(Helper::MAP_LOOKUP_ELEM.name(), Some("bpf_map_lookup_elem"));
    assert_eq!(Helper::CSUM_DIFF.name(), Some("bpf_csum_diff"));
    assert_eq!(Helper::REDIRECT_MAP.name(), Some("bpf_redirect_map"));
    assert_eq!(Helper::XDP_ADJUST_TAIL.name(), Some("bpf_xdp_adjust_tail"));
    assert_eq!(Helper::new(211).name(), Some("bpf_cgrp_storage_delete"));
    for number in [0, 212, -1, i32::MIN, i32::MAX] {
        assert_eq!(Helper::new(number).name(), None);
        assert_eq!(Helper::new(number).to_string(), number.to_string());
    }
    let mut names: Vec<_> = (1..=211).filter_map(|n| Helper::new(n).name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 211);
    assert!(names.iter().all(|name| name.starts_with("bpf_")));
}

/// bpftool may be older than the last helpers, or newer.
#[test]
fn helper_names_as_bpftool_has_them() {
    if !tools::have("helper_names_as_bpftool_has_them", "bpftool", "bpftool") {
        return;
    }
    let listed = tools::run(&["bpftool", "feature", "list_builtins", "helpers"]);
    let mut names = listed.lines().zip(0..);
    assert_eq!(names.next(), Some(("bpf_unspec", 0)));
    for (name, number) in names {
        assert_eq!(Helper::new(number).name(), Some(name), "{number}");
    }
    assert!(listed.lines().count() > 150, "{listed}");
}

static FORMS: LazyLock<Vec<Insn>> = LazyLock::new(forms::forms);

#[test]
fn every_form_encodes_to_itself_in_both_orders() {
    for form in FORMS.iter() {
        for order in [Little, Big] {
            let mut bytes = Vec::new();
            form.encode(order, &mut bytes);
            assert_eq!(Insn::decode_as(&bytes, order), Ok((*form, &[][..])), "{form}");
        }
    }
}

#[test]
fn no_two_forms_have_the_same_text() {
    let mut seen: HashMap<String, Insn> = HashMap::new();
    for form in FORMS.iter() {
        if let Some(other) = seen.insert(form.to_string(), *form) {
            assert_eq!(other, *form, "both are `{form}`");
        }
    }
    assert!(seen.len() > 10_000, "{}", seen.len());
}

/// Were it quadratic, a mebibyte would take hours.
#[test]
fn the_time_is_linear() {
    let start = Instant::now();
    for byte in [0x00, 0x18, 0x95, 0xff] {
        let bytes = vec![byte; 1 << 20];
        assert_eq!(encoded(&disassemble(&bytes, Little), Little), bytes);
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

fn order() -> impl Strategy<Value = ByteOrder> {
    select(vec![Little, Big])
}

/// Slots that often are instructions, or nearly.
fn slot() -> impl Strategy<Value = Slot> {
    let reg = prop_oneof![9 => 0u8..11, 1 => 0u8..16];
    let kind = prop_oneof![9 => 0u8..11, 1 => 0u8..16];
    let off = prop_oneof![select(forms::OFFS.to_vec()), any::<i16>()];
    let imm = prop_oneof![select(forms::IMMS.to_vec()), any::<i32>()];
    (any::<u8>(), reg, kind, off, imm).prop_map(|(code, dst, src, off, imm)| Slot {
        code,
        dst,
        src,
        off,
        imm,
    })
}

/// Instructions one after the other, then some bytes changed and the end cut off.
fn mutated(order: ByteOrder) -> impl Strategy<Value = Vec<u8>> {
    let insns = prop::collection::vec(any::<Index>(), 1..30);
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    (insns, changes, 0usize..12).prop_map(move |(insns, changes, cut)| {
        let mut bytes = Vec::new();
        for insn in insns {
            insn.get(&FORMS).encode(order, &mut bytes);
        }
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

fn law(bytes: &[u8], order: ByteOrder) -> Result<(), TestCaseError> {
    let items = disassemble(bytes, order);
    prop_assert_eq!(encoded(&items, order), bytes, "{:?}", items);
    let slots: usize = items.iter().map(Item::slots).sum();
    prop_assert_eq!(slots, bytes.len() / 8);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200), order in order()) {
        law(&bytes, order)?;
    }

    #[test]
    fn changed_programs_come_back((order, bytes) in order().prop_flat_map(|order| (Just(order), mutated(order)))) {
        law(&bytes, order)?;
    }

    #[test]
    fn programs_have_nothing_unknown(insns in prop::collection::vec(any::<Index>(), 1..30), order in order()) {
        let insns: Vec<Item> = insns.iter().map(|insn| Item::Insn(*insn.get(&FORMS))).collect();
        prop_assert_eq!(disassemble(&encoded(&insns, order), order), insns);
    }

    /// The text shows all: of two streams that differ in one field, the texts differ.
    #[test]
    fn other_bytes_other_text(
        one in slot(), two in slot(), field in 0..6, highs: (i32, i32), zero: bool, order in order()
    ) {
        let mut near = one;
        match field {
            0 => near.code = two.code,
            1 => near.dst = two.dst,
            2 => near.src = two.src,
            3 => near.off = two.off,
            4 => near.imm = two.imm,
            _ => near = two,
        }
        let highs = if zero { (0, highs.1) } else { highs };
        let (one, near) = (forms::bytes(one, highs.0, order), forms::bytes(near, highs.1, order));
        let texts = (text(&disassemble(&one, order)), text(&disassemble(&near, order)));
        prop_assert_eq!(one == near, texts.0 == texts.1, "{}{}", texts.0, texts.1);
        law(&one, order)?;
    }
}
