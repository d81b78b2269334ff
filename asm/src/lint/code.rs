//! Instructions by slot, where they lead, and which registers matter where.

use super::finding::{Finding, Rule};
use super::subset;
use crate::insn::{Insn, SLOT};
use crate::reg::{AnyReg, Operand};

/// The longest program that is walked (`BPF_MAXINSNS`, which all kernels take).
const MAX_SLOTS: usize = 4096;

/// A program by slot; the second slot of a 64-bit immediate is `None`.
pub(super) struct Code {
    slots: Vec<Option<Insn>>,
    /// Slots that are reached from more than one place, or by a jump: where paths can meet.
    joins: Vec<bool>,
    /// Jumps back, as (from, to), in order.
    pub(super) back: Vec<(usize, usize)>,
    /// Bit n: register n may be read before it is written, from this slot on.
    live: Vec<u16>,
    /// Instructions that can be walked, but not be run.
    pub(super) disagreed: Vec<Finding>,
}

impl Code {
    /// Reads the bytes and checks what needs no walk: every slot an instruction of the subset, every
    /// jump to an instruction.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        let count = bytes.len().div_ceil(SLOT);
        if count > MAX_SLOTS {
            let what = format!("{count} instructions: not more than {MAX_SLOTS} are looked at");
            return Err(vec![Finding::new(0, Rule::TooComplex, what)]);
        }
        let (mut findings, mut disagreed) = (Vec::new(), Vec::new());
        let mut slots = Vec::with_capacity(count);
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = slots.len();
            match Insn::decode(rest) {
                Ok((insn, after)) => {
                    let note = |why: &str| Finding::new(at, Rule::Subset, format!("{insn}: {why}"));
                    findings.extend(subset::unknown(&insn).map(note));
                    disagreed.extend(subset::disagreed(&insn).map(note));
                    slots.push(Some(insn));
                    slots.resize(at + insn.slots(), None);
                    rest = after;
                }
                Err(error) => {
                    findings.push(Finding::new(at, Rule::Subset, error.to_string()));
                    slots.push(None);
                    rest = rest.get(SLOT..).unwrap_or_default();
                }
            }
        }
        let (joins, live) = (vec![false; slots.len()], vec![0; slots.len()]);
        let mut code = Self { slots, joins, back: Vec::new(), live, disagreed };
        code.find_joins(&mut findings);
        if !findings.is_empty() {
            findings.append(&mut code.disagreed);
            crate::sort(&mut findings);
            return Err(findings);
        }
        code.find_live();
        Ok(code)
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The instruction that begins in this slot.
    pub(super) fn get(&self, slot: usize) -> Option<&Insn> {
        self.slots.get(slot)?.as_ref()
    }

    /// The last instruction, with its slot.
    pub(super) fn last(&self) -> Option<(usize, Insn)> {
        self.slots.iter().enumerate().rev().find_map(|(slot, insn)| Some((slot, (*insn)?)))
    }

    /// Whether paths can meet here.
    pub(super) fn is_join(&self, slot: usize) -> bool {
        self.joins.get(slot).copied().unwrap_or(false)
    }

    /// Whether what the register holds can matter from this slot on.
    pub(super) fn is_live(&self, slot: usize, register: usize) -> bool {
        self.live.get(slot).is_some_and(|live| live & 1 << register != 0)
    }

    /// Where a jump lands.
    pub(super) fn target(slot: usize, off: i16) -> usize {
        // One before the program wraps round to a slot that is not there.
        (slot + 1).wrapping_add_signed(off.into())
    }

    fn find_joins(&mut self, findings: &mut Vec<Finding>) {
        for slot in 0..self.slots.len() {
            let Some(Insn::Jump { off } | Insn::Branch { off, .. }) = self.get(slot) else {
                continue;
            };
            let target = Self::target(slot, *off);
            match self.slots.get(target) {
                Some(Some(_)) => {
                    self.joins[target] = true;
                    if target <= slot {
                        self.back.push((slot, target));
                    }
                }
                Some(None) => {
                    let what = "jumps into the middle of an instruction";
                    findings.push(Finding::new(slot, Rule::JumpTarget, what));
                }
                None => {
                    let what = "jumps out of the program";
                    findings.push(Finding::new(slot, Rule::JumpTarget, what));
                }
            }
        }
    }

    /// Backwards until nothing changes.
    fn find_live(&mut self) {
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for slot in (0..self.slots.len()).rev() {
                let Some(insn) = self.get(slot) else { continue };
                let live = |slot: usize| self.live.get(slot).copied().unwrap_or(0);
                let next = live(slot + insn.slots());
                let after = match insn {
                    Insn::Exit => 0,
                    Insn::Jump { off } => live(Self::target(slot, *off)),
                    Insn::Branch { off, .. } => next | live(Self::target(slot, *off)),
                    _ => next,
                };
                let (reads, writes) = registers(insn);
                let before = after & !writes | reads;
                changed |= before != self.live[slot];
                self.live[slot] = before;
            }
        }
    }
}

/// The registers that an instruction reads and those that it writes, as bits.
fn registers(insn: &Insn) -> (u16, u16) {
    const ARGUMENTS: u16 = 0b11_1110;
    let bit = |number: u8| 1 << number;
    let operand = |src: &Operand| match src {
        Operand::Reg(reg) => bit(reg.number()),
        Operand::Imm(_) => 0,
    };
    let any = |reg: &AnyReg| bit(reg.number());
    match insn {
        Insn::Alu { op: crate::insn::AluOp::Mov, dst, src, .. } => {
            (operand(src), bit(dst.number()))
        }
        Insn::Alu { dst, src, .. } => (bit(dst.number()) | operand(src), bit(dst.number())),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => (bit(dst.number()), bit(dst.number())),
        Insn::Load { dst, mem } => (any(&mem.base), bit(dst.number())),
        Insn::Store { mem, src } => (any(&mem.base) | operand(src), 0),
        Insn::LoadImm64 { dst, .. } | Insn::LoadMap { dst, .. } => (0, bit(dst.number())),
        Insn::Jump { .. } => (0, 0),
        Insn::Branch { test, .. } => (any(&test.dst) | operand(&test.src), 0),
        Insn::Call { .. } => (ARGUMENTS, ARGUMENTS | 1),
        Insn::Exit => (1, 0),
        // Not walked.
        _ => (0, 0),
    }
}
