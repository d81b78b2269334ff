//! One of the two containers, as it is now beside its record.

use std::net::IpAddr;

use super::answer::{Answer, why};
use super::kernel;
use crate::audit::bpf_on;
use crate::cmd::status::{self, State};
use crate::container::{Attachment, Interface, Name, Namespaces, find};
use crate::plan::way::{Attach, Spot};
use crate::plan::{Action, Ground, Member, MemberPins, altered, chain, jumbo, listed, sent_to};
use crate::shell::word;
use crate::sys::bpf::Prog;
use crate::sys::netns::Netns;
use crate::{Error, Result};

/// The largest MTU that fits a page with all that native XDP has beside it, whatever the kernel: what is not
/// larger need not be tried.
const USUAL_MTU: u32 = 1500;

/// A container.
#[derive(Clone, PartialEq, Debug)]
pub struct Side {
    /// Its name, with its kind.
    pub name: String,
    /// Its veth.
    pub attachment: Attachment,
    /// What begins a command that is to run where its end is, and where the host's end is: `nsenter --net=PATH `,
    /// or nothing.
    pub inside_at: String,
    /// Likewise.
    pub host_at: String,
    /// How it is joined, if it is.
    pub joined: Option<Joined>,
    /// Programs that are not ours on either end.
    pub strangers: Vec<Stranger>,
    /// How the kernel refuses native XDP beside an end with this MTU, if it does.
    pub native_refused: Option<String>,
}

/// How it is joined.
#[derive(Clone, PartialEq, Debug)]
pub struct Joined {
    /// Its record.
    pub member: Member,
    /// As `status` has it.
    pub state: State,
    /// What `up` would set again.
    pub altered: Vec<Action>,
    /// Whether GRO is on at its end.
    pub gro: Option<bool>,
    /// Where our tables send its present addresses.
    pub sent_to: Vec<(IpAddr, Sent)>,
}

/// Where our tables send an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// To its own veth, which may be redirected to.
    Home,
    /// Nowhere.
    Nowhere,
    /// To an interface that is no joined container's.
    Astray(u32),
    /// To another joined container.
    Other(String),
}

/// A program that is not ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stranger {
    /// The interface.
    pub at: Interface,
    /// Whether it is XDP.
    pub is_xdp: bool,
    /// Whether it has what the interface sends; else, what it receives.
    pub egress: bool,
    /// Where there, and which.
    pub what: String,
}

impl Side {
    /// Finds both, by the veths by which they are together. `members` are all that are joined.
    pub fn pair(
        names: [&Name; 2],
        members: &[Member],
        namespaces: &Namespaces,
    ) -> Result<[Self; 2]> {
        let [one, other] = [find(names[0], namespaces)?, find(names[1], namespaces)?];
        for container in [&one, &other] {
            if container.attachments.is_empty() {
                return Err(Error::NoVeth { name: container.name.clone() });
            }
        }
        let Some([a, b]) = together(&one.attachments, &other.attachments, members) else {
            return Err(Error::Same { one: one.name, other: other.name });
        };
        let side = |name: &str, at: &Attachment| Self::of(name, at.clone(), members, namespaces);
        Ok([side(&one.name, a)?, side(&other.name, b)?])
    }

    /// The container of this name, by this veth.
    fn of(
        name: &str,
        attachment: Attachment,
        members: &[Member],
        namespaces: &Namespaces,
    ) -> Result<Self> {
        let ground = Ground::new(namespaces);
        let member = record_of(&attachment, members);
        let enter = |at: &Interface| -> Result<String> {
            let netns = namespaces.by_inode(at.netns)?;
            let own = ground.is_own(at)?;
            Ok(netns.filter(|_| !own).map_or(String::new(), |netns| {
                format!("nsenter --net={} ", word(netns.path().display()))
            }))
        };
        let joined = member.map(|member| Joined::of(member, &attachment, members, ground));
        let joined = joined.transpose()?;
        let attached = joined.as_ref().is_some_and(|joined| joined.is_attached());
        Ok(Self {
            name: member.map_or(name.to_owned(), |member| member.name.clone()),
            inside_at: enter(&attachment.inside)?,
            host_at: enter(&attachment.host)?,
            strangers: strangers(&attachment, member, ground)?,
            native_refused: (!attached).then(|| native_refused(&attachment)).flatten(),
            joined,
            attachment,
        })
    }

    /// Its namespace, and that of the host's end.
    pub fn namespaces(&self, all: &Namespaces) -> Result<[std::rc::Rc<Netns>; 2]> {
        let open = |at: &Interface| all.by_inode(at.netns)?.ok_or(Error::NamespaceGone);
        Ok([open(&self.attachment.inside)?, open(&self.attachment.host)?])
    }

    /// Its record.
    pub fn member(&self) -> Option<&Member> {
        self.joined.as_ref().map(|joined| &joined.member)
    }

    /// Programs that are not ours on this interface of it.
    pub fn strangers_on<'a>(&'a self, at: &'a Interface) -> impl Iterator<Item = &'a Stranger> {
        self.strangers.iter().filter(move |stranger| stranger.at == *at)
    }
}

fn record_of<'a>(at: &Attachment, members: &'a [Member]) -> Option<&'a Member> {
    members.iter().find(|member| member.host == at.host)
}

/// By which veth of each they are together: on one bridge, best as they were joined. `None` if they have one in
/// common: they are the same.
fn together<'a>(
    one: &'a [Attachment],
    other: &'a [Attachment],
    members: &[Member],
) -> Option<[&'a Attachment; 2]> {
    let bridge = |at: &'a Attachment| at.bridge.as_ref().map(|bridge| &bridge.interface);
    // The greater, the better.
    let fits = |[a, b]: [&'a Attachment; 2]| {
        let records = [a, b].map(|at| record_of(at, members));
        let segment = records.map(|record| record.map(|record| &record.segment));
        let bridges = [bridge(a), bridge(b)];
        let number = |of: &[bool]| of.iter().filter(|is_so| **is_so).count();
        (
            segment[0].is_some() && segment[0] == segment[1],
            bridges[0].is_some() && bridges[0] == bridges[1],
            number(&records.map(|record| record.is_some())),
            number(&bridges.map(|bridge| bridge.is_some())),
        )
    };
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| [a, b]));
    let mut best: Option<[&Attachment; 2]> = None;
    for pair in pairs {
        if pair[0].host == pair[1].host {
            return None;
        }
        // The first of those that fit as well.
        if best.is_none_or(|best| fits(pair) > fits(best)) {
            best = Some(pair);
        }
    }
    best
}

impl Joined {
    fn of(
        member: &Member,
        attachment: &Attachment,
        members: &[Member],
        ground: Ground,
    ) -> Result<Self> {
        let pins = MemberPins::of(&member.segment, &member.host);
        let (_, spot) = member.on_host();
        let attached = ground.attached(&member.host, spot, member.attach, &pins.forward())?;
        let sent_to = attachment.addresses.iter().map(|ip| Ok((*ip, sent(*ip, member, members)?)));
        Ok(Self {
            state: status::state(member, attached, ground)?,
            altered: altered(member, members, &mut jumbo::Found::new(ground), ground)?,
            gro: ground.feature(&member.host, "rx-gro").ok().flatten().map(|gro| gro.active),
            sent_to: sent_to.collect::<Result<_>>()?,
            member: member.clone(),
        })
    }

    /// Whether its program runs.
    pub fn is_attached(&self) -> bool {
        !matches!(self.state, State::Detached | State::Unpinned | State::Gone)
    }
}

fn sent(ip: IpAddr, member: &Member, members: &[Member]) -> Result<Sent> {
    let Some(ifindex) = sent_to(&member.segment, ip)? else { return Ok(Sent::Nowhere) };
    let there = |other: &&Member| other.host.ifindex == ifindex && other.segment == member.segment;
    Ok(match members.iter().find(there) {
        Some(other) if other.host != member.host => Sent::Other(other.name.clone()),
        Some(_) if listed(&member.segment, &member.host)? == Some(true) => Sent::Home,
        _ => Sent::Astray(ifindex),
    })
}

/// All BPF on both ends, but for what the pins of the member and of chains hold.
fn strangers(
    attachment: &Attachment,
    member: Option<&Member>,
    ground: Ground,
) -> Result<Vec<Stranger>> {
    let mut ours = Vec::new();
    if let Some(member) = member {
        let pins = MemberPins::of(&member.segment, &member.host);
        let inside = member.inside_programs().into_iter();
        let inside = inside.map(|program| {
            (&member.inside, crate::plan::way::inside_spot(program), pins.inside(program))
        });
        let (_, spot) = member.on_host();
        for (at, spot, pin) in inside.chain([(&member.host, spot, pins.forward())]) {
            let held = ground.held(at, spot, member.attach, &pin)?;
            ours.extend(held.map(|prog| prog.info()).transpose()?.map(|info| info.id));
            ours.extend(ground.unpinned(at, spot)?.map(|(_, id, _)| id));
        }
    }
    for chain in chain::record::all()? {
        let ends = [&attachment.host, &attachment.inside];
        for place in chain.places().iter().filter(|place| ends.contains(&place.at)) {
            let held = ground.held(place.at, Spot::Native, Attach::Link, &place.pin(&chain))?;
            ours.extend(held.map(|prog| prog.info()).transpose()?.map(|info| info.id));
        }
    }
    let mut strangers = Vec::new();
    for at in [&attachment.host, &attachment.inside] {
        let Some((netns, link)) = ground.link(at)? else { continue };
        for seen in bpf_on(&netns, &link)? {
            if seen.prog_id.is_some_and(|id| ours.contains(&id)) {
                continue;
            }
            let name = seen.prog_id.and_then(|id| Some(Prog::by_id(id).ok()?.info().ok()?.name));
            let program = seen.prog_id.map_or("classic BPF".into(), |id| format!("program {id}"));
            let name = name.filter(|name| !name.is_empty());
            let name = name.map_or(String::new(), |name| format!(" ({})", name.escape_debug()));
            let what = format!("{program}{name}, {}", seen.seat);
            let egress = seen.seat.is_egress();
            strangers.push(Stranger { at: at.clone(), is_xdp: seen.is_xdp(), egress, what });
        }
    }
    Ok(strangers)
}

/// Tried elsewhere, on a veth with the same MTU.
fn native_refused(attachment: &Attachment) -> Option<String> {
    let mtu = Some(attachment.inside_link.mtu).filter(|mtu| *mtu > USUAL_MTU)?;
    let tried = kernel::native_beside(mtu);
    match (Answer::of(&tried), tried) {
        (Answer::No(_), Err(error)) => Some(why(&error)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::side;
    use super::*;
    use crate::container::Bridge;
    use crate::plan::Segment;
    use crate::plan::way::Datapath;

    /// A veth of container `n` on this bridge.
    fn veth(n: u8, bridge: u32) -> Attachment {
        let mut at = side(n, Datapath::Tc).attachment;
        at.host.ifindex = u32::from(n) * 100 + bridge;
        let interface = Interface { netns: 9, ifindex: bridge, name: format!("br{bridge}") };
        at.bridge = Some(Bridge { interface, link: Default::default() });
        at
    }

    fn member(at: &Attachment, bridge: u32) -> Member {
        let joined = side(1, Datapath::Tc).joined.expect("joined");
        let bridge = Interface { netns: 9, ifindex: bridge, name: String::new() };
        Member { host: at.host.clone(), segment: Segment { bridge }, ..joined.member }
    }

    #[test]
    fn the_veths_by_which_they_are_together() {
        let (one, other) = ([veth(1, 11), veth(1, 12), veth(1, 13)], [veth(2, 14), veth(2, 12)]);
        let chosen = |members: &[Member]| {
            let found = together(&one, &other, members).expect("two");
            found.map(|at| at.bridge.as_ref().expect("a bridge").interface.ifindex)
        };
        assert_eq!(chosen(&[]), [12, 12]);
        // One is joined with somebody else, by another.
        assert_eq!(chosen(&[member(&one[0], 11)]), [12, 12]);
        assert_eq!(chosen(&[member(&one[0], 11), member(&other[0], 14)]), [12, 12]);
        let pair = [member(&one[0], 11), member(&one[1], 12), member(&other[1], 12)];
        assert_eq!(chosen(&pair), [12, 12]);
        // They were joined on one bridge, and one has moved.
        assert_eq!(chosen(&[member(&one[2], 13), member(&other[0], 13)]), [13, 14]);
        let apart = together(&one[..1], &other[..1], &[]).expect("two");
        assert_eq!(apart.map(|at| at.host.ifindex), [111, 214]);
        assert_eq!(together(&one, &one[1..], &[]), None);
    }
}
