//! Other people's tools, as oracles. Where one is missing a test says that it was not tried; with
//! `XHOP_REQUIRE_KERNEL=1`, as in CI, it fails.

// Each test file uses a part of this module.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// C for an object that has what objects have.
pub const SOURCE: &str = include_str!("source.c");

/// Whether `test` can use the tool, which Debian has in `package`.
pub fn have(test: &str, tool: &str, package: &str) -> bool {
    if installed(tool) {
        return true;
    }
    let reason = format!("no `{tool}` in PATH (apt-get install {package})");
    let must = std::env::var_os("XHOP_REQUIRE_KERNEL").is_some_and(|v| v == "1");
    assert!(!must, "{test} must not be skipped: {reason}");
    // Nobody to tell when stderr is closed. Not `eprintln`, which libtest would capture.
    let _ = writeln!(std::io::stderr(), "not tried: {test}: {reason}");
    false
}

/// Whether the tool is there at all.
pub fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

/// Runs a command that must succeed and have nothing to object to; gives its standard output.
pub fn run(argv: &[&str]) -> String {
    let done = Command::new(argv[0]).args(&argv[1..]).output();
    let done = done.unwrap_or_else(|e| panic!("{argv:?}: {e}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{argv:?}: {}: {said}", done.status);
    String::from_utf8(done.stdout).expect("text")
}

/// A folder of this test's own, gone when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// The path of a file in it.
    pub fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").into()
    }

    /// Writes a file; gives its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.at(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// What clang makes of C, as an object for `target`: `bpfel` or `bpfeb`. `None` if there is no clang.
    pub fn compile(&self, test: &str, clang: &str, target: &str, c: &str) -> Option<Vec<u8>> {
        if !have(test, clang, clang) {
            return None;
        }
        let source = self.write("source.c", c);
        let object = self.at(&format!("{clang}-{target}.o"));
        run(&[clang, "-target", target, "-O2", "-g", "-Wall", "-c", &source, "-o", &object]);
        Some(std::fs::read(object).expect("the object"))
    }
}

/// The bytes of a section of an object file.
pub fn section(object: &str, name: &str) -> Vec<u8> {
    let (out, only) = (format!("{object}.bin"), format!("--only-section={name}"));
    run(&["llvm-objcopy-19", "-O", "binary", &only, object, &out]);
    std::fs::read(out).expect("written")
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
