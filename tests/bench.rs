//! `bench A B` measures each way, and leaves the two as it found them. How fast they are is not asked here.

mod lab;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use lab::{DOCKER_TOOLS, HOST, Lab, Running, Where, XHOP, assert_same, lab, lab_with, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use xhop::sys::kernel;

/// As short as may be.
const SHORT: [&str; 4] = ["--seconds", "0.05", "--rounds", "1"];
const WAYS: [&str; 8] = [
    "plain",
    "tc",
    "tc/big-tcp",
    "tc/jumbo",
    "generic",
    "native/complete",
    "native/trust",
    "native/offload-off",
];
const TESTS: [&str; 7] = [
    "tcp-1-stream",
    "tcp-4-streams",
    "tcp-ping-pong-p50",
    "tcp-ping-pong-p99",
    "tcp-connections",
    "udp-64-bytes",
    "cpu",
];

/// Runs it for so many rounds: one and four end with a pair that is joined. All must be as before.
fn bench(lab: &Lab, names: [&str; 2], rounds: usize) -> Value {
    let (before, rounds) = (lab.everything(), rounds.to_string());
    let args = [&["bench"], &names[..], &SHORT[..3], &[&rounds, "--json"]].concat();
    let answer = lab.json(Where::Own, &[&[XHOP], &args[..]].concat());
    assert_same(&before, &lab.everything());
    answer
}

/// Names of what is in a list, and that it has these alone.
fn names<'a>(list: &'a Value, key: &str, expected: &[&str]) -> &'a Vec<Value> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let names: Vec<&str> = list.iter().filter_map(|element| element[key].as_str()).collect();
    assert_eq!(names, expected);
    list
}

/// Each test and way is there, with a positive number for each round.
fn is_whole(answer: &Value, rounds: usize) {
    assert_eq!((&answer["version"], &answer["rounds"]), (&1.into(), &rounds.into()), "{answer}");
    assert_eq!(answer["milliseconds"], 50, "{answer}");
    assert!(answer["busy_percent_before"].as_u64().is_some_and(|n| n <= 100), "{answer}");
    for test in names(&answer["tests"], "test", &TESTS) {
        assert!(test["unit"].is_string() && test["less_is_better"].is_boolean(), "{test}");
        for way in names(&test["ways"], "way", &WAYS) {
            let samples = way["samples"].as_array().expect("samples");
            assert_eq!(samples.len(), rounds, "{test}");
            assert!(samples.iter().all(|n| n.as_u64().is_some_and(|n| n > 0)), "{test}");
            assert!(way["median"].as_u64().is_some_and(|n| n > 0), "{test}");
            let (percent, spread) = (&way["percent_of_plain"], &way["spread_percent"]);
            assert!(percent.is_u64() && spread.is_u64(), "{test}");
            let plain = way["way"] == "plain";
            assert!(!plain || percent == 100, "{test}");
            // One sample tells nothing; and nothing is unlike itself.
            assert!(way["unclear"].is_boolean() && (!plain || way["unclear"] == false), "{test}");
            assert!(rounds > 1 || plain || way["unclear"] == true, "{test}");
        }
    }
}

#[test]
fn measures_each_way_over_ipv4() {
    lab("bench::measures_each_way_over_ipv4", |lab| {
        let pair = lab.pair();
        lab.ok_in("a", &["ethtool", "-K", "eth0", "gro", "off"]);
        let answer = bench(lab, ["a", "netns:b"], 4);
        is_whole(&answer, 4);
        assert_eq!(answer["address"], pair.b.v4.as_str(), "{answer}");
        assert_eq!((&answer["from"], &answer["to"]), (&"netns:a".into(), &"netns:b".into()));
        assert_eq!(answer["bridge"], "br0", "{answer}");
        assert!(answer["br_netfilter"].is_boolean(), "{answer}");
    });
}

#[test]
fn measures_where_there_is_no_ipv4() {
    lab("bench::measures_where_there_is_no_ipv4", |lab| {
        let pair = lab.pair_at(Where::Own);
        lab.ok_in("a", &["ip", "-4", "addr", "flush", "dev", "eth0"]);
        let answer = bench(lab, ["veth:veth-a", "b"], 1);
        is_whole(&answer, 1);
        assert_eq!(answer["address"], pair.b.v6.as_str(), "{answer}");
        // Only what every interface has.
        for name in ["a", "b"] {
            lab.ok_in(name, &["ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global"]);
        }
        let answer = bench(lab, ["a", "b"], 1);
        is_whole(&answer, 1);
        assert!(answer["address"].as_str().is_some_and(|ip| ip.starts_with("fe80:")), "{answer}");
    });
}

#[test]
fn measures_dockers_own_bridge() {
    lab_with("bench::measures_dockers_own_bridge", DOCKER_TOOLS, |lab| {
        let docker = lab.docker();
        ["alpha", "beta"].iter().for_each(|name| docker.run(name));
        wait_until(Duration::from_secs(20), "no address is tentative", || {
            lab.ok_in(Where::Own, &["ip", "-6", "addr", "show", "tentative"]).is_empty()
        });
        let beta = format!("pid:{}", docker.pid("beta"));
        let answer = bench(lab, ["alpha", &beta], 1);
        is_whole(&answer, 1);
        assert_eq!((&answer["from"], &answer["to"]), (&"docker:alpha".into(), &beta.into()));
        assert_eq!(answer["address"], docker.address("beta").as_str(), "{answer}");
        assert_eq!(answer["bridge"], "docker0", "{answer}");
        let filtered = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        let on =
            lab.in_netns(Where::Own, || fs::read_to_string(filtered).is_ok_and(|it| it == "1\n"));
        assert_eq!(answer["br_netfilter"], on, "{answer}");
    });
}

#[test]
fn frames_arrive_in_each_way() {
    lab("bench::frames_arrive_in_each_way", |lab| {
        let before = lab.everything();
        let answer = lab.json(Where::Own, &[XHOP, "bench", "--frames", "--rounds", "1", "--json"]);
        assert_same(&before, &lab.everything());
        assert_eq!((&answer["version"], &answer["rounds"]), (&1.into(), &1.into()), "{answer}");
        assert_eq!((&answer["frame_bytes"], &answer["unit"]), (&64.into(), &"1/s".into()));
        let filtered = fs::exists("/proc/sys/net/bridge/bridge-nf-call-iptables").expect("a path");
        let filtered: &[&str] = if filtered { &["bridge, br_netfilter"] } else { &[] };
        let direct = ["native/complete", "native/offload-off", "made, dropped there"];
        let ways = [&["bridge"], filtered, &direct].concat();
        for way in names(&answer["ways"], "way", &ways) {
            // All but what is lost on the way, in each: what is made is not counted for what arrives.
            assert!(
                way["arrived_percent"].as_u64().is_some_and(|n| (50..=100).contains(&n)),
                "{way}"
            );
            assert_eq!(way["samples"], serde_json::json!([way["median"]]), "{way}");
            assert!(way["median"].as_u64().is_some_and(|n| n > 10_000), "{way}");
            // What goes nowhere costs less than a tenth of it, unless each run waits for RCU.
            let ratio = way["percent_of_bridge"].as_u64().expect("a number");
            assert!(way["way"] != "bridge" || ratio == 100, "{way}");
            assert!(way["way"] != direct[2] || ratio > 250, "{way}");
        }
        let shown = lab.xhop(&["bench", "--frames", "--rounds", "1"]);
        for word in ways.iter().chain(&["M/s", "1.00", "64 bytes"]) {
            assert!(shown.stdout.contains(word), "{word} is not in:\n{shown}");
        }
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn shows_a_table() {
    lab("bench::shows_a_table", |lab| {
        lab.pair();
        let done = lab.xhop(&[&["bench", "a", "b"], &SHORT[..]].concat());
        // How long it takes, and no progress where there is no terminal.
        assert_eq!(done.stderr.lines().count(), 1, "{done}");
        assert!(done.stderr.starts_with("takes ") && !done.stderr.contains('\r'), "{done}");
        let shown = done.ok();
        for word in
            WAYS.iter().chain(&["netns:a", "10.9.0.3", "br_netfilter", "1.00 ##########", "~ "])
        {
            assert!(shown.contains(word), "{word} is not in:\n{shown}");
        }
        assert_eq!(shown.matches("1.00 ##########").count(), TESTS.len(), "{shown}");
        for title in ["TCP, 1 stream", "TCP ping-pong p99", "UDP 64 B", "CPU"] {
            assert!(
                shown.lines().any(|line| line.starts_with(title)),
                "{title} is not in:\n{shown}"
            );
        }
    });
}

/// Wrong sums would be errors; the last column is of one length, on kernels from 6.13.
#[test]
fn sums_segments() {
    lab("bench::sums_segments", |lab| {
        let args = [XHOP, "bench", "--checksum", "--rounds", "1"];
        let answer = lab.json(Where::Own, &[&args[..], &["--json"]].concat());
        assert_eq!((&answer["version"], &answer["rounds"]), (&1.into(), &1.into()), "{answer}");
        let rows = answer["checksum"].as_array().expect("rows");
        assert_eq!(rows.len(), 7, "{answer}");
        let new = kernel::release().expect("uname") >= (6, 13);
        for row in rows {
            for routine in ["complete_ns", "report_loop_ns", "csum_diff_ns"] {
                assert!(row[routine].is_u64(), "{row}");
            }
            let one_call = new && row["bytes"] == 1460;
            assert_eq!(row["one_call_ns"].is_u64(), one_call, "{row}");
            assert!(row["one_call_ns"].is_null() != one_call, "{row}");
        }
        let shown = lab.ok_in(Where::Own, &args);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("BPF_CSUM_DIFF") && lines[0].ends_with("IN ONE CALL"), "{shown}");
        assert!(lines[1].ends_with('-') && lines[7].ends_with('-') != new, "{shown}");
    });
}

#[test]
fn refuses_what_it_cant_measure() {
    lab("bench::refuses_what_it_cant_measure", |lab| {
        let pair = lab.pair();
        let refuses = |names: [&str; 2], words: &[&str]| {
            lab.refuses(&[&["bench"], &names[..], &SHORT].concat(), words);
        };
        refuses(["a", "netns:a"], &["netns:a", "same"]);
        refuses(["a", "nobody"], &["nobody", "no such container"]);
        let other = lab.bridge("br1");
        other.container("c", "10.9.1.4/24", "fd09:1::4/64");
        refuses(["a", "c"], &["br0", "br1", "one bridge"]);
        // One alone that is joined, and both.
        pair.bridge.container("d", "10.9.0.5/24", "fd09::5/64");
        lab.xhop(&["up", "b", "d"]).ok();
        let said = lab.refuses(&[&["bench", "a", "b"], &SHORT[..]].concat(), &["joined already"]);
        assert!(said.contains("`xhop down netns:b`"), "{said}");
        refuses(["b", "d"], &["down netns:b netns:d`"]);
        lab.xhop(&["down", "netns:b", "netns:d"]).ok();
        lab.ok_in(HOST, &["ip", "link", "set", "veth-d", "type", "bridge_slave", "isolated", "on"]);
        refuses(["a", "d"], &["isolated", "--force"]);
    });
}

#[test]
fn who_is_joined_stays_joined() {
    lab("bench::who_is_joined_stays_joined", |lab| {
        let pair = lab.pair();
        for (name, v4, v6) in
            [("c", "10.9.0.4/24", "fd09::4/64"), ("d", "10.9.0.5/24", "fd09::5/64")]
        {
            pair.bridge.container(name, v4, v6);
        }
        lab.xhop(&["up", "c", "d", "--checksum", "offload-off"]).ok();
        // All ways can't be measured beside one of them.
        let words = ["netns:c is joined by native", "take netns:c out first"];
        lab.refuses_late(&["bench", "a", "b"], &words);
        lab.pings("c", "10.9.0.5");
        assert_eq!(lab.members().len(), 2);
    });
}

#[test]
fn packets_must_arrive_and_hop() {
    lab("bench::packets_must_arrive_and_hop", |lab| {
        let pair = lab.pair();
        // From another subnet, by the host: not what is joined.
        lab.in_netns(HOST, || {
            for (setting, value) in [("ip_forward", "1"), ("conf/all/send_redirects", "0")] {
                fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).expect(setting);
            }
            // Already there, so not by default.
            fs::write("/proc/sys/net/ipv4/conf/br0/send_redirects", "0").expect("br0");
        });
        pair.bridge.address("10.8.0.1/24");
        pair.bridge.container("c", "10.8.0.4/24", "fd08::4/64");
        pair.bridge.address("10.9.0.1/24");
        lab.ok_in("b", &["ip", "route", "add", "default", "via", "10.9.0.1"]);
        lab.refuses_late(&["bench", "c", "b"], &["do not hop", "netns:c", "10.9.0.3", "tc"]);
        // Nobody answers.
        lab.ok_in("b", &["ip", "link", "set", "eth0", "arp", "off"]);
        lab.refuses_late(&["bench", "a", "b"], &["10.9.0.3", "firewall"]);
    });
}

trait Late {
    /// As `refuses`, of what starts before it fails: a line before says how long it would take.
    fn refuses_late(&self, args: &[&str], words: &[&str]);
}

impl Late for Lab {
    fn refuses_late(&self, args: &[&str], words: &[&str]) {
        let before = self.everything();
        let done = self.xhop(&[args, &SHORT[..]].concat());
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(1), ""), "{done}");
        let last = done.stderr.lines().last().unwrap_or("");
        assert!(last.starts_with("xhop: ") && done.stderr.lines().count() == 2, "{done}");
        for word in words {
            assert!(last.contains(word), "`{word}` is not in {done}");
        }
        assert_same(&before, &self.everything());
    }
}

#[test]
fn a_signal_restores() {
    lab("bench::a_signal_restores", |lab| {
        lab.pair();
        let before = lab.everything();
        for (signal, seconds) in
            [(Signal::SIGINT, "1"), (Signal::SIGTERM, "1"), (Signal::SIGINT, "60")]
        {
            let argv = [XHOP, "bench", "a", "b", "--rounds", "1000", "--seconds", seconds];
            let mut bench = lab.spawn_in(Where::Own, &argv);
            // A measurement that takes long is not waited for: there the plain path is the first.
            match seconds {
                "60" => {
                    let found = sent(lab);
                    until(&mut bench, "it measures", || sent(lab) > found + 10_000_000);
                }
                _ => until(&mut bench, "the two are joined", || joined(lab)),
            }
            bench.signal(signal);
            let done = bench.wait(Duration::from_secs(20));
            assert_eq!(done.status.signal(), Some(signal as i32), "{done}");
            assert_eq!(done.stdout, "", "{done}");
            assert!(done.stderr.ends_with("xhop: interrupted: all is as it was found\n"), "{done}");
            assert_same(&before, &lab.everything());
        }
    });
}

#[test]
fn down_suffices_after_a_kill() {
    lab("bench::down_suffices_after_a_kill", |lab| {
        lab.pair();
        let before = lab.everything();
        let mut bench = lab.spawn_in(Where::Own, &[XHOP, "bench", "a", "b", "--seconds", "0.05"]);
        until(&mut bench, "the two are joined", || joined(lab));
        bench.signal(Signal::SIGKILL);
        bench.wait(Duration::from_secs(20));
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

fn until(bench: &mut Running, what: &str, mut holds: impl FnMut() -> bool) {
    wait_until(Duration::from_secs(60), what, || {
        assert!(bench.alive(), "{}", bench.stderr());
        holds()
    });
}

fn joined(lab: &Lab) -> bool {
    ["veth-a", "veth-b"].iter().all(|veth| !lab.programs_on(HOST, veth).is_empty())
}

/// How many bytes `a` has sent since `b` was made.
fn sent(lab: &Lab) -> u64 {
    let links = lab.json("b", &["ip", "-s", "-j", "link", "show", "dev", "eth0"]);
    links[0]["stats64"]["rx"]["bytes"].as_u64().expect("a number")
}
