//! Rules of the host that name who is joined: what hops goes round them.

use std::cell::LazyCell;
use std::net::IpAddr;

use super::ground::Ground;
use super::member::Member;
use super::record;
use super::segment::Segment;
use crate::Result;
use crate::container::Interface;
use crate::sys::netlink::netfilter;
use crate::sys::rule::{Kind, Named, Others, Rule, Sought};
use crate::sys::xtables;

/// How many warnings of rules people are given.
const TOLD: usize = 5;
/// And how many names of one.
const NAMES: usize = 3;

/// A warning of each rule that names one of these members; last, what kept others from being read. Nothing of the
/// host changes by it, and nothing is refused for it.
pub fn rules(members: &[Member], ground: Ground) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut left: Vec<&Member> = members.iter().collect();
    while let Some(segment) = left.first().map(|member| &member.segment) {
        let (here, others) = left.into_iter().partition(|member| member.segment == *segment);
        if let Err(error) = look(segment, here, ground, &mut warnings) {
            warnings.push(format!(
                "could not tell whether rules of the host name who is joined: {error}"
            ));
        }
        left = others;
    }
    warnings
}

/// A handful of them, and how many more there are.
pub fn handful(mut warnings: Vec<String>) -> Vec<String> {
    if let Some(more @ 1..) = warnings.len().checked_sub(TOLD) {
        warnings.truncate(TOLD);
        warnings.push(format!("and {more} more of such rules: `xhop status --json` has all"));
    }
    warnings
}

fn look(
    segment: &Segment,
    members: Vec<&Member>,
    ground: Ground,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let Some(netns) = ground.namespace(&segment.bridge)? else { return Ok(()) };
    let addresses = ground.rtnl(&netns)?.addrs()?.into_iter();
    let nets = addresses.filter(|one| one.ifindex == segment.bridge.ifindex);
    let nets: Vec<(IpAddr, u8)> = nets.map(|one| (one.ip, one.prefix)).collect();
    let others = LazyCell::new(others(segment, &members));
    let mut sought = Sought { joined: Vec::new(), bridge: Vec::new(), others };
    interface(&segment.bridge, "", &mut sought.bridge);
    for member in members {
        let of = format!(" of {}", member.name);
        sought.joined.extend(member.addresses.iter().map(|address| ip(*address, &nets, &of)));
        sought.joined.push(exactly(Kind::Mac, &member.mac.0, member.mac.to_string() + &of));
        // Under the name and the index that it has now.
        if let Some((_, link)) = ground.link(&member.host)? {
            let host = Interface { netns: 0, ifindex: link.ifindex, name: link.name };
            interface(&host, &of, &mut sought.joined);
        }
    }
    let mut tell =
        |rule: &Rule, named: &[bool]| warnings.push(warning(rule, named, &sought.joined));
    let of_nftables = netfilter::rules(&netns, &sought, &mut tell);
    of_nftables.and(xtables::rules(&netns, &sought, &mut tell))
}

/// All else who is joined there, as recorded: nobody has had to read that yet. A record that is no good makes
/// nobody known.
fn others(segment: &Segment, members: &[&Member]) -> Others {
    let segment = segment.clone();
    let looked_at: Vec<u32> = members.iter().map(|member| member.host.ifindex).collect();
    Box::new(move || {
        let places = record::places().unwrap_or_default().into_iter();
        let others =
            places.filter(|place| place.is_on(&segment) && !looked_at.contains(&place.host));
        let mut all = Vec::new();
        for member in others.filter_map(|place| place.read().ok()) {
            all.extend(member.addresses.iter().map(|address| ip(*address, &[], "")));
            all.push(exactly(Kind::Mac, &member.mac.0, String::new()));
            interface(&member.host, "", &mut all);
        }
        all
    })
}

fn warning(rule: &Rule, named: &[bool], joined: &[Named]) -> String {
    let named = joined.iter().zip(named).filter(|(_, named)| **named);
    let mut names: Vec<&str> = named.map(|(one, _)| one.text.as_str()).collect();
    // An interface is there by its name and by its index.
    names.dedup();
    if names.len() > NAMES {
        names.truncate(NAMES);
        names.push("others");
    }
    let Rule { by, place, number, does, .. } = rule;
    let handle = if *by == "nftables" { "handle " } else { "" };
    let names = names.join(", ");
    format!(
        "the {by} rule `{place} {handle}{number}` ({does}) names {names}: what hops goes round it"
    )
}

/// Only by itself: any range is of others too.
fn exactly(kind: Kind, bytes: &[u8], text: String) -> Named {
    let number = kind.number(bytes, 0);
    Named { kind, number, within: (number, number), text }
}

/// By its name, or a wildcard that is not of all, and by its index.
fn interface(at: &Interface, of: &str, all: &mut Vec<Named>) {
    let text = || at.to_string() + of;
    let name = exactly(Kind::Ifname, at.name.as_bytes(), text());
    all.push(Named { within: (0, Kind::Ifname.max()), ..name });
    all.push(exactly(Kind::Ifindex, &at.ifindex.to_ne_bytes(), text()));
}

/// In the bridge's subnet; where it has none, in one of the usual size.
fn ip(address: IpAddr, nets: &[(IpAddr, u8)], of: &str) -> Named {
    let text = address.to_string() + of;
    let named = |address: IpAddr, text| match address {
        IpAddr::V4(ip) => exactly(Kind::V4, &ip.octets(), text),
        IpAddr::V6(ip) => exactly(Kind::V6, &ip.octets(), text),
    };
    let mut one = named(address, text);
    let within = |prefix: u8| {
        let rest = one.kind.max().checked_shr(prefix.into()).unwrap_or(0);
        (one.number & !rest, one.number | rest)
    };
    let has = |(net, prefix): &&(IpAddr, u8)| {
        let (net, (first, last)) = (named(*net, String::new()), within(*prefix));
        net.kind == one.kind && (first..=last).contains(&net.number)
    };
    let usual = if one.kind == Kind::V4 { 24 } else { 64 };
    one.within = within(nets.iter().find(has).map_or(usual, |(_, prefix)| *prefix));
    one
}
