//! What is shown of service chains.

use serde::Serialize;
use xhop_asm::blocks::count::VERDICTS;

use super::super::say;
use super::{Counter, Running, counter, running};
use crate::Result;
use crate::container::Interface;
use crate::plan::chain::{Chain, Place, Ready, altered, record};
use crate::plan::way::{Attach, Spot};
use crate::plan::{Ground, redirects_to};
use crate::table::{Align, Table};

/// A chain as it is now.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    chain: Chain,
    state: State,
    /// Its programs on the host's side, in the order in which frames meet them.
    programs: Vec<OnHost>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Frames go through.
    Up,
    /// A member does not take frames, or is down, or has no program that answers them: what goes in is lost.
    Deaf,
    /// A setting or an address that it needs is not as it was made: packets may be lost.
    Altered,
    /// One of its programs is not attached, or the NIC is elsewhere.
    Detached,
    /// A member is gone: nothing goes in.
    Broken,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Deaf => "deaf",
            Self::Altered => "altered",
            Self::Detached => "detached",
            Self::Broken => "broken",
        }
    }
}

/// A program on the NIC or on a member's host side.
#[derive(Serialize)]
struct OnHost {
    at: Interface,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<Running>,
    counters: Vec<Counter>,
}

pub(super) fn collect(ground: Ground) -> Result<Vec<Report>> {
    record::all()?.into_iter().map(|chain| report(chain, ground)).collect()
}

fn report(chain: Chain, ground: Ground) -> Result<Report> {
    // A program goes along with its NIC to another namespace.
    let (mut programs, mut attached) = (Vec::new(), ground.link(&chain.nic)?.is_some());
    for place in chain.places() {
        let runs = held(&chain, &place, ground)?;
        attached &= runs.is_some();
        if place.is_on_host() {
            programs.push(on_host(&chain, &place, runs)?);
        }
    }
    let state = state(&chain, attached, ground)?;
    Ok(Report { chain, state, programs })
}

/// The program that is in this place, if it is ours.
fn held(chain: &Chain, place: &Place, ground: Ground) -> Result<Option<Running>> {
    let prog = ground.held(place.at, Spot::Native, Attach::Link, &place.pin(chain))?;
    prog.map(|prog| running(&prog)).transpose()
}

fn on_host(chain: &Chain, place: &Place, program: Option<Running>) -> Result<OnHost> {
    let counters = match chain.pins(place.host).open_stats() {
        Ok(stats) => VERDICTS.into_iter().map(|v| counter(&stats, v)).collect::<Result<_>>()?,
        Err(_) if program.is_none() => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(OnHost { at: place.at.clone(), program, counters })
}

fn state(chain: &Chain, attached: bool, ground: Ground) -> Result<State> {
    let (segment, mut deaf) = (chain.segment(), false);
    for (at, stop) in chain.members.iter().enumerate() {
        let Some((_, link)) = ground.link(&stop.host)? else { return Ok(State::Broken) };
        if !redirects_to(&segment, &stop.host)? {
            return Ok(State::Broken);
        }
        deaf |= !link.up || ground.takes_frames(&stop.host)? == Some(false);
        // Its own program may have been taken off.
        let answers = at + 1 < chain.members.len() && stop.ready == Ready::Found;
        if let Ok(Some((_, inside))) = ground.inside(&stop.host) {
            deaf |= !inside.up || answers && inside.xdp.is_empty();
        }
    }
    let altered = !altered(chain, ground)?.is_empty();
    Ok(match (attached, deaf) {
        (false, _) => State::Detached,
        (true, true) => State::Deaf,
        (true, false) if altered => State::Altered,
        (true, false) => State::Up,
    })
}

pub(super) fn show(reports: &[Report]) {
    if reports.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        ("CHAIN", Align::Left),
        ("VETH", Align::Left),
        ("STATE", Align::Left),
        ("IN THE CONTAINER", Align::Left),
        ("PROGRAM", Align::Left),
        ("VERDICT", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ]);
    for report in reports {
        let Report { chain, state, programs } = report;
        let of = |at: &Interface| programs.iter().find(|program| program.at == *at);
        let first = [chain.nic.to_string(), "-".into(), state.name().into(), "-".into()];
        table.row(first.into_iter().chain(cells(of(&chain.nic))).collect());
        for (at, stop) in chain.members.iter().enumerate() {
            let last = at + 1 == chain.members.len();
            let inside = match (stop.ready, last) {
                (Ready::Bounce, _) => "bounce",
                (Ready::Pass, _) => "pass",
                (_, true) => "the stack",
                (_, false) => "its own program",
            };
            let veth = format!("{} - {}", stop.inside, stop.host);
            let first = [format!("> {}", stop.name), veth, String::new(), inside.into()];
            table.row(first.into_iter().chain(cells(of(&stop.host))).collect());
        }
    }
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
    for Report { chain, .. } in reports {
        let matches: Vec<String> = chain.matches.iter().map(ToString::to_string).collect();
        let back = if chain.back { "; answers go back" } else { "" };
        say(format_args!("{} takes in: {}{back}", chain.nic, matches.join(" or ")));
    }
}

/// Program, and counters.
fn cells(program: Option<&OnHost>) -> [String; 4] {
    let Some(OnHost { program, counters, .. }) = program else {
        return ["-".into(), "-".into(), String::new(), String::new()];
    };
    let lines =
        |each: fn(&Counter) -> String| counters.iter().map(each).collect::<Vec<_>>().join("\n");
    [
        program.as_ref().map_or("-".into(), |p| format!("{}\nid {}", p.tag, p.id)),
        lines(|counter| counter.verdict.into()),
        lines(|counter| counter.packets.to_string()),
        lines(|counter| counter.bytes.to_string()),
    ]
}
