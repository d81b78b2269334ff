//! Any bytes as text: a listing of what nobody explains.

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
    /// The maps that it names by index, as far as they are known.
    pub maps: &'a [MapShape],
}

impl<'a> Code<'a> {
    /// A line for each slot, after its index: index, bytes, and the instruction that begins there. What is
    /// none stands after a `?`.
    pub fn lines(self) -> impl Iterator<Item = (usize, String)> + 'a {
        let mut at = 0;
        disassemble(self.bytes, ByteOrder::Little).into_iter().flat_map(move |item| {
            let (slot, len) = (at / SLOT, item.slots() * SLOT);
            let end = if len == 0 { self.bytes.len() } else { at + len };
            let bytes = self.bytes.get(at..end).unwrap_or_default();
            at = end;
            let text = self.text(slot, &item);
            let mut lines = vec![(slot, format!("{slot:5}: {:<16}  {text}", first(bytes)))];
            if let Some(second) = bytes.get(SLOT..).filter(|second| !second.is_empty()) {
                lines.push((slot + 1, format!("{:5}: {}", slot + 1, digits(second))));
            }
            lines
        })
    }

    /// With the slot that it jumps to, or the map's name; that is from outside, too.
    fn text(&self, slot: usize, item: &Item) -> String {
        let Item::Insn(insn) = item else { return item.to_string() };
        let map = |insn: &Insn| self.maps.get(insn.map()?.get() as usize);
        match (target(slot, insn), map(insn)) {
            (Some(target), _) => format!("{insn} <{target}>"),
            (None, Some(map)) => format!("{insn} <{}>", map.name.escape_debug()),
            _ => insn.to_string(),
        }
    }
}

fn first(bytes: &[u8]) -> String {
    digits(bytes.get(..SLOT).unwrap_or(bytes))
}
