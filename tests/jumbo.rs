//! `--jumbo`: large packets between joined containers, and nothing else is changed.

mod lab;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use lab::{HOST, Lab, Where, assert_one_line, assert_same, lab, lab_with};

const JUMBO: [&str; 4] = ["up", "a", "b", "--jumbo"];
const LARGE: &str = "30000";
const OWN: [&str; 2] = ["proto", "88"];

/// Whether a packet of 30000 bytes that may not be cut up gets there and back.
fn takes_large(lab: &Lab, from: &str, to: &str) -> bool {
    let ping = ["ping", "-n", "-c1", "-W1", "-M", "do", "-s", LARGE, to];
    lab.run_in(from, &ping).status.success()
}

/// Both ways, over IPv4 and IPv6.
fn assert_large(lab: &Lab) {
    for (from, to) in [("a", "10.9.0.3"), ("a", "fd09::3"), ("b", "10.9.0.2"), ("b", "fd09::2")] {
        assert!(takes_large(lab, from, to), "from {from} to {to}");
    }
}

fn mtu(lab: &Lab, at: &str, ifname: &str) -> u64 {
    let shown = lab.json(at, &["ip", "-j", "link", "show", "dev", ifname]);
    shown[0]["mtu"].as_u64().expect("an MTU")
}

/// The way to an address, without what is only remembered.
fn way(lab: &Lab, at: &str, to: &str) -> String {
    let got = lab.run_in(at, &["ip", "route", "get", to]);
    let words: Vec<&str> = got.stdout.split_whitespace().take_while(|w| *w != "cache").collect();
    format!("{} {}", words.join(" "), got.stderr)
}

/// The routes that xhop has made in a container.
fn routes(lab: &Lab, at: &str) -> String {
    let of = |family| lab.ok_in(at, &[&["ip", family, "route", "show"], &OWN[..]].concat());
    of("-4") + &of("-6")
}

fn ip(lab: &Lab, at: impl Into<Where>, line: &str) {
    lab.ok_in(at, &[&["ip"], &line.split(' ').collect::<Vec<_>>()[..]].concat());
}

/// The port that keeps br0's MTU.
fn guard(lab: &Lab) -> Option<String> {
    let ports = lab.json(HOST, &["ip", "-j", "link", "show", "master", "br0"]);
    let names = ports.as_array().expect("ports").iter();
    names
        .map(|port| port["ifname"].as_str().expect("a name").to_owned())
        .find(|name| name.starts_with("xhop"))
}

#[test]
fn large_packets_hop_and_interfaces_stay() {
    lab_with("large_packets_hop_and_interfaces_stay", &["ebtables"], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let before = lab.everything();
        let to_others = || ["10.9.0.4", "10.9.0.9"].map(|to| way(lab, "a", to));
        let others = to_others();
        for attach in ["link", "netlink"] {
            assert!(!takes_large(lab, "a", "10.9.0.3"));
            lab.xhop(&[&JUMBO[..], &["--attach", attach]].concat()).ok();
            assert_large(lab);
            pair.bridge.forwarded();
            let seen = pair.bridge.forwarded();
            assert_large(lab);
            for address in ["10.9.0.3", "fd09::3"] {
                lab.bulk("a", "b", address, 20_000_000).expect("a whole transfer");
            }
            assert_eq!(pair.bridge.forwarded(), seen, "the bridge has seen it");
            for at in ["a", "b", "c"] {
                assert_eq!(mtu(lab, at, "eth0"), 1500, "{at}");
            }
            assert_eq!([mtu(lab, HOST, "br0"), mtu(lab, HOST, "veth-c")], [1500, 1500]);
            assert_eq!(to_others(), others);
            lab.reaches_by_ping(&c.v4);
            assert_eq!(
                lab.xhop(&[&JUMBO[..], &["--attach", attach]].concat()).ok(),
                "nothing to do\n"
            );
            lab.ok_in(HOST, &["ebtables", "-F"]);
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

impl Lab {
    fn reaches_by_ping(&self, address: &str) {
        self.pings("a", address);
        self.pings("b", address);
    }
}

/// What `up` takes for a way of its own is one that leads straight out of that interface.
#[test]
fn ways_elsewhere_stay() {
    lab("ways_elsewhere_stay", |lab| {
        lab.pair();
        ip(lab, "a", "link add wg0 type bridge");
        ip(lab, "a", "link set wg0 up");
        ip(lab, "a", "addr add 10.77.0.1/24 dev wg0");
        for route in [
            "10.9.0.0/28 dev wg0 src 10.77.0.1",
            "10.9.0.3/32 dev wg0",
            "unreachable 10.9.0.0/28",
            "blackhole 10.9.0.3/32",
            "10.9.0.2/31 via 10.9.0.1",
            "10.9.0.3/32 via 10.9.0.1",
            "10.9.0.3/32 nexthop via 10.9.0.1 nexthop via 10.9.0.4",
        ] {
            ip(lab, "a", &format!("route add {route}"));
            let (before, found) = (lab.everything(), way(lab, "a", "10.9.0.3"));
            // Another option makes the members anew.
            for more in [&[][..], &["--big-tcp"]] {
                lab.xhop(&[&JUMBO[..], more].concat()).ok();
                assert_eq!(way(lab, "a", "10.9.0.3"), found, "{route} {more:?}");
                assert!(routes(lab, "b").contains("10.9.0.2"), "{route} {more:?}");
            }
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
            ip(lab, "a", &format!("route del {route}"));
        }
    });
}

/// A policy that looks elsewhere is the container's own.
#[test]
fn ways_of_another_table_stay() {
    lab("ways_of_another_table_stay", |lab| {
        lab.pair();
        ip(lab, "a", "route add 10.9.0.0/24 dev eth0 table 7 src 10.9.0.2");
        ip(lab, "a", "rule add to 10.9.0.0/24 table 7");
        let before = lab.everything();
        lab.xhop(&JUMBO).ok();
        assert!(!routes(lab, "a").contains("10.9.0.3"));
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn the_source_and_the_metrics_of_a_way_stay() {
    lab("the_source_and_the_metrics_of_a_way_stay", |lab| {
        lab.pair();
        for (at, cidr) in [("a", "10.8.0.2/24"), ("b", "10.8.0.3/24")] {
            ip(lab, at, &format!("addr add {cidr} dev eth0"));
        }
        ip(
            lab,
            "a",
            "route replace 10.9.0.0/24 dev eth0 src 10.9.0.2 initcwnd 30 advmss 1300 mtu 1400",
        );
        ip(lab, "a", "-6 route replace fd09::/64 dev eth0 initcwnd 30 proto kernel metric 256");
        lab.xhop(&JUMBO).ok();
        let source = |to| way(lab, "a", to);
        assert!(source("10.8.0.3").contains("src 10.8.0.2"), "{}", source("10.8.0.3"));
        assert!(source("10.9.0.3").contains("src 10.9.0.2"), "{}", source("10.9.0.3"));
        let show = |family, to| lab.json("a", &["ip", "-j", family, "route", "show", to]);
        let (v4, v6) = (show("-4", "10.9.0.3"), show("-6", "fd09::3"));
        let v4 = &v4[0]["metrics"][0];
        assert_eq!([&v4["initcwnd"], &v4["advmss"], &v4["mtu"]], [30, 1300, 65520], "{v4}");
        assert_eq!(v6[0]["metrics"][0]["initcwnd"], 30, "{v6}");
        assert_large(lab);
    });
}

/// A route of a container's own is left, and keeps nobody else from anything.
#[test]
fn a_route_of_its_own_stays() {
    lab("a_route_of_its_own_stays", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        for route in
            ["10.9.0.3/32 dev eth0 mtu 1400", "10.9.0.3/32 dev eth0 proto 88 scope link mtu 9000"]
        {
            ip(lab, "a", &format!("route add {route}"));
            let before = lab.everything();
            let found = way(lab, "a", "10.9.0.3");
            for _ in 0..2 {
                let done = lab.xhop(&["up", "a", "b", "c", "--jumbo"]);
                for word in ["warning", "netns:a", "10.9.0.3"] {
                    assert!(done.stderr.contains(word), "{word} is not in {done}");
                }
                done.ok();
                assert_eq!(way(lab, "a", "10.9.0.3"), found);
            }
            assert!(takes_large(lab, "a", "fd09::3") && takes_large(lab, "a", "10.9.0.4"));
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
            ip(lab, "a", &format!("route del {route}"));
        }
    });
}

#[test]
fn an_up_that_fails_gives_back() {
    lab("an_up_that_fails_gives_back", |lab| {
        let pair = lab.pair();
        pair.bridge.container("e", "10.9.0.6/24", "fd09::6/64");
        ip(lab, "e", "link set eth0 mtu 9000");
        ip(lab, "a", "route add 10.9.0.2/31 via 10.9.0.1");
        lab.xhop(&JUMBO).ok();
        let found = way(lab, "a", "10.9.0.3");
        // Native XDP takes no such MTU, and is refused by the last one's driver.
        let done = lab.xhop(&["up", "a", "b", "e", "--datapath", "native"]);
        assert_one_line(&done, &["veth-e", "MTU"]);
        assert_eq!(way(lab, "a", "10.9.0.3"), found);
        assert!(takes_large(lab, "a", "fd09::3") && takes_large(lab, "b", "fd09::2"));
    });
}

/// Who stays has routes to who came back, whoever is named, and at once.
#[test]
fn a_container_comes_back() {
    lab("a_container_comes_back", |lab| {
        let pair = lab.pair();
        let mut b = pair.b;
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "a", "b", "c", "--jumbo"]).ok();
        let all = |at| routes(lab, at).lines().map(str::to_owned).collect::<Vec<_>>();
        let before = ["a", "b", "c"].map(all);
        for named in [&["b"][..], &["a", "b"], &["b", "c"], &["a", "b", "c"], &["a", "c"]] {
            lab.end(b);
            b = pair.bridge.container("b", "10.9.0.3/24", "fd09::3/64");
            lab.ok_in("a", &["ip", "neigh", "flush", "dev", "eth0"]);
            let up = [&["up"], named, &["--jumbo"]].concat();
            let said = lab.xhop(&[&up[..], &["--dry-run"]].concat()).ok();
            let mut lines: Vec<&str> = said.lines().collect();
            lines.sort_unstable();
            let twice = lines.windows(2).find(|two| two[0] == two[1]);
            assert_eq!(twice, None, "{said}");
            lab.xhop(&up).ok();
            if named == ["a", "c"] {
                lab.xhop(&["up", "b", "--jumbo"]).ok();
            }
            assert_eq!(["a", "b", "c"].map(all), before, "{named:?}");
            assert_eq!(lab.xhop(&up).ok(), "nothing to do\n");
            assert_large(lab);
        }
        lab.xhop(&["down", "b"]).ok();
        assert!(!routes(lab, "a").contains("10.9.0.3"));
        assert!(takes_large(lab, "a", "10.9.0.4"));
    });
}

/// Somebody else's interface by the guard's name is neither used nor removed.
#[test]
fn the_guards_name_is_taken() {
    lab("the_guards_name_is_taken", |lab| {
        lab.pair();
        lab.xhop(&JUMBO).ok();
        let name = guard(lab).expect("a guard");
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(guard(lab), None);
        for kind in ["bridge", "dummy", "veth peer name zz"] {
            let made = lab.run_in(
                HOST,
                &format!("ip link add {name} type {kind}").split(' ').collect::<Vec<_>>(),
            );
            if !made.status.success() {
                continue;
            }
            lab.refuses(&JUMBO, &[&name, "br0"]);
            lab.xhop(&["up", "a", "b"]).ok();
            lab.xhop(&["down", "--all"]).ok();
            ip(lab, HOST, &format!("link del {name}"));
        }
        // Its other end has whatever name is free.
        ip(lab, HOST, &format!("link add {name}p type bridge"));
        lab.xhop(&JUMBO).ok();
        assert_large(lab);
    });
}

#[test]
fn a_bridge_with_a_large_index() {
    lab("a_bridge_with_a_large_index", |lab| {
        lab.pair();
        ip(lab, HOST, "link add br9 index 2147483600 type bridge");
        ip(lab, HOST, "link set br9 up");
        for veth in ["veth-a", "veth-b"] {
            ip(lab, HOST, &format!("link set {veth} master br9"));
        }
        ip(lab, HOST, "link del br0");
        let before = lab.everything();
        lab.xhop(&JUMBO).ok();
        assert_large(lab);
        assert_eq!(mtu(lab, HOST, "br9"), 1500);
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

/// The bridge's MTU is noted once for all, and what is lost of that is seen and mended.
#[test]
fn the_bridges_mtu_is_kept() {
    lab("the_bridges_mtu_is_kept", |lab| {
        let pair = lab.pair();
        lab.xhop(&JUMBO).ok();
        let mac = |name: &str| {
            lab.json(HOST, &["ip", "-j", "link", "show", "dev", name])[0]["address"].clone()
        };
        let name = guard(lab).expect("a guard");
        let lose = || {
            ip(lab, HOST, &format!("link del {}", guard(lab).expect("a guard")));
            assert_eq!(lab.state("netns:a"), "altered");
            let shown = lab.xhop(&["status"]).ok();
            assert!(shown.contains("add a port to br0"), "{shown}");
            let audit = lab.xhop(&["audit"]);
            assert_eq!(audit.status.code(), Some(1), "{audit}");
            assert!(audit.stdout.contains("up would add a port to br0"), "{audit}");
        };
        let kept = || {
            assert_eq!(mtu(lab, HOST, "br0"), 1500);
            assert_eq!(lab.state("netns:a"), "up");
            assert_eq!(guard(lab).as_ref(), Some(&name));
            assert_ne!(mac("br0"), mac(&name));
        };
        kept();
        lose();
        assert_eq!(mtu(lab, HOST, "br0"), 65535);
        lab.xhop(&JUMBO).ok();
        kept();
        // Somebody who comes is told the right one, and brings it back.
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lose();
        lab.xhop(&["up", "c"]).ok();
        kept();
        assert_eq!(lab.member("netns:c")["bridge_mtu"], 1500);
        // And so for one who is looked at only because somebody else comes.
        lab.xhop(&["down", "c"]).ok();
        lose();
        lab.xhop(&["up", "c", "--jumbo=off"]).ok();
        kept();
        // A guard that somebody has enlarged is no guard.
        ip(lab, HOST, &format!("link set {name} mtu 9000"));
        assert_eq!(lab.state("netns:a"), "altered");
        lab.xhop(&JUMBO).ok();
        kept();
    });
}

#[test]
fn one_mtu_for_all_on_a_bridge() {
    lab("one_mtu_for_all_on_a_bridge", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&JUMBO).ok();
        ip(lab, HOST, "link set br0 mtu 1400");
        lab.xhop(&["up", "c", "--jumbo"]).ok();
        for _ in 0..2 {
            assert_eq!(lab.xhop(&["up", "a", "b", "c", "--jumbo"]).ok(), "nothing to do\n");
        }
        assert_eq!(mtu(lab, HOST, "br0"), 1400);
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!((mtu(lab, HOST, "br0"), guard(lab)), (1400, None));
    });
}

/// `status` knows what large packets need, `up` mends it.
#[test]
fn what_large_packets_need_is_looked_at() {
    lab("what_large_packets_need_is_looked_at", |lab| {
        lab.pair();
        lab.xhop(&JUMBO).ok();
        let shown = lab.xhop(&["status"]).ok();
        assert!(shown.contains("jumbo") && shown.contains("65520"), "{shown}");
        let losses: [(&str, &[&str]); 3] = [
            (HOST, &["ip", "link", "set", "veth-a", "mtu", "1500"]),
            ("a", &["ip", "route", "del", "10.9.0.3", "proto", "88"]),
            ("a", &["ip", "-6", "route", "del", "fd09::3", "proto", "88"]),
        ];
        for (at, loss) in losses {
            lab.ok_in(at, loss);
            let states = ["netns:a", "netns:b"].map(|name| lab.state(name));
            assert_eq!(states, ["altered", "up"], "{loss:?}");
            lab.xhop(&JUMBO).ok();
            assert_eq!(lab.state("netns:a"), "up", "{loss:?}");
            assert_large(lab);
        }
        ip(lab, "a", "link set eth0 address 02:00:00:00:00:77");
        assert_eq!(lab.state("netns:a"), "altered");
        lab.xhop(&JUMBO).ok();
        assert_eq!(lab.state("netns:a"), "up");
        assert_large(lab);
        // A container that has a route of its own misses none.
        ip(lab, "a", "route replace 10.9.0.3 dev eth0 proto 88 scope link mtu 9000");
        lab.xhop(&JUMBO).ok();
        assert_eq!(lab.state("netns:a"), "up");
    });
}

/// What others have set meanwhile is theirs.
#[test]
fn what_others_have_set_stays() {
    lab("what_others_have_set_stays", |lab| {
        lab.pair();
        for more in [&[][..], &["--big-tcp"]] {
            lab.xhop(&[&JUMBO[..], more].concat()).ok();
            for (at, ifname) in [(HOST, "veth-a"), (HOST, "veth-b"), ("a", "eth0"), ("b", "eth0")] {
                ip(lab, at, &format!("link set {ifname} mtu 9000"));
            }
            let done = lab.xhop(&["down", "--all"]);
            for word in ["warning", "veth-a", "9000"] {
                assert!(done.stderr.contains(word), "{done}");
            }
            done.ok();
            assert_eq!(["veth-a", "veth-b"].map(|veth| mtu(lab, HOST, veth)), [9000, 9000]);
            // The same where it is raised again in between: it is what is found.
            lab.xhop(&JUMBO).ok();
            ip(lab, HOST, "link set veth-a mtu 4000");
            lab.xhop(&JUMBO).ok();
            assert_eq!(mtu(lab, HOST, "veth-a"), 65535);
            lab.xhop(&["down", "--all"]).ok();
            assert_eq!(["veth-a", "veth-b"].map(|veth| mtu(lab, HOST, veth)), [4000, 9000]);
        }
    });
}

/// Options are those of who is joined on the bridge, until they are said to be off.
#[test]
fn options_are_taken_over() {
    lab("options_are_taken_over", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let before = lab.everything();
        lab.xhop(&[&JUMBO[..], &["--big-tcp"]].concat()).ok();
        let joined = lab.everything();
        assert_eq!(lab.xhop(&["up", "a", "b"]).ok(), "nothing to do\n");
        lab.xhop(&["up", "a", "c"]).ok();
        assert!(takes_large(lab, "c", "10.9.0.3") && takes_large(lab, "a", "10.9.0.3"));
        assert!(lab.gso_ipv4("c", "eth0") > 65_536);
        lab.xhop(&["down", "c"]).ok();
        assert_same(&joined, &lab.everything());
        // One without.
        lab.xhop(&["up", "c", "--jumbo=off", "--big-tcp=off"]).ok();
        assert!(!takes_large(lab, "c", "10.9.0.3") && takes_large(lab, "a", "10.9.0.3"));
        assert!(lab.gso_ipv4("c", "eth0") <= 65_536);
        assert_eq!(lab.xhop(&["up", "c", "--jumbo=off", "--big-tcp=off"]).ok(), "nothing to do\n");
        lab.xhop(&["up", "a", "b", "--jumbo=off"]).ok();
        assert_eq!(
            (routes(lab, "a"), mtu(lab, HOST, "veth-a"), guard(lab)),
            (String::new(), 1500, None)
        );
        assert!(lab.gso_ipv4("a", "eth0") > 65_536);
        // A datapath that has no such options is asked for without them.
        lab.xhop(&["up", "a", "b", "c", "--jumbo"]).ok();
        lab.xhop(&["up", "a", "b", "c", "--datapath", "generic"]).ok();
        lab.refuses(&["up", "a", "b", "c", "--datapath", "native", "--jumbo"], &["--jumbo", "tc"]);
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

/// What is sent in one piece because it may be large has to hop, whatever it is.
#[test]
fn whatever_is_large_hops() {
    lab("whatever_is_large_hops", |lab| {
        lab.pair();
        lab.xhop(&JUMBO).ok();
        let _echo = lab.udp_echo("b", 7);
        // IPv6 has to cut the second one up, IPv4 the third.
        for to in ["10.9.0.3:7", "[fd09::3]:7"] {
            for len in [60_000, 65_480, 65_507] {
                let datagram = vec![7; len];
                let back = lab.udp_ask("a", to.parse().expect("an address"), &datagram);
                assert_eq!(back.expect("an answer").len(), len, "{to}");
            }
        }
        // Options in the header: no operation, twice, and the end of the list.
        let back = lab.in_netns("a", || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
            let options = [1u8, 1, 0, 0];
            // SAFETY: the option's value is as long as is said.
            let set = unsafe {
                let value = options.as_ptr().cast();
                libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, value, 4)
            };
            assert_eq!(set, 0);
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
            socket.send_to(&[7; 30_000], "10.9.0.3:7").expect("sent");
            socket.recv(&mut vec![0; 65_536])
        });
        assert_eq!(back.expect("an answer"), 30_000);
        assert_eq!(lab.counted("netns:a", "spoofed"), 0);
    });
}
