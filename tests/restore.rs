//! `down` gives everything back as it was found; `--dry-run` takes nothing.

mod lab;

use std::fs;

use lab::{HOST, Lab, Where, assert_same, lab};
use xhop::sys::bpf::XdpMode;

const WAYS: [&str; 3] = ["complete", "offload-off", "none"];
const ATTACHES: [&str; 2] = ["link", "netlink"];

/// Joins and takes back; while joined, something must differ.
fn there_and_back(lab: &Lab, up: &[&str], downs: &[&[&str]]) {
    let before = lab.everything();
    lab.xhop(&[&["up", "a", "b"], up].concat()).ok();
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
        for way in WAYS {
            for attach in ATTACHES {
                let up = ["--checksum", way, "--attach", attach];
                there_and_back(lab, &up, &[&["--all"]]);
            }
        }
    });
}

#[test]
fn one_after_the_other() {
    lab("one_after_the_other", |lab| {
        lab.pair_at(Where::Own);
        for attach in ATTACHES {
            let up = ["--checksum", "offload-off", "--attach", attach];
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
        for way in WAYS {
            there_and_back(lab, &["--checksum", way], &[&["--all"]]);
        }
        // Through several ways, what was found first is what comes back.
        let before = lab.everything();
        for way in ["offload-off", "complete", "none", "offload-off"] {
            lab.xhop(&["up", "a", "b", "--checksum", way]).ok();
        }
        lab.xhop(&["up", "a", "b", "--attach", "netlink"]).ok();
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn a_containers_own_program_stays() {
    lab("a_containers_own_program_stays", |lab| {
        lab.pair();
        let id = lab.attach_foreign("a", "eth0", XdpMode::Native);
        let on = lab.xdp_on("a", "eth0");
        assert_eq!(on.map(|(id, _)| id), Some(u64::from(id)));
        there_and_back(lab, &[], &[&["--all"]]);
        lab.xhop(&["up", "a", "b"]).ok();
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

        lab.xhop(&["up", "a", "b"]).ok();
        let joined = lab.everything();
        let said = lab.xhop(&["down", "--all", "--dry-run"]).ok();
        assert!(said.contains("detach forward from veth-a"), "{said}");
        lab.xhop(&["up", "a", "b", "--checksum", "none", "--dry-run"]).ok();
        assert_same(&joined, &lab.everything());
    });
}

#[test]
fn a_foreign_program_is_put_back() {
    lab("a_foreign_program_is_put_back", |lab| {
        lab.pair();
        for mode in [XdpMode::Native, XdpMode::Generic] {
            let id = lab.attach_foreign(HOST, "veth-b", mode);
            let found = lab.xdp_on(HOST, "veth-b");
            assert_eq!(found.map(|(id, _)| id), Some(u64::from(id)));
            lab.refuses(&["up", "a", "b"], &["veth-b", &id.to_string(), "--force"]);
            for attach in ATTACHES {
                there_and_back(lab, &["--force", "--attach", attach], &[&["--all"]]);
                assert_eq!(lab.xdp_on(HOST, "veth-b"), found);
            }
            lab.xhop(&["up", "a", "b", "--force"]).ok();
            assert_ne!(lab.xdp_on(HOST, "veth-b"), found);
            // Once replaced, it needs no second --force, and other ways forget it not.
            assert_eq!(lab.xhop(&["up", "a", "b"]).ok(), "nothing to do\n");
            lab.xhop(&["up", "a", "b", "--checksum", "none"]).ok();
            lab.xhop(&["down", "b"]).ok();
            assert_eq!(lab.xdp_on(HOST, "veth-b"), found);
            lab.xhop(&["down", "--all"]).ok();
            for off in ["xdpdrv", "xdpgeneric"] {
                lab.ok_in(HOST, &["ip", "link", "set", "veth-b", off, "off"]);
            }
        }
    });
}

#[test]
fn a_foreign_link_is_never_replaced() {
    lab("a_foreign_link_is_never_replaced", |lab| {
        lab.pair();
        let link = lab.link_foreign(HOST, "veth-a");
        let id = link.info().expect("its id").id.to_string();
        lab.refuses(&["up", "a", "b"], &["veth-a", "bpf_link", &id]);
        lab.refuses(&["up", "a", "b", "--force"], &["veth-a", "bpf_link", &id, "detach"]);
        drop(link);
        lab.xhop(&["up", "a", "b"]).ok();
    });
}

#[test]
fn bpffs_is_mounted_and_unmounted() {
    lab("bpffs_is_mounted_and_unmounted", |lab| {
        lab.pair();
        lab.ok_in(Where::Own, &["umount", "/sys/fs/bpf"]);
        let mounts = || {
            let all = lab.ok_in(Where::Own, &["cat", "/proc/thread-self/mountinfo"]);
            all.lines().filter(|line| line.contains("/sys/fs/bpf")).count()
        };
        assert_eq!(mounts(), 0);
        there_and_back(lab, &[], &[&["--all"]]);
        assert_eq!(mounts(), 0);
        // Where somebody else has pinned something meanwhile, it stays.
        lab.xhop(&["up", "a", "b"]).ok();
        assert_eq!(mounts(), 1);
        lab.pin_foreign("/sys/fs/bpf/foreign".as_ref());
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(mounts(), 1);
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
