//! What comes from others, and what the compiler is told to refuse: `tests/supply` lists each crate, and what is
//! known to be wrong with other versions of them. No network is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LOCK: &str = include_str!("../Cargo.lock");
const CRATES: &str = include_str!("supply/crates");
const ADVISORIES: &str = include_str!("supply/advisories");
const OURS: [&str; 3] = ["xhop", "xhop-asm", "xhop-vm"];
/// Of a crate's licences one must be among these, or all that it joins by AND.
const LICENCES: [&str; 4] = ["MIT", "Apache-2.0", "BSD-3-Clause", "Unicode-3.0"];

/// The fields of the lines that are no comments.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(" | ").collect())
}

/// The packages in Cargo.lock, as their texts.
fn locked() -> impl Iterator<Item = &'static str> {
    let packages = LOCK.split("[[package]]\n").skip(1);
    packages.filter(|text| !OURS.contains(&field(text, "name").expect("a name")))
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
    value?.strip_suffix('"')
}

#[test]
fn each_crate_is_listed() {
    let mut found = BTreeSet::new();
    for package in locked() {
        let [name, version, source, checksum] =
            ["name", "version", "source", "checksum"].map(|key| field(package, key).unwrap_or(""));
        assert!(source.starts_with("registry+"), "{name} comes from `{source}`");
        assert_eq!(checksum.len(), 64, "{name} is pinned by its SHA-256");
        found.insert((name, version));
    }
    let mut listed = BTreeSet::new();
    for line in lines(CRATES) {
        let [name, version, place, licence, why] = line[..] else { panic!("{line:?}") };
        assert!(["ships", "tests"].contains(&place) && !why.is_empty(), "{line:?}");
        assert!(is_free(licence), "{name}: {licence}");
        if let Some(stated) = stated_licence(name, version) {
            assert_eq!(licence, stated, "{name} {version}");
        }
        listed.insert((name, version));
    }
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "tests/supply/crates lacks {new:?}, has {gone:?}");
}

fn is_free(licence: &str) -> bool {
    let any = |words: &str| {
        let words = words.trim_matches(['(', ')']).replace('/', " OR ");
        words.split(" OR ").any(|word| LICENCES.contains(&word.trim()))
    };
    licence.split(" AND ").all(any)
}

/// What the crate's own file says, if cargo has it here.
fn stated_licence(name: &str, version: &str) -> Option<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?.flatten();
    let manifest = |registry: fs::DirEntry| {
        fs::read_to_string(registry.path().join(format!("{name}-{version}/Cargo.toml"))).ok()
    };
    field(&registries.into_iter().find_map(manifest)?, "license").map(str::to_owned)
}

/// Numbers to compare; `1.0.1+wasi-0.2.4` is 1.0.1.
fn version(text: &str) -> [u32; 3] {
    let plain = text.split('+').next().expect("a first part");
    let numbers: Vec<u32> = plain
        .split('.')
        .map(|part| part.parse().unwrap_or_else(|e| panic!("{text}: {e}")))
        .collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{text}: not three numbers"))
}

/// Whether a version is one of these: `<0.7.0; >=0.8.6, <0.9.0`.
fn is_one_of(found: &str, ranges: &str) -> bool {
    let holds = |part: &str| match (part.trim().strip_prefix(">="), part.trim().strip_prefix('<')) {
        (Some(least), _) => version(found) >= version(least),
        (_, Some(limit)) => version(found) < version(limit),
        _ => panic!("{part} is no range"),
    };
    ranges.split(';').any(|range| range.split(',').all(holds))
}

#[test]
fn none_has_a_fault_that_is_known() {
    let mut looked = 0;
    for line in lines(ADVISORIES) {
        let [id, name, well] = line[..] else { panic!("{line:?}") };
        for package in locked().filter(|package| field(package, "name") == Some(name)) {
            let found = field(package, "version").expect("a version");
            assert!(is_one_of(found, well), "{name} {found}: {id}: update it");
            looked += 1;
        }
    }
    assert!(looked > 0, "some are of crates that are here");
}

#[test]
fn ranges() {
    let well = "<0.7.0; >=0.10.1; >=0.9.3, <0.10.0";
    for (found, is_well) in [("0.6.9", true), ("0.7.0", false), ("0.9.2", false), ("0.9.3", true)] {
        assert_eq!(is_one_of(found, well), is_well, "{found}");
    }
    assert!(!is_one_of("0.10.0", well) && is_one_of("0.10.1+x", well));
    assert!(is_free("MIT/Apache-2.0") && is_free("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!is_free("GPL-3.0") && !is_free("MIT AND GPL-3.0"));
}

/// All Rust files below a folder of this repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|end| end == "rs") => all.push(path),
                false => {}
            }
        }
    }
    all
}

/// The compiler refuses it elsewhere, and clippy, which CI runs, a block without its reason.
#[test]
fn unsafe_is_allowed_in_the_seams_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |path: &str| fs::read_to_string(root.join(path)).expect("a file");
    let allowed: BTreeSet<String> = ["src", "asm/src", "vm-tests/src"]
        .into_iter()
        .flat_map(sources)
        .flat_map(|path| {
            let text = fs::read_to_string(&path).expect("a file");
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            let pairs = lines.windows(2).filter(|pair| pair[0].contains("allow(unsafe_code"));
            pairs.map(|pair| pair[1].trim().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let seams = ["pub mod sys;", "mod glibc;", "mod memory;"].map(str::to_owned);
    assert_eq!(allowed, seams.into());
    assert!(text("asm/src/lib.rs").contains("#![forbid(unsafe_code)]"));
    for path in ["src/lib.rs", "src/main.rs", "vm-tests/src/lib.rs"] {
        assert!(text(path).contains("#![deny(unsafe_code)]"), "{path}");
    }
    let workspace = text("Cargo.toml");
    assert!(workspace.contains("undocumented_unsafe_blocks = \"deny\""));
    for path in ["Cargo.toml", "asm/Cargo.toml", "vm-tests/Cargo.toml"] {
        assert!(text(path).contains("[lints]\nworkspace = true"), "{path}");
    }
}

/// But in `rbpf`, whose sums are to wrap as the kernel's do.
#[test]
fn overflow_is_checked_in_release() {
    let manifest = include_str!("../Cargo.toml");
    let profile = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("[{name}]\n")).expect("a profile");
        rest.split("\n[").next().expect("its lines")
    };
    assert!(profile("profile.release").contains("\noverflow-checks = true"));
    let off = manifest.matches("overflow-checks = false").count();
    assert_eq!(off, 2);
    for of_rbpf in ["profile.dev.package.rbpf", "profile.release.package.rbpf"] {
        assert!(profile(of_rbpf).contains("overflow-checks = false"), "{of_rbpf}");
    }
}
