//! Instructions of every form, made from the fields of a slot without the encoder.
#![allow(dead_code)] // each test takes its part

use xhop_asm::{ByteOrder, Insn, Slot};

const REGS: [u8; 5] = [0, 1, 9, 10, 11];
const KINDS: [u8; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 10];
pub const OFFS: [i16; 9] = [0, 1, -1, 8, 16, 32, 5, i16::MIN, i16::MAX];
/// Operations of atomics, sizes of byte swaps, and ends of ranges.
pub const IMMS: [i32; 19] = [
    0,
    1,
    5,
    -5,
    16,
    32,
    64,
    -1,
    0x40,
    0x41,
    0x50,
    0x51,
    0xa0,
    0xa1,
    0xe1,
    0xf1,
    0x100,
    0x110,
    i32::MIN,
];

/// The slots of one instruction or what looks like one: a 64-bit immediate gets a second one.
pub fn bytes(first: Slot, high: i32, order: ByteOrder) -> Vec<u8> {
    let mut bytes = first.to_bytes(order).to_vec();
    if first.code == 0x18 {
        bytes.extend(Slot { imm: high, ..Slot::default() }.to_bytes(order));
    }
    bytes
}

/// All instructions whose fields are from the lists above.
pub fn forms() -> Vec<Insn> {
    let mut forms = Vec::new();
    for code in 0..=u8::MAX {
        let highs: &[i32] = if code == 0x18 { &[0, 7, -1, i32::MIN] } else { &[0] };
        for (dst, src) in REGS.into_iter().flat_map(|dst| KINDS.map(|src| (dst, src))) {
            for (off, imm) in OFFS.into_iter().flat_map(|off| IMMS.map(|imm| (off, imm))) {
                for high in highs {
                    let slot = Slot { code, dst, src, off, imm };
                    if let Ok((insn, [])) = Insn::decode(&bytes(slot, *high, ByteOrder::Little)) {
                        forms.push(insn);
                    }
                }
            }
        }
    }
    forms
}
