//! What is wrong with a container by its record and its interfaces alone: without a packet.

use std::net::IpAddr;

use super::cause::{Cause, Finding};
use super::side::{Joined, Sent, Side};
use super::wording::{by_xdp, foreign, not_ready, up};
use crate::cmd::status::State;
use crate::container::Interface;
use crate::plan::member::SizeOf;
use crate::plan::way::Datapath;
use crate::plan::{Action, Fact, apart};
use crate::shell::word;

/// All that is. `other` is whom it is to talk with.
pub fn standing(side: &Side, other: &Side) -> Vec<Finding> {
    if let Some(down) = down(side) {
        // Nothing else can be told of it.
        return vec![down];
    }
    let Some(joined) = &side.joined else {
        let found = "there is no record of it";
        let not_joined = Finding::new(Cause::NotJoined, &side.name, found, up(side, other));
        return [Some(not_joined), peer_mtu(side)].into_iter().flatten().collect();
    };
    let mut findings = Vec::new();
    findings.extend(state(side, other, joined));
    findings.extend(addresses(side, other, joined));
    let known = |cause| findings.iter().any(|finding: &Finding| finding.cause == cause);
    let ready = !known(Cause::PeerNotReady) && !known(Cause::GroWhileDown);
    let altered = joined.altered.iter().filter_map(|action| altered(side, other, joined, action));
    let altered: Vec<_> =
        altered.filter(|found| ready || found.cause != Cause::PeerNotReady).collect();
    findings.extend(altered);
    findings
}

/// They are not on one bridge.
pub fn other_bridge(one: &Side, other: &Side) -> Option<Finding> {
    let bridge =
        |side: &Side| side.attachment.bridge.as_ref().map(|bridge| bridge.interface.clone());
    let (there, here) = (bridge(one), bridge(other));
    if there == here {
        return None;
    }
    let is_on = |side: &Side, bridge: &Option<Interface>| {
        let bridge = bridge.as_ref().map_or("no bridge".into(), ToString::to_string);
        format!("{} is on {bridge}", side.attachment.host)
    };
    let found = format!("{}, and {}", is_on(one, &there), is_on(other, &here));
    let (moves, to) = if there.is_some() { (other, there) } else { (one, here) };
    let host = &moves.attachment.host;
    let remedy = match to.filter(|bridge| bridge.netns == host.netns) {
        Some(bridge) => format!(
            "if they are meant to be together: `{}ip link set dev {} master {}`",
            moves.host_at,
            word(host),
            word(bridge)
        ),
        None => "give both an interface on one bridge, if they are meant to be together".into(),
    };
    Some(Finding::new(
        Cause::OtherBridge,
        format!("{} and {}", one.name, other.name),
        found,
        remedy,
    ))
}

/// What is switched off, on the way to the bridge.
fn down(side: &Side) -> Option<Finding> {
    let attachment = &side.attachment;
    let bridge = attachment.bridge.as_ref();
    let (at, found, remedy) = match () {
        () if !attachment.inside_link.up => {
            let end = &attachment.inside;
            (
                format!("{end} of {}", side.name),
                "is down",
                format!("`{}ip link set {} up`", side.inside_at, word(end)),
            )
        }
        () if !attachment.host_link.up => {
            let end = &attachment.host;
            (end.to_string(), "is down", format!("`{}ip link set {} up`", side.host_at, word(end)))
        }
        () if bridge.is_some_and(|bridge| !bridge.link.up) => {
            let bridge = bridge.map_or(String::new(), |bridge| bridge.link.name.clone());
            let remedy = format!("`{}ip link set {} up`", side.host_at, word(&bridge));
            (bridge, "is down", remedy)
        }
        () if attachment.host_link.forwarding == Some(false) => {
            let end = &attachment.host;
            let remedy = format!(
                "`{}bridge link set dev {} state 3`, if no spanning tree is at work",
                side.host_at,
                word(end)
            );
            (end.to_string(), "does not forward", remedy)
        }
        () => return None,
    };
    Some(Finding::new(Cause::LinkDown, at, found, remedy))
}

/// Native XDP can't be attached to the host's end.
fn peer_mtu(side: &Side) -> Option<Finding> {
    let refused = side.native_refused.as_ref()?;
    let (end, link) = (&side.attachment.inside, &side.attachment.inside_link);
    let found = format!("the MTU of {end} is {}: {refused}", link.mtu);
    let remedy = format!(
        "join by `--datapath tc`, or `{}ip link set {} mtu 1500`",
        side.inside_at,
        word(end)
    );
    Some(Finding::new(Cause::PeerMtu, &side.name, found, remedy))
}

/// By the state that `status` shows.
fn state(side: &Side, other: &Side, joined: &Joined) -> Vec<Finding> {
    let (name, host) = (&side.name, &side.attachment.host);
    let again = || up(side, other);
    let one = |cause, found: String, remedy: String| vec![Finding::new(cause, name, found, remedy)];
    match joined.state {
        State::Up | State::Altered | State::Gone => Vec::new(),
        State::Moved => {
            let found = format!("{host} is not a port of {}", joined.member.segment);
            one(Cause::Moved, found, again())
        }
        State::Detached => {
            let mut there = side.strangers_on(host).filter(|stranger| stranger.is_xdp);
            match (there.next().filter(|_| by_xdp(joined)), peer_mtu(side)) {
                (Some(stranger), _) => {
                    let found = format!("{} is where our program was", stranger.what);
                    vec![foreign(stranger, side, found)]
                }
                (None, Some(refused)) if joined.member.datapath == Datapath::Native => {
                    vec![refused]
                }
                (None, _) => {
                    one(Cause::Detached, format!("no program of ours is on {host}"), again())
                }
            }
        }
        State::Unpinned => {
            let found = format!("our program is on {host}, and no pin holds it");
            let remedy =
                format!("take it off as `xhop down {}` says, then {}", word(name), again());
            one(Cause::Unpinned, found, remedy)
        }
        State::Apart => {
            let bridge = side.attachment.bridge.as_ref();
            let why = bridge.and_then(|bridge| apart(&side.attachment.host_link, &bridge.link));
            let found = why.unwrap_or("its bridge keeps it apart").to_string();
            one(
                Cause::Apart,
                found,
                format!(
                    "`{}bridge -d link show dev {}` shows it; if it is meant so, `xhop down {}`",
                    side.host_at,
                    word(host),
                    word(name)
                ),
            )
        }
        State::Round => {
            let found = format!("{} has a native XDP program", side.attachment.inside);
            let remedy = format!(
                "`xhop down {0} {1}`, then `xhop up {0} {1} --datapath native`",
                word(name),
                word(&other.name)
            );
            one(Cause::GoesRound, found, remedy)
        }
        State::Deaf => {
            let found = format!("{host} does not take redirected frames (no NDO_XMIT)");
            vec![not_ready(side, found)]
        }
    }
}

/// Who has which address.
fn addresses(side: &Side, other: &Side, joined: &Joined) -> Vec<Finding> {
    let name = &side.name;
    let on_link = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let mut findings = Vec::new();
    let mut tell = |cause, found: String| {
        findings.push(Finding::new(cause, name, found, up(side, other)));
    };
    for (ip, sent) in joined.sent_to.iter().filter(|(ip, _)| !on_link(ip)) {
        match sent {
            Sent::Home => {}
            Sent::Nowhere => tell(Cause::AddressMoved, format!("it has {ip}, which is not joined")),
            Sent::Astray(ifindex) => tell(
                Cause::StaleEntry,
                format!("{ip} leads to ifindex {ifindex}, not to {}", side.attachment.host),
            ),
            Sent::Other(whose) => tell(
                Cause::SourceVerification,
                format!("it has {ip}, which is joined as an address of {whose}"),
            ),
        }
    }
    for ip in joined.member.addresses.iter().filter(|ip| !on_link(ip)) {
        if !side.attachment.addresses.contains(ip) {
            tell(Cause::AddressMoved, format!("it was joined with {ip}, which it has no more"));
        }
    }
    if side.attachment.mac != joined.member.mac {
        let (was, is) = (joined.member.mac, side.attachment.mac);
        tell(Cause::AddressMoved, format!("its Ethernet address is {is}, and was {was}"));
    }
    findings
}

/// What somebody has changed of what `up` had set.
fn altered(side: &Side, other: &Side, joined: &Joined, action: &Action) -> Option<Finding> {
    let name = &side.name;
    let would = format!("`up` would {action}");
    Some(match &action.fact {
        // Told by its address.
        Fact::Endpoint { .. } => return None,
        Fact::Size { size, .. } if size.what == SizeOf::HostMtu || !size.is_big_tcp() => {
            let found = format!("by {}: {would}", joined.member.datapath);
            let on = side.attachment.host.to_string();
            Finding::new(Cause::BeyondMtu, on, found, up(side, other))
        }
        Fact::Feature { feature, .. } if feature.name == "rx-gro" => not_ready(side, would),
        Fact::Feature { feature, .. } if feature.name == "tx-checksum-ip-generic" => {
            Finding::new(Cause::BadChecksums, name, would, up(side, other))
        }
        _ => Finding::new(Cause::Altered, name, would, up(side, other)),
    })
}
