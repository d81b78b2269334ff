//! A host veth forwards only what its own container sent.

mod bridge;

use bridge::{A_VETH, B_VETH, Bridge, C, C_VETH, Hop, STRANGER, kinds, patched};
use xhop_asm::blocks::count::Verdict;
use xhop_vm::packet::{A, B, GATEWAY, Packet, icmp, icmp6};

fn packets() -> impl Iterator<Item = Packet> {
    kinds().into_iter().chain([icmp(), icmp6()]).map(|packet| packet.partial())
}

#[track_caller]
fn leaves(bridge: &Bridge, frame: Vec<u8>, veth: u32) {
    let left = Hop { verdict: Verdict::Spoofed, to: None, frame };
    assert_eq!(bridge.send(&left.frame, veth), left);
}

#[test]
fn anothers_address_is_not_forwarded() {
    for bridge in Bridge::both() {
        for packet in packets() {
            // C says that it is A, with A's Ethernet address and with its own.
            leaves(&bridge, packet.bytes(), C_VETH);
            let mut own_mac = packet.clone();
            own_mac.src_mac = C.mac;
            leaves(&bridge, own_mac.bytes(), C_VETH);
            // The receiver's own address, from somebody else.
            leaves(&bridge, packet.from(B).bytes(), A_VETH);
        }
    }
}

#[test]
fn all_bits_of_the_interface_count() {
    for bridge in Bridge::both() {
        for packet in packets() {
            for bit in 0..32 {
                leaves(&bridge, packet.bytes(), A_VETH ^ 1 << bit);
            }
            bridge.forwards(&packet.bytes());
        }
    }
}

#[test]
fn unknown_sources_pass() {
    for bridge in Bridge::both() {
        for packet in packets() {
            for from in [STRANGER, GATEWAY] {
                bridge.passes(&packet.clone().from(from).bytes());
                let mut own_mac = packet.clone().from(from);
                own_mac.src_mac = A.mac;
                bridge.passes(&own_mac.bytes());
            }
        }
    }
}

#[test]
fn other_ethernet_sources_pass() {
    for bridge in Bridge::both() {
        for packet in packets() {
            let frame = packet.bytes();
            for (at, bit) in (6..12).flat_map(|at| [(at, 1), (at, 0x80)]) {
                bridge.passes(&patched(frame.clone(), at, &[frame[at] ^ bit]));
            }
        }
    }
}

/// What would not be forwarded anyhow is the bridge's affair.
#[test]
fn only_what_could_be_forwarded_is_dropped() {
    for bridge in Bridge::both() {
        for packet in packets() {
            let spoofed = packet.from(C);
            bridge.passes(&spoofed.clone().to(STRANGER).bytes());
            bridge.passes(&spoofed.clone().via(GATEWAY).bytes());
            bridge.passes(&spoofed.clone().vlan(5).bytes());
            bridge.remove("ports", &B_VETH.to_ne_bytes());
            leaves(&bridge, spoofed.bytes(), A_VETH);
            bridge.join(B, B_VETH);
        }
    }
}
