//! `programs` and `show`: what an auditor reads. No kernel, no root; coreutils, a C compiler and graphviz
//! are the oracles.

mod lab;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lab::XHOP;
use serde_json::Value;

const FORMATS: [&str; 6] = ["listing", "hex", "c", "bin", "dot", "elf"];

fn run(argv: &[&str]) -> Output {
    let done = Command::new(argv[0]).args(&argv[1..]).stdin(Stdio::null()).output();
    done.unwrap_or_else(|e| panic!("{argv:?}: {e}"))
}

fn xhop(args: &[&str]) -> Output {
    run(&[&[XHOP], args].concat())
}

/// The standard output of a command that must succeed.
fn ok(argv: &[&str]) -> Vec<u8> {
    let done = run(argv);
    assert!(done.status.success() && done.stderr.is_empty(), "{argv:?}: {done:?}");
    done.stdout
}

fn shown(args: &[&str]) -> Vec<u8> {
    ok(&[&[XHOP, "show"], args].concat())
}

fn text(args: &[&str]) -> String {
    String::from_utf8(shown(args)).expect("text")
}

/// What `programs --json` lists.
fn programs() -> Vec<Value> {
    let answer: Value = serde_json::from_slice(&ok(&[XHOP, "programs", "--json"])).expect("JSON");
    assert_eq!(answer["version"], 1);
    answer["programs"].as_array().expect("programs").clone()
}

fn names() -> Vec<String> {
    programs().iter().map(|program| program["name"].as_str().expect("a name").into()).collect()
}

/// A file of this test's own.
fn file(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("a file");
    path.to_str().expect("UTF-8").into()
}

/// The hash of a file, by coreutils.
fn hash(command: &str, path: &str) -> String {
    let said = String::from_utf8(ok(&[command, path])).expect("text");
    said.split_whitespace().next().expect("a hash").into()
}

#[test]
fn hashes_are_those_of_coreutils() {
    for program in programs() {
        let name = program["name"].as_str().expect("a name");
        let bytes = shown(&[name, "--format", "bin"]);
        assert_eq!(program["bytes"], bytes.len(), "{name}");
        assert_eq!(program["instructions"], bytes.len() / 8, "{name}");
        let path = file(&format!("{name}.bin"), &bytes);
        let (sha1, sha256) = (hash("sha1sum", &path), hash("sha256sum", &path));
        assert_eq!(program["sha256"], sha256.as_str(), "{name}");
        assert_eq!(program["tags"]["sha1"], &sha1[..16], "{name}");
        assert_eq!(program["tags"]["sha256"], &sha256[..16], "{name}");
        // What an old kernel gets is hashed with its descriptors zero, as it is shown.
        let old = shown(&[name, "--format", "bin", "--kernel", "5.10"]);
        let path = file(&format!("{name}.old"), &old);
        assert_eq!(program["tags"]["sha1_patched"], &hash("sha1sum", &path)[..16], "{name}");
        let maps = program["maps"].as_array().expect("maps");
        assert_eq!(maps.is_empty(), old == bytes, "{name}");
        // All of it is in the table and in the listing.
        let table = String::from_utf8(ok(&[XHOP, "programs"])).expect("text");
        let listing = text(&[name]);
        for hash in [&sha256, &sha256[..16], &sha1[..16], &hash("sha1sum", &path)[..16]] {
            assert!(table.contains(hash) && listing.contains(hash), "{name}: {hash}");
        }
        let listed = [maps, program["helpers"].as_array().expect("helpers")];
        for thing in listed.into_iter().flatten() {
            let name = thing["name"].as_str().expect("a name");
            assert!(table.contains(name) && listing.contains(name), "{name}");
        }
    }
}

#[test]
fn the_listing_is_the_committed_one() {
    for name in names() {
        let path = format!("{}/asm/listings/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(text(&[&name]), fs::read_to_string(&path).expect("a listing"), "{path}");
    }
}

#[test]
fn every_format_has_the_same_bytes() {
    for name in names() {
        for kernel in ["5.10", "6.18"] {
            let show = |format| shown(&[&name, "--kernel", kernel, "--format", format]);
            let bytes = show("bin");
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = String::from_utf8(show("hex")).expect("text");
            assert_eq!(hex.lines().map(str::len).max(), Some(16));
            assert_eq!(hex.split_whitespace().collect::<String>(), digits);
            // The listing's second column.
            let listing = String::from_utf8(show("listing")).expect("text");
            let column = |line: &str| {
                let (index, rest) = line.split_once(": ")?;
                index.trim_start().parse::<usize>().ok().map(|_| rest[..16].to_owned())
            };
            assert_eq!(listing.lines().filter_map(column).collect::<String>(), digits, "{name}");
            let source = String::from_utf8(show("c")).expect("text");
            assert_eq!(compiled(&format!("{name}-{kernel}.c"), &name, &source), bytes, "{name}");
        }
    }
}

/// The bytes that a C compiler makes of the array: what a program has that includes it.
fn compiled(path: &str, name: &str, source: &str) -> Vec<u8> {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let main = format!(
        "#include <stdio.h>\nint main(void)\n{{\n\treturn fwrite(xhop_{name}, sizeof(xhop_{name}), 1, stdout) != 1;\n}}\n"
    );
    let source = file(path, format!("{source}{main}").as_bytes());
    let binary = format!("{source}.out");
    ok(&["cc", "-Wall", "-Wextra", "-Werror", "-o", &binary, &source]);
    ok(&[&binary])
}

#[test]
fn the_graph_is_one() {
    for name in names() {
        let graph = text(&[&name, "--format", "dot"]);
        let (nodes, edges): (Vec<&str>, Vec<&str>) = graph
            .lines()
            .filter(|line| line.starts_with("  \""))
            .partition(|line| !line.contains(" -> "));
        let node = |line: &str| line.split('"').nth(1).expect("a name").to_owned();
        let nodes: Vec<String> = nodes.into_iter().map(node).collect();
        assert!(!nodes.is_empty() && graph.starts_with("digraph \"") && graph.ends_with("}\n"));
        for edge in &edges {
            let ends: Vec<&str> = edge.split('"').collect();
            assert!(nodes.contains(&ends[1].into()) && nodes.contains(&ends[3].into()), "{edge}");
        }
        let listing = text(&[&name]);
        let jumps = listing.matches(" goto +").count() + listing.matches(" goto -").count();
        let taken = edges.iter().filter(|edge| !edge.contains("fall through")).count();
        assert_eq!(taken, jumps, "{name}");
        let path = file(&format!("{name}.dot"), graph.as_bytes());
        match Command::new("dot").args(["-Tsvg", &path]).output() {
            Ok(done) => {
                assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
                let svg = String::from_utf8_lossy(&done.stdout);
                assert_eq!(svg.matches("<g id=\"node").count(), nodes.len());
                assert_eq!(svg.matches("<g id=\"edge").count(), edges.len());
            }
            Err(error) => {
                let must = std::env::var_os("XHOP_REQUIRE_KERNEL").is_some_and(|v| v == "1");
                assert!(!must, "no `dot` (apt-get install graphviz): {error}");
            }
        }
    }
}

#[test]
fn kernels_by_version() {
    let bin = |kernel| shown(&["forward", "--format", "bin", "--kernel", kernel]);
    let (old, new) = (bin("5.10"), shown(&["forward", "--format", "bin"]));
    assert_ne!(old, new);
    for kernel in ["5.13", "5.13.19-2-amd64", "5.10-rc1"] {
        assert_eq!(bin(kernel), old, "{kernel}");
    }
    for kernel in ["5.14", "6.1.0-13", "7.3"] {
        assert_eq!(bin(kernel), new, "{kernel}");
    }
    let listing = text(&["forward", "--kernel", "5.10"]);
    assert!(
        listing.contains("map[fd:0] ll <stats>") && listing.contains("kernel 5.10 (SHA-1)"),
        "{listing}"
    );
    assert!(text(&["forward", "--kernel", "6.18"]).contains("kernel 6.18 (SHA-256)"));
}

#[test]
fn wrong_usage() {
    let wrong: [&[&str]; 9] = [
        &["show"],
        &["show", "pass", "forward"],
        &["show", "pass", "--format", "pdf"],
        &["show", "pass", "--kernel", "new"],
        &["show", "pass", "--kernel", "5"],
        &["show", "pass", "--kernel", "5.9"],
        &["show", "pass", "--kernel", "99999999999.1"],
        &["programs", "pass"],
        &["programs", "--yaml"],
    ];
    for args in wrong {
        let done = xhop(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{args:?}: {done:?}");
    }
}

#[test]
fn an_unknown_program_is_told_with_the_known() {
    for name in ["nix", "", "forward+", "PASS", "a\nb"] {
        let done = xhop(&["show", name]);
        let said = String::from_utf8(done.stderr).expect("text");
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(done.stdout.is_empty());
        for known in names() {
            assert!(said.contains(&known), "{said}");
        }
    }
}

#[test]
fn a_reader_that_goes_is_no_error() {
    for format in FORMATS {
        let mut child = Command::new(XHOP)
            .args(["show", "forward+complete", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xhop runs");
        // Gone before a word is read.
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().expect("stderr").read_to_string(&mut said).expect("text");
        let status = child.wait().expect("an end");
        assert!(status.success() && said.is_empty(), "{format}: {status}: {said}");
    }
}

#[test]
fn a_full_disk_is_one() {
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut show = Command::new(XHOP);
    let done = show.args(["show", "pass", "--format", "bin"]).stdout(full).output();
    let done = done.expect("xhop runs");
    let said = String::from_utf8(done.stderr).expect("text");
    assert_eq!((done.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("standard output: No space left"), "{said}");
}

#[test]
fn an_error_that_nobody_can_be_told_is_no_panic() {
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let status = Command::new(XHOP).args(["disasm", "./no-such-file"]).stderr(full).status();
    assert_eq!(status.expect("xhop runs").code(), Some(1));
}

/// script(1) gives it a terminal.
#[test]
fn bytes_are_not_for_terminals() {
    for format in ["bin", "elf"] {
        let command = format!("'{XHOP}' show pass --format {format}");
        let mut script = Command::new("script");
        let done = script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output();
        let done = done.expect("script runs (apt-get install bsdutils)");
        let said = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains(format) && said.contains("> FILE"), "{said}");
    }
}
