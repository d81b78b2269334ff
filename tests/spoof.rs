//! Source verification: the direct path carries nothing that is sent in another container's name.

mod lab;

use lab::{Lab, Pair, counter, lab_by_each};

/// Gives `a` the address of somebody else, and pings `to` from it.
fn ping_from(lab: &Lab, source: &str, to: &str) -> bool {
    let done = lab.run_in("a", &["ping", "-n", "-c3", "-i0.1", "-W1", "-I", source, to]);
    // ping(8): 1 is no answer, 2 any other error.
    assert!(matches!(done.status.code(), Some(0 | 1)), "{done}");
    done.status.success()
}

fn take_address(lab: &Lab, pair: &Pair, cidr: &str) {
    lab.ok_in(&*pair.a.name, &["ip", "addr", "add", cidr, "dev", "eth0", "nodad"]);
}

#[test]
fn anothers_address_is_counted_and_takes_the_bridge() {
    lab_by_each("anothers_address_is_counted_and_takes_the_bridge", &[], |lab| {
        let pair = lab.pair();
        let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.joins(&["a", "b", "c"]);
        for (victim, prefix, to, echos) in
            [(&pair.b.v4, "32", &c.v4, "IcmpInEchos"), (&pair.b.v6, "128", &c.v6, "Icmp6InEchos")]
        {
            // Known neighbours: nothing but the echo requests is on its way.
            lab.pings("a", to);
            lab.pings("c", victim);
            take_address(lab, &pair, &format!("{victim}/{prefix}"));
            let arrived = || lab.counters("c").get(echos);
            let (before, arrived_before) = (lab.member("netns:a"), arrived());
            assert!(!ping_from(lab, victim, to), "{victim} was believed");
            let after = lab.member("netns:a");
            let rise = |what| counter(&after, "spoofed", what) - counter(&before, "spoofed", what);
            assert_eq!(rise("packets"), 3, "{victim}");
            // 56 bytes of data, ICMP and Ethernet header, and 20 or 40 of IP.
            assert_eq!(rise("bytes"), if prefix == "32" { 3 * 98 } else { 3 * 118 });
            // By the bridge, as without us.
            assert_eq!(arrived() - arrived_before, 3, "{victim}");
            lab.ok_in("a", &["ip", "addr", "del", &format!("{victim}/{prefix}"), "dev", "eth0"]);
            // Its own address is believed as before.
            lab.pings("a", to);
        }
    });
}

#[test]
fn an_unknown_address_takes_the_bridge() {
    lab_by_each("an_unknown_address_takes_the_bridge", &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        for (own, cidr, to) in
            [("10.9.0.77", "10.9.0.77/32", &pair.b.v4), ("fd09::77", "fd09::77/128", &pair.b.v6)]
        {
            take_address(lab, &pair, cidr);
            let before = lab.member("netns:a");
            assert!(ping_from(lab, own, to), "{own} gets no answer");
            let after = lab.member("netns:a");
            let rise = |verdict| {
                counter(&after, verdict, "packets") - counter(&before, verdict, "packets")
            };
            assert!(rise("passed") >= 3, "{after}");
            assert_eq!((rise("forwarded"), rise("spoofed")), (0, 0), "{after}");
        }
    });
}

#[test]
fn anothers_ethernet_address_takes_the_bridge() {
    lab_by_each("anothers_ethernet_address_takes_the_bridge", &[], |lab| {
        let pair = lab.pair();
        lab.joins(&["a", "b"]);
        lab.ok_in("a", &["ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"]);
        let before = lab.member("netns:a");
        // The change of address took the neighbours along; they are asked for again.
        lab.pings("a", &pair.b.v4);
        let after = lab.member("netns:a");
        assert_eq!(
            counter(&after, "forwarded", "packets"),
            counter(&before, "forwarded", "packets")
        );
        assert!(counter(&after, "passed", "packets") > counter(&before, "passed", "packets") + 1);
    });
}
