//! Carrying out: one action at a time, each undone again if a later one fails.
//!
//! Every action may be repeated: what is made already is left, what is gone already is gone. So a
//! plan that was cut off anywhere can be carried out, or taken back, by what its records say.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use xhop_asm::blocks::count;
use xhop_asm::programs::Shipped;

use super::fact::{Action, Fact, Sense};
use super::ground::Ground;
use super::jumbo::{Found, Route};
use super::pins::{self, MemberPins};
use super::segment::RUN;
use super::way::{Spot, inside_spot};
use super::{Plan, chain, clsact, guard, jumbo, record, sizes, tables};
use crate::container::Interface;
use crate::sys::bpf::Prog;
use crate::sys::bpffs::{self, MOUNT_POINT};
use crate::{Error, Result};

/// Carries a plan out: what has to be cleared, then what is to be done. Gives what the user should know of
/// how it went.
pub fn carry_out(plan: &Plan, ground: Ground) -> Result<Vec<String>> {
    let mut begun = Vec::new();
    for segment in plan.segments() {
        begun.push((segment, record::begin(segment)?));
    }
    let done = all_or_nothing(plan, ground);
    // Where something is left, the next one looks at all.
    if matches!(done, Err(Error::Left { .. } | Error::HalfDone { .. })) {
        return done;
    }
    for (segment, cut_off_before) in begun {
        let looked_at = done.is_ok() && plan.mended.as_ref() == Some(segment);
        if !cut_off_before || looked_at {
            record::end(segment);
        }
    }
    if plan.mended.is_none() {
        record::end_where_none_is_left()?;
    }
    done
}

fn all_or_nothing(plan: &Plan, ground: Ground) -> Result<Vec<String>> {
    clear(&plan.clear, ground)?;
    let mut warnings = Vec::new();
    for (at, action) in plan.actions.iter().enumerate() {
        match apply(action, ground) {
            Ok(Some(warning)) if !warnings.contains(&warning) => warnings.push(warning),
            Ok(_) => {}
            Err(error) => return Err(take_back(plan.actions.iter().take(at + 1), error, ground)),
        }
    }
    Ok(warnings)
}

/// Takes members out. What can't be taken back keeps neither the rest of a member nor the others, but the
/// member's record, which is its last step; a route, the records of both whom it is between.
fn clear(actions: &[Action], ground: Ground) -> Result<()> {
    let (mut left, mut keep, mut routes) = (None, false, Vec::new());
    for action in actions {
        if let Fact::Record(member) = &action.fact {
            let between = routes.iter().any(|route: &&Route| route.is_of(member));
            if std::mem::take(&mut keep) || between {
                continue;
            }
        }
        if matches!(action.fact, Fact::Chain(_)) && std::mem::take(&mut keep) {
            continue;
        }
        if let Err(error) = apply(action, ground) {
            keep = true;
            if let Fact::Route(route) = &action.fact {
                routes.push(route);
            }
            left.get_or_insert((action, error));
        }
    }
    match left {
        None => Ok(()),
        Some((action, error)) => {
            Err(Error::Left { action: action.to_string(), error: Box::new(error) })
        }
    }
}

/// Takes back what was done when `error` happened. What can't be taken back does not keep the rest, but
/// the records, which say what is left; without its record, nothing of a member is made again.
fn take_back<'a>(
    done: impl DoubleEndedIterator<Item = &'a Action>,
    error: Error,
    ground: Ground,
) -> Error {
    let (mut left, mut unrecorded) = (None, false);
    for undo in done.rev().map(Action::inverse) {
        let rewrite = matches!(undo.fact, Fact::Rewrite { .. });
        let record = rewrite || undo.fact.is_record();
        let skip = match undo.sense {
            Sense::Undo => record && left.is_some(),
            Sense::Make => !record && unrecorded,
        };
        if skip {
            unrecorded |= rewrite;
            continue;
        }
        let done = apply(&undo, ground);
        if rewrite || record && undo.sense == Sense::Make {
            unrecorded = done.is_err();
        }
        if let Err(failed) = done {
            left.get_or_insert((undo, failed));
        }
    }
    match left {
        None => error,
        Some((undo, failed)) => Error::HalfDone {
            error: Box::new(error),
            undo: undo.to_string(),
            left: Box::new(failed),
        },
    }
}

/// Does it; gives a warning if it could be done, but not quite as it should.
fn apply(action: &Action, ground: Ground) -> Result<Option<String>> {
    match action.sense {
        Sense::Make => make(&action.fact, ground),
        Sense::Undo => undo(&action.fact, ground).map(|()| None),
    }
}

pub(super) fn make(fact: &Fact, ground: Ground) -> Result<Option<String>> {
    let done = match fact {
        Fact::Inside { segment, host, at, program, attach } => {
            let pins = MemberPins::of(segment, host);
            pins.create()?;
            let prog = load(*program, &pins)?;
            ground.attach(&prog, at, inside_spot(*program), *attach, &pins.inside(*program))?;
            return Ok(without_btf(&prog));
        }
        Fact::Forward { segment, at, program, spot, attach } => {
            let pins = MemberPins::of(segment, at);
            pins.create()?;
            let prog = load(*program, &pins)?;
            let attached = ground.attach(&prog, at, *spot, *attach, &pins.forward());
            attached.map_err(|error| explain(error, at, *spot))?;
            if program.captured().is_some() {
                // It was captured, perhaps, and is no more.
                pins.remove_capture()?;
            }
            return Ok(without_btf(&prog));
        }
        Fact::Guard { segment, mtu } => guard::make(ground, segment, *mtu),
        Fact::Size { host, size } => sizes::make(ground, host, size),
        Fact::Route(route) => return jumbo::make(ground, route),
        Fact::Clsact { at } => clsact::make(ground, at),
        Fact::Bpffs => mount(),
        Fact::Maps { segment } => tables::make(segment),
        Fact::Record(member) | Fact::Rewrite { after: member, .. } => record::write(member),
        Fact::Feature { host, feature, .. } => ground.set_feature(host, &feature.name, feature.on),
        Fact::Foreign { segment, at, replaced } => {
            let pins = MemberPins::of(segment, at);
            pins.create()?;
            ground.keep(at, *replaced, &pins.foreign())
        }
        Fact::Port { segment, at } => tables::allow(&ground, segment, at),
        Fact::Remains { .. } | Fact::Unseen { .. } => Ok(()),
        Fact::Chain(chain) => chain::record::write(chain),
        Fact::ChainMaps { chain } => chain::make(chain),
        Fact::NicFeature { at, feature } => ground.set_own_feature(at, &feature.name, feature.on),
        Fact::Endpoint { segment, address, at, mac } => tables::send(segment, *address, at, *mac),
    };
    done.map(|()| None)
}

/// What it means that the kernel has a program without its comments.
fn without_btf(prog: &Prog) -> Option<String> {
    let errno = prog.btf_refused()?;
    Some(format!(
        "the kernel takes no BTF from us ({errno:?}): its listings of our programs do not show what \
         each instruction is for"
    ))
}

fn undo(fact: &Fact, ground: Ground) -> Result<()> {
    match fact {
        Fact::Bpffs => unmount(),
        Fact::Maps { segment } => tables::remove(segment),
        Fact::Record(member) => record::remove(member),
        Fact::Rewrite { before, .. } => record::write(before),
        Fact::Feature { host, feature, .. } => ground.set_feature(host, &feature.name, feature.was),
        Fact::Guard { segment, .. } => guard::undo(ground, segment),
        Fact::Size { host, size } => sizes::undo(ground, host, size),
        Fact::Route(route) => jumbo::undo(ground, route),
        Fact::Clsact { at } => clsact::undo(ground, at),
        Fact::Inside { segment, host, at, program, attach } => {
            let pins = MemberPins::of(segment, host);
            // One that is out of sight is not gone, and its pin is all that tells whose the program is.
            ground.inside(host)?;
            ground.detach(at, inside_spot(*program), *attach, &pins.inside(*program))?;
            pins.remove_if_empty()
        }
        Fact::Foreign { segment, at, replaced } => {
            let pins = MemberPins::of(segment, at);
            ground.put_back(at, *replaced, &pins.foreign())?;
            pins.remove_if_empty()
        }
        Fact::Port { segment, at } => tables::forbid(segment, at),
        Fact::Forward { segment, at, spot, attach, .. } => {
            let pins = MemberPins::of(segment, at);
            ground.detach(at, *spot, *attach, &pins.forward())?;
            pins.remove_stats()?;
            pins.remove_capture()?;
            pins.remove_if_empty()
        }
        Fact::Remains { segment, at } => MemberPins::of(segment, at).remove(),
        Fact::Chain(chain) => chain::record::remove(chain),
        Fact::ChainMaps { chain } => chain::remove(chain),
        Fact::NicFeature { at, feature } => ground.set_own_feature(at, &feature.name, feature.was),
        Fact::Unseen { at } => Err(Error::Unreachable { ifname: at.to_string() }),
        Fact::Endpoint { segment, address, at, .. } => tables::send_no_more(segment, *address, at),
    }
}

/// Whether the fact holds already, so that there is nothing to make.
pub fn holds(fact: &Fact, ground: Ground) -> Result<bool> {
    match fact {
        Fact::Bpffs => bpffs::is_bpffs(MOUNT_POINT.as_ref()),
        Fact::Maps { segment } => tables::all_there(segment),
        Fact::Record(member) | Fact::Rewrite { after: member, .. } => record::written(member),
        Fact::Feature { host, feature, .. } => {
            let state = ground.feature(host, &feature.name)?;
            Ok(state.is_some_and(|state| state.active == feature.on))
        }
        Fact::Guard { segment, mtu } => guard::holds(ground, segment, *mtu),
        Fact::Size { host, size } => sizes::holds(ground, host, size),
        Fact::Route(route) => Found::new(ground).has(route),
        Fact::Clsact { at } => clsact::holds(ground, at),
        Fact::Inside { segment, host, at, program, attach } => {
            let pin = MemberPins::of(segment, host).inside(*program);
            ground.attached(at, inside_spot(*program), *attach, &pin)
        }
        Fact::Foreign { segment, at, .. } => {
            Ok(pins::exists(&MemberPins::of(segment, at).foreign()))
        }
        Fact::Port { segment, at } => tables::allowed(segment, at),
        Fact::Forward { segment, at, spot, attach, .. } => {
            let pins = MemberPins::of(segment, at);
            match ground.held(at, *spot, *attach, &pins.forward())? {
                Some(prog) => tables::uses_these(segment, &pins, &prog),
                None => Ok(false),
            }
        }
        Fact::Remains { .. } | Fact::Unseen { .. } => Ok(false),
        Fact::Chain(chain) => chain::record::written(chain),
        Fact::ChainMaps { chain } => Ok(chain::there(chain)),
        Fact::NicFeature { at, feature } => {
            let state = ground.own_feature(at, &feature.name)?;
            Ok(state.is_some_and(|state| state.active == feature.on))
        }
        Fact::Endpoint { segment, address, at, mac } => tables::sent(segment, *address, at, *mac),
    }
}

/// Loads a program with the maps that are pinned; the member's own counters are made.
fn load(shipped: Shipped, member: &MemberPins) -> Result<Prog> {
    let program = shipped.program().map_err(Error::Assemble)?;
    let stats = count::stats();
    let map = |decl: &xhop_asm::MapDecl| match *decl == stats {
        true => pins::ensure_map(&member.stats(), decl),
        false => pins::open_map(&member.map(decl), decl),
    };
    let maps = program.maps().iter().map(map).collect::<Result<Vec<_>>>()?;
    Prog::load(shipped, &maps.iter().collect::<Vec<_>>())
}

/// What a refused attachment to a host's end means, where the kernel's answer has one meaning here.
fn explain(error: Error, at: &Interface, spot: Spot) -> Error {
    let ifname = at.name.clone();
    match (error.errno(), spot) {
        (Some(Errno::EOPNOTSUPP), Spot::Native) => Error::NoNativeXdp { ifname },
        (Some(Errno::ERANGE), Spot::Native) => Error::PeerMtu { ifname },
        (Some(Errno::EBUSY), Spot::Native | Spot::Generic) => {
            Error::Occupied { ifname, by: "a program".into() }
        }
        (Some(Errno::ENOENT | Errno::EOPNOTSUPP), Spot::Ingress) => Error::NoTc { ifname },
        _ => error,
    }
}

/// Marks that the mount is ours to undo.
fn mount_mark() -> PathBuf {
    Path::new(RUN).join("mounted")
}

fn mount() -> Result<()> {
    if bpffs::is_bpffs(MOUNT_POINT.as_ref())? {
        return Ok(());
    }
    bpffs::create_dir(RUN.as_ref())?;
    std::fs::write(mount_mark(), b"").map_err(Error::io(mount_mark()))?;
    bpffs::ensure(MOUNT_POINT.as_ref()).map(drop)
}

/// Whether it was us who mounted bpffs.
pub fn mounted_by_us() -> bool {
    mount_mark().exists()
}

/// Only if nobody else has pinned anything there since.
fn unmount() -> Result<()> {
    if mounted_by_us() && bpffs::unmount_if_empty(MOUNT_POINT.as_ref())? {
        pins::remove(&mount_mark())?;
    }
    Ok(())
}
