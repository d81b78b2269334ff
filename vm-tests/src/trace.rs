//! Runs that tell each instruction, and are checked against `rbpf`.

use xhop_asm::{Insn, Line, Program, Size};

use crate::error::Error;
use crate::step::{Effect, Stepper};
use crate::vm::{Outcome, Vm};

/// The most instructions of one run: what the kernel's verifier is ready to walk
/// (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_STEPS: usize = 1_000_000;

/// An instruction that was executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step<'a> {
    /// Its place, as listings and the kernel count.
    pub slot: usize,
    /// The labels that stand before it.
    pub labels: Vec<&'static str>,
    /// The instruction, with its reason and its source.
    pub line: &'a Line,
    /// What it did to registers and memory, or where it went: `r6 = pkt+14`. Pointers are named by
    /// what they point to.
    pub effect: String,
}

impl Vm {
    /// Like [`Vm::run`], and calls `each` after every instruction.
    ///
    /// The packet is run twice, by an engine that can stop between instructions and by `rbpf`, from
    /// the same maps on; it is counted once. Errors are those of a run; a register is read that
    /// holds nothing; a million instructions and no exit; the engines differ in the verdict, the
    /// redirect, a byte of the packet or a map.
    pub fn trace(
        &self,
        packet: impl AsRef<[u8]>,
        ingress_ifindex: u32,
        each: &mut dyn FnMut(Step),
    ) -> Result<Outcome, Error> {
        let packet = packet.as_ref();
        let entries = || self.maps().iter().map(|map| map.entries()).collect::<Vec<_>>();
        let before = entries();
        self.start(packet, ingress_ifindex)?;
        let stepped = self.step_through(each);
        let after = entries();
        self.maps().iter().zip(&before).for_each(|(map, entries)| map.restore(entries));
        let stepped = stepped?;
        let outcome = self.run(packet, ingress_ifindex)?;
        let differ =
            |what: String| Error::Differ { program: self.program().name().to_owned(), what };
        if outcome != stepped {
            return Err(differ(format!("{stepped:02x?}, rbpf {outcome:02x?}")));
        }
        let maps = self.maps().iter().zip(after).zip(entries());
        match maps.into_iter().find(|((_, stepped), rbpf)| stepped != rbpf) {
            Some(((map, _), _)) => Err(differ(format!("map `{}`", map.decl().name))),
            None => Ok(outcome),
        }
    }

    fn step_through(&self, each: &mut dyn FnMut(Step)) -> Result<Outcome, Error> {
        let program = self.program();
        let lines = by_slot(program);
        let mut stepper = Stepper::new(program, self.bytes(), self.state());
        for _ in 0..MAX_STEPS {
            let slot = stepper.slot();
            let effect = stepper.step()?;
            if let Some(line) = lines.get(slot).copied().flatten() {
                let effect = told(&stepper, program, line, &effect);
                each(Step { slot, labels: labels(program, slot), line, effect });
            }
            if let Effect::Exited(r0) = effect {
                return Ok(self.outcome(r0));
            }
        }
        let what = format!("{MAX_STEPS} instructions and no exit: a loop without end?");
        Err(Error::Insn { program: program.name().to_owned(), place: None, what })
    }
}

/// The lines at the slots that they start in.
fn by_slot(program: &Program) -> Vec<Option<&Line>> {
    let mut lines = Vec::new();
    for line in program.lines() {
        lines.push(Some(line));
        lines.extend((1..line.insn.slots()).map(|_| None));
    }
    lines
}

fn labels(program: &Program, slot: usize) -> Vec<&'static str> {
    let marks = program.marks().iter().filter(|mark| mark.slot == slot);
    marks.map(|mark| mark.label).collect()
}

fn told(stepper: &Stepper, program: &Program, line: &Line, effect: &Effect) -> String {
    let goto = |slot: usize| match labels(program, slot).first() {
        Some(label) => format!("goto {label}"),
        None => format!("goto {slot}"),
    };
    match (effect, line.insn) {
        (Effect::Set(dst, value), Insn::LoadMap { map, .. }) => {
            let map = program.maps().get(map.get() as usize).map(|decl| decl.name);
            format!("{dst} = {}", map.map_or(stepper.name(*value), |map| format!("map {map}")))
        }
        (Effect::Set(dst, value), _) => format!("{dst} = {}", stepper.name(*value)),
        (Effect::Stored { to, size, value }, _) if value.pointer && *size == Size::U64 => {
            format!("{} = {}", stepper.name(*to), stepper.name(*value))
        }
        (Effect::Stored { to, size, value }, _) => {
            let cut = value.bits & u64::MAX >> (64 - 8 * size.bytes());
            format!("{} = {cut:#x}", stepper.name(*to))
        }
        (Effect::Asked { left, cond, right, to }, _) => {
            let answer = to.map_or("no".to_owned(), goto);
            format!("{} {cond} {}: {answer}", stepper.name(*left), stepper.name(*right))
        }
        (Effect::Went(to), _) => goto(*to),
        (Effect::Exited(r0), _) => format!("r0 = {r0:#x}"),
    }
}
