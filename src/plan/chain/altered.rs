//! What others have changed of a chain around its programs.

use super::super::carry::holds;
use super::super::fact::{Action, Fact, Sense};
use super::super::ground::Ground;
use super::Chain;
use crate::Result;

/// What would have to be done again. Of who is gone nothing: that breaks the chain.
pub fn altered(chain: &Chain, ground: Ground) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    for fact in chain.facts() {
        let there = match &fact {
            Fact::Feature { host: at, .. }
            | Fact::NicFeature { at, .. }
            | Fact::Port { at, .. } => ground.link(at)?.is_some(),
            Fact::ChainMaps { .. } => true,
            _ => false,
        };
        if there && !holds(&fact, ground)? {
            actions.push(Action { sense: Sense::Make, fact });
        }
    }
    Ok(actions)
}
