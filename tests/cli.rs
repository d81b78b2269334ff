//! The command line: help, exit codes, JSON. What needs no kernel needs no root.

mod lab;

use std::process::{Command, Output};
use std::time::Duration;

use lab::{Where, XHOP, lab, lab_by_each, wait_until};

fn xhop(args: &[&str]) -> Output {
    Command::new(XHOP).args(args).output().expect("xhop runs")
}

#[test]
fn help_is_no_error() {
    let commands = [
        "up", "down", "status", "audit", "doctor", "demo", "bench", "programs", "show", "disasm",
        "lint", "vm",
    ];
    let done = xhop(&["--help"]);
    let help = String::from_utf8(done.stdout).expect("text");
    assert_eq!(done.status.code(), Some(0));
    for word in commands.into_iter().chain(["netns:NAME", "docker:NAME", "Exit codes"]) {
        assert!(help.contains(word), "{word} is not in:\n{help}");
    }
    for command in commands {
        let done = xhop(&[command, "--help"]);
        assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{command}");
    }
    let version = xhop(&["--version"]);
    assert_eq!(version.stdout, format!("xhop {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let wrong: [&[&str]; 26] = [
        &[],
        &["fly"],
        &["--fly"],
        &["up"],
        &["up", "a", "b", "--fly"],
        &["up", "a", "b", "--checksum", "guess"],
        &["up", "a", "b", "--checksum"],
        &["up", "a", "b", "--datapath", "warp"],
        &["up", "a", "b", "--datapath"],
        &["up", "a", "b", "--attach", "glue"],
        &["up", "a", ""],
        &["up", "lxd:a", "b"],
        &["up", "netns:../a", "b"],
        &["up", "pid:minus-one", "b"],
        &["up", "a", "b\nc"],
        &["down"],
        &["down", "--all", "a"],
        &["status", "a"],
        &["up", "a/b", "c"],
        &["doctor", "a"],
        &["doctor", "a", "b", "c"],
        &["bench"],
        &["bench", "a"],
        &["bench", "a", "b", "c"],
        &["bench", "a", "b", "--checksum"],
        &["bench", "a", "b", "--seconds", "0"],
    ];
    for args in wrong {
        let done = xhop(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{args:?}: {done:?}");
    }
}

#[test]
fn json_is_json_with_a_version() {
    lab_by_each("json_is_json_with_a_version", &[], |lab| {
        lab.pair();
        let commands: [&[&str]; 5] = [
            &["status", "--json"],
            &lab.up_args(&["a", "b", "--dry-run", "--json"]),
            &lab.up_args(&["a", "b", "--json"]),
            &["status", "--json"],
            &["down", "--all", "--json"],
        ];
        for (args, members) in commands.into_iter().zip([0, 2, 2, 2, 2]) {
            let shown = lab.json(Where::Own, &[&[XHOP], args].concat());
            assert_eq!(shown["version"], 1, "{args:?}: {shown}");
            for member in shown["members"].as_array().into_iter().flatten() {
                assert_eq!(member["datapath"], lab.by(), "{member}");
                assert_eq!(member["checksum"].is_null(), !lab.is_by("native"), "{member}");
                assert!(args[0] != "status" || member["why"].is_string(), "{member}");
            }
            assert_eq!(shown["members"].as_array().map(Vec::len), Some(members), "{args:?}");
            if args[0] != "status" {
                assert_eq!(shown["done"], !args.contains(&"--dry-run"), "{args:?}");
                let steps = if args[0] == "up" { &shown["actions"] } else { &shown["clear"] };
                assert!(steps.as_array().is_some_and(|steps| steps.len() > 8), "{shown}");
            }
        }
    });
}

#[test]
fn status_says_it_all() {
    lab_by_each("status_says_it_all", &[], |lab| {
        let pair = lab.pair();
        let said = lab.xhop(&["status"]).ok();
        assert!(said.contains("xhop up"), "{said}");
        lab.joins(&["a", "b"]);
        let said = lab.xhop(&["status"]).ok();
        let member = lab.member("netns:a");
        let program = &member["program"];
        let tag = program["tag"].as_str().expect("a tag");
        let id = format!("id {}", program["id"]);
        let words = ["netns:a", &pair.a.v4, &pair.a.v6, "eth0", "veth-a", "br0", lab.by()];
        let sums = if lab.is_by("native") { "complete" } else { "netns:a" };
        let more = [sums, tag, &id, "forwarded", "passed", "stale", "spoofed", "up"];
        for word in words.into_iter().chain(more) {
            assert!(said.contains(word), "{word} is not in:\n{said}");
        }
        assert_eq!(tag.len(), 16);
        // What the kernel says of it.
        let shown = lab
            .json(Where::Own, &["bpftool", "-j", "prog", "show", "id", &program["id"].to_string()]);
        let kind = if lab.is_by("tc") { "sched_cls" } else { "xdp" };
        assert_eq!((&shown["tag"], &shown["type"]), (&program["tag"], &kind.into()));
        let on = lab.programs_on(lab::HOST, "veth-a");
        assert_eq!(on, [program["id"].as_u64().expect("an id")]);
        let mode = lab.xdp_on(lab::HOST, "veth-a").map(|(_, mode)| mode);
        // ip(8): 1 is native, 2 generic.
        let expected = [("native", 1), ("generic", 2)].into_iter().find(|(by, _)| lab.is_by(by));
        assert_eq!(mode, expected.map(|(_, mode)| mode));
    });
}

#[test]
fn watch_shows_again_until_it_is_ended() {
    lab("watch_shows_again_until_it_is_ended", |lab| {
        let mut watch = lab.spawn_in(Where::Own, &[XHOP, "status", "--watch", "--json"]);
        wait_until(Duration::from_secs(20), "status is shown twice", || {
            assert!(watch.alive(), "{}", watch.stderr());
            watch.stdout().matches("\"version\"").count() >= 2
        });
        watch.signal(nix::sys::signal::Signal::SIGINT);
        watch.wait(Duration::from_secs(10));
    });
}

#[test]
fn watch_ends_with_its_reader() {
    lab("watch_ends_with_its_reader", |lab| {
        let script = format!("'{XHOP}' status --watch | head -n1");
        let shell = lab.spawn_in(Where::Own, &["sh", "-c", &script]);
        assert!(shell.wait(Duration::from_secs(10)).stdout.contains("xhop up"));
    });
}
