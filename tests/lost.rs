//! What xhop can't see, or what was taken from it, is said: nothing is called done that is not.

mod lab;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xhop::sys::bpf::Link;

use lab::{
    HOST, Lab, Where, XHOP, assert_one_line, assert_same, lab_by_each, lab_with, wait_until,
};

const ATTACHES: [&str; 2] = ["link", "netlink"];

/// Only the records, with what is in them.
fn records(lab: &Lab) -> Vec<String> {
    lab.own_files().lines().filter(|line| line.contains(".json")).map(String::from).collect()
}

#[test]
fn down_with_too_few_descriptors() {
    lab_by_each("down_with_too_few_descriptors", &[], |lab| {
        lab.pair();
        let before = lab.everything();
        let mut failed = 0;
        for (number, attach) in (5..=16).zip(ATTACHES.into_iter().cycle()) {
            lab.joins(&["a", "b", "--attach", attach]);
            // Hard and soft.
            let script = format!("ulimit -n {number} && exec '{XHOP}' down --all");
            let done = lab.run_in(Where::Own, &["sh", "-c", &script]);
            if !done.status.success() {
                assert_one_line(&done, &[]);
                failed += 1;
                lab.xhop(&["down", "--all"]).ok();
            }
            assert_same(&before, &lab.everything());
        }
        assert!(failed > 0, "none is too few");
    });
}

/// Runs xhop where no name leads to a namespace; no process lives in one either.
fn down_in_the_dark(lab: &Lab) -> lab::Output {
    let script = format!("mount -t tmpfs none /run/netns && exec '{XHOP}' down --all");
    lab.run_in(Where::Own, &["unshare", "-m", "sh", "-c", &script])
}

fn namespaces_that_are_hidden(name: &str, at: Where) {
    lab_with(name, &["unshare"], |lab| {
        lab.pair_at(at.clone());
        let before = lab.everything();
        let ways: [&[&str]; 4] = [
            &["--checksum", "offload-off"],
            &["--checksum", "trust"],
            &["--datapath", "tc", "--big-tcp"],
            &["--datapath", "generic"],
        ];
        // Generic changes nothing inside: who sees the host needs to see no more.
        let ways = if at == Where::Own { &ways[..3] } else { &ways };
        for (attach, how) in
            ATTACHES.into_iter().flat_map(|it| ways.iter().map(move |how| (it, how)))
        {
            lab.joins(&[&["a", "b", "--attach", attach], *how].concat());
            let joined = records(lab);
            assert_eq!(joined.len(), 2);
            for _ in 0..2 {
                assert_one_line(&down_in_the_dark(lab), &["veth-a", "/proc"]);
                assert_eq!(records(lab), joined, "{attach}");
            }
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

#[test]
fn containers_that_are_hidden() {
    namespaces_that_are_hidden("containers_that_are_hidden", Where::Own);
}

#[test]
fn a_bridge_that_is_hidden() {
    namespaces_that_are_hidden("a_bridge_that_is_hidden", HOST.into());
}

/// The only segment's folder of pins.
fn segment() -> PathBuf {
    let mut folders = fs::read_dir("/sys/fs/bpf/xhop").expect("our pins");
    folders.next().expect("a segment").expect("its folder").path()
}

fn lose_forward_pin(lab: &Lab, veth: &str) {
    let link = lab.json(HOST, &["ip", "-j", "link", "show", "dev", veth]);
    let pin = segment().join(link[0]["ifindex"].to_string()).join("forward");
    fs::remove_file(pin).expect("the pin");
}

/// The kernel lets go of a link some time after its last pin.
fn program_goes(lab: &Lab, veth: &str) {
    wait_until(Duration::from_secs(10), "the link goes with its pin", || {
        lab.programs_on(HOST, veth).is_empty()
    });
}

/// The pin held the link, and the link the program.
#[test]
fn the_pin_of_a_link() {
    lab_by_each("the_pin_of_a_link", &[], |lab| {
        lab.pair();
        let before = lab.everything();
        lab.joins(&["a", "b", "--attach", "link"]);
        lose_forward_pin(lab, "veth-b");
        program_goes(lab, "veth-b");
        assert_eq!(lab.state("netns:b"), "detached");
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

/// The program stays, and only the pin could tell that it is this one that xhop may take off.
#[test]
fn the_pin_of_a_program() {
    lab_by_each("the_pin_of_a_program", &[], |lab| {
        lab.pair();
        let before = lab.everything();
        lab.joins(&["a", "b", "--attach", "netlink"]);
        let joined = records(lab);
        lose_forward_pin(lab, "veth-b");
        let [on] = lab.programs_on(HOST, "veth-b")[..] else { panic!("it is still there") };
        assert_eq!([lab.state("netns:a"), lab.state("netns:b")], ["up", "unpinned"]);
        lab.pings("a", "10.9.0.3");
        let take_off = match lab.by() {
            "tc" => "tc filter del dev veth-b ingress pref 53248",
            "generic" => "ip link set veth-b xdpgeneric off",
            _ => "ip link set veth-b xdp off",
        };
        for _ in 0..2 {
            let done = lab.xhop(&["down", "b"]);
            assert_one_line(&done, &["veth-b", &on.to_string(), "pin is gone", take_off]);
            assert_eq!(lab.programs_on(HOST, "veth-b"), [on]);
            assert_eq!(records(lab), joined);
        }
        assert_one_line(&lab.xhop(&["down", "--all"]), &["veth-b", "pin is gone"]);
        assert_eq!(records(lab).len(), 1);
        // As it says.
        lab.ok_in(HOST, &take_off.split(' ').collect::<Vec<_>>());
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

/// Programs hold their maps, so they go on; but who comes later would get others.
fn maps_are_lost(name: &str, lose: impl Fn() + Send + Sync) {
    lab_by_each(name, &["ebtables"], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let before = lab.everything();
        for attach in ATTACHES {
            lab.joins(&["a", "b", "--attach", attach]);
            lose();
            lab.xhop(&["status"]).ok();
            lab.joins(&["a", "c", "--attach", attach]);
            assert_eq!(lab.members().len(), 3);
            for (one, other) in [(&pair.a, &pair.b), (&pair.a, &c), (&pair.b, &c)] {
                pair.bridge.is_bypassed(one, other);
            }
            // Lost again, with nothing made since.
            lose();
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

#[test]
fn the_pins_of_all_maps() {
    maps_are_lost("the_pins_of_all_maps", || {
        for map in ["endpoints4", "endpoints6", "ports"] {
            fs::remove_file(segment().join(map)).expect("a pin");
        }
    });
}

#[test]
fn the_pin_of_one_map() {
    maps_are_lost("the_pin_of_one_map", || {
        fs::remove_file(segment().join("endpoints6")).expect("a pin");
    });
}

/// With it go the links, and with them the programs.
#[test]
fn all_pins() {
    lab_by_each("all_pins", &["ebtables"], |lab| {
        let pair = lab.pair();
        let before = lab.everything();
        for again in [true, false] {
            lab.joins(&["a", "b", "--attach", "link"]);
            fs::remove_dir_all("/sys/fs/bpf/xhop").expect("our pins");
            program_goes(lab, "veth-a");
            program_goes(lab, "veth-b");
            if again {
                lab.joins(&["a", "b", "--attach", "link"]);
                pair.bridge.is_bypassed(&pair.a, &pair.b);
            }
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

#[test]
fn the_pin_of_the_counters() {
    lab_by_each("the_pin_of_the_counters", &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        let link = lab.json(HOST, &["ip", "-j", "link", "show", "dev", "veth-a"]);
        let pin = segment().join(link[0]["ifindex"].to_string()).join("stats");
        fs::remove_file(&pin).expect("the counters' pin");
        lab.joins(&["a", "b"]);
        let before = lab.counted("netns:a", "forwarded");
        pair.bridge.is_bypassed(&pair.a, &pair.b);
        assert!(lab.counted("netns:a", "forwarded") > before, "the new counters are used");
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.own_files(), "");
    });
}

/// Detaches the program of `veth` behind xhop's back; its pin stays.
fn detach(lab: &Lab, veth: &str) {
    let link = lab.json(HOST, &["ip", "-j", "link", "show", "dev", veth]);
    let pin = segment().join(link[0]["ifindex"].to_string()).join("forward");
    // bpftool knows no tcx yet.
    Link::open_pinned(&pin).expect("our link").detach().expect("detached");
    assert_eq!(lab.programs_on(HOST, veth), [0; 0]);
}

#[test]
fn a_link_that_is_detached() {
    lab_by_each("a_link_that_is_detached", &[], |lab| {
        let pair = lab.pair();
        let before = lab.everything();
        lab.joins(match lab.by() {
            "native" => &["a", "b", "--checksum", "offload-off"],
            "tc" => &["a", "b", "--attach", "link", "--big-tcp"],
            _ => &["a", "b", "--attach", "link"],
        });
        detach(lab, "veth-b");
        assert_eq!(lab.state("netns:b"), "detached");
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());

        // Made again as a whole, with what it has got since.
        lab.joins(&["a", "b"]);
        detach(lab, "veth-b");
        lab.ok_in("b", &["ip", "addr", "add", "10.9.0.33/24", "dev", "eth0"]);
        lab.joins(&["a", "b"]);
        assert_eq!(lab.state("netns:b"), "up");
        pair.bridge.is_bypassed(&pair.a, &pair.b);
        assert_eq!(lab.joins(&["a", "b"]), "nothing to do\n");
    });
}
