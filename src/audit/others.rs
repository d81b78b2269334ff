//! Who else has BPF where ours is: on the interfaces, in the maps, at the functions, in the folder.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::finding::Finding;
use super::world::{PREFIX, World, describe, files_below, lasting};
use super::{Section, expected};
use crate::container::Interface;
use crate::plan::member::Member;
use crate::plan::segment::PINS;
use crate::plan::{Ground, MemberPins, Segment};
use crate::sys::bpf::{Map, Prog, ProgInfo, TcxHook, XdpMode, tcx};
use crate::sys::bpffs;
use crate::sys::netlink::{Rtnl, XdpAttached};
use crate::{Error, Result};

const WHO: &str = "find out whose it is (`bpftool prog show`), and have its owner detach it";

/// The programs that are where they belong, or in the place of one that does; those were looked at.
#[derive(Debug, Default)]
pub struct Accounted {
    /// As they run on an interface.
    pub places: Vec<(Interface, XdpAttached)>,
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
    let mut found = Vec::new();
    for xdp in &link.xdp {
        if !known.places.iter().any(|(place, seen)| place == at && seen == xdp) {
            let mode = match xdp.mode {
                XdpMode::Native => "native XDP",
                XdpMode::Generic => "generic XDP",
                XdpMode::Offload => "offloaded XDP",
            };
            found.push(format!("{mode}: {}", world.name(xdp.prog_id)));
        }
    }
    for (hook, name) in [(TcxHook::Ingress, "ingress"), (TcxHook::Egress, "egress")] {
        for id in netns.run(|| tcx(at.ifindex, hook))?? {
            found.push(format!("tcx {name}: {}", world.name(id)));
        }
    }
    for tc in Rtnl::open_in(netns)?.tc_programs(at.ifindex)? {
        let program = tc.prog_id.map_or("a classic program".into(), |id| world.name(id));
        found.push(format!("tc {}: {program} `{}`", tc.hook, tc.name));
    }
    let mut findings: Vec<Finding> = found.into_iter().map(stranger).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("others", "nobody else has BPF here"));
    }
    Ok(Some(Section::interface(Interface { name: link.name, ..at.clone() }, findings)))
}

fn stranger(found: String) -> Finding {
    let means = "somebody else's program sees, changes or redirects this interface's packets";
    Finding::deviates("others", found, means, WHO)
}

/// What belongs to no single member.
pub fn on_host(
    members: &[Member],
    ground: Ground,
    world: &World,
    known: &Accounted,
) -> Result<Vec<Finding>> {
    let mut findings = pins(members)?;
    findings.extend(kept(members));
    findings.extend(maps(members, world, known)?);
    findings.extend(tracers(world, known));
    findings.extend(ports(members, ground, world)?);
    Ok(findings)
}

/// Ok, if nothing was found.
fn or_ok(findings: Vec<Finding>, check: &'static str, ok: String) -> Vec<Finding> {
    if findings.is_empty() { vec![Finding::ok(check, ok)] } else { findings }
}

/// Just the pins that the records tell of.
fn pins(members: &[Member]) -> Result<Vec<Finding>> {
    let wanted = expected::pins(members);
    let found: BTreeSet<_> = files_below(Path::new(PINS))?.into_iter().collect();
    let mut findings: Vec<Finding> = found
        .difference(&wanted)
        .map(|path| {
            Finding::deviates(
                "pins",
                format!("{} belongs to no record", path.display().to_string().escape_debug()),
                "somebody else pinned it, or its record is lost: it keeps a program or map alive",
                "look at it with `bpftool prog show pinned` (or map, link), then remove the file",
            )
        })
        .collect();
    findings.extend(wanted.difference(&found).map(|path| {
        Finding::deviates(
            "pins",
            format!("{} is not there", path.display()),
            "what it held may be gone, and xhop can't tell its own from another's",
            "take the container out with `xhop down` and join it again",
        )
    }));
    for folder in
        [PINS.into()].into_iter().chain(members.iter().map(|member| member.segment.pins()))
    {
        if let Err(error @ Error::NotOurs { .. }) = bpffs::refuse_shared(&folder) {
            findings.push(Finding::deviates(
                "pins",
                error.to_string(),
                "others than root can put their own programs and maps in the place of ours",
                "take all out with `xhop down --all`, remove the folder, join again",
            ));
        }
    }
    let count = found.len();
    Ok(or_ok(findings, "pins", format!("{count} below {PINS}, as the records tell")))
}

/// What `down` will put back must be what `up` has taken off.
fn kept(members: &[Member]) -> Vec<Finding> {
    let swapped = members.iter().filter_map(|member| {
        let replaced = member.replaced?;
        let pin = MemberPins::of(&member.segment, &member.host).foreign();
        let id = Prog::open_pinned(&pin).and_then(|prog| prog.info()).ok()?.id;
        (id != replaced.prog_id).then(|| {
            Finding::deviates(
                "pins",
                format!("{} holds program {id}, not {}", pin.display(), replaced.prog_id),
                "`xhop down` would attach another program than was taken off",
                "remove the pin before you take the container out",
            )
        })
    });
    swapped.collect()
}

/// The ids of all our maps that can be opened.
fn map_ids(members: &[Member]) -> HashSet<u32> {
    let shared = members
        .iter()
        .flat_map(|member| Segment::maps().map(|decl| member.segment.pins().join(decl.name)));
    let own = members.iter().map(|member| MemberPins::of(&member.segment, &member.host).stats());
    shared.chain(own).filter_map(|pin| Some(Map::open_pinned(&pin).ok()?.info().id)).collect()
}

/// Only our programs may use our maps. (Who else has them open by a descriptor, the kernel does not say.)
fn maps(members: &[Member], world: &World, known: &Accounted) -> Result<Vec<Finding>> {
    let ours = map_ids(members);
    let uses = |info: &&ProgInfo| info.map_ids.iter().any(|id| ours.contains(id));
    let strangers = world.programs.values().filter(|info| !known.ids.contains(&info.id));
    let mut users = lasting(strangers.filter(uses).map(|info| info.id).collect())?;
    users.sort_unstable();
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
    Ok(or_ok(findings.collect(), "map users", ok))
}

/// Programs that run at the beginning or end of ours, or instead (fentry, fexit, freplace).
fn tracers(world: &World, known: &Accounted) -> Vec<Finding> {
    let btf = |id: &u32| world.programs.get(id).map(|info| info.btf_id).filter(|btf| *btf != 0);
    let ours: HashSet<u32> = known.ids.iter().filter_map(btf).collect();
    let tracers = world.programs.values().filter(|info| ours.contains(&info.traces_btf_id));
    let findings = tracers.map(|info| {
        Finding::deviates(
            "tracers",
            format!("{} is made to trace or replace a program of ours", describe(info)),
            "it sees what ours does, or runs in its stead while everything else looks right",
            WHO,
        )
    });
    or_ok(findings.collect(), "tracers", "nobody traces or replaces our programs".into())
}

/// Programs by our name on other ports of the bridges.
fn ports(members: &[Member], ground: Ground, world: &World) -> Result<Vec<Finding>> {
    let mut bridges: Vec<&Interface> =
        members.iter().map(|member| &member.segment.bridge).collect();
    bridges.dedup();
    let mut findings = Vec::new();
    for bridge in bridges {
        let Some((netns, _)) = ground.link(bridge)? else { continue };
        for link in Rtnl::open_in(netns)?.links()? {
            let joined = |member: &Member| {
                (member.host.netns, member.host.ifindex) == (bridge.netns, link.ifindex)
            };
            if link.master != Some(bridge.ifindex) || members.iter().any(joined) {
                continue;
            }
            let infos = link.xdp.iter().filter_map(|xdp| world.programs.get(&xdp.prog_id));
            for info in infos.filter(|info| info.name.starts_with(PREFIX)) {
                findings.push(Finding::deviates(
                    "ports",
                    format!("{} runs on {}, port of {bridge}", describe(info), link.name),
                    "a program by our name that no record tells of: its record is lost, or it is not ours",
                    WHO,
                ));
            }
        }
    }
    Ok(or_ok(findings, "ports", "no program by our name on other ports of the bridges".into()))
}

/// Programs by our name that are none of the members'. Not wrong in itself: `xhop demo`, `bench`, and who
/// keeps records elsewhere have them rightly.
pub fn namesakes(world: &World, known: &Accounted) -> Vec<String> {
    let mut infos: Vec<&ProgInfo> = world.programs.values().collect();
    infos.retain(|info| info.name.starts_with(PREFIX) && !known.ids.contains(&info.id));
    infos.sort_unstable_by_key(|info| info.id);
    infos.into_iter().map(describe).collect()
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
