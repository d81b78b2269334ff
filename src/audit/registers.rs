//! What the registers hold where an instruction stands, as far as it decides what kernels make of that.

use xhop_asm::{AluOp, Insn, MapIndex, Operand, R0, R1, R2, R3, R4, R5, Reg};

/// What a register holds, as far as it decides about translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// The program's context.
    Context,
    /// One of its maps.
    Map(MapIndex),
}

/// What the registers hold, followed in the order of the listing.
#[derive(Clone, Copy, Debug)]
pub struct Registers([Option<Holds>; 10]);

impl Registers {
    /// At the program's entry: the context is in `r1`.
    pub fn at_entry() -> Self {
        let mut registers = Self([None; 10]);
        registers.set(R1, Some(Holds::Context));
        registers
    }

    /// What this one holds; `None` if nothing of the kind.
    pub fn get(&self, number: u8) -> Option<Holds> {
        self.0.get(usize::from(number)).copied().flatten()
    }

    fn set(&mut self, reg: Reg, holds: Option<Holds>) {
        if let Some(register) = self.0.get_mut(usize::from(reg.number())) {
            *register = holds;
        }
    }

    /// After this instruction.
    pub fn after(&mut self, insn: Insn) {
        match insn {
            Insn::LoadMap { dst, map } => self.set(dst, Some(Holds::Map(map))),
            Insn::Alu { op: AluOp::Mov, dst, src: Operand::Reg(src), .. } => {
                self.set(dst, self.get(src.number()));
            }
            Insn::Call { .. } => {
                for lost in [R0, R1, R2, R3, R4, R5] {
                    self.set(lost, None);
                }
            }
            other => {
                if let Some(dst) = written(other) {
                    self.set(dst, None);
                }
            }
        }
    }
}

/// The register that an instruction sets, but for calls.
pub fn written(insn: Insn) -> Option<Reg> {
    match insn {
        Insn::Alu { dst, .. }
        | Insn::Neg { dst, .. }
        | Insn::MoveSigned { dst, .. }
        | Insn::Endian { dst, .. }
        | Insn::Swap { dst, .. }
        | Insn::Load { dst, .. }
        | Insn::LoadSigned { dst, .. }
        | Insn::LoadImm64 { dst, .. }
        | Insn::LoadMap { dst, .. } => Some(dst),
        _ => None,
    }
}
