//! What each way to treat checksums does to the containers, and that a live pair can change it.

mod lab;

use lab::{Lab, Pair, lab_with};

/// Drops for a wrong checksum, of all protocols.
fn wrong_sums(lab: &Lab, at: &str) -> i64 {
    let counters = lab.counters(at);
    ["TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors"]
        .map(|name| counters.get(name))
        .iter()
        .sum()
}

fn works(lab: &Lab, pair: &Pair) {
    let before = wrong_sums(lab, "b");
    lab.reaches(&pair.a, &pair.b);
    lab.reaches(&pair.b, &pair.a);
    assert_eq!(wrong_sums(lab, "b"), before);
}

/// As the report says: ping answers, a GET hangs, and the receiver counts wrong checksums.
fn fails_as_reported(lab: &Lab, pair: &Pair) {
    for address in [&pair.b.v4, &pair.b.v6] {
        lab.pings("a", address);
        let before = lab.counters("b").get("TcpInCsumErrors");
        let done = lab.get("a", address);
        // curl(1): 28 is a timeout.
        assert_eq!(done.status.code(), Some(28), "{done}");
        assert!(lab.counters("b").get("TcpInCsumErrors") > before, "{address}");
    }
    let before = lab.counters("b").get("UdpInCsumErrors");
    let target = format!("{}:7", pair.b.v4).parse().expect("an address");
    lab.udp_ask("a", target, b"lost").expect_err("no answer");
    assert!(lab.counters("b").get("UdpInCsumErrors") > before);
}

/// The two members' program tags, which must be one.
fn tag(lab: &Lab) -> String {
    let tags: Vec<String> =
        lab.members().iter().map(|member| member["program"]["tag"].to_string()).collect();
    assert!(tags.len() == 2 && tags[0] == tags[1], "{tags:?}");
    tags[0].clone()
}

#[test]
fn a_live_pair_changes_its_way() {
    lab_with("a_live_pair_changes_its_way", &["curl", "ebtables"], |lab| {
        let pair = lab.pair();
        let _pages = ["a", "b"].map(|name| lab.http_server(name, 80, b"hello".to_vec()));
        let _echo = lab.udp_echo("b", 7);
        let before = lab.everything();
        pair.bridge.forwarded();
        let mut tags = Vec::new();
        for way in ["complete", "none", "offload-off", "complete"] {
            lab.xhop(&["up", "a", "b", "--checksum", way]).ok();
            assert!(lab.members().iter().all(|member| member["checksum"] == way));
            for name in ["a", "b"] {
                let offload = lab.feature(name, "tx-checksum-ip-generic");
                assert_eq!(offload, way != "offload-off", "{name}: {way}");
            }
            match way {
                "none" => fails_as_reported(lab, &pair),
                _ => works(lab, &pair),
            }
            tags.push(tag(lab));
        }
        assert_eq!(pair.bridge.forwarded(), 0);
        // `none` and `offload-off` run the same program: it leaves checksums alone.
        assert_eq!(tags[0], tags[3]);
        assert_eq!(tags[1], tags[2]);
        assert_ne!(tags[0], tags[1]);
        lab.xhop(&["down", "--all"]).ok();
        lab::assert_same(&before, &lab.everything());
    });
}

#[test]
fn one_may_differ_from_the_other() {
    lab_with("one_may_differ_from_the_other", &["curl"], |lab| {
        let pair = lab.pair();
        let _pages = ["a", "b"].map(|name| lab.http_server(name, 80, b"hello".to_vec()));
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "a", "b", "--checksum", "offload-off"]).ok();
        lab.xhop(&["up", "c", "b"]).ok();
        let way = |name: &str| lab.member(name)["checksum"].clone();
        assert_eq!(
            ["netns:a", "netns:b", "netns:c"].map(way),
            ["offload-off", "complete", "complete"]
        );
        works(lab, &pair);
        lab.reaches(&c, &pair.a);
    });
}
