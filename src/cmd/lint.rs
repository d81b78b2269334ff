//! `xhop lint`: what a program does, and what is wrong with it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use xhop_asm::insn::SLOT;
use xhop_asm::lint::{Facts, Finding, Loop, MapUse, Span, lint};
use xhop_asm::listing::{self, Code};
use xhop_asm::programs::Shipped;
use xhop_asm::{ByteOrder, Hook, MapShape, Program};

use super::input::{self, Piece};
use super::rights::Rights;
use super::{names, print_json, put};
use crate::error::printable;
use crate::{Error, Result};

/// What to look at.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A program, as `xhop programs` lists it, or else a file (`./NAME` where both exist, or with --format,
    /// --section or --hook); `-` is the standard input.
    #[arg(value_name = "FILE|PROGRAM")]
    what: PathBuf,
    #[command(flatten)]
    input: input::Choice,
    /// Where code of a file runs whose section, if it has one, does not tell by its name [default: xdp].
    #[arg(long, value_enum)]
    hook: Option<Where>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A hook, as it is named here.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Xdp,
    Tc,
}

impl From<Where> for Hook {
    fn from(at: Where) -> Self {
        match at {
            Where::Xdp => Self::Xdp,
            Where::Tc => Self::Tc,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    programs: &'a [Entry],
}

/// What is said of a program. Ranges are `[first, after the last]`, in bytes.
#[derive(Serialize)]
struct Entry {
    name: String,
    /// Of one without findings: the others are not walked to the end.
    facts: Option<FactsEntry>,
    findings: Vec<Broken>,
    /// The facts for people.
    #[serde(skip)]
    lines: Vec<String>,
}

#[derive(Serialize)]
struct FactsEntry {
    reads: Vec<Field>,
    writes: Vec<Field>,
    context: Vec<&'static str>,
    maps: Vec<MapEntry>,
    helpers: Vec<String>,
    /// Bytes that a `bpf_csum_diff` sums at most: more than 512 are `-EINVAL` before 6.13.
    summed: u32,
    stack: u32,
    longest_path: u64,
    loops: Vec<LoopEntry>,
    /// What may be returned: ranges, both ends included.
    verdicts: Vec<(u64, u64)>,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    bytes: (u32, u32),
}

#[derive(Serialize)]
struct MapEntry {
    name: String,
    looked_up: bool,
    redirects: bool,
    reads: Vec<(u32, u32)>,
    writes: Vec<(u32, u32)>,
}

#[derive(Serialize)]
struct LoopEntry {
    from: usize,
    to: usize,
    rounds: u32,
}

/// A finding, with the instruction as the listing has it. A path that runs over the end has none.
#[derive(Serialize)]
struct Broken {
    slot: usize,
    rule: &'static str,
    what: String,
    bytes: String,
    instruction: String,
    /// The source line that emitted it, for programs of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// Runs the command. That there are findings is an error.
pub fn run(args: Args) -> Result<()> {
    Rights::READ.take()?;
    let entries = match args.what.to_str().and_then(Shipped::named) {
        // Who says what is in the file means a file.
        Some(shipped) if !args.input.is_made() && args.hook.is_none() => {
            vec![of_program(&shipped.program().map_err(Error::Assemble)?)]
        }
        None if is_name(&args.what) => {
            return Err(Error::NoSuchProgram { name: args.what, names: names() });
        }
        _ => of_file(&args.what, &args.input, args.hook.unwrap_or(Where::Xdp).into())?,
    };
    if args.json {
        print_json(&Answer { version: 1, programs: &entries })?;
    } else {
        entries.iter().for_each(|entry| put(text(entry).as_bytes()));
    }
    match entries.iter().map(|entry| entry.findings.len()).sum() {
        0 => Ok(()),
        count => {
            let what = input::named(&args.what, "standard input");
            Err(Error::Findings { what: what.into(), count })
        }
    }
}

/// Whether it can only be meant as a program's name.
fn is_name(what: &Path) -> bool {
    what.as_os_str() != "-" && what.components().count() <= 1 && !what.exists()
}

fn of_program(program: &Program) -> Entry {
    let maps: Vec<MapShape> = program.maps().iter().map(MapShape::from).collect();
    let mut entry =
        entry(program.name().into(), program.hook(), &program.bytes(ByteOrder::Little), &maps);
    for broken in &mut entry.findings {
        let mut slot = 0;
        let line = program.lines().iter().find(|line| {
            slot += line.insn.slots();
            slot > broken.slot
        });
        broken.source = line.map(|line| format!("{}:{}", line.at.file(), line.at.line()));
    }
    entry
}

/// Each function of an object is a program.
fn of_file(file: &Path, args: &input::Choice, unnamed: Hook) -> Result<Vec<Entry>> {
    let input = input::read(file, args)?;
    let mut entries = Vec::new();
    for piece in &input.pieces {
        let hook = piece.section.as_deref().and_then(Hook::of_section).unwrap_or(unnamed);
        for (name, bytes) in programs(file, piece) {
            entries.push(entry(name, hook, bytes, &input.maps));
        }
    }
    Ok(entries)
}

/// The programs in a piece: from each function to the next.
fn programs<'a>(file: &Path, piece: &'a Piece) -> Vec<(String, &'a [u8])> {
    let mut starts: Vec<(usize, &str)> = piece
        .functions
        .iter()
        .map(|(slot, name)| (slot.saturating_mul(SLOT), name.as_str()))
        .collect();
    starts.retain(|(at, _)| *at < piece.bytes.len());
    xhop_asm::sort(&mut starts);
    starts.dedup_by_key(|(at, _)| *at);
    if starts.first().is_none_or(|(at, _)| *at != 0) {
        starts.insert(0, (0, ""));
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([piece.bytes.len()]);
    let ranges = starts.iter().zip(ends);
    let named = |((start, function), end): (&(usize, &str), usize)| {
        let name = match (&piece.section, *function) {
            (None, _) => printable(input::named(file, "standard input")),
            (Some(section), "") => section.clone(),
            (Some(section), function) => format!("{section}/{function}"),
        };
        (name, piece.bytes.get(*start..end).unwrap_or_default())
    };
    ranges.map(named).collect()
}

fn entry(name: String, hook: Hook, bytes: &[u8], maps: &[MapShape]) -> Entry {
    let mut report = lint(hook, bytes, maps);
    let mut findings = Vec::new();
    let mut lines = Code { bytes, maps }.lines().peekable();
    for Finding { slot, rule, what } in std::mem::take(&mut report.findings) {
        // Both are in order.
        while lines.next_if(|line| line.slot < slot).is_some() {}
        let line = lines.peek().filter(|line| line.slot == slot);
        findings.push(Broken {
            slot,
            rule: rule.name(),
            what,
            bytes: line.map_or(String::new(), |line| line.bytes.clone()),
            instruction: line.map_or(String::new(), |line| line.text.clone()),
            source: None,
        });
    }
    if !findings.is_empty() {
        return Entry { name, facts: None, findings, lines: Vec::new() };
    }
    let lines = listing::facts(&report, maps);
    Entry { name, facts: Some(facts(report.facts, maps)), findings, lines }
}

fn facts(facts: Facts, maps: &[MapShape]) -> FactsEntry {
    let fields = |spans: Vec<Span>| {
        let field = |span: Span| Field { name: span.name, bytes: (span.start, span.end) };
        spans.into_iter().map(field).collect()
    };
    let map = |(map, used): (&MapShape, MapUse)| MapEntry {
        name: map.name.clone(),
        looked_up: used.looked_up,
        redirects: used.redirects,
        reads: used.read,
        writes: used.written,
    };
    let back = |back: Loop| LoopEntry { from: back.from, to: back.to, rounds: back.rounds };
    FactsEntry {
        reads: fields(facts.reads),
        writes: fields(facts.writes),
        context: facts.context,
        maps: maps.iter().zip(facts.maps).map(map).collect(),
        helpers: facts.helpers.iter().map(|helper| helper.to_string()).collect(),
        summed: facts.summed,
        stack: facts.stack,
        longest_path: facts.longest,
        loops: facts.loops.into_iter().map(back).collect(),
        verdicts: facts.verdicts.0,
    }
}

fn text(entry: &Entry) -> String {
    let mut text = format!("{}\n", entry.name);
    for line in &entry.lines {
        text += &format!("  {line}\n");
    }
    for Broken { slot, rule, what, bytes, instruction, source } in &entry.findings {
        text += &format!("  FINDING       insn {slot}: {rule}: {what}\n");
        let place = [format!("{bytes}  {instruction}"), source.clone().unwrap_or_default()];
        for line in place.iter().map(|line| line.trim()).filter(|line| !line.is_empty()) {
            text += &format!("                {line}\n");
        }
    }
    text
}
