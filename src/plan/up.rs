//! The plan of `up`: from what is wished and what is found to what has to be done.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::carry::holds;
use super::choose::{Chosen, choose};
use super::down::TakeOut;
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo::{self, Instead, Route};
use super::member::Member;
use super::record::Place;
use super::segment::Segment;
use super::sound::sound;
use super::way::{ChecksumWay, Ways, Wishes};
use super::wish::{native_inside, wish};
use super::{Plan, tables};
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
    let sight = look(chosen, doubted, wishes, places, ground)?;
    refuse_shared_addresses(&sight.wished)?;
    // All on a bridge are joined alike: one tells of the others.
    refuse_mixed_ways(sight.staying())?;
    if let ([alone], true) = (sight.wished.as_slice(), sight.others.is_empty()) {
        return Err(Error::Alone { name: alone.name.clone() });
    }
    let mut plan = Plan { warnings: warnings(segment, ground)?, ..Plan::default() };
    let mut routes = jumbo::Found::new(ground);
    let wanted = sight.routes();
    take_out(&sight, segment, places, &wanted, &mut routes, &mut plan, ground)?;
    make_members(&sight, &mut plan.actions, ground)?;
    // Last, when both ends take large packets.
    make_routes(&sight, &wanted, &mut routes, &mut plan)?;
    plan.others = sight.others.into_values().cloned().collect();
    plan.members = sight.wished;
    plan.mended = Some(segment.clone());
    Ok(plan)
}

/// Who there is.
struct Sight<'p> {
    /// Who is named, or has to be looked at, as he is to be.
    wished: Vec<Member>,
    /// Those whose records were read, as they were.
    found: Found,
    /// Who stays as he is.
    others: BTreeMap<u32, &'p Place>,
    /// As many of them as have to be known.
    kin: Vec<Member>,
}

/// Looks at who has been on this bridge, and at who is named now wherever he has been.
fn look<'p>(
    chosen: &Chosen,
    doubted: &HashSet<u32>,
    wishes: Wishes,
    places: &'p [Place],
    ground: Ground,
) -> Result<Sight<'p>> {
    let segment = &chosen.segment;
    let named: HashSet<_> =
        chosen.attachments.iter().map(|(_, a)| (a.host.netns, a.host.ifindex)).collect();
    let mut sound = sound(segment, ground)?;
    sound.retain(|host| !doubted.contains(host));
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
    let here = |member: &&Member| member.segment == *segment;
    let one = one.as_ref().or_else(|| found.live.iter().find(here));
    let native = native_inside(&chosen.attachments, &found.live, ground)?;
    let mut wished = Vec::new();
    for (name, attachment) in &chosen.attachments {
        let same = |m: &&Member| (&m.host, &m.inside) == (&attachment.host, &attachment.inside);
        let before = found.live.iter().find(same);
        // As he is joined himself, or else as others are.
        let ways = wishes.settle(before.filter(here).or(one).map(Ways::of), native)?;
        wished.push(wish(ways, name, segment, attachment, before, ground)?);
    }
    if wished.iter().any(|member| member.bridge_mtu.is_some()) {
        let noted = noted_mtu(others.values().chain(&doubtful), &found, segment)?;
        for mtu in wished.iter_mut().filter_map(|member| member.bridge_mtu.as_mut()) {
            *mtu = noted.unwrap_or(*mtu);
        }
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
    let kin = kin(&wished, &found, &others)?;
    Ok(Sight { wished, found, others, kin })
}

/// The bridge's MTU as it was noted first: one for all of its members.
fn noted_mtu<'p>(
    mut joined: impl Iterator<Item = &'p &'p Place>,
    found: &Found,
    segment: &Segment,
) -> Result<Option<u32>> {
    let here = |member: &&Member| member.segment == *segment;
    let known = found.live.iter().chain(&found.dead).filter(here);
    match known.filter_map(|member| member.bridge_mtu).next() {
        Some(mtu) => Ok(Some(mtu)),
        None => joined.find_map(|place| place.read().map(|m| m.bridge_mtu).transpose()).transpose(),
    }
}

impl Sight<'_> {
    /// All who are joined in the end, as far as they are known.
    fn staying(&self) -> impl Iterator<Item = &Member> {
        self.wished.iter().chain(&self.kin)
    }

    /// Those who are not as they are to be, or are elsewhere.
    fn changed(&self) -> Vec<Member> {
        let live = self.found.live.iter();
        live.filter(|member| !self.wished.contains(member)).cloned().collect()
    }

    /// Whether what holds of a member now holds no more once that is taken back.
    fn is_anew(&self, member: &Member) -> bool {
        let Found { live, dead } = &self.found;
        let changed = live.iter().filter(|before| !before.is_alike(member));
        changed.chain(dead).any(|before| before.host == member.host)
    }

    /// All routes from and to those who are looked at.
    fn routes(&self) -> HashSet<Route> {
        let mut routes = HashSet::new();
        for (at, one) in self.wished.iter().enumerate() {
            for other in self.wished.iter().skip(at + 1).chain(&self.kin) {
                routes.extend(jumbo::routes(one, other));
                routes.extend(jumbo::routes(other, one));
            }
        }
        routes
    }
}

/// Who is gone is taken out for good; who is to be otherwise, so that it can be taken back.
fn take_out(
    sight: &Sight,
    segment: &Segment,
    places: &[Place],
    kept: &HashSet<Route>,
    routes: &mut jumbo::Found,
    plan: &mut Plan,
    ground: Ground,
) -> Result<()> {
    let (changed, dead) = (sight.changed(), &sight.found.dead);
    let left = |list: &[Member], place: &Place| list.iter().any(|member| place.is_for(member));
    let stands = |on: &Segment, place: &Place| place.is_on(on) && !left(dead, place);
    // They may all be gone, if nobody is named.
    let lives = !sight.wished.is_empty() || !sight.others.is_empty();
    let lives = |on: &Segment| lives && on == segment;
    let before = |on: &Segment| lives(on) || places.iter().any(|place| stands(on, place));
    let after = |on: &Segment| {
        lives(on) || places.iter().any(|place| stands(on, place) && !left(&changed, place))
    };
    let staying: Vec<&Member> = sight.staying().collect();
    let still: Vec<&Member> = staying.iter().copied().chain(&changed).collect();
    let out = TakeOut { needed: &before, kin: &still, kept, wished: &[], unmount: false };
    plan.clear = out.plan(dead, routes, &mut plan.warnings, ground)?;
    let out =
        TakeOut { needed: &after, kin: &staying, kept, wished: &sight.wished, unmount: false };
    plan.actions = out.plan(&changed, routes, &mut plan.warnings, ground)?;
    Ok(())
}

/// What has to be done for those who are looked at. What others stand on too is looked at for all.
fn make_members(sight: &Sight, actions: &mut Vec<Action>, ground: Ground) -> Result<()> {
    let mut shared: Vec<Fact> = Vec::new();
    let wished = sight.wished.iter().map(|member| (member, sight.is_anew(member)));
    let others = sight.kin.iter().map(|member| (member, false));
    let rewritten: Vec<Fact> = actions.iter().filter_map(Action::rewritten).collect();
    for (at, (member, anew)) in wished.chain(others).enumerate() {
        let looked_at = at < sight.wished.len();
        for fact in member.facts() {
            if rewritten.contains(&fact)
                || !fact.is_shared() && !looked_at
                || fact.is_shared() && shared.contains(&fact)
            {
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
    Ok(())
}

/// The routes that are missing. Where a container has one of its own, that stays.
fn make_routes(
    sight: &Sight,
    wanted: &HashSet<Route>,
    routes: &mut jumbo::Found,
    plan: &mut Plan,
) -> Result<()> {
    for from in sight.staying() {
        for route in sight.staying().flat_map(|to| jumbo::routes(from, to)) {
            if !wanted.contains(&route) || routes.has(&route)? {
                continue;
            }
            match routes.instead(&route)? {
                Instead::Direct(_) => {
                    plan.actions.push(Action { sense: Sense::Make, fact: Fact::Route(route) });
                }
                Instead::Own => plan.warnings.push(jumbo::own_route(&from.name, route.to)),
                Instead::Elsewhere => {}
            }
        }
    }
    Ok(())
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
    let on = br_netfilter(segment, ground)?.contains(&true);
    Ok(on.then_some(warning).into_iter().collect())
}

/// Whether what passes the bridge goes through iptables, as Docker has it: of IPv4, and of IPv6.
pub fn br_netfilter(segment: &Segment, ground: Ground) -> Result<[bool; 2]> {
    let (netns, _) = ground.present(&segment.bridge)?;
    let on = |family: &str| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    };
    netns.run(|| ["iptables", "ip6tables"].map(on))
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
