//! What was tried and seen, for people.

use super::answer::Answer;
use super::cause::Finding;
use super::diagnose::{Seen, Way};
use super::kernel::{Kernel, Row};
use super::probe::{Kind, Probe};
use super::side::Side;
use super::wording::by_xdp;
use crate::cmd::say;
use crate::table::{Align, Table};

/// The kernel's features.
pub fn kernel(kernel: &Kernel) {
    let mut table = Table::new(&[
        ("FEATURE", Align::Left),
        ("HERE", Align::Left),
        ("NEEDED FOR", Align::Left),
        ("WITHOUT IT", Align::Left),
    ]);
    let rows = || kernel.features.iter().chain(&kernel.datapaths);
    for row in rows() {
        let datapath = kernel.datapaths.contains(row);
        let name =
            if datapath { format!("--datapath {}", row.feature) } else { row.feature.into() };
        let without = if row.answer.is_yes() { "" } else { row.without };
        table.row(vec![name, here(row).into(), row.for_what.into(), without.into()]);
    }
    print(&table);
    for row in rows() {
        match &row.answer {
            Answer::Yes => {}
            Answer::No(why) => say(format_args!("{}: no: {why}", row.feature)),
            Answer::Unknown(why) => say(format_args!("{}: could not tell: {why}", row.feature)),
        }
    }
}

fn here(row: &Row) -> &'static str {
    match row.answer {
        Answer::Yes => "yes",
        Answer::No(_) => "no",
        Answer::Unknown(_) => "could not tell",
    }
}

/// The same in a line, and what is not there.
pub fn kernel_briefly(kernel: &Kernel) {
    let lacking = || kernel.features.iter().filter(|row| !row.answer.is_yes());
    let (all, there) = (kernel.features.len(), kernel.features.len() - lacking().count());
    say(format_args!("this kernel has {there} of {all} features (`xhop doctor` alone lists them)"));
    for row in lacking() {
        say(format_args!("{}: {}: {}", row.feature, here(row), row.without));
    }
}

/// The path, both ways.
pub fn path(seen: &Seen) {
    let [a, b] = &seen.sides;
    for (from, to, way) in [(a, b, &seen.ways[0]), (b, a, &seen.ways[1])] {
        say(format_args!(""));
        direction(from, to, way);
    }
    for side in &seen.sides {
        for stranger in &side.strangers {
            say(format_args!("also on {} of {}: {}", stranger.at, side.name, stranger.what));
        }
    }
}

fn direction(from: &Side, to: &Side, way: &Way) {
    let how = from
        .joined
        .as_ref()
        .map_or("not joined".into(), |joined| format!("joined by {}", joined.member.datapath));
    say(format_args!("{} to {} ({how})", from.name, to.name));
    if way.probes.is_empty() {
        say(format_args!("no probe was sent: the two have no addresses of one family"));
        return;
    }
    let mut table = Table::new(&[
        ("PROBE", Align::Left),
        ("BYTES", Align::Right),
        ("SENT", Align::Right),
        ("LEFT", Align::Right),
        ("AT HOST", Align::Right),
        ("BY BRIDGE", Align::Right),
        ("ARRIVED", Align::Right),
        ("WRONG SUM", Align::Right),
        ("TAKEN", Align::Right),
        ("SO IT", Align::Left),
    ]);
    let by_xdp = from.joined.as_ref().is_some_and(by_xdp);
    for probe in &way.probes {
        let mut row = vec![format!("IPv{} {}", probe.ip, probe.kind.name())];
        let number = |number: usize| number.to_string();
        row.extend([probe.bytes, probe.sent, probe.left].map(number));
        // What XDP redirects does not come by there.
        let unseen = by_xdp && probe.at_host == 0;
        row.push(if unseen { "-".into() } else { number(probe.at_host) });
        let then = [probe.by_bridge, probe.arrived, probe.wrong_sums, probe.taken];
        row.extend(then.map(number));
        row.push(became(way, probe));
        table.row(row);
    }
    print(&table);
    account(from, way);
}

/// What became of a probe, in a word or two.
fn became(way: &Way, probe: &Probe) -> String {
    match (&probe.refused, probe) {
        (Some(why), _) => format!("was not sent: {why}"),
        (None, p) if way.hopped(p) => "hopped".into(),
        (None, p) if p.taken >= p.sent && p.by_bridge > 0 => "went by the bridge".into(),
        (None, p) if p.taken >= p.sent && way.unseen.is_empty() => "went another way".into(),
        (None, p) if p.taken >= p.sent => "came".into(),
        (None, p) if p.left < p.sent && !way.unseen.is_empty() => "was not seen".into(),
        (None, p) if p.left < p.sent => "did not leave".into(),
        (None, p) if p.wrong_sums > 0 => "came broken".into(),
        (None, p) if p.arrived >= p.sent && p.kind == Kind::Echo => "got no answer".into(),
        (None, p) if p.arrived >= p.sent => "was not taken".into(),
        (None, _) => "was lost".into(),
    }
}

/// Where each packet went that left.
fn account(from: &Side, way: &Way) {
    let account = &way.account;
    let verdicts: Vec<String> =
        account.verdicts.iter().map(|c| format!("{} {}", c.packets, c.verdict)).collect();
    let (end, host) = (&from.attachment.inside, &from.attachment.host);
    if !verdicts.is_empty() {
        say(format_args!(
            "{} packets left {end}: {}, {} unaccounted for; besides, {host} refused {}, and dropped {} of those",
            account.sent,
            verdicts.join(", "),
            account.unaccounted,
            account.refused,
            account.dropped
        ));
    }
    let driver: Vec<String> =
        account.driver.iter().map(|c| format!("{} {} +{}", c.at, c.counter, c.rise)).collect();
    if !driver.is_empty() {
        say(format_args!("drivers counted: {}", driver.join(", ")));
    }
    for failed in &account.failures {
        say(format_args!(
            "redirects that failed: {} (err {}, {})",
            failed.packets, failed.err, failed.name
        ));
    }
}

/// What is wrong.
pub fn findings(findings: &[Finding]) {
    say(format_args!(""));
    for finding in findings {
        say(format_args!("[!!] {}: {}", finding.on, finding.found));
        say(format_args!("     {}", finding.means));
        say(format_args!("     to do: {}", finding.remedy));
    }
    if findings.is_empty() {
        say(format_args!("healthy"));
    }
}

fn print(table: &Table) {
    for line in table.to_string().lines() {
        say(format_args!("{line}"));
    }
}
