//! ELF objects (`EM_BPF`): out, for whoever wants to read our programs with other tools; and in, for
//! whoever wants to read others' programs with ours.

mod abi;
mod write;

pub use write::object;
