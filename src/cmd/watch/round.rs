//! One look at the watched bridges: who has come, who has gone, and who is not as he was. Whatever happens to
//! one container keeps no other from being joined.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::tell::{Event, Teller};
use crate::cmd::up::Join;
use crate::cmd::{lock, lock_now};
use crate::container::{Container, Interface, Namespaces, behind};
use crate::plan::{
    Ground, Member, Plan, Sense, carry_out, choose_on, down, handful, join, not_ready, record,
    rules,
};
use crate::sys::netlink::{Change, LinkInfo};
use crate::{Error, Result};

/// How soon somebody is tried again with whom something is wrong: twice as late each time.
const SOON: Duration = Duration::from_millis(200);
/// And at the latest.
const LATE: Duration = Duration::from_secs(60);
/// How long something may be wrong before it is told: a container takes its time to come and to go.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often somebody may change, or be changed, before he has to wait.
const FREE: u32 = 8;
/// How soon it is looked whether another command is through.
const BUSY: Duration = Duration::from_millis(20);

/// The bridges that are watched.
pub struct Watch {
    /// By name; all if there are none.
    bridges: Vec<String>,
    join: Join,
    teller: Teller,
    /// What was seen of each bridge last: up, looking at VLAN tags. Of other changes its ports tell, and there
    /// are many: each port that comes or goes changes its bridge.
    seen: HashMap<u32, (bool, Option<bool>)>,
    /// Whom to leave in peace for a while, by the index of the host's end.
    held: HashMap<u32, Held>,
    /// Who is ready, and alone on his bridge.
    alone: HashSet<u32>,
    /// The warnings that were told.
    warned: HashSet<String>,
    /// Who was joined just now.
    new: Vec<Member>,
    /// Whether somebody has come of whom nobody knows the name yet.
    nameless: bool,
}

/// Somebody who could not be joined, or had to be mended.
struct Held {
    since: Instant,
    until: Instant,
    step: Duration,
    /// Whether there is something to do then.
    due: bool,
    /// How often he was mended.
    mended: u32,
    /// What was told of him last.
    told: String,
}

impl Held {
    fn put_off(&mut self) {
        self.until = Instant::now() + self.step;
        self.step = (self.step * 2).min(LATE);
    }
}

/// Somebody to look at.
#[derive(Clone)]
struct Candidate {
    host: u32,
    /// Who it is, if he is not joined yet.
    container: Option<Container>,
}

/// What a look is about.
struct Look<'a> {
    bridge: Interface,
    ground: Ground<'a>,
    begun: Instant,
}

impl Watch {
    /// Nothing is known yet.
    pub fn new(bridges: Vec<String>, join: Join, teller: Teller) -> Self {
        let (seen, held, alone, warned, new) = Default::default();
        Self { bridges, join, teller, seen, held, alone, warned, new, nameless: true }
    }

    /// Looks at what has changed, and takes it from `changes`. Gives when to look again though nothing changes.
    pub fn round(&mut self, changes: &mut Vec<Change>) -> Result<Option<Instant>> {
        let begun = Instant::now();
        let Some(_lock) = lock_now()? else { return Ok(Some(begun + BUSY)) };
        let namespaces = Namespaces::find()?;
        let own = namespaces.own()?;
        let links = namespaces.rtnl(&own)?.links()?;
        let changed: HashSet<Change> = changes.drain(..).collect();
        self.forget(&links, own.inode())?;
        self.take_out_the_lost(&links, &namespaces, begun)?;
        for link in links.iter().filter(|link| link.kind.as_deref() == Some("bridge")) {
            if self.watches(&link.name) {
                let bridge = Interface {
                    netns: own.inode(),
                    ifindex: link.ifindex,
                    name: link.name.clone(),
                };
                let look = Look { bridge, ground: Ground::new(&namespaces), begun };
                self.look(&look, link, &links, &changed, &namespaces)?;
            }
        }
        Ok(self.held.values().filter(|held| held.due).map(|held| held.until).min())
    }

    /// Whether this bridge of our own namespace is watched.
    pub fn watches(&self, bridge: &String) -> bool {
        self.bridges.is_empty() || self.bridges.contains(bridge)
    }

    /// Whether somebody has come since whose name nobody knew; at first, whether somebody may be there.
    pub fn has_nameless(&mut self) -> bool {
        std::mem::take(&mut self.nameless)
    }

    /// Takes out all who are joined on the watched bridges.
    pub fn take_all_out(&self) -> Result<()> {
        let _lock = lock(false)?;
        let namespaces = Namespaces::find()?;
        let own = namespaces.own()?.inode();
        let members = record::all()?;
        let watched = |member: &&Member| {
            let bridge = &member.segment.bridge;
            bridge.netns == own && self.watches(&bridge.name)
        };
        let leaving: Vec<Member> = members.iter().filter(watched).cloned().collect();
        let ground = Ground::new(&namespaces);
        carry_out(&down(&leaving, &members, ground)?, ground).map(drop)
    }

    /// Tells that all who can be are joined, and that it goes on.
    pub fn tell_watching(&self) {
        let all = ["all bridges".to_owned()];
        for bridge in if self.bridges.is_empty() { &all[..] } else { &self.bridges } {
            self.tell("watching", bridge, "", None, None);
        }
    }

    /// What is known of interfaces that are gone, but for those that are still to be taken out.
    fn forget(&mut self, links: &[LinkInfo], own: u64) -> Result<()> {
        let mut there: HashSet<u32> = links.iter().map(|link| link.ifindex).collect();
        self.seen.retain(|bridge, _| there.contains(bridge));
        self.alone.retain(|host| there.contains(host));
        let recorded = record::places()?.into_iter().filter(|place| place.netns == own);
        there.extend(recorded.map(|place| place.host));
        let now = Instant::now();
        self.held
            .retain(|host, held| there.contains(host) && (held.due || now < held.until + LATE));
        Ok(())
    }

    /// Takes out who is not on the bridge any more that he was joined on.
    fn take_out_the_lost(
        &mut self,
        links: &[LinkInfo],
        namespaces: &Namespaces,
        begun: Instant,
    ) -> Result<()> {
        let own = namespaces.own()?.inode();
        let mut lost = Vec::new();
        for place in record::places()?.into_iter().filter(|place| place.netns == own) {
            let port = links.iter().find(|link| link.ifindex == place.host);
            let stays = port.is_some_and(|port| {
                let kept = port.isolated == Some(true) || port.locked == Some(true);
                port.master == Some(place.bridge) && (!kept || self.join.force)
            });
            if !stays {
                lost.push(place.read()?);
            }
        }
        lost.retain(|member: &Member| self.watches(&member.segment.bridge.name));
        if lost.is_empty() {
            return Ok(());
        }
        let ground = Ground::new(namespaces);
        let done = down(&lost, &record::all()?, ground).and_then(|plan| carry_out(&plan, ground));
        for member in &lost {
            let bridge = &member.segment.bridge.name;
            match &done {
                Ok(_) => {
                    self.held.remove(&member.host.ifindex);
                    self.tell("left", bridge, &member.name, None, Some(begun));
                }
                Err(error) => self.hold(member.host.ifindex, bridge, &member.name, error),
            }
        }
        Ok(())
    }

    /// Looks at one bridge.
    fn look(
        &mut self,
        look: &Look,
        bridge: &LinkInfo,
        links: &[LinkInfo],
        changed: &HashSet<Change>,
        namespaces: &Namespaces,
    ) -> Result<()> {
        let is_port = |link: &&LinkInfo| {
            link.master == Some(bridge.ifindex) && link.kind.as_deref() == Some("veth")
        };
        let joined: HashSet<u32> = record::places()?
            .iter()
            .filter(|place| (place.netns, place.bridge) == (look.bridge.netns, bridge.ifindex))
            .map(|place| place.host)
            .collect();
        let now = (bridge.up, bridge.vlan_filtering);
        let before = self.seen.insert(bridge.ifindex, now);
        let all = changed.contains(&Change::Lost) || before != Some(now);
        let mut candidates = Vec::new();
        for port in links.iter().filter(is_port) {
            let there = port.link_netnsid.map(Change::There);
            let changed = all
                || changed.contains(&Change::Here(port.ifindex))
                || there.is_some_and(|there| changed.contains(&there));
            if !self.is_due(port.ifindex, changed) {
                continue;
            }
            match joined.contains(&port.ifindex) {
                true => candidates.push(Candidate { host: port.ifindex, container: None }),
                // It may be gone by now, or not yet there.
                false => match behind(port, namespaces) {
                    Ok(Some(container)) if container.attachments.iter().all(ready) => {
                        candidates
                            .push(Candidate { host: port.ifindex, container: Some(container) });
                    }
                    Ok(_) => {}
                    Err(error) => self.hold(port.ifindex, &bridge.name, &port.name, &error),
                },
            }
        }
        if candidates.iter().all(|candidate| self.alone.contains(&candidate.host)) {
            return Ok(());
        }
        let failed = self.join(look, &candidates);
        // Who was alone because of somebody with whom something is wrong.
        let alone: Vec<Candidate> =
            candidates.into_iter().filter(|one| self.alone.contains(&one.host)).collect();
        if failed && alone.len() > 1 {
            self.join(look, &alone);
        }
        self.tell_rules(look);
        Ok(())
    }

    /// Whether this port is to be looked at now.
    fn is_due(&mut self, host: u32, changed: bool) -> bool {
        let due = changed || self.alone.contains(&host);
        match self.held.get_mut(&host) {
            Some(held) if Instant::now() < held.until => {
                held.due |= changed;
                false
            }
            Some(held) => due || std::mem::take(&mut held.due),
            None => due,
        }
    }

    /// Joins as many of them as can be. Says whether something was wrong with somebody.
    fn join(&mut self, look: &Look, candidates: &[Candidate]) -> bool {
        let bridge = look.bridge.name.as_str();
        match (self.try_to_join(look, candidates), candidates) {
            (Ok(plan), _) => {
                self.done(look, candidates, &plan);
                false
            }
            (Err(Error::Alone { .. }), _) => {
                self.alone.extend(candidates.iter().map(|candidate| candidate.host));
                false
            }
            (Err(error), [one]) => {
                self.alone.remove(&one.host);
                let name = one.container.as_ref().map_or("", |container| &container.name);
                self.hold(one.host, bridge, name, &error);
                true
            }
            (Err(_), several) => {
                let (some, others) = several.split_at(several.len() / 2);
                self.join(look, some) | self.join(look, others)
            }
        }
    }

    fn try_to_join(&self, look: &Look, candidates: &[Candidate]) -> Result<Plan> {
        let containers: Vec<Container> =
            candidates.iter().filter_map(|candidate| candidate.container.clone()).collect();
        let doubted = candidates.iter().map(|candidate| candidate.host).collect();
        let chosen = choose_on(look.bridge.clone(), &containers, self.join.force, look.ground)?;
        let places = record::places()?;
        let mut plan = join(&chosen, &doubted, self.join.wishes(), &places, look.ground)?;
        plan.warnings.extend(carry_out(&plan, look.ground)?);
        Ok(plan)
    }

    /// Tells what was done.
    fn done(&mut self, look: &Look, candidates: &[Candidate], plan: &Plan) {
        let bridge = look.bridge.name.as_str();
        for warning in &plan.warnings {
            if self.warned.insert(warning.clone()) {
                self.tell("warning", bridge, "", Some(warning), None);
            }
        }
        for member in plan.left_out() {
            self.tell("left", bridge, &member.name, None, Some(look.begun));
        }
        let made = plan.actions.iter().filter(|action| action.sense == Sense::Make);
        let made: Vec<String> = made.map(ToString::to_string).collect();
        for candidate in candidates {
            self.alone.remove(&candidate.host);
            match &candidate.container {
                Some(container) => {
                    self.held.remove(&candidate.host);
                    self.nameless |= is_nameless(&container.name);
                    self.tell("joined", bridge, &container.name, None, Some(look.begun));
                    let same = |member: &&Member| member.host.ifindex == candidate.host;
                    self.new.extend(plan.members.iter().find(same).cloned());
                }
                // Whoever changes it again and again is not to keep us busy.
                None if !made.is_empty() => {
                    let held = self.held(candidate.host);
                    held.mended += 1;
                    if held.mended > FREE {
                        held.put_off();
                    }
                }
                None => {}
            }
        }
        let alike = candidates.iter().all(|candidate| candidate.container.is_none());
        if alike && !made.is_empty() {
            self.tell("mended", bridge, "", Some(&made.join("; ")), Some(look.begun));
        }
    }

    /// Tells of rules that name who was joined now: last, for there may be many to read.
    fn tell_rules(&mut self, look: &Look) {
        for line in handful(rules(&std::mem::take(&mut self.new), look.ground)) {
            self.tell("warning", &look.bridge.name, "", Some(&line), None);
        }
    }

    /// Tries again later; tells what is wrong if it has been for a while, once.
    fn hold(&mut self, host: u32, bridge: &str, name: &str, error: &Error) {
        let text = error.to_string();
        let held = self.held(host);
        held.due = true;
        held.put_off();
        if held.since.elapsed() > PATIENCE && held.told != text {
            held.told.clone_from(&text);
            self.tell("failed", bridge, name, Some(&text), None);
        }
    }

    fn held(&mut self, host: u32) -> &mut Held {
        let now = Instant::now();
        let (due, mended, told) = Default::default();
        let new = Held { since: now, until: now, step: SOON, due, mended, told };
        self.held.entry(host).or_insert(new)
    }

    /// Tells what has happened; since when it was known.
    pub fn tell(
        &self,
        event: &'static str,
        bridge: &str,
        container: &str,
        what: Option<&str>,
        begun: Option<Instant>,
    ) {
        let container = Some(container).filter(|name| !name.is_empty());
        let milliseconds = begun.map(|begun| begun.elapsed().as_millis() as u64);
        self.teller.tell(&Event { version: 1, event, bridge, container, what, milliseconds });
    }
}

/// Whether it is only known by its host's end.
pub fn is_nameless(name: &str) -> bool {
    name.starts_with("veth:")
}

fn ready(attachment: &crate::container::Attachment) -> bool {
    not_ready(attachment).is_none()
}
