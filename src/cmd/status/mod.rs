//! `xhop status`: who is joined, how, which chains there are, and what became of their packets.

mod chains;

use std::io::IsTerminal;
use std::time::Duration;

use serde::Serialize;
use xhop_asm::blocks::count::{VERDICTS, Verdict, value};

use super::rights::Rights;
use super::{lock, print_json, say, unread};
use crate::Result;
use crate::container::Namespaces;
use crate::plan::chain::attached_inside;
use crate::plan::member::Member;
use crate::plan::way::{Attach, Datapath, Ways};
use crate::plan::{
    Action, Ground, MemberPins, altered, apart, handful, jumbo, mute, record, rules,
};
use crate::sys::bpf::{Link, Map, Prog, XdpMode};
use crate::table::{Align, Table};

/// How to show it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Show it again every second, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::STATUS.take()?;
    loop {
        let (reports, chains, warnings) = collect_all()?;
        if args.watch && !args.json && std::io::stdout().is_terminal() {
            // Home, then clear what is below: no flicker.
            say(format_args!("\x1b[H\x1b[J"));
        }
        match args.json {
            true => print_json(&Answer {
                version: 1,
                members: &reports,
                chains: &chains,
                warnings: &warnings,
            })?,
            false => {
                if chains.is_empty() || !reports.is_empty() {
                    show(&reports);
                }
                for warning in handful(warnings) {
                    say(format_args!("warning: {warning}"));
                }
                chains::show(&chains);
            }
        }
        if !args.watch || unread() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    members: &'a [Report],
    chains: &'a [chains::Report],
    /// Rules of the host that name members.
    warnings: &'a [String],
}

/// A member as it is now.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    member: Member,
    state: State,
    /// What `up` would set again.
    altered: Vec<Action>,
    /// Why it is joined by that datapath.
    why: String,
    /// Whether its program tells of each packet, to an `xhop capture`.
    captured: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<Running>,
    counters: Vec<Counter>,
}

/// How a member is.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// Its program is attached, and it takes frames.
    Up,
    /// Its program is attached, but frames that are redirected to it are lost: its end does not poll.
    Deaf,
    /// Its program is attached, but a setting that it needs is not as `up` made it: large packets may be lost.
    Altered,
    /// Its program is attached, and the bridge would keep it from others, or carries nothing.
    Apart,
    /// Its program is attached, and its packets go round a native XDP program of its own.
    Round,
    /// Its veth is not on the bridge that it was joined on.
    Moved,
    /// Its veth is there, its program is not.
    Detached,
    /// Its program is attached, but the pin that tells so is gone.
    Unpinned,
    /// Its veth is gone.
    Gone,
}

#[derive(Serialize)]
struct Running {
    name: String,
    id: u32,
    tag: String,
    /// Whether the kernel's listing of it shows what each instruction is for.
    line_info: bool,
}

#[derive(Serialize)]
struct Counter {
    verdict: &'static str,
    packets: u64,
    bytes: u64,
}

pub(super) fn collect() -> Result<Vec<Report>> {
    collect_all().map(|(members, ..)| members)
}

fn collect_all() -> Result<(Vec<Report>, Vec<chains::Report>, Vec<String>)> {
    let _lock = lock(true)?;
    let namespaces = Namespaces::find()?;
    let ground = Ground::new(&namespaces);
    let joined = record::all()?;
    Ok((members(&joined, ground)?, chains::collect(ground)?, rules(&joined, ground)))
}

fn members(members: &[Member], ground: Ground) -> Result<Vec<Report>> {
    let mut routes = jumbo::Found::new(ground);
    let report = |member: &Member| {
        let altered = altered(member, members, &mut routes, ground)?;
        report(member.clone(), altered, ground)
    };
    members.iter().map(report).collect()
}

fn report(member: Member, altered: Vec<Action>, ground: Ground) -> Result<Report> {
    let pins = MemberPins::of(&member.segment, &member.host);
    let attached =
        ground.attached(&member.host, member.on_host().1, member.attach, &pins.forward())?;
    let state = match state(&member, attached, ground)? {
        State::Up if !altered.is_empty() => State::Altered,
        // Without its program, or without itself, that is no more what is wrong.
        state => state,
    };
    let program = match (attached, member.attach) {
        (false, _) => None,
        (true, Attach::Link) => {
            let link = Link::open_pinned(&pins.forward())?.info()?;
            Some(Prog::by_id(link.prog_id)?)
        }
        (true, Attach::Netlink) => Some(Prog::open_pinned(&pins.forward())?),
    };
    let counters = match pins.open_stats() {
        Ok(stats) => VERDICTS.into_iter().map(|v| counter(&stats, v)).collect::<Result<_>>()?,
        Err(_) if !attached => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(Report {
        program: program.map(|prog| running(&prog)).transpose()?,
        state,
        altered,
        why: member.datapath.why(member.chosen),
        captured: pins.captured(),
        counters,
        member,
    })
}

/// How a member is, whose program is `attached` or not; what others have changed is not looked at.
pub(super) fn state(member: &Member, attached: bool, ground: Ground) -> Result<State> {
    let Some((_, host)) = ground.link(&member.host)? else {
        // What can't be seen is not gone.
        let there = ground.alive(member).unwrap_or(true);
        return Ok(if there { State::Moved } else { State::Gone });
    };
    if !attached {
        let lost = ground.unpinned(&member.host, member.on_host().1)?.is_some();
        return Ok(if lost { State::Unpinned } else { State::Detached });
    }
    if host.master != Some(member.segment.bridge.ifindex) {
        return Ok(State::Moved);
    }
    if let (Ok(Some((_, inside))), Some((_, bridge))) =
        (ground.inside(&member.host), ground.link(&member.segment.bridge)?)
    {
        if mute(&host, &inside, Some(&bridge)).or(apart(&host, &bridge)).is_some() {
            return Ok(State::Apart);
        }
        let native = inside.xdp.iter().find(|xdp| xdp.mode == XdpMode::Native);
        if let (Some(xdp), Datapath::Tc) = (native, member.datapath) {
            // What a chain has attached leaves to the stack what is none of the chain.
            if attached_inside(&member.inside, ground)? != Some(xdp.prog_id) {
                return Ok(State::Round);
            }
        }
    }
    let deaf =
        member.datapath == Datapath::Native && ground.takes_frames(&member.host)? == Some(false);
    Ok(if deaf { State::Deaf } else { State::Up })
}

fn running(prog: &Prog) -> Result<Running> {
    let info = prog.info()?;
    let line_info = info.line_infos > 0;
    Ok(Running { name: info.name, id: info.id, tag: hex::encode(info.tag), line_info })
}

/// How many packets of the member had this verdict.
pub(super) fn packets(member: &Member, verdict: Verdict) -> Result<u64> {
    let pins = MemberPins::of(&member.segment, &member.host);
    Ok(counter(&pins.open_stats()?, verdict)?.packets)
}

fn counter(stats: &Map, verdict: Verdict) -> Result<Counter> {
    let key = (verdict as u32).to_ne_bytes();
    let [packets, bytes] = stats.sums(&key, [value::PACKETS, value::BYTES])?;
    Ok(Counter { verdict: verdict.name(), packets, bytes })
}

pub(super) fn show(reports: &[Report]) {
    if reports.is_empty() {
        say(format_args!("no container is joined; `xhop up A B` joins two"));
        return;
    }
    let mut table = Table::new(&[
        ("CONTAINER", Align::Left),
        ("ADDRESSES", Align::Left),
        ("VETH", Align::Left),
        ("BRIDGE", Align::Left),
        ("STATE", Align::Left),
        ("DATAPATH", Align::Left),
        ("CHECKSUM", Align::Left),
        ("PROGRAM", Align::Left),
        ("VERDICT", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ]);
    for report in reports {
        let member = &report.member;
        let lines = |list: Vec<String>| list.join("\n");
        table.row(vec![
            member.name.clone(),
            lines(member.addresses.iter().map(ToString::to_string).collect()),
            format!("{} - {}", member.inside, member.host),
            member.segment.to_string(),
            match report.state {
                State::Up => "up".into(),
                State::Deaf => "deaf".into(),
                State::Altered => "altered".into(),
                State::Apart => "apart".into(),
                State::Round => "round".into(),
                State::Unpinned => "unpinned".into(),
                State::Moved => "moved".into(),
                State::Detached => "detached".into(),
                State::Gone => "gone".into(),
            },
            lines(how(report)),
            member.checksum.map_or("kept".into(), |checksum| checksum.to_string()),
            report.program.as_ref().map_or("-".into(), |p| format!("{}\nid {}", p.tag, p.id)),
            lines(report.counters.iter().map(|c| c.verdict.to_string()).collect()),
            lines(report.counters.iter().map(|c| c.packets.to_string()).collect()),
            lines(report.counters.iter().map(|c| c.bytes.to_string()).collect()),
        ]);
    }
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
    let mut told: Vec<String> = Vec::new();
    for report in reports {
        for way in how(report) {
            let line = format!("{way}: {}", why(&way, report));
            if !told.contains(&line) {
                say(format_args!("{line}"));
                told.push(line);
            }
        }
    }
    for report in reports.iter().filter(|report| report.state == State::Altered) {
        let name = &report.member.name;
        for action in &report.altered {
            say(format_args!("{name} is altered: `xhop up {name}` would {action}"));
        }
    }
}

const JUMBO: &str = "jumbo";
const BIG_TCP: &str = "big-tcp";

const CAPTURED: &str = "captured";

/// By which datapath a member is joined, with which options, and whether it is captured.
fn how(report: &Report) -> Vec<String> {
    let ways = Ways::of(&report.member);
    let mut how = vec![ways.datapath.to_string()];
    how.extend(ways.jumbo.then(|| JUMBO.into()));
    how.extend(ways.big_tcp.then(|| BIG_TCP.into()));
    how.extend(report.captured.then(|| CAPTURED.into()));
    how
}

/// What that means.
fn why<'a>(way: &str, report: &'a Report) -> &'a str {
    match way {
        JUMBO => {
            "routes between the joined take packets of up to 65520 bytes, which the bridge would drop: \
             what does not hop is lost"
        }
        BIG_TCP => "TCP over IPv4 sends up to 192 KiB at once; to the outside the host cuts it up",
        CAPTURED => "its program tells `xhop capture` of each packet",
        _ => &report.why,
    }
}
