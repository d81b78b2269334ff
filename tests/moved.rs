//! Interfaces, bridges and addresses that change their place while joined, or numbers their owner.

mod lab;

use std::fs;
use std::os::unix::fs::MetadataExt;

use lab::{Container, HOST, Lab, Where, XHOP, assert_one_line, assert_same, lab, lab_by_each};

const TOOLS: &[&str] = &["ebtables"];
const GRO: &str = "generic-receive-offload";

fn inode(netns: &str) -> u64 {
    fs::metadata(format!("/run/netns/{netns}")).expect("a namespace").ino()
}

fn index(lab: &Lab, at: &str, link: &str) -> String {
    lab.json(at, &["ip", "-j", "link", "show", "dev", link])[0]["ifindex"].to_string()
}

/// Makes a namespace with this inode number, if the kernel gives it away again soon.
fn netns_of_inode(lab: &Lab, wanted: u64) -> Option<String> {
    (0..12).map(|n| format!("z{n}")).find(|name| {
        lab.netns(name);
        inode(name) == wanted
    })
}

/// b ends. Somebody gets its namespace's number and its interface's, on the host too if `twin`.
fn numbers_of_the_dead(name: &str, attach: &str, twin: bool) {
    lab_by_each(name, &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b", "--attach", attach]);
        let (dead, inside) = (inode("b"), index(lab, "b", "eth0"));
        let outside = if twin { index(lab, HOST, "veth-b") } else { "4242".into() };
        lab.end(pair.b);
        let Some(heir) = netns_of_inode(lab, dead) else {
            // Other tests take numbers too.
            return eprintln!("{name}: inode number {dead} does not come back");
        };
        let make = format!(
            "ip link add veth-z index {outside} type veth peer name eth0 index {inside} netns {heir}"
        );
        lab.ok_in(HOST, &make.split(' ').collect::<Vec<_>>());
        lab.ok_in(HOST, &["ip", "link", "set", "veth-z", "up"]);
        lab.ok_in(&*heir, &["ip", "link", "set", "eth0", "up"]);
        lab.ok_in(&*heir, &["ethtool", "-K", "eth0", "gro", "on"]);
        assert_eq!((inode(&heir), index(lab, &heir, "eth0")), (dead, inside));
        lab.xhop(&["down", "--all"]).ok();
        assert!(lab.feature(&*heir, GRO), "a stranger's GRO is switched off");
        assert!(!lab.feature("a", GRO));
        assert_eq!(lab.own_files(), "");
    });
}

#[test]
fn a_stranger_has_the_numbers_of_the_dead() {
    numbers_of_the_dead("a_stranger_has_the_numbers_of_the_dead", "link", false);
}

#[test]
fn a_stranger_has_all_numbers_of_the_dead() {
    numbers_of_the_dead("a_stranger_has_all_numbers_of_the_dead", "link", true);
}

#[test]
fn a_stranger_has_all_numbers_of_the_dead_without_a_link() {
    let name = "a_stranger_has_all_numbers_of_the_dead_without_a_link";
    numbers_of_the_dead(name, "netlink", true);
}

#[test]
fn the_containers_end_moves_to_another_namespace() {
    lab("the_containers_end_moves_to_another_namespace", |lab| {
        lab.pair();
        lab.netns("else");
        let ways: [&[&str]; 6] = [
            &["--checksum", "complete"],
            &["--checksum", "offload-off"],
            &["--checksum", "trust"],
            &["--datapath", "tc"],
            &["--datapath", "tc", "--big-tcp"],
            &["--datapath", "generic"],
        ];
        let ways = ["link", "netlink"].map(|attach| ways.map(|way| (attach, way)));
        for (attach, way) in ways.concat() {
            let native = way[0] == "--checksum";
            let features = |at: &str| {
                let size = lab.gso_ipv4(at, "eth0");
                format!("gso {size}\n{}", lab.ok_in(at, &["ethtool", "-k", "eth0"]))
            };
            let before = features("b");
            lab.joins(&[&["a", "b", "--attach", attach], way].concat());
            assert_eq!(lab.feature("b", GRO), native, "{way:?}");
            lab.ok_in("b", &["ip", "link", "set", "eth0", "netns", "else"]);
            assert_eq!(lab.feature("else", GRO), native, "{way:?}");
            lab.xhop(&["status"]).ok();
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &features("else"));
            assert_eq!(lab.tcx_on("else", "eth0", lab::raw::TCX_INGRESS), [0; 0], "{way:?}");
            assert!(!lab.ok_in("else", &["tc", "qdisc", "show"]).contains("clsact"), "{way:?}");
            assert_eq!(lab.own_files(), "");
            lab.ok_in("else", &["ip", "link", "set", "eth0", "netns", "b"]);
            lab.ok_in("b", &["ip", "link", "set", "eth0", "up"]);
            lab.ok_in("b", &["ip", "addr", "add", "10.9.0.3/24", "dev", "eth0"]);
        }
    });
}

#[test]
fn a_veth_moves_to_another_bridge_and_back_to_a_new_one() {
    lab_by_each("a_veth_moves_to_another_bridge_and_back_to_a_new_one", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        lab.bridge("br1");
        let enslave = |veth: &str, bridge: &str| {
            lab.ok_in(HOST, &["ip", "link", "set", veth, "master", bridge, "up"]);
        };
        enslave(&pair.b.veth, "br1");
        assert_eq!(lab.state("netns:b"), "moved");
        assert!(lab.xhop(&["status"]).ok().contains("moved"));
        lab.joins(&["a", "c"]);
        assert_eq!(lab.members().len(), 2);
        assert_eq!(lab.programs_on(HOST, &pair.b.veth), [0; 0]);
        assert!(!lab.feature("b", GRO));
        pair.bridge.is_bypassed(&pair.a, &c);
        // As apart as the administrator wants them.
        let ping = ["ping", "-n", "-c1", "-W1", &pair.b.v4];
        assert!(!lab.run_in("a", &ping).status.success());

        // A bridge of the same name is another one.
        lab.ok_in(HOST, &["ip", "link", "del", "br0"]);
        lab.ok_in(HOST, &["ip", "link", "add", "br0", "type", "bridge"]);
        lab.ok_in(HOST, &["ip", "link", "set", "br0", "up"]);
        assert_eq!(lab.state("netns:a"), "moved");
        for one in [&pair.a, &pair.b, &c] {
            enslave(&one.veth, "br0");
        }
        lab.joins(&["a", "b"]);
        pair.bridge.is_bypassed(&pair.a, &pair.b);
        lab.joins(&["a", "b", "c"]);
        for (one, other) in [(&pair.a, &pair.b), (&pair.a, &c), (&pair.b, &c)] {
            pair.bridge.is_bypassed(one, other);
        }
        assert_eq!(lab.members().len(), 3);
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.own_files(), "");
        for one in [&pair.a, &pair.b, &c] {
            assert_eq!(lab.programs_on(HOST, &one.veth), [0; 0]);
            assert!(!lab.feature(&*one.name, GRO), "{}", one.name);
        }
    });
}

/// As keepalived does it. The bridge is slower, but knows.
#[test]
fn an_address_moves_and_nobody_tells_xhop() {
    lab_by_each("an_address_moves_and_nobody_tells_xhop", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let move_to = |container: &Container, what: &str| {
            for cidr in ["10.9.0.100/24", "fd09::100/64"] {
                let flags: &[&str] = if what == "add" { &["nodad"] } else { &[] };
                let change = ["ip", "addr", what, cidr, "dev", "eth0"];
                lab.ok_in(&*container.name, &[&change, flags].concat());
            }
        };
        move_to(&pair.b, "add");
        lab.joins(&["a", "b", "c"]);
        for address in ["10.9.0.100", "fd09::100"] {
            lab.pings("a", address);
        }
        move_to(&pair.b, "del");
        move_to(&c, "add");
        lab.ok_in("a", &["ip", "neigh", "flush", "dev", "eth0"]);
        let before = pair.bridge.forwarded();
        for address in ["10.9.0.100", "fd09::100"] {
            lab.pings("a", address);
            // The others stay where they were.
            lab.pings("a", if address.contains(':') { &c.v6 } else { &c.v4 });
        }
        assert!(pair.bridge.forwarded() >= before + 4);
    });
}

#[test]
fn a_container_on_two_bridges_leaves_both() {
    lab_by_each("a_container_on_two_bridges_leaves_both", &[], |lab| {
        lab.pair();
        lab.bridge("br1").container("c", "10.8.0.3/24", "fd08::3/64");
        let make = "ip link add eth1 type veth peer name veth-a1 netns host";
        lab.ok_in("a", &make.split(' ').collect::<Vec<_>>());
        lab.ok_in(HOST, &["ip", "link", "set", "veth-a1", "master", "br1", "up"]);
        lab.ok_in("a", &["ip", "link", "set", "eth1", "up"]);
        lab.ok_in("a", &["ip", "addr", "add", "10.8.0.2/24", "dev", "eth1"]);
        let names = || lab.members().iter().map(|m| m["name"].to_string()).collect::<Vec<_>>();
        lab.joins(&["a", "b"]);
        lab.joins(&["a", "c"]);
        assert_eq!(names().len(), 4);
        lab.xhop(&["down", "a"]).ok();
        assert_eq!(names(), ["\"netns:b\"", "\"netns:c\""]);
        for veth in ["veth-a", "veth-a1"] {
            assert_eq!(lab.programs_on(HOST, veth), [0; 0]);
        }
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.own_files(), "");
    });
}

#[test]
fn a_container_that_was_joined_by_its_veths_leaves_by_its_name() {
    lab_by_each("a_container_that_was_joined_by_its_veths_leaves_by_its_name", &[], |lab| {
        lab.pair_at(Where::Own);
        lab.bridge_at(Where::Own, "br1").container("c", "10.8.0.3/24", "fd08::3/64");
        let make = "ip link add veth-a1 type veth peer name eth1 netns a";
        lab.ok_in(Where::Own, &make.split(' ').collect::<Vec<_>>());
        lab.ok_in(Where::Own, &["ip", "link", "set", "veth-a1", "master", "br1", "up"]);
        lab.ok_in("a", &["ip", "link", "set", "eth1", "up"]);
        lab.ok_in("a", &["ip", "addr", "add", "10.8.0.2/24", "dev", "eth1"]);
        lab.joins(&["veth:veth-a", "veth:veth-b"]);
        lab.joins(&["veth:veth-a1", "veth:veth-c"]);
        lab.xhop(&["down", "netns:a"]).ok();
        let names: Vec<_> = lab.members().iter().map(|m| m["name"].to_string()).collect();
        assert_eq!(names, ["\"veth:veth-b\"", "\"veth:veth-c\""]);
    });
}

#[test]
fn a_bridge_that_is_down() {
    lab_by_each("a_bridge_that_is_down", &[], |lab| {
        let pair = lab.pair_at(Where::Own);
        lab.ok_in(Where::Own, &["ip", "link", "set", &pair.bridge.name, "down"]);
        lab.refuses(&lab.up_args(&["a", "b"]), &["netns:a", "bridge is down", "ip link set"]);
        lab.ok_in(Where::Own, &["ip", "link", "set", &pair.bridge.name, "up"]);
        lab.joins(&["a", "b"]);
    });
}

/// The host's end goes to another namespace, to a bridge there that leads to the old one: tc's link goes
/// along, and what it redirects to would be looked for in the wrong namespace. `twin` takes its number away.
fn the_hosts_end_moves(name: &str, attach: &str, twin: bool) {
    lab_by_each(name, &[], |lab| {
        let pair = lab.pair();
        let before = features(lab, "a");
        lab.netns("else");
        // With numbers that are not those of the veth.
        lab.ok_in("else", &["ip", "link", "add", "br1", "index", "1001", "type", "bridge"]);
        lab.ok_in("else", &["ip", "link", "set", "br1", "up"]);
        let make = "ip link add t0 type veth peer name t1 index 1002 netns else";
        lab.ok_in(HOST, &make.split(' ').collect::<Vec<_>>());
        lab.ok_in(HOST, &["ip", "link", "set", "t0", "master", "br0", "up"]);
        lab.ok_in("else", &["ip", "link", "set", "t1", "master", "br1", "up"]);
        let index = index(lab, HOST, "veth-a");
        if twin {
            let make = format!("ip link add twin index {index} type bridge");
            lab.ok_in("else", &make.split(' ').collect::<Vec<_>>());
        }
        lab.joins(&["a", "b", "--attach", attach]);
        lab.pings("a", "10.9.0.3");
        let to = |at: &str, other: &str, bridge: &str| {
            lab.ok_in(at, &["ip", "link", "set", "veth-a", "netns", other]);
            lab.ok_in(other, &["ip", "link", "set", "veth-a", "master", bridge, "up"]);
        };
        to(HOST, "else", "br1");
        let number = |at| self::index(lab, at, "veth-a");
        assert_eq!(number("else") == index, !twin);
        let gets = |what: &str| {
            lab::wait_until(std::time::Duration::from_secs(10), what, || {
                lab.run_in("a", &["ping", "-n", "-c1", "-W1", "10.9.0.3"]).status.success()
            });
        };
        gets("by the other bridge");
        // A filter of tc has not gone along: nothing tells whose the veth is.
        let told = !(lab.is_by("tc") && attach == "netlink");
        assert_eq!(lab.state("netns:a"), if told { "moved" } else { "gone" });
        if told && attach == "link" {
            let audit = lab.xhop(&["audit"]);
            assert!(audit.stdout.contains("veth-a was moved"), "{audit}");
        }
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.own_files(), "");
        assert_eq!(lab.programs_on("else", "veth-a"), [0; 0]);
        assert_same(&before, &features(lab, "a"));
        assert!(lab.ok_in("else", &["ip", "link", "show", "veth-a"]).contains("mtu 1500"));
        gets("with nothing of ours left");

        // Who stays can be joined anew, and who comes back.
        to("else", HOST, "br0");
        gets("on its bridge again");
        lab.joins(&["a", "b", "--attach", attach]);
        to(HOST, "else", "br1");
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["b", "c", "--attach", attach]);
        assert_eq!(lab.members().len(), 2);
        assert_eq!(lab.programs_on("else", "veth-a"), [0; 0]);
        assert_same(&before, &features(lab, "a"));
        lab.pings("b", &c.v4);
    });
}

fn features(lab: &Lab, at: &str) -> String {
    lab.ok_in(at, &["ethtool", "-k", "eth0"])
}

#[test]
fn the_hosts_end_moves_to_another_namespace() {
    the_hosts_end_moves("the_hosts_end_moves_to_another_namespace", "link", false);
}

#[test]
fn the_hosts_end_moves_without_a_link() {
    the_hosts_end_moves("the_hosts_end_moves_without_a_link", "netlink", false);
}

#[test]
fn the_hosts_end_moves_and_gets_another_number() {
    the_hosts_end_moves("the_hosts_end_moves_and_gets_another_number", "link", true);
}

/// What can't be found keeps nobody else from leaving.
#[test]
fn the_hosts_end_moves_out_of_sight() {
    lab_by_each("the_hosts_end_moves_out_of_sight", &[], |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        lab.netns("else");
        lab.ok_in(HOST, &["ip", "link", "set", "veth-a", "netns", "else"]);
        // No name leads there any more, and no process lives there.
        let script =
            format!("umount /run/netns/a; umount /run/netns/else; exec '{XHOP}' down --all");
        let dark = lab.run_in(Where::Own, &["unshare", "-m", "sh", "-c", &script]);
        assert_one_line(&dark, &["veth-a", "/proc"]);
        let names: Vec<_> = lab.members().iter().map(|m| m["name"].to_string()).collect();
        assert_eq!(names, ["\"netns:a\""]);
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.own_files(), "");
    });
}
