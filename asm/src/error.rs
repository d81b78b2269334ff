//! What can be wrong with a program or with bytes.

use std::fmt;
use std::panic::Location;

/// A program that can't be assembled. Each names the label and the source line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// Jumped to, but never put anywhere.
    UnboundLabel {
        /// The label's name.
        label: &'static str,
        /// Where it was made.
        at: &'static Location<'static>,
    },
    /// Bound, but nothing jumps to it.
    UnusedLabel {
        /// The label's name.
        label: &'static str,
        /// Where it was made.
        at: &'static Location<'static>,
    },
    /// Two labels of one program have the same name.
    DuplicateLabel {
        /// The name of both.
        label: &'static str,
        /// Where the second was made.
        at: &'static Location<'static>,
        /// Where the first was made.
        first: &'static Location<'static>,
    },
    /// The jump does not fit the 16 bits of its offset.
    JumpOutOfRange {
        /// The label's name.
        label: &'static str,
        /// Where the jump was emitted.
        at: &'static Location<'static>,
        /// Slots from the instruction after the jump.
        distance: i64,
    },
    /// Two maps of one program have the same name but differ.
    MapConflict {
        /// The map's name.
        map: &'static str,
        /// Where the second was declared.
        at: &'static Location<'static>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnboundLabel { label, at } => {
                write!(
                    f,
                    "label `{label}` ({at}) is never bound: bind it where the jump should land"
                )
            }
            Self::UnusedLabel { label, at } => {
                write!(f, "label `{label}` ({at}) is never jumped to: remove it")
            }
            Self::DuplicateLabel { label, at, first } => {
                write!(f, "label `{label}` ({at}) exists already ({first}): give it another name")
            }
            Self::JumpOutOfRange { label, at, distance } => write!(
                f,
                "the jump to `{label}` ({at}) is {distance} instructions long, 16 bits hold at most 32767: move the label nearer"
            ),
            Self::MapConflict { map, at } => {
                write!(f, "map `{map}` ({at}) is declared twice, and differently: declare it once")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Bytes that are no instruction that we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The stream ends within an instruction.
    Truncated,
    /// No instruction, or one with bits set that must be zero.
    Unknown([u8; 8]),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => {
                write!(f, "the bytes end within an instruction: 8 make one, 16 a 64-bit immediate")
            }
            Self::Unknown(bytes) => {
                write!(f, "unknown instruction ")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    }
}

impl std::error::Error for DecodeError {}
