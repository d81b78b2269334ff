//! Plans: what will be done, as a value that can be printed, carried out and taken back.
//!
//! A [`Member`] is a joined container; its facts are what makes it one. `up` makes those that do not
//! hold, `down` takes them back, both through [`carry_out`].

mod altered;
mod attach;
pub mod capture;
mod carry;
pub mod chain;
mod choose;
mod clsact;
mod down;
mod fact;
mod ground;
mod guard;
pub mod jumbo;
pub mod member;
mod pins;
pub mod record;
mod rules;
pub mod segment;
mod sizes;
mod sound;
mod tables;
mod up;
pub mod way;
mod wish;

pub use altered::altered;
pub use carry::carry_out;
pub use chain::{Chain, Match};
pub use choose::{apart, choose_on, mute, not_ready};
pub use down::down;
pub use fact::{Action, Fact, Sense};
pub use ground::Ground;
pub use member::Member;
pub use pins::MemberPins;
pub use rules::{handful, rules};
pub use segment::Segment;
pub use tables::{allowed as redirects_to, listed, sent_to};
pub use up::{br_netfilter, join, up};
pub use way::Wishes;

use serde::Serialize;

/// Actions in order, and the members that they are for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Plan {
    /// Done first, and never taken back: members that leave for good.
    pub clear: Vec<Action>,
    /// Done then, all or nothing.
    pub actions: Vec<Action>,
    /// After `up`: who is joined on the bridge, as far as they were looked at. After `down`: who is no more.
    pub members: Vec<Member>,
    /// The chain that is made, or those that are taken down.
    pub chains: Vec<chain::Chain>,
    /// Who stays joined there as he is: nobody has read these records.
    #[serde(skip)]
    pub others: Vec<record::Place>,
    /// After `up`: the bridge on which all is well then, whatever was cut off there before.
    #[serde(skip)]
    pub mended: Option<Segment>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Gives a member another name.
    pub fn rename(member: &Member, name: String) -> Self {
        let after = Member { name, ..member.clone() };
        let actions = vec![Action::rewrite(member, &after)];
        Self { actions, members: vec![after], ..Self::default() }
    }

    /// The bridges on which something is changed.
    fn segments(&self) -> Vec<&Segment> {
        let mut segments: Vec<&Segment> = self.mended.iter().collect();
        for action in self.clear.iter().chain(&self.actions) {
            match &action.fact {
                Fact::Record(member) if !segments.contains(&&member.segment) => {
                    segments.push(&member.segment);
                }
                _ => {}
            }
        }
        segments
    }

    /// Whose record goes, though nobody asked for it: what is gone, or on another bridge.
    pub fn left_out(&self) -> impl Iterator<Item = &Member> {
        let undone = self.clear.iter().chain(&self.actions).filter_map(|action| match action {
            Action { sense: Sense::Undo, fact: Fact::Record(member) } => Some(member.as_ref()),
            _ => None,
        });
        undone.filter(|left| !self.members.iter().any(|member| member.host == left.host))
    }
}
