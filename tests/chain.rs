//! Service chains: what comes by a NIC for the last container goes through all of them, and nothing else does.

mod lab;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lab::{
    Bridge, Container, Lab, Where, assert_same, counter, lab, lab_with, load_xdp, wait_until,
};
use serde_json::Value;
use xhop::sys::bpf::{Link, XdpMode};
use xhop_asm::{Assembler, ByteOrder, Pointer, R0, R1, R2, R3, R4, R5, net, xdp, xdp::xdp_md};
use xhop_vm::packet::{Check, Host, udp};

const PATIENCE: Duration = Duration::from_secs(10);
const BYTES: u64 = 4 << 20;
/// The far end of the NIC.
const OUTSIDE: &str = "outside";

/// How the NIC and the containers' bridge hang together.
#[derive(Clone, Copy, PartialEq, Debug)]
enum By {
    /// The host routes.
    Routing,
    /// The NIC is a port of the bridge.
    Bridging,
}

/// A host with a NIC, `nic0`, three containers and somebody outside.
struct Stage<'l> {
    lab: &'l Lab,
    bridge: Bridge<'l>,
    c: Container,
}

impl<'l> Stage<'l> {
    fn new(lab: &'l Lab, by: By) -> Self {
        let bridge = lab.bridge_at(Where::Own, "br0");
        lab.netns(OUTSIDE);
        let ip = |at: Where, line: &str| {
            lab.ok_in(at, &[&["ip"], line.split(' ').collect::<Vec<_>>().as_slice()].concat());
        };
        let outside = || Where::from(OUTSIDE);
        ip(Where::Own, "link add nic0 type veth peer name eth0 netns outside");
        match by {
            By::Routing => {
                bridge.address("10.9.0.1/24");
                bridge.address("fd09::1/64");
                ip(Where::Own, "addr add 192.0.2.1/24 dev nic0");
                ip(Where::Own, "addr add fd02::1/64 dev nic0 nodad");
                ip(outside(), "addr add 192.0.2.2/24 dev eth0");
                ip(outside(), "addr add fd02::2/64 dev eth0 nodad");
            }
            By::Bridging => {
                ip(Where::Own, "link set nic0 master br0");
                ip(outside(), "addr add 10.9.0.100/24 dev eth0");
                ip(outside(), "addr add fd09::100/64 dev eth0 nodad");
            }
        }
        ip(Where::Own, "link set nic0 up");
        ip(outside(), "link set eth0 up");
        if by == By::Routing {
            ip(outside(), "route add default via 192.0.2.1");
            ip(outside(), "-6 route add default via fd02::1");
            lab.in_netns(Where::Own, || {
                for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                    fs::write(format!("/proc/sys/net/{path}"), "1").expect("the host routes");
                }
            });
        }
        let [_, _, c] = [("a", 2), ("b", 3), ("c", 4)].map(|(name, n)| {
            bridge.container(name, &format!("10.9.0.{n}/24"), &format!("fd09::{n}/64"))
        });
        let stage = Self { lab, bridge, c };
        for address in ["10.9.0.2", "10.9.0.3", "10.9.0.4", "fd09::2", "fd09::4"] {
            stage.reaches(address);
        }
        stage
    }

    fn reaches(&self, address: &str) {
        let ping = ["ping", "-n", "-c1", "-W1", address];
        wait_until(PATIENCE, &format!("{address} answers"), || {
            self.lab.run_in(OUTSIDE, &ping).status.success()
        });
    }

    /// `chain nic0 a b c`, with more.
    fn chain(&self, more: &[&str]) -> String {
        self.lab.xhop(&[&["chain", "nic0", "a", "b", "c"], more].concat()).ok()
    }

    fn status(&self) -> Value {
        let text = self.lab.xhop(&["status", "--json"]).ok();
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let chains = status["chains"].as_array().expect("chains").clone();
        assert_eq!(chains.len(), 1, "{status}");
        chains[0].clone()
    }

    fn state(&self) -> String {
        self.status()["state"].as_str().expect("a state").to_owned()
    }

    /// How many packets were sent on, on the NIC and by each member but the last.
    fn forwarded(&self) -> Vec<u64> {
        let status = self.status();
        let programs = status["programs"].as_array().expect("programs");
        programs.iter().map(|program| counter(program, "forwarded", "packets")).collect()
    }

    /// What `body` does must go through all members: at least so many packets.
    fn goes_through(&self, least: u64, body: impl FnOnce()) {
        let before = self.forwarded();
        body();
        let after = self.forwarded();
        let gone: Vec<u64> =
            after.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert!(gone[0] >= least && gone.iter().all(|n| *n == gone[0]), "{gone:?}, not {least}");
    }

    /// What `body` does must not get into the chain.
    fn goes_round(&self, body: impl FnOnce()) {
        let before = self.forwarded();
        body();
        assert_eq!(self.forwarded(), before);
    }

    fn tcp(&self, address: &str) {
        let errors =
            || ["a", "b", "c", OUTSIDE].map(|at| self.lab.counters(at).get("TcpInCsumErrors"));
        let before = errors();
        let done = self.lab.bulk(OUTSIDE, "c", address, BYTES);
        done.unwrap_or_else(|e| panic!("TCP to {address}: {e}"));
        assert_eq!(errors(), before, "all sums are right");
    }

    fn udp(&self, address: &str, port: u16) {
        let to = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
        for len in [1, 2, 3, 511, 1400] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let answer = self.lab.udp_ask(OUTSIDE, to, &payload);
            assert_eq!(answer.unwrap_or_else(|e| panic!("{len} bytes to {to}: {e}")), payload);
        }
    }

    fn takes_down(&self) {
        self.lab.xhop(&["down", "--chain", "nic0"]).ok();
    }
}

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

fn mac(lab: &Lab, at: &str) -> [u8; 6] {
    let link = lab.json(at, &["ip", "-j", "link", "show", "dev", "eth0"]);
    let text = link[0]["address"].as_str().expect("an Ethernet address").replace(':', "");
    hex::decode(text).expect("hex").try_into().expect("six bytes")
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
    lab_with("what_is_printed", &[], |lab| {
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
