//! The helpers' results, as the kernel's would be.

mod common;

use common::*;
use proptest::prelude::*;
use xhop_asm::xdp::{self, xdp_md};
use xhop_asm::{Assembler, FP, Helper, Pointer, Program, R0, R1, R2, R3, R4, R5, R6, R7};
use xhop_vm::{Error, Vm};

fn redirect(flags: i32) -> Program {
    program(|asm| {
        let ports = asm.map(PORTS);
        asm.load_map(R1, ports, "ports");
        asm.mov(R2, 12, "key");
        asm.mov(R3, flags, "otherwise");
        asm.call(Helper::REDIRECT_MAP, "verdict");
    })
}

#[test]
fn redirect_finds_the_port() {
    let vm = Vm::new(&redirect(xdp::PASS)).expect("loads");
    let missing = vm.run([0; 14], 1).expect("runs");
    assert_eq!((missing.action(), missing.redirect), ("XDP_PASS", None));
    let ports = vm.map("ports").expect("declared");
    ports.insert(12u32.to_ne_bytes(), 31u32.to_ne_bytes()).expect("fits");
    let found = vm.run([0; 14], 1).expect("runs");
    assert_eq!((found.action(), found.redirect), ("XDP_REDIRECT", Some(31)));
    ports.remove(12u32.to_ne_bytes()).expect("fits");
    let gone = vm.run([0; 14], 1).expect("runs");
    assert_eq!((gone.action(), gone.redirect), ("XDP_PASS", None));
}

#[test]
fn redirect_flags() {
    for (flags, action) in [
        (xdp::ABORTED, "XDP_ABORTED"),
        (xdp::DROP, "XDP_DROP"),
        (xdp::TX, "XDP_TX"),
        (4, "XDP_ABORTED"),
        (64 | xdp::PASS, "XDP_ABORTED"),
    ] {
        let outcome = run(&redirect(flags), [0; 14]).expect("runs");
        assert_eq!((outcome.action(), outcome.redirect), (action, None), "flags {flags}");
    }
    assert!(matches!(run(&redirect(8), [0; 14]), Err(Error::Call { .. })), "broadcast");
}

#[test]
fn a_redirect_that_is_not_returned_is_none() {
    let program = program(|asm| {
        let ports = asm.map(PORTS);
        asm.load_map(R1, ports, "ports");
        asm.mov(R2, 12, "key");
        asm.mov(R3, 0, "flags");
        asm.call(Helper::REDIRECT_MAP, "XDP_REDIRECT");
        asm.mov(R0, xdp::DROP, "but no");
    });
    let vm = Vm::new(&program).expect("loads");
    let ports = vm.map("ports").expect("declared");
    ports.insert(12u32.to_ne_bytes(), 31u32.to_ne_bytes()).expect("fits");
    let outcome = vm.run([0; 14], 1).expect("runs");
    assert_eq!((outcome.action(), outcome.redirect), ("XDP_DROP", None));
}

#[test]
fn a_redirect_is_forgotten_after_its_run() {
    let program = program(|asm| {
        let ports = asm.map(PORTS);
        let out = asm.label("out");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.load(R6, R6.u8(0), "its first byte");
        asm.mov(R0, xdp::REDIRECT, "a verdict without a port");
        asm.jump_if(R6.eq(0), &out, "asked for");
        asm.load_map(R1, ports, "ports");
        asm.mov(R2, 12, "key");
        asm.mov(R3, 0, "flags");
        asm.call(Helper::REDIRECT_MAP, "verdict");
        asm.bind(out);
    });
    let vm = Vm::unlinted(&program).expect("loads");
    let ports = vm.map("ports").expect("declared");
    ports.insert(12u32.to_ne_bytes(), 31u32.to_ne_bytes()).expect("fits");
    let redirects = [1, 0].map(|byte| vm.run([byte; 14], 1).expect("runs").redirect);
    assert_eq!(redirects, [Some(31), None]);
}

#[test]
fn redirect_takes_a_devmap_only() {
    let said = call_error(|asm| {
        let map = asm.map(HASH);
        asm.load_map(R1, map, "no devmap");
        asm.mov(R2, 1, "key");
        asm.mov(R3, 0, "flags");
        asm.call(Helper::REDIRECT_MAP, "fails");
    });
    assert_eq!(said, "`hash` is a hash: it takes a devmap_hash");
}

/// Moves the tail and gives the helper's result; then `after`, with the context in `r6`.
fn adjust(delta: i32, after: impl FnOnce(&mut Assembler)) -> Program {
    program(|asm| {
        asm.mov(R6, R1, "context");
        asm.load(R7, R1.u32(xdp_md::DATA), "the packet as it came");
        asm.mov(R2, delta, "by so much");
        asm.call(Helper::XDP_ADJUST_TAIL, "0 or -EINVAL");
        after(asm);
    })
}

#[test]
fn adjust_tail_moves_the_end() {
    let packet: Vec<u8> = (0..100).collect();
    for delta in [0, -1, -40, -86] {
        let outcome = run(&adjust(delta, |_| ()), &packet).expect("runs");
        assert_eq!((outcome.verdict, &outcome.packet[..]), (0, &packet[..(100 + delta) as usize]));
    }
    for delta in [1, 13, 3420] {
        let outcome = run(&adjust(delta, |_| ()), &packet).expect("runs");
        let grown = [&packet[..], &vec![0; delta as usize]].concat();
        assert_eq!((outcome.verdict, outcome.packet), (0, grown), "new bytes are zero");
    }
    for delta in [-87, -100, -101, 3421, i32::MIN, i32::MAX] {
        let outcome = run(&adjust(delta, |_| ()), &packet).expect("runs");
        assert!(is_einval(outcome.verdict), "{delta}");
        assert_eq!(outcome.packet, packet, "unchanged");
    }
}

#[test]
fn adjust_tail_tells_the_context() {
    for delta in [-30, 0, 50] {
        let len = adjust(delta, |asm| {
            asm.load(R0, R6.u32(xdp_md::DATA_END), "end");
            asm.load(R2, R6.u32(xdp_md::DATA), "start");
            asm.sub(R0, R2, "length");
        });
        assert_eq!(run(&len, [1; 60]).expect("runs").verdict, (60 + delta) as u64);
    }
}

#[test]
fn a_cut_packet_ends_to_the_byte() {
    for (offset, good) in [(36, true), (37, false), (38, false), (39, false), (40, false)] {
        let program = adjust(-20, |asm| {
            asm.load(R2, R6.u32(xdp_md::DATA), "packet");
            asm.load(R0, R2.u32(offset), "the access");
        });
        let result = run(&program, [1; 60]);
        assert_eq!(result.is_ok(), good, "{offset}: {result:?}");
    }
    let before = adjust(0, |asm| asm.load(R0, R7.u8(-1), "before the packet"));
    assert!(run(&before, [1; 60]).is_err(), "the headroom stays closed");
}

#[test]
fn pointers_from_before_adjust_tail_are_stale() {
    for delta in [-20, 20] {
        let stale = adjust(delta, |asm| asm.load(R0, R7.u32(0), "a stale pointer"));
        assert_eq!(run(&stale, [1; 60]).expect("runs").verdict, 0xa5a5_a5a5, "{delta}");
    }
}

#[test]
fn a_grown_packet_is_written_to_its_end() {
    let program = adjust(20, |asm| {
        asm.load(R2, R6.u32(xdp_md::DATA), "packet");
        asm.store(R2.u32(76), 0x0404_0404, "its last bytes");
        asm.mov(R1, R6, "context");
        asm.mov(R2, -2, "cut two of them");
        asm.call(Helper::XDP_ADJUST_TAIL, "0");
    });
    let outcome = run(&program, [1; 60]).expect("runs");
    let expected = [&[1; 60][..], &[0; 16], &[4, 4]].concat();
    assert_eq!((outcome.verdict, outcome.packet), (0, expected));
    let behind = adjust(20, |asm| {
        asm.load(R2, R6.u32(xdp_md::DATA_END), "end");
        asm.load(R0, R2.u8(0), "behind");
    });
    assert!(run(&behind, [1; 60]).is_err());
}

#[test]
fn a_run_starts_anew_after_adjust_tail() {
    let vm = Vm::new(&adjust(-46, |_| ())).expect("loads");
    for _ in 0..2 {
        assert_eq!(vm.run(vec![1; 60], 1).expect("runs").packet, [1; 14]);
    }
}

#[test]
fn adjust_tail_takes_the_context_only() {
    let said = call_error(|asm| {
        asm.mov(R1, FP, "no context");
        asm.mov(R2, -1, "delta");
        asm.call(Helper::XDP_ADJUST_TAIL, "fails");
    });
    assert!(said.contains("not the context"), "{said}");
}

/// `bpf_csum_diff` from the packet's first `from` bytes to its last `to` bytes.
fn csum_diff(from: i32, to: i32, seed: i32) -> Program {
    program(|asm| {
        asm.mov(R6, R1, "context");
        asm.load(R1, R6.u32(xdp_md::DATA), "from");
        asm.mov(R2, from, "its size");
        asm.load(R3, R6.u32(xdp_md::DATA_END), "end");
        asm.sub(R3, to, "to");
        asm.mov(R4, to, "its size");
        asm.mov32(R5, seed, "seed");
        asm.call(Helper::CSUM_DIFF, "sum");
    })
}

/// The 16-bit ones' complement sum of bytes: modulo 0xffff, which is what it comes down to.
fn modulo(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| u64::from(u16::from_ne_bytes([word[0], word[1]])));
    words.sum::<u64>() % 0xffff
}

proptest! {
    #[test]
    fn csum_diff_is_the_ones_complement_difference(
        packet in proptest::collection::vec(any::<u8>(), 64),
        from in 0..=32i32,
        to in 0..=32i32,
        seed: i32,
    ) {
        let (from, to) = (2 * from, 2 * to);
        let verdict = run(&csum_diff(from, to, seed), &packet).expect("runs").verdict;
        let removed = modulo(&packet[..from as usize]);
        let added = modulo(&packet[64 - to as usize..]);
        let expected = (u64::from(seed as u32) + added + 0xffff - removed) % 0xffff;
        prop_assert_eq!(verdict % 0xffff, expected);
        prop_assert!(verdict <= 0xffff);
    }
}

#[test]
fn csum_diff_edges() {
    let on_ones =
        |from, to, seed| run(&csum_diff(from, to, seed), [0xff; 600]).expect("runs").verdict;
    assert_eq!(on_ones(0, 8, 0), 0xffff, "folded to 16 bits");
    assert_eq!(on_ones(0, 0, 0x1234_5678), 0x68ac, "nothing to add");
    assert_eq!(on_ones(0, 0, -1), 0xffff, "one carry more");
    assert_eq!(on_ones(0, 512, 5), 5, "ones are zero");
    assert_eq!(on_ones(0, 600, 5), 5, "more than older kernels take");
    assert_eq!([on_ones(8, 0, 0), on_ones(8, 8, 0)], [0, 0xffff], "the two zeros");
    assert_eq!(on_ones(0, 3, 0), u64::from(u16::from_ne_bytes([0xff, 0])), "no whole word");
    let null = r0(|asm| {
        asm.mov(R1, 0, "NULL");
        asm.mov(R2, 0, "no bytes");
        asm.store(FP.u32(-4), 0x0102_0304, "one word");
        asm.mov(R3, FP, "stack");
        asm.add(R3, -4, "the word");
        asm.mov(R4, 4, "its size");
        asm.mov(R5, 1, "seed");
        asm.call(Helper::CSUM_DIFF, "sum");
    });
    assert_eq!(null, 0x0407);
}

#[test]
fn csum_diff_reads_only_the_packet() {
    for (from, to) in [(20, 0), (0, 20), (-4, 0)] {
        let short = run(&csum_diff(from, to, 0), [0; 16]);
        assert!(matches!(short, Err(Error::Call { helper: Helper::CSUM_DIFF, .. })), "{short:?}");
    }
}
