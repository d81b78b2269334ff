//! Service chains: what comes by a NIC for the last container goes through all of them, and nothing else does.

mod lab;

use std::time::Duration;

use lab::chain::{BYTES, By, OUTSIDE, Stage, mac};
use lab::{Where, assert_same, counter, lab, lab_with, load_xdp, wait_until};
use xhop::sys::bpf::{Link, XdpMode};
use xhop_asm::{Assembler, ByteOrder, Pointer, R0, R1, R2, R3, R4, R5, net, xdp, xdp::xdp_md};
use xhop_vm::packet::{Check, Host, udp};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn tcp_udp_and_ping_through_three() {
    for by in [By::Routing, By::Bridging] {
        lab("tcp_udp_and_ping_through_three", |lab| {
            let stage = Stage::new(lab, by);
            let before = lab.everything();
            let done = stage.chain(&[]);
            assert_eq!(done, "made the chain nic0 > netns:a > netns:b > netns:c\n");
            let _echo = lab.udp_echo("c", 4000);
            for address in [&stage.c.v4, &stage.c.v6] {
                // Frames of at most 1500 bytes, one way.
                stage.goes_through(BYTES / 1500, || stage.tcp(address));
                stage.goes_through(5, || stage.udp(address, 4000));
                stage.goes_through(2, || lab.pings(OUTSIDE, address));
            }
            assert_eq!(stage.state(), "up");
            lab::audit::clean(lab);
            // What the members send of themselves, also to the last one.
            stage.goes_round(|| {
                for (from, to) in [("a", "c"), ("b", "c"), ("c", "a"), ("a", "b")] {
                    let to_v4 =
                        format!("10.9.0.{}", if to == "c" { 4 } else { 2 + u8::from(to == "b") });
                    lab.bulk(from, to, &to_v4, 1 << 20)
                        .unwrap_or_else(|e| panic!("{from}, {to}: {e}"));
                }
                lab.bulk(OUTSIDE, "a", "10.9.0.2", 1 << 20).expect("what is not for the last");
            });
            // And to the outside.
            let there = if by == By::Routing { "192.0.2.2" } else { "10.9.0.100" };
            for from in ["a", "c"] {
                lab.bulk(from, OUTSIDE, there, 1 << 20).unwrap_or_else(|e| panic!("{from}: {e}"));
            }
            stage.takes_down();
            assert_same(&before, &lab.everything());
            stage.tcp(&stage.c.v4);
        });
    }
}

#[test]
fn only_what_matches() {
    lab("only_what_matches", |lab| {
        let stage = Stage::new(lab, By::Routing);
        let before = lab.everything();
        let matches =
            ["--match", "dst=10.9.0.4,proto=udp,port=4000", "--match", "dst=fd09::4,proto=udp"];
        stage.chain(&matches);
        let (_one, _other) = (lab.udp_echo("c", 4000), lab.udp_echo("c", 4001));
        stage.goes_through(5, || stage.udp("10.9.0.4", 4000));
        stage.goes_through(5, || stage.udp("fd09::4", 4001));
        stage.goes_round(|| {
            stage.udp("10.9.0.4", 4001);
            stage.tcp("10.9.0.4");
            stage.tcp("fd09::4");
            lab.pings(OUTSIDE, "10.9.0.4");
        });
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

/// Tagged frames as they are, for this kernel may have no VLANs of its own; tcpdump tells what comes.
#[test]
fn tagged_frames_keep_their_tag() {
    lab_with("tagged_frames_keep_their_tag", &["tcpdump"], |lab| {
        let stage = Stage::new(lab, By::Bridging);
        lab.ok_in("c", &["ip", "addr", "add", "10.5.0.4/24", "dev", "eth0"]);
        let before = lab.everything();
        let (c, outside) = (mac(lab, "c"), mac(lab, OUTSIDE));
        let [from, to] =
            [(outside, 100), (c, 4)].map(|(mac, n)| Host { mac, v4: [10, 5, 0, n], v6: [0; 16] });
        let frame = |vlan| udp().from(from).to(to).vlan(vlan).payload_len(99).bytes();
        let comes = |vlan: u16| {
            let filter = ["tcpdump", "-ennvvl", "-c5", "-ieth0", "vlan and udp"];
            let dump = lab.spawn_in("c", &filter);
            wait_until(PATIENCE, "it listens", || dump.stderr().contains("listening on"));
            for _ in 0..5 {
                lab.in_netns(OUTSIDE, || lab::raw::send_frame("eth0", &frame(vlan))).expect("sent");
            }
            dump.wait(PATIENCE).ok()
        };
        let tag = |vlan| format!("vlan {vlan}, p 0, ethertype IPv4");
        let mark = "0a:0a:c4:c4:a1:a1 > ";

        stage.chain(&["--match", "dst=10.5.0.4,vlan=5"]);
        stage.goes_through(5, || {
            let seen = comes(5);
            for words in [&tag(5), mark, "10.5.0.100.40000 > 10.5.0.4.5201", "udp sum ok"] {
                assert_eq!(seen.matches(words).count(), 5, "{words}: {seen}");
            }
        });
        stage.goes_round(|| assert!(comes(6).contains(&tag(6))));
        stage.goes_round(|| stage.tcp("10.9.0.4"));
        stage.takes_down();
        assert_same(&before, &lab.everything());
        // An address is one of its VLAN: what is tagged is not for who is not.
        stage.chain(&["--match", "dst=10.5.0.4"]);
        stage.goes_round(|| {
            let seen = comes(5);
            assert!(seen.contains(&tag(5)) && !seen.contains(mark), "{seen}");
        });
        stage.takes_down();
        assert_same(&before, &lab.everything());
    });
}

/// Answers go the whole way back, and so does what the last one sends to members.
#[test]
fn answers_go_back() {
    for by in [By::Routing, By::Bridging] {
        lab("answers_go_back", |lab| {
            let stage = Stage::new(lab, by);
            let before = lab.everything();
            stage.chain(&["--back"]);
            let _echo = lab.udp_echo("c", 4000);
            let both = |least: u64, body: &dyn Fn()| {
                let before = stage.forwarded();
                body();
                let after = stage.forwarded();
                let gone: Vec<u64> =
                    after.iter().zip(&before).map(|(new, old)| new - old).collect();
                // There by the NIC and the first two; back by the last and the one before it.
                let [nic, a, b, c] = gone[..] else { panic!("{gone:?}") };
                assert!(nic >= least && c >= least, "{gone:?}, not {least}");
                assert_eq!([a, b], [nic, nic + c], "{gone:?}");
            };
            for address in [&stage.c.v4, &stage.c.v6] {
                both(BYTES / 1500, &|| stage.tcp(address));
                both(5, &|| stage.udp(address, 4000));
                both(2, &|| lab.pings(OUTSIDE, address));
            }
            assert_eq!(stage.state(), "up");
            lab::audit::clean(lab);
            assert!(!lab.feature("c", "tx-checksum-ip-generic"), "it sums by itself");
            for (from, to, address) in [
                ("a", "c", "10.9.0.4"),
                ("b", "c", "10.9.0.4"),
                ("c", "a", "10.9.0.2"),
                ("c", "b", "10.9.0.3"),
                (OUTSIDE, "b", "10.9.0.3"),
            ] {
                lab.bulk(from, to, address, 1 << 20)
                    .unwrap_or_else(|e| panic!("{from}, {to}: {e}"));
            }
            if by == By::Routing {
                // The host itself.
                lab.ok_in(Where::Own, &["ping", "-n", "-c2", "-i0.1", "-W2", "10.9.0.4"]);
            }
            // A member is gone: neither there nor back.
            stage.takes_down();
            assert_same(&before, &lab.everything());
            stage.chain(&["--back"]);
            lab.ok_in(Where::Own, &["ip", "netns", "del", "b"]);
            wait_until(PATIENCE, "it is known", || stage.state() == "broken");
            stage.goes_round(|| {
                lab.bulk(OUTSIDE, "c", "10.9.0.4", 1 << 20).expect("by the kernel");
            });
            stage.takes_down();
            assert_eq!(lab.own_files(), "");
            assert!(lab.feature("c", "tx-checksum-ip-generic"));
        });
    }
}

/// TCP in a VLAN, as a stack tags it.
#[test]
fn tcp_in_a_vlan() {
    let test = "tcp_in_a_vlan";
    lab(test, |lab| {
        let stage = Stage::new(lab, By::Bridging);
        let add =
            ["ip", "link", "add", "link", "eth0", "name", "eth0.5", "type", "vlan", "id", "5"];
        if !lab.run_in("c", &add).status.success() {
            return lab::not_tried(test, "this kernel has no VLANs");
        }
        lab.ok_in(OUTSIDE, &add);
        for (at, address) in [(OUTSIDE, "10.5.0.100/24"), ("c", "10.5.0.4/24")] {
            lab.ok_in(at, &["ip", "addr", "add", address, "dev", "eth0.5"]);
            lab.ok_in(at, &["ip", "link", "set", "eth0.5", "up"]);
        }
        stage.reaches("10.5.0.4");
        let before = lab.everything();
        stage.chain(&["--match", "dst=10.5.0.4,vlan=5"]);
        stage.goes_through(BYTES / 1500, || stage.tcp("10.5.0.4"));
        stage.goes_round(|| stage.tcp("10.9.0.4"));
        stage.takes_down();
        assert_same(&before, &lab.everything());
    });
}

/// Members may be joined too: what they send each other hops by tc, what is in the chain is none of that.
#[test]
fn beside_who_is_joined() {
    lab("beside_who_is_joined", |lab| {
        let stage = Stage::new(lab, By::Routing);
        let before = lab.everything();
        for back in [&[][..], &["--back"]] {
            for chain_first in [true, false] {
                if chain_first {
                    stage.chain(back);
                }
                lab.xhop(&["up", "a", "b", "c"]).ok();
                if !chain_first {
                    stage.chain(back);
                }
                stage.tcp("10.9.0.4");
                for (from, address) in [("a", "10.9.0.4"), ("b", "10.9.0.2"), ("c", "10.9.0.3")] {
                    lab.pings(from, address);
                }
                assert_eq!((stage.state(), lab.state("netns:a")), ("up".into(), "up".into()));
                lab::audit::clean(lab);
                match chain_first {
                    true => stage.takes_down(),
                    false => drop(lab.xhop(&["down", "a", "b", "c"]).ok()),
                }
                lab::audit::clean(lab);
                lab.xhop(&["down", "--all"]).ok();
                assert_same(&before, &lab.everything());
            }
        }
    });
}

/// Under another name, and when it is gone.
#[test]
fn a_nic_that_goes() {
    lab("a_nic_that_goes", |lab| {
        let stage = Stage::new(lab, By::Bridging);
        stage.chain(&[]);
        for line in ["link set nic0 down", "link set nic0 name nic1", "link set nic1 up"] {
            lab.ok_in(Where::Own, &["ip"].into_iter().chain(line.split(' ')).collect::<Vec<_>>());
        }
        stage.goes_through(2, || lab.pings(OUTSIDE, "10.9.0.4"));
        lab.xhop(&["down", "--chain", "nic1"]).ok();
        assert_eq!(lab.own_files(), "");
        lab.xhop(&["chain", "nic1", "a", "b", "c"]).ok();
        lab.ok_in(Where::Own, &["ip", "link", "del", "nic1"]);
        assert_eq!(stage.state(), "detached");
        lab.xhop(&["down", "--chain", "nic1"]).ok();
        assert_eq!(lab.own_files(), "");
        for veth in ["veth-a", "veth-b", "veth-c"] {
            assert_eq!(lab.xdp_on(Where::Own, veth), None);
        }
    });
}

/// A sum that is wrong stays wrong: nobody mends it on the way.
#[test]
fn a_wrong_sum_stays_wrong() {
    lab("a_wrong_sum_stays_wrong", |lab| {
        let stage = Stage::new(lab, By::Bridging);
        stage.chain(&[]);
        let [from, to] = [(mac(lab, OUTSIDE), 100), (mac(lab, "c"), 4)].map(|(mac, n)| Host {
            mac,
            v4: [10, 9, 0, n],
            v6: [0; 16],
        });
        let _echo = lab.udp_echo("c", 5201);
        let errors = || lab.counters("c").get("UdpInCsumErrors");
        let before = errors();
        for (check, wrong) in [(Check::Whole, 0), (Check::Field(0xbad), 5), (Check::Partial, 10)] {
            let frame = udp().from(from).to(to).payload_len(64).check(check).bytes();
            stage.goes_through(5, || {
                for _ in 0..5 {
                    lab.in_netns(OUTSIDE, || lab::raw::send_frame("eth0", &frame)).expect("sent");
                }
                wait_until(PATIENCE, "the wrong ones are counted", || errors() == before + wrong);
            });
        }
    });
}

/// A program as users have: swaps the Ethernet addresses of what is for 10.9.0.4, and sends it back.
fn swaps() -> Vec<u8> {
    let mut asm = Assembler::new("swaps");
    let pass = asm.label("pass");
    asm.load(R2, R1.u32(xdp_md::DATA), "packet");
    asm.load(R3, R1.u32(xdp_md::DATA_END), "its end");
    asm.mov(R0, xdp::PASS, "all else");
    asm.mov(R4, R2, "packet");
    asm.add(R4, 34, "Ethernet and IPv4");
    asm.jump_if(R4.gt(R3), &pass, "short");
    asm.load(R4, R2.u16(net::eth::TYPE), "EtherType");
    asm.be16(R4, "in host order");
    asm.jump_if(R4.ne(net::eth::IPV4), &pass, "not IPv4");
    asm.load(R4, R2.u8(33), "the last byte of the destination");
    asm.jump_if(R4.ne(4), &pass, "not for the last container");
    for off in [0, 2, 4] {
        asm.load(R4, R2.u16(off), "destination");
        asm.load(R5, R2.u16(6 + off), "source");
        asm.store(R2.u16(off), R5, "swapped");
        asm.store(R2.u16(6 + off), R4, "swapped");
    }
    asm.mov(R0, xdp::TX, "back");
    asm.bind(pass);
    asm.exit("done");
    asm.finish().expect("assembles").bytes(ByteOrder::NATIVE)
}

#[test]
fn members_with_programs_of_their_own() {
    lab("members_with_programs_of_their_own", |lab| {
        let stage = Stage::new(lab, By::Routing);
        let index = lab::audit::index(lab, "b", "eth0");
        let link = lab.in_netns("b", || {
            let prog = load_xdp("swaps", &swaps(), &[]).expect("loads");
            Link::create_xdp(&prog, index, XdpMode::Native).expect("attached")
        });
        let own = lab.xdp_on("b", "eth0");
        let before = lab.everything();
        stage.chain(&[]);
        assert_eq!(lab.xdp_on("b", "eth0"), own, "is left as it was");
        stage.goes_through(BYTES / 1500, || stage.tcp("10.9.0.4"));
        assert_eq!(stage.state(), "up");
        // Without it nobody answers.
        drop(link);
        wait_until(PATIENCE, "it is known", || stage.state() == "deaf");
        stage.takes_down();
        assert_ne!(before, lab.everything());
        assert_eq!(lab.own_files(), "");
    });
}

#[test]
fn who_dies_swallows_nothing() {
    for gone in ["a", "b", "c"] {
        lab("who_dies_swallows_nothing", |lab| {
            let stage = Stage::new(lab, By::Routing);
            stage.chain(&[]);
            stage.goes_through(2, || lab.pings(OUTSIDE, "10.9.0.4"));
            lab.ok_in(Where::Own, &["ip", "netns", "del", gone]);
            wait_until(PATIENCE, "its veth goes with it", || {
                let veth = format!("veth-{gone}");
                !lab.run_in(Where::Own, &["ip", "link", "show", "dev", &veth]).status.success()
            });
            assert_eq!(stage.state(), "broken");
            // What was for the chain goes to the kernel, which still reaches the last one; so does all else.
            for (name, address) in [("a", "10.9.0.2"), ("b", "10.9.0.3"), ("c", "10.9.0.4")] {
                if name != gone {
                    lab.bulk(OUTSIDE, name, address, 1 << 20)
                        .unwrap_or_else(|e| panic!("{name}: {e}"));
                    lab.bulk(name, OUTSIDE, "192.0.2.2", 1 << 20)
                        .unwrap_or_else(|e| panic!("{name}: {e}"));
                }
            }
            let before = stage.status();
            assert!(
                gone == "c" || counter(&before["programs"][0], "stale", "packets") > 100,
                "{before}"
            );
            stage.takes_down();
            assert_eq!(lab.own_files(), "");
            assert_eq!(lab.xdp_on(Where::Own, "nic0"), None);
        });
    }
}
