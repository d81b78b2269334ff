//! Every path, once: where paths meet, one that can do nothing new is not walked again.

use super::Report;
use super::branch::{Ways, branch};
use super::code::Code;
use super::facts::Loop;
use super::finding::{Checked, Finding, Rule, broken};
use super::state::State;
use super::step::Machine;
use super::value::Value;
use super::walked::{Before, Rest, Walked};
use crate::hook::Hook;
use crate::insn::Insn;
use crate::map::MapShape;
use crate::reg::Mem;

/// Steps that are walked at most. The kernel's limit is a million (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_STEPS: u64 = 500_000;
/// Jumps back in a program.
const MAX_LOOPS: usize = 256;
/// Forks and joins on one path. The kernel's limit is 8192 forks (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const MAX_DEPTH: usize = 8000;

/// A way that is still to be walked.
struct Way {
    slot: usize,
    state: Box<State>,
    /// The jump back that it begins with, by its place in `Code::back`.
    back: Option<usize>,
}

/// A fork or a join on the path that is being walked.
struct Open {
    /// The join's slot.
    join: Option<usize>,
    todo: Vec<Way>,
    rest: Rest,
    /// Steps from the last fork or join to here.
    steps: u64,
    /// The jump back by which the path came here from there.
    back: Option<usize>,
}

struct Walk<'a> {
    code: &'a Code,
    machine: Machine<'a>,
    findings: Vec<Finding>,
    seen: Vec<bool>,
    /// Loads: whether of the context.
    of_context: Vec<Option<bool>>,
    walked: Walked<'a>,
    path: Vec<Open>,
}

/// How a stretch without forks and joins ends.
enum End {
    /// At an exit, at a finding, or where all was walked before.
    Leaf(Rest),
    Fork(Vec<Way>),
    Join(usize, Box<State>),
}

/// Where an instruction leads.
enum Next {
    To(usize),
    Fork(Vec<Way>),
    /// An exit, or a finding.
    End,
}

/// Walks the whole program.
pub(super) fn walk(hook: Hook, code: &Code, maps: &[MapShape]) -> Report {
    let mut walk = Walk {
        code,
        machine: Machine::new(hook, maps),
        findings: Vec::new(),
        seen: vec![false; code.len()],
        of_context: vec![None; code.len()],
        walked: Walked::new(code),
        path: Vec::new(),
    };
    let rest = if code.back.len() > MAX_LOOPS { walk.too_complex() } else { walk.all() };
    walk.find_open_end();
    walk.find_unreachable();
    let mut facts = walk.machine.facts;
    facts.maps.resize(maps.len(), Default::default());
    facts.longest = rest.longest;
    let rounds = code.back.iter().zip(rest.rounds).filter(|(_, rounds)| *rounds > 0);
    facts.loops = rounds.map(|(&(from, to), rounds)| Loop { from, to, rounds }).collect();
    facts.tidy();
    let mut findings = walk.findings;
    findings.extend(code.disagreed.iter().cloned());
    crate::sort(&mut findings);
    Report { facts, findings }
}

impl Walk<'_> {
    /// Depth first, with a stack of its own: paths are long.
    fn all(&mut self) -> Rest {
        let entry = Way { slot: 0, state: Box::new(State::entry()), back: None };
        let root =
            Open { join: None, todo: vec![entry], rest: Rest::default(), steps: 0, back: None };
        self.path.push(root);
        loop {
            let Some(open) = self.path.last_mut() else { return Rest::default() };
            let Some(way) = open.todo.pop() else {
                let Some(done) = self.path.pop() else { return Rest::default() };
                let Some(parent) = self.path.last_mut() else { return done.rest };
                parent.rest.merge(&done.rest, done.steps, done.back);
                if let Some(slot) = done.join {
                    self.walked.close(slot, done.rest);
                }
                continue;
            };
            let back = way.back;
            let (end, steps) = self.stretch(way.slot, way.state);
            match end {
                End::Leaf(rest) => {
                    if let Some(open) = self.path.last_mut() {
                        open.rest.merge(&rest, steps, back);
                    }
                }
                End::Fork(todo) => {
                    self.path.push(Open { join: None, todo, rest: Rest::default(), steps, back });
                }
                End::Join(slot, state) => {
                    self.walked.open(slot, State::clone(&state));
                    let todo = vec![Way { slot, state, back: None }];
                    self.path.push(Open {
                        join: Some(slot),
                        todo,
                        rest: Rest::default(),
                        steps,
                        back,
                    });
                }
            }
            let long = self.path.len() > MAX_DEPTH || self.machine.facts.steps > MAX_STEPS;
            if long || self.walked.too_much() {
                return self.too_complex();
            }
        }
    }

    fn too_complex(&mut self) -> Rest {
        self.find(
            0,
            Rule::TooComplex,
            "the paths through it are too many or too long to walk".into(),
        );
        Rest::default()
    }

    /// Steps to the next fork or join. A way that begins at a join was looked at there.
    fn stretch(&mut self, start: usize, mut state: Box<State>) -> (End, u64) {
        let (mut slot, mut steps) = (start, 0);
        loop {
            let looked_at = slot == start && self.begins_here(slot);
            if self.code.is_join(slot) && !looked_at {
                return (self.join(slot, state), steps);
            }
            let Some(insn) = self.code.get(slot).copied() else {
                let last = slot.saturating_sub(1);
                self.find(last, Rule::NoExit, "a path runs over the end".into());
                return (End::Leaf(Rest::default()), steps);
            };
            self.seen[slot] = true;
            self.machine.facts.steps += 1;
            steps += 1;
            match self.one(slot, insn, &mut state) {
                Next::To(next) => slot = next,
                Next::Fork(ways) => return (End::Fork(ways), steps),
                Next::End => return (End::Leaf(Rest::default()), steps),
            }
        }
    }

    /// Whether the way that is walked begins with the join at this slot itself.
    fn begins_here(&self, slot: usize) -> bool {
        self.path.last().is_some_and(|open| open.join == Some(slot))
    }

    /// One instruction.
    fn one(&mut self, slot: usize, insn: Insn, state: &mut State) -> Next {
        let next = slot + insn.slots();
        let done = match insn {
            Insn::Jump { off } => return self.jump(slot, Code::target(slot, off), state),
            Insn::Branch { width, test, off } => branch(state, width, test).map(|ways| {
                let target = Code::target(slot, off);
                match ways {
                    Ways::Taken => self.jump(slot, target, state),
                    Ways::Not => Next::To(next),
                    // The last is walked first.
                    Ways::Either { taken, not } => {
                        Next::Fork(vec![self.way(slot, target, taken), self.way(slot, next, not)])
                    }
                }
            }),
            Insn::Exit => self.machine.exit(state).map(|()| Next::End),
            Insn::Load { mem, .. } | Insn::Store { mem, .. } => self
                .one_kind(slot, mem, state)
                .and_then(|()| self.machine.step(state, &insn).map(|()| Next::To(next))),
            _ => self.machine.step(state, &insn).map(|()| Next::To(next)),
        };
        done.unwrap_or_else(|(rule, what)| {
            self.find(slot, rule, what);
            Next::End
        })
    }

    /// The kernel turns an access to the context into another: it must be one on all paths
    /// (`save_aux_ptr_type`).
    fn one_kind(&mut self, slot: usize, mem: Mem, state: &State) -> Checked<()> {
        let of_context = state.get(mem.base)? == Value::Ctx;
        match self.of_context[slot].replace(of_context) {
            Some(before) if before != of_context => broken(
                Rule::Context,
                "is of the context on one path, and of something else on another",
            ),
            _ => Ok(()),
        }
    }

    /// A jump that is always taken; one back begins a way of its own, for its rounds to be counted.
    fn jump(&self, slot: usize, to: usize, state: &State) -> Next {
        match to <= slot {
            true => Next::Fork(vec![self.way(slot, to, Box::new(state.clone()))]),
            false => Next::To(to),
        }
    }

    fn way(&self, from: usize, to: usize, state: Box<State>) -> Way {
        let place = || self.code.back.iter().position(|jump| *jump == (from, to));
        let back = if to <= from { place() } else { None };
        Way { slot: to, state, back }
    }

    /// Paths can meet here: what was walked before is not walked again.
    fn join(&mut self, slot: usize, state: Box<State>) -> End {
        match self.walked.find(slot, &state) {
            Before::Done(rest) => End::Leaf(rest),
            Before::Open => {
                let what = "comes here again with nothing changed: a loop that may never end";
                self.find(slot, Rule::Endless, what.into());
                End::Leaf(Rest::default())
            }
            Before::Never => End::Join(slot, state),
        }
    }

    /// The same is said once.
    fn find(&mut self, slot: usize, rule: Rule, what: String) {
        if !self.findings.iter().any(|found| found.slot == slot && found.rule == rule) {
            self.findings.push(Finding { slot, rule, what });
        }
    }

    /// Kernels do not ask whether a conditional jump is always taken (`check_subprogs`).
    fn find_open_end(&mut self) {
        if let Some((slot, Insn::Branch { .. })) = self.code.last() {
            self.find(
                slot,
                Rule::NoExit,
                "the last instruction must be an exit or a plain jump".into(),
            );
        }
    }

    /// Only of a program that is well otherwise: a path that ends in a finding leaves what follows unseen.
    fn find_unreachable(&mut self) {
        if !self.findings.is_empty() {
            return;
        }
        for slot in 0..self.code.len() {
            if self.code.get(slot).is_some() && !self.seen[slot] {
                self.find(slot, Rule::Unreachable, "no path comes here: remove it".into());
            }
        }
    }
}
