//! What others have changed of what `up` made: the settings around a program, which it is not seen by.

use std::net::IpAddr;

use super::carry::holds;
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo::{self, Instead};
use super::member::Member;
use super::pins::MemberPins;
use crate::Result;
use crate::container::Mac;

/// What `up` would set again: where a member's Ethernet address is another now, its sizes, features and routes, its
/// bridge's port, and its program, if a capture that was killed has left another. `members` are all there are.
pub fn altered(
    member: &Member,
    members: &[Member],
    routes: &mut jumbo::Found,
    ground: Ground,
) -> Result<Vec<Action>> {
    match changes(member, members, routes, ground) {
        // One that is gone by now, or out of sight, has no settings.
        Err(_) if !matches!(ground.inside(&member.host), Ok(Some(_))) => Ok(Vec::new()),
        changes => changes,
    }
}

fn changes(
    member: &Member,
    members: &[Member],
    routes: &mut jumbo::Found,
    ground: Ground,
) -> Result<Vec<Action>> {
    let Some((_, inside)) = ground.inside(&member.host)? else { return Ok(Vec::new()) };
    let mut missing = Vec::new();
    if let Some(mac) = inside.mac.map(Mac).filter(|mac| *mac != member.mac) {
        let (segment, at) = (&member.segment, &member.host);
        let sent = |address: &IpAddr| Fact::Endpoint {
            segment: segment.clone(),
            address: *address,
            at: at.clone(),
            mac,
        };
        missing.extend(member.addresses.iter().map(sent));
    }
    let left = MemberPins::of(&member.segment, &member.host).captured_for_nobody()?;
    for fact in member.facts() {
        let setting = match fact {
            Fact::Size { .. } | Fact::Feature { .. } | Fact::Guard { .. } => true,
            Fact::Forward { .. } => left,
            _ => false,
        };
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
