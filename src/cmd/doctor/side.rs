//! One of the two containers, as it is now beside its record.

use std::net::IpAddr;

use super::answer::{Answer, why};
use super::kernel;
use super::shell::word;
use crate::audit::bpf_on;
use crate::cmd::status::{self, State};
use crate::container::{Attachment, Interface, Name, Namespaces, find};
use crate::plan::{Action, Ground, Member, MemberPins, altered, jumbo, listed, sent_to};
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
    /// Where there, and which.
    pub what: String,
}

impl Side {
    /// Finds it. `members` are all that are joined.
    pub fn find(name: &Name, members: &[Member], namespaces: &Namespaces) -> Result<Self> {
        let ground = Ground::new(namespaces);
        let container = find(name, namespaces)?;
        let joined = |a: &Attachment| members.iter().find(|member| member.host == a.host);
        let all = container.attachments;
        let best = all.iter().find(|a| joined(a).is_some());
        let best = best.or(all.iter().find(|a| a.bridge.is_some())).or(all.first());
        let none = || Error::NoVeth { name: container.name.clone() };
        let attachment = best.ok_or_else(none)?.clone();
        let member = joined(&attachment);
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
            name: member.map_or(container.name, |member| member.name.clone()),
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

/// All BPF on both ends, but for what the member's pins hold.
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
            strangers.push(Stranger { at: at.clone(), is_xdp: seen.is_xdp(), what });
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
