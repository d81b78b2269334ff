//! Programs as text: the listing.

use std::fmt;

use crate::insn::{ByteOrder, Insn};
use crate::program::Program;

/// The listing: a header, then labels and one line an instruction with slot, bytes, text and reason.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "; {}: {} instructions", self.name, self.slots())?;
        for (index, map) in self.maps.iter().enumerate() {
            let (kind, key, value) = (map.kind.name(), map.key_size, map.value_size);
            writeln!(
                f,
                "; map[{index}] {}: {kind}, key {key} B, value {value} B, {} entries",
                map.name, map.max_entries
            )?;
        }
        let mut slot = 0;
        for line in &self.lines {
            for mark in self.marks.iter().filter(|mark| mark.slot == slot) {
                writeln!(f, "{}:", mark.label)?;
            }
            let mut bytes = Vec::new();
            line.insn.encode(ByteOrder::Little, &mut bytes);
            let hex: String = bytes[..8].iter().map(|b| format!("{b:02x}")).collect();
            let text = self.text(slot, &line.insn);
            writeln!(f, "{slot:5}: {hex}  {text:<44} ; {}", line.comment)?;
            slot += line.insn.slots();
        }
        Ok(())
    }
}

impl Program {
    /// The instruction's text, with names of maps and jump targets where it has them.
    fn text(&self, slot: usize, insn: &Insn) -> String {
        match insn {
            Insn::LoadMap { map, .. } => match self.maps.get(map.get() as usize) {
                Some(decl) => format!("{insn} <{}>", decl.name),
                None => insn.to_string(),
            },
            Insn::Jump { off } | Insn::Branch { off, .. } => {
                let target = slot as i64 + 1 + i64::from(*off);
                match self.marks.iter().find(|mark| mark.slot as i64 == target) {
                    Some(mark) => format!("{insn} <{}>", mark.label),
                    None => insn.to_string(),
                }
            }
            _ => insn.to_string(),
        }
    }
}
