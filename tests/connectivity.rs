//! Joined containers talk as before, and their packets go round the bridge.

mod lab;

use lab::{Bridge, Container, DATAPATHS, HOST, Lab, Where, counter, lab_by, lab_by_each};

const TOOLS: &[&str] = &["curl", "ebtables"];
const BULK: u64 = 100_000_000;

/// Everything from `a` to `b`, and what the counters of both sides say of it.
fn everything_goes_the_direct_way(lab: &Lab, bridge: &Bridge, a: &Container, b: &Container) {
    let page = b"the direct way\n".to_vec();
    let _http = lab.http_server(&*b.name, 80, page.clone());
    let _echo = lab.udp_echo(&*b.name, 7);
    bridge.forwarded();
    let before = [sent(lab, a), sent(lab, b)];

    for address in [&a.v4, &a.v6] {
        lab.pings(&b.name, address);
    }
    for address in [&b.v4, &b.v6] {
        lab.pings(&a.name, address);
        assert_eq!(lab.get(&a.name, address).ok().as_bytes(), page);
        let target = (address.parse::<std::net::IpAddr>().expect("an address"), 7).into();
        // Empty, of one byte, odd, and the most that fits a frame.
        for len in [0, 1, 33, 1452] {
            echoes(lab, a, target, len);
        }
        lab.bulk(&*a.name, &*b.name, address, BULK).expect("a whole transfer");
    }

    assert_eq!(bridge.forwarded(), 0, "the bridge has seen some of it");
    for (container, before) in [a, b].into_iter().zip(before) {
        let after = sent(lab, container);
        let [frames, packets, bytes] = [0, 1, 2].map(|n| after[n] - before[n]);
        // Both families, each once whole: in frames of at most 1460 bytes, or in more at once where they
        // stay skbs.
        let single = lab.is_by("native");
        // Generic XDP counts what lies in a packet's first piece.
        assert!(bytes > 2 * BULK || lab.is_by("generic"), "{bytes} bytes");
        assert_eq!(packets > 2 * BULK / 1460, single, "{packets} packets, {bytes} bytes");
        // But for ARP and ND, all that the container has sent was forwarded.
        assert!(packets <= frames && frames - packets < 30, "{packets} of {frames} frames");
        assert_eq!(lab.counters(&*container.name).get("TcpInCsumErrors"), 0);
        assert_eq!(lab.counters(&*container.name).get("UdpInCsumErrors"), 0);
    }

    // Fragments arrive too. Those of IPv6 have an extension header, and are left to the bridge; but by tc, where
    // nothing is changed, they hop.
    let six = if lab.is_by("tc") { 0 } else { 6 };
    for (address, forwarded) in [(&b.v4, 0), (&b.v6, six)] {
        let target = (address.parse::<std::net::IpAddr>().expect("an address"), 7).into();
        echoes(lab, a, target, 4000);
        assert_eq!(bridge.forwarded(), forwarded, "fragments to {address}");
    }
}

/// A datagram of `len` bytes to an echo server must come back.
fn echoes(lab: &Lab, from: &Container, target: std::net::SocketAddr, len: usize) {
    let datagram = vec![0xa5; len];
    let answer = lab.udp_ask(&*from.name, target, &datagram);
    let answer = answer.unwrap_or_else(|e| panic!("{len} bytes to {target}: {e}"));
    assert_eq!(answer, datagram, "{len} bytes to {target}");
}

/// Frames that a container has sent; packets of it and bytes that xhop has forwarded.
fn sent(lab: &Lab, container: &Container) -> [u64; 3] {
    let member = lab.member(&format!("netns:{}", container.name));
    let forwarded = |what| counter(&member, "forwarded", what);
    let frames = lab.link_stats(&*container.name, "eth0").tx_packets;
    [frames, forwarded("packets"), forwarded("bytes")]
}

fn joined(name: &str, at: Where, by: &'static str, more: &[&str]) {
    lab_by(name, TOOLS, by, |lab| {
        let pair = lab.pair_at(at.clone());
        lab.joins(&[&["netns:a", "b"], more].concat());
        everything_goes_the_direct_way(lab, &pair.bridge, &pair.a, &pair.b);
    });
}

fn each_attached(name: &str, by: &'static str) {
    for attach in ["link", "netlink"] {
        joined(name, HOST.into(), by, &["--attach", attach]);
    }
}

#[test]
fn tc_with_the_bridge_in_a_namespace() {
    each_attached("tc_with_the_bridge_in_a_namespace", "tc");
}

#[test]
fn complete_with_the_bridge_in_a_namespace() {
    each_attached("complete_with_the_bridge_in_a_namespace", "native");
}

#[test]
fn generic_with_the_bridge_in_a_namespace() {
    each_attached("generic_with_the_bridge_in_a_namespace", "generic");
}

#[test]
fn with_the_bridge_beside_xhop() {
    for by in DATAPATHS {
        joined("with_the_bridge_beside_xhop", Where::Own, by, &[]);
    }
}

#[test]
fn offload_off_with_the_bridge_in_a_namespace() {
    let name = "offload_off_with_the_bridge_in_a_namespace";
    joined(name, HOST.into(), "native", &["--checksum", "offload-off"]);
}

#[test]
fn trust_with_the_bridge_in_a_namespace() {
    for attach in ["link", "netlink"] {
        let more = ["--checksum", "trust", "--attach", attach];
        joined("trust_with_the_bridge_in_a_namespace", HOST.into(), "native", &more);
    }
}

#[test]
fn a_third_container_joins_all() {
    lab_by_each("a_third_container_joins_all", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let all = [&pair.a, &pair.b, &c];
        let _pages = all.map(|one| lab.http_server(&*one.name, 80, b"hello".to_vec()));
        lab.joins(&["a", "b"]);
        let first = programs(lab);
        lab.joins(&["b", "c"]);
        let second = programs(lab);
        assert_eq!(second.len(), 3);
        assert!(first.iter().all(|program| second.contains(program)), "{first:?} {second:?}");

        pair.bridge.forwarded();
        for from in all {
            for to in all.into_iter().filter(|to| to.name != from.name) {
                let name = format!("netns:{}", from.name);
                let before = lab.counted(&name, "forwarded");
                lab.reaches(from, to);
                assert!(lab.counted(&name, "forwarded") > before + 10, "{name} to {}", to.name);
            }
        }
        assert_eq!(pair.bridge.forwarded(), 0);
    });
}

#[test]
fn a_second_up_changes_nothing() {
    lab_by_each("a_second_up_changes_nothing", TOOLS, |lab| {
        lab.pair();
        lab.joins(&["netns:a", "netns:b"]);
        let (before, programs_before) = (lab.everything(), programs(lab));
        for names in [["netns:a", "netns:b"], ["b", "a"]] {
            assert_eq!(lab.joins(&names), "nothing to do\n");
            lab::assert_same(&before, &lab.everything());
            assert_eq!(programs(lab), programs_before);
        }
    });
}

#[test]
fn two_ups_at_once() {
    lab_by_each("two_ups_at_once", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let _page = lab.http_server("c", 80, b"hello".to_vec());
        let patience = std::time::Duration::from_secs(60);
        for _ in 0..3 {
            let ups = [["a", "b"], ["b", "c"], ["c", "a"]]
                .map(|names| [&[lab::XHOP], &lab.up_args(&names)[..]].concat())
                .map(|up| lab.spawn_in(Where::Own, &up));
            ups.into_iter().for_each(|up| drop(up.wait(patience).ok()));
            assert_eq!(programs(lab).len(), 3);
            lab.reaches(&pair.a, &c);
            let downs =
                ["a", "b", "c"].map(|name| lab.spawn_in(Where::Own, &[lab::XHOP, "down", name]));
            downs.into_iter().for_each(|down| drop(down.wait(patience).ok()));
            assert_eq!(programs(lab).len(), 0);
        }
    });
}

/// Each member's name with its program's id.
fn programs(lab: &Lab) -> Vec<(String, u64)> {
    let members = lab.members();
    let program = |member: &serde_json::Value| {
        let id = member["program"]["id"].as_u64().unwrap_or_else(|| panic!("no id in {member}"));
        (member["name"].to_string(), id)
    };
    members.iter().map(program).collect()
}
