//! Each way to join, on the kernel that runs: either it carries what it should and leaves nothing behind, or
//! xhop refuses it in one line that says since when kernels have it. `tests/kernels.rs` runs this on others.

mod lab;

use lab::audit::{classifier, clean};
use lab::{Lab, Pair, assert_one_line, assert_same, lab_with};
use xhop::sys::bpf::{Map, Prog};
use xhop::sys::kernel;
use xhop_asm::programs::Shipped;
use xhop_asm::tag::MapRefs;

/// In each direction, by IPv4 and by IPv6.
const BULK: u64 = 1_000_000;

/// A way to join, and where it is to be had.
struct Feature {
    /// What `up` is told.
    args: &'static str,
    /// The kernel from which on it works.
    since: (u32, u32),
    /// What is said before.
    refusal: &'static str,
}

const TCX: &str = "tcx, from 6.6";
const FRAGS: &str = "from kernel 5.18 on";
const JUMBO: &str = "from 5.12 on";
const BIG_TCP: &str = "more from 6.3";

const fn always(args: &'static str) -> Feature {
    Feature { args, since: (0, 0), refusal: "" }
}

const fn since(since: (u32, u32), args: &'static str, refusal: &'static str) -> Feature {
    Feature { args, since, refusal }
}

const FEATURES: [Feature; 11] = [
    since((6, 6), "--datapath tc --attach link", TCX),
    always("--datapath tc --attach netlink"),
    since((6, 3), "--datapath tc --big-tcp", BIG_TCP),
    since((5, 12), "--datapath tc --jumbo", JUMBO),
    always("--checksum complete --attach link"),
    always("--checksum complete --attach netlink"),
    always("--checksum offload-off"),
    since((6, 6), "--checksum trust --attach link", TCX),
    always("--checksum trust --attach netlink"),
    since((5, 18), "--datapath generic --attach link", FRAGS),
    since((5, 18), "--datapath generic --attach netlink", FRAGS),
];

fn release() -> (u32, u32) {
    kernel::release().expect("uname")
}

/// One cell of the table: a line of its own, whatever libtest has printed before.
fn tell(feature: &str, cell: &str) {
    println!("\nfeature: {feature}: {cell}");
}

/// What two containers send each other arrives whole, by the direct way alone.
fn carries(lab: &Lab, pair: &Pair, args: &str) {
    pair.bridge.is_bypassed(&pair.a, &pair.b);
    let counted = || ["netns:a", "netns:b"].map(|name| lab.counted(name, "forwarded"));
    let (bridge, before) = (pair.bridge.forwarded(), counted());
    for address in [&pair.b.v4, &pair.b.v6] {
        lab.bulk("a", "b", address, BULK).unwrap_or_else(|e| panic!("{args}, {address}: {e}"));
    }
    assert_eq!(pair.bridge.forwarded(), bridge, "{args}: the bridge has seen some of it");
    let after = counted();
    assert!(after[0] > before[0] && after[1] > before[1], "{args}: {before:?}, {after:?}");
    for name in ["a", "b"] {
        assert_eq!(lab.counters(name).get("TcpInCsumErrors"), 0, "{args}: {name}");
    }
}

impl Feature {
    /// Joins, or is refused; the cell that tells which.
    fn tried(&self, lab: &Lab, pair: &Pair) -> String {
        let Self { args, since, refusal } = self;
        let words: Vec<&str> = ["up", "a", "b"].into_iter().chain(args.split(' ')).collect();
        let done = lab.xhop(&words);
        if release() < *since {
            assert_one_line(&done, &[refusal]);
            return format!("no: {}", done.stderr.trim_start_matches("xhop: ").trim());
        }
        done.ok();
        carries(lab, pair, args);
        clean(lab);
        lab.xhop(&["down", "--all"]).ok();
        "yes".into()
    }
}

#[test]
fn each_way_works_or_is_refused() {
    lab_with("each_way_works_or_is_refused", &["ebtables"], |lab| {
        let pair = lab.pair();
        let before = lab.everything();
        for feature in FEATURES {
            let cell = feature.tried(lab, &pair);
            assert_same(&before, &lab.everything());
            tell(feature.args, &cell);
        }
    });
}

#[test]
fn what_up_does_by_itself() {
    lab_with("what_up_does_by_itself", &[], |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b"]).ok();
        let attach = if release() >= (6, 6) { "link" } else { "netlink" };
        let member = lab.member("netns:a");
        assert_eq!([&member["datapath"], &member["attach"]], ["tc", attach]);
        tell("by itself", &format!("tc, {attach}"));
    });
}

/// Before 5.13 the container's end has a program of XDP by then, which is no reason to leave anything.
#[test]
fn trust_that_finds_its_place_taken() {
    lab_with("trust_that_finds_its_place_taken", &[], |lab| {
        lab.pair();
        classifier("foreign").pin("/sys/fs/bpf/foreign".as_ref()).expect("pinned");
        let ours = "prio 53248 handle 1 bpf direct-action object-pinned /sys/fs/bpf/foreign";
        for what in ["qdisc add dev eth0 clsact", &format!("filter add dev eth0 ingress {ours}")] {
            lab.ok_in("b", &[&["tc"], &what.split(' ').collect::<Vec<_>>()[..]].concat());
        }
        let up = ["up", "a", "b", "--checksum", "trust", "--attach", "netlink"];
        lab.refuses(&up, &["eth0", "priority 53248", "--attach link"]);
    });
}

/// The listed bytes themselves, or with descriptors in the place of the maps' numbers.
#[test]
fn how_maps_are_named() {
    lab_with("how_maps_are_named", &[], |_| {
        let program = Shipped::Peer.program().expect("assembles");
        let maps: Vec<Map> =
            program.maps().iter().map(|decl| Map::create(decl).expect("a map")).collect();
        let refs: Vec<&Map> = maps.iter().collect();
        let prog = Prog::load(Shipped::Peer, &refs).expect("loads");
        let (expected, cell) = match release() >= (5, 14) {
            true => (MapRefs::Index, "as listed"),
            false => (MapRefs::Patched, "maps patched in"),
        };
        assert_eq!(prog.map_refs(), Some(expected));
        tell("bytes", cell);
    });
}

#[test]
fn demo_and_frames() {
    lab_with("demo_and_frames", &[], |lab| {
        lab.xhop(&["demo"]).ok();
        tell("demo", "yes");
        let frames = ["bench", "--frames", "--rounds", "1"];
        if release() >= (5, 18) {
            lab.xhop(&frames).ok();
            return tell("bench --frames", "yes");
        }
        let line = lab.refuses(&frames, &["5.18"]);
        tell("bench --frames", &format!("no: {}", line.trim_start_matches("xhop: ").trim()));
    });
}
