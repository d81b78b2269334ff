//! The head of a listing: all that is said of the program as a whole.

use super::{View, digits};
use crate::insn::ByteOrder;
use crate::lint::{Report, lint_program};
use crate::map::{MapDecl, MapShape};
use crate::programs::Shipped;
use crate::tag::{MapRefs, TagKind, sha256, tag};

/// Bytes of a fact's line.
const WIDTH: usize = 84;

/// Comment lines that say what the program does, what its registers hold, where it runs, which maps and helpers
/// it uses, and by which hashes it is known: to all kernels, or to the `kernel` `(major, minor)` that the view
/// is for.
pub fn header(shipped: Shipped, view: View, kernel: Option<(u32, u32)>) -> String {
    let program = view.program;
    let mut lines = vec![shipped.name().to_string()];
    for paragraph in shipped.about() {
        lines.push(String::new());
        lines.extend(paragraph.lines().map(str::to_string));
    }
    if view.refs == MapRefs::Patched && !program.maps().is_empty() {
        lines.push(String::new());
        lines.push(
            "As kernels before 5.14 get it: each map by its descriptor (BPF_PSEUDO_MAP_FD), which"
                .into(),
        );
        lines.push(
            "is known when it is loaded, and is 0 here. Other kernels get maps by index.".into(),
        );
    }
    let hook = program.hook();
    section(&mut lines, "Registers", shipped.contract().lines().map(str::to_string));
    section(&mut lines, "Hook", [format!("{} ({})", hook.name(), hook.prog_type())]);
    let slots = program.slots();
    section(&mut lines, "Size", [format!("{slots} instructions, {} bytes", view.bytes().len())]);
    section(&mut lines, "Maps", program.maps().iter().enumerate().map(map));
    section(&mut lines, "Helpers", program.helpers().iter().map(ToString::to_string));
    section(&mut lines, "SHA-256", hashes(view));
    section(&mut lines, "Tag", tags(view, kernel));
    let maps: Vec<MapShape> = program.maps().iter().map(MapShape::from).collect();
    section(&mut lines, "Facts, proved by the lint", facts(&lint_program(program), &maps));
    lines.iter().map(|line| format!("; {line}").trim_end().to_string() + "\n").collect()
}

/// A title and lines under it; "none" where there are none.
fn section(out: &mut Vec<String>, title: &str, lines: impl IntoIterator<Item = String>) {
    out.push(String::new());
    out.push(title.to_string());
    let before = out.len();
    out.extend(lines.into_iter().map(|line| format!("  {line}")));
    if out.len() == before {
        out.push("  none".into());
    }
}

/// What the lint says of a program, a fact on one or more lines. Of one with findings, which is not walked to
/// the end, it is those instead; what is shipped has none.
pub fn facts(report: &Report, maps: &[MapShape]) -> Vec<String> {
    let findings = report.findings.iter().map(|finding| ("FINDING", finding.to_string()));
    let facts = match report.findings.is_empty() {
        true => report.facts.lines(maps),
        false => findings.collect(),
    };
    let mut out = Vec::new();
    for (name, text) in facts {
        let mut lead = name;
        for part in wrapped(&text) {
            out.push(format!("{lead:<13} {part}"));
            lead = "";
        }
    }
    out
}

/// Lines that are broken at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < WIDTH => *line += &format!(" {word}"),
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

fn map((index, decl): (usize, &MapDecl)) -> String {
    let MapDecl { name, kind, key_size, value_size, max_entries, flags } = decl;
    let kind = kind.name();
    format!(
        "map[{index}] {name}: {kind}, key {key_size} B, value {value_size} B, {max_entries} entries, flags {flags:#x}"
    )
}

/// Of what is shown, and of what is shipped if that differs.
fn hashes(view: View) -> Vec<String> {
    let shipped = digits(&sha256(&view.program.bytes(ByteOrder::Little)));
    let shown = digits(&sha256(&view.bytes()));
    if shown == shipped {
        return vec![shown];
    }
    vec![format!("{shipped}  maps by index"), format!("{shown}  as shown here")]
}

fn tags(view: View, kernel: Option<(u32, u32)>) -> Vec<String> {
    let tag = |kind, refs| digits(&tag(view.program, kind, refs, ByteOrder::Little));
    let Some((major, minor)) = kernel else {
        return vec![
            format!(
                "{}  kernels before 5.14 (SHA-1, maps by descriptor)",
                tag(TagKind::Sha1, MapRefs::Patched)
            ),
            format!("{}  kernels 5.14 to 6.17 (SHA-1)", tag(TagKind::Sha1, MapRefs::Index)),
            format!("{}  kernels from 6.18 (SHA-256)", tag(TagKind::Sha256, MapRefs::Index)),
        ];
    };
    let (kind, hash) = match TagKind::of((major, minor)) {
        TagKind::Sha1 => (TagKind::Sha1, "SHA-1"),
        TagKind::Sha256 => (TagKind::Sha256, "SHA-256"),
    };
    vec![format!("{}  kernel {major}.{minor} ({hash})", tag(kind, view.refs))]
}
