//! What can go wrong: which thing, and what to do about it.

use std::fmt;
use std::io;
use std::panic::Location;

use xhop_asm::{Helper, Line, Program};

/// An instruction: what it is for and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its slot, as listings and the kernel count.
    pub slot: usize,
    /// Its text.
    pub insn: String,
    /// What the program's author says it is for.
    pub comment: String,
    /// The source line that emitted it.
    pub at: &'static Location<'static>,
}

impl Place {
    /// The instruction that stands in a slot, or that has its second half there.
    pub(crate) fn of(program: &Program, slot: usize) -> Option<Self> {
        let mut next = 0;
        let line = program.lines().iter().find(|line| {
            next += line.insn.slots();
            slot < next
        })?;
        Some(Self::new(next - line.insn.slots(), line))
    }

    pub(crate) fn new(slot: usize, line: &Line) -> Self {
        let (insn, comment) = (line.insn.to_string(), line.comment.to_string());
        Self { slot, insn, comment, at: line.at }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "insn {}: {} ; {} ({})", self.slot, self.insn, self.comment, self.at)
    }
}

/// Why a program could not be run, or a map not be used.
#[derive(Debug)]
pub enum Error {
    /// No memory for the packet below 4 GiB, or `/proc/self/mem` can't be opened.
    Memory(io::Error),
    /// The program calls a helper that is not emulated.
    Helper {
        /// Which.
        helper: Helper,
        /// The first call of it.
        place: Place,
    },
    /// `rbpf` runs ISA v1 to v3 without atomics and nothing else, some of it silently wrong.
    Isa {
        /// The first instruction beyond that.
        place: Place,
    },
    /// The program loads a map that is not in its list.
    MapIndex {
        /// The index it loads.
        index: u32,
        /// How many maps there are.
        maps: usize,
        /// The load.
        place: Place,
    },
    /// An addition, subtraction or multiplication on 32 bits, which `rbpf` computes wrong.
    Alu32 {
        /// The first of them.
        place: Place,
    },
    /// `rbpf`'s own check refuses the program.
    Refused {
        /// The program's name.
        program: String,
        /// What `rbpf` says.
        reason: String,
    },
    /// There is no map of this name.
    NoMap {
        /// The name asked for.
        map: String,
        /// The names there are.
        maps: Vec<&'static str>,
    },
    /// A key or a value has the wrong length.
    Length {
        /// The map's name.
        map: &'static str,
        /// `key` or `value`.
        part: &'static str,
        /// The bytes it must have.
        want: usize,
        /// The bytes it has.
        got: usize,
    },
    /// The map holds as many entries as it may; an array has no such index.
    Full {
        /// The map's name.
        map: &'static str,
        /// How many it may hold.
        max_entries: u32,
    },
    /// The packet is longer than any that an interface takes.
    PacketTooLong {
        /// Its length.
        len: usize,
        /// The most it may have.
        max: usize,
    },
    /// An instruction did what it must not.
    Insn {
        /// The program's name.
        program: String,
        /// The instruction, where `rbpf` names one.
        place: Option<Place>,
        /// What it did.
        what: String,
    },
    /// A helper was called with what it can't work on.
    Call {
        /// The program's name.
        program: String,
        /// Which.
        helper: Helper,
        /// What is wrong.
        what: String,
    },
    /// The two engines do not agree: one of them is wrong.
    Differ {
        /// The program's name.
        program: String,
        /// What is not the same, first of the stepping engine.
        what: String,
    },
    /// The program wrote to its context, which the kernel refuses.
    CtxWritten {
        /// The program's name.
        program: String,
    },
    /// The program wrote over the end of a map's value.
    ValueOverrun {
        /// The program's name.
        program: String,
        /// The map's name.
        map: &'static str,
        /// The value's key.
        key: Vec<u8>,
    },
}

impl Error {
    /// A helper's fault.
    pub(crate) fn call(program: &Program, helper: Helper, what: String) -> Self {
        Self::Call { program: program.name().to_owned(), helper, what }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => write!(
                f,
                "no memory for the VM: {error} (it needs free addresses below 4 GiB, and /proc)"
            ),
            Self::Helper { helper, place } => {
                write!(f, "{helper} is not emulated, run the program in the kernel: {place}")
            }
            Self::Isa { place } => write!(
                f,
                "the VM knows ISA v1 to v3 without atomics, run the program in the kernel: {place}"
            ),
            Self::MapIndex { index, maps, place } => write!(
                f,
                "map {index} of {maps} does not exist, declare it in the same assembler: {place}"
            ),
            Self::Alu32 { place } => write!(
                f,
                "the VM would extend the sign of the result, use 64 bits or run the program in the kernel: {place}"
            ),
            Self::Refused { program, reason } => write!(f, "`{program}` is no program: {reason}"),
            Self::NoMap { map, maps } => {
                write!(f, "no map `{map}`: the program has {}", list(maps))
            }
            Self::Length { map, part, want, got } => {
                write!(f, "map `{map}`: a {part} has {want} bytes, not {got}")
            }
            Self::Full { map, max_entries } => write!(
                f,
                "map `{map}` has room for {max_entries} entries: remove one, or declare more"
            ),
            Self::PacketTooLong { len, max } => {
                write!(
                    f,
                    "a packet of {len} bytes: at most {max} make a frame: leave it out (`tcpdump ... less {max}`)"
                )
            }
            Self::Insn { program, place: Some(place), what } => {
                write!(f, "`{program}`: {what}: {place}")
            }
            Self::Insn { program, place: None, what } => write!(f, "`{program}`: {what}"),
            Self::Call { program, helper, what } => write!(f, "`{program}`: {helper}: {what}"),
            Self::Differ { program, what } => write!(
                f,
                "`{program}`: the stepping engine and rbpf disagree, report it with the packet: {what}"
            ),
            Self::CtxWritten { program } => {
                write!(f, "`{program}` wrote to its context where the kernel lets it only read")
            }
            Self::ValueOverrun { program, map, key } => write!(
                f,
                "`{program}` wrote over the end of a value of map `{map}`, key {key:02x?}: make the value larger, or the store narrower"
            ),
        }
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            _ => None,
        }
    }
}
