//! Tools that the tests compare with.
#![allow(dead_code)] // each test takes its part

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether all these tools are here. If not it says so in one line; with `XHOP_REQUIRE_KERNEL=1`
/// it panics instead.
pub fn have(tools: &[&str]) -> bool {
    let there = |tool: &&str| Command::new(tool).arg("--version").output().is_ok();
    let Some(missing) = tools.iter().find(|tool| !there(tool)) else { return true };
    let required = std::env::var_os("XHOP_REQUIRE_KERNEL").is_some_and(|value| value == "1");
    assert!(!required, "{missing} is not installed");
    eprintln!("not tried: {missing} is not installed");
    false
}

/// What the command prints; panics with its errors if it fails.
pub fn run(tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).output().expect(tool);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}:\n{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A file of this name among those that the build may leave behind.
pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

pub fn str(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The bytes of a section of an object.
pub fn section(object: &Path, name: &str) -> Vec<u8> {
    let out = object.with_extension("bin");
    let only = format!("--only-section={name}");
    run("llvm-objcopy-19", &["-O", "binary", &only, str(object), str(&out)]);
    std::fs::read(&out).expect("written")
}
