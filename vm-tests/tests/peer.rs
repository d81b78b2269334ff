//! `peer` and `forward+frags`, which look at headers alone: against the models, which see no program.

mod bridge;
mod model;

use bridge::{A_VETH, B_VETH, Bridge, C_VETH, JOINED, STRANGER, kinds, patched};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use xhop_asm::blocks::count::{VERDICTS, Verdict};
use xhop_asm::programs::Shipped;
use xhop_vm::packet::{B, Extension, Packet, catalogue, icmp, icmp6, sctp, tcp, tcp6};

/// One of each kind.
fn both() -> [Bridge; 2] {
    [Shipped::Peer, Shipped::ForwardFrags].map(Bridge::of)
}

/// As its model says, and the same for both.
#[track_caller]
fn agree(bridges: &[Bridge; 2], gone: Option<u32>, frame: &[u8], veth: u32) {
    let [peer, frags] = bridges;
    assert_eq!(peer.send(frame, veth), model::peer(gone, frame, veth));
    assert_eq!(frags.send(frame, veth), model::forward_frags(gone, frame, veth));
}

#[test]
fn the_catalogue() {
    for gone in [None, Some(B_VETH)] {
        let both = both();
        for (bridge, veth) in both.iter().flat_map(|bridge| gone.map(|veth: u32| (bridge, veth))) {
            bridge.remove("ports", &veth.to_ne_bytes());
        }
        for case in catalogue() {
            for veth in [A_VETH, C_VETH] {
                agree(&both, gone, &case.frame, veth);
            }
        }
        for bridge in &both {
            let counted = bridge.counters().map(|(packets, _)| packets > 100);
            let seen = [gone.is_none(), true, gone.is_some(), true];
            assert_eq!(counted, seen, "{VERDICTS:?}");
        }
    }
}

#[test]
fn everybody_reaches_everybody() {
    for bridge in both() {
        for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
            for (from, veth) in JOINED {
                for (to, port) in JOINED.into_iter().filter(|(to, _)| *to != from) {
                    let frame = packet.clone().partial().from(from).to(to).bytes();
                    let hop = bridge.send(&frame, veth);
                    let got = (hop.verdict, hop.to, hop.frame);
                    assert_eq!(got, (Verdict::Forwarded, Some(port), frame));
                }
            }
        }
    }
}

#[test]
fn a_port_that_is_gone_is_stale() {
    for bridge in both() {
        bridge.remove("ports", &B_VETH.to_ne_bytes());
        kinds().iter().for_each(|packet| bridge.keeps(&packet.bytes(), Verdict::Stale));
        bridge.join(B, B_VETH);
        kinds().iter().for_each(|packet| bridge.keeps(&packet.bytes(), Verdict::Forwarded));
    }
}

/// A veth that is moved to another namespace takes its program along, and leaves `ports`: what
/// `bpf_redirect_peer` would look for there is not there.
#[test]
fn who_has_moved_away_sends_by_his_new_bridge() {
    let bridge = Bridge::of(Shipped::Peer);
    bridge.remove("ports", &A_VETH.to_ne_bytes());
    kinds().iter().for_each(|packet| bridge.keeps(&packet.bytes(), Verdict::Stale));
    // XDP redirects from wherever it is.
    let bridge = Bridge::of(Shipped::ForwardFrags);
    bridge.remove("ports", &A_VETH.to_ne_bytes());
    kinds().iter().for_each(|packet| bridge.keeps(&packet.bytes(), Verdict::Forwarded));
}

/// Who is left to the bridge keeps them: its rules may go by them.
#[test]
fn notes_do_not_go_along() {
    let bridge = Bridge::of(Shipped::Peer);
    bridge.vm.set_notes(7, 5);
    let notes = |frame: &[u8], veth| bridge.vm.run(frame, veth).expect("runs").notes;
    for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
        assert_eq!(notes(&packet.bytes(), A_VETH), [0, 0]);
        assert_eq!(notes(&packet.clone().bytes(), C_VETH), [7, 5], "spoofed");
        assert_eq!(notes(&packet.from(STRANGER).bytes(), A_VETH), [7, 5], "passed");
    }
    bridge.remove("ports", &B_VETH.to_ne_bytes());
    kinds().iter().for_each(|packet| assert_eq!(notes(&packet.bytes(), A_VETH), [7, 5], "stale"));
}

#[test]
fn anothers_source_is_spoofed() {
    for bridge in both() {
        for packet in kinds() {
            let spoofed = bridge.send(&packet.bytes(), C_VETH);
            assert_eq!((spoofed.verdict, spoofed.to), (Verdict::Spoofed, None));
            bridge.passes(&packet.from(STRANGER).bytes());
        }
    }
}

/// Beside the packet, where only an skb has it, or in it.
#[test]
fn vlans_pass() {
    let bridge = Bridge::of(Shipped::Peer);
    for packet in kinds() {
        let frame = packet.bytes();
        bridge.vm.set_vlan(true);
        bridge.passes(&frame);
        bridge.vm.set_vlan(false);
        bridge.keeps(&frame, Verdict::Forwarded);
        bridge.passes(&packet.vlan(5).bytes());
    }
}

/// What `peer` changes nothing of, it need not understand.
#[test]
fn whatever_has_addresses_hops_by_peer() {
    let [peer, frags] = both();
    let v4 = tcp().payload_len(21);
    let options = v4.clone().options(vec![0x94, 4, 0, 0]);
    let extension = tcp6().payload_len(21).extension(Extension::Destination);
    let [first, later] =
        [(0, true), (1480, false)].map(|(offset, more)| tcp6().fragment(offset, more));
    for packet in [options, extension, first, later, sctp()] {
        peer.keeps(&packet.bytes(), Verdict::Forwarded);
        frags.passes(&packet.bytes());
    }
    // Encapsulated: GRE, ESP, IPv6 in IPv4.
    for protocol in [47, 50, 41] {
        peer.keeps(&patched(v4.bytes(), 23, &[protocol]), Verdict::Forwarded);
        peer.keeps(&patched(tcp6().bytes(), 20, &[protocol]), Verdict::Forwarded);
    }
    for kind in 133..=137 {
        peer.passes(&patched(icmp6().bytes(), 54, &[kind]));
    }
    peer.passes(&patched(v4.bytes(), 14, &[0x55]));
    peer.passes(&patched(tcp6().bytes(), 14, &[0x40]));
}

/// BIG TCP: 16 bits are too few for the length, and the field is zero (net/ipv4/ip_output.c). With IPv6 a
/// hop-by-hop header has the length, and passes as any extension does.
#[test]
fn lengths_of_zero() {
    for bridge in both() {
        for packet in kinds() {
            let at = if packet.l4_offset() == 34 { 16 } else { 18 };
            let frame = patched(packet.payload_len(3000).bytes(), at, &[0, 0]);
            bridge.keeps(&frame, Verdict::Forwarded);
        }
    }
}

/// What lies in one piece may end anywhere: only the headers that are asked for must be there.
#[test]
fn cut_at_every_length() {
    let both = both();
    for packet in kinds().into_iter().chain([icmp(), icmp6()]) {
        let frame = packet.clone().payload_len(60).bytes();
        let type_too = usize::from(packet.l4 == icmp6().l4);
        for len in 0..=frame.len() {
            for (bridge, more) in both.iter().zip([0, type_too]) {
                let needs = packet.l4_offset() + more;
                let verdict = if len < needs { Verdict::Passed } else { Verdict::Forwarded };
                bridge.keeps(&frame[..len], verdict);
            }
            agree(&both, None, &frame[..len], A_VETH);
        }
    }
}

#[test]
fn changed_bytes() {
    let bridges = both();
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let kind = select(kinds().into_iter().chain([icmp(), icmp6()]).collect::<Vec<Packet>>());
    let changes = vec((0..60_usize, any::<u8>()), 0..3);
    let veths = select(vec![A_VETH, A_VETH, B_VETH, C_VETH, 8]);
    proptest!(config, |(kind in kind, changes in changes, len in 0..200_usize, veth in veths)| {
        let mut frame = kind.payload_len(len).bytes();
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        agree(&bridges, None, &frame, veth);
    });
}
