//! `disasm` and `lint`: programs from outside, whatever they are. No kernel, no root.

mod lab;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lab::XHOP;
use serde_json::Value;
use xhop_asm::programs::Shipped;

/// `r0 = 2; exit`, XDP_PASS.
const PASS: &str = "b700000002000000 9500000000000000";

/// Runs xhop in a folder of this test's own, with this as its standard input.
fn xhop_with(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(XHOP)
        .args(args)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xhop runs");
    // It does not have to read it.
    let _ = child.stdin.take().expect("stdin").write_all(input);
    child.wait_with_output().expect("an end")
}

fn xhop(args: &[&str]) -> Output {
    xhop_with(args, b"")
}

/// The standard output of a command that must succeed.
fn ok(args: &[&str], input: &[u8]) -> Vec<u8> {
    let done = xhop_with(args, input);
    assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {done:?}");
    done.stdout
}

fn text(args: &[&str], input: &[u8]) -> String {
    String::from_utf8(ok(args, input)).expect("text")
}

/// The line on stderr of a command that must fail.
fn error(args: &[&str], input: &[u8]) -> String {
    let done = xhop_with(args, input);
    let said = String::from_utf8(done.stderr.clone()).expect("text");
    assert_eq!((done.status.code(), said.lines().count()), (Some(1), 1), "{args:?}: {done:?}");
    said
}

/// A file in the folder that commands run in.
fn file(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(path, bytes).expect("a file");
    name.to_owned()
}

fn names() -> Vec<String> {
    let answer: Value = serde_json::from_slice(&ok(&["programs", "--json"], b"")).expect("JSON");
    let programs = answer["programs"].as_array().expect("programs");
    programs.iter().map(|program| program["name"].as_str().expect("a name").into()).collect()
}

#[test]
fn each_format_is_recognised() {
    for name in names() {
        let show = |format| ok(&["show", &name, "--format", format], b"");
        let (raw, hex, elf) = (show("bin"), show("hex"), show("elf"));
        let listed = text(&["disasm", "-"], &raw);
        assert_eq!(listed.lines().count(), raw.len() / 8);
        assert_eq!(text(&["disasm", "-"], &hex), listed);
        assert_eq!(text(&["disasm", &file(&format!("{name}.raw"), &raw)], b""), listed);
        assert_eq!(
            text(&["disasm", &file(&format!("{name}.hex"), &hex), "--format", "hex"], b""),
            listed
        );
        // An object has names besides.
        let object = file(&format!("{name}.o"), &elf);
        let from_elf = text(&["disasm", &object], b"");
        let shipped = Shipped::named(&name).expect("is listed");
        let section = shipped.program().expect("assembles").hook().section();
        let head = format!("; section {section}\nxhop_");
        assert!(from_elf.starts_with(&head), "{from_elf}");
        let plain = |line: &str| line.split(" ll").next().expect("text").to_owned();
        let code: Vec<String> = from_elf.lines().skip(2).map(plain).collect();
        assert!(code == listed.lines().map(plain).collect::<Vec<_>>(), "{from_elf}\n{listed}");
        assert_eq!(
            text(&["disasm", &object, "--section", section, "--format", "elf"], b""),
            from_elf
        );
        // The same instructions as in the listing, which has labels instead of slots.
        let mnemonics = |text: &str| -> Vec<String> {
            let insns = text.lines().filter_map(|line| line.split_once(": ")?.1.split_once("  "));
            let insns =
                insns.map(|(_, insn)| insn.split([';', '<']).next().expect("text").trim().into());
            insns.filter(|insn: &String| !insn.is_empty()).collect()
        };
        let listing = text(&["show", &name], b"");
        let (_, body) = listing.split_once("\n\n").expect("a header");
        assert!(mnemonics(body) == mnemonics(&listed), "{name}");
    }
}

#[test]
fn what_is_no_instruction_is_shown_as_such() {
    let listed = text(&["disasm", "-"], b"b700000002000000\nffffffffffffffff 18000000\n");
    let expected = "    0: b700000002000000  r0 = 2\n    1: ffffffffffffffff  ? ";
    assert!(listed.starts_with(expected), "{listed}");
    assert!(listed.ends_with("\n    2: 18000000          ? 18000000\n"), "{listed}");
    // Hex text as raw bytes is nonsense, but no error; and nothing is nothing.
    assert!(text(&["disasm", "-", "--format", "raw"], PASS.as_bytes()).contains("? "));
    assert_eq!(text(&["disasm", "-"], b""), "");
}

#[test]
fn nothing_panics() {
    let mut state = 1_u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let object = ok(&["show", "forward", "--format", "elf"], b"");
    for round in 0..60 {
        let mut bytes: Vec<u8> = match round % 3 {
            0 => (0..round * 7).map(|_| byte()).collect(),
            1 => object[..object.len() * round / 60].to_vec(),
            _ => object.clone(),
        };
        if round % 3 == 2 {
            let at = usize::from(byte()) * 256 + usize::from(byte());
            let at = at % bytes.len();
            bytes[at] ^= byte();
        }
        for command in ["disasm", "lint"] {
            let done = xhop_with(&[command, "-"], &bytes);
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(matches!(done.status.code(), Some(0 | 1)), "{command}: {done:?}");
            assert!(said.lines().count() <= 1, "{said}");
        }
    }
}

#[test]
fn what_can_not_be_read_is_told() {
    let object = ok(&["show", "pass", "--format", "elf"], b"");
    let file = file("pass-cut.o", &object[..100]);
    let cases: [(&[&str], &[u8], &str); 12] = [
        (&["disasm", "./no-such-file"], b"", "look whether the name is right"),
        (&["disasm", "./no\nfile"], b"", "./no\\nfile: No such file"),
        (&["disasm", "/"], b"", "name a file in it"),
        (&["disasm", "/dev/zero"], b"", "longer than any program"),
        (&["disasm", "-", "--format", "hex"], b"b7xx", "no hex text"),
        (&["disasm", "-", "--format", "hex"], b"b70", "no hex text"),
        (&["disasm", "-", "--format", "elf"], b"b700", "ELF"),
        (&["disasm", "-", "--section", "xdp"], b"b700", "--section"),
        (&["disasm", &file], b"", "pass-cut.o"),
        (&["disasm", "-", "--section", "tc"], &object, "it has xdp"),
        // Who says what is in it means a file.
        (&["lint", "pass", "--format", "hex"], b"", "No such file"),
        (&["lint", "-"], &[0; 20 << 20], "standard input: more than 16 MiB"),
    ];
    for (args, input, word) in cases {
        let said = error(args, input);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn wrong_usage() {
    let wrong: [&[&str]; 6] = [
        &["disasm"],
        &["disasm", "a", "b"],
        &["disasm", "-", "--format", "coff"],
        &["lint"],
        &["lint", "pass", "forward"],
        &["lint", "pass", "--yaml"],
    ];
    for args in wrong {
        let done = xhop(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{args:?}: {done:?}");
    }
}

#[test]
fn what_is_shipped_has_no_finding() {
    for name in names() {
        let said = text(&["lint", &name], b"");
        assert!(!said.contains("FINDING"), "{said}");
        // The listing has the same facts.
        let listing = text(&["show", &name], b"");
        for line in said.lines().skip(1) {
            assert!(listing.contains(&format!("\n; {line}\n")), "{line}");
        }
        let json = |args: &[&str], input: &[u8]| -> Value {
            let answer: Value = serde_json::from_slice(&ok(args, input)).expect("JSON");
            assert_eq!(
                (&answer["version"], answer["programs"].as_array().map(Vec::len)),
                (&1.into(), Some(1))
            );
            answer["programs"][0].clone()
        };
        let program = json(&["lint", &name, "--json"], b"");
        assert_eq!(
            (&program["name"], &program["findings"]),
            (&name.as_str().into(), &Value::Array(vec![]))
        );
        let longest = format!("longest path  {} instructions", program["facts"]["longest_path"]);
        assert!(said.contains(&longest), "{said}");
        // As an object it is the same: its maps are known.
        let object = ok(&["show", &name, "--format", "elf"], b"");
        assert_eq!(json(&["lint", "-", "--json"], &object)["facts"], program["facts"]);
    }
}

#[test]
fn a_finding_has_its_instruction() {
    // r0 = *(u8 *)(r1 + 200); exit
    let broken = b"7110c80000000000 9500000000000000";
    let done = xhop_with(&["lint", "-"], broken);
    let said = String::from_utf8(done.stdout).expect("text");
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("FINDING       insn 0: context: "), "{said}");
    assert!(
        said.contains("\n                7110c80000000000  r0 = *(u8 *)(r1 + 200)\n"),
        "{said}"
    );
    let done = xhop_with(&["lint", "-", "--json"], broken);
    let answer: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let finding = &answer["programs"][0]["findings"][0];
    assert_eq!((&finding["slot"], &finding["rule"]), (&0.into(), &"context".into()), "{answer}");
    assert_eq!(
        (&finding["bytes"], &finding["instruction"]),
        (&"7110c80000000000".into(), &"r0 = *(u8 *)(r1 + 200)".into())
    );
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(String::from_utf8(done.stderr).expect("text").lines().count(), 1);
    // What was not walked to the end does not look as if it did nothing.
    assert!(!said.contains("verdicts"), "{said}");
    assert_eq!(answer["programs"][0]["facts"], Value::Null);
}

#[test]
fn what_is_refused_is_refused_also_when_nobody_reads() {
    let many = format!("{}{PASS}", "7110c80000000000".repeat(2000));
    let many = file("many.hex", many.as_bytes());
    for json in [&[][..], &["--json"]] {
        let mut lint = Command::new(XHOP);
        let lint = lint.args(["lint", &many]).args(json).current_dir(env!("CARGO_TARGET_TMPDIR"));
        let mut child =
            lint.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("xhop runs");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("an end").code(), Some(1));
    }
}

/// Names are bytes.
#[test]
fn a_file_may_have_any_name() {
    use std::os::unix::ffi::OsStringExt;
    let name = std::ffi::OsString::from_vec(b"na\xffme\n.hex".to_vec());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, PASS).expect("a file");
    for command in ["disasm", "lint"] {
        let done = Command::new(XHOP).arg(command).arg(&path).output().expect("xhop runs");
        assert!(done.status.success(), "{done:?}");
        let said = String::from_utf8(done.stdout).expect("text");
        assert!(command == "disasm" || said.contains("me\\n.hex\n"), "{said}");
    }
}

/// An object's names are its author's: they must not add lines to what is said of it.
#[test]
fn names_in_an_object_stay_names() {
    let object = ok(&["show", "forward", "--format", "elf"], b"");
    let renamed = |from: &[u8], to: &[u8], object: Vec<u8>| -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut object = object;
        for at in 0..object.len() {
            if object[at..].starts_with(from) {
                object[at..at + to.len()].copy_from_slice(to);
            }
        }
        object
    };
    let object = renamed(b"endpoints4", b"a\n\x1b[1mones", object);
    let object = renamed(b"xhop_forward", b"b\n\x1b[1m\xff_twos", object);
    for command in ["disasm", "lint"] {
        let said = text(&[command, "-"], &object);
        assert!(!said.contains(['\x1b', '\r']) && said.contains("a\\n\\u{1b}[1mone"), "{said}");
        assert!(said.contains("b\\n\\u{1b}[1m"), "{said}");
    }
}

#[test]
fn a_programs_name_wins_over_a_file() {
    let forward = text(&["lint", "measure+empty"], b"");
    file("measure+empty", PASS.as_bytes());
    assert_eq!(text(&["lint", "measure+empty"], b""), forward);
    let of_file = text(&["lint", "./measure+empty"], b"");
    assert!(of_file.starts_with("./measure+empty\n") && of_file.contains("XDP_PASS"), "{of_file}");
    let said = error(&["lint", "forwrd"], b"");
    assert!(said.contains("forward+complete"), "{said}");
}

/// By its section's name or, where it has none, as it is said.
#[test]
fn the_hook_is_known() {
    let (elf, raw) = (
        ok(&["show", "peer", "--format", "elf"], b""),
        ok(&["show", "trust", "--format", "bin"], b""),
    );
    let said = text(&["lint", &file("hook.o", &elf), "--hook", "xdp"], b"");
    assert!(said.contains("TC_ACT_REDIRECT") && !said.contains("FINDING"), "{said}");
    // Without the maps, the code up to them is looked at; with the wrong hook it breaks at once.
    let findings = |hook: &str| {
        let done = xhop(&["lint", &file("hook.raw", &raw), "--hook", hook]);
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stdout).expect("text")
    };
    assert!(!findings("tc").contains("of the context"), "{}", findings("tc"));
    assert!(findings("xdp").contains("byte 40 of the context"), "{}", findings("xdp"));
    // `r0 = -1; exit`
    let unspec = b"b7000000ffffffff9500000000000000";
    assert!(text(&["lint", "-", "--hook", "tc"], unspec).contains("TC_ACT_UNSPEC"));
    assert!(text(&["lint", "-"], unspec).contains("4294967295"));
}

#[test]
fn the_functions_of_an_object_are_programs() {
    let source = "int __attribute__((section(\"xdp\"))) one(void *c) { return 1; }\n\
                  int __attribute__((section(\"xdp\"))) two(void *c) { return *(volatile int *)0; }\n";
    let source = file("two.c", source.as_bytes());
    let mut clang = Command::new("clang");
    let clang = clang.args(["-target", "bpf", "-O2", "-c", &source, "-o", "two.o"]);
    match clang.current_dir(env!("CARGO_TARGET_TMPDIR")).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            let must = std::env::var_os("XHOP_REQUIRE_KERNEL").is_some_and(|v| v == "1");
            assert!(!must, "no `clang` (apt-get install clang): {error}");
            return;
        }
    }
    let done = xhop(&["lint", "two.o"]);
    let said = String::from_utf8(done.stdout).expect("text");
    assert_eq!(done.status.code(), Some(1), "{said}");
    let (one, two) = said.split_once("xdp/two\n").expect("both");
    assert!(
        one.starts_with("xdp/one\n") && !one.contains("FINDING") && one.contains("XDP_DROP"),
        "{said}"
    );
    assert!(two.contains("FINDING"), "{said}");
}
