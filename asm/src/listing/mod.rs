//! A program as text, for people and for other tools: the same bytes each time.
//!
//! The listing is a [`header()`], then the [`View`]: a line an instruction. Nothing in it depends on the
//! machine, the time, or the folder that the sources lie in.

mod bytes;
mod c;
mod dot;
mod header;

use std::fmt;

use crate::error::Error;
use crate::flow::{Block, EdgeKind, blocks, target};
use crate::insn::{ByteOrder, Insn, SLOT};
use crate::program::{Line, Program};
use crate::programs::Shipped;
use crate::tag::{MapRefs, hashed};

pub use bytes::{Code, CodeLine};
pub use c::c;
pub use dot::dot;
pub use header::{facts, header};

/// So many jumps to a label are named.
const SOURCES: usize = 8;

/// A program as a kernel gets it, little-endian. Where it gets descriptors of maps, they are zero here.
///
/// Displayed, it is the listing: index, bytes, mnemonic, comment, source; an empty line before each block.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is shown.
    pub program: &'a Program,
    /// How its instructions name their maps.
    pub refs: MapRefs,
}

/// An instruction in a [`View`].
pub(crate) struct Row<'a> {
    /// Its place in the program: of its first slot.
    pub(crate) slot: usize,
    /// Its one or two slots.
    pub(crate) slots: Vec<[u8; SLOT]>,
    /// The instruction, with what its operand is called: `goto +3 <pass>`.
    pub(crate) text: String,
    /// Why it is there.
    pub(crate) line: &'a Line,
}

/// The whole listing of a program: as it is, or as a kernel `(major, minor)` gets it.
pub fn listing(shipped: Shipped, kernel: Option<(u32, u32)>) -> Result<String, Error> {
    let program = shipped.program()?;
    let view = View::new(&program, kernel);
    Ok(format!("{}{view}", header(shipped, view, kernel)))
}

impl<'a> View<'a> {
    /// The program as it is, or as a kernel `(major, minor)` gets it.
    pub fn new(program: &'a Program, kernel: Option<(u32, u32)>) -> Self {
        Self { program, refs: kernel.map_or(MapRefs::Index, MapRefs::of) }
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        hashed(self.program, self.refs, ByteOrder::Little)
    }

    /// The bytes as hex digits, a slot a line.
    pub fn hex(&self) -> String {
        self.bytes().chunks(SLOT).map(|slot| digits(slot) + "\n").collect()
    }

    pub(crate) fn rows(&self) -> Vec<Row<'a>> {
        let bytes = self.bytes();
        let mut slots = bytes.chunks(SLOT).filter_map(|slot| slot.try_into().ok());
        let mut rows = Vec::new();
        let mut slot = 0;
        for line in self.program.lines() {
            let slots: Vec<_> = slots.by_ref().take(line.insn.slots()).collect();
            let text = self.text(slot, &line.insn);
            rows.push(Row { slot, slots, text, line });
            slot += line.insn.slots();
        }
        rows
    }

    /// The labels that stand before a slot.
    pub(crate) fn labels(&self, slot: usize) -> impl Iterator<Item = &'static str> {
        let marks = self.program.marks().iter().filter(move |mark| mark.slot == slot);
        marks.map(|mark| mark.label)
    }

    fn text(&self, slot: usize, insn: &Insn) -> String {
        let name = match insn {
            Insn::LoadMap { map, .. } => {
                self.program.maps().get(map.get() as usize).map(|decl| decl.name)
            }
            _ => {
                let target = target(slot, insn).and_then(|target| usize::try_from(target).ok());
                target.and_then(|target| self.labels(target).next())
            }
        };
        let insn = self.refs.shown(*insn);
        match name {
            Some(name) => format!("{insn} <{name}>"),
            None => insn.to_string(),
        }
    }
}

/// Bytes as hex digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let blocks = blocks(self.program);
        for block in &blocks {
            writeln!(f)?;
            for label in self.labels(block.slots.start) {
                writeln!(f, "{:<26}; {}", format!("{label}:"), sources(&blocks, block))?;
            }
            rows.get(block.lines.clone())
                .unwrap_or_default()
                .iter()
                .try_for_each(|row| row.fmt(f))?;
        }
        Ok(())
    }
}

/// Where control comes from.
fn sources(blocks: &[Block], block: &Block) -> String {
    let mut from = Vec::new();
    let mut falls = false;
    for source in blocks {
        for edge in source.edges.iter().filter(|edge| edge.to == block.slots.start as i64) {
            match edge.kind {
                EdgeKind::FallThrough => falls = true,
                _ => from.push(source.slots.end - 1),
            }
        }
    }
    let named: Vec<String> = from.iter().take(SOURCES).map(usize::to_string).collect();
    let mut text = format!("from {}", named.join(", "));
    if from.len() > SOURCES {
        text += &format!(" and {} more", from.len() - SOURCES);
    }
    if falls { text + ", and from above" } else { text }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, slots, text, line } = self;
        let (first, second) = (slots.first(), slots.get(1));
        let (bytes, at) = (first.map_or(String::new(), |slot| digits(slot)), line.at);
        let comment = &line.comment;
        writeln!(f, "{slot:5}: {bytes}  {text:<46} ; {comment:<61} {}:{}", at.file(), at.line())?;
        match second {
            Some(bytes) => writeln!(f, "{:5}: {}", slot + 1, digits(bytes)),
            None => Ok(()),
        }
    }
}
