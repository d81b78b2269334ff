//! The routines that are timed against each other: all give the checksum, none changes the packet.

mod oracle;

use oracle::sums;
use xhop_asm::programs::{Method, measure};
use xhop_vm::Vm;
use xhop_vm::packet::{Check, arp, captured, icmp, tcp, tcp6, udp};

fn vm(method: Method) -> Vm {
    Vm::new(&measure(method).expect("assembles")).expect("is loaded")
}

/// The checksum that is returned for a frame.
#[track_caller]
fn checksum(vm: &Vm, frame: &[u8]) -> u16 {
    let outcome = vm.run(frame, 1).expect("runs");
    assert!(outcome.packet == frame, "the packet was changed");
    u16::from_be(u16::try_from(outcome.verdict).expect("16 bits"))
}

#[test]
fn all_agree_at_every_length() {
    let (complete, report) = (vm(Method::Complete), vm(Method::ReportLoop));
    for payload in 0..=1460 {
        let packet = tcp().payload_len(payload);
        let partial = packet.clone().partial().bytes();
        let right = sums(&partial).expect("understood").right;
        assert_eq!(checksum(&complete, &partial), right, "payload of {payload}");
        // The report's loop wants the field to be zero.
        let zeroed = packet.check(Check::Field(0)).bytes();
        assert_eq!(checksum(&report, &zeroed), right, "payload of {payload}");
    }
}

#[test]
fn captured_segments() {
    let (complete, report) = (vm(Method::Complete), vm(Method::ReportLoop));
    for segment in captured() {
        let mut frame = segment.frame_partial;
        assert_eq!(checksum(&complete, &frame), segment.expected_check);
        frame[50..52].fill(0);
        assert_eq!(checksum(&report, &frame), segment.expected_check);
    }
}

#[test]
fn payloads_that_carry() {
    let (complete, report) = (vm(Method::Complete), vm(Method::ReportLoop));
    for (byte, len) in [(0xff, 1460), (0xff, 1459), (0, 1460), (0, 1)] {
        let packet = tcp().payload(vec![byte; len]);
        let right = sums(&packet.bytes()).expect("understood").right;
        assert_eq!(checksum(&complete, &packet.clone().partial().bytes()), right);
        assert_eq!(checksum(&report, &packet.check(Check::Field(0)).bytes()), right);
    }
}

#[test]
fn empty_computes_nothing() {
    let empty = vm(Method::Empty);
    for packet in [tcp(), tcp().payload_len(1460)] {
        assert_eq!(checksum(&empty, &packet.partial().bytes()), 0);
    }
}

#[test]
fn short_frames_are_aborted() {
    let frame = tcp().partial().bytes();
    for method in [Method::Empty, Method::Complete, Method::ReportLoop] {
        let vm = vm(method);
        for len in 0..52 {
            assert_eq!(checksum(&vm, &frame[..len]), 0, "{method:?}, {len} bytes");
        }
    }
}

/// "`XDP_ABORTED` for any frame that is none", "changes nothing".
#[test]
fn other_frames_are_aborted() {
    let mut frames = vec![arp(), tcp().options([1; 40]).bytes(), tcp().vlan(5).bytes()];
    frames.extend([udp(), icmp(), tcp6()].map(|packet| packet.payload_len(60).partial().bytes()));
    frames.iter_mut().for_each(|frame| frame.resize(200, 0xee));
    for method in [Method::Complete, Method::ReportLoop] {
        let vm = vm(method);
        for frame in &frames {
            assert_eq!(checksum(&vm, frame), 0, "{method:?}: {:02x?}", &frame[12..60]);
        }
    }
}
