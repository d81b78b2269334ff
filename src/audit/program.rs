//! One program of ours: what it is, and whether it is what this binary would load.

use xhop_asm::tag::{MapRefs, TagKind, tag};
use xhop_asm::{ByteOrder, MapDecl};

use super::expected::Expected;
use super::finding::Finding;
use super::known::Kernel;
use super::translated::{Mapped, map_back};
use super::world::{World, describe};
use crate::Result;
use crate::sys::bpf::{Map, Prog, ProgInfo, kernels_name};

const RENEW: &str = "take the container out with `xhop down` and join it again";

/// Looks at the program that runs in the place of ours. Gives also what its instructions were mapped to.
pub fn check(
    prog: &Prog,
    expected: &Expected,
    world: &World,
) -> Result<(Vec<Finding>, Option<Mapped>)> {
    let info = prog.info()?;
    let mut findings = vec![identity(&info, expected), tag_of(&info, expected)];
    let (found, map_ids) = maps(&info, expected);
    findings.extend(found);
    let mapped = match prog.translated()? {
        Some(translated) => {
            let kernel = Kernel {
                hook: expected.program.hook(),
                maps: expected.program.maps(),
                map_ids: &map_ids,
                functions: &world.functions,
                blinded: false,
            };
            Some(map_back(&expected.program, &translated, kernel))
        }
        None => None,
    };
    findings.extend(instructions(mapped.as_ref()));
    Ok((findings, mapped))
}

fn identity(info: &ProgInfo, expected: &Expected) -> Finding {
    let name = kernels_name(&expected.program.symbol());
    if info.name == name && info.kind == expected.program.hook().prog_type() {
        return Finding::ok("program", format!("{} {name}", info.id));
    }
    Finding::deviates(
        "program",
        format!("{}, type {}", describe(info), info.kind),
        "another program runs in the place of ours",
        "find out who put it there; then take the container out with `xhop down` and join it again",
    )
}

/// Of what was given to the kernel. All four are ours: which it is depends on the kernel alone.
fn tag_of(info: &ProgInfo, expected: &Expected) -> Finding {
    let kinds = [(TagKind::Sha256, "SHA-256"), (TagKind::Sha1, "SHA-1")];
    let refs = [(MapRefs::Index, "the listed bytes"), (MapRefs::Patched, "maps by descriptor")];
    let found = hex::encode(info.tag);
    for (kind, hash) in kinds {
        for (refs, form) in refs {
            if tag(&expected.program, kind, refs, ByteOrder::NATIVE) == info.tag {
                return Finding::ok("tag", format!("{found}, {hash} of {form}"));
            }
        }
    }
    let own = kinds.map(|(kind, _)| {
        hex::encode(tag(&expected.program, kind, MapRefs::Index, ByteOrder::NATIVE))
    });
    Finding::deviates(
        "tag",
        format!("{found}, not {} or {}", own[0], own[1]),
        "the kernel was given other instructions than this xhop would give it",
        "if another version of xhop has joined it, join it again with this one; else it is not ours: find out who put it there",
    )
}

/// Each map by its pin, and the program's use of just these. Gives the ids that the pins have; 0 where one can't be opened.
fn maps(info: &ProgInfo, expected: &Expected) -> (Vec<Finding>, Vec<u32>) {
    let (mut findings, mut ids) = (Vec::new(), Vec::new());
    for (decl, pin) in &expected.maps {
        let map = match Map::open_pinned(pin) {
            Ok(map) => map,
            Err(error) => {
                ids.push(0);
                findings.push(Finding::deviates(
                    "map",
                    error.to_string(),
                    "what the program uses can't be told from another map",
                    RENEW,
                ));
                continue;
            }
        };
        ids.push(map.info().id);
        findings.push(one_map(info, decl, &map));
    }
    for id in info.map_ids.iter().filter(|id| !ids.contains(id)) {
        let what = Map::by_id(*id).map_or(format!("map {id}"), |map| shape(&map));
        findings.push(Finding::deviates(
            "map",
            format!("{what} is used too"),
            "the program reads or writes a map that is not pinned as one of ours",
            "find out whose it is (`bpftool map show`); then take the container out with `xhop down` and join it again",
        ));
    }
    findings.extend(swapped(&info.map_ids, &ids));
    (findings, ids)
}

/// The kernel lists a program's maps in the order in which its instructions name them first, as we declare
/// them. That tells which is which where the instructions are blinded.
fn swapped(used: &[u32], declared: &[u32]) -> Option<Finding> {
    let same = used.len() == declared.len() && used.iter().all(|id| declared.contains(id));
    (same && used != declared).then(|| {
        Finding::deviates(
            "map",
            format!("maps {used:?} are used in this order, not {declared:?}"),
            "the program uses one of our maps for another",
            RENEW,
        )
    })
}

fn one_map(info: &ProgInfo, decl: &MapDecl, map: &Map) -> Finding {
    let found = format!("{}: {}", decl.name, shape(map));
    if !map.matches(decl) {
        return Finding::deviates(
            "map",
            format!("{found}, flags {:#x}", map.info().flags),
            "the pinned map has another kind, size or flags than the program declares",
            "find out who pinned it; then take the container out with `xhop down` and join it again",
        );
    }
    if !info.map_ids.contains(&map.info().id) {
        return Finding::deviates(
            "map",
            format!("{found} is pinned, but not used by program {}", info.id),
            "the map or its pin was swapped for another: what xhop writes does not reach the program",
            RENEW,
        );
    }
    Finding::ok("map", found)
}

fn shape(map: &Map) -> String {
    let info = map.info();
    format!(
        "map {}, {} {}, {} B keys, {} B values, {} entries",
        info.id,
        info.kind.name(),
        info.name,
        info.key_size,
        info.value_size,
        info.max_entries
    )
}

fn instructions(mapped: Option<&Mapped>) -> Vec<Finding> {
    let Some(mapped) = mapped else {
        return vec![Finding::unknown(
            "translated",
            "the kernel does not show its instructions",
            "what the verifier made of the program can't be compared; the tag still tells what it was given",
            "set kernel.kptr_restrict to 1 or 0 (sysctl) while you look",
        )];
    };
    if mapped.differences.is_empty() {
        return vec![Finding::ok("translated", summary(mapped))];
    }
    let differ = mapped.differences.iter().map(|difference| {
        let source = match difference.source.as_str() {
            "" => String::new(),
            source => format!(" ({source})"),
        };
        Finding::deviates(
            "translated",
            format!(
                "instruction {} `{}`{source} is {} `{}` in the kernel",
                difference.insn, difference.ours, difference.at, difference.kernels
            ),
            "the kernel runs an instruction that is not ours, nor one that it is known to make of ours",
            "if the tag is right, this kernel rewrites programs in a way that this xhop does not know: report it with `uname -r`; else the program is not ours",
        )
    });
    differ.collect()
}

fn summary(mapped: &Mapped) -> String {
    let counts = [
        (mapped.same, "the same"),
        (mapped.context, "of the context"),
        (mapped.maps, "of maps"),
        (mapped.calls, "calls"),
        (mapped.hidden, "calls and maps whose address is hidden"),
        (mapped.inlined, "inlined calls"),
        (mapped.blinded, "blinded"),
        (mapped.cleared, "with a cleared upper half"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let records = match mapped.line_info {
        0 => "no line information".to_owned(),
        count if count == mapped.ours => "line information agrees".to_owned(),
        count => format!("{count} records of line information say nothing"),
    };
    let (ours, kernels) = (mapped.ours, mapped.kernels);
    format!("{ours} instructions in {kernels} of the kernel's: {}; {records}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_in_another_order_are_found() {
        assert_eq!(swapped(&[10, 12, 11], &[10, 12, 11]), None);
        assert!(swapped(&[10, 11, 12], &[10, 12, 11]).is_some());
        // Missing or strange ones are told one by one.
        assert_eq!(swapped(&[10, 11], &[10, 12, 11]), None);
        assert_eq!(swapped(&[10, 11, 13], &[10, 12, 11]), None);
    }
}
