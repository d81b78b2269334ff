//! `share/json.md` binds: what any command prints with `--json` is written down there, with its type, and what
//! is written down is printed.

mod document;
mod lab;

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::CommandFactory;
use document::Document;
use document::closed::{CLOSED, variants};
use document::seen::Seen;
use lab::audit::{WAYS, classifier, load_raw, maps};
use lab::chain::{By, Stage};
use lab::{Bridge, HOST, Lab, Output, Running, Where, XHOP, lab_with, not_tried, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use xhop::cli::Cli;
use xhop::sys::bpf::XdpMode;
use xhop::sys::kernel;
use xhop_asm::insn::SLOT;
use xhop_asm::{ByteOrder, Line};
use xhop_vm::packet::{A, B, host, tcp, udp};
use xhop_vm::pcap::{Frame, Header};

const PATIENCE: Duration = Duration::from_secs(30);
const PLAN: &str = "xhop up, xhop chain, xhop down";

/// What this machine does not let be seen, or not always.
const UNSEEN: [(&str, &str); 23] = [
    ("account.failures", "where tracefs can't be had"),
    ("account.untold", "where it can"),
    ("action/inside.program=pass", "GRO makes a veth poll, from 5.13 on"),
    ("action/nic-feature", "the NIC is a veth, whose other end is seen"),
    ("action/nic-feature.at", "likewise"),
    ("action/nic-feature.feature", "likewise"),
    ("action/unseen", "all containers can be found"),
    ("action/unseen.at", "likewise"),
    ("broken rule.source", "programs of ours break no rule"),
    ("failure.err", "where tracefs can't be had"),
    ("failure.name", "likewise"),
    ("failure.packets", "likewise"),
    ("finding.check=capture", "no capture was killed"),
    ("finding.check=place", "no container's end is moved"),
    ("tried.why", "kernels that have all that is tried"),
    ("way of frames.way=bridge, br_netfilter", "no such module"),
    ("way.unseen", "nothing is too much to look at"),
    ("way.unseen=arrived", "likewise"),
    ("way.unseen=at-host", "likewise"),
    ("way.unseen=by-bridge", "likewise"),
    ("way.unseen=left", "likewise"),
    ("xhop watch.event=failed", "nothing goes wrong"),
    ("xhop watch.event=named", "it takes Docker"),
];

/// The kernel that has all that the parts ask for: the last is a large `bpf_csum_diff`.
const NEEDED: (u32, u32) = (6, 13);

/// All that is to be tried, beside each other.
const PARTS: [fn(&Told); 6] =
    [without_root, joined_by_tc, joined_by_xdp, chained, watched, measured];

/// What was printed by now.
struct Told {
    seen: Mutex<Seen>,
    /// How many parts could be tried to their end.
    through: AtomicUsize,
}

impl Told {
    fn check(&self, shape: &str, value: &Value) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).object(shape, value);
    }

    /// What a command prints that ends, with whatever exit code.
    fn by(&self, shape: &str, done: &Output) -> Value {
        let value = serde_json::from_str(&done.stdout);
        let value: Value = value.unwrap_or_else(|error| panic!("{error}: {done}"));
        assert_eq!(value["version"], 1, "{done}");
        self.check(shape, &value);
        value
    }

    /// The same of `xhop`.
    fn xhop(&self, lab: &Lab, shape: &str, args: &[&str]) -> Value {
        self.by(shape, &lab.xhop(&[args, &["--json"]].concat()))
    }

    fn status_and_audit(&self, lab: &Lab) -> Value {
        self.xhop(lab, "xhop audit", &["audit"]);
        self.xhop(lab, "xhop status", &["status"])
    }

    fn end(&self) {
        self.through.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_printed_is_written_down_and_the_other_way() {
    if kernel::release().expect("uname") < NEEDED {
        return not_tried(
            "what_is_printed_is_written_down",
            "kernels before 6.13 lack a part of it",
        );
    }
    let told = Told { seen: Mutex::new(Seen::nothing()), through: AtomicUsize::new(0) };
    thread::scope(|scope| {
        for part in PARTS {
            let told = &told;
            scope.spawn(move || part(told));
        }
    });
    let seen = told.seen.into_inner().expect("no part has failed");
    let wrong: Vec<&String> = seen.wrong.iter().collect();
    assert!(wrong.is_empty(), "not as in share/json.md: {wrong:#?}");
    if told.through.into_inner() < PARTS.len() {
        return not_tried("whether all of share/json.md is printed", "parts of it were skipped");
    }
    let mut missing = seen.missing();
    missing.retain(|key| !UNSEEN.iter().any(|(known, _)| key == known));
    assert!(missing.is_empty(), "in share/json.md, and never printed: {missing:#?}");
    let keys = seen.document.keys();
    let stale = UNSEEN.iter().find(|(key, _)| !keys.iter().any(|known| known == key));
    assert_eq!(stale, None, "is not in share/json.md");
}

#[test]
fn closed_sets_are_those_of_the_source() {
    let document = Document::read();
    for (source, name, fields) in CLOSED {
        for field in fields {
            assert_eq!(document.values(field), variants(source, name), "{field}: {name}");
        }
    }
}

#[test]
fn each_command_with_json_is_written_down() {
    let document = Document::read();
    for command in Cli::command().get_subcommands() {
        let prints = command.get_arguments().any(|arg| arg.get_id() == "json");
        let name = format!("xhop {}", command.get_name());
        let is_there = document.names().any(|heading| heading.contains(&name));
        assert_eq!(is_there, prints, "{name}");
    }
}

fn without_root(told: &Told) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let run = |shape: &str, args: &[&str]| {
        let done = std::process::Command::new(XHOP).args(args).current_dir(folder).output();
        let stdout = done.expect("xhop runs").stdout;
        let value: Value = serde_json::from_slice(&stdout).expect("JSON");
        told.check(shape, &value);
    };
    run("xhop programs", &["programs", "--json"]);
    for program in ["forward+complete", "peer", "chain-in", "trust"] {
        run("xhop lint", &["lint", program, "--json"]);
    }
    // It reads what was never written, and has no exit.
    fs::write(folder.join("broken.hex"), "bf 70 00 00 00 00 00 00\n").expect("a file");
    run("xhop lint", &["lint", "broken.hex", "--format", "hex", "--json"]);

    // Somebody has two addresses.
    let router = udp().from(host(5)).to(A);
    let mut other = router.bytes();
    other[29] ^= 0x40;
    let back = tcp().from(B).to(A).partial().bytes();
    let frames = [tcp().partial().bytes(), back, router.bytes(), other];
    let mut file = File::create(folder.join("in.pcap")).expect("a file");
    let header = Header { nanos: false, snaplen: 262_144, link: 1 };
    header.write(&mut file).expect("written");
    for (time, data) in (0..).zip(&frames) {
        let frame = Frame { time: time * 1000, original_len: data.len() as u32, data };
        header.write_frame(&frame, &mut file).expect("written");
    }
    let vm = ["vm", "forward+complete", "--pcap", "in.pcap", "--trace", "--json"];
    run("xhop vm", &vm);
    told.end();
}

fn joined_by_tc(told: &Told) {
    lab_with("schema::joined_by_tc", &["nft"], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        names(lab, &pair.bridge, &pair.a.v4);
        let up = ["up", "a", "b", "c", "--datapath", "tc", "--jumbo", "--big-tcp"];
        lab.ok_in(Where::Own, &["umount", "/sys/fs/bpf"]);
        let netlink = ["--attach", "netlink", "--dry-run"];
        told.xhop(lab, PLAN, &[&up[..], &netlink].concat());
        lab.ok_in(Where::Own, &["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"]);
        told.xhop(lab, PLAN, &up);
        told.xhop(lab, "xhop doctor", &["doctor", "a", "b"]);
        captured(told, lab, &pair.b.v4);

        // What others do.
        lab.set_gso_ipv4("a", "eth0", 65536);
        let way = WAYS[2];
        let program = way.program();
        let mut bytes = program.bytes(ByteOrder::NATIVE);
        let is_it = |line: &Line| line.comment.starts_with("verdict: spoofed");
        let before = program.lines().iter().take_while(|line| !is_it(line));
        let at = before.map(|line| line.insn.slots() * SLOT).sum::<usize>();
        bytes[at + 4..at + 8].copy_from_slice(&1u32.to_ne_bytes());
        way.put(lab, "veth-a", &load_raw(way.shipped, &bytes, &maps(lab, "veth-a", &program)));
        let namesake = classifier("xhop_other");
        told.status_and_audit(lab);
        drop(namesake);

        lab.ok_in("b", &["ip", "addr", "add", "10.9.0.9/24", "dev", "eth0"]);
        told.xhop(lab, PLAN, &["up", "b", "--dry-run"]);
        lab.end(c);
        told.xhop(lab, PLAN, &["up", "a", "b", "--dry-run"]);
        told.xhop(lab, PLAN, &["down", "--all"]);
        told.end();
    });
}

/// A rule that names who is joined.
fn names(lab: &Lab, bridge: &Bridge, address: &str) {
    let chain = "add chain ip t c { type filter hook forward priority 0; }";
    let rule = format!("add table ip t; {chain}; add rule ip t c ip saddr {address} drop");
    lab.ok_in(&bridge.at, &["nft", &rule]);
}

/// A capture with some packets, and what `status` says of who is captured.
fn captured(told: &Told, lab: &Lab, address: &str) {
    let argv = [XHOP, "capture", "a", "b", "--json"];
    let capture = lab.spawn_in(Where::Own, &argv);
    wait_until(PATIENCE, "it captures", || capture.stderr().contains("Ctrl-C ends it"));
    lab.pings("a", address);
    told.xhop(lab, "xhop status", &["status"]);
    wait_until(PATIENCE, "it is shown", || capture.stdout().contains("ICMP"));
    let done = ended(capture);
    let lines = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let mut lines: Vec<Value> = lines.collect();
    told.check("xhop capture, at the end", &lines.pop().expect("a line"));
    lines.iter().for_each(|line| told.check("xhop capture, a packet", line));
}

fn ended(running: Running) -> Output {
    running.signal(Signal::SIGINT);
    running.wait(PATIENCE)
}

fn joined_by_xdp(told: &Told) {
    lab_with("schema::joined_by_xdp", &[], |lab| {
        let generic = ["up", "a", "b", "--datapath", "generic"];
        lab.pair();
        told.xhop(lab, PLAN, &generic);
        told.status_and_audit(lab);
        told.xhop(lab, PLAN, &["down", "a", "b"]);
        lab.attach_foreign(HOST, "veth-b", XdpMode::Native);
        let trust = ["up", "a", "b", "--checksum", "trust", "--attach", "netlink", "--force"];
        told.xhop(lab, PLAN, &trust);
        told.status_and_audit(lab);
        // By IPv6 redirects fail, by IPv4 nothing is sent.
        lab.ok_in("b", &["ethtool", "-K", "eth0", "gro", "off"]);
        lab.ok_in("a", &["ip", "route", "flush", "dev", "eth0"]);
        told.xhop(lab, "xhop doctor", &["doctor", "a", "b"]);
        told.xhop(lab, PLAN, &["down", "--all"]);
        told.end();
    });
}

fn chained(told: &Told) {
    lab_with("schema::chained", &[], |lab| {
        Stage::new(lab, By::Routing);
        let matches = ["--match", "dst=10.9.0.4,proto=tcp,port=80,vlan=5"];
        let chain = [&["chain", "nic0", "a", "b", "c", "--back"], &matches[..]].concat();
        told.xhop(lab, PLAN, &chain);
        told.status_and_audit(lab);
        told.xhop(lab, PLAN, &["down", "--chain", "nic0"]);
        told.end();
    });
}

fn watched(told: &Told) {
    lab_with("schema::watched", &["nft"], |lab| {
        let bridge = lab.bridge_at(Where::Own, "br0");
        names(lab, &bridge, "10.9.0.2");
        let watch = lab.spawn_in(Where::Own, &[XHOP, "watch", "--attach", "netlink", "--json"]);
        bridge.container("a", "10.9.0.2/24", "fd09::2/64");
        let b = bridge.container("b", "10.9.0.3/24", "fd09::3/64");
        let says = |event: &str, times: usize| {
            wait_until(PATIENCE, event, || watch.stdout().matches(event).count() >= times);
        };
        says("joined", 2);
        lab.ok_in(Where::Own, &["tc", "qdisc", "del", "dev", "veth-a", "clsact"]);
        says("mended", 1);
        lab.remove(b);
        says("left", 1);
        for line in ended(watch).stdout.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["version"], 1, "{event}");
            told.check("xhop watch", &event);
        }
        told.end();
    });
}

fn measured(told: &Told) {
    lab_with("schema::measured", &[], |lab| {
        lab.pair();
        let short = ["bench", "a", "b", "--rounds", "1", "--seconds", "0.05"];
        told.xhop(lab, "xhop bench", &short);
        told.xhop(lab, "xhop bench --frames", &["bench", "--frames", "--rounds", "1"]);
        told.xhop(lab, "xhop bench --checksum", &["bench", "--checksum", "--rounds", "1"]);
        let scale = ["bench", "--scale", "--containers", "2", "--rounds", "1"];
        told.xhop(lab, "xhop bench --scale", &scale);
        told.xhop(lab, "xhop doctor", &["doctor"]);
        told.end();
    });
}
