//! Any bytes as a list of instructions and of what is none. It never fails and hides nothing: the
//! items encode to the very bytes that they came from.

use std::fmt;

use crate::insn::{ByteOrder, Insn, SLOT, Slot};

/// A piece of a byte stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Item {
    /// An instruction of one or two slots.
    Insn(Insn),
    /// A slot that is no instruction, or one with bits set that must be zero, or the first half of
    /// a 64-bit immediate whose second half is none.
    Unknown(Slot),
    /// What is left at the end: less than a slot.
    Rest(Vec<u8>),
}

impl Item {
    /// How many slots it takes; the rest at the end, none.
    pub const fn slots(&self) -> usize {
        match self {
            Self::Insn(insn) => insn.slots(),
            Self::Unknown(_) => 1,
            Self::Rest(_) => 0,
        }
    }

    /// Appends its bytes to `out`, in the order of the target machine.
    pub fn encode(&self, order: ByteOrder, out: &mut Vec<u8>) {
        match self {
            Self::Insn(insn) => insn.encode(order, out),
            Self::Unknown(slot) => out.extend(slot.to_bytes(order)),
            Self::Rest(bytes) => out.extend(bytes),
        }
    }
}

/// The instruction's text, or after a `?` the fields of the slot, or the bytes in hex.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insn(insn) => write!(f, "{insn}"),
            Self::Unknown(slot) => write!(f, "? {slot}"),
            Self::Rest(bytes) => {
                write!(f, "? ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// What `bytes`, made for a machine of this order, consist of. Each byte is looked at once or
/// twice.
pub fn disassemble(mut bytes: &[u8], order: ByteOrder) -> Vec<Item> {
    let mut items = Vec::with_capacity(bytes.len() / SLOT + 1);
    while let Some((first, after)) = bytes.split_first_chunk::<SLOT>() {
        let (item, rest) = match Insn::decode_as(bytes, order) {
            Ok((insn, rest)) => (Item::Insn(insn), rest),
            Err(_) => (Item::Unknown(Slot::from_bytes(*first, order)), after),
        };
        items.push(item);
        bytes = rest;
    }
    if !bytes.is_empty() {
        items.push(Item::Rest(bytes.to_vec()));
    }
    items
}
