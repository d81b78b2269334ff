//! Instructions as values, and their 8 bytes (Documentation/bpf/standardization/instruction-set.rst,
//! RFC 9669). The subset is ISA v1 to v3 without atomics: what kernel and `rbpf` agree on.

use crate::helper::Helper;
use crate::map::MapIndex;
use crate::reg::{Cond, Mem, Operand, Reg, Size, Test};

/// Bytes of one instruction slot; a 64-bit immediate takes two slots.
pub const SLOT: usize = 8;

/// `src` of a 64-bit immediate load that names a map by its index in the load's
/// `fd_array` (`BPF_PSEUDO_MAP_IDX`, kernels from 5.14).
pub const BPF_PSEUDO_MAP_IDX: u8 = 5;
/// `src` of a 64-bit immediate load that names a map by its descriptor (`BPF_PSEUDO_MAP_FD`).
pub const BPF_PSEUDO_MAP_FD: u8 = 1;

/// Whether an operation works on 64 bits, or on the low 32 and clears the rest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// Low 32 bits; the upper half of the result is zero.
    W32,
    /// All 64 bits.
    W64,
}

/// The order of the bytes in a machine's words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ByteOrder {
    /// x86, arm64, riscv; also listings, hashes and `rbpf`.
    Little,
    /// s390x. The register nibbles are swapped too.
    Big,
}

impl ByteOrder {
    /// The order of the machine that this code runs on.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// Arithmetic and logic operations of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AluOp {
    /// `+=`
    Add = 0x00,
    /// `-=`
    Sub = 0x10,
    /// `*=`
    Mul = 0x20,
    /// `/=`, unsigned; by zero gives zero
    Div = 0x30,
    /// `|=`
    Or = 0x40,
    /// `&=`
    And = 0x50,
    /// `<<=`
    Lsh = 0x60,
    /// `>>=`, unsigned
    Rsh = 0x70,
    /// `%=`, unsigned; by zero leaves the value
    Mod = 0x90,
    /// `^=`
    Xor = 0xa0,
    /// `=`
    Mov = 0xb0,
    /// `>>=`, signed
    Arsh = 0xc0,
}

/// All of [`AluOp`].
pub const ALU_OPS: [AluOp; 12] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];

/// All of [`Cond`], with the bits of each in the opcode.
pub const CONDS: [(Cond, u8); 11] = [
    (Cond::Eq, 0x10),
    (Cond::Gt, 0x20),
    (Cond::Ge, 0x30),
    (Cond::Set, 0x40),
    (Cond::Ne, 0x50),
    (Cond::Sgt, 0x60),
    (Cond::Sge, 0x70),
    (Cond::Lt, 0xa0),
    (Cond::Le, 0xb0),
    (Cond::Slt, 0xc0),
    (Cond::Sle, 0xd0),
];

/// One instruction. Jumps count slots from the instruction after them, as the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Insn {
    /// `dst op= src`
    Alu {
        /// 32 or 64 bits.
        width: Width,
        /// Which operation.
        op: AluOp,
        /// Left side and result.
        dst: Reg,
        /// Right side.
        src: Operand,
    },
    /// `dst = -dst`
    Neg {
        /// 32 or 64 bits.
        width: Width,
        /// What is negated.
        dst: Reg,
    },
    /// `dst = be16 dst`: from the machine's order to `order` or back, cut to `bits`.
    Endian {
        /// The order that is not the machine's.
        order: ByteOrder,
        /// 16, 32 or 64.
        bits: u8,
        /// What is turned.
        dst: Reg,
    },
    /// `dst = *(u16 *)(base + off)`, zero-extended
    Load {
        /// Where the value goes.
        dst: Reg,
        /// Where it comes from.
        mem: Mem,
    },
    /// `*(u16 *)(base + off) = src`
    Store {
        /// Where the value goes.
        mem: Mem,
        /// What is stored.
        src: Operand,
    },
    /// `dst = imm ll`, two slots
    LoadImm64 {
        /// Where the value goes.
        dst: Reg,
        /// All 64 bits.
        imm: u64,
    },
    /// `dst = map[index] ll`, two slots (`BPF_PSEUDO_MAP_IDX`)
    LoadMap {
        /// Where the map's address goes.
        dst: Reg,
        /// Which map.
        map: MapIndex,
    },
    /// `goto +off`
    Jump {
        /// Slots from the next instruction.
        off: i16,
    },
    /// `if dst cond src goto +off`
    Branch {
        /// 32 or 64 bits are compared.
        width: Width,
        /// The question.
        test: Test,
        /// Slots from the next instruction.
        off: i16,
    },
    /// `call helper`
    Call {
        /// Which helper.
        helper: Helper,
    },
    /// `exit`, with the result in `r0`
    Exit,
}

pub(crate) const LD: u8 = 0x00;
pub(crate) const LDX: u8 = 0x01;
pub(crate) const ST: u8 = 0x02;
pub(crate) const STX: u8 = 0x03;
pub(crate) const ALU: u8 = 0x04;
pub(crate) const JMP: u8 = 0x05;
pub(crate) const JMP32: u8 = 0x06;
pub(crate) const ALU64: u8 = 0x07;

pub(crate) const MODE_IMM: u8 = 0x00;
pub(crate) const MODE_MEM: u8 = 0x60;
pub(crate) const SRC_REG: u8 = 0x08;
pub(crate) const OP_NEG: u8 = 0x80;
pub(crate) const OP_END: u8 = 0xd0;
pub(crate) const OP_CALL: u8 = 0x80;
pub(crate) const OP_EXIT: u8 = 0x90;

pub(crate) const LDDW: u8 = LD | MODE_IMM | 0x18;

/// The fields of one 8-byte slot, as `struct bpf_insn` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) code: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) off: i16,
    pub(crate) imm: i32,
}

impl Slot {
    fn to_bytes(self, order: ByteOrder) -> [u8; SLOT] {
        let (regs, off, imm) = match order {
            ByteOrder::Little => {
                (self.src << 4 | self.dst, self.off.to_le_bytes(), self.imm.to_le_bytes())
            }
            ByteOrder::Big => {
                (self.dst << 4 | self.src, self.off.to_be_bytes(), self.imm.to_be_bytes())
            }
        };
        [self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }
}

const fn size_bits(size: Size) -> u8 {
    match size {
        Size::U32 => 0x00,
        Size::U16 => 0x08,
        Size::U8 => 0x10,
        Size::U64 => 0x18,
    }
}

/// The operand's share of a slot: source bit, source register, immediate.
fn operand_bits(src: Operand) -> (u8, u8, i32) {
    match src {
        Operand::Reg(reg) => (SRC_REG, reg.number(), 0),
        Operand::Imm(imm) => (0, 0, imm),
    }
}

impl Insn {
    /// How many slots it takes: 2 for the 64-bit immediates, else 1.
    pub const fn slots(&self) -> usize {
        match self {
            Self::LoadImm64 { .. } | Self::LoadMap { .. } => 2,
            _ => 1,
        }
    }

    /// Appends its bytes to `out`, in the order of the target machine.
    pub fn encode(&self, order: ByteOrder, out: &mut Vec<u8>) {
        let (first, second) = self.to_slots();
        out.extend(first.to_bytes(order));
        if let Some(second) = second {
            out.extend(second.to_bytes(order));
        }
    }

    pub(crate) fn to_slots(self) -> (Slot, Option<Slot>) {
        let one = |slot| (slot, None);
        match self {
            Self::Alu { width, op, dst, src } => {
                let (bit, src, imm) = operand_bits(src);
                let class = if width == Width::W64 { ALU64 } else { ALU };
                one(Slot { code: class | op as u8 | bit, dst: dst.number(), src, imm, off: 0 })
            }
            Self::Neg { width, dst } => {
                let class = if width == Width::W64 { ALU64 } else { ALU };
                one(Slot { code: class | OP_NEG, dst: dst.number(), ..Slot::default() })
            }
            Self::Endian { order, bits, dst } => {
                let bit = if order == ByteOrder::Big { SRC_REG } else { 0 };
                let imm = i32::from(bits);
                one(Slot { code: ALU | OP_END | bit, dst: dst.number(), imm, ..Slot::default() })
            }
            Self::Load { dst, mem } => one(Slot {
                code: LDX | MODE_MEM | size_bits(mem.size),
                dst: dst.number(),
                src: mem.base.number(),
                off: mem.off,
                imm: 0,
            }),
            Self::Store { mem, src } => {
                let class = if matches!(src, Operand::Reg(_)) { STX } else { ST };
                let (_, src, imm) = operand_bits(src);
                let code = class | MODE_MEM | size_bits(mem.size);
                one(Slot { code, dst: mem.base.number(), src, off: mem.off, imm })
            }
            Self::LoadImm64 { dst, imm } => {
                let first = Slot {
                    code: LDDW,
                    dst: dst.number(),
                    imm: imm as u32 as i32,
                    ..Slot::default()
                };
                (first, Some(Slot { imm: (imm >> 32) as u32 as i32, ..Slot::default() }))
            }
            Self::LoadMap { dst, map } => {
                let first = Slot {
                    code: LDDW,
                    dst: dst.number(),
                    src: BPF_PSEUDO_MAP_IDX,
                    imm: map.get() as i32,
                    off: 0,
                };
                (first, Some(Slot::default()))
            }
            Self::Jump { off } => one(Slot { code: JMP, off, ..Slot::default() }),
            Self::Branch { width, test, off } => {
                let (bit, src, imm) = operand_bits(test.src);
                let class = if width == Width::W64 { JMP } else { JMP32 };
                let cond = CONDS.iter().find(|(c, _)| *c == test.cond).map_or(0, |(_, bits)| *bits);
                one(Slot { code: class | cond | bit, dst: test.dst.number(), src, off, imm })
            }
            Self::Call { helper } => {
                one(Slot { code: JMP | OP_CALL, imm: helper.number(), ..Slot::default() })
            }
            Self::Exit => one(Slot { code: JMP | OP_EXIT, ..Slot::default() }),
        }
    }
}
