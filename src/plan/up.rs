//! The plan of `up`: from what is wished and what is found to what has to be done.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::carry::holds;
use super::choose::{Chosen, choose};
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo;
use super::member::Member;
use super::record::Place;
use super::segment::Segment;
use super::sound::sound;
use super::way::{ChecksumWay, Ways, Wishes};
use super::wish::{native_inside, wish};
use super::{Plan, down, tables};
use crate::container::Container;
use crate::{Error, Result};

/// The plan that joins the containers with each other and with those that are joined on their bridge
/// already. `places` are those of all records there are. Changes nothing.
pub fn up(
    containers: &[Container],
    wishes: Wishes,
    places: &[Place],
    ground: Ground,
) -> Result<Plan> {
    let chosen = choose(containers, wishes.force, ground)?;
    join(&chosen, &HashSet::new(), wishes, places, ground)
}

/// The same, of those who are chosen. Who is joined already, and not chosen, is looked at only if something
/// tells that he is not as he was, or if the index of his host's end is among the `doubted`.
pub fn join(
    chosen: &Chosen,
    doubted: &HashSet<u32>,
    wishes: Wishes,
    places: &[Place],
    ground: Ground,
) -> Result<Plan> {
    let segment = &chosen.segment;
    let named: HashSet<_> =
        chosen.attachments.iter().map(|(_, a)| (a.host.netns, a.host.ifindex)).collect();
    let mut sound = sound(segment, ground)?;
    sound.retain(|host| !doubted.contains(host));
    // What has been on this bridge, and what is named now wherever it has been.
    let mut found = Found { live: Vec::new(), dead: Vec::new() };
    let (mut others, mut doubtful) = (BTreeMap::new(), Vec::new());
    for place in places {
        if named.contains(&(place.netns, place.host)) {
            found.look(place, ground)?;
        } else if place.is_on(segment) && sound.contains(&place.host) {
            others.insert(place.host, place);
        } else if place.is_on(segment) {
            doubtful.push(place);
        }
    }
    let one = others.values().chain(&doubtful).next().map(|place| place.read()).transpose()?;
    let native = native_inside(&chosen.attachments, &found.live, ground)?;
    let ways = wishes.settle(one.map(|member| (member.datapath, member.checksum)), native)?;
    let mut wished = Vec::new();
    for (name, attachment) in &chosen.attachments {
        let same = |m: &&Member| (&m.host, &m.inside) == (&attachment.host, &attachment.inside);
        let before = found.live.iter().find(same);
        wished.push(wish(ways, name, segment, attachment, before, ground)?);
    }
    for place in doubtful {
        wished.extend(found.again(place, ground)?);
    }
    // Who had an address that is somebody else's now is no more what he was.
    let mut asked = 0;
    while let Some(member) = wished.get(asked).filter(|_| !others.is_empty()) {
        asked += 1;
        for place in holders(member, &mut others)? {
            wished.extend(found.again(place, ground)?);
        }
    }
    refuse_shared_addresses(&wished)?;
    // All on a bridge are joined alike: one tells of the others.
    let kin = kin(&wished, &found, &others)?;
    refuse_mixed_ways(wished.iter().chain(&kin))?;
    if let ([alone], true) = (wished.as_slice(), others.is_empty()) {
        return Err(Error::Alone { name: alone.name.clone() });
    }
    let Found { live: mut changed, dead } = found;
    changed.retain(|member| !wished.contains(member));
    let left = |list: &[Member], place: &Place| list.iter().any(|member| place.is_for(member));
    let stands = |on: &Segment, place: &Place| place.is_on(on) && !left(&dead, place);
    // They may all be gone, if nobody is named.
    let lives = !wished.is_empty() || !others.is_empty();
    let lives = |on: &Segment| lives && on == segment;
    let after = |on: &Segment| {
        lives(on) || places.iter().any(|place| stands(on, place) && !left(&changed, place))
    };
    let staying: Vec<&Member> = wished.iter().chain(&kin).collect();
    let mut actions = down::take_out(&changed, &after, &staying, false, ground)?;
    let before = |on: &Segment| lives(on) || places.iter().any(|place| stands(on, place));
    let still: Vec<&Member> = staying.iter().copied().chain(&changed).collect();
    let clear = down::take_out(&dead, &before, &still, false, ground)?;
    // What holds now holds no more once it is taken back.
    let anew = |member: &Member| changed.iter().chain(&dead).any(|m| m.host == member.host);
    let mut shared: Vec<Fact> = Vec::new();
    for member in &wished {
        let anew = anew(member);
        for fact in member.facts() {
            if fact.is_shared() && shared.contains(&fact) {
                continue;
            }
            if anew && !fact.is_shared() || !holds(&fact, ground)? {
                actions.push(Action { sense: Sense::Make, fact: fact.clone() });
            }
            if fact.is_shared() {
                shared.push(fact);
            }
        }
    }
    // Last, when both ends take large packets.
    for (at, one) in wished.iter().enumerate() {
        for other in wished.iter().skip(at + 1).chain(&kin) {
            for fact in jumbo::routes_between(one, other) {
                if anew(one) || anew(other) || !holds(&fact, ground)? {
                    actions.push(Action { sense: Sense::Make, fact });
                }
            }
        }
    }
    let warnings = warnings(segment, ground)?;
    let others = others.into_values().cloned().collect();
    let mended = Some(segment.clone());
    Ok(Plan { clear, actions, members: wished, others, mended, warnings })
}

/// The records that were read, by whether their veth is still there.
struct Found {
    live: Vec<Member>,
    dead: Vec<Member>,
}

impl Found {
    /// Reads one; gives its member if that is there.
    fn look(&mut self, place: &Place, ground: Ground) -> Result<Option<&Member>> {
        let member = place.read()?;
        if ground.alive(&member)? {
            self.live.push(member);
            return Ok(self.live.last());
        }
        self.dead.push(member);
        Ok(None)
    }

    /// The member as it would be joined now: what is joined already and not named stays as it is, with the
    /// addresses that it has now.
    fn again(&mut self, place: &Place, ground: Ground) -> Result<Option<Member>> {
        self.look(place, ground)?.map_or(Ok(None), |member| again(member, ground))
    }
}

/// Of the others as many as have to be known: all, if anybody takes large packets, since those who do have
/// routes to each other; else one.
fn kin(wished: &[Member], found: &Found, others: &BTreeMap<u32, &Place>) -> Result<Vec<Member>> {
    let mut known = wished.iter().chain(&found.live).chain(&found.dead);
    let large = known.any(|member| member.bridge_mtu.is_some());
    others.values().take(if large { others.len() } else { 1 }).map(|place| place.read()).collect()
}

/// Which of the others have an address that is this member's now: they are no more among them.
fn holders<'a>(member: &Member, others: &mut BTreeMap<u32, &'a Place>) -> Result<Vec<&'a Place>> {
    let mut holders = Vec::new();
    for address in &member.addresses {
        let host = tables::sent_to(&member.segment, *address)?;
        holders.extend(host.and_then(|host| others.remove(&host)));
    }
    Ok(holders)
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
fn refuse_mixed_ways<'a>(mut members: impl Iterator<Item = &'a Member>) -> Result<()> {
    let way = |member: &Member| match member.checksum {
        Some(ChecksumWay::Trust) => format!("{}, checksum trust", member.datapath),
        _ => member.datapath.to_string(),
    };
    let Some(first) = members.next() else { return Ok(()) };
    match members.find(|member| way(member) != way(first)) {
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
