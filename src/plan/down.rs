//! The plan of `down`: whatever a record says was made, taken back in the opposite order.

use super::Plan;
use super::carry::mounted_by_us;
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo;
use super::member::Member;
use super::segment::Segment;
use crate::{Error, Result};

/// The plan that takes `leaving` out. `members` are all records there are.
pub fn down(leaving: &[Member], members: &[Member], ground: Ground) -> Result<Plan> {
    let is =
        |one: &Member, other: &Member| (&one.segment, &one.host) == (&other.segment, &other.host);
    let stays = |member: &&Member| !leaving.iter().any(|leaving| is(leaving, member));
    let staying: Vec<&Member> = members.iter().filter(stays).collect();
    let unmount = staying.is_empty() && mounted_by_us();
    let needed = |segment: &Segment| staying.iter().any(|member| member.segment == *segment);
    let clear = take_out(leaving, &needed, &staying, unmount, ground)?;
    Ok(Plan { clear, members: leaving.to_vec(), ..Plan::default() })
}

/// What takes members out, one after the other. A bridge's maps go with the last of them, unless others need
/// them, and bpffs, if `unmount` says so, with the last of all. `kin` are those who stay and may send them large packets.
pub fn take_out(
    leaving: &[Member],
    needed: &dyn Fn(&Segment) -> bool,
    kin: &[&Member],
    unmount: bool,
    ground: Ground,
) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    for (at, member) in leaving.iter().enumerate() {
        let later = leaving.get(at + 1..).unwrap_or_default();
        let others = || later.iter().chain(kin.iter().copied());
        let still_needed = |fact: &Fact| match fact {
            Fact::Maps { segment } => {
                needed(segment) || later.iter().any(|other| other.segment == *segment)
            }
            Fact::Guard { segment, .. } => {
                others().any(|other| other.segment == *segment && other.bridge_mtu.is_some())
            }
            Fact::Bpffs => !unmount || !later.is_empty(),
            _ => false,
        };
        // Who sends to it large packets, and to whom it does, first.
        let routes = others().flat_map(|other| jumbo::routes_between(member, other));
        actions.extend(routes.map(|fact| Action { sense: Sense::Undo, fact }));
        let facts = match ground.alive(member) {
            Ok(true) => member.facts(),
            Ok(false) => member.remains(),
            // It keeps nobody else from leaving.
            Err(Error::Unreachable { .. }) => member.unseen(),
            Err(error) => return Err(error),
        };
        let facts = facts.into_iter().rev().filter(|fact| !still_needed(fact));
        actions.extend(facts.map(|fact| Action { sense: Sense::Undo, fact }));
    }
    Ok(actions)
}
