//! Any bytes as text: a listing of what nobody explains.

use std::fmt;

use super::digits;
use crate::disasm::{Item, disassemble};
use crate::flow::target;
use crate::insn::{ByteOrder, Insn, SLOT};
use crate::map::MapShape;

/// Code from outside, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// The bytes, whatever they are.
    pub bytes: &'a [u8],
    /// The maps that it names by index, as far as they are known. Their names are shown as they are.
    pub maps: &'a [MapShape],
}

/// A slot of [`Code`]. Displayed, it is a line of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeLine {
    /// Its place.
    pub slot: usize,
    /// Its bytes, as hex digits.
    pub bytes: String,
    /// The instruction that begins there; after a `?`, what is none. Nothing in the second half of one.
    pub text: String,
}

impl fmt::Display for CodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, bytes, text } = self;
        match text.is_empty() {
            true => write!(f, "{slot:5}: {bytes}"),
            false => write!(f, "{slot:5}: {bytes:<16}  {text}"),
        }
    }
}

impl<'a> Code<'a> {
    /// All of it, slot by slot.
    pub fn lines(self) -> impl Iterator<Item = CodeLine> + 'a {
        let mut at = 0;
        disassemble(self.bytes, ByteOrder::Little).into_iter().flat_map(move |item| {
            let (slot, len) = (at / SLOT, item.slots() * SLOT);
            let end = if len == 0 { self.bytes.len() } else { at + len };
            let bytes = self.bytes.get(at..end).unwrap_or_default();
            at = end;
            let texts = [self.text(slot, &item), String::new()];
            let lines = (slot..).zip(bytes.chunks(SLOT)).zip(texts);
            lines
                .map(|((slot, bytes), text)| CodeLine { slot, bytes: digits(bytes), text })
                .collect::<Vec<_>>()
        })
    }

    /// With the slot that it jumps to, or the map's name.
    fn text(&self, slot: usize, item: &Item) -> String {
        let Item::Insn(insn) = item else { return item.to_string() };
        let map = |insn: &Insn| self.maps.get(insn.map()?.get() as usize);
        match (target(slot, insn), map(insn)) {
            (Some(target), _) => format!("{insn} <{target}>"),
            (None, Some(map)) => format!("{insn} <{}>", map.name),
            _ => insn.to_string(),
        }
    }
}
