//! `--big-tcp`: more than 64 KiB at once, where it may be, and nothing lost where it may not.

mod lab;

use std::time::Duration;

use lab::{HOST, Lab, Where, assert_same, lab_with};

const SIZE: u32 = 196_608;
const BULK: u64 = 200_000_000;
const TOOLS: &[&str] = &["tcpdump"];

/// Waits for one packet on `eth0` that is larger than 64 KiB.
fn watch(lab: &Lab, at: &str) -> lab::Running {
    let argv = ["tcpdump", "-Z", "root", "-ni", "eth0", "-c1", "-s100", "greater", "65600"];
    let watch = lab.spawn_in(at, &argv);
    lab::wait_until(Duration::from_secs(10), "it listens", || {
        watch.stderr().contains("listening on")
    });
    watch
}

#[test]
fn large_packets_arrive_whole() {
    lab_with("large_packets_arrive_whole", TOOLS, |lab| {
        lab.pair();
        let before = lab.everything();
        let found = lab.gso_ipv4("a", "eth0");
        assert!(found <= 65_536, "{found}");
        for attach in ["link", "netlink"] {
            lab.joins(&["a", "b", "--datapath", "tc", "--big-tcp", "--attach", attach]);
            assert_eq!([lab.gso_ipv4("a", "eth0"), lab.gso_ipv4("b", "eth0")], [SIZE, SIZE]);
            let seen = watch(lab, "b");
            lab.bulk("a", "b", "10.9.0.3", BULK).expect("a whole transfer");
            lab.bulk("a", "b", "fd09::3", BULK / 4).expect("a whole transfer");
            seen.wait(Duration::from_secs(5)).ok();
            // Without it again.
            lab.joins(&["a", "b", "--big-tcp=off", "--attach", attach]);
            assert_eq!([lab.gso_ipv4("a", "eth0"), lab.gso_ipv4("b", "eth0")], [found, found]);
            let mut seen = watch(lab, "b");
            lab.bulk("a", "b", "10.9.0.3", BULK / 4).expect("a whole transfer");
            assert!(seen.alive(), "{}", seen.stdout());
            drop(seen);
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

/// Each way that takes the option carries what it brings about, and soon.
#[test]
fn with_each_datapath() {
    lab_with("with_each_datapath", &[], |lab| {
        lab.pair();
        for by in ["generic", "native"] {
            let refused = ["up", "a", "b", "--datapath", by, "--big-tcp"];
            lab.refuses(&refused, &["--big-tcp", &format!("{by} XDP"), "leave it out"]);
        }
        lab.joins(&["a", "b", "--datapath", "tc", "--big-tcp"]);
        there_and_back(lab, "tc");
    });
}

fn there_and_back(lab: &Lab, by: &str) {
    for (from, to, address) in [("a", "b", "10.9.0.3"), ("b", "a", "10.9.0.2")] {
        let took = lab.bulk(from, to, address, 50_000_000);
        let took = took.unwrap_or_else(|e| panic!("{by}: {e}"));
        // What is lost each time is sent again in smaller pieces, which takes minutes.
        assert!(took < Duration::from_secs(60), "{by}: {took:?}");
    }
}

/// More than generic XDP redirects, as somebody has set it before.
#[test]
fn as_it_was_found() {
    lab_with("as_it_was_found", &[], |lab| {
        lab.pair();
        for at in ["a", "b"] {
            lab.set_gso_ipv4(at, "eth0", SIZE);
        }
        let before = lab.everything();
        for by in lab::DATAPATHS {
            lab.joins(&["a", "b", "--datapath", by]);
            let size = if by == "generic" { 65_536 } else { SIZE };
            assert_eq!([lab.gso_ipv4("a", "eth0"), lab.gso_ipv4("b", "eth0")], [size, size]);
            there_and_back(lab, by);
        }
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!([lab.gso_ipv4("a", "eth0"), lab.gso_ipv4("b", "eth0")], [SIZE, SIZE]);
        assert_same(&before, &lab.everything());
    });
}

/// By the bridge and a router whose interface takes 64 KiB at once, there and back.
#[test]
fn to_the_outside() {
    lab_with("to_the_outside", &[], |lab| {
        let bridge = lab.bridge("br0");
        bridge.address("10.9.0.1/24");
        bridge.container("a", "10.9.0.2/24", "fd09::2/64");
        bridge.container("b", "10.9.0.3/24", "fd09::3/64");
        lab.netns("out");
        lab.ok_in(
            "out",
            &"ip link add eth0 type veth peer name uplink".split(' ').collect::<Vec<_>>(),
        );
        lab.ok_in("out", &["ip", "link", "set", "uplink", "netns", HOST]);
        for (at, ifname, cidr) in [("out", "eth0", "10.6.0.2/24"), (HOST, "uplink", "10.6.0.1/24")]
        {
            lab.ok_in(at, &["ip", "addr", "add", cidr, "dev", ifname]);
            lab.ok_in(at, &["ip", "link", "set", ifname, "up"]);
        }
        lab.ok_in("out", &["ip", "route", "add", "default", "via", "10.6.0.1"]);
        lab.in_netns(Where::from(HOST), || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("sysctl");
        });
        assert!(lab.gso_ipv4(HOST, "uplink") <= 65_536);
        lab.joins(&["a", "b", "--datapath", "tc", "--big-tcp"]);
        for tso in ["on", "off"] {
            lab.ok_in(HOST, &["ethtool", "-K", "uplink", "tso", tso]);
            lab.bulk("a", "out", "10.6.0.2", BULK / 8).expect("a whole transfer");
        }
        lab.xhop(&["down", "--all"]).ok();
    });
}
