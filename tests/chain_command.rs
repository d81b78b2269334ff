//! `xhop chain` as its users see it: what it refuses, what it prints, and what is left when it fails.

mod lab;

use lab::chain::{By, OUTSIDE, Stage};
use lab::{Where, assert_same, lab};
use serde_json::Value;

/// A failure at the very last step: the NIC takes no program while its peer's frames are too large.
#[test]
fn a_chain_that_fails_gives_all_back() {
    lab("a_chain_that_fails_gives_all_back", |lab| {
        let stage = Stage::new(lab, By::Routing);
        lab.ok_in(OUTSIDE, &["ip", "link", "set", "eth0", "mtu", "9000"]);
        let words = ["nic0", "MTU is too large", "1500"];
        let before = lab.everything();
        lab::assert_one_line(&lab.xhop(&["chain", "nic0", "a", "b", "c"]), &words);
        assert_same(&before, &lab.everything());
        // One that was seen to be impossible does not begin.
        lab.ok_in(OUTSIDE, &["ip", "link", "set", "eth0", "mtu", "1500"]);
        stage.chain(&[]);
        stage.goes_through(2, || lab.pings(OUTSIDE, "10.9.0.4"));
    });
}

#[test]
fn what_is_refused() {
    lab("what_is_refused", |lab| {
        let stage = Stage::new(lab, By::Routing);
        let chain = |args: &[&'static str]| [&["chain"], args].concat();
        let refusals: [(&[&str], &[&str]); 8] = [
            (&["nope", "a"], &["no interface nope", "ip link"]),
            (&["nic0", "nope"], &["nope", "no such container"]),
            (&["nic0", "a", "b", "a"], &["the same container"]),
            (&["nic0", "a", "c", "--match", "dst=10.9.0.3"], &["10.9.0.3", "netns:c", "the last"]),
            (&["br0", "a", "c"], &["br0", "is a bridge"]),
            (&["veth-a", "a", "c"], &["netns:a", "the NIC itself"]),
            (&["lo", "a", "c"], &["lo", "native XDP"]),
            (&["nic0", "veth:nic0"], &["veth:nic0", "the NIC itself"]),
        ];
        for (args, words) in refusals {
            lab.refuses(&chain(args), words);
        }
        for (at, ifname) in [(Where::Own, "nic0"), (Where::Own, "veth-a")] {
            let link = lab.link_foreign(&at, ifname);
            lab.refuses(&chain(&["nic0", "a", "b", "c"]), &[ifname, "bears", "nobody's place"]);
            drop(link);
        }
        lab.ok_in("b", &["ip", "link", "set", "eth0", "down"]);
        lab.refuses(&chain(&["nic0", "a", "b", "c"]), &["netns:b", "down"]);
        lab.ok_in("b", &["ip", "link", "set", "eth0", "up"]);
        lab.refuses(&["down", "--chain", "nic0"], &["nic0 has no chain"]);
        lab.refuses(&chain(&["nic0", "c", "--back"]), &["netns:c", "two members"]);
        lab.bridge_at(Where::Own, "br1").container("d", "10.8.0.2/24", "fd08::2/64");
        lab.refuses(&chain(&["nic0", "a", "d", "--back"]), &["netns:d", "one bridge"]);
        let link = lab.link_foreign(Where::Own, "veth-c");
        lab.refuses(&chain(&["nic0", "a", "c", "--back"]), &["veth-c", "nobody's place"]);
        drop(link);
        // Joined by native XDP, a host's end has no room; with a chain there, neither.
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        lab.refuses(&chain(&["nic0", "a", "b", "c"]), &["veth-a", "xhop down"]);
        lab.xhop(&["down", "--all"]).ok();
        stage.chain(&[]);
        lab.refuses(
            &chain(&["nic0", "a", "b", "c"]),
            &["a chain already", "xhop down --chain nic0"],
        );
        lab.refuses(&["up", "a", "b", "--datapath", "native"], &["veth-a", "bpf_link"]);
        for wrong in ["dst=x", "dst=10.9.0.4,port=80", "proto=tcp"] {
            let done = lab.xhop(&["chain", "nic0", "a", "c", "--match", wrong]);
            assert_eq!(done.status.code(), Some(2), "{done}");
        }
    });
}

#[test]
fn what_is_printed() {
    lab("what_is_printed", |lab| {
        let stage = Stage::new(lab, By::Routing);
        let before = lab.everything();
        let dry = stage.chain(&["--dry-run"]);
        for line in [
            "would write the record of the chain nic0 > netns:a > netns:b > netns:c",
            "would attach bounce to eth0 in the container",
            "would attach next to veth-a (native XDP) by link",
            "would attach chain-in to nic0 (native XDP) by link",
        ] {
            assert!(dry.contains(line), "{line} is not in\n{dry}");
        }
        assert!(dry.ends_with("would attach chain-in to nic0 (native XDP) by link\n"), "{dry}");
        assert_same(&before, &lab.everything());
        let json: Value = serde_json::from_str(&stage.chain(&["--json"])).expect("JSON");
        assert_eq!((&json["version"], &json["done"]), (&1.into(), &true.into()));
        assert_eq!(json["chains"][0]["members"][2]["name"], "netns:c");
        assert_eq!(json["chains"][0]["matches"][0]["dst"], "10.9.0.4");
        let shown = lab.xhop(&["status"]).ok();
        for word in
            ["> netns:b", "its own", "bounce", "the stack", "takes in: dst=10.9.0.4 or dst=fd09::4"]
        {
            assert_eq!(shown.contains(word), word != "its own", "{word}: {shown}");
        }
        let dry = lab.xhop(&["down", "--chain", "nic0", "--dry-run"]).ok();
        assert!(dry.starts_with("would detach chain-in from nic0\n"), "{dry}");
        assert_eq!(
            lab.xhop(&["down", "--all"]).ok(),
            "took out the chain nic0 > netns:a > netns:b > netns:c\n"
        );
        assert_same(&before, &lab.everything());
        let _ = &stage.bridge;
    });
}
