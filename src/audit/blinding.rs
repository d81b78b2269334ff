//! Blinding undone. Where net.core.bpf_jit_harden is set, the kernel puts each constant of a program into a
//! scratch register as two random-looking halves of an xor (kernel/bpf/core.c, `bpf_jit_blind_insn`).

use xhop_asm::Slot;

/// Opcodes (Documentation/bpf/standardization/instruction-set.rst).
const LDDW: u8 = 0x18;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// `gotol`, which has its distance elsewhere.
const JA32: u8 = 0x06;
const MOV64_K: u8 = 0xb7;
const MOV64_X: u8 = 0xbf;
const MOV32_K: u8 = 0xb4;
const MOV32_X: u8 = 0xbc;
const XOR64_K: u8 = 0xa7;
const XOR32_K: u8 = 0xa4;
const LSH64_K: u8 = 0x67;
const OR64_X: u8 = 0x4f;
/// The class in an opcode, and classes.
const CLASS: u8 = 0x07;
const STX: u8 = 0x03;
const ALU32: u8 = 0x04;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const ALU64: u8 = 0x07;
/// In a register's source bit.
const SRC_REG: u8 = 0x08;
/// The last register that a program can name. Of those above the kernel has one for itself
/// (include/linux/filter.h, `BPF_REG_AX`): 11, or 12 in kernels of 7.x.
const R10: u8 = 10;

/// A program without its blinding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plain {
    /// Its slots, jumps adjusted.
    pub slots: Vec<Slot>,
    /// Where each began in the kernel's, and where those end.
    pub origins: Vec<usize>,
    /// Whether there was any.
    pub blinded: bool,
}

/// The program as it was before. One that jumps into what stands for a single instruction was never
/// blinded by a kernel, and stays as it is.
pub fn undo(kernels: &[Slot]) -> Plain {
    let (mut slots, mut origins, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(rest @ [first, ..]) = kernels.get(at..) {
        let (plain, len) = match constant(rest) {
            Some((slot, len)) => (vec![slot], len),
            None => wide(rest).unwrap_or((vec![*first], 1)),
        };
        origins.extend(plain.iter().map(|_| at));
        slots.extend(plain);
        at += len;
    }
    origins.push(at);
    let blinded = slots.len() != kernels.len();
    match jumps(&mut slots, &origins) {
        Some(()) => Plain { slots, origins, blinded },
        None => {
            Plain { slots: kernels.into(), origins: (0..=kernels.len()).collect(), blinded: false }
        }
    }
}

/// A constant in two halves.
#[derive(Clone, Copy)]
struct Hidden {
    imm: i32,
    /// Made for an operation of 64 bits.
    wide: bool,
    /// The scratch register that it gets to.
    ax: u8,
}

/// `ax = a; ax ^= b`
fn hidden(slots: &[Slot]) -> Option<Hidden> {
    let &[mov, xor] = slots.first_chunk()?;
    let ax = mov.dst;
    let is = |slot: Slot, code| slot == Slot { code, dst: ax, imm: slot.imm, ..Slot::default() };
    let wide = mov.code == MOV64_K;
    let codes = if wide { (MOV64_K, XOR64_K) } else { (MOV32_K, XOR32_K) };
    let fits = ax > R10 && is(mov, codes.0) && is(xor, codes.1);
    fits.then_some(Hidden { imm: mov.imm ^ xor.imm, wide, ax })
}

/// An instruction with a constant: what it was, and the length of what stands for it.
fn constant(slots: &[Slot]) -> Option<(Slot, usize)> {
    let Hidden { imm, wide, ax } = hidden(slots)?;
    let user = *slots.get(2)?;
    let code = match (user.code & CLASS, wide) {
        (STX, true) => user.code & !1,
        (ALU64 | JMP, true) | (ALU32 | JMP32, false) if user.code & SRC_REG != 0 => {
            user.code & !SRC_REG
        }
        _ => return None,
    };
    (user.src == ax && user.dst <= R10 && user.imm == 0)
        .then_some((Slot { code, src: 0, imm, ..user }, 3))
}

/// A constant of 64 bits, which also an address of a map is: the upper half, then the lower.
fn wide(slots: &[Slot]) -> Option<(Vec<Slot>, usize)> {
    let (high, low) = (hidden(slots)?, hidden(slots.get(4..)?)?);
    let &[shift, mov] = slots.get(2..)?.first_chunk()?;
    let ax = high.ax;
    let clears = Slot { code: MOV32_X, dst: ax, src: ax, off: 0, imm: 1 };
    let len = if slots.get(6) == Some(&clears) { 8 } else { 7 };
    let from_ax = |code| Slot { code, dst: mov.dst, src: ax, ..Slot::default() };
    let fits = (high.wide, low.wide, low.ax) == (true, false, ax)
        && shift == Slot { code: LSH64_K, dst: ax, imm: 32, ..Slot::default() }
        && mov == from_ax(MOV64_X)
        && *slots.get(len - 1)? == from_ax(OR64_X);
    let load = Slot { code: LDDW, dst: mov.dst, imm: low.imm, ..Slot::default() };
    fits.then_some((vec![load, Slot { imm: high.imm, ..Slot::default() }], len))
}

/// Counts distances in the plain slots; `None` if a jump lands in what stands for one of them.
fn jumps(slots: &mut [Slot], origins: &[usize]) -> Option<()> {
    for (at, slot) in slots.iter_mut().enumerate() {
        let jumps = matches!(slot.code & CLASS, JMP | JMP32);
        if !jumps || matches!(slot.code, CALL | EXIT | JA32) {
            continue;
        }
        // What jumps is the last of what stands for it.
        let target = origins.get(at + 1)?.checked_add_signed(slot.off.into())?;
        let lands = origins.partition_point(|origin| *origin < target);
        if origins.get(lands) != Some(&target) {
            return None;
        }
        slot.off = i16::try_from(lands as i64 - at as i64 - 1).ok()?;
    }
    Some(())
}
