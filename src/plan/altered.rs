//! What others have changed of what `up` made: the settings around a program, which it is not seen by.

use super::carry::holds;
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo::{self, Instead};
use super::member::Member;
use crate::Result;

/// What `up` would set again of a member's sizes, features and routes, and of its bridge's port. `members` are all
/// there are.
pub fn altered(
    member: &Member,
    members: &[Member],
    routes: &mut jumbo::Found,
    ground: Ground,
) -> Result<Vec<Action>> {
    // One that is gone, or out of sight, has no settings.
    if !matches!(ground.inside(&member.host), Ok(Some(_))) {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    for fact in member.facts() {
        let setting = matches!(fact, Fact::Size { .. } | Fact::Feature { .. } | Fact::Guard { .. });
        if setting && !holds(&fact, ground)? {
            missing.push(fact);
        }
    }
    for route in members.iter().flat_map(|other| jumbo::routes(member, other)) {
        if !routes.has(&route)? && matches!(routes.instead(&route)?, Instead::Direct(_)) {
            missing.push(Fact::Route(route));
        }
    }
    Ok(missing.into_iter().map(|fact| Action { sense: Sense::Make, fact }).collect())
}
