//! `--checksum trust`: what comes from a joined container is taken as right, and nothing else.

mod lab;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use lab::{HOST, Lab, lab_with, raw, wait_until};

const PORT: u16 = 4000;
const PATIENCE: Duration = Duration::from_secs(5);

/// A UDP datagram with a checksum that is wrong, and not half of one either.
fn bad_udp(lab: &Lab, from: &str, to: &str) {
    let mut segment = [0; 16];
    segment[..2].copy_from_slice(&5000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&PORT.to_be_bytes());
    segment[5] = 16;
    segment[6..8].copy_from_slice(&[0xde, 0xad]);
    segment[8..].copy_from_slice(b"corrupt!");
    send(lab, from, to, libc::IPPROTO_UDP, &segment);
}

/// A SYN with a wrong one.
fn bad_tcp(lab: &Lab, from: &str, to: &str) {
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&5000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&PORT.to_be_bytes());
    (segment[12], segment[13], segment[14]) = (5 << 4, 2, 0x20);
    segment[16..18].copy_from_slice(&[0xde, 0xad]);
    send(lab, from, to, libc::IPPROTO_TCP, &segment);
}

fn send(lab: &Lab, from: &str, to: &str, protocol: i32, segment: &[u8]) {
    let to: Ipv4Addr = to.parse().expect("an address");
    lab.in_netns(from, || raw::send_ip(to, protocol, segment)).expect("sent");
}

fn receiver(lab: &Lab, at: &str) -> UdpSocket {
    let socket = lab.in_netns(at, || UdpSocket::bind(("0.0.0.0", PORT)).expect("a port"));
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    socket
}

/// Whether a corrupt datagram and a corrupt SYN from `from` are taken at `at`, or counted there.
fn believes(lab: &Lab, from: &str, at: &str, address: &str) -> bool {
    let socket = receiver(lab, at);
    let count = |name| lab.counters(at).get(name);
    let before = ["UdpInCsumErrors", "TcpInCsumErrors"].map(count);
    let resets = count("TcpOutRsts");
    bad_udp(lab, from, address);
    bad_tcp(lab, from, address);
    let taken = socket.recv(&mut [0; 64]).is_ok();
    let rise = |now: [i64; 2]| [now[0] - before[0], now[1] - before[1]];
    let expected = if taken { [0, 0] } else { [1, 1] };
    wait_until(PATIENCE, "both are taken, or both counted as corrupt", || {
        // Nobody listens: a SYN that is taken is answered by a reset.
        let reset = count("TcpOutRsts") > resets;
        rise(["UdpInCsumErrors", "TcpInCsumErrors"].map(count)) == expected && reset == taken
    });
    taken
}

#[test]
fn only_joined_containers_are_believed() {
    lab_with("only_joined_containers_are_believed", &["curl"], |lab| {
        let pair = lab.pair();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.ok_in(HOST, &["ip", "addr", "add", "10.9.0.1/24", "dev", "br0"]);
        for (from, to) in [("a", "10.9.0.3"), ("c", "10.9.0.3"), (HOST, "10.9.0.3")] {
            lab.pings(from, to);
            assert!(!believes(lab, from, "b", to), "{from}, before");
        }
        for attach in ["link", "netlink"] {
            lab.joins(&["a", "b", "--checksum", "trust", "--attach", attach]);
            assert!(believes(lab, "a", "b", "10.9.0.3"), "{attach}: a, which is joined");
            for outside in ["c", HOST] {
                assert!(!believes(lab, outside, "b", "10.9.0.3"), "{attach}: {outside}");
            }
            let _page = lab.http_server("b", 80, b"hello".to_vec());
            for from in ["a", "c", HOST] {
                lab.get(from, "10.9.0.3").ok();
            }
            // A stranger with a joined one's IP address has another Ethernet address.
            lab.ok_in("c", &["ip", "addr", "add", "10.9.0.2/32", "dev", "eth0"]);
            lab.ok_in(
                "c",
                &["ip", "route", "replace", "10.9.0.3/32", "dev", "eth0", "src", "10.9.0.2"],
            );
            assert!(!believes(lab, "c", "b", "10.9.0.3"), "{attach}: in a's name");
            lab.ok_in("c", &["ip", "addr", "del", "10.9.0.2/32", "dev", "eth0"]);
            lab.ok_in("a", &["ip", "neigh", "flush", "dev", "eth0"]);
            lab.ok_in("b", &["ip", "neigh", "flush", "dev", "eth0"]);
            lab.pings("a", "10.9.0.3");
            lab.xhop(&["down", "--all"]).ok();
            assert!(!believes(lab, "a", "b", "10.9.0.3"), "{attach}: after");
        }
        // No other way believes anybody.
        for way in
            ["--checksum=complete", "--checksum=offload-off", "--datapath=tc", "--datapath=generic"]
        {
            lab.joins(&["a", "b", way]);
            assert!(!believes(lab, "a", "b", "10.9.0.3"), "{way}");
        }
    });
}

/// What goes on from a joined container is summed by whoever it is for.
#[test]
fn a_container_that_forwards_vouches_for_nothing() {
    lab_with("a_container_that_forwards_vouches_for_nothing", &["curl"], |lab| {
        lab.pair();
        lab.netns("d");
        let link = "ip link add eth1 type veth peer name eth0 netns d";
        lab.ok_in("b", &link.split(' ').collect::<Vec<_>>());
        for (at, cidr, ifname) in [("b", "10.7.0.1/24", "eth1"), ("d", "10.7.0.2/24", "eth0")] {
            lab.ok_in(at, &["ip", "addr", "add", cidr, "dev", ifname]);
            lab.ok_in(at, &["ip", "link", "set", ifname, "up"]);
        }
        lab.in_netns("b", || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("sysctl"));
        lab.ok_in("a", &["ip", "route", "add", "10.7.0.0/24", "via", "10.9.0.3"]);
        lab.ok_in("d", &["ip", "route", "add", "default", "via", "10.7.0.1"]);
        let _page = lab.http_server("d", 80, b"hello".to_vec());
        for attach in ["link", "netlink"] {
            lab.joins(&["a", "b", "--checksum", "trust", "--attach", attach]);
            assert!(believes(lab, "a", "b", "10.9.0.3"), "{attach}");
            lab.pings("a", "10.7.0.2");
            lab.get("a", "10.7.0.2").ok();
            lab.bulk("a", "d", "10.7.0.2", 10_000_000).expect("a whole transfer");
            assert!(!believes(lab, "a", "d", "10.7.0.2"), "{attach}: what was sent on");
            lab.xhop(&["down", "--all"]).ok();
        }
    });
}
