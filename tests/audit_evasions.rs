//! `audit`: what somebody with root might do so that it looks elsewhere.

mod lab;

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lab::audit::{audited, caught, clean, member, rtnl, segment};
use lab::raw::{self, Raw};
use lab::{HOST, Where, lab, not_tried};
use xhop::sys::bpf::{Prog, XdpMode};
use xhop::sys::kernel;

/// `return 0`
const ZERO: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Once it is attached, the kernel no longer says by the program what that traces.
#[test]
fn a_tracer_that_is_attached() {
    lab("a_tracer_that_is_attached", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        let running = lab.xdp_on(HOST, "veth-a").expect("ours").0;
        let ours = Prog::by_id(running.try_into().expect("an id")).expect("ours");
        for (kind, name, expected_attach_type) in
            [(raw::TRACING, "tracer", raw::TRACE_FENTRY), (raw::EXT, "instead", 0)]
        {
            let tracer = raw::load(&Raw {
                kind,
                name,
                insns: &ZERO,
                expected_attach_type,
                attach_btf_id: 3,
                attach_prog: Some(ours.as_fd()),
                ..Raw::default()
            });
            let tracer = match tracer {
                Ok(tracer) => tracer,
                Err(error) => {
                    not_tried(&format!("a_tracer_that_is_attached: {name}"), error.trim());
                    continue;
                }
            };
            let link = raw::attach(&tracer).expect("attached");
            drop(tracer);
            let (_, findings) = audited(lab, 1);
            let found = findings[0]["found"].as_str().expect("what was found");
            assert_eq!((findings.len(), &findings[0]["check"]), (1, &"tracers".into()));
            assert!(found.contains(&format!("({name}, tag ")), "{found}");
            // Before, the kernel does not say what is traced.
            let told = kernel::release().expect("uname") >= (5, 13);
            assert_eq!(findings[0]["verdict"], if told { "deviates" } else { "unknown" });
            drop(link);
            clean(lab);
        }
    });
}

/// Without records, what is pinned is still there.
#[test]
fn the_records_removed() {
    lab("the_records_removed", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        for entry in fs::read_dir("/run/xhop").expect("records") {
            let path = entry.expect("a record").path();
            fs::remove_file(path).expect("removed");
        }
        let (_, findings) = audited(lab, 1);
        assert!(findings.iter().all(|finding| finding["check"] == "pins"), "{findings:?}");
        // The maps that are shared, counters and a link of each.
        assert!(findings.len() >= 7, "{findings:?}");
    });
}

/// Our own program, where nobody asked for it.
#[test]
fn attached_once_more() {
    lab("attached_once_more", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        let running = lab.xdp_on(HOST, "veth-a").expect("ours").0;
        let ours = Prog::by_id(running.try_into().expect("an id")).expect("ours");
        for at in [Where::Own, HOST.into(), "a".into()] {
            let add = ["ip", "link", "add", "more0", "type", "veth", "peer", "name", "more1"];
            lab.ok_in(at.clone(), &add);
            rtnl(lab, at.clone(), |rtnl| {
                let index = rtnl.link("more0").expect("links").expect("the veth").ifindex;
                rtnl.set_xdp(index, Some(&ours), XdpMode::Generic, None).expect("put on");
            });
            caught(lab, &[("elsewhere", " more0")]);
            lab.ok_in(at, &["ip", "link", "del", "more0"]);
            clean(lab);
        }
    });
}

#[test]
fn pins_that_lead_elsewhere() {
    lab("pins_that_lead_elsewhere", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        for pin in [member(lab, "veth-a").join("forward"), segment().join("ports")] {
            let aside = Path::new("/sys/fs/bpf/aside");
            fs::rename(&pin, aside).expect("moved");
            symlink(aside, &pin).expect("a symlink");
            caught(lab, &[("pins", "is a symlink")]);
            fs::remove_file(&pin).expect("removed");
            fs::rename(aside, &pin).expect("moved back");
            clean(lab);
        }
    });
}

#[test]
fn folders_that_others_may_write_to() {
    lab("folders_that_others_may_write_to", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        for folder in [member(lab, "veth-b"), segment(), "/run/xhop".into()] {
            let set = |mode| {
                fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("set");
            };
            set(0o777);
            caught(lab, &[("pins", &folder.display().to_string())]);
            set(0o700);
            clean(lab);
        }
    });
}

/// Where the container's end is now, not where the record says.
#[test]
fn the_containers_end_moved() {
    lab("the_containers_end_moved", |lab| {
        lab.pair();
        lab.netns("elsewhere");
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        lab.ok_in("b", &["ip", "link", "set", "eth0", "netns", "elsewhere"]);
        lab.ok_in("elsewhere", &["ip", "link", "set", "eth0", "up"]);
        caught(lab, &[("place", "eth0 of net:[")]);
        lab.attach_foreign("elsewhere", "eth0", XdpMode::Native);
        caught(lab, &[("place", ", not eth0 of net:["), ("others", "native XDP: program ")]);
    });
}
