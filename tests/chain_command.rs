//! `xhop chain` as its users see it: what it refuses, what it prints, and what is left when it fails.

mod lab;

use std::time::Duration;

use lab::chain::{By, OUTSIDE, Stage, mac};
use lab::{Where, assert_same, lab, wait_until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);

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
        stage.chain(&[]);
        lab.refuses(
            &chain(&["nic0", "a", "b", "c"]),
            &["a chain already", "xhop down --chain nic0"],
        );
        for wrong in ["dst=x", "dst=10.9.0.4,port=80", "proto=tcp"] {
            let done = lab.xhop(&["chain", "nic0", "a", "c", "--match", wrong]);
            assert_eq!(done.status.code(), Some(2), "{done}");
        }
    });
}

/// What one of two makes at a container's end, the other would find there, and lose when the one is taken down.
#[test]
fn what_another_has_made() {
    lab("what_another_has_made", |lab| {
        let stage = Stage::new(lab, By::Routing);
        for datapath in ["native", "generic"] {
            lab.xhop(&["up", "b", "c", "--datapath", datapath]).ok();
            for (members, name) in [(["a", "c"], "netns:c"), (["b", "a"], "netns:b")] {
                let words = [name, datapath, "xhop down", "--datapath tc"];
                lab.refuses(&[&["chain", "nic0"][..], &members].concat(), &words);
            }
            lab.xhop(&["down", "--all"]).ok();
        }
        stage.chain(&[]);
        lab.ok_in(Where::Own, &["ip", "link", "add", "nic1", "type", "veth"]);
        lab.ok_in(Where::Own, &["ip", "link", "set", "nic1", "up"]);
        stage.bridge.container("d", "10.9.0.5/24", "fd09::5/64");
        for members in [["a", "d"], ["d", "a"], ["d", "c"]] {
            let name = format!("netns:{}", if members[0] == "d" { members[1] } else { "a" });
            let words = [&name, "the chain of nic0", "xhop down --chain nic0"];
            lab.refuses(&[&["chain", "nic1"][..], &members].concat(), &words);
        }
        let before = lab.everything();
        for datapath in ["native", "generic"] {
            for (members, name) in [(["a", "d"], "netns:a"), (["d", "c"], "netns:c")] {
                let args = [&["up"][..], &members, &["--datapath", datapath]].concat();
                let words = [name, "the chain of nic0", "--datapath tc", "down --chain nic0"];
                lab.refuses(&args, &words);
            }
        }
        assert_same(&before, &lab.everything());
        lab.xhop(&["up", "a", "d", "c", "--datapath", "tc"]).ok();
        assert_eq!((stage.state(), lab.state("netns:a")), ("up".into(), "up".into()));
    });
}

/// The host's own traffic is for the host.
#[test]
fn an_address_of_the_host_is_refused() {
    lab("an_address_of_the_host_is_refused", |lab| {
        let stage = Stage::new(lab, By::Routing);
        lab.ok_in("c", &["ip", "addr", "add", "192.0.2.1/24", "dev", "eth0"]);
        let words = ["192.0.2.1", "netns:c", "nic0", "--match dst="];
        let before = lab.everything();
        lab.refuses(&["chain", "nic0", "a", "b", "c"], &words);
        lab.refuses(&["chain", "nic0", "a", "c", "--match", "dst=192.0.2.1,proto=tcp"], &words);
        assert_same(&before, &lab.everything());
        lab.ok_in("c", &["ip", "addr", "add", "10.9.0.1/32", "dev", "lo"]);
        let other = ["10.9.0.1", "netns:c", "br0"];
        lab.refuses(&["chain", "nic0", "a", "c", "--match", "dst=10.9.0.1"], &other);
        lab.ok_in("c", &["ip", "addr", "del", "10.9.0.1/32", "dev", "lo"]);
        stage.chain(&["--match", "dst=10.9.0.4"]);
    });
}

/// Each of these loses what goes in.
#[test]
fn what_others_change_is_seen() {
    lab("what_others_change_is_seen", |lab| {
        let stage = Stage::new(lab, By::Routing);
        stage.chain(&[]);
        let ip = |at: &str, line: &str| {
            lab.ok_in(at, &["ip"].into_iter().chain(line.split(' ')).collect::<Vec<_>>());
        };
        let is = |state: &str, why: &str| assert_eq!(stage.state(), state, "{why}");
        is("up", "nothing is changed");
        for at in ["a", "b", "c"] {
            let bytes = mac(lab, at).map(|byte| format!("{byte:02x}")).join(":");
            ip(at, "link set eth0 address 02:00:00:00:00:77");
            is("altered", at);
            ip(at, &format!("link set eth0 address {bytes}"));
            is("up", at);
        }
        for at in ["a", "b"] {
            ip(at, "link set eth0 down");
            is("deaf", at);
            ip(at, "link set eth0 up");
            wait_until(PATIENCE, "it is up again", || stage.state() == "up");
        }
        ip("c", "addr del 10.9.0.4/24 dev eth0");
        is("altered", "the last one has no such address");
        ip("c", "addr add 10.9.0.4/24 dev eth0");
        is("up", "it has it again");
        lab.netns("elsewhere");
        lab.ok_in(Where::Own, &["ip", "link", "set", "nic0", "netns", "elsewhere"]);
        is("detached", "the NIC is elsewhere");
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
