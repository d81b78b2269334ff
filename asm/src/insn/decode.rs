//! From bytes back to instructions.

use super::slot::*;
use super::{ALU_OPS, ATOMIC_OPS, ByteOrder, CONDS, FETCH_OPS, Insn, Width};
use crate::error::DecodeError;
use crate::helper::Helper;
use crate::map::MapIndex;
use crate::reg::{AnyReg, Mem, Operand, Reg, Size, Test};

impl Insn {
    /// Reads the first instruction of `bytes` (little-endian) and gives it with the bytes after it.
    ///
    /// Every instruction that decodes encodes to the same bytes again: fields that the kernel
    /// wants zero must be zero.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        Self::decode_as(bytes, ByteOrder::Little)
    }

    /// As [`Insn::decode`], for a machine of either order.
    pub fn decode_as(bytes: &[u8], order: ByteOrder) -> Result<(Self, &[u8]), DecodeError> {
        let (bytes, rest) = bytes.split_first_chunk::<SLOT>().ok_or(DecodeError::Truncated)?;
        let first = Slot::from_bytes(*bytes, order);
        let (second, rest) = if first.code == LDDW {
            let (second, rest) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
            (Some(Slot::from_bytes(*second, order)), rest)
        } else {
            (None, rest)
        };
        let insn = match second {
            Some(second) => decode_lddw(first, second),
            None => decode_one(first),
        };
        // The law: nothing in the bytes may be lost.
        let insn = insn.filter(|insn| insn.to_slots() == (first, second));
        insn.map(|insn| (insn, rest)).ok_or(DecodeError::Unknown(*bytes))
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

fn decode_lddw(first: Slot, second: Slot) -> Option<Insn> {
    let dst = Reg::new(first.dst)?;
    let (low, high) = (first.imm as u32, second.imm as u32);
    Some(match first.src {
        0 => Insn::LoadImm64 { dst, imm: u64::from(high) << 32 | u64::from(low) },
        BPF_PSEUDO_MAP_FD => Insn::LoadMapFd { dst, fd: first.imm },
        BPF_PSEUDO_MAP_VALUE => Insn::LoadMapFdValue { dst, fd: first.imm, off: high },
        BPF_PSEUDO_BTF_ID => Insn::LoadBtf { dst, id: low, fd: second.imm },
        BPF_PSEUDO_FUNC => Insn::LoadFunc { dst, off: first.imm },
        BPF_PSEUDO_MAP_IDX => Insn::LoadMap { dst, map: MapIndex(low) },
        BPF_PSEUDO_MAP_IDX_VALUE => Insn::LoadMapValue { dst, map: MapIndex(low), off: high },
        _ => return None,
    })
}

/// Fields that the instruction does not have are not looked at: encoding it again tells.
fn decode_one(slot: Slot) -> Option<Insn> {
    match slot.code & CLASS {
        LD => decode_packet(slot),
        LDX => decode_load(slot),
        ST | STX => decode_store(slot),
        ALU => decode_alu(slot, Width::W32),
        ALU64 => decode_alu(slot, Width::W64),
        JMP32 => decode_jump(slot, Width::W32),
        _ => decode_jump(slot, Width::W64),
    }
}

fn operand(slot: Slot) -> Option<Operand> {
    if slot.code & SRC_REG != 0 {
        AnyReg::new(slot.src).map(Operand::Reg)
    } else {
        Some(Operand::Imm(slot.imm))
    }
}

/// The memory at the register number `base`.
fn mem(slot: Slot, base: u8) -> Option<Mem> {
    Some(Mem { size: size_of_bits(slot.code), base: AnyReg::new(base)?, off: slot.off })
}

fn decode_packet(slot: Slot) -> Option<Insn> {
    let size = size_of_bits(slot.code);
    let base = match slot.code & MODE {
        MODE_ABS => None,
        MODE_IND => Some(AnyReg::new(slot.src)?),
        _ => return None,
    };
    (size != Size::U64).then_some(Insn::LoadPacket { size, base, off: slot.imm })
}

fn decode_load(slot: Slot) -> Option<Insn> {
    let (dst, mem) = (Reg::new(slot.dst)?, mem(slot, slot.src)?);
    match slot.code & MODE {
        MODE_MEM => Some(Insn::Load { dst, mem }),
        MODE_MEMSX if mem.size != Size::U64 => Some(Insn::LoadSigned { dst, mem }),
        _ => None,
    }
}

fn decode_store(slot: Slot) -> Option<Insn> {
    match (slot.code & CLASS, slot.code & MODE) {
        (ST, MODE_NOSPEC) => Some(Insn::Nospec),
        (ST, MODE_MEM) => {
            Some(Insn::Store { mem: mem(slot, slot.dst)?, src: Operand::Imm(slot.imm) })
        }
        (STX, MODE_MEM) => {
            Some(Insn::Store { mem: mem(slot, slot.dst)?, src: AnyReg::new(slot.src)?.into() })
        }
        (STX, MODE_ATOMIC) => decode_atomic(slot),
        _ => None,
    }
}

fn decode_atomic(slot: Slot) -> Option<Insn> {
    let (dst, src) = (AnyReg::new(slot.dst)?, AnyReg::new(slot.src)?);
    let to = mem(slot, dst.number())?;
    match slot.imm {
        LOAD_ACQ => {
            return Some(Insn::LoadAcquire { dst: Reg::new(slot.dst)?, mem: mem(slot, slot.src)? });
        }
        STORE_REL => return Some(Insn::StoreRelease { mem: to, src }),
        // Only these two have small sizes.
        _ if to.size.bytes() < 4 => return None,
        CMPXCHG => return Some(Insn::CompareExchange { mem: to, src }),
        _ => {}
    }
    if let Some(op) = ATOMIC_OPS.into_iter().find(|op| *op as i32 == slot.imm) {
        return Some(Insn::Atomic { op, mem: to, src });
    }
    let op = FETCH_OPS.into_iter().find(|op| *op as i32 == slot.imm)?;
    Some(Insn::AtomicFetch { op, mem: to, src: Reg::new(slot.src)? })
}

fn decode_alu(slot: Slot, width: Width) -> Option<Insn> {
    let dst = Reg::new(slot.dst)?;
    match slot.code & OP {
        OP_NEG => return Some(Insn::Neg { width, dst }),
        OP_END => return decode_end(slot, width),
        OP_MOV if slot.code & SRC_REG != 0 && slot.off != 0 => return decode_move(slot, width),
        _ => {}
    }
    let (op, ..) =
        ALU_OPS.into_iter().find(|(_, bits, off)| (*bits, *off) == (slot.code & OP, slot.off))?;
    Some(Insn::Alu { width, op, dst, src: operand(slot)? })
}

fn decode_end(slot: Slot, width: Width) -> Option<Insn> {
    let (dst, bits) = (Reg::new(slot.dst)?, u8::try_from(slot.imm).ok()?);
    let big = slot.code & SRC_REG != 0;
    match (bits, width) {
        (16 | 32 | 64, Width::W64) => Some(Insn::Swap { bits, dst }),
        (16 | 32 | 64, Width::W32) => {
            let order = if big { ByteOrder::Big } else { ByteOrder::Little };
            Some(Insn::Endian { order, bits, dst })
        }
        _ => None,
    }
}

/// A MOV whose `off` says that it is more than one.
fn decode_move(slot: Slot, width: Width) -> Option<Insn> {
    let (dst, src) = (Reg::new(slot.dst)?, AnyReg::new(slot.src)?);
    match (slot.off, width) {
        (8 | 16, _) | (32, Width::W64) => {
            Some(Insn::MoveSigned { width, bits: slot.off as u8, dst, src })
        }
        (OFF_ADDR_SPACE_CAST, Width::W64) => {
            let imm = slot.imm as u32;
            Some(Insn::AddrSpaceCast { dst, src, to: (imm >> 16) as u16, from: imm as u16 })
        }
        (OFF_ADDR_PERCPU, Width::W64) => Some(Insn::MovePercpu { dst, src }),
        _ => None,
    }
}

fn decode_jump(slot: Slot, width: Width) -> Option<Insn> {
    if let Some((cond, _)) = CONDS.into_iter().find(|(_, bits)| *bits == slot.code & OP) {
        let test = Test { dst: AnyReg::new(slot.dst)?, cond, src: operand(slot)? };
        return Some(Insn::Branch { width, test, off: slot.off });
    }
    match (slot.code & OP, width) {
        (OP_JA, Width::W64) => Some(Insn::Jump { off: slot.off }),
        (OP_JA, Width::W32) => Some(Insn::JumpLong { off: slot.imm }),
        (OP_JCOND, Width::W64) => Some(Insn::MayGoto { off: slot.off }),
        (OP_CALL, Width::W64) => decode_call(slot),
        (OP_EXIT, Width::W64) => Some(Insn::Exit),
        _ => None,
    }
}

fn decode_call(slot: Slot) -> Option<Insn> {
    if slot.code & SRC_REG != 0 {
        return Some(Insn::CallReg { reg: AnyReg::new(slot.dst)? });
    }
    match slot.src {
        0 => Some(Insn::Call { helper: Helper::new(slot.imm) }),
        BPF_PSEUDO_CALL => Some(Insn::CallLocal { off: slot.imm }),
        BPF_PSEUDO_KFUNC_CALL => Some(Insn::CallKfunc { id: slot.imm as u32, fd_index: slot.off }),
        _ => None,
    }
}
