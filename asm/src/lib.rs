//! The assembler and the BPF programs of xhop.
//!
//! Pure: no system calls, nothing of sockets, namespaces or containers. A program is made by
//! [`programs`] from [`blocks`], which emit instructions into an [`Assembler`]; the result is a
//! [`Program`], whose bytes the kernel and the VM run and whose lines a person can read.

#![forbid(unsafe_code)]

mod assembler;
pub mod btf;
mod bytes;
mod disasm;
pub mod elf;
pub mod error;
pub mod flow;
mod helper;
mod hook;
pub mod insn;
mod label;
pub mod lint;
pub mod listing;
mod map;
pub mod net;
mod program;
mod reg;
mod sort;
pub mod tag;
pub mod tc;
pub mod xdp;

pub mod blocks;
pub mod programs;

pub use assembler::{Assembler, Why};
pub use btf::ProgramBtf;
pub use disasm::{Item, disassemble};
pub use error::{DecodeError, Error};
pub use helper::Helper;
pub use hook::Hook;
pub use insn::{AluOp, AtomicOp, ByteOrder, FetchOp, Insn, Slot, Width};
pub use label::{Bound, Label, Target};
pub use map::{MapDecl, MapIndex, MapKind, MapShape};
pub use program::{LICENSE, Line, Mark, Program};
pub use reg::{
    AnyReg, Cond, FP, Fp, Mem, Operand, Pointer, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Reg, Size,
    Test,
};
pub use sort::sort;
