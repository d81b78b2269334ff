//! The instructions that the kernel runs, mapped back to ours.
//!
//! Both are walked side by side: for each of ours there must stand what the kernel is [known](super::known)
//! to make of it, and each jump must land where ours lands. Where the program was loaded with line
//! information, its records must begin where the walk says that our instructions do.

use serde::Serialize;
use xhop_asm::{Insn, Program, Slot};

use super::blinding::Plain;
use super::known::{How, Kernel, clears_upper_half};
use super::registers::Registers;
use super::{blinding, slot};
use crate::sys::bpf::Translated;

/// So many differences say enough.
const DIFFERENCES: usize = 4;
/// So many instructions in a row must fit again for the walk to go on after a difference.
const FIT_AGAIN: usize = 3;
/// And within so many slots.
const LOOK_AHEAD: usize = 16;

/// What became of a program.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Mapped {
    /// Instructions of ours.
    pub ours: usize,
    /// 8-byte slots of the kernel's.
    pub kernels: usize,
    /// Of ours: the same, bit by bit but for distances of jumps.
    pub same: usize,
    /// Accesses to the context, which the kernel keeps elsewhere.
    pub context: usize,
    /// Loads of maps, each the right one.
    pub maps: usize,
    /// Calls of the right function.
    pub calls: usize,
    /// Calls of a function, and loads of a map, whose address the kernel hides.
    pub hidden: usize,
    /// Calls whose work is done in place.
    pub inlined: usize,
    /// With an immediate that is hidden in a random number.
    pub blinded: usize,
    /// Followed by one that clears the upper half of the result.
    pub cleared: usize,
    /// How many records of line information there are.
    pub line_info: usize,
    /// What is not as it should be, from the first on; empty if all is.
    pub differences: Vec<Difference>,
}

/// A place where the kernel's instructions are not ours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Our instruction's index, as listings count; all were passed if there are more of the kernel's.
    pub insn: usize,
    /// Our instruction, and what it is for.
    pub ours: String,
    /// The source line that emitted it.
    pub source: String,
    /// The kernel's index.
    pub at: usize,
    /// What stands there.
    pub kernels: String,
}

/// Maps what the kernel runs back to the program that was loaded.
pub fn map_back(program: &Program, translated: &Translated, kernel: Kernel) -> Mapped {
    let kernels = slot::read(&translated.insns);
    let Plain { slots, origins, blinded } = blinding::undo(&kernels);
    let mut walk = Walk {
        program,
        kernel: Kernel { blinded, ..kernel },
        starts: Vec::new(),
        at: 0,
        registers: Registers::at_entry(),
        mapped: Mapped {
            ours: program.lines().len(),
            kernels: kernels.len(),
            line_info: translated.line_starts.len(),
            ..Mapped::default()
        },
        slots,
        origins,
    };
    walk.all();
    if walk.mapped.differences.is_empty() {
        walk.jumps();
        walk.line_info(&translated.line_starts);
    }
    walk.mapped
}

struct Walk<'a> {
    program: &'a Program,
    kernel: Kernel<'a>,
    /// The kernel's instructions, without their blinding.
    slots: Vec<Slot>,
    /// Where each of these began.
    origins: Vec<usize>,
    /// Where each of our instructions begins, and where the slot is that jumps.
    starts: Vec<(usize, usize)>,
    at: usize,
    registers: Registers,
    mapped: Mapped,
}

impl Walk<'_> {
    fn rest(&self, at: usize) -> &[Slot] {
        self.slots.get(at..).unwrap_or(&[])
    }

    /// The kernel's own index of what stands at `at`.
    fn origin(&self, at: usize) -> usize {
        self.origins.get(at).copied().unwrap_or_default()
    }

    fn all(&mut self) {
        for (number, line) in self.program.lines().iter().enumerate() {
            let known = self.kernel.known(line.insn, &self.registers, self.rest(self.at));
            let start = self.at;
            match known {
                Some((how, len)) => {
                    let grown = self.origin(start + len) - self.origin(start) > len;
                    self.count(if grown && how == How::Same { How::Blinded } else { how });
                    self.at += len;
                }
                None => {
                    self.differ(number, self.at);
                    match self.again(number) {
                        Some(at) => self.at = at,
                        None => return,
                    }
                }
            }
            self.starts.push((start, self.at.saturating_sub(1)));
            if self.rest(self.at).first().is_some_and(|slot| clears_upper_half(line.insn, slot)) {
                self.mapped.cleared += 1;
                self.at += 1;
            }
            self.registers.after(line.insn);
        }
        if self.at < self.slots.len() {
            self.differ(self.program.lines().len(), self.at);
        }
    }

    fn count(&mut self, how: How) {
        let mapped = &mut self.mapped;
        *match how {
            How::Same => &mut mapped.same,
            How::Context => &mut mapped.context,
            How::Map => &mut mapped.maps,
            How::Call => &mut mapped.calls,
            How::Hidden => &mut mapped.hidden,
            How::Inlined => &mut mapped.inlined,
            How::Blinded => &mut mapped.blinded,
        } += 1;
    }

    /// Where what follows our instruction `number` fits again, which itself does not; best where as many
    /// slots were taken as ours has.
    fn again(&self, number: usize) -> Option<usize> {
        let lines = self.program.lines();
        if self.mapped.differences.len() >= DIFFERENCES {
            return None;
        }
        let own = lines.get(number)?.insn.slots();
        let after = [own].into_iter().chain((0..LOOK_AHEAD).filter(|skip| *skip != own));
        after.map(|skip| self.at + skip).find(|at| {
            let (mut at, mut registers) = (*at, self.registers);
            registers.after(lines.get(number).map_or(Insn::Exit, |line| line.insn));
            let next: Vec<_> = lines.iter().skip(number + 1).take(FIT_AGAIN).collect();
            next.iter().all(|line| {
                let known = self.kernel.known(line.insn, &registers, self.rest(at));
                registers.after(line.insn);
                at += known.map_or(0, |(_, len)| len);
                known.is_some()
            }) && (!next.is_empty() || at == self.slots.len())
        })
    }

    /// Each jump must land where ours does.
    fn jumps(&mut self) {
        let mut start_of = vec![None; self.program.slots() + 1];
        let mut slot = 0;
        for (line, (start, _)) in self.program.lines().iter().zip(&self.starts) {
            if let Some(known) = start_of.get_mut(slot) {
                *known = Some(*start);
            }
            slot += line.insn.slots();
        }
        let mut next = 0;
        for (number, line) in self.program.lines().iter().enumerate() {
            next += line.insn.slots();
            let (Insn::Jump { off } | Insn::Branch { off, .. }) = line.insn else { continue };
            let Some((_, jump)) = self.starts.get(number).copied() else { continue };
            let wanted =
                next.checked_add_signed(off.into()).and_then(|slot| *start_of.get(slot)?);
            let off = self.slots.get(jump).map_or(0, |slot| slot.off);
            let lands = (jump + 1).checked_add_signed(off.into());
            if wanted.is_none() || lands != wanted {
                self.differ(number, jump);
            }
        }
    }

    /// Some records may be missing where the kernel has dropped instructions; then they say nothing.
    fn line_info(&mut self, records: &[u32]) {
        if records.len() != self.starts.len() {
            return;
        }
        let odd = records
            .iter()
            .zip(&self.starts)
            .position(|(record, (start, _))| *record as usize != self.origin(*start));
        if let Some(number) = odd {
            let at = self.starts.get(number).map_or(0, |(start, _)| *start);
            self.differ(number, at);
        }
    }

    fn differ(&mut self, number: usize, at: usize) {
        if self.mapped.differences.len() >= DIFFERENCES {
            return;
        }
        let line = self.program.lines().get(number);
        let before = self.program.lines().iter().take(number);
        self.mapped.differences.push(Difference {
            insn: before.map(|line| line.insn.slots()).sum(),
            ours: line.map_or("nothing".into(), |line| format!("{} ; {}", line.insn, line.comment)),
            source: line.map_or(String::new(), |line| line.at.to_string()),
            at: self.origin(at),
            kernels: slot::shown(self.rest(at)),
        });
    }
}
