//! `xhop audit`: whether the kernel runs what this binary would load, where it should, and nothing else.

use super::rights::Rights;
use super::{lock, print_json, say};
use crate::audit::{Finding, Records, Report, Section, Verdict, audit};
use crate::container::Namespaces;
use crate::plan::{Ground, chain, record};
use crate::{Error, Result};

/// How to show it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command. An error unless all is as listed.
pub fn run(args: Args) -> Result<()> {
    Rights::AUDIT.take()?;
    let _lock = lock(true)?;
    let namespaces = Namespaces::find()?;
    let (members, chains) = (record::all()?, chain::record::all()?);
    let records = Records { members: &members, chains: &chains };
    let report = audit(records, Ground::new(&namespaces))?;
    match args.json {
        true => print_json(&report)?,
        false => show(&report),
    }
    let of = |verdict| report.findings().filter(|finding| finding.verdict == verdict).count();
    match report.ok {
        true => Ok(()),
        false => {
            Err(Error::Audit { deviations: of(Verdict::Deviates), unknown: of(Verdict::Unknown) })
        }
    }
}

fn show(report: &Report) {
    for member in &report.members {
        say(format_args!("{} on bridge {}", member.name, member.bridge));
        member.sections.iter().for_each(show_section);
    }
    for chain in &report.chains {
        say(format_args!("chain from {}", chain.nic));
        chain.sections.iter().for_each(show_section);
    }
    let nobody = report.members.is_empty() && report.chains.is_empty();
    // Where nobody is joined nothing is left, or it is told.
    if !(nobody && report.ok) {
        say(format_args!("this host"));
        report.host.iter().for_each(|finding| show_finding("    ", finding));
    }
    for namesake in &report.namesakes {
        say(format_args!(
            "note: {namesake} has our name and is none of these: a demo, a bench, or somebody else's"
        ));
    }
    match (nobody, report.ok) {
        (true, true) => say(format_args!("no container is joined: there is nothing to audit")),
        (false, true) => say(format_args!("all is as listed")),
        (_, false) => {}
    }
}

fn show_section(section: &Section) {
    say(format_args!("  {}", heading(section)));
    section.findings.iter().for_each(|finding| show_finding("    ", finding));
}

fn heading(section: &Section) -> String {
    match section.program {
        Some(program) => format!("{program} on {}", section.at),
        None => format!("{}", section.at),
    }
}

fn show_finding(indent: &str, finding: &Finding) {
    let mark = match finding.verdict {
        Verdict::Ok => "[ok]",
        Verdict::Deviates => "[!!]",
        Verdict::Unknown => "[??]",
    };
    say(format_args!("{indent}{mark} {:<11} {}", finding.check, finding.found));
    for more in [finding.means, finding.remedy].into_iter().flatten() {
        say(format_args!("{indent}                 {more}"));
    }
}
