//! The plan that makes a chain: from what is wished and what is found to what has to be done.

use std::net::IpAddr;

use xhop_asm::blocks::chain::{MAX_MATCHES, MAX_MEMBERS};

use super::super::choose::mute;
use super::super::fact::{Action, Fact, Sense};
use super::super::ground::Ground;
use super::super::member::{Feature, Readiness};
use super::super::record::Place;
use super::super::way::Datapath;
use super::super::wish::readiness;
use super::super::{Plan, carry};
use super::{Chain, Match, Ready, Stop, VERSION};
use crate::container::{Attachment, Container, Interface};
use crate::sys::bpf::XdpMode;
use crate::sys::ethtool;
use crate::sys::netlink::LinkInfo;
use crate::{Error, Result};

/// Of the far end of a veth, where a stack sends: checksums and tags that it leaves to the device, XDP loses.
const FAR: [&str; 3] = ["tx-checksum-ip-generic", "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];
/// Of any other NIC: a tag that it takes out of the frame, XDP does not see.
const NIC: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// All that xhop has made.
#[derive(Debug)]
pub struct Made {
    /// The chains.
    pub chains: Vec<Chain>,
    /// Where the records of members are.
    pub joined: Vec<Place>,
}

/// The plan that makes a chain from `nic` through `containers`, and `back`. Without `matches` all goes in that is
/// for the last one's addresses. Changes nothing.
pub fn up(
    nic: (Interface, LinkInfo),
    containers: &[Container],
    matches: Vec<Match>,
    back: bool,
    made: &Made,
    ground: Ground,
) -> Result<Plan> {
    let (nic, link) = nic;
    if made.chains.iter().any(|chain| chain.nic == nic) {
        return Err(Error::ChainThere { nic: nic.name });
    }
    let mut warnings = Vec::new();
    let members = stops(&nic, containers, back, made, ground)?;
    let Some((last, of)) = containers.last().zip(members.last()) else {
        return Err(Error::NotForChain { name: nic.name, why: "name at least one container" });
    };
    let matches = checked(matches, last, &of.inside, ground)?;
    refuse_hosts_own(&matches, last, &nic, ground)?;
    refuse_nic(&nic, &link)?;
    warnings.extend(members_mtu(&link, containers));
    let far = far(&nic, &link, ground, &mut warnings)?;
    let features = features(&nic, far.is_some(), ground)?;
    let chain = Chain { version: VERSION, nic, far, features, matches, members, back };
    let mut actions = Vec::new();
    for fact in chain.facts() {
        // What is there already stays.
        if fact != Fact::Bpffs || !carry::holds(&fact, ground)? {
            actions.push(Action { sense: Sense::Make, fact });
        }
    }
    Ok(Plan { actions, chains: vec![chain], warnings, ..Plan::default() })
}

/// The members, as they are to be.
fn stops(
    nic: &Interface,
    containers: &[Container],
    back: bool,
    made: &Made,
    ground: Ground,
) -> Result<Vec<Stop>> {
    let mut stops: Vec<Stop> = Vec::new();
    if containers.len() > MAX_MEMBERS {
        let why = "a chain has at most 8 members: leave some out";
        return Err(Error::NotForChain { name: nic.name.clone(), why });
    }
    for (at, container) in containers.iter().enumerate() {
        let found = the_one(container)?;
        if let Some(other) = stops.iter().find(|stop| stop.host == found.host) {
            let (one, other) = (other.name.clone(), container.name.clone());
            return Err(Error::Same { one, other });
        }
        refuse_member(&container.name, nic, found)?;
        super::refuse_member(&container.name, &found.host, &made.chains)?;
        refuse_joined(&container.name, &found.host, &made.joined)?;
        let last = at + 1 == containers.len();
        if back {
            refuse_way_back(containers, container, found)?;
        }
        if !last || back {
            refuse_occupied(&found.host.name, &found.host_link)?;
        }
        let ready = if last { takes(found, ground)? } else { answers(found)? };
        let mut changed = Vec::new();
        if ready == Ready::Gro {
            changed.push(Feature { name: "rx-gro".into(), was: false, on: true });
        }
        if last && back {
            changed.extend(off(&FAR, |name| ground.feature(&found.host, name))?);
        }
        stops.push(Stop {
            name: container.name.clone(),
            inside: found.inside.clone(),
            host: found.host.clone(),
            mac: found.mac,
            ready,
            features: changed,
        });
    }
    Ok(stops)
}

/// A frame that is larger than the next one takes is dropped (`xdp_ok_fwd_dev`, net/core/filter.c).
fn members_mtu(nic: &LinkInfo, containers: &[Container]) -> Option<String> {
    let smaller = |one: &&Attachment| one.host_link.mtu < nic.mtu;
    let least = containers.iter().flat_map(|one| &one.attachments).find(smaller)?;
    Some(format!(
        "{} takes packets of {} bytes, {} no more than {}: what is larger, and for the chain, is lost",
        nic.name, nic.mtu, least.host.name, least.host_link.mtu
    ))
}

fn the_one(container: &Container) -> Result<&Attachment> {
    match container.attachments.as_slice() {
        [one] => Ok(one),
        several => {
            let veths = several.iter().map(|one| format!("veth:{}", one.host.name));
            let candidates = veths.collect::<Vec<_>>().join(", ");
            Err(Error::Ambiguous { name: container.name.clone(), candidates })
        }
    }
}

fn refuse_member(name: &str, nic: &Interface, found: &Attachment) -> Result<()> {
    let refused = |why| Err(Error::NotForChain { name: name.into(), why });
    match mute(&found.host_link, &found.inside_link, None) {
        Some(why) => refused(why),
        None if found.host == *nic => refused("its host side is the NIC itself: name another NIC"),
        None if found.host.netns != nic.netns => {
            refused("its host side is in another namespace than the NIC: run xhop where both are")
        }
        None => Ok(()),
    }
}

/// What is made for XDP at a container's end is of who is joined, and goes with him.
fn refuse_joined(name: &str, host: &Interface, joined: &[Place]) -> Result<()> {
    let of = |place: &&Place| (place.netns, place.host) == (host.netns, host.ifindex);
    for place in joined.iter().filter(of) {
        let datapath = place.read()?.datapath;
        if datapath != Datapath::Tc {
            return Err(Error::JoinedByXdp { name: name.into(), datapath: datapath.to_string() });
        }
    }
    Ok(())
}

/// Where the way back ends, the kernel must do what it would do with what comes from the last one itself.
fn refuse_way_back(all: &[Container], member: &Container, found: &Attachment) -> Result<()> {
    let refused = |why| Err(Error::NotForChain { name: member.name.clone(), why });
    let first = all.first().and_then(|first| first.attachments.first());
    let bridge = first.and_then(|first| first.bridge.as_ref()).map(|bridge| &bridge.interface);
    match all.len() {
        1 => refused("with --back there are two members or more: add one, or leave --back out"),
        _ if bridge.is_none() || found.bridge.as_ref().map(|on| &on.interface) != bridge => {
            refused(
                "with --back all are on one bridge: leave --back out, or put it on that of the first",
            )
        }
        _ => Ok(()),
    }
}

/// What the last one needs to take frames.
fn takes(found: &Attachment, ground: Ground) -> Result<Ready> {
    Ok(match readiness(&found.host, found, None, ground)? {
        Readiness::Found => Ready::Found,
        Readiness::Gro => Ready::Gro,
        Readiness::Pass => Ready::Pass,
    })
}

/// What another one needs to answer them: a program of its own does, or is to.
fn answers(found: &Attachment) -> Result<Ready> {
    match found.inside_link.xdp.first() {
        None => Ok(Ready::Bounce),
        Some(xdp) if xdp.mode == XdpMode::Native => Ok(Ready::Found),
        Some(_) => {
            let ifname = found.inside.name.clone();
            Err(Error::ChainOccupied { ifname, by: "a generic XDP program".into() })
        }
    }
}

fn refuse_occupied(ifname: &str, link: &LinkInfo) -> Result<()> {
    match link.xdp.first() {
        Some(xdp) => {
            let by = format!("program {}", xdp.prog_id);
            Err(Error::ChainOccupied { ifname: ifname.into(), by })
        }
        None => Ok(()),
    }
}

fn refuse_nic(nic: &Interface, link: &LinkInfo) -> Result<()> {
    let refused = |why| Err(Error::NotForChain { name: nic.name.clone(), why });
    match link.kind.as_deref() {
        Some("bridge") => {
            refused("it is a bridge, which has no native XDP: name the NIC that is its port")
        }
        _ if !link.up => refused("it is down: `ip link set IFNAME up`"),
        _ => refuse_occupied(&nic.name, link),
    }
}

/// What goes in, each once: for addresses that are the last one's.
fn checked(
    mut matches: Vec<Match>,
    last: &Container,
    inside: &Interface,
    ground: Ground,
) -> Result<Vec<Match>> {
    let own = addresses(inside, ground)?;
    if matches.is_empty() {
        let of = |ip: &IpAddr| last.attachments.iter().any(|one| one.addresses.contains(ip));
        let linked = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        matches.extend(own.iter().copied().filter(of).filter(|ip| !linked(ip)).map(Match::of));
    }
    let mut kept: Vec<Match> = Vec::new();
    for one in matches {
        if !own.contains(&one.dst) {
            return Err(Error::NotTheLasts { address: one.dst, last: last.name.clone() });
        }
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    match kept.len() {
        0 => {
            let why = "it has no address that anything could be for: give it one";
            Err(Error::NotForChain { name: last.name.clone(), why })
        }
        n if n > MAX_MATCHES as usize => {
            let why = "a chain has at most 256 matches: leave out ports or protocols";
            Err(Error::NotForChain { name: last.name.clone(), why })
        }
        _ => Ok(kept),
    }
}

/// A container says what its addresses are: it must not take what is for the host.
fn refuse_hosts_own(
    matches: &[Match],
    last: &Container,
    nic: &Interface,
    ground: Ground,
) -> Result<()> {
    let (netns, _) = ground.present(nic)?;
    let rtnl = ground.rtnl(&netns)?;
    let taken = |ip: &IpAddr| matches.iter().any(|one| one.dst == *ip);
    match rtnl.addrs()?.into_iter().find(|addr| taken(&addr.ip)) {
        Some(addr) => {
            let link = rtnl.link_at(addr.ifindex)?;
            let ifname = link.map_or_else(|| "an interface".into(), |link| link.name);
            Err(Error::HostsOwn { address: addr.ip, last: last.name.clone(), ifname })
        }
        None => Ok(()),
    }
}

/// All addresses of a container: one may be on a VLAN's interface.
fn addresses(inside: &Interface, ground: Ground) -> Result<Vec<IpAddr>> {
    let gone = || Error::InterfaceGone { ifname: inside.name.clone() };
    let netns = ground.namespace(inside)?.ok_or_else(gone)?;
    let addrs = ground.rtnl(&netns)?.addrs()?.into_iter();
    Ok(addrs.filter(|addr| !addr.tentative).map(|addr| addr.ip).collect())
}

/// The other end of a NIC that is a veth.
fn far(
    nic: &Interface,
    link: &LinkInfo,
    ground: Ground,
    warnings: &mut Vec<String>,
) -> Result<Option<Interface>> {
    if link.kind.as_deref() != Some("veth") {
        return Ok(None);
    }
    match ground.inside(nic) {
        Ok(far) => Ok(far.map(|(netns, link)| Interface {
            netns: netns.inode(),
            ifindex: link.ifindex,
            name: link.name,
        })),
        Err(Error::Unreachable { .. }) => {
            warnings.push(format!(
                "the other end of {nic} can't be seen from here: what it leaves to the device, checksums and \
                 VLAN tags, is lost in the chain; switch that off there with `ethtool -K IFNAME tx off txvlan off`"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The features that have to be changed, so that XDP sees whole checksums and tags.
fn features(nic: &Interface, far: bool, ground: Ground) -> Result<Vec<Feature>> {
    match far {
        true => off(&FAR, |name| ground.feature(nic, name)),
        false => off(&NIC, |name| ground.own_feature(nic, name)),
    }
}

/// Those of `names` that are on, to be switched off. One that can't be is no reason: few NICs have tags of service
/// providers at all.
fn off(
    names: &[&str],
    found: impl Fn(&str) -> Result<Option<ethtool::Feature>>,
) -> Result<Vec<Feature>> {
    let mut changed = Vec::new();
    for name in names {
        if found(name)?.is_some_and(|found| found.active && !found.fixed) {
            changed.push(Feature { name: (*name).into(), was: true, on: false });
        }
    }
    Ok(changed)
}
