//! What holds for each way to join beside plain traffic: what is left to the bridge, which ways go together,
//! and that no connection breaks when the way changes.

mod lab;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lab::{Lab, assert_same, lab, lab_by_each, lab_with, raw, wait_until};
use xhop_asm::{Assembler, ByteOrder, Helper, R0, R1, R2, R3, R6};

const PATIENCE: Duration = Duration::from_secs(30);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 9, 0, 1);

/// All ways in which everything works.
const JOINS: [&[&str]; 7] = [
    &["--datapath", "tc"],
    &["--checksum", "complete"],
    &["--datapath", "generic"],
    &["--checksum", "trust"],
    &["--datapath", "tc", "--big-tcp"],
    &["--datapath", "tc", "--big-tcp=off", "--jumbo"],
    &["--checksum", "offload-off"],
];

fn mac(lab: &Lab, at: &str) -> Vec<u8> {
    let link = lab.json(at, &["ip", "-j", "link", "show", "dev", "eth0"]);
    let text = link[0]["address"].as_str().expect("an Ethernet address").replace(':', "");
    hex::decode(text).expect("hex")
}

/// Between the addresses that are joined, so that only the tag tells. Traffic control finds it beside the
/// packet: the kernel has taken it out.
#[test]
fn tagged_frames_go_by_the_bridge() {
    lab_by_each("tagged_frames_go_by_the_bridge", &[], |lab| {
        lab.pair();
        let tags: [&[u8]; 3] =
            [&[0x81, 0x00, 0, 5], &[0x88, 0xa8, 0, 5], &[0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 6]];
        for attach in ["link", "netlink"] {
            lab.joins(&["a", "b", "--attach", attach]);
            lab.pings("a", "10.9.0.3");
            // An empty UDP datagram; the IP checksum is not asked for on the way.
            let ip = [&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 3][..]];
            let udp = [&[0, 9, 0, 9, 0, 8, 0, 0][..], &[0; 18]];
            for (tag, hops) in tags.into_iter().map(|tag| (tag, false)).chain([(&[][..], true)]) {
                let ethernet = [&mac(lab, "b")[..], &mac(lab, "a"), tag, &[8, 0]].concat();
                let frame = [ethernet, ip.concat(), udp.concat()].concat();
                let count = || ["forwarded", "passed"].map(|it| lab.counted("netns:a", it));
                let before = count();
                for _ in 0..20 {
                    lab.in_netns("a", || lab::raw::send_frame("eth0", &frame)).expect("sent");
                }
                let sum = |counted: [u64; 2]| counted[0] + counted[1];
                wait_until(PATIENCE, "all are counted", || sum(count()) >= sum(before) + 20);
                let [forwarded, passed] = [0, 1].map(|at| count()[at] - before[at]);
                // Native completes checksums, and leaves UDP that has none to the kernel.
                let hops = hops && !lab.is_by("native");
                // Now and then the container asks for a neighbour.
                let all = [forwarded, passed].map(|count| count >= 20);
                assert_eq!(all, [hops, !hops], "{attach}, {tag:x?}: {forwarded}, {passed}");
            }
        }
    });
}

#[test]
fn multicast_goes_by_the_bridge() {
    lab_by_each("multicast_goes_by_the_bridge", &[], |lab| {
        lab.pair();
        lab.joins(&["a", "b"]);
        lab.pings("a", "10.9.0.3");
        let receiver = lab.in_netns("b", || {
            let socket = UdpSocket::bind(("0.0.0.0", 4000)).expect("a port");
            socket.join_multicast_v4(&GROUP, &Ipv4Addr::new(10, 9, 0, 3)).expect("a member");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            socket
        });
        let before = ["forwarded", "passed"].map(|verdict| lab.counted("netns:a", verdict));
        lab.in_netns("a", || {
            let socket = UdpSocket::bind(("10.9.0.2", 0)).expect("a port");
            lab.ok_in("a", &["ip", "route", "add", "239.0.0.0/8", "dev", "eth0"]);
            socket.send_to(b"to all", (GROUP, 4000)).expect("sent");
        });
        let mut datagram = [0; 16];
        assert_eq!(receiver.recv(&mut datagram).expect("it comes"), 6);
        let after = ["forwarded", "passed"].map(|verdict| lab.counted("netns:a", verdict));
        assert_eq!(after[0], before[0]);
        assert!(after[1] > before[1]);
    });
}

#[test]
fn ways_that_do_not_go_together() {
    lab("ways_that_do_not_go_together", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let before = lab.everything();
        let apart: [(&[&str], &[&str], [&str; 2]); 6] = [
            (&["--datapath", "tc"], &["--datapath", "native"], ["tc", "native"]),
            (&["--datapath", "tc"], &["--datapath", "generic"], ["tc", "generic"]),
            (&["--datapath", "tc"], &["--checksum", "trust"], ["tc", "native, checksum trust"]),
            (&["--datapath", "native"], &["--datapath", "tc"], ["native", "tc"]),
            (&["--datapath", "generic"], &["--datapath", "native"], ["generic", "native"]),
            (&["--checksum", "trust"], &["--checksum", "complete"], ["checksum trust", "native"]),
        ];
        for (first, second, words) in apart {
            lab.joins(&[&["a", "b"], first].concat());
            let words = [&words[..], &["netns:a", "take netns:a out first", "name both"]].concat();
            for names in [["b", "c"], ["c", "b"]] {
                lab.refuses(&[&["up"], &names[..], second].concat(), &words);
            }
            // Who names all may change the way of all.
            lab.joins(&[&["a", "b", "c"], second].concat());
            lab.pings("a", "10.9.0.4");
            lab.pings("c", "10.9.0.3");
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
        let words = ["--checksum is for native XDP", "leave out"];
        for by in ["tc", "generic"] {
            lab.refuses(&["up", "a", "b", "--datapath", by, "--checksum", "complete"], &words);
        }
    });
}

#[test]
fn auto_follows_who_is_joined() {
    lab("auto_follows_who_is_joined", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        for (join, by, checksum) in [
            (&[][..], "tc", None),
            (&["--datapath", "tc"], "tc", None),
            (&["--datapath", "native"], "native", Some("complete")),
            (&["--checksum", "none"], "native", Some("complete")),
            (&["--checksum", "trust"], "native", Some("trust")),
            (&["--datapath", "generic"], "generic", None),
        ] {
            lab.joins(&[&["a", "b"], join].concat());
            lab.joins(&["b", "c"]);
            let member = lab.member("netns:c");
            assert_eq!(member["datapath"], by, "{join:?}");
            assert_eq!(member["checksum"].as_str(), checksum, "{join:?}");
            lab.pings("c", "10.9.0.3");
            lab.pings("a", "10.9.0.4");
            lab.xhop(&["down", "--all"]).ok();
        }
    });
}

/// Waits until so much more has come.
fn flows(progress: &AtomicU64, what: &str) {
    let before = progress.load(Ordering::Relaxed);
    wait_until(PATIENCE, what, || progress.load(Ordering::Relaxed) > before + 20_000_000);
}

/// Each way after each other, and over the bridge in between.
fn changes(lab: &Lab, progress: &AtomicU64) {
    for attach in ["link", "netlink"] {
        for (at, join) in JOINS.into_iter().enumerate() {
            lab.joins(&[&["a", "b", "--attach", attach], join].concat());
            flows(progress, &format!("it flows after {join:?} by {attach}"));
            if at % 2 == 1 {
                lab.xhop(&["down", "--all"]).ok();
                flows(progress, &format!("it flows after down of {join:?} by {attach}"));
            }
        }
    }
    lab.xhop(&["down", "--all"]).ok();
    flows(progress, "it flows in the end");
}

#[test]
fn a_connection_outlives_every_change() {
    lab_with("a_connection_outlives_every_change", &[], |lab| {
        let pair = lab.pair();
        for address in [&pair.b.v4, &pair.b.v6] {
            let (stop, progress) = (AtomicBool::new(false), AtomicU64::new(0));
            thread::scope(|scope| {
                let stream = scope.spawn(|| lab.stream("a", "b", address, &stop, &progress));
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    flows(&progress, "it flows by the bridge");
                    changes(lab, &progress);
                }));
                stop.store(true, Ordering::Relaxed);
                let whole = stream.join().expect("the stream");
                outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                whole.expect("nothing is lost or changed");
            });
        }
    });
}

/// With a tag beside the packet, as the sender's traffic control puts it: XDP sees none there.
#[test]
fn a_tag_beside_the_packet_is_not_lost() {
    lab_by_each("a_tag_beside_the_packet_is_not_lost", &["tcpdump"], |lab| {
        lab.pair();
        let before = lab.everything();
        // The second goes beside the packet, and the first into it.
        for kinds in [&[0x8100_u16][..], &[0x88a8], &[0x8100, 0x88a8]] {
            let insns = pushes(kinds);
            let insns = &insns[..];
            let tags = raw::Raw { kind: raw::SCHED_CLS, name: "tags", insns, ..Default::default() };
            let tags = raw::load(&tags).expect("loads");
            lab.pings("a", "10.9.0.3");
            for attach in ["link", "netlink"] {
                lab.joins(&["a", "b", "--attach", attach]);
                let link = lab.json("a", &["ip", "-j", "link", "show", "dev", "eth0"]);
                let eth0 = link[0]["ifindex"].as_u64().expect("a number") as u32;
                let link = lab.in_netns("a", || raw::link(&tags, eth0, raw::TCX_EGRESS));
                let link = link.expect("attached");
                let argv = ["tcpdump", "-Z", "root", "-neli", "eth0", "vlan"];
                let seen = lab.spawn_in("b", &argv);
                wait_until(PATIENCE, "it listens", || seen.stderr().contains("listening on"));
                let before = lab.counted("netns:a", "forwarded");
                let lost = lab.run_in("a", &["ping", "-n", "-c1", "-W1", "10.9.0.3"]);
                assert!(!lost.status.success(), "b has no such VLAN");
                assert_eq!(lab.counted("netns:a", "forwarded"), before, "{attach}");
                // What a says of itself to the neighbourhood is tagged as well, and may come first.
                wait_until(PATIENCE, "b sees the tagged ping", || {
                    seen.stdout().lines().any(|line| {
                        line.contains("vlan 5") && line.contains("> 10.9.0.3: ICMP echo request")
                    })
                });
                drop(link);
            }
            lab.xhop(&["down", "--all"]).ok();
        }
        assert_same(&before, &lab.everything());
    });
}

/// A program for traffic control that pushes tags of these kinds.
fn pushes(kinds: &[u16]) -> Vec<u8> {
    let mut asm = Assembler::new("tags");
    asm.mov(R6, R1, "the packet");
    for kind in kinds {
        asm.mov(R1, R6, "the packet");
        asm.mov(R2, i32::from(kind.to_be()), "what kind of tag");
        asm.mov(R3, 5, "its number");
        asm.call(Helper::new(18), "bpf_skb_vlan_push");
    }
    asm.mov(R0, -1, "TCX_NEXT");
    asm.exit("done");
    asm.finish().expect("assembles").bytes(ByteOrder::NATIVE)
}
