//! `xhop programs`: all that this binary can ever load.

use serde::Serialize;
use xhop_asm::programs::Shipped;
use xhop_asm::tag::{MapRefs, TagKind, sha256, tag};
use xhop_asm::{ByteOrder, Program};

use super::rights::Rights;
use super::{print_json, put};
use crate::table::{Align, Table};
use crate::{Error, Result};

/// How to list them.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    version: u32,
    programs: Vec<Entry>,
}

/// A program. Hashes are of little-endian bytes, in hex.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    hook: &'static str,
    instructions: usize,
    bytes: usize,
    sha256: String,
    tags: Tags,
    maps: Vec<MapEntry>,
    helpers: Vec<HelperEntry>,
}

/// What kernels call it.
#[derive(Serialize)]
struct Tags {
    /// Before 5.14: maps by descriptor.
    sha1_patched: String,
    /// From 5.14 to 6.17.
    sha1: String,
    /// From 6.18.
    sha256: String,
}

#[derive(Serialize)]
struct MapEntry {
    name: &'static str,
    kind: &'static str,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[derive(Serialize)]
struct HelperEntry {
    name: &'static str,
    number: i32,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::PRINT.take()?;
    let programs = Shipped::ALL.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
    if args.json {
        return print_json(&Answer { version: 1, programs });
    }
    put(table(&programs).to_string().as_bytes());
    Ok(())
}

fn entry(shipped: Shipped) -> Result<Entry> {
    let program = shipped.program().map_err(Error::Assemble)?;
    let map = |decl: &xhop_asm::MapDecl| MapEntry {
        name: decl.name,
        kind: decl.kind.name(),
        key_size: decl.key_size,
        value_size: decl.value_size,
        max_entries: decl.max_entries,
        flags: decl.flags,
    };
    let (helpers, bytes) = (program.helpers(), program.bytes(ByteOrder::Little));
    let helper = |helper: &xhop_asm::Helper| HelperEntry {
        name: helper.name().unwrap_or_default(),
        number: helper.number(),
    };
    Ok(Entry {
        name: shipped.name(),
        hook: program.hook().name(),
        instructions: program.slots(),
        bytes: bytes.len(),
        sha256: hex::encode(sha256(&bytes)),
        tags: tags(&program),
        maps: program.maps().iter().map(map).collect(),
        helpers: helpers.iter().map(helper).collect(),
    })
}

fn tags(program: &Program) -> Tags {
    let tag = |kind, refs| hex::encode(tag(program, kind, refs, ByteOrder::Little));
    Tags {
        sha1_patched: tag(TagKind::Sha1, MapRefs::Patched),
        sha1: tag(TagKind::Sha1, MapRefs::Index),
        sha256: tag(TagKind::Sha256, MapRefs::Index),
    }
}

fn table(programs: &[Entry]) -> Table {
    let (left, right) = (Align::Left, Align::Right);
    let columns = [
        ("PROGRAM", left),
        ("INSNS", right),
        ("BYTES", right),
        ("MAPS", left),
        ("HELPERS", left),
        ("HASHES", left),
    ];
    let mut table = Table::new(&columns);
    for program in programs {
        let maps: Vec<&str> = program.maps.iter().map(|map| map.name).collect();
        let helpers: Vec<&str> = program.helpers.iter().map(|helper| helper.name).collect();
        table.row(vec![
            program.name.into(),
            program.instructions.to_string(),
            program.bytes.to_string(),
            or_dash(&maps),
            or_dash(&helpers),
            format!(
                "sha256 {}\ntag    {} before 5.14\ntag    {} to 6.17\ntag    {} from 6.18",
                program.sha256, program.tags.sha1_patched, program.tags.sha1, program.tags.sha256
            ),
        ]);
    }
    table
}

fn or_dash(names: &[&str]) -> String {
    if names.is_empty() { "-".into() } else { names.join("\n") }
}
