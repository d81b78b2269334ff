//! `demo` shows the whole experiment, and leaves nothing behind, also when it is interrupted.

mod lab;

use std::time::Duration;

use lab::{Where, XHOP, lab_with, wait_until};
use nix::sys::signal::Signal;

/// The columns of the summary's line for one way.
fn summary(shown: &str, way: &str) -> Vec<String> {
    let (_, summary) = shown.split_once("Summary").expect("a summary");
    let line = summary.lines().find(|line| line.starts_with(way)).expect(way);
    line.split("  ").map(|cell| cell.trim().to_string()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn each_way_does_what_it_should() {
    lab_with("demo::each_way_does_what_it_should", &[], |lab| {
        let shown = lab.xhop(&["demo"]).ok();
        for way in ["bridge", "offload-off", "complete", "tc"] {
            let cells = summary(&shown, way);
            assert_eq!(cells[1..4], ["3/3", "200 OK, 50 bytes", "0"], "{way}\n{shown}");
            let bits: f64 = cells[5].parse().expect("Gbit/s");
            assert!(bits > 0.0, "{way}\n{shown}");
        }
        assert!(shown.contains("\n5. Joined by tc"), "{shown}");
        let none = summary(&shown, "none");
        assert_eq!(none[1..3], ["3/3", "timed out"], "{shown}");
        assert_ne!(none[3], "0", "bad checksums\n{shown}");
        let seen = |way| summary(&shown, way)[4].clone();
        assert_ne!(seen("bridge"), "0", "{shown}");
        for way in ["none", "offload-off", "complete", "tc"] {
            assert_eq!(seen(way), "0", "{way}\n{shown}");
        }
    });
}

#[test]
fn an_interrupt_leaves_nothing() {
    lab_with("demo::an_interrupt_leaves_nothing", &["nsenter"], |lab| {
        let demo = lab.spawn_in(Where::Own, &[XHOP, "demo", "--seconds", "5"]);
        let pid = demo.pid().to_string();
        let status = || {
            let argv = ["nsenter", "-t", &pid, "-m", "-n", XHOP, "status", "--json"];
            let shown = lab.run_in(Where::Own, &argv);
            serde_json::from_str::<serde_json::Value>(&shown.stdout).ok()
        };
        let programs = || -> Vec<String> {
            let members = status().map(|status| status["members"].clone()).unwrap_or_default();
            let members = members.as_array().cloned().unwrap_or_default();
            members.iter().map(|member| member["program"]["id"].to_string()).collect()
        };
        wait_until(Duration::from_secs(60), "both containers are joined", || {
            let ids = programs();
            ids.len() == 2 && ids.iter().all(|id| id.parse::<u32>().is_ok())
        });
        let ids = programs();
        demo.signal(Signal::SIGINT);
        demo.wait(Duration::from_secs(10));
        wait_until(Duration::from_secs(10), "its programs are gone", || {
            ids.iter().all(|id| {
                let argv = ["bpftool", "prog", "show", "id", id];
                !lab.run_in(Where::Own, &argv).status.success()
            })
        });
    });
}
