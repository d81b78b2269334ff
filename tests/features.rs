//! Each way to join, on the kernel that runs: either it carries what it should and leaves nothing behind, or
//! xhop refuses it in one line that says since when kernels have it. `tests/kernels.rs` runs this on others.

mod lab;

use lab::audit::clean;
use lab::{Lab, Pair, assert_same, lab_with};
use xhop::sys::bpf::{Map, Prog, has_tcx};
use xhop::sys::kernel;
use xhop_asm::programs::Shipped;
use xhop_asm::tag::MapRefs;

/// In each direction, by IPv4 and by IPv6.
const BULK: u64 = 4_000_000;

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
const BIG_TCP: &str = "more from 6.3";

const fn always(args: &'static str) -> Feature {
    Feature { args, since: (0, 0), refusal: "" }
}

const fn since(since: (u32, u32), args: &'static str, refusal: &'static str) -> Feature {
    Feature { args, since, refusal }
}

const FEATURES: [Feature; 13] = [
    since((6, 6), "--datapath tc --attach link", TCX),
    always("--datapath tc --attach netlink"),
    since((6, 3), "--datapath tc --big-tcp", BIG_TCP),
    always("--datapath tc --jumbo"),
    always("--checksum complete --attach link"),
    always("--checksum complete --attach netlink"),
    always("--checksum offload-off"),
    since((6, 6), "--checksum trust --attach link", TCX),
    always("--checksum trust --attach netlink"),
    since((6, 3), "--datapath native --big-tcp", BIG_TCP),
    since((5, 18), "--datapath generic --attach link", FRAGS),
    since((5, 18), "--datapath generic --attach netlink", FRAGS),
    always(""),
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

#[test]
fn each_way_works_or_is_refused() {
    lab_with("each_way_works_or_is_refused", &["ebtables"], |lab| {
        let pair = lab.pair();
        let before = lab.everything();
        for Feature { args, since, refusal } in FEATURES {
            let words: Vec<&str> =
                ["up", "a", "b"].into_iter().chain(args.split_whitespace()).collect();
            if release() < since {
                let line = lab.refuses(&words, &[refusal]);
                tell(args, &format!("no: {}", line.trim_start_matches("xhop: ").trim()));
                continue;
            }
            lab.xhop(&words).ok();
            carries(lab, &pair, args);
            clean(lab);
            // As told, or as xhop itself has chosen.
            let member = lab.member("netns:a");
            let (datapath, attach) = (&member["datapath"], &member["attach"]);
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
            match args {
                "" => {
                    let tcx = if has_tcx() { "link" } else { "netlink" };
                    assert_eq!((datapath.as_str(), attach.as_str()), (Some("tc"), Some(tcx)));
                    tell("by itself", &format!("tc, {tcx}"));
                }
                _ => tell(args, "yes"),
            }
        }
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
