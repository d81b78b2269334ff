//! The 8 bytes of one slot, and what its bits mean.

use super::ByteOrder;
use crate::reg::Size;

/// Bytes of one instruction slot; a 64-bit immediate takes two slots.
pub const SLOT: usize = 8;

/// `src` of a 64-bit immediate load that names a map by its descriptor.
pub const BPF_PSEUDO_MAP_FD: u8 = 1;
/// `src` of a 64-bit immediate load: an address in the value of an array map, by its descriptor.
pub const BPF_PSEUDO_MAP_VALUE: u8 = 2;
/// `src` of a 64-bit immediate load: a kernel variable, by its BTF id.
pub const BPF_PSEUDO_BTF_ID: u8 = 3;
/// `src` of a 64-bit immediate load: a function of the program, by its distance.
pub const BPF_PSEUDO_FUNC: u8 = 4;
/// `src` of a 64-bit immediate load that names a map by its index in the load's
/// `fd_array` (kernels from 5.14).
pub const BPF_PSEUDO_MAP_IDX: u8 = 5;
/// `src` of a 64-bit immediate load: an address in the value of an array map, by its index.
pub const BPF_PSEUDO_MAP_IDX_VALUE: u8 = 6;
/// `src` of a call of a function of the same program.
pub const BPF_PSEUDO_CALL: u8 = 1;
/// `src` of a call of a kernel function, by its BTF id.
pub const BPF_PSEUDO_KFUNC_CALL: u8 = 2;

// Classes: the low 3 bits of the code.
pub(super) const LD: u8 = 0x00;
pub(super) const LDX: u8 = 0x01;
pub(super) const ST: u8 = 0x02;
pub(super) const STX: u8 = 0x03;
pub(super) const ALU: u8 = 0x04;
pub(super) const JMP: u8 = 0x05;
pub(super) const JMP32: u8 = 0x06;
pub(super) const ALU64: u8 = 0x07;
pub(super) const CLASS: u8 = 0x07;

// Modes of loads and stores: the high 3 bits.
pub(super) const MODE_IMM: u8 = 0x00;
pub(super) const MODE_ABS: u8 = 0x20;
pub(super) const MODE_IND: u8 = 0x40;
pub(super) const MODE_MEM: u8 = 0x60;
pub(super) const MODE_MEMSX: u8 = 0x80;
pub(super) const MODE_ATOMIC: u8 = 0xc0;
/// Only with ST, and only in programs that the verifier has rewritten.
pub(super) const MODE_NOSPEC: u8 = 0xc0;
pub(super) const MODE: u8 = 0xe0;

/// Set: the operand is a register.
pub(super) const SRC_REG: u8 = 0x08;

// Operations that are not in the tables: the high 4 bits.
pub(super) const OP: u8 = 0xf0;
pub(super) const OP_NEG: u8 = 0x80;
pub(super) const OP_MOV: u8 = 0xb0;
pub(super) const OP_END: u8 = 0xd0;
pub(super) const OP_JA: u8 = 0x00;
pub(super) const OP_CALL: u8 = 0x80;
pub(super) const OP_EXIT: u8 = 0x90;
pub(super) const OP_JCOND: u8 = 0xe0;

pub(crate) const LDDW: u8 = LD | MODE_IMM | 0x18;

// `off` of a MOV that is more than one.
pub(super) const OFF_ADDR_SPACE_CAST: i16 = 1;
pub(super) const OFF_ADDR_PERCPU: i16 = -1;

// `imm` of atomics.
pub(super) const FETCH: i32 = 0x01;
pub(super) const CMPXCHG: i32 = 0xf0 | FETCH;
pub(super) const LOAD_ACQ: i32 = 0x100;
pub(super) const STORE_REL: i32 = 0x110;

/// The fields of one 8-byte slot, as `struct bpf_insn` names them. Any 8 bytes are a slot, and
/// give the same bytes again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Slot {
    /// Class, and operation or mode and size.
    pub code: u8,
    /// The destination register's number, 4 bits.
    pub dst: u8,
    /// The source register's number, 4 bits.
    pub src: u8,
    /// Of a memory access in bytes, of a jump in slots.
    pub off: i16,
    /// The immediate.
    pub imm: i32,
}

impl Slot {
    /// The fields in these bytes of a program for a machine of this order.
    pub const fn from_bytes(b: [u8; SLOT], order: ByteOrder) -> Self {
        let [code, regs, o0, o1, i0, i1, i2, i3] = b;
        let (low, high) = (regs & 0xf, regs >> 4);
        match order {
            ByteOrder::Little => Self {
                code,
                dst: low,
                src: high,
                off: i16::from_le_bytes([o0, o1]),
                imm: i32::from_le_bytes([i0, i1, i2, i3]),
            },
            ByteOrder::Big => Self {
                code,
                dst: high,
                src: low,
                off: i16::from_be_bytes([o0, o1]),
                imm: i32::from_be_bytes([i0, i1, i2, i3]),
            },
        }
    }

    /// The bytes for a machine of this order.
    pub const fn to_bytes(self, order: ByteOrder) -> [u8; SLOT] {
        let (regs, off, imm) = match order {
            ByteOrder::Little => {
                (self.src << 4 | self.dst & 0xf, self.off.to_le_bytes(), self.imm.to_le_bytes())
            }
            ByteOrder::Big => {
                (self.dst << 4 | self.src & 0xf, self.off.to_be_bytes(), self.imm.to_be_bytes())
            }
        };
        [self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }
}

pub(super) const fn size_bits(size: Size) -> u8 {
    match size {
        Size::U32 => 0x00,
        Size::U16 => 0x08,
        Size::U8 => 0x10,
        Size::U64 => 0x18,
    }
}

pub(super) const fn size_of_bits(code: u8) -> Size {
    match code & 0x18 {
        0x00 => Size::U32,
        0x08 => Size::U16,
        0x10 => Size::U8,
        _ => Size::U64,
    }
}
