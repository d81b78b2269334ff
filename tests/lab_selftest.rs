//! The laboratory itself: what it promises to the tests that use it.

mod lab;

use std::fs;
use std::panic::catch_unwind;
use std::time::Duration;

use lab::{HOST, Lab, Where, assert_same, lab, lab_with, wait_until};

#[test]
fn containers_talk_over_the_bridge() {
    lab_with("containers_talk_over_the_bridge", &["curl", "ebtables"], |lab| {
        let bridge = lab.pair().bridge;
        let page = b"over the bridge\n".to_vec();
        let _http = lab.http_server("b", 8080, page.clone());
        let _echo = lab.udp_echo("b", 7);
        assert_eq!(bridge.forwarded(), 0);
        for (address, host) in [("10.9.0.3", "10.9.0.3"), ("fd09::3", "[fd09::3]")] {
            lab.ok_in("a", &["ping", "-c1", "-W2", address]);
            let url = format!("http://{host}:8080/");
            assert_eq!(lab.ok_in("a", &["curl", "-sS", "-m5", &url]).as_bytes(), page);
            let echo = format!("{host}:7").parse().expect("an address");
            assert_eq!(lab.udp_ask("a", echo, b"hello").expect("an echo"), b"hello");
            lab.bulk("a", "b", address, 100_000_001).expect("a whole transfer");
        }
        assert!(bridge.forwarded() > 1000);
        assert!(lab.link_stats(HOST, "veth-a").rx_bytes > 200_000_000);
        assert!(lab.counters("b").get("TcpInSegs") > 100);
        assert_eq!(lab.counters("b").get("TcpInCsumErrors"), 0);
    });
}

#[test]
fn the_bridge_may_be_in_the_labs_own_namespace() {
    lab("the_bridge_may_be_in_the_labs_own_namespace", |lab| {
        let bridge = lab.bridge_at(Where::Own, "br0");
        bridge.address("10.9.0.1/24");
        let a = bridge.container("a", "10.9.0.2/24", "fd09::2/64");
        lab.ok_in("a", &["ping", "-c1", "-W2", "10.9.0.1"]);
        assert!(lab.ok_in("a", &["ip", "route"]).contains("default via 10.9.0.1"));
        assert!(fs::exists("/sys/class/net/veth-a").expect("the private sysfs"));
        lab.remove(a);
        wait_until(Duration::from_secs(10), "the veth goes with its container", || {
            !lab.run_in(Where::Own, &["ip", "link", "show", "veth-a"]).status.success()
        });
    });
}

#[test]
fn a_quiet_bridge_forwards_nothing() {
    lab_with("a_quiet_bridge_forwards_nothing", &["ebtables"], |lab| {
        let bridge = lab.pair().bridge;
        lab.ok_in("a", &["ping", "-c1", "-W2", "10.9.0.3"]);
        let before = bridge.forwarded();
        // The time itself is what is tried here: nothing may happen in it.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(bridge.forwarded(), before);
    });
}

#[test]
fn a_snapshot_is_stable_and_sees_a_change() {
    lab("a_snapshot_is_stable_and_sees_a_change", |lab| {
        lab.pair();
        let before = lab.snapshot();
        lab.ok_in("a", &["ping", "-c1", "-W2", "10.9.0.3"]);
        assert_same(&before, &lab.snapshot());
        for fact in ["a eth0 mtu 1500", "host br0 linkinfo info_kind \"bridge\""] {
            assert!(before.lines().any(|line| line == fact), "{fact} is not in\n{before}");
        }
        let changes: [(&str, &[&str], &[&str]); 3] = [
            (
                "a",
                &["ethtool", "-K", "eth0", "gro", "on"],
                &["ethtool", "-K", "eth0", "gro", "off"],
            ),
            (
                HOST,
                &["ip", "link", "set", "br0", "mtu", "1400"],
                &["ip", "link", "set", "br0", "mtu", "1500"],
            ),
            (
                HOST,
                &["tc", "qdisc", "add", "dev", "veth-a", "clsact"],
                &["tc", "qdisc", "del", "dev", "veth-a", "clsact"],
            ),
        ];
        for (at, change, back) in changes {
            lab.ok_in(at, change);
            let changed = lab.snapshot();
            let difference = catch_unwind(|| assert_same(&before, &changed));
            assert!(difference.is_err(), "{change:?} was not seen");
            lab.ok_in(at, back);
            assert_same(&before, &lab.snapshot());
        }
    });
}

#[test]
fn nothing_outlives_a_failing_lab() {
    lab("nothing_outlives_a_failing_lab", |outer| {
        outer.netns("watch");
        let watch = outer.spawn_in("watch", &["sleep", "600"]);
        let orphan = "/dev/shm/xhop-lab-selftest-orphan";
        let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| {
            lab("inner", |inner| fail(inner, watch.pid(), orphan));
        }));
        let panic = outcome.expect_err("a panic");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));

        let pids = fs::read_to_string(orphan).expect("the orphan's id");
        fs::remove_file(orphan).expect("the note's removal");
        pids.split_whitespace().for_each(assert_dead);
        // Namespaces and pins are freed a little after the last that held them.
        let patience = Duration::from_secs(20);
        wait_until(patience, "the inner namespace and its veth are gone", || {
            !outer.run_in("watch", &["ip", "link", "show", "canary"]).status.success()
        });
        wait_until(patience, "the pinned map is gone", || {
            !outer.ok_in(Where::Own, &["bpftool", "-j", "map", "list"]).contains("lab_canary")
        });
        assert!(!fs::exists("/run/netns/inner").expect("a look at /run"));
    });
}

/// Gone, or a zombie that nobody has waited for yet.
fn assert_dead(pid: &str) {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

/// Makes one of everything, and panics.
fn fail(lab: &Lab, watch: u32, note: &str) {
    lab.netns("inner");
    let watch = watch.to_string();
    lab.ok_in(
        "inner",
        &["ip", "link", "add", "v", "type", "veth", "peer", "canary", "netns", &watch],
    );
    let map =
        "bpftool map create /sys/fs/bpf/canary type hash key 4 value 4 entries 1 name lab_canary";
    lab.ok_in(Where::Own, &map.split(' ').collect::<Vec<_>>());
    // One that the lab knows, and one that it has lost sight of.
    let known = lab.spawn_in("inner", &["sleep", "600"]);
    let script = format!("sleep 600 >/dev/null 2>&1 & echo $! {} > {note}", known.pid());
    lab.ok_in("inner", &["sh", "-c", &script]);
    std::mem::forget(known);
    panic!("on purpose");
}

#[test]
fn docker_containers_talk_over_docker0() {
    let mut last = None;
    lab_with("docker_containers_talk_over_docker0", lab::DOCKER_TOOLS, |lab| {
        let docker = lab.docker();
        docker.run("client");
        docker.run("server");
        let address = docker.address("server");
        let url = format!("http://{address}/");
        docker.exec("client", &["ping", "-c", "1", "-W", "2", &address]).ok();
        assert_eq!(docker.exec("client", &["wget", "-q", "-O", "-", &url]).ok(), "server\n");
        let before = docker.pid("server");
        docker.restart("server");
        assert_ne!(docker.pid("server"), before);
        assert_eq!(docker.exec("client", &["wget", "-q", "-O", "-", &url]).ok(), "server\n");
        assert!(
            lab.ok_in(Where::Own, &["ip", "link", "show", "master", "docker0"]).contains("veth")
        );
        last = Some(docker.pid("server"));
    });
    if let Some(pid) = last {
        assert_dead(&pid.to_string());
    }
}

#[test]
fn a_missing_tool_skips_the_test_unless_it_must_run() {
    let must_run = std::env::var("XHOP_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    let outcome = catch_unwind(|| {
        lab_with("(the laboratory tries a skip)", &["no-such-tool"], |_| unreachable!());
    });
    assert_eq!(outcome.is_err(), must_run);
}
