//! What was walked before: states from which nothing new can come.

use super::code::Code;
use super::state::State;

/// Looks at states that were there before, at most; some seconds of work in a debug build.
const MAX_LOOKS: u64 = 10_000_000;
/// States that are kept at most: some kilobytes each.
const MAX_STATES: usize = 20_000;

/// What is known of all paths from a place to the exits.
#[derive(Clone, Default)]
pub(super) struct Rest {
    /// Instructions on the longest.
    pub(super) longest: u64,
    /// How often each jump back is taken at most, in the order of `Code::back`.
    pub(super) rounds: Vec<u32>,
}

/// A join all of whose paths were walked from this state.
struct Done {
    state: State,
    rest: Rest,
}

/// Whether a join was reached before, in a state that covers the one it is reached in now.
pub(super) enum Before {
    Never,
    /// On the same path.
    Open,
    /// On another, from which on this can follow.
    Done(Rest),
}

/// States at joins, by slot.
pub(super) struct Walked<'a> {
    code: &'a Code,
    done: Vec<Vec<Done>>,
    /// Those on the path that is being walked.
    open: Vec<Vec<State>>,
    /// States in `done`, and how often one was looked at.
    states: usize,
    looks: u64,
}

impl<'a> Walked<'a> {
    pub(super) fn new(code: &'a Code) -> Self {
        let (done, open) = (0..code.len()).map(|_| (Vec::new(), Vec::new())).unzip();
        Self { code, done, open, states: 0, looks: 0 }
    }

    /// The path goes on from here.
    pub(super) fn open(&mut self, slot: usize, state: State) {
        self.open[slot].push(state);
    }

    /// All was walked from where the slot was last opened.
    pub(super) fn close(&mut self, slot: usize, rest: Rest) {
        if let Some(state) = self.open[slot].pop() {
            self.done[slot].push(Done { state, rest });
            self.states += 1;
        }
    }

    /// The last first: it is the most alike.
    pub(super) fn find(&mut self, slot: usize, state: &State) -> Before {
        let (code, looks) = (self.code, &mut self.looks);
        let mut covers = |before: &State| {
            *looks += 1;
            before.covers(state, code, slot)
        };
        if let Some(done) = self.done[slot].iter().rev().find(|done| covers(&done.state)) {
            return Before::Done(done.rest.clone());
        }
        match self.open[slot].iter().rev().any(covers) {
            true => Before::Open,
            false => Before::Never,
        }
    }

    /// Whether it takes more time or memory than it is worth.
    pub(super) fn too_much(&self) -> bool {
        self.looks > MAX_LOOKS || self.states > MAX_STATES
    }
}

impl Rest {
    /// Takes in what can follow after `steps` and a jump back.
    pub(super) fn merge(&mut self, after: &Self, steps: u64, back: Option<usize>) {
        self.longest = self.longest.max(after.longest + steps);
        let len = self.rounds.len().max(after.rounds.len()).max(back.map_or(0, |back| back + 1));
        self.rounds.resize(len, 0);
        for (at, most) in self.rounds.iter_mut().enumerate() {
            let rounds = after.rounds.get(at).copied().unwrap_or(0);
            *most = rounds.saturating_add(u32::from(back == Some(at))).max(*most);
        }
    }
}
