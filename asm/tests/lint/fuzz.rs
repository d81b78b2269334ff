//! Anything at all may be given to the lint: it answers, and soon.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;
use xhop_asm::MapShape;
use xhop_asm::insn::SLOT;

use super::*;

fn budget(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// What holds of any report.
fn answers(bytes: &[u8], maps: &[MapShape]) {
    let start = Instant::now();
    let report = lint(Hook::Xdp, bytes, maps);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let slots = bytes.len().div_ceil(SLOT);
    assert!(report.findings.iter().all(|finding| finding.slot <= slots));
    assert!(report.findings.is_sorted_by_key(|finding| finding.slot));
    for spans in [&report.facts.reads, &report.facts.writes] {
        assert!(spans.iter().all(|span| span.start < span.end), "{spans:?}");
    }
    assert!(report.facts.verdicts.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
    // Of what is well, everything is said.
    assert!(!report.findings.is_empty() || !report.facts.verdicts.0.is_empty());
    drop(report.facts.lines(maps));
}

fn shapes() -> impl Strategy<Value = Vec<MapShape>> {
    let size = prop_oneof![Just(4), Just(8), 0..600_u32, any::<u32>()];
    let kind = prop_oneof![select(vec![1_u32, 6, 14, 25]), any::<u32>()];
    let shape = (kind, size.clone(), size).prop_map(|(kind, key_size, value_size)| MapShape {
        kind,
        key_size,
        value_size,
        ..MapShape::default()
    });
    vec(shape, 0..3)
}

/// Bytes of an instruction that decodes more often than not, and with which something can be done.
fn instructions() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        6 => select(vec![0x07_u8, 0x0f, 0xb7, 0xbf, 0x57, 0x77, 0x67, 0xdc, 0x61, 0x71, 0x69, 0x79]),
        4 => select(vec![0x62_u8, 0x63, 0x72, 0x73, 0x7a, 0x7b, 0x1f, 0x18, 0x85, 0x95]),
        3 => select(vec![0x05_u8, 0x15, 0x1d, 0x2d, 0x3d, 0xad, 0xbd, 0x25, 0x26, 0x55, 0xa5]),
        1 => any::<u8>(),
    ];
    let near = |edge: i16| prop_oneof![4 => -8..8_i16, 2 => -edge..edge, 1 => any::<i16>()];
    let imm = prop_oneof![4 => 0..16_i32, 2 => select(vec![1_i32, 28, 51, 65]), 1 => any::<i32>()];
    (code, 0..11_u8, 0..11_u8, near(70), imm).prop_map(|(code, dst, src, off, imm)| {
        // What an instruction does not have is zero in it.
        let (src, off, imm): (u8, i16, i32) = match code & 7 {
            0 => (if imm & 1 == 0 { 0 } else { 5 }, 0, imm),
            1 => (src, off, 0),
            2 => (0, off, imm),
            3 => (src, off, 0),
            5 | 6 => match code {
                0x85 => (0, 0, imm),
                0x95 => (0, 0, 0),
                0x05 => (0, off, 0),
                _ if code & 8 == 0 => (0, off, imm),
                _ => (src, off, 0),
            },
            _ if code == 0xdc => (0, 0, 16),
            _ if code & 8 == 0 => (0, 0, imm),
            _ => (src, 0, 0),
        };
        let dst = if matches!(code, 0x05 | 0x85 | 0x95) { 0 } else { dst };
        let mut bytes = vec![code, src << 4 | dst];
        bytes.extend(off.to_le_bytes());
        bytes.extend(imm.to_le_bytes());
        if code == 0x18 {
            bytes.extend([0; 8]);
        }
        bytes
    })
}

#[test]
fn arbitrary_bytes() {
    proptest!(budget(2000), |(bytes in vec(any::<u8>(), 0..200), maps in shapes())| {
        answers(&bytes, &maps);
    });
}

/// They begin with what makes more of them reach further: a packet, its end, the context, numbers.
#[test]
fn arbitrary_instructions() {
    let start = assemble(|asm| {
        packet(asm, 64);
        for reg in [R0, R3, R4, R5] {
            asm.mov(reg, 0, "a number");
        }
    })
    .bytes(ByteOrder::Little);
    let end = bytes(&[Insn::Exit]);
    proptest!(budget(4000), |(code in vec(instructions(), 0..60), maps in shapes())| {
        answers(&[start.clone(), code.concat(), end.clone()].concat(), &maps);
    });
}

#[test]
fn shipped_programs_with_mistakes() {
    let shipped: Vec<_> =
        Shipped::ALL.into_iter().map(|s| s.program().expect("assembles")).collect();
    let change = (any::<Index>(), any::<u8>());
    proptest!(budget(100), |(which in any::<Index>(), changes in vec(change, 1..4), cut in any::<Index>())| {
        let program = which.get(&shipped);
        let maps: Vec<MapShape> = program.maps().iter().map(MapShape::from).collect();
        let mut bytes = program.bytes(ByteOrder::Little);
        for (at, bit) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << (bit % 8);
        }
        answers(&bytes, &maps);
        bytes.truncate(cut.index(bytes.len()));
        answers(&bytes, &maps);
    });
}
