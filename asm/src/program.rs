//! A finished program: instructions that know why they are there, and the maps they use.

use std::borrow::Cow;
use std::ffi::CStr;
use std::panic::Location;

use crate::helper::Helper;
use crate::hook::Hook;
use crate::insn::{ByteOrder, Insn};
use crate::map::MapDecl;

/// Of the programs, as kernel and ELF objects are told.
pub const LICENSE: &CStr = c"MIT";

/// One instruction with its reason and its origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What is executed.
    pub insn: Insn,
    /// What it is for.
    pub comment: Cow<'static, str>,
    /// The source line that emitted it.
    pub at: &'static Location<'static>,
}

/// A label's place, for listings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The label's name.
    pub label: &'static str,
    /// The slot that it stands before.
    pub slot: usize,
}

/// A program that can be loaded, run in the VM, and read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    pub(crate) name: String,
    pub(crate) hook: Hook,
    pub(crate) lines: Vec<Line>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) maps: Vec<MapDecl>,
}

impl Program {
    /// Its name, with its configuration: `forward+complete`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// Its instructions, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Its labels, in order of their places.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Its maps: a [`MapIndex`](crate::MapIndex) is a place in this list.
    pub fn maps(&self) -> &[MapDecl] {
        &self.maps
    }

    /// The helpers that it calls, each once, by number.
    pub fn helpers(&self) -> Vec<Helper> {
        let calls = self.lines.iter().filter_map(|line| match line.insn {
            Insn::Call { helper } => Some(helper),
            _ => None,
        });
        let mut helpers: Vec<Helper> = calls.collect();
        helpers.sort_unstable_by_key(|helper| helper.number());
        helpers.dedup();
        helpers
    }

    /// How many 8-byte slots it has: the kernel's count of instructions.
    pub fn slots(&self) -> usize {
        self.lines.iter().map(|line| line.insn.slots()).sum()
    }

    /// The bytes as a machine of this order takes them. `Little` is the canonical form:
    /// what is listed, hashed and run in the VM.
    pub fn bytes(&self, order: ByteOrder) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.slots() * crate::insn::SLOT);
        for line in &self.lines {
            line.insn.encode(order, &mut out);
        }
        out
    }
}
