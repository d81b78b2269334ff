//! The checksum that the sender left to the device, completed on the way.

mod bridge;
mod oracle;

use bridge::{A_VETH, B_VETH, Bridge, Hop, kinds, patched};
use oracle::sums;
use xhop_asm::blocks::count::Verdict;
use xhop_vm::packet::{
    A, B, Check, Host, Packet, captured, icmp6, pseudo_sum, tcp, tcp6, udp, udp6,
};

/// The longest segment whose checksum is completed.
const MAX_LEN: usize = 4095;

fn field(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Sends a packet with a partial checksum; nothing but the checksum may be changed, and it must be
/// what etherparse says.
#[track_caller]
fn completes(bridge: &Bridge, packet: &Packet) {
    let partial = packet.clone().partial().bytes();
    let right = sums(&partial).expect("understood").right;
    let at = packet.check_offset().expect("has one");
    bridge.delivers(&partial, &patched(partial.clone(), at, &right.to_be_bytes()));
}

/// Bytes of the L4 header.
fn header_len(packet: &Packet) -> usize {
    packet.clone().payload([]).bytes().len() - packet.l4_offset()
}

/// One's complement addition.
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// The packet with the last two bytes of its payload, which are 0, such that its right checksum
/// is this one.
fn with_checksum(packet: Packet, wanted: u16) -> Packet {
    let at = packet.check_offset().expect("has one");
    let word = add(field(&packet.clone().check(Check::Whole).bytes(), at), !wanted);
    let mut payload = packet.payload.clone();
    payload.truncate(payload.len() - 2);
    payload.extend(word.to_be_bytes());
    packet.payload(payload)
}

#[test]
fn captured_segments_get_what_tcpdump_printed() {
    let [keep, complete] = Bridge::both();
    for segment in captured() {
        let frame = segment.frame_partial;
        keep.keeps(&frame, Verdict::Forwarded);
        let expected = patched(frame.clone(), 50, &segment.expected_check.to_be_bytes());
        complete.delivers(&frame, &expected);
    }
}

#[test]
fn every_length_to_an_mtu() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        for len in 0..=1480 {
            completes(&bridge, &packet.clone().payload_len(len));
        }
    }
}

#[test]
fn blocks_and_chunks_to_a_page() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        let header = header_len(&packet);
        for block in (1280..=MAX_LEN).step_by(256) {
            let near = (0..8).flat_map(|bit| [1 << bit, 255 ^ 1 << bit]).chain([0, 255]);
            for len in near.map(|rest: usize| block + rest) {
                completes(&bridge, &packet.clone().payload_len(len - header));
            }
        }
    }
}

#[test]
fn longer_than_a_page_passes() {
    let [keep, complete] = Bridge::both();
    for packet in kinds() {
        for len in [MAX_LEN + 1, MAX_LEN + 2, 9000, 0x8000, 65000] {
            let packet = packet.clone().payload_len(len - header_len(&packet));
            for frame in [packet.bytes(), packet.partial().bytes()] {
                complete.passes(&frame);
                keep.keeps(&frame, Verdict::Forwarded);
            }
        }
    }
}

#[test]
fn payloads_that_carry_most_and_least() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        let longest = MAX_LEN - header_len(&packet);
        for byte in [0x00, 0xff, 0x01, 0x80] {
            for len in [1, 2, 3, 255, 256, 257, 1460, longest - 1, longest] {
                completes(&bridge, &packet.clone().payload(vec![byte; len]));
            }
        }
    }
}

/// Small sums, in either byte order, are those where the last folding carries.
fn small_sums() -> impl Iterator<Item = u16> {
    (1..=0x40).flat_map(|sum: u16| [sum, sum.swap_bytes()])
}

#[test]
fn last_carry_of_the_segment() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        for len in [2, 254, 1458, 4074] {
            let mut payload = vec![0xff; len];
            payload[len - 2..].fill(0);
            let packet = packet.clone().payload(payload);
            for sum in small_sums() {
                completes(&bridge, &with_checksum(packet.clone(), !sum));
            }
        }
    }
}

#[test]
fn last_carries_of_the_pseudo_header() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        let packet = packet.payload_len(101);
        let len = header_len(&packet) + 101;
        // With a sum of ones, that of a whole datagram carries when both are added.
        for sum in small_sums().chain([0xffff]) {
            // All ones count as nothing: what is left of the sum is tuned by two bytes.
            let mut from = Host { v4: [0xff, 0xff, 0, 0], v6: [0xff; 16], ..A };
            from.v6[14..].fill(0);
            let to = Host { v4: [0xff; 4], v6: [0xff; 16], ..B };
            let packet = packet.clone().from(from).to(to);
            let rest = pseudo_sum(&packet.net, packet.protocol(), len);
            let word = add(sum, !rest).to_be_bytes();
            from.v4[2..].copy_from_slice(&word);
            from.v6[14..].copy_from_slice(&word);
            bridge.join(from, A_VETH);
            bridge.join(to, B_VETH);
            let packet = packet.from(from);
            assert_eq!(pseudo_sum(&packet.net, packet.protocol(), len), sum);
            completes(&bridge, &packet);
            bridge.keeps(&packet.bytes(), Verdict::Forwarded);
            bridge.remove("endpoints4", &from.v4);
            bridge.remove("endpoints6", &from.v6);
        }
    }
}

#[test]
fn padding_is_neither_summed_nor_changed() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        for len in (0..=40).chain([250, 251]) {
            let mut packet = packet.clone().payload_len(len);
            let plain = packet.bytes().len();
            for min_len in [60, 61, plain + 1, plain + 2, plain + 300] {
                packet.min_len = min_len;
                completes(&bridge, &packet);
                bridge.keeps(&packet.bytes(), Verdict::Forwarded);
            }
        }
    }
}

#[test]
fn a_sum_of_zero_is_written_as_ones() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        for zeroes in [2, 64, 1400] {
            let packet = with_checksum(packet.clone().payload(vec![0; zeroes]), 0);
            let at = packet.check_offset().expect("has one");
            let frame = packet.partial().bytes();
            // skb_checksum_help does so in TCP, too: both are zero.
            bridge.delivers(&frame, &patched(frame.clone(), at, &[0xff, 0xff]));
        }
    }
}

#[test]
fn whole_checksums_stay() {
    for bridge in Bridge::both() {
        for packet in kinds() {
            for len in (0..=70).chain([255, 256, 257, 1432]) {
                bridge.keeps(&packet.clone().payload_len(len).bytes(), Verdict::Forwarded);
            }
        }
        // The right sum of UDP is 0: it stands there as ones.
        for packet in [udp(), udp6()] {
            let packet = with_checksum(packet.payload([0, 0]), 0);
            bridge.keeps(&packet.bytes(), Verdict::Forwarded);
        }
    }
}

/// Fields that are neither the right checksum nor the pseudo-header's sum.
fn wrong_fields(packet: &Packet) -> Vec<u16> {
    let at = packet.check_offset().expect("has one");
    let right = field(&packet.bytes(), at);
    let partial = field(&packet.clone().partial().bytes(), at);
    let one_bit = (0..16).flat_map(|bit| [right ^ 1 << bit, partial ^ 1 << bit]);
    let near = [!partial, !right, right.swap_bytes(), partial.swap_bytes(), 0xffff];
    one_bit.chain(near).filter(|field| ![0, right, partial].contains(field)).collect()
}

#[test]
fn wrong_tcp_checksums_stay_wrong() {
    let bridge = Bridge::complete();
    for packet in [tcp(), tcp6()] {
        let packet = packet.payload_len(45);
        for wrong in wrong_fields(&packet).into_iter().chain([0]) {
            let frame = packet.clone().check(Check::Field(wrong)).bytes();
            bridge.keeps(&frame, Verdict::Forwarded);
        }
    }
}

#[test]
fn wrong_udp_checksums_pass() {
    let [keep, complete] = Bridge::both();
    for packet in [udp(), udp6()] {
        let packet = packet.payload_len(45);
        for wrong in wrong_fields(&packet).into_iter().chain([0]) {
            let frame = packet.clone().check(Check::Field(wrong)).bytes();
            complete.passes(&frame);
            keep.keeps(&frame, Verdict::Forwarded);
        }
    }
}

#[test]
fn udp_is_verified_to_its_last_byte() {
    let bridge = Bridge::complete();
    for packet in [udp(), udp6()] {
        let packet = packet.payload_len(301);
        let frame = packet.bytes();
        for at in packet.l4_offset()..frame.len() {
            if packet.check_offset().is_none_or(|check| !(check..check + 2).contains(&at)) {
                bridge.passes(&patched(frame.clone(), at, &[frame[at] ^ 0x10]));
            }
        }
    }
}

#[test]
fn a_chance_match_keeps_its_value() {
    let bridge = Bridge::complete();
    for packet in kinds() {
        let packet = packet.payload(vec![0; 34]);
        let at = packet.check_offset().expect("has one");
        let pseudo = field(&packet.clone().partial().bytes(), at);
        let frame = with_checksum(packet, pseudo).bytes();
        assert_eq!(field(&frame, at), pseudo, "whole, and looks partial");
        bridge.keeps(&frame, Verdict::Forwarded);
    }
}

#[test]
fn icmpv6_is_left_to_the_kernel() {
    Bridge::complete().keeps(&icmp6().partial().bytes(), Verdict::Forwarded);
}

#[test]
fn nothing_is_written_unless_forwarded() {
    let bridge = Bridge::complete();
    bridge.remove("ports", &B_VETH.to_ne_bytes());
    for packet in kinds() {
        let frame = packet.payload_len(77).partial().bytes();
        bridge.keeps(&frame, Verdict::Stale);
        let spoofed = Hop { verdict: Verdict::Spoofed, to: None, frame: frame.clone() };
        assert_eq!(bridge.send(&frame, B_VETH), spoofed);
    }
}
