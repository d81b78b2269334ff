//! Service chains: what goes in, whom it goes to next, and what is left alone.

mod bridge;

use bridge::{A_VETH, B_VETH, Bridge, C, C_VETH, Hop, STRANGER, kinds, patched};
use xhop_asm::blocks::chain::{BACK, MARK, MAX_MEMBERS, hop, key};
use xhop_asm::blocks::count::Verdict;
use xhop_asm::programs::Shipped;
use xhop_asm::xdp;
use xhop_vm::Vm;
use xhop_vm::packet::{
    A, B, Extension, Host, Packet, arp, catalogue, icmp, icmp6, neighbour_solicitation, sctp, tcp,
    tcp6, udp, udp6,
};

const NIC: u32 = 3;
/// Where TCP and UDP of the test packets go.
const WEB: u16 = 80;

/// Protocol, port and VLAN.
type Only = (u8, u16, u16);

/// `A`, `B` and `C` one after the other; what is for `C` goes in.
fn chain(shipped: Shipped) -> Bridge {
    let vm = Vm::new(&shipped.program().expect("assembles")).expect("is loaded");
    let chain = Bridge { vm };
    for veth in [A_VETH, B_VETH, C_VETH] {
        insert(&chain, "ports", &veth.to_ne_bytes(), &veth.to_ne_bytes());
    }
    let none = [0; 6];
    let hops = [
        ("hops", NIC, hop::encode(&[A_VETH, B_VETH, C_VETH], A.mac, none)),
        ("hops", A_VETH, hop::encode(&[B_VETH, C_VETH], B.mac, A.mac)),
        ("hops", B_VETH, hop::encode(&[C_VETH], C.mac, B.mac)),
        ("hops_back", C_VETH, hop::encode(&[B_VETH, A_VETH], B.mac, C.mac)),
        ("hops_back", B_VETH, hop::encode(&[A_VETH], A.mac, B.mac)),
        ("hops_back", A_VETH, hop::encode(&[], none, A.mac)),
    ];
    for (map, from, value) in hops {
        if let Ok(map) = chain.vm.map(map) {
            map.insert(from.to_ne_bytes(), value).expect("fits");
        }
    }
    chain
}

/// The same, with these matches of both addresses of `C`.
fn matching(shipped: Shipped, matches: &[Only]) -> Bridge {
    let chain = chain(shipped);
    for (protocol, port, vlan) in matches {
        for address in [C.v4.into(), C.v6.into()] {
            let key = key::encode(address, *protocol, *port, *vlan);
            insert(&chain, "matches", &key, &[0; 4]);
        }
    }
    chain
}

fn all_of_c(shipped: Shipped) -> Bridge {
    matching(shipped, &[(0, 0, 0)])
}

fn insert(chain: &Bridge, map: &str, key: &[u8], value: &[u8]) {
    chain.vm.map(map).expect("declared").insert(key, value).expect("fits");
}

/// From outside to `C`.
fn outside(packet: Packet) -> Packet {
    packet.from(STRANGER).to(C)
}

/// And back.
fn answer(packet: Packet) -> Packet {
    packet.from(C).to(STRANGER)
}

/// With these Ethernet addresses.
fn addressed(frame: &[u8], dst: [u8; 6], src: [u8; 6]) -> Vec<u8> {
    patched(frame.to_vec(), 0, &[dst, src].concat())
}

#[track_caller]
fn goes(chain: &Bridge, frame: &[u8], from: u32, to: u32, mac: [u8; 6]) {
    let expected =
        Hop { verdict: Verdict::Forwarded, to: Some(to), frame: addressed(frame, mac, MARK) };
    assert_eq!(chain.send(frame, from), expected);
}

#[track_caller]
fn enters(chain: &Bridge, frame: &[u8]) {
    goes(chain, frame, NIC, A_VETH, A.mac);
}

#[track_caller]
fn stays(chain: &Bridge, frame: &[u8], at: u32, verdict: Verdict) {
    assert_eq!(chain.send(frame, at), Hop { verdict, to: None, frame: frame.to_vec() });
}

/// As [`stays`], but the kernel does not get it.
#[track_caller]
fn dropped(chain: &Bridge, frame: &[u8], at: u32, verdict: Verdict) {
    let expected = Hop { verdict, to: None, frame: frame.to_vec() };
    assert_eq!(chain.send_or(frame, at, "XDP_DROP"), expected);
}

#[track_caller]
fn passes(chain: &Bridge, frame: &[u8]) {
    stays(chain, frame, NIC, Verdict::Passed);
}

/// All that an address alone takes in.
fn whatever() -> Vec<Vec<u8>> {
    all(outside)
}

fn all(way: fn(Packet) -> Packet) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for packet in kinds().into_iter().chain([icmp(), icmp6(), sctp()]) {
        for packet in [packet.clone(), packet.payload_len(999)] {
            let packet = way(packet);
            frames.push(packet.bytes());
            // Priority alone is no VLAN.
            frames.push(packet.vlan(0xe000).bytes());
        }
    }
    for packet in [tcp(), udp(), icmp()].map(way) {
        frames.extend([4, 40].map(|len| packet.clone().options(vec![1; len]).bytes()));
        for (offset, more) in [(0, true), (5, true), (9, false)] {
            frames.push(packet.clone().payload_len(64).fragment(offset, more).bytes());
        }
    }
    for packet in [tcp6(), udp6(), icmp6()].map(way) {
        frames.push(packet.clone().extension(Extension::HopByHop).bytes());
        frames.push(packet.payload_len(64).fragment(5, true).bytes());
    }
    frames
}

#[test]
fn what_is_for_an_address_goes_in() {
    let chain = all_of_c(Shipped::ChainIn);
    whatever().iter().for_each(|frame| enters(&chain, frame));
}

#[test]
fn what_is_for_another_does_not() {
    let chain = all_of_c(Shipped::ChainIn);
    for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
        for (from, to) in [(STRANGER, A), (STRANGER, B), (C, STRANGER), (A, STRANGER)] {
            passes(&chain, &packet.clone().from(from).to(to).via(C).bytes());
        }
    }
    // One bit of the address.
    for (packet, start, len) in [(tcp(), 30, 4), (tcp6(), 38, 16)] {
        let frame = outside(packet).bytes();
        for at in start..start + len {
            passes(&chain, &patched(frame.clone(), at, &[frame[at] ^ 1]));
        }
    }
}

#[test]
fn what_is_not_understood_does_not() {
    let chain = matching(Shipped::ChainIn, &[(0, 0, 0), (0, 0, 5)]);
    passes(&chain, &arp());
    for kind in 133..=137 {
        let nd = patched(neighbour_solicitation().to(C).bytes(), 54, &[kind]);
        passes(&chain, &nd);
    }
    let broadcast = Host { mac: [0xff; 6], ..C };
    for packet in kinds().map(outside) {
        passes(&chain, &packet.clone().to(broadcast).bytes());
        passes(&chain, &packet.clone().qinq(5, 5).bytes());
        passes(&chain, &packet.clone().qinq(0, 0).bytes());
        let mut two = packet;
        two.tags = vec![(0x8100, 5), (0x8100, 5)];
        passes(&chain, &two.bytes());
    }
    for (frame, known) in [(outside(tcp()).bytes(), 4), (outside(tcp6()).bytes(), 6)] {
        for version in (0..16).filter(|version| *version != known) {
            passes(&chain, &patched(frame.clone(), 14, &[version << 4 | 5]));
        }
    }
}

#[test]
fn by_protocol_and_port() {
    let (tcp_web, udp_web) = ([tcp(), tcp6()], [udp(), udp6()]);
    let all = |packets: [Packet; 2]| packets.map(|packet| outside(packet).port(WEB));
    let others = |packets: [Packet; 2]| packets.map(|packet| outside(packet).port(WEB + 1));
    let cases: [(&[Only], [bool; 4]); 6] = [
        (&[(6, WEB, 0)], [true, false, false, false]),
        (&[(6, 0, 0)], [true, true, false, false]),
        (&[(17, WEB, 0)], [false, false, true, false]),
        (&[(6, WEB, 0), (17, 0, 0)], [true, false, true, true]),
        (&[(6, WEB + 1, 0), (17, WEB + 1, 0)], [false, true, false, true]),
        (&[(6, WEB, 7), (58, 0, 0), (1, 0, 0)], [false; 4]),
    ];
    for (matches, enter) in cases {
        let chain = matching(Shipped::ChainIn, matches);
        let packets = [
            all(tcp_web.clone()),
            others(tcp_web.clone()),
            all(udp_web.clone()),
            others(udp_web.clone()),
        ];
        for (packets, enter) in packets.into_iter().zip(enter) {
            for packet in packets {
                match enter {
                    true => enters(&chain, &packet.bytes()),
                    false => passes(&chain, &packet.bytes()),
                }
            }
        }
    }
}

/// A port that does not surely stand there is none.
#[test]
fn what_has_no_port_does_not_go_in_by_one() {
    let chain = matching(Shipped::ChainIn, &[(6, WEB, 0), (17, WEB, 0)]);
    for packet in [tcp(), udp()] {
        let packet = outside(packet).port(WEB).payload_len(64);
        enters(&chain, &packet.clone().bytes());
        passes(&chain, &packet.clone().options(vec![1; 4]).bytes());
        for (offset, more) in [(0, true), (5, true), (9, false)] {
            passes(&chain, &packet.clone().fragment(offset, more).bytes());
        }
    }
    for packet in [tcp6(), udp6()] {
        let packet = outside(packet).port(WEB).payload_len(64);
        passes(&chain, &packet.clone().extension(Extension::Destination).bytes());
        passes(&chain, &packet.fragment(0, true).bytes());
    }
    // Reserved bit and DF make no fragment.
    for flags in [0x40, 0x80, 0xc0] {
        enters(&chain, &patched(outside(tcp()).port(WEB).bytes(), 20, &[flags]));
    }
}

#[test]
fn by_vlan() {
    let chain = matching(Shipped::ChainIn, &[(6, WEB, 5), (17, 0, 4095)]);
    for packet in [tcp(), tcp6()] {
        let packet = outside(packet).port(WEB);
        enters(&chain, &packet.clone().vlan(5).bytes());
        enters(&chain, &packet.clone().vlan(0xf005).bytes());
        for other in [0, 4, 6, 0x505, 4095] {
            passes(&chain, &packet.clone().vlan(other).bytes());
        }
        passes(&chain, &packet.bytes());
    }
    for packet in [udp(), udp6()].map(outside) {
        enters(&chain, &packet.clone().vlan(0x0fff).bytes());
        passes(&chain, &packet.bytes());
    }
}

#[test]
fn cut_at_every_length() {
    for matches in [(0, 0, 0), (6, WEB, 5)] {
        let chain = matching(Shipped::ChainIn, &[matches]);
        for packet in [tcp().vlan(5), tcp6().vlan(5), tcp(), tcp6(), icmp6()] {
            let frame = outside(packet).bytes();
            for len in 0..frame.len() {
                let hop = chain.send(&frame[..len], NIC);
                let header = if frame[12] == 0x81 { 18 } else { 14 };
                assert!(hop.verdict == Verdict::Passed || len >= header + 20, "{hop:?}");
            }
        }
    }
    let next = all_of_c(Shipped::Next);
    let frame = addressed(&outside(tcp6()).bytes(), B.mac, MARK);
    for len in 0..14 {
        stays(&next, &frame[..len], B_VETH, Verdict::Passed);
    }
    for len in 14..14 + 40 {
        dropped(&next, &frame[..len], B_VETH, Verdict::Spoofed);
    }
}

#[test]
fn from_one_to_the_next() {
    for (next, frame) in [Shipped::Next, Shipped::NextBack]
        .map(all_of_c)
        .iter()
        .flat_map(|next| whatever().into_iter().map(move |frame| (next, frame)))
    {
        for (at, own, to, mac) in [(A_VETH, A, B_VETH, B.mac), (B_VETH, B, C_VETH, C.mac)] {
            // As it was sent in, and by a member that swaps the addresses.
            for frame in [addressed(&frame, own.mac, MARK), addressed(&frame, MARK, own.mac)] {
                goes(next, &frame, at, to, mac);
            }
        }
        // Nobody comes after the last.
        dropped(next, &addressed(&frame, C.mac, MARK), C_VETH, Verdict::Spoofed);
    }
}

#[test]
fn what_a_member_sends_of_itself_is_left_alone() {
    [Shipped::Next, Shipped::NextBack].into_iter().for_each(own_is_left_alone);
}

fn own_is_left_alone(shipped: Shipped) {
    let next = all_of_c(shipped);
    for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
        for (from, veth) in [(A, A_VETH), (B, B_VETH)] {
            for to in [C, STRANGER] {
                stays(&next, &packet.clone().from(from).to(to).bytes(), veth, Verdict::Passed);
            }
            // Whatever its own address is.
            stays(&next, &outside(packet.clone()).bytes(), veth, Verdict::Passed);
        }
    }
    // One bit off the mark.
    let frame = outside(tcp()).bytes();
    for at in 0..6 {
        let mut other = MARK;
        other[at] ^= 2;
        stays(&next, &addressed(&frame, A.mac, other), A_VETH, Verdict::Passed);
        stays(&next, &addressed(&frame, other, A.mac), A_VETH, Verdict::Passed);
    }
    // The mark does not get anything in that is not for the chain.
    for packet in [tcp(), tcp6()] {
        let frame = packet.from(STRANGER).to(B).bytes();
        dropped(&next, &addressed(&frame, B.mac, MARK), A_VETH, Verdict::Spoofed);
    }
}

/// Whatever it is: a bridge would send it round.
#[test]
fn nothing_goes_to_the_kernel_with_a_mark_on() {
    for (shipped, gone) in [Shipped::Next, Shipped::NextBack]
        .into_iter()
        .flat_map(|next| [None, Some(A_VETH), Some(C_VETH)].map(|gone| (next, gone)))
    {
        let next = all_of_c(shipped);
        if let Some(gone) = gone {
            next.remove("ports", &gone.to_ne_bytes());
        }
        let others = [[0xff; 6], A.mac, C.mac, STRANGER.mac, MARK, BACK];
        let of_catalogue = catalogue().into_iter().step_by(40).map(|case| case.frame);
        let some = kinds().map(outside).into_iter().chain(kinds().map(answer));
        let frames = of_catalogue.chain(some.map(|packet| packet.bytes())).chain([arp()]);
        for frame in frames.filter(|frame| frame.len() >= 14) {
            for (dst, src) in others.into_iter().flat_map(|other| {
                [MARK, BACK].into_iter().flat_map(move |mark| [(mark, other), (other, mark)])
            }) {
                for at in [A_VETH, B_VETH, C_VETH, 99] {
                    let outcome = next.vm.run(addressed(&frame, dst, src), at).expect("runs");
                    let [dst, src] = [&outcome.packet[..6], &outcome.packet[6..12]];
                    let marked = [dst, src].iter().any(|mac| *mac == MARK || *mac == BACK);
                    assert!(outcome.action() != "XDP_PASS" || !marked, "{dst:x?} {src:x?}");
                }
            }
        }
    }
}

#[test]
fn answers_go_back() {
    let back = all_of_c(Shipped::BackIn);
    for frame in all(answer) {
        let sent = Hop {
            verdict: Verdict::Forwarded,
            to: Some(B_VETH),
            frame: patched(frame.clone(), 6, &BACK),
        };
        assert_eq!(back.send(&frame, C_VETH), sent);
        // What is for the one before itself would come to it from where it is.
        let frame = addressed(&frame, B.mac, C.mac);
        stays(&back, &frame, C_VETH, Verdict::Passed);
    }
    for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
        for from in [A, B, STRANGER] {
            stays(&back, &packet.clone().from(from).to(C).bytes(), C_VETH, Verdict::Passed);
        }
    }
    stays(&back, &arp(), C_VETH, Verdict::Passed);
    stays(&back, &neighbour_solicitation().from(C).bytes(), C_VETH, Verdict::Passed);
    for gone in [A_VETH, B_VETH] {
        let back = all_of_c(Shipped::BackIn);
        back.remove("ports", &gone.to_ne_bytes());
        all(answer).iter().for_each(|frame| stays(&back, frame, C_VETH, Verdict::Stale));
    }
}

/// By the port that they come from.
#[test]
fn answers_by_port() {
    let back = matching(Shipped::BackIn, &[(6, 44498, 0), (17, 40000, 5)]);
    for packet in [tcp(), tcp6()].map(answer) {
        assert_eq!(back.send(&packet.bytes(), C_VETH).verdict, Verdict::Forwarded);
        stays(&back, &packet.vlan(5).bytes(), C_VETH, Verdict::Passed);
    }
    for packet in [udp(), udp6()].map(answer) {
        stays(&back, &packet.bytes(), C_VETH, Verdict::Passed);
        assert_eq!(back.send(&packet.vlan(5).bytes(), C_VETH).verdict, Verdict::Forwarded);
    }
    let other = matching(Shipped::BackIn, &[(6, WEB, 0)]);
    stays(&other, &answer(tcp()).bytes(), C_VETH, Verdict::Passed);
}

#[test]
fn from_one_to_the_one_before() {
    let next = all_of_c(Shipped::NextBack);
    let to = STRANGER.mac;
    let left = |frame: &[u8], verdict, own: Host| Hop {
        verdict,
        to: None,
        frame: addressed(frame, to, own.mac),
    };
    for frame in all(answer) {
        // As it was sent in, and by a member that swaps the addresses.
        for given in [addressed(&frame, to, BACK), addressed(&frame, BACK, to)] {
            let frame = addressed(&frame, to, BACK);
            let on = Hop { verdict: Verdict::Forwarded, to: Some(A_VETH), frame };
            assert_eq!(next.send(&given, B_VETH), on);
            // The first one's host side is where it ends, for the kernel.
            assert_eq!(next.send(&given, A_VETH), left(&given, Verdict::Passed, A));
            dropped(&next, &given, NIC, Verdict::Spoofed);
        }
        // What is for the one before itself.
        for given in [addressed(&frame, A.mac, BACK), addressed(&frame, BACK, A.mac)] {
            let frame = addressed(&frame, A.mac, B.mac);
            let own = Hop { verdict: Verdict::Passed, to: None, frame };
            assert_eq!(next.send(&given, B_VETH), own);
        }
    }
    dropped(&next, &addressed(&arp(), to, BACK), B_VETH, Verdict::Spoofed);
    dropped(&all_of_c(Shipped::Next), &addressed(&arp(), to, BACK), B_VETH, Verdict::Spoofed);
    next.remove("ports", &A_VETH.to_ne_bytes());
    for frame in all(answer) {
        for given in [addressed(&frame, to, BACK), addressed(&frame, BACK, to)] {
            assert_eq!(next.send(&given, B_VETH), left(&given, Verdict::Stale, B));
        }
    }
}

#[test]
fn a_broken_chain_lets_nothing_in() {
    for gone in [A_VETH, B_VETH, C_VETH] {
        let chain = all_of_c(Shipped::ChainIn);
        chain.remove("ports", &gone.to_ne_bytes());
        for frame in whatever() {
            stays(&chain, &frame, NIC, Verdict::Stale);
        }
        passes(&chain, &tcp().from(STRANGER).to(B).bytes());
    }
    let next = all_of_c(Shipped::Next);
    next.remove("ports", &C_VETH.to_ne_bytes());
    let frame = addressed(&outside(udp()).bytes(), A.mac, MARK);
    dropped(&next, &frame, A_VETH, Verdict::Stale);
}

#[test]
fn as_long_as_a_chain_can_be() {
    let chain = all_of_c(Shipped::ChainIn);
    let members: Vec<u32> = (100..).take(MAX_MEMBERS).collect();
    insert(&chain, "hops", &NIC.to_ne_bytes(), &hop::encode(&members, B.mac, [0; 6]));
    let frame = outside(tcp()).bytes();
    for member in &members {
        stays(&chain, &frame, NIC, Verdict::Stale);
        insert(&chain, "ports", &member.to_ne_bytes(), &member.to_ne_bytes());
    }
    goes(&chain, &frame, NIC, members[0], B.mac);
}

#[test]
fn no_chain_is_there() {
    let chain = all_of_c(Shipped::ChainIn);
    let frame = outside(tcp()).bytes();
    stays(&chain, &frame, 99, Verdict::Passed);
    chain.remove("hops", &NIC.to_ne_bytes());
    passes(&chain, &frame);
}

#[test]
fn bounce_sends_back_what_is_marked() {
    let vm = Vm::new(&Shipped::Bounce.program().expect("assembles")).expect("is loaded");
    let run = |frame: &[u8]| {
        let outcome = vm.run(frame, 2).expect("runs");
        assert_eq!(outcome.packet, frame, "nothing is written");
        outcome.verdict
    };
    for case in catalogue() {
        let frame = case.frame;
        assert_eq!(run(&frame), xdp::PASS as u64, "{}", case.name);
        if frame.len() >= 14 {
            for mark in [MARK, BACK] {
                assert_eq!(run(&addressed(&frame, A.mac, mark)), xdp::TX as u64, "{}", case.name);
            }
            // One that was swapped on the way is none of its own.
            assert_eq!(run(&addressed(&frame, MARK, A.mac)), xdp::PASS as u64, "{}", case.name);
        }
    }
}
