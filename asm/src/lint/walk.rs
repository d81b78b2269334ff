//! Every path, once: where paths meet, one that can do nothing new is not walked again.

use super::Report;
use super::branch::branch;
use super::facts::Loop;
use super::finding::{Finding, Rule};
use super::flow::Code;
use super::state::State;
use super::step::Machine;
use crate::insn::Insn;
use crate::map::MapShape;

/// Steps that are walked at most. The kernel's limit is a million (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_STEPS: u64 = 500_000;
/// Forks and joins on one path. The kernel's limit is 8192 forks (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const MAX_DEPTH: usize = 8000;

/// What is known of all paths from a place to the exits.
#[derive(Clone, Default)]
struct Rest {
    /// Instructions on the longest.
    longest: u64,
    /// Jumps back, with the most rounds of each.
    loops: Vec<Loop>,
}

/// A way that is still to be walked.
struct Way {
    slot: usize,
    state: State,
    /// The jump back that it begins with.
    back: Option<(usize, usize)>,
}

/// A fork or a join on the path that is being walked.
struct Open {
    /// The join's slot and the state in which it was reached.
    join: Option<(usize, State)>,
    todo: Vec<Way>,
    rest: Rest,
    /// Steps from the last fork or join to here.
    steps: u64,
    /// The jump back by which the path came here from there.
    back: Option<(usize, usize)>,
}

/// A join all of whose paths were walked from this state.
struct Done {
    state: State,
    rest: Rest,
}

struct Walk<'a> {
    code: &'a Code,
    machine: Machine<'a>,
    findings: Vec<Finding>,
    seen: Vec<bool>,
    done: Vec<Vec<Done>>,
    path: Vec<Open>,
}

/// How a stretch without forks and joins ends.
enum End {
    /// At an exit, at a finding, or where all was walked before.
    Leaf(Rest),
    Fork(Vec<Way>),
    Join(usize, State),
}

/// Walks the whole program.
pub(super) fn walk(code: &Code, maps: &[MapShape]) -> Report {
    let mut walk = Walk {
        code,
        machine: Machine::new(maps),
        findings: Vec::new(),
        seen: vec![false; code.len()],
        done: (0..code.len()).map(|_| Vec::new()).collect(),
        path: Vec::new(),
    };
    let rest = walk.all();
    walk.find_unreachable();
    let mut facts = walk.machine.facts;
    facts.maps.resize(maps.len(), Default::default());
    facts.longest = rest.longest;
    facts.loops = rest.loops;
    facts.tidy();
    let mut findings = walk.findings;
    findings.sort_unstable();
    Report { facts, findings }
}

impl Walk<'_> {
    /// Depth first, with a stack of its own: paths are long.
    fn all(&mut self) -> Rest {
        let entry = Way { slot: 0, state: State::entry(), back: None };
        let root = Open { join: None, todo: vec![entry], rest: Rest::default(), steps: 0, back: None };
        self.path.push(root);
        loop {
            let Some(open) = self.path.last_mut() else { return Rest::default() };
            let Some(way) = open.todo.pop() else {
                let Some(done) = self.path.pop() else { return Rest::default() };
                let Some(parent) = self.path.last_mut() else { return done.rest };
                parent.rest.merge(&done.rest, done.steps, done.back);
                if let Some((slot, state)) = done.join {
                    self.done[slot].push(Done { state, rest: done.rest });
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
                    let todo = vec![Way { slot, state: state.clone(), back: None }];
                    let join = Some((slot, state));
                    self.path.push(Open { join, todo, rest: Rest::default(), steps, back });
                }
            }
            if self.path.len() > MAX_DEPTH || self.machine.facts.steps > MAX_STEPS {
                let what = "the paths through it are too many or too long to walk";
                self.findings.push(Finding::new(0, Rule::TooComplex, what));
                return Rest::default();
            }
        }
    }

    /// Steps to the next fork or join. A way that begins at a join was looked at there.
    fn stretch(&mut self, mut slot: usize, mut state: State) -> (End, u64) {
        let start = slot;
        let mut steps = 0;
        loop {
            if slot != start || !self.begins_here(slot) {
                if self.code.is_join(slot) {
                    return (self.join(slot, state), steps);
                }
            }
            let Some(insn) = self.code.get(slot).copied() else {
                let last = slot.saturating_sub(1);
                self.find(last, Rule::NoExit, "a path runs over the end".into());
                return (End::Leaf(Rest::default()), steps);
            };
            self.seen[slot] = true;
            self.machine.facts.steps += 1;
            steps += 1;
            match self.one(slot, insn, state) {
                Ok(Some(next)) => (slot, state) = next,
                Ok(None) => return (End::Leaf(Rest::default()), steps),
                Err(end) => return (end, steps),
            }
        }
    }

    /// Whether the way that is walked begins with the join at this slot itself.
    fn begins_here(&self, slot: usize) -> bool {
        let open = self.path.last();
        open.and_then(|open| open.join.as_ref()).is_some_and(|(join, _)| *join == slot)
    }

    /// One instruction: the next slot and state, nothing after an exit or a finding, or a fork.
    fn one(
        &mut self,
        slot: usize,
        insn: Insn,
        mut state: State,
    ) -> Result<Option<(usize, State)>, End> {
        let next = slot + insn.slots();
        let checked = match insn {
            Insn::Jump { off } => return self.jump(slot, Code::target(slot, off), state),
            Insn::Branch { width, test, off } => match branch(state, width, test) {
                Ok(ways) => {
                    let target = Code::target(slot, off);
                    return match (ways.taken, ways.not) {
                        (Some(state), None) => self.jump(slot, target, state),
                        (None, Some(state)) => Ok(Some((next, state))),
                        (taken, not) => {
                            let taken = taken.map(|state| way(slot, target, state));
                            let not = not.map(|state| way(slot, next, state));
                            // The last is walked first.
                            Err(End::Fork(taken.into_iter().chain(not).collect()))
                        }
                    };
                }
                Err(broken) => Err(broken),
            },
            Insn::Exit => {
                let exits = self.machine.exit(&state);
                exits.map(|()| None)
            }
            _ => self.machine.step(&mut state, &insn).map(|()| Some((next, state))),
        };
        Ok(checked.unwrap_or_else(|(rule, what)| {
            self.find(slot, rule, what);
            None
        }))
    }

    /// A jump that is always taken; one back begins a way of its own, for its rounds to be counted.
    fn jump(&self, slot: usize, to: usize, state: State) -> Result<Option<(usize, State)>, End> {
        match to <= slot {
            true => Err(End::Fork(vec![way(slot, to, state)])),
            false => Ok(Some((to, state))),
        }
    }

    /// Paths can meet here: what was walked before is not walked again.
    fn join(&mut self, slot: usize, state: State) -> End {
        let done = self.done[slot].iter().rev();
        if let Some(done) = done.into_iter().find(|done| done.state.covers(&state, self.code, slot)) {
            return End::Leaf(done.rest.clone());
        }
        let mut open = self.path.iter().filter_map(|open| open.join.as_ref());
        if open.any(|(at, before)| *at == slot && before.covers(&state, self.code, slot)) {
            let what = "comes here again with nothing changed: a loop that may never end";
            self.find(slot, Rule::Endless, what.into());
            return End::Leaf(Rest::default());
        }
        End::Join(slot, state)
    }

    /// The same is said once.
    fn find(&mut self, slot: usize, rule: Rule, what: String) {
        if !self.findings.iter().any(|found| found.slot == slot && found.rule == rule) {
            self.findings.push(Finding { slot, rule, what });
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
        if self.code.len() == 0 {
            self.find(0, Rule::NoExit, "there is no instruction".into());
        }
    }
}

fn way(from: usize, to: usize, state: State) -> Way {
    Way { slot: to, state, back: (to <= from).then_some((from, to)) }
}

impl Rest {
    /// Takes in what can follow after `steps` and a jump back.
    fn merge(&mut self, after: &Self, steps: u64, back: Option<(usize, usize)>) {
        self.longest = self.longest.max(after.longest + steps);
        let mut loops = after.loops.clone();
        if let Some((from, to)) = back {
            count(&mut loops, Loop { from, to, rounds: 1 }, u32::saturating_add);
        }
        for one in loops {
            count(&mut self.loops, one, u32::max);
        }
    }
}

fn count(loops: &mut Vec<Loop>, new: Loop, sum: fn(u32, u32) -> u32) {
    match loops.iter_mut().find(|old| (old.from, old.to) == (new.from, new.to)) {
        Some(old) => old.rounds = sum(old.rounds, new.rounds),
        None => loops.push(new),
    }
}
