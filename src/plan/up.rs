//! The plan of `up`: from what is wished and what is found to what has to be done.

use std::collections::HashMap;

use super::carry::holds;
use super::choose::choose;
use super::fact::{Action, Sense};
use super::ground::Ground;
use super::member::Member;
use super::wish::{Ways, wish};
use super::{Plan, down};
use crate::container::Container;
use crate::{Error, Result};

/// The plan that joins the containers with each other and with those that are joined on their bridge
/// already. `members` are all records there are. Changes nothing.
pub fn up(
    containers: &[Container],
    ways: Ways,
    members: &[Member],
    ground: Ground,
) -> Result<Plan> {
    let chosen = choose(containers, ways.force, ground)?;
    let here: Vec<&Member> = members.iter().filter(|m| m.segment == chosen.segment).collect();
    let mut wished = Vec::new();
    for (name, attachment) in &chosen.attachments {
        let same = |m: &&&Member| (&m.host, &m.inside) == (&attachment.host, &attachment.inside);
        let before = here.iter().find(same).copied();
        wished.push(wish(ways, name, &chosen.segment, attachment, before, ground)?);
    }
    // Who is joined already and not named now stays as he is, with the addresses that he has now.
    for member in &here {
        if !wished.iter().any(|wished| wished.host == member.host) {
            wished.extend(again(member, ground)?);
        }
    }
    refuse_shared_addresses(&wished)?;
    if let [alone] = wished.as_slice() {
        return Err(Error::Alone { name: alone.name.clone() });
    }
    let serves = |member: &&Member| wished.iter().any(|wished| wished == *member);
    let leaving: Vec<Member> = here.iter().filter(|m| !serves(m)).copied().cloned().collect();
    let staying: Vec<&Member> = wished.iter().collect();
    let mut actions = down::take_out(&leaving, &staying, false);
    for member in &wished {
        // What holds now holds no more once it is taken back.
        let anew = leaving.iter().any(|leaving| leaving.host == member.host);
        for fact in member.facts() {
            let action = Action { sense: Sense::Make, fact };
            if !actions.contains(&action)
                && (anew && !action.fact.is_shared() || !holds(&action.fact, ground)?)
            {
                actions.push(action);
            }
        }
    }
    Ok(Plan { actions, members: wished })
}

/// The member as it would be joined now, the way it was before; `None` if it is gone from its bridge.
fn again(member: &Member, ground: Ground) -> Result<Option<Member>> {
    let Some(attachment) = ground.attachment(&member.inside)? else { return Ok(None) };
    let bridge = attachment.bridge.as_ref().map(|bridge| &bridge.interface);
    if attachment.host != member.host || bridge != Some(&member.segment.bridge) {
        return Ok(None);
    }
    let Member { datapath, checksum, attach, .. } = *member;
    let ways = Ways { datapath, checksum, attach, force: false };
    wish(ways, &member.name, &member.segment, &attachment, Some(member), ground).map(Some)
}

fn refuse_shared_addresses(members: &[Member]) -> Result<()> {
    let mut seen = HashMap::new();
    for member in members {
        for address in &member.addresses {
            if let Some(other) = seen.insert(address, &member.name) {
                return Err(Error::SharedAddress {
                    address: *address,
                    one: other.clone(),
                    other: member.name.clone(),
                });
            }
        }
    }
    Ok(())
}
