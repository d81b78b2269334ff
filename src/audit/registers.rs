//! What the registers hold where an instruction stands, as far as it decides what kernels make of that.

use xhop_asm::{AluOp, FP, Insn, MapIndex, Mem, Operand, R0, R1, R2, R3, R4, R5, Reg, Size};

/// What a register holds, as far as it decides about translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// The program's context.
    Context,
    /// One of its maps.
    Map(MapIndex),
}

/// What the registers hold, followed in the order of the listing; and where on the stack the context is kept,
/// which programs on skbs need again after calls.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    registers: [Option<Holds>; 10],
    kept: Option<i16>,
}

impl Registers {
    /// At the program's entry: the context is in `r1`.
    pub fn at_entry() -> Self {
        let mut registers = Self { registers: [None; 10], kept: None };
        registers.set(R1, Some(Holds::Context));
        registers
    }

    /// What this one holds; `None` if nothing of the kind.
    pub fn get(&self, number: u8) -> Option<Holds> {
        self.registers.get(usize::from(number)).copied().flatten()
    }

    fn set(&mut self, reg: Reg, holds: Option<Holds>) {
        if let Some(register) = self.registers.get_mut(usize::from(reg.number())) {
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
            Insn::Load { dst, mem } if on_stack(mem) && self.kept == Some(mem.off) => {
                let whole = mem.size == Size::U64;
                self.set(dst, whole.then_some(Holds::Context));
            }
            // Nothing else is kept that long: a store in its place ends it.
            Insn::Store { mem, src } if on_stack(mem) => match (self.kept, src) {
                (_, Operand::Reg(src)) if self.get(src.number()) == Some(Holds::Context) => {
                    self.kept = Some(mem.off);
                }
                (Some(kept), _) if kept.abs_diff(mem.off) < 8 => self.kept = None,
                _ => {}
            },
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

fn on_stack(mem: Mem) -> bool {
    mem.base == FP.into()
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
