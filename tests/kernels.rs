//! The static binary on other kernels, each in an emulated machine: `tests/kernels/boot` runs tests of this
//! repository there. What they show of each kernel is the README's table.
//!
//! XHOP_KERNELS names the kernels (`5.10,7.3`, or `all`); without it the test is skipped. With
//! XHOP_BLESS=1 their columns of the table are written anew.

use std::fs;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels/boot");
const PINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels/pins");
/// What is run on each.
const TESTS: [&str; 3] = ["features", "same_bytes the_whole_catalogue", "capture each_packet"];
/// The row of `same_bytes`.
const BYTES: &str = "each program it loads: verdicts and bytes as in the VM";
/// Between these the README has the table.
const MARKS: [&str; 2] = ["<!-- tests/kernels.rs: table -->\n", "<!-- end of table -->\n"];

/// What a kernel showed: a cell for each feature, in the order of the tests.
type Column = Vec<(String, String)>;

/// The README's table: a column for each kernel, and the reasons where a cell says no.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    columns: Vec<(String, Column)>,
    whys: Vec<String>,
}

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
fn run_on(kernel: &str) -> String {
    let start = Instant::now();
    let mut boot = Command::new(BOOT);
    let done = boot.args([kernel, "amd64"]).args(TESTS).stderr(Stdio::inherit()).output();
    let done = done.expect("bash");
    let console = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "kernel {kernel}:\n{console}");
    println!("kernel {kernel}: {} s", start.elapsed().as_secs());
    console
}

/// As many at a time as there are processors: an emulated machine keeps one busy.
fn run_on_each(kernels: &[String]) -> Vec<(String, String)> {
    let at_once = thread::available_parallelism().map_or(1, |n| n.get());
    let together = |some: &[String]| {
        thread::scope(|scope| {
            let started: Vec<_> =
                some.iter().map(|kernel| (kernel, scope.spawn(|| run_on(kernel)))).collect();
            let ended = started.into_iter().map(|(kernel, run)| {
                (kernel.clone(), run.join().unwrap_or_else(|panic| resume_unwind(panic)))
            });
            ended.collect::<Vec<_>>()
        })
    };
    kernels.chunks(at_once).flat_map(together).collect()
}

impl Shown {
    /// Adds what this kernel's console tells.
    fn add(&mut self, kernel: &str, console: &str) {
        let mut column = vec![(BYTES.to_owned(), "yes".to_owned())];
        for line in console.lines().filter_map(|line| line.strip_prefix("feature: ")) {
            let (feature, cell) = line.split_once(": ").expect("a feature and a cell");
            let (cell, why) = match cell.split_once("no: ") {
                Some((_, why)) => ("no", Some(why.to_owned())),
                None => (cell, None),
            };
            self.whys.extend(why.filter(|why| !self.whys.contains(why)));
            let code = feature.starts_with("--") || feature.contains(" --");
            let feature = if code { format!("`{feature}`") } else { feature.to_owned() };
            column.push((feature, cell.to_owned()));
        }
        assert!(column.len() > 10, "kernel {kernel} tells too little:\n{console}");
        self.columns.push((kernel.to_owned(), column));
    }

    fn text(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(kernel, _)| kernel.as_str()).collect();
        let mut text =
            format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
        for (feature, _) in self.columns.first().map_or(&[][..], |(_, column)| column) {
            let cells = self.columns.iter().map(|(kernel, column)| {
                let found = column.iter().find(|(name, _)| name == feature);
                &*found.unwrap_or_else(|| panic!("{kernel} says nothing of {feature}")).1
            });
            text += &format!("| {feature} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
        }
        text += "\nWhere it says no, `xhop` says why:\n";
        self.whys.iter().for_each(|why| text += &format!("- {why}\n"));
        text
    }

    /// The opposite of `text`.
    fn parse(text: &str) -> Self {
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("| ")).map(|line| {
            line.trim_end_matches(" |").split(" | ").map(str::to_owned).collect::<Vec<_>>()
        });
        let head = rows.next().unwrap_or_default();
        let mut columns: Vec<(String, Column)> = head
            .iter()
            .flat_map(|names| names.trim_start_matches("| ").split(" | "))
            .filter(|name| !name.is_empty())
            .map(|name| (name.to_owned(), Vec::new()))
            .collect();
        for row in rows {
            for ((_, column), cell) in columns.iter_mut().zip(&row[1..]) {
                column.push((row[0].clone(), cell.clone()));
            }
        }
        let whys = text.lines().filter_map(|line| line.strip_prefix("- "));
        Self { columns, whys: whys.map(str::to_owned).collect() }
    }
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
    let unknown = wanted.iter().find(|kernel| !all.contains(kernel));
    assert_eq!(unknown, None, "tests/kernels/pins has only {all:?}");
    let path = format!("{ROOT}/README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once(MARKS[0]).expect("the table's begin");
    let (noted, after) = rest.split_once(MARKS[1]).expect("the table's end");
    let noted = Shown::parse(noted);
    let consoles = run_on_each(&wanted);
    // What is not run stays as it is noted.
    let mut shown = Shown::default();
    for kernel in &all {
        if let Some((_, console)) = consoles.iter().find(|(name, _)| name == kernel) {
            shown.add(kernel, console);
        } else {
            let found = noted.columns.iter().filter(|(name, _)| name == kernel);
            shown.columns.extend(found.cloned());
        }
    }
    if wanted != all {
        let more: Vec<_> =
            noted.whys.iter().filter(|why| !shown.whys.contains(why)).cloned().collect();
        shown.whys.extend(more);
        shown.whys.sort_by_key(|why| noted.whys.iter().position(|other| other == why));
    }
    if std::env::var_os("XHOP_BLESS").is_some() {
        let text = format!("{before}{}{}{}{after}", MARKS[0], shown.text(), MARKS[1]);
        return fs::write(&path, text).expect("README.md");
    }
    assert_eq!(noted, shown, "the README's table; XHOP_BLESS=1 writes it anew");
}

#[test]
fn the_readmes_table_is_read_as_it_is_written() {
    let mut shown = Shown::default();
    for kernel in ["5.10", "7.3"] {
        let features = (0..10).map(|n| format!("feature: --way {n}: no: because {n}\n"));
        shown.add(kernel, &features.collect::<String>());
    }
    assert_eq!(Shown::parse(&shown.text()), shown);
}
