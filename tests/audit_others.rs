//! `audit`: who else has BPF where ours is, on the interfaces, in the maps, in the folder of pins.

mod lab;

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use lab::audit::{
    SHIPPED, WAYS, Way, caught, classifier, clean, index, load_raw, maps, member, rtnl, running,
    segment,
};
use lab::raw::{self, Raw};
use lab::{HOST, lab, not_tried};
use serde_json::Value;
use xhop::sys::bpf::{Link, Map, Prog, XdpMode};
use xhop_asm::ByteOrder;
use xhop_asm::programs::Shipped;

/// What was there before, on the user's word, is kept aside.
#[test]
fn a_kept_program_is_no_deviation() {
    lab("a_kept_program_is_no_deviation", |lab| {
        lab.pair();
        lab.attach_foreign(HOST, "veth-b", XdpMode::Native);
        lab.xhop(&["up", "a", "b", "--datapath", "native", "--force"]).ok();
        clean(lab);
        // `down` would put back another.
        let pin = member(lab, "veth-b").join("foreign");
        fs::remove_file(&pin).expect("the kept program");
        lab.pin_foreign(&pin);
        caught(lab, &[("pins", "foreign holds program")]);
    });
}

#[test]
fn a_filter_of_tc() {
    lab("a_filter_of_tc", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        classifier("spy").pin(Path::new("/sys/fs/bpf/spy")).expect("pinned");
        let object = ["object-pinned", "/sys/fs/bpf/spy"];
        for (at, ifname) in [(HOST, "veth-a"), ("b", "eth0")] {
            lab.ok_in(at, &["tc", "qdisc", "add", "dev", ifname, "clsact"]);
            clean(lab);
            for hook in ["ingress", "egress"] {
                let add = ["tc", "filter", "add", "dev", ifname, hook];
                lab.ok_in(at, &[&add[..], &["bpf", "direct-action"], &object].concat());
                caught(lab, &[("others", &format!("tc {hook}: program"))]);
                lab.ok_in(at, &["tc", "filter", "del", "dev", ifname, hook]);
                clean(lab);
            }
        }
        // On a qdisc for what goes out.
        let qdisc = ["htb", "prio", "fq_codel"].into_iter().find(|kind| {
            let add = ["tc", "qdisc", "add", "dev", "veth-b", "root", "handle", "7:", kind];
            lab.run_in(HOST, &add).status.success()
        });
        if qdisc.is_none() {
            return not_tried("a_filter_of_tc: another qdisc", "the kernel has none with filters");
        }
        let add = ["tc", "filter", "add", "dev", "veth-b", "parent", "7:"];
        lab.ok_in(HOST, &[&add[..], &["bpf"], &object].concat());
        caught(lab, &[("others", "tc 7:0: program")]);
        // On a class of it, which has filters of its own.
        let class = ["tc", "class", "add", "dev", "veth-b", "parent", "7:", "classid", "7:1"];
        let class = [&class[..], &["htb", "rate", "1gbit"]].concat();
        match qdisc {
            Some("htb") => {
                lab.ok_in(HOST, &class);
                let add = ["tc", "filter", "add", "dev", "veth-b", "parent", "7:1", "bpf"];
                lab.ok_in(HOST, &[&add[..], &object].concat());
                caught(lab, &[("others", "tc 7:0: program"), ("others", "tc 7:1: program")]);
                lab.ok_in(HOST, &["tc", "filter", "del", "dev", "veth-b", "parent", "7:1"]);
            }
            _ => not_tried("a_filter_of_tc: a class", "the kernel has no htb"),
        }
        // And as an action of it.
        let add = [&add[..], &["prio", "1", "bpf"], &object, &["action", "bpf"], &object].concat();
        match lab.run_in(HOST, &add) {
            done if done.status.success() => {
                caught(
                    lab,
                    &[("others", "tc 7:0: "), ("others", "tc 7:0: "), ("others", "tc 7:0: ")],
                );
            }
            done => not_tried("a_filter_of_tc: actions", done.stderr.lines().next().unwrap_or("")),
        }
    });
}

#[test]
fn a_program_of_tcx() {
    strangers_of_tcx(&WAYS[0]);
}

/// They stand beside ours.
#[test]
fn strangers_beside_ours_in_tc() {
    for way in &WAYS[2..] {
        strangers_of_tcx(way);
    }
    lab("strangers_beside_ours_in_tc", |lab| {
        lab.pair();
        WAYS[3].join(lab);
        classifier("spy").pin(Path::new("/sys/fs/bpf/spy")).expect("pinned");
        for hook in ["ingress", "egress"] {
            let at = ["dev", "veth-a", hook, "pref", "1"];
            let program = ["bpf", "direct-action", "object-pinned", "/sys/fs/bpf/spy"];
            lab.ok_in(HOST, &[&["tc", "filter", "add"][..], &at, &program].concat());
            caught(lab, &[("others", &format!("tc {hook}: program"))]);
            lab.ok_in(HOST, &[&["tc", "filter", "del"][..], &at].concat());
            clean(lab);
        }
        // Our own, once more.
        let pin = member(lab, "veth-a").join("forward");
        let ours = ["bpf", "direct-action", "object-pinned", pin.to_str().expect("UTF-8")];
        for hook in ["ingress", "egress"] {
            let at = ["dev", "veth-a", hook, "pref", "1"];
            lab.ok_in(HOST, &[&["tc", "filter", "add"][..], &at, &ours].concat());
            caught(lab, &[("others", "(xhop_peer, tag ")]);
            lab.ok_in(HOST, &[&["tc", "filter", "del"][..], &at].concat());
        }
        let add = ["ip", "link", "add", "more0", "type", "veth", "peer", "name", "more1"];
        lab.ok_in(HOST, &add);
        let _twice = WAYS[3].link(lab, &running(lab, "veth-a"), index(lab, HOST, "more0"));
        caught(lab, &[("elsewhere", " more0 of net:[")]);
    });
}

#[test]
fn xdp_on_the_hosts_end_of_tc() {
    lab("xdp_on_the_hosts_end_of_tc", |lab| {
        lab.pair();
        WAYS[2].join(lab);
        for (mode, name) in [(XdpMode::Generic, "generic XDP"), (XdpMode::Native, "native XDP")] {
            lab.attach_foreign(HOST, "veth-b", mode);
            caught(lab, &[("others", name)]);
            let off = if mode == XdpMode::Native { "xdpdrv" } else { "xdpgeneric" };
            lab.ok_in(HOST, &["ip", "link", "set", "veth-b", off, "off"]);
        }
        clean(lab);
    });
}

fn strangers_of_tcx(way: &Way) {
    lab("a_program_of_tcx", |lab| {
        lab.pair();
        way.join(lab);
        let spy = classifier("spy");
        for (at, ifname) in [(HOST, "veth-b"), ("a", "eth0")] {
            for (hook, name) in [(raw::TCX_INGRESS, "tcx ingress"), (raw::TCX_EGRESS, "tcx egress")]
            {
                let index = index(lab, at, ifname);
                let link = match lab.in_netns(at, || raw::link(&spy, index, hook)) {
                    Ok(link) => link,
                    Err(error) => return not_tried("a_program_of_tcx", &error.to_string()),
                };
                caught(lab, &[("others", name)]);
                drop(link);
            }
        }
        clean(lab);
    });
}

/// On the container's end, where ours is not needed, and where it is.
#[test]
fn xdp_in_the_container() {
    lab("xdp_in_the_container", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        for (mode, name) in [(XdpMode::Generic, "generic XDP"), (XdpMode::Native, "native XDP")] {
            lab.attach_foreign("b", "eth0", mode);
            caught(lab, &[("others", name)]);
            let off = if mode == XdpMode::Native { "xdpdrv" } else { "xdpgeneric" };
            lab.ok_in("b", &["ip", "link", "set", "eth0", off, "off"]);
        }
        clean(lab);
        // As where GRO can't make it poll.
        let pin = member(lab, "veth-b").join("pass");
        let index = index(lab, "b", "eth0");
        let pass = Prog::load(Shipped::Pass, &[]).expect("loads");
        let link = || Link::create_xdp(&pass, index, XdpMode::Native).expect("attached");
        let link = lab.in_netns("b", link);
        link.pin(&pin).expect("pinned");
        caught(lab, &[("others", "(xhop_pass, tag "), ("pins", "/pass belongs to no record")]);
        edit_record("netns:b", |record| record["readiness"] = "pass".into());
        assert!(clean(lab).contains("pass on eth0"));
        link.detach().expect("detached");
        caught(lab, &[("attached", "nothing runs on eth0")]);
    });
}

/// Writes another record for the member of this name.
fn edit_record(name: &str, edit: impl Fn(&mut Value)) {
    for entry in fs::read_dir("/run/xhop").expect("records") {
        let path = entry.expect("a record").path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let mut record: Value = serde_json::from_str(&text).expect("a record");
        if record["name"] == name {
            edit(&mut record);
            fs::write(&path, record.to_string()).expect("written");
        }
    }
}

#[test]
fn an_impostor() {
    lab("an_impostor", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        // By our name, with maps of its own: told, and no more than that.
        let program = SHIPPED.program().expect("assembles");
        let own: Vec<Map> =
            program.maps().iter().map(|decl| Map::create(decl).expect("a map")).collect();
        let impostor = load_raw(SHIPPED, &program.bytes(ByteOrder::NATIVE), &own);
        let id = impostor.info().expect("info").id;
        let note = format!("note: program {id} (xhop_forward_co, tag ");
        assert!(clean(lab).contains(&note));
        // On a port of the bridge.
        rtnl(lab, HOST, |rtnl| {
            let index = rtnl.link("veth-c").expect("links").expect("the veth").ifindex;
            rtnl.set_xdp(index, Some(&impostor), XdpMode::Native, None).expect("put on");
        });
        caught(lab, &[("elsewhere", ", port of br0")]);
        lab.ok_in(HOST, &["ip", "link", "set", "veth-c", "xdp", "off"]);
        clean(lab);
        // With our maps, wherever it runs.
        let spy =
            load_raw(SHIPPED, &program.bytes(ByteOrder::NATIVE), &maps(lab, "veth-a", &program));
        caught(lab, &[("map users", &format!("program {} ", spy.info().expect("info").id))]);
    });
}

#[test]
fn a_strangers_pin() {
    lab("a_strangers_pin", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        lab.pin_foreign(&segment().join("endpoints5"));
        caught(lab, &[("pins", "endpoints5 belongs to no record")]);
    });
}

/// `return 0`
const ZERO: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// It can't be seen on the interface, and not in the program.
#[test]
fn a_tracer() {
    lab("a_tracer", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        let running = lab.xdp_on(HOST, "veth-a").expect("ours").0;
        let ours = Prog::by_id(running.try_into().expect("an id")).expect("ours");
        let tracer = raw::load(&Raw {
            kind: raw::TRACING,
            name: "tracer",
            insns: &ZERO,
            expected_attach_type: raw::TRACE_FENTRY,
            // After INT and FUNC_PROTO.
            attach_btf_id: 3,
            attach_prog: Some(ours.as_fd()),
            ..Raw::default()
        });
        let _tracer = match tracer {
            Ok(tracer) => tracer,
            Err(error) => return not_tried("a_tracer", error.trim()),
        };
        caught(lab, &[("tracers", "(tracer, tag ")]);
    });
}
