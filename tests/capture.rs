//! `xhop capture`: what it shows is what went by, it loses nothing untold, and it leaves nothing behind.

mod lab;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lab::audit::audited;
use lab::{Lab, Output, Running, Where, XHOP, assert_same, lab, lab_by_each, lab_with, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use xhop::sys::bpf::has_tcx;
use xhop::sys::kernel;

const PATIENCE: Duration = Duration::from_secs(30);
const FILE: &str = "/run/capture.pcap";
const READY: &str = "Ctrl-C ends it";

/// Starts a capture, and waits until the programs tell.
fn capture(lab: &Lab, args: &[&str]) -> Running {
    let capture = lab.spawn_in(Where::Own, &[&[XHOP, "capture"], args].concat());
    wait_until(PATIENCE, "it captures", || capture.stderr().contains(READY));
    capture
}

/// Ends one as Ctrl-C does.
fn end(capture: Running) -> Output {
    capture.signal(Signal::SIGINT);
    let done = capture.wait(PATIENCE);
    assert_eq!(done.status.code(), Some(0), "{done}");
    done
}

/// What `--json` has printed: the packets, and what it says at the end.
fn read(done: &Output) -> (Vec<Value>, Value) {
    let lines = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let mut lines: Vec<Value> = lines.collect();
    let end = lines.pop().expect("an end");
    assert_eq!(end["version"], 1, "{end}");
    (lines, end)
}

fn total(end: &Value, what: &str) -> u64 {
    let of = end["containers"].as_array().expect("containers").iter();
    of.map(|container| container[what].as_u64().expect("a number")).sum()
}

/// Native XDP before 5.18 can't give its frames away.
fn by_all(name: &str, tools: &[&str], body: impl Fn(&Lab) + Sync) {
    let old = kernel::release().expect("uname") < (5, 18);
    lab_by_each(name, tools, |lab| match (lab.is_by("tc"), old) {
        (false, true) => lab::not_tried(name, "XDP gives its frames away from 5.18 on"),
        _ => body(lab),
    });
}

/// As tcpdump prints the packets of a file with all their bytes, in some order; their times are not the same.
fn packets(lab: &Lab, file: &str) -> Vec<String> {
    let shown = lab.ok_in(
        Where::Own,
        &["tcpdump", "-Z", "root", "-nn", "-t", "-xx", "-r", file, "icmp or udp or icmp6"],
    );
    let mut packets: Vec<String> = Vec::new();
    for line in shown.lines() {
        match packets.last_mut() {
            Some(packet) if line.starts_with('\t') => packet.push_str(line),
            _ => packets.push(line.into()),
        }
    }
    packets.sort();
    packets
}

/// tcpdump where the packets arrive sees the very bytes with which they left the program.
#[test]
fn what_hops_is_captured_as_it_arrives() {
    by_all("what_hops_is_captured_as_it_arrives", &["tcpdump"], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        lab.pings("a", &pair.b.v4);
        lab.pings("a", &pair.b.v6);
        let dump = "tcpdump -Z root -i eth0 -Q in --immediate-mode -U -w /run/arrived.pcap icmp or udp or icmp6";
        let dumps = ["a", "b"].map(|at| {
            let command = dump.replace("arrived", &format!("arrived-{at}"));
            let dump = lab.spawn_in(at, &command.split(' ').collect::<Vec<_>>());
            wait_until(PATIENCE, "it listens", || dump.stderr().contains("listening on"));
            dump
        });
        let capture = capture(lab, &["a", "b", "--out", FILE]);
        let echo = lab.udp_echo("b", 7);
        for address in [&pair.b.v4, &pair.b.v6] {
            lab.ok_in("a", &["ping", "-n", "-c3", "-i0.01", "-s1000", address]);
            let to = format!("[{address}]:7").parse();
            let to = to.unwrap_or_else(|_| format!("{address}:7").parse().expect("an address"));
            assert_eq!(lab.udp_ask("a", to, b"hello").expect("an answer"), b"hello");
        }
        drop(echo);
        let done = end(capture);
        assert!(done.stderr.contains(" 0 lost"), "{done}");
        let mut arrived = Vec::new();
        for (dump, at) in dumps.into_iter().zip(["a", "b"]) {
            let file = format!("/run/arrived-{at}.pcap");
            wait_until(PATIENCE, "all are dumped", || packets(lab, &file).len() >= 2 * (3 + 1));
            dump.signal(Signal::SIGINT);
            dump.wait(PATIENCE).ok();
            arrived.extend(packets(lab, &file));
        }
        arrived.sort();
        assert!(arrived.len() >= 2 * (3 + 1) * 2, "{arrived:#?}");
        assert_eq!(packets(lab, FILE), arrived);
        // Whose, and what became of it.
        let file = fs::read(FILE).expect("a file");
        let count = |what: &[u8]| file.windows(what.len()).filter(|part| *part == what).count();
        assert!(count(b"forwarded") >= arrived.len());
        assert_eq!([count(b"veth-a\0"), count(b"netns:b\0"), count(b"veth-c")], [1, 1, 0]);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(FILE).expect("a file"));
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn each_packet_with_its_verdict() {
    by_all("each_packet_with_its_verdict", &[], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        let files = lab.own_files();
        for address in [&pair.b.v4, &c.v4] {
            lab.pings("a", address);
        }
        // Of one alone, what it sends and what is sent to it; what goes between the others is not shown.
        let captured = capture(lab, &["a", "--json"]);
        lab.ok_in("a", &["ping", "-n", "-c2", "-i0.01", &pair.b.v4]);
        lab.ok_in("b", &["ping", "-n", "-c2", "-i0.01", &c.v4]);
        lab.ok_in("a", &["ip", "addr", "add", "10.9.0.9/24", "dev", "eth0"]);
        lab.run_in("a", &["ping", "-n", "-c1", "-W0.2", "-I", "10.9.0.9", &pair.b.v4]);
        lab.ok_in("a", &["ip", "addr", "del", "10.9.0.9/24", "dev", "eth0"]);
        let (shown, ended) = read(&end(captured));
        let of = |summary: &str| {
            let of = shown.iter().filter(|packet| packet["summary"] == summary);
            let of = of.map(|packet| (packet["container"].clone(), packet["verdict"].clone()));
            of.map(|(container, verdict)| format!("{container} {verdict}")).collect::<Vec<_>>()
        };
        assert_eq!(of("10.9.0.2 > 10.9.0.3 ICMP"), [r#""netns:a" "forwarded""#; 2], "{shown:?}");
        assert_eq!(of("10.9.0.3 > 10.9.0.2 ICMP"), [r#""netns:b" "forwarded""#; 2], "{shown:?}");
        assert_eq!(of("10.9.0.9 > 10.9.0.3 ICMP"), [r#""netns:a" "passed""#], "{shown:?}");
        assert!(of("10.9.0.3 > 10.9.0.4 ICMP").is_empty(), "{shown:?}");
        assert!(total(&ended, "seen") >= shown.len() as u64 + 4, "{ended}");
        assert_eq!(total(&ended, "lost"), 0);
        let times: Vec<u64> =
            shown.iter().map(|packet| packet["time_ns"].as_u64().expect("a time")).collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("after 1970").as_nanos() as u64;
        assert!(times.iter().all(|time| now - time < 60_000_000_000), "{now}: {times:?}");
        assert_same(&files, &lab.own_files());
        assert_eq!(audited(lab, 0).0["ok"], true);
    });
}

/// What it can't take is lost, and all that was seen is shown or lost.
#[test]
fn what_is_lost_is_counted() {
    lab_with("what_is_lost_is_counted", &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b", "--datapath", "tc"]);
        lab.pings("a", &pair.b.v4);
        let capture = capture(lab, &["a", "b", "--json", "--snaplen", "32000"]);
        capture.signal(Signal::SIGSTOP);
        lab.bulk("a", "b", &pair.b.v4, 64 << 20).expect("comes whole");
        capture.signal(Signal::SIGCONT);
        let (shown, ended) = read(&end(capture));
        let (seen, lost) = (total(&ended, "seen"), total(&ended, "lost"));
        assert!(lost > 0, "{ended}");
        assert_eq!(shown.len() as u64 + lost, seen, "{ended}");
        assert_eq!(ended["packets"], shown.len());
    });
}

/// Programs are replaced with no packet in between.
#[test]
fn nothing_is_lost_when_it_begins_and_ends() {
    by_all("nothing_is_lost_when_it_begins_and_ends", &[], |lab| {
        let pair = lab.pair();
        for attach in ["link", "netlink"] {
            if attach == "link" && lab.is_by("tc") && !has_tcx() {
                continue;
            }
            lab.joins(&["a", "b", "--attach", attach]);
            lab.pings("a", &pair.b.v4);
            let (stop, progress) = (AtomicBool::new(false), AtomicU64::new(0));
            let ping = lab.spawn_in("a", &["ping", "-n", "-i0.002", "-W1", &pair.b.v4]);
            let ids = thread::scope(|scope| {
                let stream = scope.spawn(|| lab.stream("b", "a", &pair.a.v4, &stop, &progress));
                let mut ids = Vec::new();
                for _ in 0..4 {
                    let capture = capture(lab, &["a", "b"]);
                    let at = progress.load(Ordering::Relaxed);
                    ids.push(lab.programs_on(lab::HOST, "veth-a"));
                    wait_until(PATIENCE, "it flows", || progress.load(Ordering::Relaxed) > at);
                    assert_eq!(audited(lab, 0).0["ok"], true);
                    end(capture);
                    ids.push(lab.programs_on(lab::HOST, "veth-a"));
                }
                stop.store(true, Ordering::Relaxed);
                stream.join().expect("a thread").expect("comes whole");
                ids
            });
            ping.signal(Signal::SIGINT);
            let done = ping.wait(PATIENCE);
            assert!(done.stdout.contains(" 0% packet loss"), "{attach}: {done}");
            assert!(ids.iter().all(|ids| ids.len() == 1), "{ids:?}");
            assert!(ids.windows(2).all(|two| two[0] != two[1]), "replaced each time: {ids:?}");
            lab.xhop(&["down", "--all"]).ok();
        }
    });
}

/// Killed, it leaves programs that tell nobody. They do all else, and `up` takes them for what they are.
#[test]
fn one_that_is_killed() {
    by_all("one_that_is_killed", &[], |lab| {
        let pair = lab.pair();
        let before = lab.everything();
        lab.joins(&["a", "b"]);
        let files = lab.own_files();
        let capture = capture(lab, &["a", "b"]);
        assert_eq!(lab.member("netns:a")["captured"], true);
        assert_eq!(lab.state("netns:a"), "up");
        lab.refuses(&["capture", "a"], &["netns:a", "another `xhop capture`"]);
        capture.signal(Signal::SIGKILL);
        capture.wait(PATIENCE);
        lab.pings("a", &pair.b.v4);
        assert_eq!(lab.state("netns:a"), "altered");
        let (report, _) = audited(lab, 1);
        assert!(report.to_string().contains("nobody reads what it tells"), "{report}");
        lab.joins(&["a"]);
        assert_eq!([lab.state("netns:a"), lab.state("netns:b")], ["up", "altered"]);
        // Another capture does as well.
        end(self::capture(lab, &["a", "b"]));
        assert_eq!([lab.state("netns:a"), lab.state("netns:b")], ["up", "up"]);
        assert_eq!(audited(lab, 0).0["ok"], true);
        assert_same(&files, &lab.own_files());
        self::capture(lab, &["a", "b"]).signal(Signal::SIGKILL);
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

/// Who is taken out, or joined anew, is captured no more; the rest still is, and the last one ends it.
#[test]
fn who_is_taken_out_meanwhile() {
    lab("who_is_taken_out_meanwhile", |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let before = lab.everything();
        lab.joins(&["a", "b", "c"]);
        let mut capture = capture(lab, &["a", "b", "c"]);
        lab.xhop(&["down", "c"]).ok();
        lab.joins(&["c"]);
        lab.pings("a", &pair.b.v4);
        wait_until(PATIENCE, "it is shown", || {
            capture.stdout().contains("10.9.0.3 > 10.9.0.2 ICMP")
        });
        assert_eq!(lab.member("netns:c")["captured"], false);
        assert!(capture.alive());
        lab.xhop(&["down", "a", "b"]).ok();
        let done = capture.wait(PATIENCE);
        assert_eq!(done.status.code(), Some(0), "{done}");
        assert!(done.stderr.contains("it ends"), "{done}");
        assert_eq!(audited(lab, 0).0["ok"], true);
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&before, &lab.everything());
    });
}

#[test]
fn so_many_and_into_a_pipe() {
    lab_with("so_many_and_into_a_pipe", &["tcpdump"], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        let command = format!("{XHOP} capture a b --count 3 --out - | tcpdump -Z root -nnr - icmp");
        let shell = lab.spawn_in(Where::Own, &["sh", "-c", &command]);
        wait_until(PATIENCE, "it captures", || shell.stderr().contains(READY));
        lab.ok_in("a", &["ping", "-n", "-c4", "-i0.01", &pair.b.v4]);
        let shown = shell.wait(PATIENCE).ok();
        let lines = shown.lines().filter(|line| line.contains("ICMP echo")).count();
        // Neighbours may have been asked for before.
        assert!((1..=3).contains(&lines), "{shown}");
        assert!(shown.lines().count() <= 3, "{shown}");
        // Who has seen enough ends it, and that is no error.
        let command = format!("({XHOP} capture a b --out -; echo ended by $? >&2) | head -c 1");
        let shell = lab.spawn_in(Where::Own, &["sh", "-c", &command]);
        wait_until(PATIENCE, "it captures", || shell.stderr().contains(READY));
        let ping = lab.spawn_in("a", &["ping", "-n", "-i0.01", &pair.b.v4]);
        wait_until(PATIENCE, "it ends", || shell.stderr().contains("ended by"));
        drop(ping);
        assert!(shell.stderr().contains("ended by 0"), "{}", shell.stderr());
        lab.refuses(&["capture", "c"], &["c"]);
        lab.refuses(&["capture", "a", "--out", "/nowhere/file"], &["/nowhere/file"]);
        lab.xhop(&["down", "--all"]).ok();
        lab.refuses(&["capture", "a"], &["a is not joined"]);
    });
}

/// What was captured before is not lost to one that is refused.
#[test]
fn a_file_is_emptied_by_who_writes_it() {
    lab("a_file_is_emptied_by_who_writes_it", |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        fs::write(FILE, "precious").expect("a file");
        lab.refuses(&["capture", "nobody", "--out", FILE], &["nobody"]);
        lab.refuses(&["capture", "nobody", "--out", "/run/new.pcap"], &["nobody"]);
        assert_eq!(fs::read_to_string(FILE).expect("a file"), "precious");
        assert!(!fs::exists("/run/new.pcap").expect("a folder"));
        let capture = capture(lab, &["a", "b", "--out", FILE, "--count", "4"]);
        lab.refuses(&["capture", "a", "b", "--out", FILE], &["another `xhop capture`"]);
        lab.ok_in("a", &["ping", "-n", "-c4", "-i0.01", &pair.b.v4]);
        capture.wait(PATIENCE).ok();
        assert_eq!(
            xhop_vm::pcap::Capture::read(&fs::read(FILE).expect("a file"))
                .map(|all| all.frames.len()),
            Ok(4)
        );
    });
}

/// It is often a container that crashes which is looked at.
#[test]
fn a_container_that_ends_meanwhile() {
    lab("a_container_that_ends_meanwhile", |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        let captured = capture(lab, &["b", "c", "--json"]);
        lab.ok_in("c", &["ping", "-n", "-c2", "-i0.01", &pair.b.v4]);
        lab.end(c);
        lab.ok_in("a", &["ping", "-n", "-c2", "-i0.01", &pair.b.v4]);
        let done = end(captured);
        let (shown, ended) = read(&done);
        assert!(shown.len() >= 6 && done.stderr.contains(" 0 lost"), "{done}");
        assert_eq!(ended["containers"].as_array().map(Vec::len), Some(2), "{ended}");
        // It keeps nobody from being captured who was not named beside it.
        let captured = capture(lab, &["a", "--count", "2"]);
        assert!(captured.stderr().contains("warning") && captured.stderr().contains("netns:c"));
        lab.ok_in("a", &["ping", "-n", "-c2", "-i0.01", &pair.b.v4]);
        captured.wait(PATIENCE).ok();
        // The last one, and it ends by itself.
        let captured = capture(lab, &["b"]);
        lab.end(pair.b);
        let done = captured.wait(PATIENCE);
        assert_eq!(done.status.code(), Some(0), "{done}");
        assert!(
            done.stderr.contains("it ends") && done.stderr.contains("came by in all"),
            "{done}"
        );
    });
}

/// Whoever does not read what comes keeps it from nothing.
#[test]
fn a_reader_that_stops() {
    lab("a_reader_that_stops", |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        lab.ok_in(Where::Own, &["mkfifo", "/run/pipe"]);
        let files = lab.own_files();
        for args in [&["--out", "/run/pipe"][..], &["--out", "-"], &["--json"]] {
            let words = args.join(" ");
            let command = match args {
                ["--out", "/run/pipe"] => format!("exec {XHOP} capture a b {words}"),
                _ => format!("exec {XHOP} capture a b {words} >/run/pipe"),
            };
            let _reader = lab.spawn_in(Where::Own, &["sh", "-c", "exec sleep 100 </run/pipe"]);
            let captured = lab.spawn_in(Where::Own, &["sh", "-c", &command]);
            wait_until(PATIENCE, "it captures", || captured.stderr().contains(READY));
            lab.bulk("a", "b", &pair.b.v4, 8 << 20).expect("comes whole");
            captured.signal(Signal::SIGTERM);
            let done = captured.wait(PATIENCE);
            assert_eq!(done.status.code(), Some(0), "{done}");
            assert_same(&files, &lab.own_files());
        }
    });
}

/// Of one alone, also what those send to it who are joined later.
#[test]
fn who_comes_meanwhile() {
    lab("who_comes_meanwhile", |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        let captured = capture(lab, &["a", "--json", "--count", "400"]);
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["c"]);
        let ping = lab.spawn_in("c", &["ping", "-n", "-i0.05", &pair.a.v4]);
        let shown = || {
            captured
                .stdout()
                .lines()
                .any(|line| line.contains("netns:c") && line.contains("10.9.0.4 > 10.9.0.2 ICMP"))
        };
        wait_until(PATIENCE, "it is shown", shown);
        drop(ping);
        assert_eq!(lab.member("netns:c")["captured"], true);
        let (_, ended) = read(&end(captured));
        assert_eq!(ended["containers"].as_array().map(Vec::len), Some(3), "{ended}");
        assert_eq!(lab.member("netns:c")["captured"], false);
    });
}
