//! `down` gives everything back as it was found; `--dry-run` takes nothing.

mod lab;

use std::fs;

use lab::{HOST, Lab, Where, assert_same, lab, lab_by, lab_by_each};
use xhop::sys::bpf::XdpMode;
use xhop::sys::bpffs::is_bpffs;

/// All ways to join, but how to attach.
const JOINS: [&[&str]; 8] = [
    &["--checksum", "complete"],
    &["--datapath", "tc"],
    &["--checksum", "trust"],
    &["--datapath", "generic"],
    &["--checksum", "none"],
    &["--datapath", "tc", "--big-tcp"],
    &["--datapath", "tc", "--big-tcp=off", "--jumbo"],
    &["--checksum", "offload-off"],
];
/// The program on the host's end by each of them.
const PROGRAMS: [&str; 8] =
    ["forward+complete", "peer", "forward", "forward+frags", "forward", "peer", "peer", "forward"];
const ATTACHES: [&str; 2] = ["link", "netlink"];

/// Joins and takes back; while joined, something must differ.
fn there_and_back(lab: &Lab, up: &[&str], downs: &[&[&str]]) {
    let before = lab.everything();
    lab.joins(&[&["a", "b"], up].concat());
    assert_ne!(before, lab.everything(), "{up:?}");
    lab.pings("a", "10.9.0.3");
    for down in downs {
        lab.xhop(&[&["down"], *down].concat()).ok();
    }
    assert_same(&before, &lab.everything());
    lab.pings("a", "10.9.0.3");
}

#[test]
fn after_each_way() {
    lab("after_each_way", |lab| {
        lab.pair();
        for join in JOINS {
            for attach in ATTACHES {
                there_and_back(lab, &[join, &["--attach", attach]].concat(), &[&["--all"]]);
            }
        }
    });
}

#[test]
fn one_after_the_other() {
    lab("one_after_the_other", |lab| {
        lab.pair_at(Where::Own);
        for (join, attach) in JOINS.into_iter().zip(ATTACHES.into_iter().cycle()) {
            let up = [join, &["--attach", attach]].concat();
            there_and_back(lab, &up, &[&["netns:a"], &["netns:b"]]);
            there_and_back(lab, &up, &[&["veth:veth-b"], &["a"]]);
            there_and_back(lab, &up, &[&["a", "b"]]);
        }
    });
}

#[test]
fn what_was_set_before_stays_set() {
    lab("what_was_set_before_stays_set", |lab| {
        lab.pair();
        lab.ok_in("a", &["ethtool", "-K", "eth0", "gro", "on", "tx", "off"]);
        lab.ok_in("b", &["ethtool", "-K", "eth0", "gro", "off"]);
        // Sizes too: of one end only, so that it can't be by chance. A bridge's follows, until it is
        // set by hand.
        lab.ok_in(HOST, &["ip", "link", "set", "veth-a", "mtu", "2000"]);
        lab.ok_in("b", &["ip", "link", "set", "eth0", "mtu", "1400"]);
        for join in JOINS {
            there_and_back(lab, join, &[&["--all"]]);
        }
        // Through several ways, what was found first is what comes back.
        let before = lab.everything();
        let netlink = |join: &[&'static str]| [join, &["--attach", "netlink"]].concat();
        let link = JOINS.iter().map(|join| join.to_vec());
        for join in link.clone().chain(JOINS.iter().map(|join| netlink(join))).chain(link.rev()) {
            lab.joins(&[&["a", "b"], &join[..]].concat());
            lab.pings("a", "10.9.0.3");
        }
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn a_containers_own_program_stays() {
    lab_by_each("a_containers_own_program_stays", &[], |lab| {
        lab.pair();
        let id = lab.attach_foreign("a", "eth0", XdpMode::Native);
        let on = lab.xdp_on("a", "eth0");
        assert_eq!(on.map(|(id, _)| id), Some(u64::from(id)));
        let refused: &[&str] = match lab.by() {
            "tc" => &["eth0", "native XDP", "tc goes round", "--datapath native"],
            "generic" => &["veth-a", "native XDP", "--datapath native"],
            _ => &[],
        };
        if !refused.is_empty() {
            lab.refuses(&lab.up_args(&["a", "b"]), refused);
        }
        if !lab.is_by("generic") {
            let force: &[&str] = if refused.is_empty() { &[] } else { &["--force"] };
            there_and_back(lab, force, &[&["--all"]]);
            lab.joins(&[&["a", "b"], force].concat());
        }
        assert_eq!(lab.xdp_on("a", "eth0"), on);
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    lab("a_dry_run_changes_nothing", |lab| {
        lab.pair();
        let before = lab.everything();
        let said = lab.xhop(&["up", "a", "b", "--checksum", "offload-off", "--dry-run"]).ok();
        for word in ["tx-checksum-ip-generic off", "attach forward", "10.9.0.3", "fd09::2"] {
            assert!(said.contains(word), "{word} is not in:\n{said}");
        }
        assert!(said.lines().all(|line| line.starts_with("would ")), "{said}");
        assert_same(&before, &lab.everything());

        for (join, program) in JOINS.into_iter().zip(PROGRAMS) {
            lab.joins(&[&["a", "b"], join].concat());
            let joined = lab.everything();
            let said = lab.xhop(&["down", "--all", "--dry-run"]).ok();
            assert!(said.contains(&format!("detach {program} from veth-a")), "{join:?}: {said}");
            for other in JOINS {
                lab.joins(&[&["a", "b", "--dry-run"], other].concat());
            }
            assert_same(&joined, &lab.everything());
        }
    });
}

#[test]
fn a_foreign_program_is_put_back() {
    for by in ["native", "generic"] {
        lab_by("a_foreign_program_is_put_back", &[], by, foreign_is_put_back);
    }
}

fn foreign_is_put_back(lab: &Lab) {
    lab.pair();
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let id = lab.attach_foreign(HOST, "veth-b", mode);
        let found = lab.xdp_on(HOST, "veth-b");
        assert_eq!(found.map(|(id, _)| id), Some(u64::from(id)));
        lab.refuses(&lab.up_args(&["a", "b"]), &["veth-b", &id.to_string(), "--force"]);
        for attach in ATTACHES {
            there_and_back(lab, &["--force", "--attach", attach], &[&["--all"]]);
            assert_eq!(lab.xdp_on(HOST, "veth-b"), found);
        }
        lab.joins(&["a", "b", "--force"]);
        assert_ne!(lab.xdp_on(HOST, "veth-b"), found);
        // Once replaced, it needs no second --force, and other ways forget it not.
        assert_eq!(lab.joins(&["a", "b"]), "nothing to do\n");
        for join in JOINS.into_iter().filter(|join| !join.contains(&"tc")) {
            lab.xhop(&[&["up", "a", "b"], join].concat()).ok();
            assert_ne!(lab.xdp_on(HOST, "veth-b"), found, "{join:?}");
        }
        lab.xhop(&["down", "b"]).ok();
        assert_eq!(lab.xdp_on(HOST, "veth-b"), found);
        lab.xhop(&["down", "--all"]).ok();
        for off in ["xdpdrv", "xdpgeneric"] {
            lab.ok_in(HOST, &["ip", "link", "set", "veth-b", off, "off"]);
        }
    }
}

#[test]
fn a_foreign_link_is_never_replaced() {
    for by in ["native", "generic"] {
        lab_by("a_foreign_link_is_never_replaced", &[], by, foreign_link_stays);
    }
}

fn foreign_link_stays(lab: &Lab) {
    lab.pair();
    let link = lab.link_foreign(HOST, "veth-a");
    let id = link.info().expect("its id").id.to_string();
    lab.refuses(&lab.up_args(&["a", "b"]), &["veth-a", "bpf_link", &id]);
    let force = lab.up_args(&["a", "b", "--force"]);
    lab.refuses(&force, &["veth-a", "bpf_link", &id, "detach"]);
    drop(link);
    lab.joins(&["a", "b"]);
}

#[test]
fn bpffs_is_mounted_and_unmounted() {
    lab_by_each("bpffs_is_mounted_and_unmounted", &[], |lab| {
        lab.pair();
        lab.ok_in(Where::Own, &["umount", "/sys/fs/bpf"]);
        let mounts = || {
            let all = lab.ok_in(Where::Own, &["cat", "/proc/thread-self/mountinfo"]);
            all.lines().filter(|line| line.contains("/sys/fs/bpf")).count()
        };
        // The machine's own is still listed, below the laboratory's /sys.
        let hidden = mounts();
        let is_mounted = || is_bpffs("/sys/fs/bpf".as_ref()).expect("statfs");
        assert!(!is_mounted());
        there_and_back(lab, &[], &[&["--all"]]);
        assert_eq!((is_mounted(), mounts()), (false, hidden));
        // Where somebody else has pinned something meanwhile, it stays.
        lab.joins(&["a", "b"]);
        assert_eq!((is_mounted(), mounts()), (true, hidden + 1));
        lab.pin_foreign("/sys/fs/bpf/foreign".as_ref());
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!((is_mounted(), mounts()), (true, hidden + 1));
        assert!(fs::exists("/sys/fs/bpf/foreign").expect("a look"));
        assert!(!fs::exists("/sys/fs/bpf/xhop").expect("a look"));
    });
}

#[test]
fn down_of_nothing_is_nothing() {
    lab("down_of_nothing_is_nothing", |lab| {
        lab.pair();
        let before = lab.everything();
        assert_eq!(lab.xhop(&["down", "--all"]).ok(), "nothing to do\n");
        assert_same(&before, &lab.everything());
    });
}
