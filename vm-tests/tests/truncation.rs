//! Frames and datagrams that end too early, wherever they can. An access past the end is an error
//! of the VM.

mod bridge;

use bridge::{Bridge, kinds, patched};
use xhop_asm::blocks::count::Verdict;
use xhop_vm::packet::{Packet, icmp, icmp6};

fn packets() -> impl Iterator<Item = Packet> {
    let lens = [0, 1, 5, 18, 300];
    let kinds =
        kinds().into_iter().flat_map(move |kind| lens.map(|len| kind.clone().payload_len(len)));
    kinds.chain([icmp(), icmp6()])
}

#[test]
fn cut_frames_pass() {
    for bridge in Bridge::both() {
        for packet in packets() {
            for frame in [packet.bytes(), packet.clone().partial().bytes()] {
                for len in 0..frame.len() {
                    bridge.passes(&frame[..len]);
                }
                bridge.forwards(&frame);
            }
        }
    }
}

#[test]
fn padding_may_be_cut() {
    for bridge in Bridge::both() {
        for packet in packets() {
            let plain = packet.clone().partial().bytes();
            let mut padded = packet.partial();
            padded.min_len = plain.len() + 9;
            let (padded, expected) = (padded.bytes(), bridge.forwards(&plain));
            for len in plain.len()..=padded.len() {
                let expected = [&expected, &padded[plain.len()..len]].concat();
                bridge.delivers(&padded[..len], &expected);
            }
        }
    }
}

/// The IP header says that the datagram has `len` bytes after it.
fn with_ip_len(packet: &Packet, frame: Vec<u8>, len: usize) -> Vec<u8> {
    let v4 = packet.l4_offset() == 34;
    let (at, len) = if v4 { (16, len + 20) } else { (18, len) };
    patched(frame, at, &(len as u16).to_be_bytes())
}

#[test]
fn segments_shorter_than_their_header() {
    let [keep, complete] = Bridge::both();
    for packet in kinds() {
        let frame = packet.clone().payload_len(30).partial().bytes();
        let header = packet.bytes().len() - packet.l4_offset();
        for len in 0..header {
            // With bytes after the datagram's end, and without.
            let long = with_ip_len(&packet, frame.clone(), len);
            for frame in [&long[..packet.l4_offset() + len], &long] {
                keep.keeps(frame, Verdict::Forwarded);
                complete.passes(frame);
            }
        }
    }
}

#[test]
fn datagrams_longer_than_the_frame() {
    for bridge in Bridge::both() {
        for packet in kinds() {
            let packet = packet.payload_len(30);
            let frame = packet.clone().partial().bytes();
            let len = frame.len() - packet.l4_offset();
            for over in [1, 2, 255, 256, 4000, 0xffff - 20 - len] {
                bridge.passes(&with_ip_len(&packet, frame.clone(), len + over));
            }
        }
    }
}

#[test]
fn icmpv6_shorter_than_its_header() {
    for bridge in Bridge::both() {
        let packet = icmp6();
        for len in 0..=8 {
            let frame = with_ip_len(&packet, packet.bytes(), len);
            let verdict = if len < 8 { Verdict::Passed } else { Verdict::Forwarded };
            bridge.keeps(&frame[..packet.l4_offset() + len], verdict);
        }
    }
}
