//! The routines that are timed against each other: all give the checksum, none changes the packet.

mod oracle;

use oracle::sums;
use xhop_asm::programs::{Method, measure};
use xhop_vm::Vm;
use xhop_vm::packet::{Check, arp, captured, icmp, tcp, tcp6, udp};

const ALL: [Method; 5] =
    [Method::Empty, Method::Complete, Method::ReportLoop, Method::CsumDiff, Method::OneCall];

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

/// Those that take segments of any length with the pseudo-header's sum in the field.
fn of_partial() -> [Vm; 2] {
    [Method::Complete, Method::CsumDiff].map(vm)
}

#[test]
fn all_agree_at_every_length() {
    let (of_partial, report) = (of_partial(), vm(Method::ReportLoop));
    for payload in 0..=1460 {
        let packet = tcp().payload_len(payload);
        let partial = packet.clone().partial().bytes();
        let right = sums(&partial).expect("understood").right;
        for vm in &of_partial {
            assert_eq!(checksum(vm, &partial), right, "payload of {payload}");
        }
        // The report's loop wants the field to be zero.
        let zeroed = packet.check(Check::Field(0)).bytes();
        assert_eq!(checksum(&report, &zeroed), right, "payload of {payload}");
    }
}

/// Chunks that no segment on Ethernet has, up to the longest that is summed.
#[test]
fn long_segments() {
    for payload in [2027, 2028, 3071, 3072, 3500, 4074, 4075, 4076] {
        let packet = tcp().payload_len(payload).partial().bytes();
        let right = if payload > 4075 { 0 } else { sums(&packet).expect("understood").right };
        for vm in &of_partial() {
            assert_eq!(checksum(vm, &packet), right, "payload of {payload}");
        }
    }
}

/// The other lengths are not its own, also where the frame has enough bytes.
#[test]
fn one_call_takes_one_length() {
    let one_call = vm(Method::OneCall);
    for payload in 1400..=1460 {
        let mut frame = tcp().payload_len(payload).partial().bytes();
        let right = sums(&frame).expect("understood").right;
        frame.resize(1514, 0);
        let expected = if payload + 20 == Method::ONE_CALL.into() { right } else { 0 };
        assert_eq!(checksum(&one_call, &frame), expected, "payload of {payload}");
    }
    let frame = tcp().payload_len(1440).partial().bytes();
    assert_eq!(checksum(&one_call, &frame[..frame.len() - 1]), 0, "cut short");
}

#[test]
fn captured_segments() {
    let (of_partial, report) = (of_partial(), vm(Method::ReportLoop));
    for segment in captured() {
        let mut frame = segment.frame_partial;
        for vm in &of_partial {
            assert_eq!(checksum(vm, &frame), segment.expected_check);
        }
        frame[50..52].fill(0);
        assert_eq!(checksum(&report, &frame), segment.expected_check);
    }
}

#[test]
fn payloads_that_carry() {
    let (of_partial, report, one_call) =
        (of_partial(), vm(Method::ReportLoop), vm(Method::OneCall));
    for (byte, len) in [(0xff, 1460), (0xff, 1459), (0xff, 1440), (0, 1460), (0, 1440), (0, 1)] {
        let packet = tcp().payload(vec![byte; len]);
        let right = sums(&packet.bytes()).expect("understood").right;
        let partial = packet.clone().partial().bytes();
        for vm in of_partial.iter().chain((len == 1440).then_some(&one_call)) {
            assert_eq!(checksum(vm, &partial), right, "{len} bytes of {byte:#x}");
        }
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
    for method in ALL {
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
    for method in ALL.into_iter().filter(|method| *method != Method::Empty) {
        let vm = vm(method);
        for frame in &frames {
            assert_eq!(checksum(&vm, frame), 0, "{method:?}: {:02x?}", &frame[12..60]);
        }
    }
}
