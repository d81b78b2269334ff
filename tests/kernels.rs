//! The static binary on other kernels, each in an emulated machine: `tests/kernels/boot` runs tests of this
//! repository there. What they show of each kernel is the README's table.
//!
//! XHOP_KERNELS names the kernels (`5.10,7.3`, or `all`); without it the test is skipped. With
//! XHOP_BLESS=1 and all kernels the table is written anew.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels/boot");
const PINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels/pins");
/// What is run on each.
const TESTS: [&str; 2] = ["features", "same_bytes the_whole_catalogue"];
/// The row of `same_bytes`.
const BYTES: &str = "each program it loads: verdicts and bytes as in the VM";
/// Between these the README has the table.
const MARKS: [&str; 2] = ["<!-- tests/kernels.rs: table -->\n", "<!-- end of table -->\n"];

/// What a kernel showed: a cell for each feature, in the order of the tests.
type Column = Vec<(String, String)>;

/// The kernels for this processor that `pins` knows, in its order.
fn pinned() -> Vec<String> {
    let pins = fs::read_to_string(PINS).expect("pins");
    let lines = pins.lines().filter(|line| !line.starts_with('#'));
    let mut kernels: Vec<String> =
        lines.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    kernels.dedup();
    kernels
}

/// Runs the tests on this kernel. Panics with the machine's console if one fails.
fn column(kernel: &str) -> Column {
    let mut boot = Command::new(BOOT);
    boot.args([kernel, "amd64"]).args(TESTS).stderr(Stdio::inherit());
    let done = boot.output().expect("bash");
    let console = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "kernel {kernel}:\n{console}");
    let mut column = vec![(BYTES.to_owned(), "yes".to_owned())];
    let cells = console.lines().filter_map(|line| line.strip_prefix("feature: "));
    column.extend(cells.map(|cell| {
        let (feature, cell) = cell.split_once(": ").expect("a feature and a cell");
        (feature.to_owned(), cell.to_owned())
    }));
    assert!(column.len() > 10, "kernel {kernel} tells too little:\n{console}");
    column
}

/// The table, and below it why not.
fn table(columns: &[(String, Column)]) -> String {
    let names = columns.iter().map(|(kernel, _)| kernel.as_str());
    let mut text = format!("| | {} |\n", names.collect::<Vec<_>>().join(" | "));
    text += &format!("|---|{}\n", "---|".repeat(columns.len()));
    let mut whys: Vec<&str> = Vec::new();
    for (feature, _) in columns.first().map_or(&[][..], |(_, column)| column) {
        let cells = columns.iter().map(|(kernel, column)| {
            let found = column.iter().find(|(name, _)| name == feature);
            let cell = found.unwrap_or_else(|| panic!("{kernel} says nothing of {feature}"));
            match cell.1.split_once("no: ") {
                Some((_, why)) => {
                    if !whys.contains(&why) {
                        whys.push(why);
                    }
                    "no"
                }
                None => &cell.1,
            }
        });
        let cells: Vec<&str> = cells.collect();
        let name = match feature.starts_with("--") {
            true => format!("`{feature}`"),
            false => feature.clone(),
        };
        text += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    text += "\nWhere it says no, `xhop` says why:\n";
    whys.iter().for_each(|why| text += &format!("- {why}\n"));
    text
}

/// The README's lines of it, cell by cell: `(feature, kernel) -> cell`.
fn cells(table: &str) -> BTreeMap<(String, String), String> {
    let split = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = table.lines().filter(|line| line.starts_with('|')).map(split);
    let head = rows.next().unwrap_or_default();
    let mut cells = BTreeMap::new();
    for row in rows.skip(1) {
        for (kernel, cell) in head.iter().zip(&row).skip(1) {
            cells.insert((row[0].clone(), kernel.clone()), cell.clone());
        }
    }
    cells
}

#[test]
fn other_kernels() {
    let Ok(wanted) = std::env::var("XHOP_KERNELS") else {
        eprintln!("skipped: other_kernels: it takes minutes (XHOP_KERNELS=all, or 5.10,7.3)");
        return;
    };
    let all = pinned();
    let wanted: Vec<String> = match wanted.as_str() {
        "all" => all.clone(),
        some => some.split(',').map(str::to_owned).collect(),
    };
    let columns: Vec<(String, Column)> =
        wanted.iter().map(|kernel| (kernel.clone(), column(kernel))).collect();
    let shown = table(&columns);
    let path = format!("{ROOT}/README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once(MARKS[0]).expect("the table's begin");
    let (noted, after) = rest.split_once(MARKS[1]).expect("the table's end");
    if std::env::var_os("XHOP_BLESS").is_some() && wanted == all {
        let text = format!("{before}{}{shown}{}{after}", MARKS[0], MARKS[1]);
        return fs::write(&path, text).expect("README.md");
    }
    let noted = cells(noted);
    for (place, cell) in cells(&shown) {
        assert_eq!(noted.get(&place), Some(&cell), "{place:?} of the README's table");
    }
    if wanted == all {
        assert_eq!(noted, cells(&shown), "the README's table");
    }
}
