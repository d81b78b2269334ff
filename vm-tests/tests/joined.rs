//! Who is read off a capture, and how its packets are shown.

mod bridge;

use std::net::IpAddr;

use bridge::{C, Checksum, STRANGER};
use proptest::prelude::*;
use xhop_asm::programs::Shipped;
use xhop_vm::Vm;
use xhop_vm::joined::{Container, Found, found};
use xhop_vm::packet::{
    A, B, GATEWAY, Host, Net, arp, catalogue, icmp, icmp6, neighbour_solicitation, sctp, tcp, tcp6,
    udp, udp6,
};
use xhop_vm::wire::{Mac, Wire};

fn of(frames: &[Vec<u8>]) -> Found {
    found(frames.iter().map(Vec::as_slice))
}

fn container(ifindex: u32, host: Host, addresses: &[&str]) -> Container {
    let addresses = addresses.iter().map(|ip| ip.parse::<IpAddr>().expect("an address"));
    Container { ifindex, mac: Mac(host.mac), addresses: addresses.collect() }
}

#[test]
fn both_ends_of_a_packet_in_the_order_of_their_appearance() {
    let frames = [
        udp().from(B).to(A).bytes(),
        tcp6().from(A).to(C).bytes(),
        tcp().from(B).to(C).bytes(),
        udp6().from(C).to(B).bytes(),
    ];
    let expected = [
        container(1, B, &["172.17.0.3", "fd00:17::3"]),
        container(2, A, &["172.17.0.2", "fd00:17::2"]),
        container(3, C, &["172.17.0.4", "fd00:17::4"]),
    ];
    assert_eq!(of(&frames), Found { containers: expected.to_vec(), left_out: vec![] });
}

#[test]
fn nobody_is_seen_in_these() {
    let mut broadcast = udp().from(A);
    broadcast.dst_mac = [0xff; 6];
    broadcast.src_mac = [0; 6];
    let mut from_nowhere = broadcast.clone();
    from_nowhere.src_mac = A.mac;
    if let Net::V4(ip) = &mut from_nowhere.net {
        ip.src = [0; 4];
    }
    let frames = [broadcast.bytes(), from_nowhere.bytes(), tcp().vlan(5).bytes(), vec![0; 13]];
    assert_eq!(of(&frames), Found::default());
    // Of ARP only the sender counts.
    assert_eq!(of(&[arp()]).containers, [container(1, A, &["172.17.0.2"])]);
}

#[test]
fn routers_and_disputed_addresses_are_left_out() {
    let far = Host { mac: GATEWAY.mac, v4: [192, 0, 2, 1], v6: [0x20; 16] };
    let frames = [
        tcp().from(A).to(far).bytes(),
        // B's packet by way of the gateway takes nothing from B.
        tcp().from(B).via(GATEWAY).to(Host { mac: A.mac, ..A }).bytes(),
        tcp().from(Host { mac: GATEWAY.mac, ..B }).to(A).bytes(),
        udp().from(STRANGER).to(A).bytes(),
        udp().from(Host { mac: C.mac, ..STRANGER }).to(A).bytes(),
    ];
    let found = of(&frames);
    let expected = [container(1, A, &["172.17.0.2"]), container(2, B, &["172.17.0.3"])];
    assert_eq!(found.containers, expected);
    let left_out: Vec<Mac> = found.left_out.iter().map(|(mac, _)| *mac).collect();
    assert_eq!(left_out, [GATEWAY.mac, STRANGER.mac, C.mac].map(Mac));
    assert!(found.left_out[0].1.contains("router"));
}

#[test]
fn a_link_local_address_is_one_more() {
    let local =
        Host { v6: "fe80::2".parse::<std::net::Ipv6Addr>().expect("an address").octets(), ..A };
    let frames = [tcp6().from(local).bytes(), tcp6().from(A).bytes(), tcp().from(A).bytes()];
    let expected = container(1, A, &["172.17.0.2", "fe80::2", "fd00:17::2"]);
    assert_eq!(of(&frames).containers[0], expected);
}

#[test]
fn joined_means_forwarded() {
    let frames = [tcp().bytes(), tcp6().bytes()];
    let program = Shipped::Forward(Checksum::Keep).program().expect("assembles");
    let vm = Vm::new(&program).expect("loads");
    for container in of(&frames).containers {
        container.join(&vm).expect("fits");
    }
    for frame in frames {
        assert_eq!(vm.run(&frame, 1).expect("runs").redirect, Some(2));
    }
    // A program without maps has nobody to join.
    let pass = Vm::new(&Shipped::Pass.program().expect("assembles")).expect("loads");
    container(1, A, &["172.17.0.2"]).join(&pass).expect("nothing to do");
}

#[test]
fn a_line_for_each_packet() {
    let shown = |frame: Vec<u8>| Wire::read(&frame).map(|wire| wire.to_string());
    for (frame, expected) in [
        (tcp().bytes(), "172.17.0.2.44498 > 172.17.0.3.80 TCP"),
        (udp6().bytes(), "fd00:17::2.40000 > fd00:17::3.5201 UDP"),
        (icmp().bytes(), "172.17.0.2 > 172.17.0.3 ICMP"),
        (icmp6().bytes(), "fd00:17::2 > fd00:17::3 ICMPv6"),
        (sctp().bytes(), "172.17.0.2.5000 > 172.17.0.3.5001 SCTP"),
        (tcp().options([1; 4]).bytes(), "172.17.0.2.44498 > 172.17.0.3.80 TCP"),
        (tcp().payload_len(32).fragment(5, true).bytes(), "172.17.0.2 > 172.17.0.3 TCP"),
        (tcp().qinq(7, 5).bytes(), "vlan 7 172.17.0.2.44498 > 172.17.0.3.80 TCP"),
        (arp(), "172.17.0.2 > 172.17.0.3 ARP"),
        (neighbour_solicitation().bytes(), "fd00:17::2 > ff02::1:ff00:3 ICMPv6"),
        (tcp().bytes()[..20].to_vec(), "02:42:ac:11:00:02 > 02:42:ac:11:00:03 0x0800"),
    ] {
        assert_eq!(shown(frame).as_deref(), Some(expected));
    }
    assert_eq!(shown(vec![0; 13]), None);
    for case in catalogue() {
        assert!(shown(case.frame).is_some_and(|line| !line.ends_with(' ')), "{}", case.name);
    }
}

proptest! {
    /// Frames of arbitrary bytes, some with a good Ethernet header, give a line each and containers with one
    /// address of a kind at most.
    #[test]
    fn any_frames(tails: Vec<(prop::sample::Index, Vec<u8>)>) {
        let cases = catalogue();
        let frames: Vec<Vec<u8>> = tails
            .into_iter()
            .map(|(case, tail)| {
                let frame = &case.get(&cases).frame;
                [&frame[..tail.len().min(frame.len())], &tail].concat()
            })
            .collect();
        for frame in &frames {
            prop_assert_eq!(Wire::read(frame).is_some(), frame.len() >= 14);
        }
        for container in of(&frames).containers {
            prop_assert!(container.mac.is_unicast() && (1..=3).contains(&container.addresses.len()));
        }
    }
}
