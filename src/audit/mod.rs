//! The audit: what must be in the kernel, by the records and by what this binary would load; what is
//! found there; and every way in which the two differ.
//!
//! The tag proves what the kernel was given, the translated instructions what it made of that. What the
//! kernel does not let be seen is not taken for right.

mod blinding;
mod context;
mod expected;
mod finding;
mod known;
mod others;
mod pins;
mod place;
mod program;
mod registers;
mod seen;
mod slot;
#[cfg(test)]
mod tests;
mod translated;
mod world;

use serde::Serialize;

use crate::Result;
use crate::container::Interface;
use crate::plan::member::Member;
use crate::plan::{Action, Chain, Fact, Ground, MemberPins, altered, chain, jumbo};
use crate::sys::bpf::Prog;
pub use expected::Expected;
pub use finding::{Finding, Verdict};
use others::Accounted;
pub use seen::{Seen, on as bpf_on};
pub use translated::{Difference, Mapped};
use world::World;

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this form.
    pub version: u32,
    /// Whether all is as listed.
    pub ok: bool,
    /// The joined containers.
    pub members: Vec<MemberReport>,
    /// The service chains.
    pub chains: Vec<ChainReport>,
    /// What belongs to no single one.
    pub host: Vec<Finding>,
    /// Programs by our name elsewhere, which a demo, for one, has rightly.
    pub namesakes: Vec<String>,
}

/// What was found of one container.
#[derive(Debug, Serialize)]
pub struct MemberReport {
    /// How the user named it.
    pub name: String,
    /// Its bridge.
    pub bridge: Interface,
    /// Its programs, then its interfaces.
    pub sections: Vec<Section>,
}

/// What was found of one chain.
#[derive(Debug, Serialize)]
pub struct ChainReport {
    /// Where it begins.
    pub nic: Interface,
    /// Its programs, then its interfaces.
    pub sections: Vec<Section>,
}

/// What there is by the records.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The joined containers.
    pub members: &'a [Member],
    /// The service chains.
    pub chains: &'a [Chain],
}

/// What was found of one thing.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The program, by its name in `xhop programs`; `None` if it is about the interface itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<&'static str>,
    /// The interface.
    pub at: Interface,
    /// What was looked at.
    pub findings: Vec<Finding>,
    /// How the program's instructions were mapped back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translated: Option<Mapped>,
}

impl Section {
    fn interface(at: Interface, findings: Vec<Finding>) -> Self {
        Self { program: None, at, findings, translated: None }
    }
}

impl Report {
    /// All findings, in order.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let members = self.members.iter().flat_map(|member| &member.sections);
        let sections = members.chain(self.chains.iter().flat_map(|chain| &chain.sections));
        sections.flat_map(|section| &section.findings).chain(&self.host)
    }
}

/// Looks at all that there is by these records. Changes nothing.
pub fn audit(records: Records, ground: Ground) -> Result<Report> {
    let Records { members, chains } = records;
    let world = World::look()?;
    let mut known = Accounted::default();
    let mut reports = Vec::new();
    for member in members {
        let mut sections = Vec::new();
        for expected in Expected::of(member)? {
            sections.push(one_program(&expected, ground, &world, &mut known)?);
        }
        if let Some(on_host) = sections.first_mut() {
            on_host.findings.extend(capture(member)?);
        }
        let (name, bridge) = (member.name.clone(), member.segment.bridge.clone());
        reports.push(MemberReport { name, bridge, sections });
    }
    let mut chain_reports = Vec::new();
    for chain in chains {
        let expected = Expected::of_chain(chain)?;
        let section = |expected| one_program(expected, ground, &world, &mut known);
        let sections = expected.iter().map(section).collect::<Result<_>>()?;
        chain_reports.push(ChainReport { nic: chain.nic.clone(), sections });
    }
    let mut routes = jumbo::Found::new(ground);
    for (member, report) in members.iter().zip(&mut reports) {
        let sections = &mut report.sections;
        let altered = altered(member, members, &mut routes, ground)?;
        let findings = settings(&altered, "up", "run `xhop up` for this container again");
        sections.push(Section::interface(member.host.clone(), findings));
        sections.extend(others::on_interface(&member.host, ground, &world, &known)?);
        sections.extend(others::on_other_end(member, ground, &world, &known)?);
    }
    for (chain, report) in chains.iter().zip(&mut chain_reports) {
        let again = "take it down with `xhop down --chain`, then make it again";
        let findings = settings(&chain::altered(chain, ground)?, "chain", again);
        report.sections.push(Section::interface(chain.nic.clone(), findings));
        for at in chain.interfaces() {
            report.sections.extend(others::on_interface(at, ground, &world, &known)?);
        }
    }
    let host = on_host(records, ground, &world, &known)?;
    let namesakes = others::namesakes(&world, &known);
    let (members, chains) = (reports, chain_reports);
    let mut report = Report { version: 1, ok: false, members, chains, host, namesakes };
    let ok = report.findings().all(Finding::is_ok);
    report.ok = ok;
    Ok(report)
}

/// Whether somebody captures, and reads it.
fn capture(member: &Member) -> Result<Option<Finding>> {
    let pins = MemberPins::of(&member.segment, &member.host);
    Ok(match (pins.captured(), pins.captured_for_nobody()?) {
        (false, _) => None,
        (true, false) => Some(Finding::ok("capture", "`xhop capture` reads what it tells")),
        (true, true) => Some(Finding::deviates(
            "capture",
            "nobody reads what it tells",
            "a capture was ended before it could put the program back that tells nothing",
            "run `xhop up` for this container again",
        )),
    })
}

/// What was set around the programs.
fn settings(altered: &[Action], by: &str, again: &'static str) -> Vec<Finding> {
    // Which program there is, is no setting, and is looked at by itself.
    let altered = altered.iter().filter(|action| !matches!(action.fact, Fact::Forward { .. }));
    let deviates = |action: &Action| {
        Finding::deviates(
            "settings",
            format!("{by} would {action}"),
            "others have changed what was set: packets may be lost",
            again,
        )
    };
    Finding::or_ok(altered.map(deviates).collect(), "settings", format!("as {by} has set them"))
}

fn on_host(
    records: Records,
    ground: Ground,
    world: &World,
    known: &Accounted,
) -> Result<Vec<Finding>> {
    let mut findings = pins::pins(records)?;
    findings.extend(pins::kept(records.members));
    findings.extend(others::maps(records, world, known)?);
    findings.extend(others::tracers(world, known));
    findings.extend(others::elsewhere(records, ground, world, known)?);
    Ok(findings)
}

fn one_program(
    expected: &Expected,
    ground: Ground,
    world: &World,
    known: &mut Accounted,
) -> Result<Section> {
    let place = place::check(expected, ground, world)?;
    let (mut findings, mut translated) = (place.findings, None);
    known.ids.extend(place.held);
    if let Some((id, running)) = place.running.and_then(|seen| Some((seen.prog_id?, seen))) {
        known.ids.insert(id);
        known.places.push((expected.at.clone(), running));
        let (found, mapped) = program::check(&Prog::by_id(id)?, expected, world)?;
        findings.extend(found);
        translated = mapped;
    }
    Ok(Section {
        program: Some(expected.shipped.name()),
        at: expected.at.clone(),
        findings,
        translated,
    })
}
