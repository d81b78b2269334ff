//! The plan of `down`: whatever a record says was made, taken back in the opposite order.

use super::Plan;
use super::carry::mounted_by_us;
use super::fact::{Action, Fact, Sense};
use super::member::Member;

/// The plan that takes `leaving` back. `members` are all records there are.
pub fn down(leaving: &[Member], members: &[Member]) -> Plan {
    let staying: Vec<&Member> = members.iter().filter(|member| !leaving.contains(member)).collect();
    let mut actions: Vec<Action> = leaving.iter().flat_map(undo_member).collect();
    let mut segments = Vec::new();
    for segment in leaving.iter().map(|member| &member.segment) {
        if !segments.contains(&segment) && !staying.iter().any(|member| member.segment == *segment)
        {
            segments.push(segment);
        }
    }
    let maps = segments.into_iter().map(|segment| Fact::Maps { segment: segment.clone() });
    actions.extend(maps.map(|fact| Action { sense: Sense::Undo, fact }));
    if staying.is_empty() && mounted_by_us() {
        actions.push(Action { sense: Sense::Undo, fact: Fact::Bpffs });
    }
    Plan { actions, members: leaving.to_vec() }
}

/// What takes one member back.
pub fn undo_member(member: &Member) -> impl Iterator<Item = Action> + use<> {
    let facts = member.facts().into_iter().rev();
    facts.map(|fact| Action { sense: Sense::Undo, fact })
}
