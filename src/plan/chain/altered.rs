//! What others have changed of a chain around its programs.

use super::super::carry::holds;
use super::super::fact::{Action, Fact, Sense};
use super::super::ground::Ground;
use super::Chain;
use crate::Result;
use crate::container::Mac;

/// What would have to be done again. Of who is gone nothing: that breaks the chain. Where a member has another
/// Ethernet address by now, or the last one no more an address that goes in, the maps are not what they were.
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
    let now = as_found(chain, ground)?;
    if now != *chain {
        let fact = Fact::ChainMaps { chain: Box::new(now) };
        actions.push(Action { sense: Sense::Make, fact });
    }
    Ok(actions)
}

/// The chain with its members' addresses as they are now. Whose end is out of sight stays as he was.
fn as_found(chain: &Chain, ground: Ground) -> Result<Chain> {
    let mut now = chain.clone();
    let last = now.members.len().saturating_sub(1);
    for (at, stop) in now.members.iter_mut().enumerate() {
        let Ok(Some((netns, inside))) = ground.inside(&stop.host) else { continue };
        stop.mac = inside.mac.map_or(stop.mac, Mac);
        if at == last {
            // One on a VLAN's interface is the container's too.
            let own = ground.rtnl(&netns)?.addrs()?;
            now.matches.retain(|one| own.iter().any(|addr| addr.ip == one.dst));
        }
    }
    Ok(now)
}
