//! The lint: what a program can do, proved by walking all its paths with an abstract state.
//!
//! It is stricter than any kernel's verifier on purpose, and simpler: what it lets through, every kernel
//! from 5.10 lets through, the VM computes alike, and a person can be told of it in a few lines
//! ([`Facts`]). What it can't prove it refuses ([`Finding`]).
//!
//! An XDP program is meant: `r1` points to an `xdp_md` at entry, `r0` is the verdict at exit.

mod access;
mod branch;
mod call;
mod facts;
mod field;
mod finding;
mod flow;
mod scalar;
mod state;
mod step;
mod value;
mod walk;

pub use facts::{Facts, Loop, MapUse, Span, Verdicts};
pub use finding::{Finding, Rule};

use crate::insn::{ByteOrder, Insn};
use crate::map::MapShape;
use crate::program::Program;

/// What the lint says of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What the program does; of one with findings, as far as it was walked.
    pub facts: Facts,
    /// What is wrong with it, in the order of its instructions. None: it may be run.
    pub findings: Vec<Finding>,
}

/// Walks a program of these bytes (little-endian). Map loads are `BPF_PSEUDO_MAP_IDX`: places in `maps`.
///
/// Takes bounded time and memory for any bytes.
pub fn lint(bytes: &[u8], maps: &[MapShape]) -> Report {
    match flow::Code::read(bytes) {
        Ok(code) => walk::walk(&code, maps),
        Err(findings) => Report { facts: Facts::default(), findings },
    }
}

/// Walks a program with the maps that it declares.
pub fn lint_program(program: &Program) -> Report {
    let maps: Vec<MapShape> = program.maps().iter().map(MapShape::from).collect();
    lint(&program.bytes(ByteOrder::Little), &maps)
}

/// Whether an instruction may be in a program: ISA v1 to v3 without atomics, calls of helpers only, and
/// nothing that `rbpf` computes otherwise than the kernel. Says why not.
fn outside_subset(insn: &Insn) -> Option<&'static str> {
    use crate::insn::{AluOp, Width};
    use crate::reg::Operand;
    match insn {
        Insn::Alu { width: Width::W32, op: AluOp::Add | AluOp::Sub | AluOp::Mul, .. } => {
            Some("the VM extends the sign of 32-bit sums, differences and products: use 64 bits")
        }
        Insn::Branch { width, test, .. } => match test.src {
            Operand::Imm(imm) if imm < 0 && *width == Width::W64 => Some(
                "kernel and VM differ on a negative constant in a 64-bit comparison: load it into a register",
            ),
            _ => None,
        },
        Insn::Alu { .. }
        | Insn::Neg { .. }
        | Insn::Endian { .. }
        | Insn::Load { .. }
        | Insn::Store { .. }
        | Insn::LoadImm64 { .. }
        | Insn::LoadMap { .. }
        | Insn::Jump { .. }
        | Insn::Call { .. }
        | Insn::Exit => None,
    }
}
