//! The member that a container is to become: what has to be changed for it, from what is found.

use super::chain;
use super::ground::Ground;
use super::member::{Feature, Member, Readiness, Replaced, Size, SizeOf, VERSION};
use super::pins::MemberPins;
use super::segment::Segment;
use super::sizes;
use super::way::{Attach, ChecksumWay, Datapath, Spot, Ways, on_host};
use crate::container::{Attachment, Interface};
use crate::sys::bpf::{Link, ObjKind, XdpMode, ids};
use crate::sys::kernel;
use crate::sys::netlink::XdpAttached;
use crate::{Error, Result};
use xhop_asm::programs::Shipped;

/// The largest MTU of a veth (`ETH_MAX_MTU`).
const MAX_MTU: u32 = 65535;
/// What 16 bits of length hold, and one (`GSO_LEGACY_MAX_SIZE`).
const LEGACY_GSO: u32 = 1 << 16;
/// Three times what 16 bits of length hold: more than that is not faster.
const BIG_TCP: u32 = 3 << 16;

impl Ways {
    /// How a member is joined. Why it is stays in its record.
    pub fn of(member: &Member) -> Self {
        Self {
            datapath: member.datapath,
            checksum: member.checksum,
            attach: member.attach,
            big_tcp: member.sizes.iter().any(Size::is_big_tcp),
            jumbo: member.jumbo,
            force: false,
            chosen: member.chosen,
        }
    }
}

/// The member that the container shall be. What was changed for it `before` counts as found: its old
/// values are those of the record. If nothing has to be changed, the two are equal.
pub fn wish(
    ways: Ways,
    name: &str,
    segment: &Segment,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<Member> {
    if ways.datapath != Datapath::Tc {
        chain::refuse_member(name, &attachment.host, &chain::record::all()?)?;
    }
    refuse_to_go_round(ways, name, attachment, before, ground)?;
    let mut member = Member {
        version: VERSION,
        name: before.map_or_else(|| name.into(), |before| before.name.clone()),
        segment: segment.clone(),
        inside: attachment.inside.clone(),
        host: attachment.host.clone(),
        mac: attachment.mac,
        addresses: attachment.addresses.clone(),
        datapath: ways.datapath,
        // Who is joined so already knows why.
        chosen: before
            .filter(|before| before.datapath == ways.datapath)
            .map_or(ways.chosen, |before| before.chosen),
        checksum: ways.checksum,
        attach: ways.attach,
        readiness: Readiness::Found,
        features: Vec::new(),
        replaced: occupant(ways, segment, attachment, before, ground)?,
        clsact: Vec::new(),
        bridge_mtu: None,
        sizes: Vec::new(),
        jumbo: ways.jumbo,
    };
    if ways.checksum == Some(ChecksumWay::OffloadOff) {
        change(&mut member, "tx-checksum-ip-generic", false, before, ground)?;
    }
    if ways.datapath != Datapath::Tc {
        // XDP does not see a tag that goes beside the packet, and native XDP loses it: the sender puts it in.
        for tag in ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"] {
            change(&mut member, tag, false, before, ground)?;
        }
    }
    if ways.datapath == Datapath::Native {
        member.readiness = readiness(&attachment.host, attachment, before, ground)?;
    }
    // It was off, or there would be nothing to switch.
    if member.readiness == Readiness::Gro {
        member.features.push(Feature { name: "rx-gro".into(), was: false, on: true });
    }
    if ways.raises_mtu() {
        let here = before.filter(|before| before.segment == *segment);
        member.bridge_mtu = match here.and_then(|before| before.bridge_mtu) {
            Some(noted) => Some(noted),
            None => Some(ground.present(&segment.bridge)?.1.mtu),
        };
        resize(&mut member, SizeOf::HostMtu, MAX_MTU, before, ground)?;
    }
    if ways.datapath == Datapath::Generic {
        shrink(&mut member, before, ground)?;
    }
    if ways.big_tcp {
        resize(&mut member, SizeOf::GsoIpv4, BIG_TCP, before, ground)?;
    }
    if ways.attach == Attach::Netlink {
        member.clsact = clsact(&member, before, ground)?;
    }
    Ok(member)
}

/// The interfaces that have to get a `clsact`.
fn clsact(member: &Member, before: Option<&Member>, ground: Ground) -> Result<Vec<Interface>> {
    let host = (member.on_host().1 == Spot::Ingress).then_some(&member.host);
    let inside = (member.checksum == Some(ChecksumWay::Trust)).then_some(&member.inside);
    let mut made = Vec::new();
    for at in host.into_iter().chain(inside) {
        // What we made is still ours to make.
        let ours = before.is_some_and(|before| before.clsact.contains(at));
        if ours || !super::clsact::holds(ground, at)? {
            made.push(at.clone());
        }
    }
    Ok(made)
}

/// Notes that TCP over IPv4 must send no more at once than generic XDP redirects, if it does.
fn shrink(member: &mut Member, before: Option<&Member>, ground: Ground) -> Result<()> {
    let what = SizeOf::GsoIpv4;
    let noted = before.and_then(|before| before.sizes.iter().find(|size| size.what == what));
    let found = sizes::found(ground, &member.host, what)?;
    match noted.map(|noted| noted.was).or(found) {
        Some(was) if was > LEGACY_GSO => {
            member.sizes.push(Size { what, was, on: LEGACY_GSO });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Notes that a size has to be changed, if it has.
fn resize(
    member: &mut Member,
    what: SizeOf,
    on: u32,
    before: Option<&Member>,
    ground: Ground,
) -> Result<()> {
    let noted = before.and_then(|before| before.sizes.iter().find(|size| size.what == what));
    let was = match (noted, sizes::found(ground, &member.host, what)?) {
        (Some(noted), Some(found)) if found == noted.on => noted.was,
        // What others have set meanwhile is what is found.
        (_, Some(found)) => found,
        (_, None) if what == SizeOf::GsoIpv4 => {
            let why = "this kernel's TCP over IPv4 sends at most 64 KiB at once (more from 6.3)";
            return Err(Error::NoBigTcp { why });
        }
        (_, None) => return Err(Error::InterfaceGone { ifname: member.host.name.clone() }),
    };
    if was < on {
        member.sizes.push(Size { what, was, on });
    }
    Ok(())
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
    let was = match (noted, ground.feature(&member.host, name)?) {
        (Some(noted), _) => noted.was,
        (None, Some(found)) => found.active,
        (None, None) => return Err(Error::InterfaceGone { ifname: member.inside.name.clone() }),
    };
    if was != on {
        member.features.push(Feature { name: name.into(), was, on });
    }
    Ok(())
}

/// `bpf_redirect_peer` goes round what native XDP does at the container's end. Who is joined by it already
/// stays: his program has come later, or somebody has said --force.
fn refuse_to_go_round(
    ways: Ways,
    name: &str,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<()> {
    let by_tc = |member: &Member| member.datapath == Datapath::Tc;
    if ways.datapath != Datapath::Tc || ways.force || before.is_some_and(by_tc) {
        return Ok(());
    }
    match has_own_native(attachment, before, ground)? {
        true => Err(Error::GoesRound { name: name.into(), ifname: attachment.inside.name.clone() }),
        false => Ok(()),
    }
}

/// Whether one of these has a native XDP program of its own at the container's end. `joined` are those that
/// are joined already.
pub fn native_inside(
    attachments: &[(&str, &Attachment)],
    joined: &[Member],
    ground: Ground,
) -> Result<bool> {
    for (_, attachment) in attachments {
        let before = joined.iter().find(|member| member.host == attachment.host);
        if has_own_native(attachment, before, ground)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_own_native(
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<bool> {
    let native = |xdp: &&XdpAttached| xdp.mode == XdpMode::Native;
    let Some(found) = attachment.inside_link.xdp.iter().find(native) else { return Ok(false) };
    if chain::attached_inside(&attachment.inside, ground)? == Some(found.prog_id) {
        return Ok(false);
    }
    let Some(before) = before else { return Ok(true) };
    // It may be ours, so that its end polls.
    let pin = MemberPins::of(&before.segment, &before.host).inside(Shipped::Pass);
    let ours = ground.held(&attachment.inside, Spot::Native, before.attach, &pin)?;
    Ok(ours.map_or(Ok(None), |ours| ours.info().map(Some))?.map(|info| info.id)
        != Some(found.prog_id))
}

/// How the container's end comes to poll with NAPI, without which what is redirected to it is lost
/// (`veth_xdp_xmit`, drivers/net/veth.c).
pub(super) fn readiness(
    host: &Interface,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<Readiness> {
    // What we made is still ours to make.
    if let Some(ours) = before.map(|before| before.readiness).filter(|r| *r != Readiness::Found) {
        return Ok(ours);
    }
    let native = |xdp: &XdpAttached| xdp.mode == XdpMode::Native;
    if attachment.inside_link.xdp.iter().any(native) {
        return Ok(Readiness::Found);
    }
    let gro = ground.feature(host, "rx-gro")?;
    let Some(gro) = gro.filter(|_| kernel::release().is_ok_and(|release| release >= (5, 13)))
    else {
        return Ok(Readiness::Pass);
    };
    Ok(match (gro.active, gro.fixed) {
        (false, false) => Readiness::Gro,
        (false, true) => Readiness::Pass,
        // Switched on while the interface was down, kernels before 6.6 forget to say so.
        (true, _) if ground.takes_frames(host)? == Some(false) => Readiness::Pass,
        (true, _) => Readiness::Found,
    })
}

/// The foreign program on the host side, if it is to be replaced. One that is held by a link can't be
/// given back, so it is never taken off.
fn occupant(
    ways: Ways,
    segment: &Segment,
    attachment: &Attachment,
    before: Option<&Member>,
    ground: Ground,
) -> Result<Option<Replaced>> {
    // Traffic control comes after XDP, and has room for all: nobody is in the way.
    if on_host(ways.datapath, ways.checksum).1 == Spot::Ingress {
        return Ok(None);
    }
    if let Some(replaced) = before.and_then(|before| before.replaced) {
        return Ok(Some(replaced));
    }
    let host = &attachment.host;
    let Some(found) = attachment.host_link.xdp.first() else { return Ok(None) };
    // Where it was joined before, perhaps on another bridge.
    let segment = before.map_or(segment, |before| &before.segment);
    let ours = MemberPins::of(segment, host).forward();
    let spot = before.map_or(Spot::Native, |before| before.on_host().1);
    for attach in [Attach::Link, Attach::Netlink] {
        if ground.attached(host, spot, attach, &ours).unwrap_or(false) {
            return Ok(None);
        }
    }
    let ifname = host.name.clone();
    if let Some(link) = link_of(found.prog_id)? {
        let by = format!("program {} of bpf_link {link}", found.prog_id);
        return Err(Error::Linked { ifname, by });
    }
    if !ways.force {
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
