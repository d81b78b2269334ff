//! `xhop watch`: who comes is joined, who goes is taken out, what others change is mended.

mod lab;

use std::time::Duration;

use lab::audit::clean;
use lab::{Bridge, Container, Lab, Running, Where, XHOP, lab, lab_by_each, lab_with, wait_until};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(20);

/// A bridge in xhop's own namespace.
fn bridge(lab: &Lab) -> Bridge<'_> {
    lab.bridge_at(Where::Own, "br0")
}

/// Two containers on it.
fn two(bridge: &Bridge) -> [Container; 2] {
    [("a", 2), ("b", 3)].map(|(name, n)| numbered(bridge, name, n))
}

fn numbered(bridge: &Bridge, name: &str, n: u32) -> Container {
    bridge.container(name, &format!("10.9.0.{n}/24"), &format!("fd09::{n:x}/64"))
}

fn watch(lab: &Lab, args: &[&str]) -> Running {
    lab.spawn_in(Where::Own, &[&[XHOP, "watch"], args, &lab.by_args()].concat())
}

fn runs(watch: &Running) {
    wait_until(PATIENCE, "it watches", || watch.stdout().contains("watching"));
}

/// The host sides of those that are up.
fn up(lab: &Lab) -> Vec<String> {
    let members = lab.members();
    let up = members.iter().filter(|member| member["state"] == "up");
    let mut up: Vec<_> =
        up.map(|m| m["host"]["name"].as_str().expect("a name").to_owned()).collect();
    up.sort();
    up
}

/// What it says on standard error, but for what the machine's other settings make it say, and of a container
/// that takes its time to end.
fn complaints(watch: &Running) -> String {
    let known = ["br_netfilter is on", "the namespace of its other end can't be found"];
    let known = |line: &str| known.iter().any(|words| line.contains(words));
    watch.stderr().lines().filter(|line| !known(line)).collect()
}

fn are_up(lab: &Lab, watch: &Running, want: &[&str]) {
    let mut last = Vec::new();
    for _ in 0..PATIENCE.as_millis() / 10 {
        last = up(lab);
        if last == want {
            assert_eq!(complaints(watch), "");
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{last:?} are up, not {want:?}:\n{}{}", watch.stdout(), watch.stderr());
}

/// They talk, and the bridge sees nothing of it.
fn hop(lab: &Lab, bridge: &Bridge, from: &Container, to: &Container) {
    let before = bridge.forwarded();
    lab.pings(&from.name, &to.v4);
    lab.pings(&from.name, &to.v6);
    assert_eq!(bridge.forwarded(), before, "the bridge has seen nothing");
}

#[test]
fn who_comes_and_who_goes() {
    lab_by_each("who_comes_and_who_goes", &[], |lab| {
        let bridge = bridge(lab);
        let mut watch = watch(lab, &["--bridge", "br0"]);
        // The first has nobody to talk to yet.
        let a = numbered(&bridge, "a", 2);
        let b = numbered(&bridge, "b", 3);
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        hop(lab, &bridge, &a, &b);
        let c = numbered(&bridge, "c", 4);
        are_up(lab, &watch, &["veth-a", "veth-b", "veth-c"]);
        hop(lab, &bridge, &c, &a);
        hop(lab, &bridge, &b, &c);

        // The next one gets the address of one that has gone.
        lab.remove(b);
        are_up(lab, &watch, &["veth-a", "veth-c"]);
        let d = bridge.container("d", "10.9.0.3/24", "fd09::3/64");
        // Docker would send an ARP announcement.
        lab.ok_in("a", &["ip", "neigh", "flush", "dev", "eth0"]);
        are_up(lab, &watch, &["veth-a", "veth-c", "veth-d"]);
        hop(lab, &bridge, &a, &d);

        // One that leaves the bridge, and comes back.
        lab.ok_in(Where::Own, &["ip", "link", "set", "veth-d", "nomaster"]);
        are_up(lab, &watch, &["veth-a", "veth-c"]);
        lab.ok_in(Where::Own, &["ip", "link", "set", "veth-d", "master", "br0"]);
        are_up(lab, &watch, &["veth-a", "veth-c", "veth-d"]);

        // An address more.
        lab.ok_in("a", &["ip", "addr", "add", "10.9.0.77/24", "dev", "eth0"]);
        wait_until(PATIENCE, "the new address is known", || {
            let members = lab.members();
            members.iter().any(|m| m["addresses"].to_string().contains("10.9.0.77"))
        });
        clean(lab);
        for container in [a, c, d] {
            lab.remove(container);
        }
        are_up(lab, &watch, &[]);
        wait_until(PATIENCE, "no record is left", || lab.members().is_empty());
        assert!(watch.alive());
        watch.signal(Signal::SIGTERM);
        watch.wait(PATIENCE);
        assert_eq!(lab.own_files(), "");
    });
}

#[test]
fn the_next_one_goes_on() {
    lab("the_next_one_goes_on", |lab| {
        let bridge = bridge(lab);
        let [a, b] = two(&bridge);
        let before = lab.snapshot();
        let first = watch(lab, &[]);
        are_up(lab, &first, &["veth-a", "veth-b"]);
        let refused = lab.xhop(&["watch"]);
        lab::assert_one_line(&refused, &["another xhop watch"]);
        first.signal(Signal::SIGTERM);
        let first = first.wait(PATIENCE);
        assert_eq!(
            first.stdout.lines().filter(|line| line.contains("joined")).count(),
            2,
            "{first}"
        );
        // It leaves the path up.
        hop(lab, &bridge, &a, &b);
        let records = lab.own_files();

        // Nothing is done where nothing has to be.
        let second = watch(lab, &["--json", "--down-on-exit"]);
        runs(&second);
        let c = numbered(&bridge, "c", 4);
        are_up(lab, &second, &["veth-a", "veth-b", "veth-c"]);
        assert!(lab.own_files().contains(records.lines().next().expect("a record")));
        hop(lab, &bridge, &a, &c);
        let lines = second.stdout();
        let events = lines.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let mut events: Vec<serde_json::Value> = events.collect();
        events.retain(|event| event["event"] == "joined");
        let [event] = &events[..] else { panic!("one was joined: {lines}") };
        assert_eq!((&event["container"], &event["bridge"]), (&"netns:c".into(), &"br0".into()));
        lab.remove(c);
        are_up(lab, &second, &["veth-a", "veth-b"]);
        second.signal(Signal::SIGTERM);
        second.wait(PATIENCE);
        lab::assert_same(&before, &lab.snapshot());
        assert_eq!(lab.own_files(), "");
    });
}

#[test]
fn what_others_change_is_mended() {
    lab_by_each("what_others_change_is_mended", &[], |lab| {
        let bridge = bridge(lab);
        let [a, b] = two(&bridge);
        let watch = watch(lab, &["--attach", "netlink"]);
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        let remove: &[&str] = match lab.by() {
            "tc" => &["tc", "qdisc", "del", "dev", "veth-a", "clsact"],
            "native" => &["ip", "link", "set", "veth-a", "xdp", "off"],
            _ => &["ip", "link", "set", "veth-a", "xdpgeneric", "off"],
        };
        // Again and again: it is mended each time, though not at once.
        for _ in 0..3 {
            lab.ok_in(Where::Own, remove);
            wait_until(PATIENCE, "it is attached again", || {
                !lab.programs_on(Where::Own, "veth-a").is_empty()
            });
        }
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        hop(lab, &bridge, &a, &b);
        if lab.is_by("native") {
            lab.ok_in("a", &["ethtool", "-K", "eth0", "gro", "off"]);
            wait_until(PATIENCE, "GRO is on again", || lab.feature("a", "generic-receive-offload"));
        }
        wait_until(PATIENCE, "it is told", || watch.stdout().contains("mended"));
        clean(lab);
    });
}

#[test]
fn one_with_whom_something_is_wrong_keeps_nobody() {
    lab("one_with_whom_something_is_wrong_keeps_nobody", |lab| {
        let bridge = bridge(lab);
        let [_a, _b] = two(&bridge);
        // Isolated ports may not talk.
        numbered(&bridge, "c", 4);
        lab.ok_in(Where::Own, &["bridge", "link", "set", "dev", "veth-c", "isolated", "on"]);
        let mut watch = watch(lab, &[]);
        wait_until(PATIENCE, "two are up", || up(lab) == ["veth-a", "veth-b"]);
        wait_until(PATIENCE, "it is told", || watch.stderr().contains("isolated"));
        lab.ok_in(Where::Own, &["bridge", "link", "set", "dev", "veth-c", "isolated", "off"]);
        wait_until(PATIENCE, "three are up", || up(lab) == ["veth-a", "veth-b", "veth-c"]);
        // And if it becomes isolated it is taken out.
        lab.ok_in(Where::Own, &["bridge", "link", "set", "dev", "veth-c", "isolated", "on"]);
        wait_until(PATIENCE, "two are up", || up(lab) == ["veth-a", "veth-b"]);
        assert!(watch.alive());
    });
}

#[test]
fn a_bridge_that_comes_later() {
    lab("a_bridge_that_comes_later", |lab| {
        let watch = watch(lab, &["--bridge", "br0"]);
        runs(&watch);
        let bridge = bridge(lab);
        let [a, b] = two(&bridge);
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        hop(lab, &bridge, &a, &b);
        // Another one, which is not watched.
        let other = lab.bridge_at(Where::Own, "br1");
        other.container("x", "10.8.0.2/24", "fd08::2/64");
        other.container("y", "10.8.0.3/24", "fd08::3/64");
        // The bridge goes, and one by that name comes.
        lab.ok_in(Where::Own, &["ip", "link", "del", "br0"]);
        are_up(lab, &watch, &[]);
        lab.ok_in(Where::Own, &["ip", "link", "add", "br0", "type", "bridge"]);
        lab.ok_in(Where::Own, &["ip", "link", "set", "br0", "up"]);
        for veth in ["veth-a", "veth-b"] {
            lab.ok_in(Where::Own, &["ip", "link", "set", veth, "master", "br0"]);
        }
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        hop(lab, &bridge, &a, &b);
    });
}

#[test]
fn systemd_is_told() {
    lab("systemd_is_told", |lab| {
        use std::os::unix::net::UnixDatagram;
        let socket = UnixDatagram::bind("/run/notify").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let env = ["env", "NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=200000"];
        let watch = lab.spawn_in(Where::Own, &[&env[..], &[XHOP, "watch"]].concat());
        let heard = || {
            let mut words = [0; 256];
            let len = socket.recv(&mut words).expect("words");
            String::from_utf8_lossy(&words[..len]).into_owned()
        };
        assert_eq!(heard(), "READY=1");
        // A sign of life, and again, though nothing happens.
        for _ in 0..3 {
            assert_eq!(heard(), "WATCHDOG=1");
        }
        watch.signal(Signal::SIGTERM);
        let mut last = heard();
        while last == "WATCHDOG=1" {
            last = heard();
        }
        assert_eq!(last, "STOPPING=1");
    });
}

/// A number of `/proc/PID/status`.
fn status(watch: &Running, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", watch.pid())).expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

fn descriptors(watch: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", watch.pid())).expect("fd").count()
}

#[test]
fn two_hundred_come_and_go() {
    lab("two_hundred_come_and_go", |lab| {
        let bridge = bridge(lab);
        let [a, b] = two(&bridge);
        let watch = watch(lab, &["--bridge", "br0"]);
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        let files = || lab.own_files().lines().count();
        let before = files();
        // More while it is at work.
        let seen = (0..100).map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            descriptors(&watch)
        });
        let least = seen.min().expect("some");
        let at_rest = || descriptors(&watch) == least;
        // All at once, as fast as ip(8) can.
        let many = 50;
        let each = |f: &dyn Fn(usize) -> String| (0..many).map(f).collect::<Vec<_>>().join("\n");
        let make = each(&|n| {
            format!(
                "netns add c{n}\nlink add vc{n} type veth peer name eth0 netns c{n}\n\
                 link set vc{n} master br0 up"
            )
        });
        let start = each(&|n| {
            format!(
                "ip -n c{n} addr add 10.9.1.{}/16 dev eth0 && ip -n c{n} link set eth0 up",
                n + 1
            )
        });
        let end = each(&|n| format!("netns del c{n}"));
        let batch = |text: &str| {
            std::fs::write("/run/batch", text).expect("a file in /run");
            lab.ok_in(Where::Own, &["ip", "-batch", "/run/batch"]);
        };
        let mut rss = Vec::new();
        for _ in 0..4 {
            batch(&make);
            lab.ok_in(Where::Own, &["sh", "-ec", &start]);
            wait_until(Duration::from_secs(60), "all are up", || up(lab).len() == many + 2);
            rss.push(status(&watch, "VmRSS:"));
            batch(&end);
            wait_until(Duration::from_secs(60), "all are gone", || lab.members().len() == 2);
            wait_until(PATIENCE, "it is at rest", at_rest);
            assert_eq!(files(), before);
        }
        println!("VmRSS: {rss:?} kB");
        assert!(rss[3] <= rss[0] + 512, "memory is flat: {rss:?} kB");
        assert_eq!(complaints(&watch), "");
        hop(lab, &bridge, &a, &b);
    });
}

/// The capabilities that the unit leaves it, in the words of setpriv(1).
fn unit_capabilities() -> String {
    let unit = include_str!("../share/systemd/xhop-watch.service");
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = set.expect("the set").split(' ').map(|name| name.to_lowercase());
    names.fold("-all".into(), |all, name| format!("{all},+{}", name.trim_start_matches("cap_")))
}

#[test]
fn what_the_unit_leaves_it_is_enough() {
    lab_by_each("what_the_unit_leaves_it_is_enough", &["setpriv"], |lab| {
        let bridge = bridge(lab);
        let [a, b] = two(&bridge);
        let set = format!("--bounding-set={}", unit_capabilities());
        let bound = ["setpriv", "--no-new-privs", "--inh-caps=-all", &set, XHOP, "watch"];
        let watch = lab.spawn_in(Where::Own, &[&bound, &lab.by_args()[..]].concat());
        are_up(lab, &watch, &["veth-a", "veth-b"]);
        hop(lab, &bridge, &a, &b);
        // And that others are told that it runs.
        let down = lab.xhop(&["down", "netns:a"]);
        assert!(down.stderr.contains("xhop watch runs"), "{down}");
    });
}

#[test]
fn without_broadcast_it_says_what_it_needs() {
    lab_with("without_broadcast_it_says_what_it_needs", &["setpriv"], |lab| {
        let bound = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_broadcast", XHOP, "watch"];
        let refused = lab.run_in(Where::Own, &bound);
        lab::assert_one_line(&refused, &["CAP_NET_BROADCAST"]);
    });
}
