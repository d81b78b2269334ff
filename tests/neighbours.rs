//! Others' programs where containers are joined by tc: they stay, and still run, or it is said that they do not.

mod lab;

use lab::{HOST, Lab, assert_same, lab_by, lab_with, raw};
use xhop::sys::bpf::{Prog, XdpMode};
use xhop::sys::netlink::Rtnl;
use xhop::sys::netns::Netns;
use xhop_asm::tc::sk_buff;
use xhop_asm::{Assembler, ByteOrder, Pointer, R0, R1, R2, R3};

/// `TCX_NEXT`, and `TCX_DROP` (include/uapi/linux/bpf.h)
const NEXT: i32 = -1;
const DROP: i32 = 2;
const ATTACHES: [&str; 2] = ["link", "netlink"];

/// Somebody else's program for traffic control, which says this of all packets.
fn says(verdict: i32) -> Prog {
    does(|_| {}, verdict)
}

/// The same, which does something first.
fn does(first: impl FnOnce(&mut Assembler), verdict: i32) -> Prog {
    let mut asm = Assembler::new("foreign");
    first(&mut asm);
    asm.mov(R0, verdict, "verdict");
    asm.exit("done");
    let insns = asm.finish().expect("assembles").bytes(ByteOrder::NATIVE);
    let raw =
        raw::Raw { kind: raw::SCHED_CLS, name: "foreign", insns: &insns, ..raw::Raw::default() };
    raw::load(&raw).expect("loads")
}

fn tcx(lab: &Lab, ifname: &str, prog: &Prog) -> std::os::fd::OwnedFd {
    tcx_at(lab, HOST, ifname, prog)
}

fn tcx_at(lab: &Lab, at: &str, ifname: &str, prog: &Prog) -> std::os::fd::OwnedFd {
    lab.in_netns(at, || {
        let rtnl = Rtnl::open_in(&Netns::current().expect("ours")).expect("netlink");
        let at = rtnl.link(ifname).expect("links").expect("the interface").ifindex;
        raw::link(prog, at, raw::TCX_INGRESS).expect("attached")
    })
}

fn tc(lab: &Lab, command: &str) -> String {
    lab.ok_in(HOST, &[&["tc"], &command.split(' ').collect::<Vec<_>>()[..]].concat())
}

fn answered(lab: &Lab) -> bool {
    lab.run_in("a", &["ping", "-n", "-c1", "-W1", "10.9.0.3"]).status.success()
}

/// Adds somebody else's filter, which says this of all packets.
fn filter(lab: &Lab, hook: &str, name: &str, verdict: i32) {
    let pin = format!("/sys/fs/bpf/{name}");
    says(verdict).pin(pin.as_ref()).expect("pinned");
    tc(lab, &format!("filter add dev veth-a {hook} bpf direct-action object-pinned {pin}"));
}

#[test]
fn a_tcx_program_stays_and_comes_first() {
    lab_by("a_tcx_program_stays_and_comes_first", &["ebtables"], "tc", |lab| {
        let pair = lab.pair();
        let prog = says(NEXT);
        let _link = tcx(lab, "veth-a", &prog);
        let before = lab.everything();
        for attach in ATTACHES {
            lab.joins(&["a", "b", "--attach", attach]);
            pair.bridge.is_bypassed(&pair.a, &pair.b);
            let on = lab.tcx_on(HOST, "veth-a", raw::TCX_INGRESS);
            assert_eq!(on[0], prog.info().expect("info").id, "{attach}: {on:?}");
            assert_eq!(on.len(), if attach == "link" { 2 } else { 1 });
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
        // It sees what hops: what it drops does not.
        let drops = tcx(lab, "veth-a", &says(DROP));
        let before = lab.everything();
        for attach in ATTACHES {
            lab.joins(&["a", "b", "--attach", attach]);
            assert!(!answered(lab), "{attach}: the foreign program does not run");
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
        drop(drops);
        lab::wait_until(std::time::Duration::from_secs(10), "nobody drops", || answered(lab));
    });
}

#[test]
fn a_filter_stays_and_its_clsact() {
    lab_by("a_filter_stays_and_its_clsact", &["ebtables"], "tc", |lab| {
        let pair = lab.pair();
        tc(lab, "qdisc add dev veth-a clsact");
        filter(lab, "ingress", "stays", NEXT);
        tc(lab, "qdisc add dev veth-b clsact");
        let there_and_back = |answers: [bool; 2]| {
            let before = lab.everything();
            for (attach, answers) in ATTACHES.into_iter().zip(answers) {
                lab.joins(&["a", "b", "--attach", attach]);
                assert_eq!(answered(lab), answers, "{attach}");
                if answers {
                    pair.bridge.is_bypassed(&pair.a, &pair.b);
                }
                lab.xhop(&["down", "--all"]).ok();
                assert_same(&before, &lab.everything());
            }
        };
        there_and_back([true, true]);
        // A link comes before all filters; ours, if it is one, after those of others.
        lab.pings("a", "10.9.0.3");
        filter(lab, "ingress", "drops", DROP);
        there_and_back([true, false]);
        assert!(!answered(lab), "it runs no more");
    });
}

#[test]
fn our_clsact_stays_for_who_has_come_to_use_it() {
    lab_by("our_clsact_stays_for_who_has_come_to_use_it", &[], "tc", |lab| {
        lab.pair();
        let before = lab.everything();
        let clsact = |veth: &str| tc(lab, &format!("qdisc show dev {veth}")).contains("clsact");
        for hook in ["ingress", "egress"] {
            lab.joins(&["a", "b", "--attach", "netlink"]);
            filter(lab, hook, hook, NEXT);
            lab.xhop(&["down", "--all"]).ok();
            assert!(clsact("veth-a") && !clsact("veth-b"), "{hook}");
            let left = tc(lab, &format!("filter show dev veth-a {hook}"));
            assert!(left.contains(hook) && !left.contains("xhop"), "{left}");
            // The other's, if it is there.
            let others = usize::from(hook == "ingress");
            assert_eq!(lab.programs_on(HOST, "veth-a").len(), others);
            tc(lab, "qdisc del dev veth-a clsact");
            std::fs::remove_file(format!("/sys/fs/bpf/{hook}")).expect("its pin");
            assert_same(&before, &lab.everything());
        }
    });
}

/// A filter that stands where ours would is not overwritten.
#[test]
fn a_filter_in_our_place_is_no_prey() {
    lab_by("a_filter_in_our_place_is_no_prey", &[], "tc", |lab| {
        lab.pair();
        says(NEXT).pin("/sys/fs/bpf/foreign".as_ref()).expect("pinned");
        tc(lab, "qdisc add dev veth-b clsact");
        let ours = "pref 53248 handle 1 bpf direct-action object-pinned /sys/fs/bpf/foreign";
        tc(lab, &format!("filter add dev veth-b ingress {ours}"));
        let netlink = lab.up_args(&["a", "b", "--attach", "netlink"]);
        lab.refuses(&netlink, &["veth-b", "priority 53248", "--attach link"]);
        let before = lab.everything();
        lab.joins(&["a", "b"]);
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn an_xdp_program_stays() {
    lab_by("an_xdp_program_stays", &["ebtables"], "tc", |lab| {
        let pair = lab.pair();
        for mode in [XdpMode::Native, XdpMode::Generic] {
            lab.attach_foreign(HOST, "veth-b", mode);
            let (before, on) = (lab.everything(), lab.xdp_on(HOST, "veth-b"));
            assert!(on.is_some());
            for more in [&[][..], &["--attach", "netlink"], &["--force"]] {
                lab.joins(&[&["a", "b"], more].concat());
                assert_eq!(lab.xdp_on(HOST, "veth-b"), on);
                pair.bridge.is_bypassed(&pair.a, &pair.b);
                lab.bulk("a", "b", "10.9.0.3", 20_000_000).expect("a whole transfer");
                lab.xhop(&["down", "--all"]).ok();
                assert_same(&before, &lab.everything());
            }
            for off in ["xdpdrv", "xdpgeneric"] {
                lab.ok_in(HOST, &["ip", "link", "set", "veth-b", off, "off"]);
            }
        }
        let link = lab.link_foreign(HOST, "veth-a");
        lab.joins(&["a", "b"]);
        pair.bridge.is_bypassed(&pair.a, &pair.b);
        drop(link);
    });
}

/// What is noted beside a packet on the host's side ends there, as on the way by the bridge.
#[test]
fn marks_do_not_get_into_a_container() {
    lab_by("marks_do_not_get_into_a_container", &[], "tc", |lab| {
        lab.pair();
        let note = |asm: &mut Assembler| {
            asm.mov(R2, 7, "a mark");
            asm.store(R1.u32(sk_buff::MARK), R2, "of the packet");
            asm.store(R1.u32(sk_buff::PRIORITY), R2, "and a priority");
        };
        let marks = does(note, NEXT);
        let drops_noted = does(
            |asm| {
                let noted = asm.label("noted");
                asm.load(R2, R1.u32(sk_buff::MARK), "the mark");
                asm.load(R3, R1.u32(sk_buff::PRIORITY), "the priority");
                asm.jump_if(R2.ne(0), &noted, "has a mark");
                asm.jump_if(R3.ne(0), &noted, "has a priority");
                asm.mov(R0, NEXT, "verdict");
                asm.exit("done");
                asm.bind(noted);
            },
            DROP,
        );
        let marked = tcx(lab, "veth-a", &marks);
        let inside = tcx_at(lab, "b", "eth0", &drops_noted);
        assert!(answered(lab), "the bridge lets them through");
        for attach in ATTACHES {
            lab.joins(&["a", "b", "--attach", attach]);
            assert!(answered(lab), "{attach}");
            assert!(lab.counted("netns:a", "forwarded") > 0);
            lab.xhop(&["down", "--all"]).ok();
        }
        // It tells.
        drop(inside);
        let _noted = tcx_at(lab, "b", "eth0", &does(note, NEXT));
        let _tells = tcx_at(lab, "b", "eth0", &drops_noted);
        assert!(!answered(lab));
        drop(marked);
    });
}

/// tc would go round it: that is said, and not done without a word.
#[test]
fn a_containers_own_native_program() {
    lab_with("a_containers_own_native_program", &["ebtables"], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.attach_foreign("b", "eth0", XdpMode::Native);
        let words = ["eth0 of netns:b", "native XDP", "--datapath native", "--force"];
        lab.refuses(&["up", "a", "b", "--datapath", "tc"], &words);
        lab.refuses(&["up", "b", "a", "--datapath", "tc", "--attach", "netlink"], &words);
        // Left open, it is the hook that it sees packets on.
        lab.joins(&["a", "b"]);
        assert_eq!(lab.member("netns:b")["datapath"], "native");
        assert!(lab.xhop(&["status"]).ok().contains("a native XDP program of its own"));
        pair.bridge.is_bypassed(&pair.a, &pair.b);
        lab.xhop(&["down", "--all"]).ok();
        lab.joins(&["a", "b", "--datapath", "tc", "--force"]);
        assert_eq!(lab.state("netns:b"), "round");
        lab.xhop(&["down", "--all"]).ok();

        // One that comes later is told, and keeps nobody from joining.
        lab.ok_in("b", &["ip", "link", "set", "eth0", "xdpdrv", "off"]);
        lab.joins(&["a", "b"]);
        assert_eq!(lab.member("netns:b")["datapath"], "tc");
        assert_eq!(lab.state("netns:b"), "up");
        lab.attach_foreign("b", "eth0", XdpMode::Native);
        assert_eq!([lab.state("netns:a"), lab.state("netns:b")], ["up", "round"]);
        lab.joins(&["c"]);
        lab.joins(&["a", "b"]);
        pair.bridge.is_bypassed(&pair.a, &c);
        lab.refuses(&["up", "a", "b", "c", "--datapath", "native", "--big-tcp"], &["leave it out"]);
    });
}

/// Our own `pass`, by which an end polls, is nobody's.
#[test]
fn our_own_native_program() {
    lab_with("our_own_native_program", &["ebtables"], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b", "--checksum", "trust"]);
        for by in ["native", "tc", "tc"] {
            assert_eq!(lab.member("netns:a")["datapath"], by);
            let told = lab.member("netns:a")["why"].to_string();
            assert!(told.contains("asked for"), "{told}");
            pair.bridge.is_bypassed(&pair.a, &pair.b);
            lab.joins(&["a", "b", "--datapath", "tc"]);
        }
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["c"]);
        let told = lab.member("netns:c")["why"].to_string();
        assert!(told.contains("as others on the bridge"), "{told}");
        assert!(lab.member("netns:a")["why"].to_string().contains("asked for"));
    });
}
