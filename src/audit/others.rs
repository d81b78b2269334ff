//! Who else has BPF where ours is: on the interfaces, in the maps, at the functions; and where ours is too.

use std::collections::HashSet;

use super::expected::map_pins;
use super::finding::Finding;
use super::seen::{self, Seat, Seen};
use super::world::{PREFIX, World, describe, lasting};
use super::{Records, Section};
use crate::container::Interface;
use crate::plan::member::Member;
use crate::plan::{Chain, Ground};
use crate::sys::bpf::{Map, ProgInfo};
use crate::sys::netlink::Rtnl;
use crate::{Error, Result};

const MOVED: &str = "take the container out with `xhop down` and join it again";
const WHO: &str = "find out whose it is (`bpftool prog show`), and have its owner detach it";

/// The programs that are where they belong, or in the place of one that does; those were looked at.
#[derive(Debug, Default)]
pub struct Accounted {
    /// As they run on an interface.
    pub places: Vec<(Interface, Seen)>,
    /// By id, also those that a pin holds.
    pub ids: HashSet<u32>,
}

/// All other BPF on an interface. Nothing, if it is gone: that was said.
pub fn on_interface(
    at: &Interface,
    ground: Ground,
    world: &World,
    known: &Accounted,
) -> Result<Option<Section>> {
    let Some((netns, link)) = ground.link(at)? else { return Ok(None) };
    let mut found = seen::on(&netns, &link)?;
    found.retain(|seen| !known.places.iter().any(|(place, known)| place == at && known == seen));
    let mut findings: Vec<Finding> = found.iter().map(|seen| stranger(seen, world)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("others", "nobody else has BPF here"));
    }
    Ok(Some(Section::interface(Interface { name: link.name, ..at.clone() }, findings)))
}

fn stranger(Seen { prog_id, seat }: &Seen, world: &World) -> Finding {
    let program = prog_id.map_or("a classic program".into(), |id| world.name(id));
    let name = match seat {
        Seat::Filter { name, .. } => format!(" `{}`", name.escape_debug()),
        Seat::Xdp(_) | Seat::Tcx(_) => String::new(),
    };
    let found = format!("{seat}: {program}{name}");
    let means = "somebody else's program sees, changes or redirects this interface's packets";
    Finding::deviates("others", found, means, WHO)
}

/// The same at the container's end, wherever that is by now.
pub fn on_other_end(
    member: &Member,
    ground: Ground,
    world: &World,
    known: &Accounted,
) -> Result<Option<Section>> {
    let at = match ground.inside(&member.host) {
        Ok(Some((netns, link))) => {
            Interface { netns: netns.inode(), ifindex: link.ifindex, name: link.name }
        }
        Ok(None) => return Ok(None),
        Err(error @ Error::Unreachable { .. }) => {
            let finding = Finding::unknown(
                "others",
                error.to_string(),
                "the container's end is where neither a process nor a name leads: who has BPF there can't be seen",
                MOVED,
            );
            return Ok(Some(Section::interface(member.inside.clone(), vec![finding])));
        }
        Err(error) => return Err(error),
    };
    let mut section = on_interface(&at, ground, world, known)?;
    if at != member.inside {
        let found = format!("{at} of net:[{}], not {}", at.netns, member.inside);
        let found = format!("{found} of net:[{}]", member.inside.netns);
        let means = "the container's end was moved, or its record edited: another namespace may get the packets";
        let moved = Finding::deviates("place", found, means, MOVED);
        section.iter_mut().for_each(|section| section.findings.insert(0, moved.clone()));
    }
    Ok(section)
}

/// The ids of all our maps that can be opened.
fn map_ids(records: Records) -> HashSet<u32> {
    let pins = map_pins(records).into_iter();
    pins.filter_map(|pin| Some(Map::open_pinned(&pin).ok()?.info().id)).collect()
}

/// Only our programs may use our maps. (Who else has them open by a descriptor, the kernel does not say.)
pub fn maps(records: Records, world: &World, known: &Accounted) -> Result<Vec<Finding>> {
    let ours = map_ids(records);
    let uses = |info: &&ProgInfo| info.map_ids.iter().any(|id| ours.contains(id));
    let strangers = world.programs.values().filter(|info| !known.ids.contains(&info.id));
    let mut users = lasting(strangers.filter(uses).map(|info| info.id).collect())?;
    xhop_asm::sort(&mut users);
    let users = users.iter().filter_map(|id| world.programs.get(id));
    let findings = users.map(|info| {
        let used: Vec<String> =
            info.map_ids.iter().filter(|id| ours.contains(id)).map(u32::to_string).collect();
        Finding::deviates(
            "map users",
            format!("{} uses our maps {}", describe(info), used.join(", ")),
            "another program can read or change who is joined, or what is counted",
            WHO,
        )
    });
    let ok = format!("{} maps, used by our programs alone", ours.len());
    Ok(Finding::or_ok(findings.collect(), "map users", ok))
}

/// Programs that run at the beginning or end of ours, or instead (fentry, fexit, freplace). Of one that is
/// loaded its target is told by the program, once it is attached by the link.
pub fn tracers(world: &World, known: &Accounted) -> Vec<Finding> {
    let btf = |id: &u32| world.programs.get(id).map(|info| info.btf_id).filter(|btf| *btf != 0);
    let ours: HashSet<u32> = known.ids.iter().filter_map(btf).collect();
    let loaded = world.programs.values().filter(|info| ours.contains(&info.traces_btf_id));
    // A target that is the program's own BTF target is the kernel's, and just has the number of ours.
    let kernels =
        |id, target| world.programs.get(&id).is_some_and(|info| info.traces_btf_id == target);
    let attached = world.links.iter().filter_map(|link| Some((link.prog_id, link.traces?)));
    let (hidden, attached): (Vec<_>, Vec<_>) = attached.partition(|(_, target)| *target == 0);
    let attached = attached.into_iter().filter(|(id, target)| !kernels(*id, *target));
    let attached = attached.filter(|(_, target)| known.ids.contains(target));
    let mut tracers: Vec<u32> =
        loaded.map(|info| info.id).chain(attached.map(|(id, _)| id)).collect();
    xhop_asm::sort(&mut tracers);
    tracers.dedup();
    let tracers = tracers.into_iter().map(|id| {
        Finding::deviates(
            "tracers",
            format!("{} is made to trace or replace a program of ours", world.name(id)),
            "it sees what ours does, or runs in its stead while everything else looks right",
            WHO,
        )
    });
    let hidden = hidden.into_iter().map(|(id, _)| {
        Finding::unknown(
            "tracers",
            format!("{} traces or replaces something", world.name(id)),
            "before 5.13 the kernel does not say what: it may be a program of ours",
            WHO,
        )
    });
    let findings = tracers.chain(hidden).collect();
    Finding::or_ok(findings, "tracers", "nobody traces or replaces our programs".into())
}

/// Programs of ours, or by our name on the bridges' ports, where no record tells of any.
pub fn elsewhere(
    records: Records,
    ground: Ground,
    world: &World,
    known: &Accounted,
) -> Result<Vec<Finding>> {
    let Records { members, chains } = records;
    // A member's own interfaces were looked at, and a chain's.
    let mut places: Vec<&Interface> = members.iter().flat_map(Member::ends).collect();
    places.extend(chains.iter().flat_map(Chain::interfaces));
    let bridges: Vec<&Interface> = members.iter().map(|member| &member.segment.bridge).collect();
    let mut findings = Vec::new();
    for netns in ground.namespaces()? {
        let is = |at: &Interface, ifindex| (at.netns, at.ifindex) == (netns.inode(), ifindex);
        for link in Rtnl::open_in(&netns)?.links()? {
            if places.iter().any(|at| is(at, link.ifindex)) {
                continue;
            }
            let bridge = link.master.and_then(|master| bridges.iter().find(|at| is(at, master)));
            let strange = |info: &&ProgInfo| {
                known.ids.contains(&info.id) || bridge.is_some() && info.name.starts_with(PREFIX)
            };
            let seen = seen::on(&netns, &link)?;
            let infos = seen.iter().filter_map(|seen| world.programs.get(&seen.prog_id?));
            findings.extend(infos.filter(strange).map(|info| {
                let port = bridge.map_or(String::new(), |bridge| format!(", port of {bridge}"));
                let at = format!("{} of net:[{}]{port}", link.name, netns.inode());
                Finding::deviates(
                    "elsewhere",
                    format!("{} runs on {at}", describe(info)),
                    "a program of ours, or by our name, that no record tells of: its record is lost, or somebody else put it there",
                    WHO,
                )
            }));
        }
    }
    Ok(Finding::or_ok(
        findings,
        "elsewhere",
        "no program of ours runs where no record tells of it".into(),
    ))
}

/// Programs by our name that are none of the members'. Not wrong in itself: `xhop demo`, `bench`, and who
/// keeps records elsewhere have them rightly.
pub fn namesakes(world: &World, known: &Accounted) -> Vec<String> {
    let ours = |info: &&ProgInfo| info.name.starts_with(PREFIX) && !known.ids.contains(&info.id);
    let mut ids: Vec<u32> = world.programs.values().filter(ours).map(|info| info.id).collect();
    xhop_asm::sort(&mut ids);
    ids.iter().filter_map(|id| world.programs.get(id)).map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::kallsyms::Functions;

    fn info(id: u32, btf_id: u32, traces_btf_id: u32) -> ProgInfo {
        let name = format!("p{id}");
        let (tag, map_ids) = ([0; 8], Vec::new());
        ProgInfo {
            kind: 26,
            id,
            tag,
            name,
            map_ids,
            jited: true,
            line_infos: 0,
            btf_id,
            traces_btf_id,
        }
    }

    #[test]
    fn tracers_of_ours_are_found() {
        // 1 is ours; 2 traces it; 3 traces the kernel; 4 and 5 have no BTF and trace nothing.
        let infos = [info(1, 10, 0), info(2, 11, 10), info(3, 12, 1), info(4, 0, 0), info(5, 0, 0)];
        let programs = infos.map(|info| (info.id, info)).into();
        let world = World { programs, links: Vec::new(), functions: Functions::default() };
        let known = |id| Accounted { ids: [id, 5].into(), places: Vec::new() };
        let found = tracers(&world, &known(1));
        assert_eq!(found.len(), 1);
        assert!(found[0].found.starts_with("program 2 "), "{found:?}");
        assert!(tracers(&world, &known(2))[0].is_ok());
    }
}
