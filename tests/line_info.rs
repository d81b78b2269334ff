//! What the kernel runs, it can explain: its listing shows our comments and source lines.

mod lab;

use std::fs;

use lab::{HOST, Lab, Where, XHOP, lab, lab_with};
use serde_json::Value;
use xhop_asm::programs::{Checksum, Shipped};

/// bpftool's listing of a program in the kernel.
fn listing(lab: &Lab, id: u64) -> String {
    lab.ok_in(HOST, &["bpftool", "prog", "dump", "xlated", "id", &id.to_string(), "linum"])
}

fn program(member: &Value) -> (u64, bool) {
    let program = &member["program"];
    let line_info = program["line_info"].as_bool();
    (program["id"].as_u64().expect("an id"), line_info.expect("whether it has them"))
}

#[test]
fn the_kernels_listing_shows_every_comment() {
    lab("the_kernels_listing_shows_every_comment", |lab| {
        lab.pair();
        for (way, checksum) in [("complete", Checksum::Complete), ("none", Checksum::Keep)] {
            lab.xhop(&["up", "a", "b", "--checksum", way]).ok();
            let (id, line_info) = program(&lab.member("netns:a"));
            assert!(line_info, "{way}");
            let forward = Shipped::Forward(checksum).program().expect("assembles");
            let shown = listing(lab, id);
            let explained = |line: &&str| line.starts_with("; ");
            let shown: Vec<&str> = shown.lines().filter(explained).collect();
            let expected: Vec<String> = forward
                .lines()
                .iter()
                .map(|line| {
                    let (at, comment) = (line.at, &line.comment);
                    let (line, column) = (at.line(), at.column());
                    format!("; {comment} [file:{} line_num:{line} line_col:{column}]", at.file())
                })
                .collect();
            assert_eq!(shown, expected, "{way}");
            assert!(expected[0].contains("asm/src/"), "{}", expected[0]);
            // The whole name, which the kernel's own 15 bytes can't hold.
            let listed = listing(lab, id);
            assert!(listed.contains(&format!("{}(", forward.symbol())), "{listed}");
        }
    });
}

#[test]
fn a_kernel_without_btf_is_told_of() {
    lab_with("a_kernel_without_btf_is_told_of", &["strace"], |lab| {
        lab.pair();
        for nth in btf_loads(lab) {
            let inject = format!("inject=bpf:error=EINVAL:when={nth}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject, XHOP];
            let done = lab.run_in(Where::Own, &[&strace[..], &["up", "a", "b"]].concat());
            let said = done.stderr.lines().filter(|line| line.contains("takes no BTF")).count();
            assert_eq!((said, done.status.code()), (1, Some(0)), "{done}");
            assert!(done.stderr.contains("warning: ") && done.stderr.contains("EINVAL"), "{done}");
            let members = lab.members();
            let with: Vec<bool> = members.iter().map(|member| program(member).1).collect();
            assert_eq!(with.iter().filter(|with| !**with).count(), 1, "{members:?}");
            lab.pings("a", "10.9.0.3");
            lab.xhop(&["down", "--all"]).ok();
        }
    });
}

/// Which of the bpf(2) calls of `up` load BTF: one for each of the two host sides.
fn btf_loads(lab: &Lab) -> Vec<usize> {
    const TRACE: &str = "/run/trace";
    let strace = ["strace", "-qq", "-o", TRACE, "-e", "trace=bpf", XHOP];
    lab.ok_in(Where::Own, &[&strace[..], &["up", "a", "b"]].concat());
    lab.xhop(&["down", "--all"]).ok();
    let trace = fs::read_to_string(TRACE).expect("a trace");
    let loads = |(at, line): (usize, &str)| line.contains("BPF_BTF_LOAD").then_some(at + 1);
    let loads: Vec<usize> = trace.lines().enumerate().filter_map(loads).collect();
    assert_eq!(loads.len(), 2, "{trace}");
    loads
}
