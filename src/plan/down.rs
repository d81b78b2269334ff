//! The plan of `down`: whatever a record says was made, taken back in the opposite order.

use std::collections::HashSet;

use super::Plan;
use super::carry::mounted_by_us;
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo::{self, Route};
use super::member::{Member, Size};
use super::segment::Segment;
use super::sizes;
use crate::container::Interface;
use crate::{Error, Result};

/// The plan that takes `leaving` out. `members` are all records there are.
pub fn down(leaving: &[Member], members: &[Member], ground: Ground) -> Result<Plan> {
    let is =
        |one: &Member, other: &Member| (&one.segment, &one.host) == (&other.segment, &other.host);
    let stays = |member: &&Member| !leaving.iter().any(|leaving| is(leaving, member));
    let staying: Vec<&Member> = members.iter().filter(stays).collect();
    let needed = |segment: &Segment| staying.iter().any(|member| member.segment == *segment);
    let out = TakeOut {
        needed: &needed,
        kin: &staying,
        kept: &HashSet::new(),
        wished: &[],
        unmount: staying.is_empty() && mounted_by_us(),
    };
    let mut plan = Plan { members: leaving.to_vec(), ..Plan::default() };
    let mut routes = jumbo::Found::new(ground);
    plan.clear = out.plan(leaving, &mut routes, &mut plan.warnings, ground)?;
    Ok(plan)
}

/// What takes members out, one after the other.
pub struct TakeOut<'a> {
    /// Whether others need a bridge's maps; else they go with the last of its members.
    pub needed: &'a dyn Fn(&Segment) -> bool,
    /// Who stays, and may send them large packets.
    pub kin: &'a [&'a Member],
    /// The routes for these that stay.
    pub kept: &'a HashSet<Route>,
    /// Who is to be joined then. Of those among them who are joined in the same way only that goes which does not
    /// hold any more: what they send and receive meanwhile still hops.
    pub wished: &'a [Member],
    /// Whether bpffs goes with the last of all.
    pub unmount: bool,
}

impl TakeOut<'_> {
    /// The plan. The `routes` that it removes count as gone; what others have changed meanwhile stays, with a
    /// warning.
    pub fn plan(
        &self,
        leaving: &[Member],
        routes: &mut jumbo::Found,
        warnings: &mut Vec<String>,
        ground: Ground,
    ) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        for (at, member) in leaving.iter().enumerate() {
            let later = leaving.get(at + 1..).unwrap_or_default();
            // Who sends to it large packets, and to whom it does, first.
            for route in self.routes(member, later) {
                if !self.kept.contains(&route) && routes.take(&route)? {
                    actions.push(undo(Fact::Route(route)));
                }
            }
            let facts = match ground.alive(member) {
                Ok(true) => member.facts(),
                Ok(false) => member.remains(),
                // It keeps nobody else from leaving.
                Err(Error::Unreachable { .. }) => member.unseen(),
                Err(error) => return Err(error),
            };
            let after = self.wished.iter().find(|after| member.is_alike(after));
            let kept = after.map(Member::facts).unwrap_or_default();
            for fact in facts.into_iter().rev().filter(|fact| !self.needs(fact, later)) {
                match &fact {
                    fact if kept.contains(fact) => {}
                    Fact::Record(before) => actions.push(match after {
                        Some(after) => Action::rewrite(before, after),
                        None => undo(fact),
                    }),
                    Fact::Size { host, size } if !sizes::holds(ground, host, size)? => {
                        warnings.extend(changed(ground, host, size)?);
                    }
                    _ => actions.push(undo(fact)),
                }
            }
        }
        Ok(actions)
    }

    /// The routes between a member and all others.
    fn routes(&self, member: &Member, later: &[Member]) -> Vec<Route> {
        let others = later.iter().chain(self.kin.iter().copied());
        let both = |other| [jumbo::routes(other, member), jumbo::routes(member, other)].concat();
        others.flat_map(both).collect()
    }

    /// Whether those who leave later, or who stay, stand on it too.
    fn needs(&self, fact: &Fact, later: &[Member]) -> bool {
        match fact {
            Fact::Maps { segment } => {
                (self.needed)(segment) || later.iter().any(|other| other.segment == *segment)
            }
            Fact::Guard { segment, .. } => {
                let mut others = later.iter().chain(self.kin.iter().copied());
                others.any(|other| other.segment == *segment && other.bridge_mtu.is_some())
            }
            Fact::Bpffs => !self.unmount || !later.is_empty(),
            _ => false,
        }
    }
}

fn undo(fact: Fact) -> Action {
    Action { sense: Sense::Undo, fact }
}

/// What is said of a size that is neither as it was nor as we have set it.
fn changed(ground: Ground, host: &Interface, size: &Size) -> Result<Option<String>> {
    let found = sizes::found(ground, host, size.what)?;
    Ok(found.filter(|bytes| *bytes != size.was).map(|bytes| {
        let (what, was) = (size.of(host), size.was);
        format!("{what} is {bytes} now, which others have set: it is not set back to {was}")
    }))
}
