//! What is pinned in our folder, and who may write there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::world::files_below;
use super::{Records, expected};
use crate::plan::MemberPins;
use crate::plan::member::Member;
use crate::plan::segment::{PINS, RUN};
use crate::sys::bpf::Prog;
use crate::sys::bpffs;
use crate::{Error, Result};

/// Just the pins that the records tell of.
pub fn pins(records: Records) -> Result<Vec<Finding>> {
    let wanted = expected::pins(records);
    let mut found = BTreeSet::new();
    found.extend(files_below(Path::new(PINS))?);
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
    findings.extend(wanted.intersection(&found).filter(|pin| pin.is_symlink()).map(|pin| {
        Finding::deviates(
            "pins",
            format!("{} is a symlink", pin.display()),
            "what it leads to can become another's without a change here",
            "take the container out with `xhop down` and join it again",
        )
    }));
    for folder in folders(records) {
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
    Ok(Finding::or_ok(findings, "pins", format!("{count} below {PINS}, as the records tell")))
}

/// Where records and pins lie: the folders that nobody else may write to.
fn folders(records: Records) -> BTreeSet<PathBuf> {
    let mut folders: BTreeSet<PathBuf> = [PINS.into(), RUN.into()].into();
    for member in records.members {
        folders.extend([member.segment.pins(), member.segment.member_pins(&member.host)]);
    }
    for chain in records.chains {
        folders.insert(chain.segment().pins());
        let hosts = chain.places().into_iter().map(|place| place.host);
        folders.extend(hosts.map(|host| chain.segment().member_pins(host)));
    }
    folders
}

/// What `down` will put back must be what `up` has taken off.
pub fn kept(members: &[Member]) -> Vec<Finding> {
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
