//! The plan of `up`: from what is wished and what is found to what has to be done.

use std::collections::HashMap;

use super::carry::holds;
use super::choose::choose;
use super::fact::{Action, Sense};
use super::ground::Ground;
use super::member::Member;
use super::segment::Segment;
use super::way::{ChecksumWay, Ways, Wishes};
use super::wish::wish;
use super::{Plan, down};
use crate::container::Container;
use crate::{Error, Result};

/// The plan that joins the containers with each other and with those that are joined on their bridge
/// already. `members` are all records there are. Changes nothing.
pub fn up(
    containers: &[Container],
    wishes: Wishes,
    members: &[Member],
    ground: Ground,
) -> Result<Plan> {
    let chosen = choose(containers, wishes.force, ground)?;
    let segment = &chosen.segment;
    let named = |member: &Member| chosen.attachments.iter().any(|(_, a)| a.host == member.host);
    // What has been on this bridge, and what is named now wherever it has been.
    let (mut live, mut dead) = (Vec::new(), Vec::new());
    for member in members.iter().filter(|m| m.segment == *segment || named(m)) {
        let list = if ground.alive(member)? { &mut live } else { &mut dead };
        list.push(member.clone());
    }
    let others = live.iter().find(|member| member.segment == *segment && !named(member));
    let ways = wishes.settle(others.map(|member| (member.datapath, member.checksum)))?;
    let mut wished = Vec::new();
    for (name, attachment) in &chosen.attachments {
        let same = |m: &&Member| (&m.host, &m.inside) == (&attachment.host, &attachment.inside);
        let before = live.iter().find(same);
        wished.push(wish(ways, name, segment, attachment, before, ground)?);
    }
    // What is joined already and not named now stays as it is, with the addresses that it has now.
    for member in live.iter().filter(|member| !named(member)) {
        wished.extend(again(member, ground)?);
    }
    refuse_shared_addresses(&wished)?;
    refuse_mixed_ways(&wished)?;
    if let [alone] = wished.as_slice() {
        return Err(Error::Alone { name: alone.name.clone() });
    }
    live.retain(|member| !wished.contains(member));
    let changed = live;
    let leaves = |member: &&Member| dead.contains(member) || changed.contains(member);
    let mut staying: Vec<&Member> = members.iter().filter(|member| !leaves(member)).collect();
    staying.extend(&wished);
    let mut actions = down::take_out(&changed, &staying, false, ground)?;
    staying.extend(&changed);
    let clear = down::take_out(&dead, &staying, false, ground)?;
    for member in &wished {
        // What holds now holds no more once it is taken back.
        let anew = changed.iter().chain(&dead).any(|leaving| leaving.host == member.host);
        for fact in member.facts() {
            let action = Action { sense: Sense::Make, fact };
            let made = actions.contains(&action);
            if !made && (anew && !action.fact.is_shared() || !holds(&action.fact, ground)?) {
                actions.push(action);
            }
        }
    }
    let warnings = warnings(segment, ground)?;
    Ok(Plan { clear, actions, members: wished, warnings })
}

/// What the direct path goes round, where the kernel would have looked.
fn warnings(segment: &Segment, ground: Ground) -> Result<Vec<String>> {
    let warning = format!(
        "br_netfilter is on: iptables rules that filter or translate what passes bridge {segment} \
         do not see what is joined; a service address that is translated to a joined container fails"
    );
    Ok(br_netfilter(segment, ground)?.then_some(warning).into_iter().collect())
}

/// Whether what passes the bridge goes through iptables, as Docker has it.
pub fn br_netfilter(segment: &Segment, ground: Ground) -> Result<bool> {
    let (netns, _) = ground.present(&segment.bridge)?;
    let on = |family: &str| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    };
    netns.run(|| on("iptables") || on("ip6tables"))
}

/// The member as it would be joined now, the way it was before; `None` if it is gone from its bridge.
fn again(member: &Member, ground: Ground) -> Result<Option<Member>> {
    let Some(attachment) = ground.attachment(&member.inside)? else { return Ok(None) };
    let bridge = attachment.bridge.as_ref().map(|bridge| &bridge.interface);
    if attachment.host != member.host || bridge != Some(&member.segment.bridge) {
        return Ok(None);
    }
    let ways = Ways { force: false, ..Ways::of(member) };
    match wish(ways, &member.name, &member.segment, &attachment, Some(member), ground) {
        // The user's --force is not for what is not named.
        Err(Error::Occupied { ifname, by }) => {
            Err(Error::OccupiedMember { name: member.name.clone(), ifname, by })
        }
        wished => wished.map(Some),
    }
}

/// What one sends, the other must be ready for: native XDP wants a receiver that polls, and one that trusts
/// checksums wants them of all or of none.
fn refuse_mixed_ways(members: &[Member]) -> Result<()> {
    let way = |member: &Member| match member.checksum {
        Some(ChecksumWay::Trust) => format!("{}, checksum trust", member.datapath),
        _ => member.datapath.to_string(),
    };
    let Some(first) = members.first() else { return Ok(()) };
    match members.iter().find(|member| way(member) != way(first)) {
        // Those who were joined before come last.
        Some(one) => Err(Error::MixedWays {
            one: one.name.clone(),
            one_way: way(one),
            other: first.name.clone(),
            other_way: way(first),
        }),
        None => Ok(()),
    }
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
