//! `xhop vm`, as a user without any privilege runs it. tcpdump is the oracle.

mod lab;

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use lab::XHOP;
use serde_json::Value;
use xhop_vm::packet::{A, B, captured, tcp, tcp6, udp};
use xhop_vm::pcap::{Frame, Header};

/// The user `nobody`.
const NOBODY: u32 = 65534;
const A_AND_B: [&str; 4] = [
    "--container",
    "7,02:42:ac:11:00:02,172.17.0.2,fd00:17::2",
    "--container",
    "9,02:42:ac:11:00:03,172.17.0.3,fd00:17::3",
];

/// A folder of one test's own, in which `nobody` may do what he likes.
struct Desk {
    dir: PathBuf,
    /// `nobody` may run it, but not go where it was built.
    xhop: File,
}

impl Desk {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("xhop-vm-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let xhop = File::open(XHOP).expect("is built");
        let desk = Self { dir: std::env::temp_dir().join(name), xhop };
        fs::create_dir(&desk.dir).expect("a new folder");
        fs::set_permissions(&desk.dir, Permissions::from_mode(0o777)).expect("our folder");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Puts frames into a classic pcap file, a millisecond apart.
    fn capture(&self, name: &str, frames: &[Vec<u8>]) {
        let mut file = File::create(self.path(name)).expect("a new file");
        let header = Header { nanos: false, snaplen: 262_144, link: 1 };
        header.write(&mut file).expect("to a file");
        for (n, data) in frames.iter().enumerate() {
            let time = 1_700_000_000_000_000_000 + n as u64 * 1_000_000;
            let frame = Frame { time, original_len: data.len() as u32, data };
            header.write_frame(&frame, &mut file).expect("to a file");
        }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        // Root becomes nobody, and has no group left.
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn xhop_command(&self, args: &[&str]) -> Command {
        self.command(&format!("/proc/self/fd/{}", self.xhop.as_raw_fd()), args)
    }

    fn xhop(&self, args: &[&str]) -> Output {
        self.xhop_command(args).output().expect("xhop runs")
    }

    /// What it says when it must succeed.
    fn vm(&self, args: &[&str]) -> String {
        let done = self.xhop(&[&["vm"], args].concat());
        assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.vm(&[args, &["--json"]].concat());
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(value["version"], 1);
        value
    }

    /// The one line that it says when it must fail with this exit code.
    fn fails(&self, code: i32, args: &[&str], words: &[&str]) {
        let done = self.xhop(&[&["vm"], args].concat());
        assert_eq!(done.status.code(), Some(code), "{args:?}: {done:?}");
        let said = String::from_utf8(done.stderr).expect("text");
        assert!(code == 2 || said.lines().count() == 1, "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }

    fn tcpdump(&self, args: &[&str]) -> String {
        let done = self.command("tcpdump", args).output();
        let done = done.expect("tcpdump (apt-get install tcpdump)");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What is left of it is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn syns() -> Vec<Vec<u8>> {
    captured().into_iter().map(|captured| captured.frame_partial).collect()
}

#[test]
fn the_lost_syns_are_mended() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    let before = desk.tcpdump(&["-n", "-vv", "-r", "in.pcap"]);
    assert_eq!(before.matches("(incorrect -> 0x").count(), 7, "{before}");
    // tcpdump names the sum that would be right: the same as the captured one.
    for captured in captured() {
        let right = format!("cksum 0x5856 (incorrect -> {:#06x})", captured.expected_check);
        assert!(before.contains(&right), "{right}: {before}");
    }
    let said = desk.vm(&["forward+complete", "--pcap", "in.pcap", "--out", "out.pcap"]);
    let after = desk.tcpdump(&["-n", "-vv", "-r", "out.pcap"]);
    assert_eq!(after.matches(" (correct), seq").count(), 7, "{after}");
    for captured in captured() {
        let right = format!("cksum {:#06x} (correct)", captured.expected_check);
        assert!(after.contains(&right), "{right} is not in {after}");
    }
    // But for the sums nothing has changed, not even the times.
    let plain = ["-n", "-tt", "-r"];
    let without = |file: &str| desk.tcpdump(&[&plain[..], &[file]].concat());
    assert_eq!(without("in.pcap"), without("out.pcap"));
    for word in [
        "      1 02:42:ac:11:00:02 172.17.0.2",
        "      2 02:42:ac:11:00:03 172.17.0.3",
        "XDP_REDIRECT    2 50..52",
        "172.17.0.2.44498 > 172.17.0.3.80 TCP",
        "0.006000",
        "7 packets, 7 changed",
        "forwarded        7    518",
    ] {
        assert!(said.contains(word), "{word} is not in:\n{said}");
    }
}

/// Verdicts are those of the program's hook; a long frame is nothing to it.
#[test]
fn traffic_control() {
    let desk = Desk::new();
    let frames = [
        tcp().payload_len(9000).partial().bytes(),
        tcp6().from(B).to(A).bytes(),
        udp().vlan(5).bytes(),
    ];
    desk.capture("in.pcap", &frames);
    for (program, first, second) in [
        ("peer", "TC_ACT_REDIRECT 9", "TC_ACT_REDIRECT 7"),
        ("trust", "TC_ACT_UNSPEC null", "TC_ACT_UNSPEC null"),
        ("forward+frags", "XDP_REDIRECT 9", "XDP_REDIRECT 7"),
    ] {
        let args = [&[program, "--pcap", "in.pcap"], &A_AND_B[..]].concat();
        let told = desk.json(&args);
        let facts = |packet: &Value| {
            assert_eq!(packet["changed"], Value::Array(Vec::new()), "{program}");
            ["verdict", "redirect"].map(|key| packet[key].to_string().replace('"', "")).join(" ")
        };
        let packets: Vec<String> =
            told["packets"].as_array().expect("a list").iter().map(facts).collect();
        let third = if program == "forward+frags" { "XDP_PASS null" } else { "TC_ACT_UNSPEC null" };
        assert_eq!(packets, [first, second, third], "{program}");
        assert!(!desk.vm(&args).contains("longer than"), "{program}");
        // Instruction by instruction it is the same.
        let traced = desk.vm(&[&args[..], &["--trace"]].concat());
        assert!(traced.contains("exit"), "{traced}");
    }
}

#[test]
fn every_packet_is_told() {
    let desk = Desk::new();
    let frames = [
        tcp().partial().bytes(),
        tcp6().from(B).to(A).partial().bytes(),
        udp().from(B).to(A).ttl(1).vlan(5).bytes(),
        // A's address on B's veth.
        udp().from(xhop_vm::packet::Host { mac: B.mac, ..A }).to(B).bytes(),
        vec![1, 2, 3],
    ];
    desk.capture("in.pcap", &frames);
    let told = desk.json(&[&["forward+complete", "--pcap", "in.pcap"], &A_AND_B[..]].concat());
    let facts = |packet: &Value| {
        let text = |key: &str| packet[key].to_string().replace('"', "");
        ["number", "ingress", "verdict", "redirect", "changed"].map(text).join(" ")
    };
    let packets: Vec<String> =
        told["packets"].as_array().expect("a list").iter().map(facts).collect();
    let expected = [
        "1 7 XDP_REDIRECT 9 [[50,52]]",
        "2 9 XDP_REDIRECT 7 [[70,72]]",
        "3 9 XDP_PASS null []",
        "4 9 XDP_PASS null []",
        "5 0 XDP_PASS null []",
    ];
    assert_eq!(packets, expected);
    let counted: Vec<String> = told["counters"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| format!("{} {} {}", c["verdict"], c["packets"], c["bytes"]))
        .collect();
    let bytes = frames[0].len() + frames[1].len();
    assert_eq!(counted[0], format!("\"forwarded\" 2 {bytes}"));
    assert_eq!(counted[1], format!("\"passed\" 2 {}", frames[2].len() + 3));
    assert_eq!(counted[3], format!("\"spoofed\" 1 {}", frames[3].len()));
    assert_eq!(told["totals"]["packets"], 5);
    assert_eq!(told["containers"][1]["ifindex"], 9);
    // One alone, with its number.
    let one =
        desk.json(&[&["forward", "--pcap", "in.pcap", "--packet", "2"], &A_AND_B[..]].concat());
    assert_eq!(
        (one["packets"].as_array().map(Vec::len), &one["packets"][0]["number"]),
        (Some(1), &2.into())
    );
    // Where strangers come in is said.
    let stranger = desk.json(&["pass", "--pcap", "in.pcap", "--in", "12"]);
    assert_eq!(stranger["packets"][4]["ingress"], 12);
    assert!(desk.vm(&["pass", "--pcap", "in.pcap"]).contains("pass: asks for no containers"));
}

#[test]
fn a_trace_shows_each_instruction_and_counts_once() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    let args = ["forward+complete", "--pcap", "in.pcap", "--trace"];
    let said = desk.vm(&args);
    let check = u16::from_ne_bytes(captured()[0].expected_check.to_be_bytes());
    for word in [
        "packet 1: 172.17.0.2.44498 > 172.17.0.3.80 TCP",
        "r6 = *(u32 *)(r1 + 0)",
        "r6 = pkt ",
        "\nsegment:\n",
        "r0 = endpoints4[ac110003]",
        &format!("pkt+50 = {check:#x} "),
        "; verdict: forwarded",
        "forwarded        7    518",
    ] {
        assert!(said.contains(word), "{word} is not in:\n{said}");
    }
    let told = desk.json(&[&args[..], &["--packet", "3"]].concat());
    let trace = told["packets"][0]["trace"].as_array().expect("steps");
    assert_eq!((&trace[0]["slot"], &trace[0]["effect"]), (&0.into(), &"r9 = 0x1".into()));
    assert_eq!(trace.last().map(|step| &step["instruction"]), Some(&"exit".into()));
    assert_eq!(told["counters"][0]["packets"], 1);
}

/// A checksum is a verdict that is no action.
#[test]
fn measure_gives_sums() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns()[..1]);
    let told = desk.json(&["measure+complete", "--pcap", "in.pcap"]);
    let check = u16::from_ne_bytes(captured()[0].expected_check.to_be_bytes());
    assert_eq!(told["packets"][0]["verdict"], format!("{check:#06x}"));
    assert_eq!(told["totals"]["verdicts"][0]["verdict"], "a number");
}

#[test]
fn pipes_do() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    let args = ["vm", "forward+complete", "--pcap", "-", "--out", "-"];
    let mut command = desk.xhop_command(&args);
    command.stdin(File::open(desk.path("in.pcap")).expect("is there"));
    let done = command.output().expect("xhop runs");
    assert!(done.status.success(), "{done:?}");
    fs::write(desk.path("piped.pcap"), &done.stdout).expect("a new file");
    desk.vm(&["forward+complete", "--pcap", "in.pcap", "--out", "out.pcap"]);
    assert_eq!(done.stdout, fs::read(desk.path("out.pcap")).expect("is there"));
    assert!(String::from_utf8_lossy(&done.stderr).contains("7 packets, 7 changed"));
    // Nothing to change: the very file comes out.
    desk.vm(&["pass", "--pcap", "out.pcap", "--out", "same.pcap"]);
    assert_eq!(fs::read(desk.path("same.pcap")).expect("is there"), done.stdout);
}

#[test]
fn what_tcpdump_cuts_is_run_and_said() {
    let desk = Desk::new();
    desk.capture("in.pcap", &[tcp().payload_len(1000).bytes(), tcp().bytes()]);
    let file = fs::read(desk.path("in.pcap")).expect("is there");
    // The first record with 60 bytes of its frame.
    let mut cut = file[..24 + 16 + 60].to_vec();
    cut[24 + 8..24 + 12].copy_from_slice(&60u32.to_le_bytes());
    fs::write(desk.path("cut.pcap"), cut).expect("a new file");
    let said = desk.vm(&["forward", "--pcap", "cut.pcap", "--out", "out.pcap"]);
    assert!(said.contains("TCP (cut from 1054)") && said.contains("run as they are: 1;"), "{said}");
    assert_eq!(fs::read(desk.path("out.pcap")).ok(), fs::read(desk.path("cut.pcap")).ok());
}

#[test]
fn a_capture_is_not_written_over() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    let before = fs::read(desk.path("in.pcap")).expect("is there");
    std::os::unix::fs::symlink("in.pcap", desk.path("same.pcap")).expect("a new link");
    for out in ["in.pcap", "./in.pcap", "same.pcap"] {
        let args = ["forward+complete", "--pcap", "in.pcap", "--out", out];
        desk.fails(1, &args, &["is the capture itself: name another file"]);
    }
    assert_eq!(fs::read(desk.path("in.pcap")).ok(), Some(before));
}

#[test]
fn out_is_written_also_when_nobody_reads_the_table() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    desk.vm(&["forward+complete", "--pcap", "in.pcap", "--out", "whole.pcap"]);
    for more in ["--trace", "--json"] {
        let args = ["vm", "forward+complete", "--pcap", "in.pcap", "--out", "out.pcap", more];
        let mut command = desk.xhop_command(&args);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("xhop runs");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("an end").code(), Some(0));
        let out = fs::read(desk.path("out.pcap")).expect("is written");
        assert_eq!(out, fs::read(desk.path("whole.pcap")).expect("is there"));
        fs::remove_file(desk.path("out.pcap")).expect("is ours");
    }
}

/// script(1) gives it a terminal.
#[test]
fn a_capture_is_not_for_terminals() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    let input = desk.path("in.pcap");
    let command = format!("'{XHOP}' vm pass --pcap '{}' --out -", input.display());
    let mut script = Command::new("script");
    let done = script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output();
    let done = done.expect("script runs (apt-get install bsdutils)");
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("not for a terminal"), "{done:?}");
}

/// Where they are captured before segmentation offload has cut them.
#[test]
fn what_native_xdp_never_gets_is_said() {
    let desk = Desk::new();
    let lengths = [3466, 3467].map(|len| tcp().payload_len(len).partial().bytes());
    assert_eq!(lengths[0].len(), 3520);
    desk.capture("in.pcap", &lengths);
    let said = desk.vm(&["forward+complete", "--pcap", "in.pcap"]);
    assert!(said.contains("longer than the 3520 bytes that native XDP takes: 1;"), "{said}");
    assert_eq!(desk.json(&["pass", "--pcap", "in.pcap"])["totals"]["long"], 1);
    let one = desk.vm(&["pass", "--pcap", "in.pcap", "--packet", "1"]);
    assert!(one.contains("\n1 packet, 0 changed\n") && !one.contains("longer"), "{one}");
}

#[test]
fn errors_and_wrong_usage() {
    let desk = Desk::new();
    desk.capture("in.pcap", &syns());
    let file = fs::read(desk.path("in.pcap")).expect("is there");
    fs::write(desk.path("short.pcap"), &file[..100]).expect("a new file");
    fs::write(desk.path("text"), "no capture").expect("a new file");
    let mut cooked = file.clone();
    cooked[20] = 113;
    fs::write(desk.path("cooked.pcap"), cooked).expect("a new file");
    desk.capture("long.pcap", &[vec![0; 70_000]]);
    desk.fails(1, &["pass", "--pcap", "nowhere"], &["nowhere: No such file"]);
    desk.fails(1, &["pass", "--pcap", "no\nwhere"], &["no\\nwhere: No such file"]);
    desk.fails(1, &["pass", "--pcap", "-"], &["standard input: too short"]);
    desk.fails(1, &["pass", "--pcap", "text"], &["text: begins with 6e 6f", "tcpdump -w"]);
    desk.fails(1, &["pass", "--pcap", "short.pcap"], &["short.pcap: ends within", "byte 24"]);
    desk.fails(1, &["pass", "--pcap", "cooked.pcap"], &["link type 113, not Ethernet"]);
    desk.fails(1, &["pass", "--pcap", "long.pcap"], &["packet 1: ", "70000 bytes"]);
    desk.fails(1, &["pass", "--pcap", "in.pcap", "--packet", "8"], &["it has 7 packets"]);
    desk.fails(1, &["pass", "--pcap", "in.pcap", "--out", "no/where"], &["no/where: No such file"]);
    let twice = [
        "--container",
        "1,02:00:00:00:00:01,10.0.0.1",
        "--container",
        "2,02:00:00:00:00:02,10.0.0.1",
    ];
    desk.fails(
        1,
        &[&["forward", "--pcap", "in.pcap"], &twice[..]].concat(),
        &["10.0.0.1 is the address of both"],
    );
    let one = "1,02:00:00:00:00:01,10.0.0.1";
    for other in ["1,02:00:00:00:00:02,10.0.0.2", "2,02:00:00:00:00:01,10.0.0.2"] {
        let twice = ["forward", "--pcap", "in.pcap", "--container", one, "--container", other];
        desk.fails(1, &twice, &["two containers with"]);
    }
    // What goes wrong is told before anything else.
    let done = desk.xhop(&["vm", "pass", "--pcap", "in.pcap", "--packet", "8"]);
    assert!(done.stdout.is_empty(), "{done:?}");
    desk.fails(2, &["fly", "--pcap", "in.pcap"], &["there are pass, forward, "]);
    desk.fails(2, &["pass"], &["--pcap"]);
    for wrong in [
        "",
        "0,02:00:00:00:00:01,10.0.0.1",
        "1,02:00,10.0.0.1",
        "1,01:00:00:00:00:01,10.0.0.1",
        "1,02:00:00:00:00:01",
        "1,02:00:00:00:00:01,ten",
    ] {
        desk.fails(2, &["forward", "--pcap", "in.pcap", "--container", wrong], &["--container"]);
    }
    desk.fails(2, &["pass", "--pcap", "in.pcap", "--packet", "0"], &["--packet"]);
}
