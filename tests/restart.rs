//! Containers end, come back and change: a stale entry never swallows traffic.

mod lab;

use std::time::Duration;

use lab::{
    Bridge, Container, HOST, Lab, Pair, Where, assert_same, counter, lab_by_each, lab_with,
    wait_until,
};

const TOOLS: &[&str] = &["curl", "ebtables"];
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends a container, and makes one with the same name and addresses and a new veth. A given
/// Ethernet address is kept, as Docker does.
fn come_back(lab: &Lab, bridge: &Bridge, gone: Container, mac: Option<&str>) -> Container {
    let again = gone.clone();
    let index =
        lab.json(HOST, &["ip", "-j", "link", "show", "dev", &gone.veth])[0]["ifindex"].clone();
    end(lab, gone);
    let (v4, v6) = (format!("{}/24", again.v4), format!("{}/64", again.v6));
    let back = bridge.container(&again.name, &v4, &v6);
    if let Some(mac) = mac {
        lab.ok_in(&*back.name, &["ip", "link", "set", "eth0", "address", mac]);
    }
    let now = lab.json(HOST, &["ip", "-j", "link", "show", "dev", &back.veth]);
    assert_ne!(now[0]["ifindex"], index, "the veth is not a new one");
    back
}

/// Ends a container and waits until its veth is gone.
fn end(lab: &Lab, container: Container) {
    let veth = container.veth.clone();
    lab.remove(container);
    wait_until(PATIENCE, "the veth goes with its container", || {
        !lab.run_in(HOST, &["ip", "link", "show", "dev", &veth]).status.success()
    });
}

/// Whoever knew the old Ethernet addresses must ask again. (Else it does so by itself, but late.)
fn forget_neighbours(lab: &Lab, name: &str) {
    lab.ok_in(name, &["ip", "neigh", "flush", "dev", "eth0"]);
}

fn mac(lab: &Lab, name: &str) -> String {
    let link = lab.json(name, &["ip", "-j", "link", "show", "dev", "eth0"]);
    link[0]["address"].as_str().expect("an Ethernet address").to_owned()
}

/// Both talk, and the bridge sees nothing, or some of it.
fn talk(lab: &Lab, pair: &Pair, direct: bool) {
    let before = pair.bridge.forwarded();
    let _pages = [&pair.a, &pair.b].map(|one| lab.http_server(&*one.name, 80, b"hello".to_vec()));
    lab.reaches(&pair.a, &pair.b);
    lab.reaches(&pair.b, &pair.a);
    assert_eq!(pair.bridge.forwarded() == before, direct, "the bridge has seen it, or not");
}

fn comes_back(name: &str, keeps_mac: bool) {
    lab_by_each(name, TOOLS, |lab| {
        let mut pair = lab.pair();
        let old_mac = mac(lab, "b");
        lab.joins(&["a", "b"]);
        talk(lab, &pair, true);

        pair.b = come_back(lab, &pair.bridge, pair.b, keeps_mac.then_some(&*old_mac));
        assert_eq!(mac(lab, "b") == old_mac, keeps_mac);
        if !keeps_mac {
            forget_neighbours(lab, "a");
        }
        let stale = lab.counted("netns:a", "stale");
        talk(lab, &pair, false);
        let stale = lab.counted("netns:a", "stale") - stale;
        // With a new Ethernet address it is a stranger; with the old one only its veth is missed.
        assert_eq!(stale > 10, keeps_mac, "{stale}");
        assert_eq!(lab.member("netns:a")["state"], "up");
        assert_eq!(lab.member("netns:b")["state"], "gone");

        lab.joins(&["a", "b"]);
        let state = |name: &str| lab.member(name)["state"].clone();
        assert_eq!(["netns:a", "netns:b"].map(state), ["up", "up"]);
        assert_eq!(lab.members().len(), 2);
        talk(lab, &pair, true);
        lab.xhop(&["down", "--all"]).ok();
        talk(lab, &pair, false);
    });
}

#[test]
fn a_container_comes_back_with_its_ethernet_address() {
    comes_back("a_container_comes_back_with_its_ethernet_address", true);
}

#[test]
fn a_container_comes_back_with_a_new_ethernet_address() {
    comes_back("a_container_comes_back_with_a_new_ethernet_address", false);
}

#[test]
fn up_of_others_cleans_up_after_the_dead() {
    lab_by_each("up_of_others_cleans_up_after_the_dead", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        end(lab, c);
        lab.joins(&["a", "b"]);
        assert_eq!(lab.members().len(), 2);
        talk(lab, &pair, true);
    });
}

#[test]
fn down_of_the_dead() {
    lab_by_each("down_of_the_dead", TOOLS, |lab| {
        let pair = lab.pair();
        for attach in ["link", "netlink"] {
            let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
            end(lab, c);
            let before = lab.everything();
            let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
            lab.joins(&["a", "b", "c", "--attach", attach]);
            end(lab, c);
            assert_eq!(lab.member("netns:c")["state"], "gone");
            assert!(lab.xhop(&["status"]).ok().contains("gone"));
            lab.xhop(&["down", "netns:c"]).ok();
            assert_eq!(lab.members().len(), 2);
            talk(lab, &pair, true);
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        }
    });
}

#[test]
fn down_when_all_are_dead() {
    lab_with("down_when_all_are_dead", TOOLS, |lab| {
        let Pair { bridge, a, b } = lab.pair();
        lab.xhop(&["up", "a", "b", "--checksum", "offload-off"]).ok();
        end(lab, a);
        end(lab, b);
        // The bridge's namespace too: nothing is left of what the records name.
        lab.ok_in(Where::Own, &["ip", "netns", "del", HOST]);
        drop(bridge);
        lab.xhop(&["down", "--all"]).ok();
        assert_eq!(lab.members().len(), 0);
        for left in ["/sys/fs/bpf/xhop", "/run/xhop"] {
            let entries = std::fs::read_dir(left).into_iter().flatten().flatten();
            let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            assert!(names.iter().all(|name| name == "lock"), "{names:?} in {left}");
        }
    });
}

/// Indices can come back too. What was changed for the dead was not changed for the new one.
#[test]
fn a_new_container_gets_the_index_of_a_dead_one() {
    lab_with("a_new_container_gets_the_index_of_a_dead_one", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        let index = |veth: &str| {
            lab.json(HOST, &["ip", "-j", "link", "show", "dev", veth])[0]["ifindex"].to_string()
        };
        let dead = index("veth-c");
        lab.xhop(&["up", "a", "b", "c", "--checksum", "offload-off"]).ok();
        end(lab, c);

        lab.netns("d");
        let make = format!("ip link add veth-d index {dead} type veth peer name eth0 netns d");
        lab.ok_in(HOST, &make.split(' ').collect::<Vec<_>>());
        lab.ok_in(HOST, &["ip", "link", "set", "veth-d", "master", "br0", "up"]);
        assert_eq!(index("veth-d"), dead);
        lab.ok_in("d", &["ip", "addr", "add", "10.9.0.4/24", "dev", "eth0"]);
        lab.ok_in("d", &["ip", "link", "set", "eth0", "up"]);
        lab.ok_in("d", &["ethtool", "-K", "eth0", "gro", "on", "tx", "off"]);
        wait_until(PATIENCE, "d is reached by the bridge", || {
            lab.run_in("a", &["ping", "-n", "-c1", "-W1", "10.9.0.4"]).status.success()
        });
        let features = || lab.ok_in("d", &["ethtool", "-k", "eth0"]);
        let found = features();

        lab.xhop(&["up", "a", "b", "d", "--checksum", "offload-off"]).ok();
        let before = pair.bridge.forwarded();
        lab.pings("a", "10.9.0.4");
        lab.pings("d", "10.9.0.3");
        assert_eq!(pair.bridge.forwarded(), before);
        lab.xhop(&["down", "--all"]).ok();
        assert_same(&found, &features());
    });
}

/// Takes the addresses of one container to another.
fn move_address(lab: &Lab, from: Option<&str>, to: &str, v4: &str, v6: &str) {
    for cidr in [format!("{v4}/24"), format!("{v6}/64")] {
        if let Some(from) = from {
            lab.ok_in(from, &["ip", "addr", "del", &cidr, "dev", "eth0"]);
        }
        lab.ok_in(to, &["ip", "addr", "add", &cidr, "dev", "eth0", "nodad"]);
    }
}

#[test]
fn an_address_moves_to_another_container() {
    lab_by_each("an_address_moves_to_another_container", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        move_address(lab, Some("c"), "b", &c.v4, &c.v6);
        lab.ok_in("c", &["ip", "addr", "add", "10.9.0.5/24", "dev", "eth0"]);
        forget_neighbours(lab, "a");
        // Until xhop is told, b sends in c's name, which must not pass; `up` tells it.
        lab.joins(&["a", "b", "c"]);
        let before = pair.bridge.forwarded();
        let _page = lab.http_server("b", 80, b"hello".to_vec());
        for address in [&pair.b.v4, &pair.b.v6, &c.v4, &c.v6] {
            lab.pings("a", address);
            lab.get("a", address).ok();
        }
        lab.pings("a", "10.9.0.5");
        assert_eq!(pair.bridge.forwarded(), before);
    });
}

/// `up` looks at the machine, not at its records: c has the address no more.
#[test]
fn an_address_moves_and_only_the_receiver_is_named() {
    lab_by_each("an_address_moves_and_only_the_receiver_is_named", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        move_address(lab, Some("c"), "b", &c.v4, &c.v6);
        forget_neighbours(lab, "a");
        lab.joins(&["a", "b"]);
        lab.pings("a", &c.v4);
    });
}

/// A joined container that gets the address of one that has ended talks by the bridge until `up` is run
/// again.
#[test]
fn the_address_of_a_dead_container_goes_to_a_joined_one() {
    lab_by_each("the_address_of_a_dead_container_goes_to_a_joined_one", TOOLS, |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        end(lab, c.clone());
        move_address(lab, None, "b", &c.v4, &c.v6);
        forget_neighbours(lab, "a");
        for address in [&c.v4, &c.v6] {
            lab.pings("a", address);
        }
        lab.joins(&["a", "b"]);
        let before = pair.bridge.forwarded();
        for address in [&c.v4, &c.v6] {
            lab.pings("a", address);
        }
        assert_eq!(pair.bridge.forwarded(), before);
    });
}

#[test]
fn a_container_changes_its_ethernet_address() {
    lab_by_each("a_container_changes_its_ethernet_address", TOOLS, |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        talk(lab, &pair, true);
        lab.ok_in("b", &["ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"]);
        forget_neighbours(lab, "a");
        talk(lab, &pair, false);
        let member = lab.member("netns:b");
        assert_eq!(
            (counter(&member, "spoofed", "packets"), &member["name"]),
            (0, &"netns:b".into())
        );
        lab.joins(&["a", "b"]);
        assert_eq!(lab.member("netns:b")["mac"], "02:00:00:00:00:77");
        talk(lab, &pair, true);
    });
}
