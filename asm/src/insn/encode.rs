//! From instructions to bytes.

use super::slot::*;
use super::{ALU_OPS, AluOp, ByteOrder, CONDS, Insn, Width};
use crate::reg::{AnyReg, Cond, Mem, Operand, Reg};

/// A slot is put together field by field; what is not named stays zero.
impl Slot {
    fn new(code: u8) -> Self {
        Self { code, ..Self::default() }
    }
    fn dst(self, reg: impl Into<AnyReg>) -> Self {
        Self { dst: reg.into().number(), ..self }
    }
    fn src(self, reg: impl Into<AnyReg>) -> Self {
        Self { src: reg.into().number(), ..self }
    }
    fn kind(self, src: u8) -> Self {
        Self { src, ..self }
    }
    fn off(self, off: i16) -> Self {
        Self { off, ..self }
    }
    fn imm(self, imm: i32) -> Self {
        Self { imm, ..self }
    }
    /// An immediate, or a register and the bit that says so.
    fn operand(self, operand: Operand) -> Self {
        match operand {
            Operand::Reg(reg) => Self { code: self.code | SRC_REG, ..self }.src(reg),
            Operand::Imm(imm) => self.imm(imm),
        }
    }
    /// A load from `mem`; `code` is class and mode.
    fn from(code: u8, mem: Mem) -> Self {
        Self::new(code | size_bits(mem.size)).src(mem.base).off(mem.off)
    }
    /// A store to `mem`; `code` is class and mode.
    fn to(code: u8, mem: Mem) -> Self {
        Self::new(code | size_bits(mem.size)).dst(mem.base).off(mem.off)
    }
    /// The two slots of a 64-bit immediate.
    fn lddw(dst: Reg, kind: u8, low: u32, high: u32) -> (Self, Option<Self>) {
        let first = Self::new(LDDW).dst(dst).kind(kind).imm(low as i32);
        (first, Some(Self::new(0).imm(high as i32)))
    }
}

const fn alu(width: Width) -> u8 {
    match width {
        Width::W32 => ALU,
        Width::W64 => ALU64,
    }
}

const fn jmp(width: Width) -> u8 {
    match width {
        Width::W32 => JMP32,
        Width::W64 => JMP,
    }
}

/// The operation's bits in the opcode, and its `off`.
fn op_bits(op: AluOp) -> (u8, i16) {
    ALU_OPS.into_iter().find(|(o, ..)| *o == op).map_or((0, 0), |(_, bits, off)| (bits, off))
}

fn cond_bits(cond: Cond) -> u8 {
    CONDS.into_iter().find(|(c, _)| *c == cond).map_or(0, |(_, bits)| bits)
}

impl Insn {
    /// Appends its bytes to `out`, in the order of the target machine.
    pub fn encode(&self, order: ByteOrder, out: &mut Vec<u8>) {
        let (first, second) = self.to_slots();
        out.extend(first.to_bytes(order));
        if let Some(second) = second {
            out.extend(second.to_bytes(order));
        }
    }

    pub(super) fn to_slots(self) -> (Slot, Option<Slot>) {
        let one = match self {
            Self::LoadImm64 { dst, imm } => {
                return Slot::lddw(dst, 0, imm as u32, (imm >> 32) as u32);
            }
            Self::LoadMap { dst, map } => {
                return Slot::lddw(dst, BPF_PSEUDO_MAP_IDX, map.get(), 0);
            }
            Self::LoadMapValue { dst, map, off } => {
                return Slot::lddw(dst, BPF_PSEUDO_MAP_IDX_VALUE, map.get(), off);
            }
            Self::LoadMapFd { dst, fd } => {
                return Slot::lddw(dst, BPF_PSEUDO_MAP_FD, fd as u32, 0);
            }
            Self::LoadMapFdValue { dst, fd, off } => {
                return Slot::lddw(dst, BPF_PSEUDO_MAP_VALUE, fd as u32, off);
            }
            Self::LoadBtf { dst, id, fd } => {
                return Slot::lddw(dst, BPF_PSEUDO_BTF_ID, id, fd as u32);
            }
            Self::LoadFunc { dst, off } => {
                return Slot::lddw(dst, BPF_PSEUDO_FUNC, off as u32, 0);
            }

            Self::Alu { width, op, dst, src } => {
                let (bits, off) = op_bits(op);
                Slot::new(alu(width) | bits).dst(dst).off(off).operand(src)
            }
            Self::MoveSigned { width, bits, dst, src } => {
                Slot::new(alu(width) | OP_MOV | SRC_REG).dst(dst).src(src).off(bits.into())
            }
            Self::AddrSpaceCast { dst, src, to, from } => {
                let imm = u32::from(to) << 16 | u32::from(from);
                let slot = Slot::new(ALU64 | OP_MOV | SRC_REG).dst(dst).src(src);
                slot.off(OFF_ADDR_SPACE_CAST).imm(imm as i32)
            }
            Self::MovePercpu { dst, src } => {
                Slot::new(ALU64 | OP_MOV | SRC_REG).dst(dst).src(src).off(OFF_ADDR_PERCPU)
            }
            Self::Neg { width, dst } => Slot::new(alu(width) | OP_NEG).dst(dst),
            Self::Endian { order, bits, dst } => {
                let bit = if order == ByteOrder::Big { SRC_REG } else { 0 };
                Slot::new(ALU | OP_END | bit).dst(dst).imm(bits.into())
            }
            Self::Swap { bits, dst } => Slot::new(ALU64 | OP_END).dst(dst).imm(bits.into()),

            Self::Load { dst, mem } => Slot::from(LDX | MODE_MEM, mem).dst(dst),
            Self::LoadSigned { dst, mem } => Slot::from(LDX | MODE_MEMSX, mem).dst(dst),
            Self::LoadAcquire { dst, mem } => {
                Slot::from(STX | MODE_ATOMIC, mem).dst(dst).imm(LOAD_ACQ)
            }
            Self::Store { mem, src: Operand::Reg(src) } => Slot::to(STX | MODE_MEM, mem).src(src),
            Self::Store { mem, src: Operand::Imm(imm) } => Slot::to(ST | MODE_MEM, mem).imm(imm),
            Self::Atomic { op, mem, src } => {
                Slot::to(STX | MODE_ATOMIC, mem).src(src).imm(op as i32)
            }
            Self::AtomicFetch { op, mem, src } => {
                Slot::to(STX | MODE_ATOMIC, mem).src(src).imm(op as i32)
            }
            Self::CompareExchange { mem, src } => {
                Slot::to(STX | MODE_ATOMIC, mem).src(src).imm(CMPXCHG)
            }
            Self::StoreRelease { mem, src } => {
                Slot::to(STX | MODE_ATOMIC, mem).src(src).imm(STORE_REL)
            }
            Self::LoadPacket { size, base: None, off } => {
                Slot::new(LD | MODE_ABS | size_bits(size)).imm(off)
            }
            Self::LoadPacket { size, base: Some(base), off } => {
                Slot::new(LD | MODE_IND | size_bits(size)).src(base).imm(off)
            }
            Self::Nospec => Slot::new(ST | MODE_NOSPEC),

            Self::Jump { off } => Slot::new(JMP | OP_JA).off(off),
            Self::JumpLong { off } => Slot::new(JMP32 | OP_JA).imm(off),
            Self::MayGoto { off } => Slot::new(JMP | OP_JCOND).off(off),
            Self::Branch { width, test, off } => {
                let slot = Slot::new(jmp(width) | cond_bits(test.cond)).dst(test.dst);
                slot.operand(test.src).off(off)
            }
            Self::Call { helper } => Slot::new(JMP | OP_CALL).imm(helper.number()),
            Self::CallLocal { off } => Slot::new(JMP | OP_CALL).kind(BPF_PSEUDO_CALL).imm(off),
            Self::CallKfunc { id, fd_index } => {
                let slot = Slot::new(JMP | OP_CALL).kind(BPF_PSEUDO_KFUNC_CALL);
                slot.off(fd_index).imm(id as i32)
            }
            Self::CallReg { reg } => Slot::new(JMP | OP_CALL | SRC_REG).dst(reg),
            Self::Exit => Slot::new(JMP | OP_EXIT),
        };
        (one, None)
    }
}
