//! `xhop audit`, and how to put things where they do not belong, as somebody with root would.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use serde_json::Value;
use xhop::sys::bpf::{Link, Map, Prog, TcxHook, XdpMode};
use xhop::sys::netlink::Rtnl;
use xhop::sys::netns::Netns;
use xhop_asm::programs::{Checksum, Shipped};
use xhop_asm::{MapDecl, Program};

use super::raw::{self, Raw};
use super::{HOST, Lab, Output, Where};

/// What runs on the host sides.
pub const SHIPPED: Shipped = Shipped::Forward(Checksum::Complete);

/// The only segment's folder of pins.
pub fn segment() -> PathBuf {
    let mut folders = fs::read_dir("/sys/fs/bpf/xhop").expect("our pins");
    folders.next().expect("a segment").expect("its folder").path()
}

/// Where an interface is: its index.
pub fn index(lab: &Lab, at: &str, ifname: &str) -> u32 {
    let link = lab.json(at, &["ip", "-j", "link", "show", "dev", ifname]);
    link[0]["ifindex"].as_u64().and_then(|index| index.try_into().ok()).expect("an index")
}

/// The pins of the member whose host side this is.
pub fn member(lab: &Lab, veth: &str) -> PathBuf {
    segment().join(index(lab, HOST, veth).to_string())
}

/// The maps that `veth`'s program uses, by the order of its declarations.
pub fn maps(lab: &Lab, veth: &str, program: &Program) -> Vec<Map> {
    let pin = |decl: &MapDecl| match decl.name {
        "stats" => member(lab, veth).join("stats"),
        name => segment().join(name),
    };
    program.maps().iter().map(|decl| Map::open_pinned(&pin(decl)).expect("a pinned map")).collect()
}

/// How a pair is joined, and what runs on the host sides then.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub datapath: &'static str,
    pub attach: &'static str,
    pub shipped: Shipped,
}

pub const WAYS: [Way; 4] = [
    Way { datapath: "native", attach: "link", shipped: SHIPPED },
    Way { datapath: "native", attach: "netlink", shipped: SHIPPED },
    Way { datapath: "tc", attach: "link", shipped: Shipped::Peer },
    Way { datapath: "tc", attach: "netlink", shipped: Shipped::Peer },
];

impl Way {
    /// Joins a and b, and finds all as it should be.
    pub fn join(&self, lab: &Lab) {
        lab.xhop(&["up", "a", "b", "--datapath", self.datapath, "--attach", self.attach]).ok();
        clean(lab);
    }

    pub fn is_tc(&self) -> bool {
        self.datapath == "tc"
    }

    pub fn program(&self) -> Program {
        self.shipped.program().expect("assembles")
    }

    /// Puts a program in the place of ours, as somebody with root would: by our own pinned link, or by
    /// netlink.
    pub fn put(&self, lab: &Lab, veth: &str, new: &Prog) {
        let pin = member(lab, veth).join("forward");
        if self.attach == "link" {
            let link = Link::open_pinned(&pin).expect("our link");
            let old = Prog::by_id(link.info().expect("info").prog_id).expect("ours");
            return link.update(new, &old).expect("updated");
        }
        let old = Prog::open_pinned(&pin).expect("ours");
        let index = index(lab, HOST, veth);
        rtnl(lab, HOST, |rtnl| {
            let put = match self.is_tc() {
                true => rtnl.set_ingress(index, new, "xhop_peer", true),
                false => rtnl.set_xdp(index, Some(new), XdpMode::Native, Some(&old)),
            };
            put.expect("replaced");
        });
        // Who can replace the program can replace the pin.
        fs::remove_file(&pin).expect("our pin");
        new.pin(&pin).expect("pinned");
    }

    /// A link of a program like ours at an interface of the host's side.
    pub fn link(&self, lab: &Lab, prog: &Prog, index: u32) -> Link {
        let link = || match self.is_tc() {
            true => Link::create_tcx(prog, index, TcxHook::Ingress),
            false => Link::create_xdp(prog, index, XdpMode::Native),
        };
        lab.in_netns(HOST, link).expect("attached")
    }
}

/// Loads these bytes with these maps by our program's name, past xhop's loader.
pub fn load_raw(shipped: Shipped, bytes: &[u8], maps: &[Map]) -> Prog {
    let fds: Vec<i32> = maps.iter().map(|map| map.as_fd().as_raw_fd()).collect();
    let program = shipped.program().expect("assembles");
    let (kind, name) = (program.hook().prog_type(), program.symbol());
    raw::load(&Raw { kind, name: &name, insns: bytes, fd_array: &fds, ..Raw::default() })
        .expect("loads")
}

/// The program of the host side's member by what its pin holds.
pub fn running(lab: &Lab, veth: &str) -> Prog {
    let pin = member(lab, veth).join("forward");
    match Link::open_pinned(&pin).and_then(|link| link.info()) {
        Ok(info) => Prog::by_id(info.prog_id).expect("ours"),
        Err(_) => Prog::open_pinned(&pin).expect("ours"),
    }
}

/// `return TC_ACT_UNSPEC` (-1): the next one decides.
const UNSPEC: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// A program of traffic control that is not xhop's.
pub fn classifier(name: &str) -> Prog {
    raw::load(&Raw { kind: raw::SCHED_CLS, name, insns: &UNSPEC, ..Raw::default() }).expect("loads")
}

pub fn rtnl(lab: &Lab, at: impl Into<Where>, body: impl FnOnce(Rtnl) + Send) {
    lab.in_netns(at, || {
        body(Rtnl::open_in(&Netns::current().expect("current")).expect("netlink"));
    });
}

/// What `audit --json` says, and the findings that are not ok.
pub fn audited(lab: &Lab, code: i32) -> (Value, Vec<Value>) {
    let done = lab.xhop(&["audit", "--json"]);
    assert_eq!(done.status.code(), Some(code), "{done}");
    let report: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done}"));
    assert_eq!((&report["version"], &report["ok"]), (&1.into(), &(code == 0).into()), "{report}");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let of = |kind: &str| list(&report[kind]).into_iter().flat_map(|one| list(&one["sections"]));
    let sections = of("members").chain(of("chains"));
    let mut findings: Vec<Value> = sections.flat_map(|s| list(&s["findings"])).collect();
    findings.extend(list(&report["host"]));
    assert!(!findings.is_empty() || report["members"] == Value::Array(vec![]), "{report}");
    findings.retain(|finding| finding["verdict"] != "ok");
    assert_eq!(findings.is_empty(), code == 0, "{report}");
    (report, findings)
}

/// Nothing is wrong; gives what people are told.
pub fn clean(lab: &Lab) -> String {
    audited(lab, 0);
    let done = lab.xhop(&["audit"]);
    assert_eq!(done.stderr, "", "{done}");
    let text = done.ok();
    assert!(!text.contains("[!!]") && !text.contains("[??]"), "{text}");
    text
}

/// Just these deviations, each a check and what is said of it, in order; each with meaning and remedy.
pub fn caught(lab: &Lab, expected: &[(&str, &str)]) {
    let (_, findings) = audited(lab, 1);
    let shown = serde_json::to_string_pretty(&findings).expect("JSON");
    assert_eq!(findings.len(), expected.len(), "{shown}");
    let Output { stdout: text, stderr, .. } = lab.xhop(&["audit"]);
    assert!(stderr.contains(&format!("{} deviations", expected.len())), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for (finding, (check, words)) in findings.iter().zip(expected) {
        let found = finding["found"].as_str().expect("what was found");
        assert_eq!(finding["check"], *check, "{shown}");
        assert!(found.contains(words), "`{words}` is not in {found}");
        for said in [&finding["means"], &finding["remedy"]] {
            assert!(text.contains(said.as_str().expect("said")), "{text}");
        }
        assert!(text.contains(&format!("[!!] {check}")), "{text}");
    }
}
