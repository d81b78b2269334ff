//! Captures: every form is read, what is written is what tcpdump reads, and no file does harm.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use xhop_vm::packet::{captured, catalogue, tcp, udp6};
use xhop_vm::pcap::{Capture, Error, Frame, Header};

/// Some frames as (nanoseconds, original length, bytes).
fn frames() -> Vec<(u64, u32, Vec<u8>)> {
    let syn = captured()[0].frame_partial.clone();
    vec![
        (1_700_000_000_123_456_000, 74, syn),
        (1_700_000_000_123_457_000, 9000, tcp().payload_len(100).bytes()),
        (1_700_000_001_000_000_000, 71, udp6().payload_len(9).bytes()),
        (1_699_999_999_999_999_000, 0, Vec::new()),
    ]
}

/// A number's bytes in one order or the other.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }
    fn u32(self, n: u32) -> [u8; 4] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }
}

/// A classic file, byte by byte from pcap-savefile(5).
fn classic(big: bool, nanos: bool) -> Vec<u8> {
    let order = Order { big };
    let mut file = order.u32(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([0, 0, 262_144, 1].map(|n| order.u32(n)).concat());
    for (time, original_len, data) in frames() {
        let fraction = time % 1_000_000_000 / if nanos { 1 } else { 1000 };
        let head =
            [(time / 1_000_000_000) as u32, fraction as u32, data.len() as u32, original_len];
        file.extend(head.map(|n| order.u32(n)).concat());
        file.extend(data);
    }
    file
}

fn block(order: Order, kind: u32, mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(4), 0);
    let len = order.u32(body.len() as u32 + 12);
    [&order.u32(kind)[..], &len, &body, &len].concat()
}

fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend([order.u16(1), order.u16(0)].concat());
    body.extend([0xff; 8]);
    block(order, 0x0a0d_0d0a, body)
}

fn interface(order: Order, link: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [order.u16(link), order.u16(0)].concat();
    body.extend(order.u32(262_144));
    for (code, value) in options {
        body.extend([order.u16(*code), order.u16(value.len() as u16)].concat());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    body.extend([0; 4]);
    block(order, 1, body)
}

fn enhanced(order: Order, interface: u32, ticks: u64, original_len: u32, data: &[u8]) -> Vec<u8> {
    let words = [interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, original_len];
    block(order, 6, [&words.map(|n| order.u32(n)).concat(), data].concat())
}

/// A pcapng file of two sections with different orders, and interfaces with different clocks.
fn ng() -> Vec<u8> {
    let (little, big) = (Order { big: false }, Order { big: true });
    let frames = frames();
    let mut file = section(little);
    // if_name, if_tsresol 10^-9
    file.extend(interface(little, 1, &[(2, b"veth0"), (9, &[9])]));
    // Linux cooked, without packets.
    file.extend(interface(little, 113, &[]));
    file.extend(block(little, 5, vec![0; 12]));
    file.extend(enhanced(little, 0, frames[0].0, frames[0].1, &frames[0].2));
    file.extend(section(big));
    // if_tsoffset of 1,000,000,000 s
    file.extend(interface(big, 1, &[(14, &1_000_000_000u64.to_be_bytes())]));
    // if_tsresol 2^-10
    file.extend(interface(big, 1, &[(9, &[0x8a])]));
    let ticks = (frames[1].0 - 1_000_000_000_000_000_000) / 1000;
    file.extend(enhanced(big, 0, ticks, frames[1].1, &frames[1].2));
    file.extend(enhanced(big, 1, frames[2].0 / 1_000_000_000 * 1024, frames[2].1, &frames[2].2));
    file
}

fn read(file: &[u8]) -> Vec<(u64, u32, Vec<u8>)> {
    let capture = Capture::read(file).unwrap_or_else(|error| panic!("{error}"));
    let frames = capture.frames.into_iter();
    frames.map(|frame| (frame.time, frame.original_len, frame.data.to_vec())).collect()
}

fn write(capture: &Capture) -> Vec<u8> {
    let mut file = Vec::new();
    capture.header.write(&mut file).expect("to memory");
    for frame in &capture.frames {
        capture.header.write_frame(frame, &mut file).expect("to memory");
    }
    file
}

#[test]
fn all_four_kinds_of_classic_files() {
    for (big, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(read(&classic(big, nanos)), frames());
    }
    let file = classic(false, true);
    let capture = Capture::read(&file).expect("is one");
    assert_eq!(capture.header, Header { nanos: true, snaplen: 262_144, link: 1 });
    let cut: Vec<bool> = capture.frames.iter().map(Frame::is_cut).collect();
    assert_eq!(cut, [false, true, false, false]);
}

#[test]
fn pcapng_with_all_its_freedoms() {
    assert_eq!(read(&ng()), frames()[..3]);
    let order = Order { big: false };
    let simple = [&9000u32.to_le_bytes()[..], &[7; 60]].concat();
    let mut old = [order.u16(0), order.u16(0)].concat();
    old.extend([0, 5, 3, 60].map(|n| order.u32(n)).concat());
    old.extend([1, 2, 3]);
    let mut file = section(order);
    file.extend(interface(order, 1, &[]));
    file.extend(block(order, 2, old));
    assert_eq!(read(&file), [(5000, 60, vec![1, 2, 3])]);
    // Its only length is that on the wire.
    file.extend(block(order, 3, simple));
    assert!(matches!(Capture::read(&file), Err(Error::Malformed { .. })));
    file.truncate(file.len() - 76);
    file.extend(block(order, 3, [&60u32.to_le_bytes()[..], &[7; 60]].concat()));
    assert_eq!(read(&file)[1], (0, 60, vec![7; 60]));
}

#[test]
fn what_is_written_is_what_was_read() {
    for nanos in [false, true] {
        let file = classic(false, nanos);
        assert_eq!(write(&Capture::read(&file).expect("is one")), file);
        let other = classic(true, nanos);
        assert_eq!(write(&Capture::read(&other).expect("is one")), file);
    }
    let ng = ng();
    let capture = Capture::read(&ng).expect("is one");
    assert!(!capture.header.nanos, "microseconds hold all of its times");
    assert_eq!(read(&write(&capture)), frames()[..3]);
    let late = Frame { time: u64::MAX, original_len: 0, data: &[] };
    assert!(capture.header.write_frame(&late, &mut Vec::new()).is_err());
}

/// What tcpdump says of a capture.
fn tcpdump(file: &[u8], args: &[&str]) -> String {
    let mut child = Command::new("tcpdump")
        .args(["-r", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpdump (apt-get install tcpdump)");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Both pipes are shorter than what goes through them.
    let done = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(file).expect("tcpdump reads"));
        child.wait_with_output().expect("tcpdump ends")
    });
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// tcpdump prints the same of what was read and of what is written.
#[test]
fn tcpdump_sees_the_same() {
    let mut file = classic(false, true)[..24].to_vec();
    for (n, case) in catalogue().into_iter().enumerate() {
        let len = case.frame.len() as u32;
        file.extend([1000, n as u32, len, len].map(u32::to_le_bytes).concat());
        file.extend(case.frame);
    }
    let args = ["-n", "-tttt", "--nano", "-e", "-xx"];
    let written = write(&Capture::read(&file).expect("is one"));
    let seen = tcpdump(&written, &args);
    assert_eq!(seen, tcpdump(&file, &args));
    assert!(seen.lines().count() > catalogue().len());
    let args = ["-n", "-tt", "-e", "-xx"];
    let ng = ng();
    let micros = tcpdump(&write(&Capture::read(&ng).expect("is one")), &args);
    assert!(micros.starts_with("1700000000.123456 02:42:ac:11:00:02 > "), "{micros}");
    assert!(micros.contains("length 9000"), "{micros}");
}

#[test]
fn what_is_none_is_told() {
    let good = classic(false, false);
    let error = |file: &[u8]| Capture::read(file).expect_err("is none");
    let told = |file: &[u8]| error(file).to_string();
    assert_eq!(error(&[]), Error::Short);
    assert!(told(b"\x7fELF....").contains("7f 45 4c 46"), "{}", told(b"\x7fELF...."));
    assert_eq!(error(&good[..23]), Error::CutOff { at: 0 });
    for len in 25..good.len() {
        let ends = [24, 24 + 16 + 74, 24 + 16 + 74 + 16 + 154, good.len() - 16];
        match Capture::read(&good[..len]) {
            Ok(capture) => assert!(ends.contains(&len), "{len}: {}", capture.frames.len()),
            Err(Error::CutOff { at }) => assert!(ends.contains(&at) && at < len, "{len}: {at}"),
            Err(other) => panic!("{other}"),
        }
    }
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        error(&file)
    };
    assert_eq!(patched(20, &[113, 0, 0, 0]), Error::Link { link: 113 });
    assert!(matches!(patched(4, &[3]), Error::Malformed { at: 4, .. }));
    // A record that claims 4 GiB less a byte: nothing is allocated for it.
    assert_eq!(patched(32, &[0xff; 4]), Error::CutOff { at: 24 });
    let order = Order { big: false };
    let mut ng = section(order);
    ng.extend(interface(order, 113, &[]));
    let none = ng.clone();
    assert_eq!(Capture::read(&none).map(|capture| capture.frames.len()), Ok(0));
    ng.extend(enhanced(order, 0, 0, 4, &[0; 4]));
    assert_eq!(error(&ng), Error::Link { link: 113 });
    let at = ng.len() - 36;
    ng[at + 8] = 7;
    assert!(matches!(error(&ng), Error::Malformed { .. }), "no such interface");
}

/// Clocks that are too fine, too coarse or out of range: pcapng allows to write all of them.
#[test]
fn clocks_of_all_resolutions() {
    let order = Order { big: false };
    for resolution in 0..=255u8 {
        for ticks in [0, 1, u64::from(u32::MAX), u64::MAX] {
            for offset in [0i64, -1, i64::MIN, i64::MAX] {
                let options: [(u16, &[u8]); 2] = [(9, &[resolution]), (14, &offset.to_le_bytes())];
                let mut file = section(order);
                file.extend(interface(order, 1, &options));
                file.extend(enhanced(order, 0, ticks, 1, &[1]));
                let result = Capture::read(&file).map(|capture| capture.frames[0].time);
                match (resolution, ticks, offset) {
                    (_, 0, 0) => assert_eq!(result, Ok(0)),
                    (0, 1, 0) => assert_eq!(result, Ok(1_000_000_000)),
                    (9, ticks, 0) => assert_eq!(result, Ok(ticks)),
                    (0x80, 1, 0) => assert_eq!(result, Ok(1_000_000_000)),
                    (0x9e, 1, 0) => assert_eq!(result, Ok(0)),
                    (_, 0, -1) => assert!(matches!(result, Err(Error::Malformed { .. }))),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn too_many_frames_are_refused() {
    let mut file = classic(false, false)[..24].to_vec();
    file.resize(24 + 16 * 1_000_000, 0);
    assert_eq!(read(&file).len(), 1_000_000);
    file.resize(24 + 16 * 1_000_001, 0);
    let at = 24 + 16 * 1_000_000;
    assert_eq!(Capture::read(&file), Err(Error::TooMany { at }));
}

/// What holds of any file: no panic, no more than is there, and what is written is read again.
fn check(file: &[u8]) -> Result<(), TestCaseError> {
    let Ok(capture) = Capture::read(file) else { return Ok(()) };
    let total: usize = capture.frames.iter().map(|frame| frame.data.len()).sum();
    prop_assert!(total <= file.len() && capture.frames.len() <= file.len() / 16);
    let fits = |frame: &Frame| frame.time / 1_000_000_000 <= u32::MAX.into();
    if capture.frames.iter().all(fits) {
        let written = write(&capture);
        let again = Capture::read(&written);
        let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(again.frames, capture.frames);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes(file: Vec<u8>) {
        check(&file)?;
    }

    #[test]
    fn any_bytes_after_a_good_start(kind in 0..6usize, tail: Vec<u8>) {
        let start = match kind {
            0..4 => classic(kind & 1 == 1, kind & 2 == 2)[..24].to_vec(),
            _ => {
                let order = Order { big: kind == 5 };
                [section(order), interface(order, 1, &[])].concat()
            }
        };
        check(&[start, tail].concat())?;
    }

    /// Good captures with some bytes changed, some lost, and some put in.
    #[test]
    fn mutations(
        kind in 0..5usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        words in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 0..3),
        cut in any::<prop::sample::Index>(),
        cuts: bool,
    ) {
        let mut file = if kind == 4 { ng() } else { classic(kind & 1 == 1, kind & 2 == 2) };
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        for (at, word) in words {
            let at = at.index(file.len() / 4) * 4;
            file.splice(at..at + 4, word.to_le_bytes());
        }
        if cuts {
            file.truncate(cut.index(file.len()));
        }
        check(&file)?;
    }
}
