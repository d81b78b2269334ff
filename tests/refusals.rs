//! Bad input: one line that names the thing and a remedy, exit code 1, nothing changed.

mod lab;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use lab::{HOST, Lab, Where, lab, lab_by, lab_by_each, wait_until};

use xhop::sys::socket::connect;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

#[test]
fn an_unknown_container() {
    lab("an_unknown_container", |lab| {
        lab.pair_at(Where::Own);
        for (name, words) in [
            ("netns:nobody", ["netns:nobody", "ip netns"]),
            ("pid:4194305", ["pid:4194305", "ps"]),
            ("docker:nobody", ["docker.sock", "check that it runs"]),
            ("veth:nobody", ["veth:nobody", "ip link"]),
            ("nobody", ["nobody", "netns:NAME"]),
        ] {
            for args in [["up", "a", name], ["up", name, "a"]] {
                lab.refuses(&args, &words);
            }
            lab.refuses(&["down", name], &words);
        }
        lab.refuses(&["down", "a"], &["a is not joined", "xhop status"]);
    });
}

#[test]
fn an_engine_that_talks_nonsense() {
    lab("an_engine_that_talks_nonsense", |lab| {
        lab.pair();
        let engine = UnixListener::bind("/run/docker.sock").expect("a socket");
        for answer in
            ["", "nonsense", "HTTP/1.0 500 x\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n{\"Name\":"]
        {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut stream, _) = engine.accept().expect("a request");
                    let mut request = [0; 1024];
                    let _ = std::io::Read::read(&mut stream, &mut request);
                    let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
                });
                lab.refuses(&["up", "netns:a", "docker:x"], &["docker.sock", "check that it runs"]);
            });
        }
        // Nobody listens any more: a bare name must not depend on it.
        drop(engine);
        lab.refuses(&["up", "netns:a", "docker:x"], &["docker.sock", "check that it runs"]);
    });
}

/// Other commands wait for this one, and `watch` for its next look: it must not wait for ever.
#[test]
fn an_engine_that_hangs() {
    lab("an_engine_that_hangs", |lab| {
        lab.pair();
        let words = ["docker.sock", "check that it runs"];
        let refuses = || lab.refuses(&["up", "netns:a", "docker:x"], &words);
        let socket = Path::new("/run/docker.sock");
        let engine = UnixListener::bind(socket).expect("a socket");
        // It says nothing.
        refuses();
        // It never comes to an end.
        let _ = engine.accept().expect("the request before");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = engine.accept().expect("a request");
                let mut bytes = &b"HTTP/1.0 200 OK\r\n\r\n["[..];
                while std::io::Write::write_all(&mut stream, bytes).is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    bytes = b" ";
                }
            });
            refuses();
        });
        // It accepts nobody any more.
        let wait = std::time::Duration::from_millis(100);
        let mut waiting = Vec::new();
        while let Ok(stream) = connect(socket, wait) {
            waiting.push(stream);
        }
        refuses();
    });
}

#[test]
fn a_container_without_veth() {
    lab("a_container_without_veth", |lab| {
        lab.pair_at(Where::Own);
        lab.netns("bare");
        lab.refuses(&["up", "a", "netns:bare"], &["netns:bare", "no veth"]);
        lab.ok_in("bare", &["ip", "link", "add", "eth0", "type", "bridge"]);
        lab.refuses(&["up", "a", "bare"], &["netns:bare", "no veth"]);
        // Both of its ends in the container itself.
        lab.ok_in("bare", &["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        lab.refuses(&["up", "a", "bare"], &["netns:bare", "no veth"]);
        // An interface that is none, and a veth that leads nowhere.
        lab.refuses(&["up", "a", "veth:br0"], &["veth:br0", "no veth"]);
        lab.ok_in(Where::Own, &["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        lab.refuses(&["up", "a", "veth:v0"], &["veth:v0", "no veth"]);
    });
}

#[test]
fn one_container_twice_or_alone() {
    lab("one_container_twice_or_alone", |lab| {
        lab.pair_at(Where::Own);
        let resident = lab.spawn_in("a", &["sleep", "600"]);
        let pid = format!("pid:{}", resident.pid());
        for same in ["netns:a", "a", "veth:veth-a", "veth-a", &pid] {
            lab.refuses(&["up", "netns:a", same], &["netns:a", "same container", "different"]);
        }
        lab.refuses(&["up", "a"], &["netns:a", "alone", "second"]);
    });
}

#[test]
fn bridges_that_differ_or_lack() {
    lab("bridges_that_differ_or_lack", |lab| {
        let pair = lab.pair();
        let other = lab.bridge("br1");
        // A second one keeps its bridge up.
        for (name, v4, v6) in
            [("c", "10.9.1.4/24", "fd09:1::4/64"), ("d", "10.9.1.5/24", "fd09:1::5/64")]
        {
            other.container(name, v4, v6);
        }
        lab.refuses(&["up", "a", "c"], &["netns:a", "br0", "netns:c", "br1", "one bridge"]);
        lab.ok_in(HOST, &["ip", "link", "set", "veth-c", "nomaster"]);
        lab.refuses(&["up", "a", "c"], &["netns:c", "veth-c", "no bridge", "master"]);
        lab.refuses(&["up", "c", "a"], &["netns:c", "veth-c", "no bridge", "master"]);
        // Two veths of one container on the same bridge: which?
        lab.ok_in("c", &["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "veth-c1"]);
        lab.ok_in("c", &["ip", "link", "set", "veth-c1", "netns", HOST]);
        for veth in ["veth-c", "veth-c1"] {
            lab.ok_in(HOST, &["ip", "link", "set", veth, "master", &pair.bridge.name, "up"]);
        }
        lab.refuses(&["up", "a", "c"], &["netns:c", "veth:veth-c", "veth:veth-c1", "ambiguous"]);
    });
}

#[test]
fn an_ambiguous_name() {
    lab("an_ambiguous_name", |lab| {
        lab.pair_at(Where::Own);
        lab.ok_in(
            Where::Own,
            &["ip", "link", "add", "name", "a", "type", "veth", "peer", "name", "a1"],
        );
        lab.refuses(&["up", "a", "b"], &["a is ambiguous", "netns:a", "veth:a"]);
        lab.xhop(&["up", "netns:a", "b"]).ok();
    });
}

#[test]
fn no_bpffs() {
    lab("no_bpffs", |lab| {
        lab.pair();
        lab.ok_in(Where::Own, &["umount", "/sys/fs/bpf"]);
        // Hides the place to mount it.
        lab.ok_in(Where::Own, &["mount", "-t", "tmpfs", "none", "/sys/fs"]);
        let words = ["/sys/fs/bpf", "no BPF file system", "mount -t bpf"];
        lab.refuses(&["up", "a", "b"], &words);
        lab.xhop(&["status"]).ok();
        lab.ok_in(Where::Own, &["umount", "/sys/fs"]);
    });
}

#[test]
fn what_the_bridge_would_not_carry() {
    lab("what_the_bridge_would_not_carry", |lab| {
        lab.pair();
        type Words<'a> = &'a [&'a str];
        let cases: [(&str, Words, Words, Words); 5] = [
            (
                HOST,
                &["bridge", "link", "set", "dev", "veth-b", "state", "0"],
                &["bridge", "link", "set", "dev", "veth-b", "state", "3"],
                &["netns:b", "does not forward", "bridge link"],
            ),
            (
                HOST,
                &["bridge", "link", "set", "dev", "veth-b", "locked", "on"],
                &["bridge", "link", "set", "dev", "veth-b", "locked", "off"],
                &["netns:b", "locked", "--force"],
            ),
            (
                HOST,
                &["bridge", "link", "set", "dev", "veth-b", "isolated", "on"],
                &["bridge", "link", "set", "dev", "veth-b", "isolated", "off"],
                &["netns:b", "isolated", "--force"],
            ),
            (
                HOST,
                &["ip", "link", "set", "veth-b", "down"],
                &["ip", "link", "set", "veth-b", "up"],
                &["netns:b", "down", "ip link set"],
            ),
            (
                "b",
                &["ip", "link", "set", "eth0", "down"],
                &["ip", "link", "set", "eth0", "up"],
                &["netns:b", "down", "ip link set"],
            ),
        ];
        for (at, change, back, words) in cases {
            lab.ok_in(at, change);
            lab.refuses(&["up", "a", "b"], words);
            lab.refuses(&["up", "a", "b", "--dry-run"], words);
            lab.ok_in(at, back);
        }
        // What becomes so later is told.
        lab.xhop(&["up", "a", "b"]).ok();
        for (at, change, back, _) in cases {
            lab.ok_in(at, change);
            wait_until(PATIENCE, "it is told", || lab.state("netns:b") == "apart");
            assert_eq!(lab.state("netns:a"), "up", "{change:?}");
            assert!(lab.xhop(&["status"]).ok().contains("apart"));
            lab.ok_in(at, back);
            wait_until(PATIENCE, "it is well", || lab.state("netns:b") == "up");
        }
        lab.ok_in(HOST, &["ip", "link", "set", "br0", "down"]);
        assert_eq!([lab.state("netns:a"), lab.state("netns:b")], ["apart", "apart"]);
    });
}

#[test]
fn a_bridge_that_filters_vlans() {
    lab("a_bridge_that_filters_vlans", |lab| {
        lab.pair();
        let filter = ["ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1"];
        let done = lab.run_in(HOST, &filter);
        if done.stderr.contains("Operation not supported") {
            let reason = "this kernel has no CONFIG_BRIDGE_VLAN_FILTERING";
            return lab::not_tried("a_bridge_that_filters_vlans", reason);
        }
        done.ok();
        lab.refuses(&["up", "a", "b"], &["netns:a", "VLANs", "--force"]);
    });
}

/// Docker's containers may outlive its engine, and nobody else knows whether they are kept apart.
#[test]
fn a_bridge_of_docker_without_its_engine() {
    lab_by_each("a_bridge_of_docker_without_its_engine", &[], |lab| {
        let bridge = lab.bridge_at(Where::Own, "br-0123456789ab");
        bridge.container("a", "10.9.0.2/24", "fd09::2/64");
        bridge.container("b", "10.9.0.3/24", "fd09::3/64");
        let words = ["br-0123456789ab", "engine", "enable_icc", "--force"];
        lab.refuses(&lab.up_args(&["a", "b"]), &words);
        lab.joins(&["a", "b", "--force"]);
        lab.pings("a", "10.9.0.3");
        lab.xhop(&["down", "--all"]).ok();
    });
}

#[test]
fn addresses_that_lack_or_are_shared() {
    lab("addresses_that_lack_or_are_shared", |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "a", "b"]).ok();
        let take = |cidr: &str| {
            lab.ok_in("c", &["ip", "addr", "flush", "dev", "eth0"]);
            lab.ok_in("c", &["ip", "addr", "add", cidr, "dev", "eth0", "nodad"]);
        };
        for address in [&pair.b.v4, &pair.b.v6] {
            take(&format!("{address}/{}", if address.contains(':') { 64 } else { 24 }));
            let words = [address.as_str(), "netns:b", "netns:c", "take it off"];
            lab.refuses(&["up", "a", "c"], &words);
            lab.refuses(&["up", "b", "c"], &words);
        }
        lab.ok_in(&*c.name, &["ip", "addr", "flush", "dev", "eth0"]);
        lab.refuses(&["up", "a", "c"], &["netns:c", "no IP address", "give it one"]);
    });
}

#[test]
fn a_peer_mtu_that_is_too_large() {
    lab_by("a_peer_mtu_that_is_too_large", &[], "native", |lab| {
        lab.pair();
        for bad in ["a", "b"] {
            lab.ok_in(bad, &["ip", "link", "set", "eth0", "mtu", "9000"]);
            let veth = format!("veth-{bad}");
            for attach in ["link", "netlink"] {
                // All that was done for the other one before is taken back.
                let words = [&*veth, "MTU", "ip link set"];
                lab.refuses(&lab.up_args(&["a", "b", "--attach", attach]), &words);
                lab.refuses(&lab.up_args(&["b", "a", "--attach", attach]), &words);
            }
            // Of native XDP alone.
            for by in ["tc", "generic"] {
                lab.xhop(&["up", "a", "b", "--datapath", by]).ok();
                lab.pings("a", "10.9.0.3");
                lab.xhop(&["down", "--all"]).ok();
            }
            lab.ok_in(bad, &["ip", "link", "set", "eth0", "mtu", "1500"]);
        }
        lab.joins(&["a", "b"]);
    });
}

/// The folder in which a segment's records, or its pins, are: named after the bridge.
fn folder(lab: &Lab, root: &str) -> PathBuf {
    let netns =
        lab.in_netns(HOST, || fs::metadata("/proc/thread-self/ns/net").expect("procfs").ino());
    Path::new(root).join(format!("{netns}-{}", index(lab, "br0")))
}

fn index(lab: &Lab, link: &str) -> String {
    lab.json(HOST, &["ip", "-j", "link", "show", "dev", link])[0]["ifindex"].to_string()
}

/// What may be where a pin of ours is wanted.
const STRANGERS: [&str; 5] = ["other sizes", "other kind", "other room", "program", "folder"];

fn put_stranger(lab: &Lab, kind: &str, path: &Path) {
    let at = path.display();
    let create = |what: &str| {
        let command = format!("bpftool map create {at} type {what} name stranger");
        lab.ok_in(Where::Own, &command.split(' ').collect::<Vec<_>>());
    };
    match kind {
        "other sizes" => create("hash key 3 value 5 entries 7"),
        "other kind" => create("array key 4 value 12 entries 8192"),
        "other room" => create("hash key 4 value 12 entries 2 flags 1"),
        "program" => lab.pin_foreign(path),
        _ => fs::create_dir(path).expect("a folder in bpffs"),
    }
}

fn refuses_strangers(lab: &Lab, path: &Path) {
    let parent = path.parent().expect("a folder");
    for kind in STRANGERS {
        fs::create_dir_all(parent).expect("a folder in bpffs");
        put_stranger(lab, kind, path);
        let said = lab.refuses(&lab.up_args(&["a", "b"]), &[&path.display().to_string()]);
        assert!(said.contains("remove it") || said.contains("unpin it"), "{kind}: {said}");
        match kind {
            "folder" => fs::remove_dir(path).expect("it is still there"),
            _ => fs::remove_file(path).expect("it is still there"),
        }
    }
    let _ = fs::remove_dir(parent);
}

#[test]
fn strangers_in_the_place_of_maps() {
    lab_by_each("strangers_in_the_place_of_maps", &[], |lab| {
        lab.pair();
        for map in ["endpoints4", "endpoints6", "ports"] {
            refuses_strangers(lab, &folder(lab, "/sys/fs/bpf/xhop").join(map));
        }
        lab.joins(&["a", "b"]);
    });
}

#[test]
fn strangers_in_the_place_of_counters() {
    lab_by_each("strangers_in_the_place_of_counters", &[], |lab| {
        lab.pair();
        let member = folder(lab, "/sys/fs/bpf/xhop").join(index(lab, "veth-b"));
        refuses_strangers(lab, &member.join("stats"));
    });
}

#[test]
fn strangers_in_the_place_of_attachments() {
    lab_by_each("strangers_in_the_place_of_attachments", &[], |lab| {
        lab.pair();
        let member = folder(lab, "/sys/fs/bpf/xhop").join(index(lab, "veth-b"));
        refuses_strangers(lab, &member.join("forward"));
    });
}

#[test]
fn a_file_in_the_place_of_our_folder() {
    lab("a_file_in_the_place_of_our_folder", |lab| {
        lab.pair();
        lab.pin_foreign("/sys/fs/bpf/xhop".as_ref());
        lab.refuses(&["up", "a", "b"], &["/sys/fs/bpf/xhop"]);
    });
}

#[test]
fn a_malformed_record() {
    lab_by_each("a_malformed_record", &[], |lab| {
        lab.pair();
        lab.joins(&["a", "b"]);
        let by = format!("\"{}\"", lab.by());
        let segment = folder(lab, "/run/xhop").display().to_string();
        let file = PathBuf::from(format!("{segment}-{}.json", index(lab, "veth-a")));
        let good = fs::read_to_string(&file).expect("the record");
        let name = file.display().to_string();
        let huge = format!("{{\"version\": {}}}", "9".repeat(400));
        for bad in [
            "",
            "nonsense",
            "{}",
            "[1, 2",
            "\0\u{1}\n\n",
            &good[..good.len() / 2],
            &good.replacen("\"version\": 2", "\"version\": 1", 1),
            &good.replacen("\"version\": 2", "\"version\": -1", 1),
            &good.replace(&by, "\"warp\\n\""),
            &good.replace("\"sizes\":", "\"sizes\": [{\"what\": \"moon\"}], \"x\":"),
            &huge,
        ] {
            fs::write(&file, bad).expect("a bad record");
            let commands: [&[&str]; 4] =
                [&["status"], &["up", "a", "b"], &["down", "--all"], &["down", "b"]];
            for command in commands {
                lab.refuses(command, &[&name, "remove it"]);
            }
        }
        // A copy in another's place would lead to that one's pins.
        fs::write(&file, &good).expect("the good one");
        let copy = PathBuf::from(format!("{segment}-999.json"));
        fs::copy(&file, &copy).expect("a copy");
        lab.refuses(&["down", "--all"], &["-999.json", "another place", "remove it"]);
        fs::remove_file(&copy).expect("no copy");
        lab.xhop(&["down", "--all"]).ok();
    });
}

#[test]
fn records_where_none_can_be() {
    lab("records_where_none_can_be", |lab| {
        lab.pair();
        fs::write("/run/xhop", "a file").expect("a file");
        lab.refuses(&["up", "a", "b"], &["/run/xhop"]);
        fs::remove_file("/run/xhop").expect("no file");
        fs::create_dir_all("/run/xhop/1.json").expect("a folder");
        lab.refuses(&["up", "a", "b"], &["1.json"]);
        lab.refuses(&["status"], &["1.json"]);
    });
}
