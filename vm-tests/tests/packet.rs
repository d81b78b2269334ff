//! The frames that other tests rest on, checked by code that is not ours.

mod oracle;

use std::collections::HashSet;

use etherparse::{Ipv4HeaderSlice, SlicedPacket};
use oracle::sums;
use proptest::prelude::*;
use xhop_vm::packet::{
    A, B, Check, Extension, Packet, arp, captured, catalogue, icmp, icmp6, neighbour_solicitation,
    pseudo_sum, sctp, tcp, tcp6, udp, udp6,
};

/// One packet of each kind that has a checksum.
fn kinds() -> [Packet; 7] {
    [tcp(), udp(), icmp(), tcp6(), udp6(), icmp6(), neighbour_solicitation()]
}

fn field(packet: &Packet) -> u16 {
    let (frame, at) = (packet.bytes(), packet.check_offset().expect("has a checksum"));
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[test]
fn whole_checksums_are_right() {
    for packet in kinds() {
        let sums = sums(&packet.bytes()).unwrap_or_else(|| panic!("not understood: {packet:?}"));
        assert_eq!(sums.field, sums.right, "{packet:?}");
        assert_eq!(sums.field, field(&packet), "check_offset of {packet:?}");
    }
}

proptest! {
    #[test]
    fn whole_checksums_are_right_for_any_payload(
        kind in 0..6usize,
        payload in proptest::collection::vec(any::<u8>(), 4..200),
        tagged: bool,
        padded: bool,
    ) {
        let mut packet = kinds()[kind].clone().payload(payload);
        if tagged {
            packet = packet.qinq(7, 5);
        }
        if padded {
            packet = packet.padded();
        }
        let sums = sums(&packet.bytes()).expect("understood");
        prop_assert_eq!(sums.field, sums.right);
    }

    #[test]
    fn partial_and_whole_sums_agree(payload in proptest::collection::vec(any::<u8>(), 0..99)) {
        // A receiver that sums a partial frame's L4 with its field gets the right checksum.
        for packet in [tcp(), tcp6()] {
            let packet = packet.payload(payload.clone());
            let frame = packet.clone().partial().bytes();
            let completed = xhop_vm::packet::checksum(&frame[packet.l4_offset()..]);
            prop_assert_eq!(completed, field(&packet));
        }
    }
}

#[test]
fn partial_checksums_are_the_pseudo_header_sum() {
    for packet in [tcp(), udp(), tcp6(), udp6(), icmp6()] {
        let packet = packet.payload_len(33).partial();
        let frame = packet.bytes();
        let len = frame.len() - packet.l4_offset();
        assert_eq!(field(&packet), pseudo_sum(&packet.net, packet.protocol(), len));
        let sums = sums(&frame).expect("understood");
        assert_ne!(sums.field, sums.right, "a partial sum that happens to be whole tests nothing");
    }
}

#[test]
fn pseudo_header_sum_by_hand() {
    // 0xac11 + 0x0002 + 0xac11 + 0x0003 + 6 + 40 = 0x15855, folded: 0x5856
    assert_eq!(pseudo_sum(&tcp().net, 6, 40), 0x5856);
}

#[test]
fn captured_segments_hold_what_tcpdump_printed() {
    let expected = [0x9914, 0x952a, 0x8d4a, 0x7caa, 0x5caa, 0x1daa, 0x3486];
    let captured = captured();
    for (segment, expected) in captured.iter().zip(expected) {
        assert_eq!(segment.frame_partial.len(), 74);
        assert_eq!(segment.expected_check, expected);
        let sums = sums(&segment.frame_partial).expect("understood");
        assert_eq!((sums.field, sums.right), (0x5856, expected));
    }
    let ids = captured
        .map(|segment| u16::from_be_bytes([segment.frame_partial[18], segment.frame_partial[19]]));
    assert_eq!(ids, [50870, 50871, 50872, 50873, 50874, 50875, 757]);
}

#[test]
fn a_syn_byte_for_byte() {
    let frame = captured()[0].frame_partial.clone();
    let ethernet = [2, 0x42, 0xac, 0x11, 0, 3, 2, 0x42, 0xac, 0x11, 0, 2, 8, 0];
    assert_eq!(frame[..14], ethernet);
    // 50870 = 0xc6b6; the header's own checksum is checked elsewhere.
    assert_eq!(frame[14..24], [0x45, 0, 0, 60, 0xc6, 0xb6, 0x40, 0, 64, 6]);
    assert_eq!(frame[26..34], [172, 17, 0, 2, 172, 17, 0, 3]);
    assert_eq!(frame[34..38], [0xad, 0xd2, 0, 80]);
    assert_eq!(frame[46..50], [0xa0, 2, 0xfa, 0xf0]);
    assert_eq!(frame[54..62], [2, 4, 5, 0xb4, 4, 2, 8, 10]);
    assert_eq!(frame[66..], [0, 0, 0, 0, 1, 3, 3, 7]);
}

#[test]
fn ipv4_header_checksums_are_right() {
    let router_alert = [0x94, 4, 0, 0];
    for packet in
        [tcp(), udp().ttl(1), sctp(), tcp().options(router_alert), udp().fragment(9, true)]
    {
        let frame = packet.bytes();
        let header = Ipv4HeaderSlice::from_slice(&frame[14..]).expect("an IPv4 header");
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
        assert_eq!(usize::from(header.total_len()), frame.len() - 14);
    }
}

#[test]
fn tags_options_and_extensions_do_not_move_the_checksum_away() {
    for packet in [
        tcp().vlan(5),
        udp6().qinq(7, 5),
        tcp().options([1; 40]),
        tcp6().extension(Extension::HopByHop).extension(Extension::Destination),
        udp6().extension(Extension::Fragment { offset: 0, more: false, id: 1 }),
        udp().padded(),
    ] {
        let sums = sums(&packet.bytes()).expect("understood");
        assert_eq!((sums.field, sums.right), (field(&packet), sums.field), "{packet:?}");
    }
}

#[test]
fn padding_is_outside_the_ip_packet_and_not_zero() {
    let plain = udp().payload([1]).bytes();
    let padded = udp().payload([1]).padded().bytes();
    assert_eq!(padded.len(), 60);
    assert_eq!(padded[..plain.len()], plain);
    assert!(padded[plain.len()..].iter().all(|byte| *byte != 0));
}

#[test]
fn later_fragments_have_no_header() {
    for packet in [tcp(), tcp6()] {
        let whole = packet.clone().payload([9; 16]);
        let later = whole.clone().fragment(3, true);
        let frame = later.bytes();
        assert_eq!(frame[later.l4_offset()..], [9; 16]);
        assert_eq!(later.check_offset(), None);
        assert!(sums(&frame).is_none(), "etherparse sees a fragment, too");
    }
}

#[test]
fn fragments_byte_for_byte() {
    // DF is off, MF on; 9 * 8 bytes in.
    assert_eq!(udp().fragment(9, true).bytes()[20..22], [0x20, 9]);
    assert_eq!(udp().fragment(9, false).bytes()[20..22], [0, 9]);
    assert_eq!(udp().bytes()[20..22], [0x40, 0]);
    let frame = udp6().extension(Extension::HopByHop).fragment(9, true).bytes();
    assert_eq!(frame[20], 0, "next is hop-by-hop");
    assert_eq!(frame[54..62], [44, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(frame[62..70], [17, 0, 0, 9 << 3 | 1, 0, 0, 0x12, 0x34]);
}

#[test]
fn udp_without_checksum_and_with_sum_zero() {
    assert_eq!(field(&udp().payload_len(9).check(Check::Field(0))), 0);
    let cases = catalogue();
    let sum_zero = |check: &str| {
        let name = format!("udp4, sum 0, {check}");
        let case = cases.iter().find(|case| case.name == name).expect("in the catalogue");
        case.frame.clone()
    };
    let mut frame = sum_zero("whole");
    // RFC 768: a sum of 0 is sent as ones.
    assert_eq!(sums(&frame), Some(oracle::Sums { field: 0xffff, right: 0xffff }));
    assert_eq!(sums(&sum_zero("partial")).map(|sums| sums.right), Some(0xffff));
    frame[40..42].copy_from_slice(&[0, 0]);
    assert_eq!(xhop_vm::packet::checksum(&l4_with_pseudo_header(&frame)), 0);
}

/// Pseudo header and datagram of a plain UDP frame.
fn l4_with_pseudo_header(frame: &[u8]) -> Vec<u8> {
    let len = (frame.len() - 34) as u16;
    [&A.v4[..], &B.v4, &[0, 17], &len.to_be_bytes(), &frame[34..]].concat()
}

#[test]
fn sctp_has_its_crc() {
    // The vector of RFC 3720, B.4: 32 bytes of zeroes have the CRC32c 0x8a9136aa. An SCTP packet
    // of 12 + 4 bytes is checked here by the property of a CRC: over itself it leaves a constant.
    let frame = sctp().bytes();
    let (header, crc) = (&frame[34..42], &frame[42..46]);
    let zeroed = [header, &[0; 4], &frame[46..]].concat();
    assert_eq!(bitwise_crc32c(&zeroed).to_le_bytes(), crc);
    assert_eq!(bitwise_crc32c(&[0; 32]), 0x8a91_36aa);
}

/// Most significant bit first, unlike the code under test.
fn bitwise_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |n| u32::from(byte >> n & 1))) {
        let top = crc >> 31 ^ bit;
        crc = crc << 1 ^ if top == 1 { 0x1edc_6f41 } else { 0 };
    }
    (!crc).reverse_bits()
}

#[test]
fn arp_is_understood() {
    let frame = arp();
    assert_eq!(frame.len(), 42);
    let packet = SlicedPacket::from_ethernet(&frame).expect("a frame");
    let Some(etherparse::NetSlice::Arp(arp)) = packet.net else { panic!("not ARP") };
    assert_eq!((arp.sender_protocol_addr(), arp.target_protocol_addr()), (&A.v4[..], &B.v4[..]));
}

#[test]
fn catalogue_is_usable_everywhere() {
    let cases = catalogue();
    let names: HashSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    assert_eq!(cases, catalogue(), "the same in every run");
    for case in &cases {
        // The kernel wants an Ethernet header and no more than MTU 1500.
        assert!((14..=1514).contains(&case.frame.len()), "{}: {}", case.name, case.frame.len());
    }
}

#[test]
fn catalogue_has_every_truncation() {
    let cases = catalogue();
    for (family, whole) in [("tcp4", 59), ("udp4", 47), ("tcp6", 79), ("udp6", 67)] {
        for len in 14..whole {
            let name = format!("{family}, cut to {len} bytes");
            let case = cases.iter().find(|case| case.name == name);
            assert_eq!(case.map(|case| case.frame.len()), Some(len), "{name}");
        }
    }
}
