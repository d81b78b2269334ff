//! From bytes back to instructions.

use crate::error::DecodeError;
use crate::helper::Helper;
use crate::insn::*;
use crate::map::MapIndex;
use crate::reg::{AnyReg, Mem, Operand, Reg, Size, Test};

impl Slot {
    /// Little-endian only: it is what listings, files and hashes hold.
    fn from_bytes(b: [u8; SLOT]) -> Self {
        Self {
            code: b[0],
            dst: b[1] & 0xf,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }
}

impl Insn {
    /// Reads the first instruction of `bytes` (little-endian) and gives it with the bytes after it.
    ///
    /// Every instruction that decodes encodes to the same bytes again: fields that the kernel
    /// wants zero must be zero.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (first, rest) = bytes.split_first_chunk::<SLOT>().ok_or(DecodeError::Truncated)?;
        let slot = Slot::from_bytes(*first);
        if slot.code == LDDW {
            let (second, rest) = rest.split_first_chunk::<SLOT>().ok_or(DecodeError::Truncated)?;
            let insn = decode_lddw(slot, Slot::from_bytes(*second));
            return insn.map(|insn| (insn, rest)).ok_or(DecodeError::Unknown(*first));
        }
        let insn = decode_one(slot).ok_or(DecodeError::Unknown(*first))?;
        // The law: nothing in the bytes may be lost.
        if insn.to_slots() != (slot, None) {
            return Err(DecodeError::Unknown(*first));
        }
        Ok((insn, rest))
    }

    /// Reads a whole stream (little-endian).
    pub fn decode_all(mut bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut insns = Vec::new();
        while !bytes.is_empty() {
            let (insn, rest) = Self::decode(bytes)?;
            insns.push(insn);
            bytes = rest;
        }
        Ok(insns)
    }
}

fn size_of_bits(code: u8) -> Size {
    match code & 0x18 {
        0x00 => Size::U32,
        0x08 => Size::U16,
        0x10 => Size::U8,
        _ => Size::U64,
    }
}

fn decode_lddw(first: Slot, second: Slot) -> Option<Insn> {
    let dst = Reg::new(first.dst)?;
    let insn = match first.src {
        0 => Insn::LoadImm64 {
            dst,
            imm: u64::from(second.imm as u32) << 32 | u64::from(first.imm as u32),
        },
        BPF_PSEUDO_MAP_IDX => Insn::LoadMap { dst, map: MapIndex(first.imm as u32) },
        _ => return None,
    };
    (insn.to_slots() == (first, Some(second))).then_some(insn)
}

fn decode_one(slot: Slot) -> Option<Insn> {
    let operand = || {
        if slot.code & SRC_REG != 0 {
            AnyReg::new(slot.src).map(Operand::Reg)
        } else {
            Some(Operand::Imm(slot.imm))
        }
    };
    let mem =
        |base| Some(Mem { size: size_of_bits(slot.code), base: AnyReg::new(base)?, off: slot.off });
    match slot.code & 0x07 {
        LDX if slot.code & 0xe0 == MODE_MEM => {
            Some(Insn::Load { dst: Reg::new(slot.dst)?, mem: mem(slot.src)? })
        }
        ST if slot.code & 0xe0 == MODE_MEM => {
            Some(Insn::Store { mem: mem(slot.dst)?, src: Operand::Imm(slot.imm) })
        }
        STX if slot.code & 0xe0 == MODE_MEM => {
            Some(Insn::Store { mem: mem(slot.dst)?, src: Operand::Reg(AnyReg::new(slot.src)?) })
        }
        class @ (ALU | ALU64) => decode_alu(slot, class, operand()?),
        class @ (JMP | JMP32) => decode_jump(slot, class, operand()?),
        _ => None,
    }
}

fn decode_alu(slot: Slot, class: u8, src: Operand) -> Option<Insn> {
    let dst = Reg::new(slot.dst)?;
    let width = if class == ALU64 { Width::W64 } else { Width::W32 };
    match slot.code & 0xf0 {
        OP_NEG => Some(Insn::Neg { width, dst }),
        OP_END if class == ALU && matches!(slot.imm, 16 | 32 | 64) => {
            let order = if slot.code & SRC_REG != 0 { ByteOrder::Big } else { ByteOrder::Little };
            Some(Insn::Endian { order, bits: slot.imm as u8, dst })
        }
        bits => {
            let op = ALU_OPS.into_iter().find(|op| *op as u8 == bits)?;
            Some(Insn::Alu { width, op, dst, src })
        }
    }
}

fn decode_jump(slot: Slot, class: u8, src: Operand) -> Option<Insn> {
    match (class, slot.code & 0xf0) {
        (JMP, 0x00) => Some(Insn::Jump { off: slot.off }),
        (JMP, OP_CALL) => Some(Insn::Call { helper: Helper::from_number(slot.imm)? }),
        (JMP, OP_EXIT) => Some(Insn::Exit),
        (_, bits) => {
            let (cond, _) = CONDS.into_iter().find(|(_, b)| *b == bits)?;
            let test = Test { dst: AnyReg::new(slot.dst)?, cond, src };
            let width = if class == JMP { Width::W64 } else { Width::W32 };
            Some(Insn::Branch { width, test, off: slot.off })
        }
    }
}
