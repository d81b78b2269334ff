//! Each way to break the path between two containers is told by its cause.

mod lab;

use std::fs;
use std::time::Duration;

use lab::doctor::{asked, causes, follow, host_veth, ill_of, is_healthy, joined, mends, says};
use lab::{HOST, Lab, Where, lab, lab_by_each, lab_with, not_tried, raw, wait_until};
use serde_json::Value;
use xhop::sys::bpf::{Prog, XdpMode};
use xhop_asm::{Assembler, ByteOrder, R0};

#[test]
fn who_is_not_joined() {
    lab("who_is_not_joined", |lab| {
        lab.pair();
        let (told, code) = asked(lab);
        assert_eq!((code, causes(&told)), (Some(1), vec!["not-joined"; 2]), "{told:#}");
        for probe in told["path"][0]["probes"].as_array().expect("probes") {
            assert_eq!((&probe["by_bridge"], &probe["taken"]), (&probe["sent"], &probe["sent"]));
        }
        mends(lab, &told["findings"][0]);
    });
}

#[test]
fn checksums_that_come_half_made() {
    lab("checksums_that_come_half_made", |lab| {
        joined(lab, &["--checksum", "none"]);
        let finding = ill_of(lab, "bad-checksums");
        says(&finding, "found", &["IPv4 UDP", "1 of 1 arrived with a wrong sum"]);
        // The receiver counts them too.
        assert!(lab.counters("b").get("UdpInCsumErrors") > 0);
        mends(lab, &finding);
    });
}

#[test]
fn a_peer_that_is_not_ready() {
    lab("a_peer_that_is_not_ready", |lab| {
        joined(lab, &["--datapath", "native"]);
        lab.ok_in("b", &["ethtool", "-K", "eth0", "gro", "off"]);
        let finding = ill_of(lab, "peer-not-ready");
        says(&finding, "means", &["err -6"]);
        assert_eq!(finding["on"], "netns:b");
        // Each packet is accounted for: the program has redirected them, and that has failed.
        let (told, _) = asked(lab);
        let account = &told["path"][0]["account"];
        assert_eq!(account["unaccounted"], 0, "{account:#}");
        let forwarded = &account["verdicts"][0]["packets"];
        match account["failures"].get(0) {
            Some(failed) => {
                // EOPNOTSUPP where the kernel does not even ask the driver; then it counts them too.
                assert!(failed["err"] == -6 || failed["err"] == -95, "{account:#}");
                assert_eq!(failed["packets"], *forwarded, "{account:#}");
                assert!(failed["err"] == -6 || account["dropped"] == *forwarded, "{account:#}");
            }
            None => not_tried("a_peer_that_is_not_ready", &account["untold"].to_string()),
        }
        mends(lab, &finding);
    });
}

/// Kernels from 6.3 to 6.5 forget it.
#[test]
fn gro_that_was_set_while_down() {
    lab("gro_that_was_set_while_down", |lab| {
        joined(lab, &["--datapath", "native"]);
        let end = |command: &str| lab.ok_in("b", &command.split(' ').collect::<Vec<_>>());
        end("ip link set eth0 down");
        end("ethtool -K eth0 gro off");
        end("ethtool -K eth0 gro on");
        end("ip link set eth0 up");
        end("ip addr add fd09::3/64 dev eth0 nodad");
        forwards(lab);
        if asked(lab).0["healthy"] == true {
            return not_tried("gro_that_was_set_while_down", "this kernel does not forget it");
        }
        ill_of(lab, "gro-while-down");
        end("ethtool -K eth0 gro off");
        end("ethtool -K eth0 gro on");
        is_healthy(lab);
    });
}

/// Both ports do.
fn forwards(lab: &Lab) {
    let count = || lab.ok_in(HOST, &["bridge", "link", "show"]).matches("state forwarding").count();
    wait_until(Duration::from_secs(10), "both ports forward", || count() == 2);
}

#[test]
fn a_stale_ifindex() {
    lab_by_each("a_stale_ifindex", &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        let maps = lab.ok_in(Where::Own, &["find", "/sys/fs/bpf/xhop", "-name", "endpoints4"]);
        let key: Vec<&str> = pair.b.v4.split('.').collect();
        let entry = lab.json(
            Where::Own,
            &[&["bpftool", "-j", "map", "lookup", "pinned", maps.trim(), "key"], &key[..]].concat(),
        );
        let mut value: Vec<String> = entry["value"]
            .as_array()
            .expect("a value")
            .iter()
            .map(|byte| byte.as_str().expect("hex").to_owned())
            .collect();
        // An interface that is not there.
        value[..4].clone_from_slice(
            &[9999u32.to_ne_bytes()].concat().iter().map(|b| format!("{b:#x}")).collect::<Vec<_>>(),
        );
        let value: Vec<&str> = value.iter().map(String::as_str).collect();
        let update = [
            &["bpftool", "map", "update", "pinned", maps.trim(), "key"],
            &key[..],
            &["value"],
            &value[..],
        ];
        lab.ok_in(Where::Own, &update.concat());
        let finding = ill_of(lab, "stale-entry");
        says(&finding, "found", &[&pair.b.v4, "9999"]);
        says(&finding, "means", &["err -22"]);
        mends(lab, &finding);
    });
}

/// Native XDP could not be attached again.
#[test]
fn a_peer_whose_mtu_is_too_large() {
    lab("a_peer_whose_mtu_is_too_large", |lab| {
        let pair = lab.pair();
        for name in ["a", "b"] {
            lab.ok_in(name, &["ip", "link", "set", "eth0", "mtu", "9000"]);
        }
        host_veth(lab, &format!("{} mtu 9000", pair.a.veth));
        host_veth(lab, &format!("{} mtu 9000", pair.b.veth));
        let refused = lab.xhop(&["up", "a", "b", "--datapath", "native"]);
        assert!(refused.stderr.contains("peer's MTU"), "{refused}");
        let (told, code) = asked(lab);
        assert_eq!(code, Some(1));
        assert_eq!(causes(&told), ["not-joined", "peer-mtu", "not-joined", "peer-mtu"], "{told:#}");
        let finding = &told["findings"][1];
        says(finding, "found", &["9000", "Peer MTU is too large", "ERANGE"]);
        says(finding, "remedy", &["--datapath tc", "mtu 1500"]);
        // tc takes them as they are.
        lab.xhop(&["up", "a", "b"]).ok();
        is_healthy(lab);
    });
}

/// What TCP sends in bulk is larger than the host's end takes by generic XDP, once its MTU is set back.
#[test]
fn packets_beyond_the_mtu() {
    lab("packets_beyond_the_mtu", |lab| {
        let pair = joined(lab, &["--datapath", "generic"]);
        host_veth(lab, &format!("{} mtu 1500", pair.b.veth));
        let finding = ill_of(lab, "beyond-mtu");
        assert_eq!(finding["on"], "veth-b");
        // It is the very loss: what is segmented late does not come.
        let (told, _) = asked(lab);
        for probe in told["path"][0]["probes"].as_array().expect("probes") {
            let comes = probe["taken"] == probe["sent"];
            assert_eq!(comes, probe["kind"] != "segments", "{probe:#}");
        }
        mends(lab, &finding);
    });
}

/// By tc too, what does not fit the host's end on its way out of the container.
#[test]
fn an_mtu_that_is_too_small_on_the_host() {
    lab("an_mtu_that_is_too_small_on_the_host", |lab| {
        let pair = joined(lab, &[]);
        host_veth(lab, &format!("{} mtu 1280", pair.a.veth));
        let finding = ill_of(lab, "beyond-mtu");
        assert_eq!(finding["on"], "veth-a");
        says(&finding, "found", &["full size", "1280"]);
    });
}

/// A packet that has arrived, and nobody has it; or nothing is sent, since no neighbour answers.
#[test]
fn a_foreign_program_that_drops() {
    for known in [true, false] {
        lab("a_foreign_program_that_drops", |lab| {
            let pair = joined(lab, &[]);
            if known {
                lab.pings("a", &pair.b.v4);
                lab.pings("a", &pair.b.v6);
            }
            lab.ok_in("b", &["tc", "qdisc", "add", "dev", "eth0", "clsact"]);
            drop_all(lab, "b", "eth0");
            let finding = ill_of(lab, "foreign-program");
            says(&finding, "on", &["eth0 of netns:b"]);
            let lost = if known { "lost there" } else { "no neighbour answers" };
            says(&finding, "found", &["drops", "tc ingress", lost]);
        });
    }
}

/// By native XDP it is the receiver's own program.
#[test]
fn a_native_program_of_the_receiver_that_drops() {
    lab("a_native_program_of_the_receiver_that_drops", |lab| {
        let pair = joined(lab, &["--datapath", "native"]);
        lab.pings("a", &pair.b.v4);
        lab.pings("a", &pair.b.v6);
        let pin = "/sys/fs/bpf/drops";
        dropper(raw::XDP, 1).pin(pin.as_ref()).expect("pinned");
        lab.ok_in("b", &["ip", "link", "set", "eth0", "xdp", "pinned", pin]);
        let finding = ill_of(lab, "foreign-program");
        says(&finding, "on", &["eth0 of netns:b"]);
        says(&finding, "found", &["drops", "native XDP"]);
        // The driver counts them too.
        let (told, _) = asked(lab);
        let counters = told["path"][0]["account"]["driver"].as_array().expect("counters").clone();
        let drops = |counter: &Value| {
            counter["counter"].as_str().is_some_and(|name| name.ends_with("xdp_drops"))
        };
        assert!(counters.iter().any(drops), "{counters:#?}");
    });
}

/// A program of somebody else's that drops all.
fn dropper(kind: u32, verdict: i32) -> Prog {
    let mut asm = Assembler::new("drops");
    asm.mov(R0, verdict, "TC_ACT_SHOT or XDP_DROP");
    asm.exit("done");
    let insns = asm.finish().expect("assembles").bytes(ByteOrder::NATIVE);
    raw::load(&raw::Raw { kind, name: "drops", insns: &insns, ..raw::Raw::default() })
        .expect("loads")
}

fn drop_all(lab: &Lab, at: &str, ifname: &str) {
    let pin = "/sys/fs/bpf/drops";
    dropper(raw::SCHED_CLS, 2).pin(pin.as_ref()).expect("pinned");
    let rule = ["ingress", "bpf", "direct-action", "object-pinned", pin];
    lab.ok_in(at, &[&["tc", "filter", "add", "dev", ifname], &rule[..]].concat());
}

/// Somebody has put another program in the place of ours.
#[test]
fn a_foreign_program_in_our_place() {
    lab("a_foreign_program_in_our_place", |lab| {
        joined(lab, &["--datapath", "native", "--attach", "netlink"]);
        host_veth(lab, "veth-a xdp off");
        lab.attach_foreign(HOST, "veth-a", XdpMode::Native);
        let finding = ill_of(lab, "foreign-program");
        assert_eq!(finding["on"], "veth-a");
        says(&finding, "found", &["foreign", "native XDP", "where our program was"]);
    });
}

#[test]
fn a_program_that_was_taken_off() {
    lab("a_program_that_was_taken_off", |lab| {
        joined(lab, &["--datapath", "native", "--attach", "netlink"]);
        host_veth(lab, "veth-a xdp off");
        let finding = ill_of(lab, "detached");
        mends(lab, &finding);
    });
}

/// What does not hop goes by the bridge, and there to iptables.
#[test]
fn br_netfilter_and_a_forward_that_drops() {
    lab_with("br_netfilter_and_a_forward_that_drops", &["iptables", "ip6tables"], |lab| {
        lab.pair();
        let on = |name: &str| {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
            lab.in_netns(HOST, || fs::write(path, "1"))
        };
        if let Err(error) = on("iptables").and(on("ip6tables")) {
            return not_tried("br_netfilter_and_a_forward_that_drops", &error.to_string());
        }
        for iptables in ["iptables", "ip6tables"] {
            lab.ok_in(HOST, &[iptables, "-P", "FORWARD", "DROP"]);
            // Neighbours find each other, or nothing would be sent by IPv6.
            if iptables == "ip6tables" {
                for kind in ["135", "136"] {
                    let rule =
                        ["-A", "FORWARD", "-p", "icmpv6", "--icmpv6-type", kind, "-j", "ACCEPT"];
                    lab.ok_in(HOST, &[&[iptables], &rule[..]].concat());
                }
            }
        }
        let (told, code) = asked(lab);
        assert_eq!(code, Some(1));
        let found = causes(&told);
        assert_eq!(found, ["not-joined", "not-joined", "br-netfilter"], "{told:#}");
        let finding = &told["findings"][2];
        says(finding, "found", &["bridge-nf-call-iptables is 1", "filter FORWARD", "drop", "br0"]);
        says(finding, "remedy", &["iptables -I FORWARD -i br0 -o br0 -j ACCEPT"]);
        // What hops is not asked.
        lab.xhop(&["up", "a", "b"]).ok();
        is_healthy(lab);
    });
}

/// Neither iptables nor we: something on the bridge itself.
#[test]
fn a_bridge_that_drops() {
    lab_with("a_bridge_that_drops", &["ebtables"], |lab| {
        lab.pair();
        lab.ok_in(HOST, &["ebtables", "-A", "FORWARD", "-p", "IPv4", "-j", "DROP"]);
        let (told, _) = asked(lab);
        assert_eq!(causes(&told), ["not-joined", "not-joined", "bridge-drops"], "{told:#}");
    });
}

#[test]
fn an_address_of_somebody_else() {
    lab_by_each("an_address_of_somebody_else", &[], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        lab.ok_in("a", &["ip", "addr", "add", &format!("{}/32", c.v4), "dev", "eth0"]);
        let finding = ill_of(lab, "source-verification");
        assert_eq!(finding["on"], "netns:a");
        says(&finding, "found", &[&c.v4, "netns:c"]);
        // The probes themselves, where it has no other.
        lab.ok_in("a", &["ip", "addr", "flush", "dev", "eth0", "scope", "global"]);
        lab.ok_in("a", &["ip", "addr", "add", &format!("{}/24", c.v4), "dev", "eth0"]);
        let (told, _) = asked(lab);
        assert_eq!(causes(&told)[0], "source-verification", "{told:#}");
        let verdicts = told["path"][0]["account"]["verdicts"].as_array().expect("verdicts");
        let spoofed = verdicts.iter().find(|counted| counted["verdict"] == "spoofed");
        let packets = spoofed.and_then(|counted| counted["packets"].as_u64());
        assert!(packets > Some(0), "{told:#}");
    });
}

#[test]
fn an_address_that_has_moved() {
    lab_by_each("an_address_that_has_moved", &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        lab.ok_in("b", &["ip", "addr", "del", &format!("{}/24", pair.b.v4), "dev", "eth0"]);
        lab.ok_in("b", &["ip", "addr", "add", "10.9.0.33/24", "dev", "eth0"]);
        let finding = ill_of(lab, "address-moved");
        assert_eq!(finding["on"], "netns:b");
        says(&finding, "found", &["10.9.0.33", "not joined"]);
        mends(lab, &finding);
    });
}

#[test]
fn another_ethernet_address() {
    lab("another_ethernet_address", |lab| {
        joined(lab, &[]);
        lab.ok_in("b", &["ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"]);
        let finding = ill_of(lab, "address-moved");
        says(&finding, "found", &["02:00:00:00:00:77"]);
        mends(lab, &finding);
    });
}

#[test]
fn an_interface_that_is_down() {
    lab("an_interface_that_is_down", |lab| {
        joined(lab, &[]);
        lab.ok_in("b", &["ip", "link", "set", "eth0", "down"]);
        let finding = ill_of(lab, "link-down");
        says(&finding, "on", &["eth0 of netns:b"]);
        follow(lab, &finding);
        // By IPv6 it lost its address with the interface.
        lab.ok_in("b", &["ip", "addr", "add", "fd09::3/64", "dev", "eth0", "nodad"]);
        forwards(lab);
        is_healthy(lab);
    });
}

/// Packets come, and the container does not want them.
#[test]
fn a_firewall_in_the_receiver() {
    lab_with("a_firewall_in_the_receiver", &["iptables"], |lab| {
        joined(lab, &[]);
        lab.ok_in("b", &["iptables", "-A", "INPUT", "-p", "udp", "-j", "DROP"]);
        let finding = ill_of(lab, "not-taken");
        assert_eq!(finding["on"], "netns:b");
    });
}

#[test]
fn a_native_program_that_tc_goes_round() {
    lab("a_native_program_that_tc_goes_round", |lab| {
        joined(lab, &[]);
        lab.attach_foreign("b", "eth0", XdpMode::Native);
        ill_of(lab, "goes-round");
    });
}

#[test]
fn a_veth_on_another_bridge() {
    lab("a_veth_on_another_bridge", |lab| {
        joined(lab, &[]);
        lab.bridge("br1");
        host_veth(lab, "veth-b master br1");
        let (told, _) = asked(lab);
        assert_eq!(causes(&told)[..2], ["other-bridge", "moved"], "{told:#}");
        says(&told["findings"][0], "found", &["veth-a is on br0", "veth-b is on br1"]);
        follow(lab, &told["findings"][0]);
        forwards(lab);
        is_healthy(lab);
    });
}
