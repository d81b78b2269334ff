//! The instructions that a program may have: ISA v1 to v3 without atomics, calls of helpers only, and
//! nothing that `rbpf` computes otherwise than the kernel.

use crate::insn::{AluOp, Insn, Width};
use crate::reg::Operand;

/// Why an instruction is not walked.
pub(super) fn unknown(insn: &Insn) -> Option<&'static str> {
    match insn {
        Insn::Alu { op: AluOp::Sdiv | AluOp::Smod, .. } => Some("signed division is not modelled"),
        Insn::Alu { .. }
        | Insn::Neg { .. }
        | Insn::Endian { .. }
        | Insn::Load { .. }
        | Insn::Store { .. }
        | Insn::LoadImm64 { .. }
        | Insn::LoadMap { .. }
        | Insn::Jump { .. }
        | Insn::Branch { .. }
        | Insn::Call { .. }
        | Insn::Exit => None,
        _ => Some("outside the part of the instruction set that all kernels and the VM agree on"),
    }
}

/// What kernel and VM disagree on, of what can be walked.
pub(super) fn disagreed(insn: &Insn) -> Option<&'static str> {
    match insn {
        Insn::Alu { width: Width::W32, op: AluOp::Add | AluOp::Sub | AluOp::Mul, .. } => {
            Some("the VM extends the sign of 32-bit sums, differences and products: use 64 bits")
        }
        Insn::Branch { width: Width::W64, test, .. } => match test.src {
            Operand::Imm(..0) => Some(
                "kernel and VM differ on a negative constant in a 64-bit comparison: load it into a register",
            ),
            _ => None,
        },
        _ => None,
    }
}
