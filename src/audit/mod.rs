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
use crate::plan::{Action, Ground, altered, jumbo};
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
        let sections = self.members.iter().flat_map(|member| &member.sections);
        sections.flat_map(|section| &section.findings).chain(&self.host)
    }
}

/// Looks at all members, whose records these are. Changes nothing.
pub fn audit(members: &[Member], ground: Ground) -> Result<Report> {
    let world = World::look()?;
    let mut known = Accounted::default();
    let mut reports = Vec::new();
    for member in members {
        let mut sections = Vec::new();
        for expected in Expected::of(member)? {
            sections.push(one_program(&expected, ground, &world, &mut known)?);
        }
        let (name, bridge) = (member.name.clone(), member.segment.bridge.clone());
        reports.push(MemberReport { name, bridge, sections });
    }
    let mut routes = jumbo::Found::new(ground);
    for (member, report) in members.iter().zip(&mut reports) {
        let sections = &mut report.sections;
        let findings = settings(&altered(member, members, &mut routes, ground)?);
        sections.push(Section::interface(member.host.clone(), findings));
        sections.extend(others::on_interface(&member.host, ground, &world, &known)?);
        sections.extend(others::on_other_end(member, ground, &world, &known)?);
    }
    let host = on_host(members, ground, &world, &known)?;
    let namesakes = others::namesakes(&world, &known);
    let mut report = Report { version: 1, ok: false, members: reports, host, namesakes };
    let ok = report.findings().all(Finding::is_ok);
    report.ok = ok;
    Ok(report)
}

/// What `up` has set around the programs.
fn settings(altered: &[Action]) -> Vec<Finding> {
    let deviates = |action: &Action| {
        Finding::deviates(
            "settings",
            format!("up would {action}"),
            "others have changed what up had set: packets may be lost",
            "run `xhop up` for this container again",
        )
    };
    Finding::or_ok(altered.iter().map(deviates).collect(), "settings", "as up has set them".into())
}

fn on_host(
    members: &[Member],
    ground: Ground,
    world: &World,
    known: &Accounted,
) -> Result<Vec<Finding>> {
    let mut findings = pins::pins(members)?;
    findings.extend(pins::kept(members));
    findings.extend(others::maps(members, world, known)?);
    findings.extend(others::tracers(world, known));
    findings.extend(others::elsewhere(members, ground, world, known)?);
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
