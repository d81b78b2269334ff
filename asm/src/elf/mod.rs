//! ELF objects (`EM_BPF`): out, for whoever wants to read our programs with other tools; and in, for
//! whoever wants to read others' programs with ours.

mod abi;
mod file;
mod read;
mod write;

use std::fmt;

pub use read::{Function, Object, Section};
pub use write::object;

/// Why bytes are no object that can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// Not an ELF file at all.
    NotElf,
    /// ELF, but not a relocatable object for BPF.
    NotBpf,
    /// It refers to what is beyond its end.
    Truncated {
        /// What is not there.
        what: &'static str,
    },
    /// Its parts add up to more than there is.
    Overlap,
    /// A relocation that names no symbol, or no place of a 64-bit immediate.
    Relocation {
        /// The section whose relocation it is.
        section: String,
        /// The place in it, in bytes.
        at: u64,
    },
    /// It uses more maps than anything real does.
    TooManyMaps {
        /// How many are read.
        most: usize,
    },
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not an ELF file: pass what `clang -target bpf -c` has made"),
            Self::NotBpf => write!(
                f,
                "not a relocatable 64-bit ELF object for BPF: pass what `clang -target bpf -c` has made"
            ),
            Self::Truncated { what } => {
                write!(f, "the {what} is beyond the object's end: is all of the file there?")
            }
            Self::Overlap => write!(f, "the object's parts overlap: no compiler makes such a file"),
            Self::Relocation { section, at } => write!(
                f,
                "section {section:?}: the relocation at byte {at} fits no 64-bit immediate: no compiler makes such a file"
            ),
            Self::TooManyMaps { most } => {
                write!(f, "the object uses more than {most} maps: no kernel would take them")
            }
        }
    }
}

impl std::error::Error for ElfError {}
