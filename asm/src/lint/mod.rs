//! The lint: what a program can do, proved by walking all its paths with an abstract state.
//!
//! It is stricter than any kernel's verifier on purpose, and simpler: what it lets through, every kernel
//! from 5.10 lets through, the VM computes alike, and a person can be told of it in a few lines
//! ([`Facts`]). What it can't prove it refuses ([`Finding`]).
//!
//! Two things are not proved: how long a kernel's verifier takes, which is only kept well below its limits here,
//! and that accesses of the packet are aligned, which kernels ask for on machines that can do no other (those
//! without `CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).
//!
//! `r1` points to the context at entry, an `xdp_md` or a `__sk_buff`; `r0` is the verdict at exit.

mod access;
mod branch;
mod call;
mod code;
mod facts;
mod field;
mod finding;
mod scalar;
mod state;
mod step;
mod subset;
mod value;
mod walk;
mod walked;

pub use facts::{Facts, Loop, MapUse, Span, Verdicts};
pub use finding::{Finding, Rule};

use crate::hook::Hook;
use crate::insn::ByteOrder;
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

/// Walks a program for this hook, of these bytes (little-endian). Map loads are `BPF_PSEUDO_MAP_IDX`: places in `maps`.
///
/// Takes bounded time and memory for any bytes.
pub fn lint(hook: Hook, bytes: &[u8], maps: &[MapShape]) -> Report {
    match code::Code::read(bytes) {
        Ok(code) => walk::walk(hook, &code, maps),
        Err(findings) => Report { facts: Facts { hook, ..Facts::default() }, findings },
    }
}

/// Walks a program with the maps that it declares.
pub fn lint_program(program: &Program) -> Report {
    let maps: Vec<MapShape> = program.maps().iter().map(MapShape::from).collect();
    lint(program.hook(), &program.bytes(ByteOrder::Little), &maps)
}
