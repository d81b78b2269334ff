//! The plan that takes chains down again: whatever their records say was made.

use super::super::carry::mounted_by_us;
use super::super::fact::{Action, Fact, Sense};
use super::Chain;

/// What takes these down, one after the other. With the last of all that xhop has made goes bpffs, if `unmount`.
pub fn down(leaving: &[Chain], unmount: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for (at, chain) in leaving.iter().enumerate() {
        let unmount = unmount && at + 1 == leaving.len() && mounted_by_us();
        let facts = chain.facts().into_iter().rev();
        let facts = facts.filter(|fact| unmount || *fact != Fact::Bpffs);
        actions.extend(facts.map(|fact| Action { sense: Sense::Undo, fact }));
    }
    actions
}
