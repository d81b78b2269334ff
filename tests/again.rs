//! `up` on what is joined already, and what it says: whoever stays is never worse off.

mod lab;

use std::time::Duration;

use lab::{
    HOST, Lab, Where, XHOP, assert_one_line, assert_same, lab, lab_by, lab_by_each, lab_with,
};
use serde_json::Value;
use xhop::sys::bpffs::is_bpffs;

/// The dead are cleared away for good, the living are put back.
#[test]
fn a_failing_up_leaves_the_joined_joined() {
    // Native XDP takes no such MTU, and fails on the last.
    lab_by("a_failing_up_leaves_the_joined_joined", &["ebtables"], "native", |lab| {
        let pair = lab.pair();
        let e = pair.bridge.container("e", "10.9.0.6/24", "fd09::6/64");
        lab.ok_in(&*e.name, &["ip", "link", "set", "eth0", "mtu", "9000"]);
        let before = lab.everything();
        for attach in ["link", "netlink"] {
            lab.joins(&["a", "b", "--attach", attach]);
            let joined = lab.own_files();
            let d = pair.bridge.container("d", "10.9.0.5/24", "fd09::5/64");
            lab.joins(&["a", "b", "d", "--attach", attach]);
            lab.end(d);
            // Once with the dead, twice without.
            for way in ["offload-off", "trust", "offload-off"] {
                let done = lab.up(&["a", "b", "e", "--checksum", way, "--attach", attach]);
                assert_one_line(&done, &["veth-e", "MTU"]);
                assert_same(&joined, &lab.own_files());
                assert_eq!(["netns:a", "netns:b"].map(|name| lab.state(name)), ["up", "up"]);
                pair.bridge.is_bypassed(&pair.a, &pair.b);
            }
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

/// Those who were joined another way are back in it.
#[test]
fn a_change_of_way_that_fails() {
    lab_with("a_change_of_way_that_fails", &["ebtables", "curl"], |lab| {
        let pair = lab.pair();
        let _page = lab.http_server("b", 80, b"hello".to_vec());
        pair.bridge.container("e", "10.9.0.6/24", "fd09::6/64");
        lab.ok_in("e", &["ip", "link", "set", "eth0", "mtu", "9000"]);
        let before = lab.everything();
        for by in ["tc", "generic"] {
            for attach in ["link", "netlink"] {
                lab.joins(&["a", "b", "--datapath", by, "--attach", attach]);
                let joined = lab.everything();
                let done = lab.up(&["a", "b", "e", "--datapath", "native", "--attach", attach]);
                assert_one_line(&done, &["veth-e", "MTU"]);
                // The same, but other programs; so not by their ids.
                let same = |text: &str| {
                    let lines = text.lines().filter(|line| !line.contains("prog_id"));
                    let lines = lines.filter(|line| !line.contains("xdp") && !line.contains("tcx"));
                    // The port that guards the bridge's MTU is made anew, with it.
                    let lines = lines.filter(|line| !line.contains("host xhop-"));
                    let lines = lines.filter(|line| !line.contains("host veth0"));
                    lines.filter(|line| !line.contains("\"id\"")).collect::<Vec<_>>().join("\n")
                };
                assert_same(&same(&joined), &same(&lab.everything()));
                assert!(lab.members().iter().all(|m| m["state"] == "up" && m["datapath"] == by));
                pair.bridge.is_bypassed(&pair.a, &pair.b);
                lab.get("a", &pair.b.v4).ok();
                lab.xhop(&["down", "--all"]).ok();
                assert_same(&before, &lab.everything());
            }
        }
    });
}

#[test]
fn status_while_others_join_and_leave() {
    lab_by_each("status_while_others_join_and_leave", &[], |lab| {
        lab.pair();
        let up = lab.up_args(&["a", "b"]).join(" ");
        let script = format!(
            "n=0; while [ $n -lt 20 ]; do '{XHOP}' {up} && '{XHOP}' down --all || exit 1; n=$((n + 1)); done"
        );
        let mut rounds = lab.spawn_in(Where::Own, &["sh", "-c", &script]);
        let mut seen = [0; 3];
        while rounds.alive() {
            seen[lab.members().len()] += 1;
        }
        rounds.wait(Duration::from_secs(60)).ok();
        // Never half of them.
        assert_eq!(seen[1], 0, "{seen:?}");
        assert!(seen[0] > 0 && seen[2] > 0, "{seen:?}");
    });
}

#[test]
fn a_bpffs_that_was_mounted_stays() {
    lab("a_bpffs_that_was_mounted_stays", |lab| {
        lab.pair();
        let there = || is_bpffs("/sys/fs/bpf".as_ref()).expect("statfs");
        for (option, way) in [
            ("--checksum", "complete"),
            ("--datapath", "tc"),
            ("--checksum", "offload-off"),
            ("--datapath", "generic"),
            ("--checksum", "none"),
            ("--checksum", "trust"),
            ("--checksum", "complete"),
        ] {
            lab.joins(&["a", "b", option, way]);
            assert!(there() && !lab.own_files().contains("mounted"), "{way}");
        }
        lab.xhop(&["down", "a"]).ok();
        lab.joins(&["a", "b"]);
        lab.xhop(&["down", "--all"]).ok();
        assert!(there());
    });
}

/// Who gets another address, or loses one, goes on with the others under way: nothing is attached anew.
#[test]
fn other_addresses_disturb_nobody() {
    lab_by_each("other_addresses_disturb_nobody", &["ebtables"], |lab| {
        let pair = lab.pair();
        let (before, ours) = (lab.everything(), lab.own_files());
        lab.joins(&["a", "b"]);
        let id = || lab.member("netns:b")["program"]["id"].as_u64().expect("a program");
        let attached = id();
        pair.bridge.is_bypassed(&pair.a, &pair.b);
        let by_bridge = pair.bridge.forwarded();
        let flood = lab.spawn_in("a", &["ping", "-nqc", "2000", "-i", "0.001", &pair.b.v4]);
        for round in 0..5 {
            let address = format!("10.9.0.{}/24", 50 + round);
            lab.ok_in("b", &["ip", "addr", "add", &address, "dev", "eth0"]);
            let plan: Value =
                serde_json::from_str(&lab.joins(&["a", "b", "--dry-run", "--json"])).expect("JSON");
            let facts: Vec<_> = plan["actions"]
                .as_array()
                .expect("actions")
                .iter()
                .map(|action| action["fact"].as_str().expect("a fact").to_owned())
                .collect();
            assert_eq!(facts, ["rewrite", "endpoint"], "{plan}");
            lab.joins(&["a", "b"]);
            assert!(lab.member("netns:b")["addresses"].to_string().contains(&address[..9]));
            lab.pings("a", address.trim_end_matches("/24"));
            lab.ok_in("b", &["ip", "addr", "del", &address, "dev", "eth0"]);
            lab.joins(&["a", "b"]);
            assert!(!lab.member("netns:b")["addresses"].to_string().contains(&address[..9]));
        }
        flood.wait(Duration::from_secs(30)).ok();
        assert_eq!((id(), pair.bridge.forwarded()), (attached, by_bridge));
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
        assert_same(&ours, &lab.own_files());
    });
}

/// Whether bridges of this namespace hand packets to iptables; false if this kernel has no such thing.
fn filter(lab: &Lab, at: impl Into<Where>, on: bool) -> bool {
    let value = if on { "1" } else { "0" };
    let write = |family| {
        std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), value).is_ok()
    };
    lab.in_netns(at, || write("iptables") && write("ip6tables"))
}

#[test]
fn a_filter_on_the_bridge_is_told_of() {
    lab("a_filter_on_the_bridge_is_told_of", |lab| {
        lab.pair();
        if !filter(lab, HOST, true) {
            // No test shall load it for everybody.
            let reason = "br_netfilter is not loaded";
            return lab::not_tried("a_filter_on_the_bridge_is_told_of", reason);
        }
        for on in [true, false] {
            filter(lab, HOST, on);
            // What holds where xhop runs is not what holds where the bridge is.
            filter(lab, Where::Own, !on);
            let done = lab.xhop(&["up", "a", "b"]);
            assert_eq!(done.status.code(), Some(0), "{done}");
            assert_eq!(done.stderr.lines().count(), usize::from(on), "{done}");
            assert!(!on || done.stderr.starts_with("xhop: warning: "), "{done}");
            assert!(!on || done.stderr.contains("br_netfilter"), "{done}");
            let shown = lab.json(Where::Own, &[XHOP, "up", "a", "b", "--json"]);
            let warnings = shown["warnings"].as_array().expect("warnings");
            assert_eq!(warnings.len(), usize::from(on), "{shown}");
            lab.pings("a", "10.9.0.3");
            lab.xhop(&["down", "--all"]).ok();
        }
    });
}
