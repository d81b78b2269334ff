//! The listings in `asm/listings` are what the generator makes. To rewrite them:
//!
//! ```sh
//! XHOP_BLESS=1 cargo test -p xhop-asm --test listings
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use xhop_asm::listing::{Code, View, listing};
use xhop_asm::programs::Shipped;
use xhop_asm::{Assembler, MapDecl, MapKind, MapShape, R0, R1};

const REMEDY: &str = "if it is meant: XHOP_BLESS=1 cargo test -p xhop-asm --test listings";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("listings")
}

/// The files that should be there: name and text.
fn wanted() -> Vec<(String, String)> {
    let file = |shipped: Shipped| {
        let text = listing(shipped, None).expect("assembles");
        (format!("{}.txt", shipped.name()), text)
    };
    let mut files: Vec<_> = Shipped::ALL.into_iter().map(file).collect();
    files.sort();
    files
}

/// The files that are there.
fn found(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    let mut files: Vec<_> = entries.map(file).collect();
    files.sort();
    files
}

/// The first thing that differs, to be read by people.
fn difference(found: &[(String, String)], wanted: &[(String, String)]) -> Option<String> {
    let has = |files: &[(String, String)], name| files.iter().any(|(other, _)| other == name);
    if let Some((name, _)) = found.iter().find(|(name, _)| !has(wanted, name)) {
        return Some(format!("{name} is of no program that is shipped"));
    }
    if let Some((name, _)) = wanted.iter().find(|(name, _)| !has(found, name)) {
        return Some(format!("{name} is missing"));
    }
    let (found, wanted) = found.iter().zip(wanted).find(|(found, wanted)| found != wanted)?;
    let name = &found.0;
    let (mut committed, mut made) = (found.1.lines(), wanted.1.lines());
    for line in 1.. {
        match (committed.next(), made.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                let [old, new] = [old, new].map(|line| line.unwrap_or("(ends)"));
                return Some(format!(
                    "{name}, line {line}\n  committed: {old}\n  generated: {new}"
                ));
            }
        }
    }
    Some(format!("{name}: the ends of its lines"))
}

#[test]
fn as_committed() {
    let (folder, wanted) = (folder(), wanted());
    if std::env::var_os("XHOP_BLESS").is_some_and(|value| value == "1") {
        // All files go, so that none is left of a program that is no longer there.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in &wanted {
            fs::write(folder.join(name), text).expect("a file");
        }
    }
    if let Some(difference) = difference(&found(&folder), &wanted) {
        panic!("asm/listings: {difference}\n{REMEDY}");
    }
}

#[test]
fn each_difference_is_told() {
    let right = wanted();
    assert_eq!(difference(&right, &right), None);
    let (mut less, mut more, mut other) = (right.clone(), right.clone(), right.clone());
    less.pop();
    more.push(("zebra.txt".into(), String::new()));
    let text = &mut other[1].1;
    *text = text.replacen("the packet", "the parcel", 1);
    let cases = [
        (less, "trust.txt is missing"),
        (more, "zebra.txt is of no program"),
        (other, "\n  committed: "),
    ];
    for (found, expected) in cases {
        let told = difference(&found, &right).expect("a difference");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn nothing_depends_on_where_the_sources_lie() {
    for (name, text) in wanted() {
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{name}");
        let insns = text.lines().filter(|line| line.contains(": ") && line.contains("  asm/src/"));
        assert!(insns.count() > 1, "{name}");
    }
}

/// Comments are short enough for it: a longer one would not move all other lines.
#[test]
fn sources_stand_in_a_column() {
    for (name, text) in wanted() {
        let mut columns: Vec<_> = text.lines().filter_map(|line| line.find(" asm/src/")).collect();
        columns.dedup();
        assert_eq!(columns.len(), 1, "{name}: {columns:?}");
    }
}

#[test]
fn labels_maps_bytes_reasons_and_sources() {
    let text = listing(Shipped::named("forward").expect("shipped"), None).expect("assembles");
    for part in [
        "\n;   map[0] endpoints4: hash, key 4 B, value 12 B, 8192 entries, flags 0x1\n",
        "\n;   bpf_redirect_map#51\n",
        "\n\npass:",
        " and from above\n",
        "    0: 61190c0000000000  r9 = *(u32 *)(r1 + 12)",
        " <endpoints4>",
        "<stale>",
        "; group bit: multicast and broadcast are the bridge's",
        " asm/src/blocks/parse.rs:",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn old_kernels_get_maps_by_descriptor() {
    let forward = Shipped::named("forward").expect("shipped");
    let program = forward.program().expect("assembles");
    let [old, new] = [(5, 13), (5, 14)].map(|kernel| View::new(&program, Some(kernel)));
    let [old, new] = [old.bytes(), new.bytes()];
    let changed: Vec<_> = old.chunks(8).zip(new.chunks(8)).filter(|(a, b)| a != b).collect();
    assert!(changed.len() > 4);
    for (old, new) in changed {
        // lddw; the register stays; BPF_PSEUDO_MAP_IDX becomes BPF_PSEUDO_MAP_FD; descriptor 0.
        assert_eq!((old[0], old[1] & 0xf, old[1] >> 4), (0x18, new[1] & 0xf, 1));
        assert_eq!((new[1] >> 4, &old[2..]), (5, &[0; 6][..]));
    }
    let text = listing(forward, Some((5, 10))).expect("assembles");
    assert!(text.contains("BPF_PSEUDO_MAP_FD") && text.contains("kernel 5.10 (SHA-1)"), "{text}");
    // Without maps there is nothing to tell.
    let pass = listing(Shipped::Pass, Some((5, 10))).expect("assembles");
    assert!(!pass.contains("BPF_PSEUDO_MAP_FD"), "{pass}");
}

#[test]
fn a_wide_load_has_two_slots_and_a_block_two_labels() {
    let mut asm = Assembler::new("wide");
    let (one, two) = (asm.label("one"), asm.label("two"));
    let map = asm.map(MapDecl {
        name: "table",
        kind: MapKind::Hash,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
    });
    asm.load_imm64(R0, 0x1122_3344_5566_7788, "wide");
    asm.jump_if(R0.eq(0), &one, "never");
    asm.jump_if(R0.eq(1), &two, "never");
    asm.load_map(R1, map, "a map");
    asm.bind(one);
    asm.bind(two);
    asm.exit("done");
    let program = asm.finish().expect("assembles");
    let view = View::new(&program, None);
    let text = view.to_string();
    let expected = [
        "",
        "    0: 1800000088776655  r0 = 0x1122334455667788 ll",
        "    1: 0000000044332211",
        "    2: 1500030000000000  if r0 == 0 goto +3 <one>",
        "",
        "    3: 1500020001000000  if r0 == 1 goto +2 <one>",
        "",
        "    4: 1851000000000000  r1 = map[0] ll <table>",
        "    5: 0000000000000000",
        "",
        "one:                      ; from 2, 3, and from above",
        "two:                      ; from 2, 3, and from above",
        "    6: 9500000000000000  exit",
    ];
    let mut lines = text.lines();
    for expected in expected {
        let line = lines.next().expect("a line");
        assert_eq!(line.get(..expected.len()), Some(expected), "{text}");
    }
    assert_eq!(lines.next(), None);
    let hex: String = view.hex().split_whitespace().collect();
    let bytes: String = view.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, bytes);
    assert_eq!(view.hex().lines().count(), program.slots());
}

proptest! {
    #[test]
    fn any_bytes_are_listed_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let lines: Vec<_> = Code { bytes: &bytes, maps: &[] }.lines().collect();
        let column: String = lines.iter().map(|line| line.bytes.as_str()).collect();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        prop_assert_eq!(column, digits);
        for (at, line) in lines.iter().enumerate() {
            prop_assert_eq!(at, line.slot);
            let start = format!("{at:5}: {}", line.bytes);
            prop_assert!(line.to_string().starts_with(&start));
        }
    }
}

#[test]
fn maps_are_named() {
    let map = MapShape { name: "table".into(), ..MapShape::default() };
    let load = [0x18, 0x51, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let lines: Vec<_> = Code { bytes: &load, maps: &[map] }.lines().collect();
    assert_eq!(lines[0].to_string(), "    0: 1851000000000000  r1 = map[0] ll <table>");
}
