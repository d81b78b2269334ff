//! The plan of `up`: from what is wished and what is found to what has to be done.

use super::carry::holds;
use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::member::{Attach, ChecksumWay, Datapath, Feature, Member, Readiness, Replaced, VERSION};
use super::pins::MemberPins;
use super::segment::Segment;
use super::{Plan, down};
use crate::container::{Attachment, Container, Interface, docker};
use crate::sys::bpf::{Link, ObjKind, XdpMode, ids};
use crate::sys::kernel;
use crate::sys::netlink::netdev::{NETDEV_XDP_ACT_NDO_XMIT, xdp_features};
use crate::{Error, Result};

/// What the user wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The containers to join.
    pub containers: &'a [Container],
    /// By which hook.
    pub datapath: Datapath,
    /// What is done about checksums.
    pub checksum: ChecksumWay,
    /// How programs are attached.
    pub attach: Attach,
    /// Take foreign programs off, and join what the kernel's own path would keep apart.
    pub force: bool,
}

/// The plan that joins the wished containers with each other and with those that are joined on their
/// bridge already. `members` are all records there are. Changes nothing.
pub fn up(wish: Wish, members: &[Member], ground: Ground) -> Result<Plan> {
    let chosen = choose(wish, ground)?;
    let segment = chosen.segment;
    let here: Vec<&Member> = members.iter().filter(|member| member.segment == segment).collect();
    let wished = chosen
        .attachments
        .iter()
        .map(|(name, attachment)| {
            let before = here.iter().find(|member| member.host == attachment.host).copied();
            member(wish, name, &segment, attachment, before, ground)
        })
        .collect::<Result<Vec<_>>>()?;

    // Who is joined already, is not named now, and still there: those stay as they are.
    let (mut staying, mut leaving) = (Vec::new(), Vec::new());
    for member in here {
        match wished.iter().find(|wished| wished.host == member.host) {
            Some(wished) if member.serves(wished) => {}
            Some(_) => leaving.push(member),
            None if alive(member, ground)? => staying.push(member),
            None => leaving.push(member),
        }
    }
    refuse_shared_addresses(wished.iter().chain(staying.iter().copied()))?;
    if wished.len() + staying.len() < 2 {
        let name = wished.first().map_or(String::new(), |member| member.name.clone());
        return Err(Error::Alone { name });
    }

    let mut actions: Vec<Action> = leaving.iter().copied().flat_map(down::undo_member).collect();
    let mut make = |fact| actions.push(Action { sense: Sense::Make, fact });
    for fact in [Fact::Bpffs, Fact::Maps { segment: segment.clone() }] {
        if !holds(&fact, ground)? {
            make(fact);
        }
    }
    for member in &wished {
        // What holds now holds no more once it is taken back.
        let anew = leaving.iter().any(|leaving| leaving.host == member.host);
        for fact in member.facts() {
            if anew || !holds(&fact, ground)? {
                make(fact);
            }
        }
    }
    let members = wished.into_iter().chain(staying.into_iter().cloned()).collect();
    Ok(Plan { actions, members })
}

struct Chosen<'a> {
    segment: Segment,
    /// Each container's name, and the veth by which it is on the bridge.
    attachments: Vec<(&'a str, &'a Attachment)>,
}

/// The one bridge that all containers are on.
fn choose<'a>(wish: Wish<'a>, ground: Ground) -> Result<Chosen<'a>> {
    let bridge = shared_bridge(wish.containers)?;
    if !wish.force && ground.is_own(&bridge)? && docker::isolates(&bridge.name)? {
        return Err(Error::NotAllowed {
            name: bridge.name,
            why: "Docker keeps its containers from each other (enable_icc=false): --force joins them all the same",
        });
    }
    let mut attachments: Vec<(&str, &Attachment)> = Vec::new();
    for container in wish.containers {
        let found = the_one_on(container, &bridge)?;
        refuse_filtered(&container.name, found, wish.force)?;
        if let Some((one, _)) = attachments.iter().find(|(_, other)| other.host == found.host) {
            let one = (*one).to_string();
            return Err(Error::Same { one, other: container.name.clone() });
        }
        attachments.push((&container.name, found));
    }
    Ok(Chosen { segment: Segment { bridge }, attachments })
}

fn shared_bridge(containers: &[Container]) -> Result<Interface> {
    let bridges = |container: &Container| -> Result<Vec<Interface>> {
        let mut on: Vec<Interface> = Vec::new();
        for bridge in container.attachments.iter().filter_map(|a| a.bridge.as_ref()) {
            if !on.contains(&bridge.interface) {
                on.push(bridge.interface.clone());
            }
        }
        let host = || container.attachments.first().map_or(String::new(), |a| a.host.name.clone());
        match on.is_empty() {
            true => Err(Error::NoBridge { name: container.name.clone(), host: host() }),
            false => Ok(on),
        }
    };
    let names = |list: &[Interface]| {
        list.iter().map(|bridge| bridge.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut shared: Option<(Vec<Interface>, &str)> = None;
    for container in containers {
        let on = bridges(container)?;
        let common = match &shared {
            None => on,
            Some((before, first)) => {
                let common: Vec<_> = on.iter().filter(|b| before.contains(b)).cloned().collect();
                if common.is_empty() {
                    return Err(Error::DifferentBridges {
                        one: (*first).to_string(),
                        one_on: names(before),
                        other: container.name.clone(),
                        other_on: names(&on),
                    });
                }
                common
            }
        };
        shared = Some((common, shared.map_or(&container.name, |(_, first)| first)));
    }
    let (shared, _) = shared.unwrap_or_default();
    match shared.as_slice() {
        [one] => Ok(one.clone()),
        several => Err(Error::SeveralBridges { bridges: names(several) }),
    }
}

fn the_one_on<'a>(container: &'a Container, bridge: &Interface) -> Result<&'a Attachment> {
    let on = |a: &&Attachment| a.bridge.as_ref().is_some_and(|b| b.interface == *bridge);
    let mut found = container.attachments.iter().filter(on);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(Error::Ambiguous {
            name: container.name.clone(),
            candidates: format!("veth:{}, veth:{}", one.host.name, other.host.name),
        }),
        _ => Err(Error::NoBridge { name: container.name.clone(), host: String::new() }),
    }
}

/// What the bridge would not carry is not joined behind its back.
fn refuse_filtered(name: &str, attachment: &Attachment, force: bool) -> Result<()> {
    let refused = |why| Err(Error::NotAllowed { name: name.into(), why });
    if !attachment.host_link.up || !attachment.inside_link.up {
        return refused("its veth is down: `ip link set IFNAME up` on both ends");
    }
    if attachment.addresses.is_empty() {
        return refused("it has no IP address yet: give it one, then run up again");
    }
    match &attachment.bridge {
        Some(bridge) if bridge.isolated && !force => {
            refused("its port is isolated on the bridge: --force joins it all the same")
        }
        Some(bridge) if bridge.vlan_filtering && !force => refused(
            "its bridge filters VLANs, and may keep the containers apart: --force joins them all the same",
        ),
        _ => Ok(()),
    }
}

fn refuse_shared_addresses<'a>(members: impl Iterator<Item = &'a Member>) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
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

/// The member that the container shall be. What was changed for it before counts as found: its old
/// values are those of the record.
fn member(
    wish: Wish,
    name: &str,
    segment: &Segment,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<Member> {
    let mut member = Member {
        version: VERSION,
        name: name.into(),
        segment: segment.clone(),
        inside: attachment.inside.clone(),
        host: attachment.host.clone(),
        mac: attachment.mac,
        addresses: attachment.addresses.clone(),
        datapath: wish.datapath,
        checksum: wish.checksum,
        attach: wish.attach,
        readiness: Readiness::Found,
        features: Vec::new(),
        replaced: occupant(wish, segment, attachment, before, ground)?,
    };
    if let Some(before) = before.filter(|before| before.serves(&member)) {
        return Ok(before.clone());
    }
    if wish.checksum == ChecksumWay::OffloadOff {
        change(&mut member, "tx-checksum-ip-generic", false, before, ground)?;
    }
    member.readiness = readiness(&member, attachment, before, ground)?;
    if member.readiness == Readiness::Gro {
        change(&mut member, "rx-gro", true, before, ground)?;
    }
    Ok(member)
}

/// Notes that a feature has to be changed, if it has.
fn change(
    member: &mut Member,
    name: &str,
    on: bool,
    before: Option<&Member>,
    ground: Ground,
) -> Result<()> {
    let noted = before.and_then(|before| before.features.iter().find(|f| f.name == name));
    let was = match (noted, ground.feature(&member.inside, name)?) {
        (Some(noted), _) => noted.was,
        (None, Some(found)) => found.active,
        (None, None) => return Err(Error::InterfaceGone { ifname: member.inside.name.clone() }),
    };
    if was != on {
        member.features.push(Feature { name: name.into(), was, on });
    }
    Ok(())
}

/// How the container's end comes to poll with NAPI, without which what is redirected to it is lost
/// (`veth_xdp_xmit`, drivers/net/veth.c).
fn readiness(
    member: &Member,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<Readiness> {
    if let Some(before) = before {
        return Ok(before.readiness);
    }
    let native = |xdp: &crate::sys::netlink::XdpAttached| xdp.mode == XdpMode::Native;
    if attachment.inside_link.xdp.iter().any(native) {
        return Ok(Readiness::Found);
    }
    let gro = ground.feature(&member.inside, "rx-gro")?;
    let Some(gro) = gro.filter(|_| kernel::release().is_ok_and(|release| release >= (5, 13)))
    else {
        return Ok(Readiness::Pass);
    };
    match (gro.active, gro.fixed) {
        (false, false) => Ok(Readiness::Gro),
        (false, true) => Ok(Readiness::Pass),
        // Switched on while the interface was down, kernels before 6.6 forget to say so.
        (true, _) => match ground.link(&member.host)? {
            Some((netns, _)) => match xdp_features(netns, member.host.ifindex)? {
                Some(features) if features & NETDEV_XDP_ACT_NDO_XMIT == 0 => Ok(Readiness::Pass),
                _ => Ok(Readiness::Found),
            },
            None => Err(Error::InterfaceGone { ifname: member.host.name.clone() }),
        },
    }
}

/// The foreign program on the host side, if it is to be replaced. One that is held by a link can't be
/// given back, so it is never taken off.
fn occupant(
    wish: Wish,
    segment: &Segment,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<Option<Replaced>> {
    if let Some(replaced) = before.and_then(|before| before.replaced) {
        return Ok(Some(replaced));
    }
    let host = &attachment.host;
    let Some(found) = attachment.host_link.xdp.first() else { return Ok(None) };
    let ours = MemberPins::of(segment, host).forward();
    for attach in [Attach::Link, Attach::Netlink] {
        if ground.attached(host, attach, &ours).unwrap_or(false) {
            return Ok(None);
        }
    }
    let ifname = host.name.clone();
    if let Some(link) = link_of(found.prog_id)? {
        let by = format!("program {} of bpf_link {link}", found.prog_id);
        return Err(Error::Linked { ifname, by });
    }
    if !wish.force {
        return Err(Error::Occupied { ifname, by: format!("program {}", found.prog_id) });
    }
    Ok(Some(Replaced { prog_id: found.prog_id, native: found.mode == XdpMode::Native }))
}

/// The link that runs this program, if one does.
fn link_of(prog_id: u32) -> Result<Option<u32>> {
    for id in ids(ObjKind::Link)? {
        // It may be gone by now.
        let Ok(info) = Link::by_id(id).and_then(|link| link.info()) else { continue };
        if info.prog_id == prog_id {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Whether the member's veth is still the one that was joined.
pub fn alive(member: &Member, ground: Ground) -> Result<bool> {
    let Some((_, host)) = ground.link(&member.host)? else { return Ok(false) };
    let Some((_, inside)) = ground.link(&member.inside)? else { return Ok(false) };
    Ok(host.link == Some(member.inside.ifindex)
        && host.master == Some(member.segment.bridge.ifindex)
        && inside.mac == Some(member.mac.0))
}
