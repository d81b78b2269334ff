//! What can be wrong with a program.

use std::fmt;

/// A rule that a program can break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// Bytes that are no instruction, or one outside the subset on which kernels and VM agree.
    Subset,
    /// A jump out of the program, or into the middle of a 64-bit immediate.
    JumpTarget,
    /// A path that runs over the last instruction, or may do so as kernels see it.
    NoExit,
    /// An instruction that no path reaches.
    Unreachable,
    /// A register is read that nothing was put in, that a call has made void, or that was found to lie
    /// beyond `data_end`.
    Uninitialised,
    /// An access to the stack outside its 512 bytes, not aligned, or to bytes that were never written.
    Stack,
    /// The context is written, read otherwise than `struct xdp_md` is, or read by a load that reads something
    /// else on another path.
    Context,
    /// A packet access that no check against `data_end` covers.
    PacketBounds,
    /// An access outside a map's value.
    ValueBounds,
    /// A looked-up value is used without a check for NULL.
    NullCheck,
    /// Memory is accessed through what is no address of memory.
    NoPointer,
    /// Arithmetic on an address that makes it useless.
    PointerArithmetic,
    /// An address is stored where others read it, compared, or returned.
    PointerLeak,
    /// A map that is not in the program's list, or of a kind that is not known here.
    Map,
    /// A helper that is not known here, or with arguments that it does not take.
    Call,
    /// A division by the constant zero, or a shift by more bits than there are.
    Constant,
    /// A loop that may come round in the state in which it began.
    Endless,
    /// More steps, or more nested ones, than are worth walking.
    TooComplex,
}

impl Rule {
    /// Its name in reports and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subset => "subset",
            Self::JumpTarget => "jump-target",
            Self::NoExit => "no-exit",
            Self::Unreachable => "unreachable",
            Self::Uninitialised => "uninitialised",
            Self::Stack => "stack",
            Self::Context => "context",
            Self::PacketBounds => "packet-bounds",
            Self::ValueBounds => "value-bounds",
            Self::NullCheck => "null-check",
            Self::NoPointer => "no-pointer",
            Self::PointerArithmetic => "pointer-arithmetic",
            Self::PointerLeak => "pointer-leak",
            Self::Map => "map",
            Self::Call => "call",
            Self::Constant => "constant",
            Self::Endless => "endless",
            Self::TooComplex => "too-complex",
        }
    }
}

/// A rule that is broken, where, and how.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The instruction, by its slot.
    pub slot: usize,
    /// What it breaks.
    pub rule: Rule,
    /// How, and what to do.
    pub what: String,
}

impl Finding {
    pub(super) fn new(slot: usize, rule: Rule, what: impl Into<String>) -> Self {
        Self { slot, rule, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "insn {}: {}: {}", self.slot, self.rule.name(), self.what)
    }
}

/// A rule that one instruction breaks; the walk knows which instruction it is at.
pub(super) type Checked<T> = Result<T, (Rule, String)>;

/// For `return`.
pub(super) fn broken<T>(rule: Rule, what: impl Into<String>) -> Checked<T> {
    Err((rule, what.into()))
}
