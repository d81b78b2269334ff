//! A laboratory for one kernel test: namespaces of its own in which it may do as it likes.
//!
//! [`lab`] runs a test in a fresh thread with its own mount and network namespaces and a private
//! `/run`, `/sys` and bpffs. Whatever the test makes there (named namespaces, links, pins, the
//! state of xhop, a Docker daemon) goes with it, also when the test fails, and tests run beside
//! each other. iproute2, ethtool and bpftool are the oracle, never xhop's own code.

// Each test file uses a part of this module.
#![allow(dead_code, unused_imports)]

pub mod audit;
pub mod chain;
mod command;
mod counters;
mod docker;
pub mod doctor;
mod engines;
mod foreign;
mod hurry;
pub mod raw;
mod rules;
mod skip;
mod snapshot;
mod space;
mod step;
mod topology;
mod traffic;
mod xhop;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

pub use command::{Output, Running, XHOP};
pub use counters::{Counters, LinkStats};
pub use docker::{Docker, TOOLS as DOCKER_TOOLS};
pub use engines::{Guest, LXC_TOOLS, NSPAWN_TOOLS, PODMAN_TOOLS};
pub use hurry::Hurry;
pub use raw::load_xdp;
pub use rules::{Rule, TOOLS as RULE_TOOLS};
pub use skip::not_tried;
pub use snapshot::assert_same;
pub use space::Where;
pub use topology::{Bridge, Container, Pair};
pub use traffic::Service;
pub use xhop::{assert_one_line, counter};

use space::Space;

/// The namespace in which [`Lab::bridge`] puts host sides: not the one that xhop runs in.
pub const HOST: &str = "host";

/// One test's own namespaces, and what can be done in them.
#[derive(Debug)]
pub struct Lab {
    space: Space,
    by: Option<&'static str>,
}

/// All that `up --datapath` knows but `auto`.
pub const DATAPATHS: [&str; 3] = ["tc", "native", "generic"];

/// Runs `body` in a laboratory, or skips the test `name`: without the privileges or the tools it
/// says so in one line on stderr and returns. With `XHOP_REQUIRE_KERNEL=1` it panics instead.
pub fn lab(name: &str, body: impl FnOnce(&Lab) + Send) {
    lab_with(name, &[], body);
}

/// Like [`lab`], for a test that needs the commands in `tools` besides the usual ones.
pub fn lab_with(name: &str, tools: &[&str], body: impl FnOnce(&Lab) + Send) {
    in_own_thread(name, tools, None, body);
}

/// Like [`lab_with`], once for each datapath: there, [`Lab::up`] joins by it.
pub fn lab_by_each(name: &str, tools: &[&str], body: impl Fn(&Lab) + Sync) {
    for by in DATAPATHS {
        lab_by(name, tools, by, &body);
    }
}

/// Like [`lab_with`], where [`Lab::up`] joins by this datapath.
pub fn lab_by(name: &str, tools: &[&str], by: &'static str, body: impl FnOnce(&Lab) + Send) {
    println!("by {by}");
    in_own_thread(name, tools, Some(by), body);
}

fn in_own_thread(
    name: &str,
    tools: &[&str],
    by: Option<&'static str>,
    body: impl FnOnce(&Lab) + Send,
) {
    if let Some(reason) = skip::reason(tools) {
        return skip::skip(name, &reason);
    }
    // A thread that has left its namespaces can't go back: use one and throw it away.
    let outcome = thread::scope(|scope| {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, || run(by, body))
            .expect("a thread for the laboratory")
            .join()
    });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => skip::skip(name, &reason),
        Err(panic) => resume_unwind(panic),
    }
}

/// The error is the reason why there can't be a laboratory here.
fn run(by: Option<&'static str>, body: impl FnOnce(&Lab)) -> Result<(), String> {
    let space =
        Space::enter().map_err(|e| format!("no laboratory: {e} (run as the machine's root)"))?;
    let lab = Lab { space, by };
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&lab)));
    let cleared = lab.space.clear();
    if let Err(panic) = outcome {
        if let Err(left) = cleared {
            eprintln!("and the laboratory could not be cleared: {left}");
        }
        resume_unwind(panic);
    }
    cleared.expect("a cleared laboratory");
    Ok(())
}

/// Whether tests are to try all that they can, as in CI.
pub fn thorough() -> bool {
    std::env::var_os("XHOP_THOROUGH").is_some()
}

/// Polls `holds` until it is true.
///
/// Panics with `what` when `patience` is over.
pub fn wait_until(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "waited {patience:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
