//! What is forwarded, where to, and what is left to the kernel.

mod bridge;

use bridge::{A_VETH, B_VETH, Bridge, C, C_VETH, Hop, JOINED, STRANGER, kinds, patched};
use xhop_asm::blocks::count::Verdict;
use xhop_vm::packet::{
    A, B, Extension, GATEWAY, Host, L4, Packet, arp, icmp, icmp6, neighbour_solicitation, sctp,
    tcp, tcp6, udp, udp6,
};

#[test]
fn everybody_reaches_everybody() {
    for bridge in Bridge::both() {
        for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
            for (from, veth) in JOINED {
                for (to, port) in JOINED.into_iter().filter(|(to, _)| *to != from) {
                    let frame = packet.clone().from(from).to(to).bytes();
                    let expected = Hop { verdict: Verdict::Forwarded, to: Some(port), frame };
                    assert_eq!(bridge.send(&expected.frame, veth), expected);
                }
            }
        }
    }
}

#[test]
fn partial_checksums_are_kept_by_keep() {
    let [keep, _] = Bridge::both();
    for packet in kinds() {
        keep.keeps(&packet.payload_len(99).partial().bytes(), Verdict::Forwarded);
    }
}

#[test]
fn fragments_are_forwarded_untouched() {
    for bridge in Bridge::both() {
        for packet in [tcp(), udp(), icmp()] {
            let packet = packet.payload_len(64).partial();
            for (offset, more) in [(0, true), (1, true), (8, true), (9, false), (0x1fff, false)] {
                bridge.keeps(&packet.clone().fragment(offset, more).bytes(), Verdict::Forwarded);
            }
            // A last one, shorter than any header.
            let tiny = packet.payload([1]).fragment(9, false).bytes();
            bridge.keeps(&tiny, Verdict::Forwarded);
        }
    }
}

#[test]
fn whole_datagrams_are_no_fragments() {
    let bridge = Bridge::complete();
    let frame = tcp().payload_len(64).partial().bytes();
    let completed = bridge.forwards(&frame);
    assert_ne!(completed, frame);
    // DF, the reserved bit, both, none.
    for flags in [0x40, 0x80, 0xc0, 0] {
        let frame = patched(frame.clone(), 20, &[flags]);
        bridge.delivers(&frame, &patched(completed.clone(), 20, &[flags]));
    }
}

#[test]
fn what_is_not_understood_passes() {
    let payload = |packet: Packet| packet.payload_len(21).partial();
    let mut frames = vec![arp(), neighbour_solicitation().bytes(), sctp().bytes()];
    for packet in kinds().map(payload) {
        frames.push(packet.clone().vlan(5).bytes());
        frames.push(packet.clone().vlan(0xe000).bytes());
        frames.push(packet.clone().qinq(7, 5).bytes());
        frames.push(packet.via(GATEWAY).bytes());
    }
    for packet in [tcp(), udp()].map(payload) {
        frames.extend([4, 8, 40].map(|len| packet.clone().options(vec![1; len]).bytes()));
    }
    for packet in [tcp6(), udp6(), icmp6()].map(payload) {
        frames.push(packet.clone().extension(Extension::HopByHop).bytes());
        frames.push(packet.clone().extension(Extension::Destination).bytes());
        for (offset, more) in [(0, false), (0, true), (5, true), (9, false)] {
            frames.push(packet.clone().fragment(offset, more).bytes());
        }
    }
    for bridge in Bridge::both() {
        frames.iter().for_each(|frame| bridge.passes(frame));
    }
}

#[test]
fn protocols() {
    for bridge in Bridge::both() {
        for (packet, known) in [(udp(), [1, 6, 17]), (udp6(), [58, 6, 17])] {
            for protocol in (0..=255).filter(|number| !known.contains(number)) {
                let other = Packet { l4: L4::Other(protocol), ..packet.clone() };
                bridge.passes(&other.payload_len(40).bytes());
            }
        }
    }
}

#[test]
fn icmp_is_forwarded_but_for_neighbour_discovery() {
    for bridge in Bridge::both() {
        for kind in 0..=255 {
            let packet = Packet { l4: L4::Icmp { kind, code: 0 }, ..icmp() };
            bridge.keeps(&packet.bytes(), Verdict::Forwarded);
            // Unicast, as neighbours that know each other ask.
            let packet = Packet { l4: L4::Icmp { kind, code: 0 }, ..icmp6() };
            let discovery = (133..=137).contains(&kind);
            let verdict = if discovery { Verdict::Passed } else { Verdict::Forwarded };
            bridge.keeps(&packet.bytes(), verdict);
        }
    }
}

#[test]
fn versions_and_header_lengths() {
    let (v4, v6) = (tcp().payload_len(60).bytes(), tcp6().payload_len(60).bytes());
    for bridge in Bridge::both() {
        for byte in 0..=255 {
            let verdict = |known| if known { Verdict::Forwarded } else { Verdict::Passed };
            bridge.keeps(&patched(v4.clone(), 14, &[byte]), verdict(byte == 0x45));
            bridge.keeps(&patched(v6.clone(), 14, &[byte]), verdict(byte >> 4 == 6));
        }
        for len in 0..20 {
            bridge.passes(&patched(v4.clone(), 16, &[0, len]));
        }
    }
}

#[test]
fn ethertypes() {
    for bridge in Bridge::both() {
        for packet in kinds() {
            let frame = packet.payload_len(60).bytes();
            let own = u16::from_be_bytes([frame[12], frame[13]]);
            let others = (0..16).map(|bit| own ^ 1 << bit).chain([own.swap_bytes(), 0, 0x8100]);
            for other in others.chain([0x0800, 0x86dd]).filter(|other| *other != own) {
                bridge.passes(&patched(frame.clone(), 12, &other.to_be_bytes()));
            }
        }
    }
}

#[test]
fn group_addresses_pass_even_if_joined() {
    for bridge in Bridge::both() {
        let broadcast = Host { mac: [0xff; 6], ..C };
        let v4_group = Host { mac: [1, 0, 0x5e, 0, 0, 0xfb], v4: [224, 0, 0, 251], ..C };
        let v6_group = Host { mac: [0x33, 0x33, 0, 0, 0, 1], ..C };
        for group in [broadcast, v4_group, v6_group] {
            bridge.join(group, C_VETH);
            for packet in kinds() {
                bridge.passes(&packet.partial().to(group).bytes());
            }
        }
    }
}

#[test]
fn the_destination_must_be_joined() {
    for bridge in Bridge::both() {
        for packet in kinds() {
            bridge.passes(&packet.clone().partial().to(STRANGER).bytes());
            // With an Ethernet address that is joined.
            bridge.passes(&packet.partial().to(STRANGER).via(B).bytes());
        }
    }
}

#[test]
fn the_ethernet_address_must_be_the_destinations() {
    for bridge in Bridge::both() {
        for packet in kinds() {
            let frame = packet.clone().partial().bytes();
            for (at, bit) in (0..6).flat_map(|at| [(at, 2), (at, 0x80)]) {
                bridge.passes(&patched(frame.clone(), at, &[frame[at] ^ bit]));
            }
            // Another's who is joined; one's own.
            bridge.passes(&packet.clone().partial().via(C).bytes());
            bridge.passes(&packet.partial().via(A).bytes());
        }
    }
}

#[test]
fn families_are_joined_each_for_itself() {
    for bridge in Bridge::both() {
        bridge.remove("endpoints6", &B.v6);
        bridge.forwards(&tcp().bytes());
        bridge.passes(&tcp6().bytes());
    }
    for bridge in Bridge::both() {
        bridge.remove("endpoints4", &B.v4);
        bridge.passes(&udp().bytes());
        bridge.forwards(&udp6().bytes());
    }
}

#[test]
fn a_port_that_is_gone_leaves_traffic_to_the_kernel() {
    for bridge in Bridge::both() {
        bridge.remove("ports", &B_VETH.to_ne_bytes());
        for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
            bridge.keeps(&packet.clone().partial().bytes(), Verdict::Stale);
            let frame = packet.clone().to(C).bytes();
            let forwarded = Hop { verdict: Verdict::Forwarded, to: Some(C_VETH), frame };
            assert_eq!(bridge.send(&forwarded.frame, A_VETH), forwarded);
        }
        bridge.join(B, B_VETH);
        bridge.forwards(&tcp().bytes());
    }
}

#[test]
fn nobody_is_joined() {
    for bridge in Bridge::both() {
        for (host, _) in JOINED {
            bridge.remove("endpoints4", &host.v4);
            bridge.remove("endpoints6", &host.v6);
        }
        kinds().iter().for_each(|packet| bridge.passes(&packet.bytes()));
    }
}
