//! Whether a kernel test can run here, and what it says if not.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// What every laboratory uses.
const TOOLS: &[&str] = &["ip", "tc", "ethtool", "bpftool", "ping"];

/// linux/capability.h
const CAPABILITIES: &[(&str, u32)] =
    &[("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_SYS_PTRACE", 19)];

/// Why a test that needs `tools` can't run here, with the remedy; `None` if it can.
pub fn reason(tools: &[&str]) -> Option<String> {
    if let Some((name, _)) = CAPABILITIES.iter().find(|(_, bit)| effective() >> bit & 1 == 0) {
        return Some(format!("no {name} (run as root)"));
    }
    let missing = TOOLS.iter().chain(tools).find(|tool| !installed(tool))?;
    Some(format!("no `{missing}` in PATH (apt-get install {})", package(missing)))
}

/// Skips the test `name`: says so past libtest's capture, or panics if kernel tests must run.
pub fn skip(name: &str, reason: &str) {
    assert!(
        std::env::var_os("XHOP_REQUIRE_KERNEL").is_none_or(|v| v != "1"),
        "{name} must not be skipped: {reason}"
    );
    // Nobody to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "skipped: {name}: {reason}");
}

/// Says that a part of a test could not be tried on this kernel, which lacks a feature that no package
/// can bring; so it is no failure even where nothing may be skipped.
pub fn not_tried(name: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "not tried: {name}: {reason}");
}

/// The effective capabilities of this process, a bit each; see proc_pid_status(5).
fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(tool).is_file())
}

/// The Debian package that brings `tool`.
fn package(tool: &str) -> &str {
    match tool {
        "ip" | "tc" => "iproute2",
        "ping" => "iputils-ping",
        "ebtables" | "ebtables-nft" | "iptables-nft" | "iptables-legacy" | "ip6tables-legacy" => {
            "iptables"
        }
        "nft" => "nftables",
        "busybox" => "busybox-static",
        "docker" | "dockerd" => "docker.io",
        "systemd-nspawn" => "systemd-container",
        "lxc-start" | "lxc-info" => "lxc",
        "nsenter" | "setpriv" => "util-linux",
        "pgrep" | "pkill" => "procps",
        other => other,
    }
}
