//! The sum of every length, against RFC 1071 as etherparse has it. With `XHOP_THOROUGH=1`, as CI has it, at
//! every alignment (minutes); else the long ones take turns.

use etherparse::checksum::Sum16BitWords;
use xhop_asm::blocks::checksum::{L4, LEN, sum};
use xhop_asm::blocks::{END, PKT, parse};
use xhop_asm::{Assembler, Program, R0, R9, xdp};
use xhop_vm::Vm;

/// The longest segment that an IP header can name.
const MAX_LEN: usize = 65_535;

/// Up to here every alignment is tried always: three blocks of the sum's loop.
const ALL_ALIGNMENTS: usize = 3 * 256;

/// Sums all but the last `padding` bytes of the packet: its verdict is the sum, in network order.
fn summing(padding: i32) -> Program {
    let mut asm = Assembler::new("sum");
    let pass = asm.label("pass");
    parse::context(&mut asm, R9);
    asm.mov(L4, PKT, "the segment is the packet");
    asm.mov(LEN, END, "its length: the end");
    asm.sub(LEN, PKT, "- the beginning");
    asm.sub(LEN, padding, "- padding");
    asm.jump_if(LEN.gt(MAX_LEN as i32), &pass, "longer than any");
    sum(&mut asm, &pass);
    asm.exit("the sum");
    asm.bind(pass);
    asm.mov(R0, xdp::ABORTED, "not summed");
    asm.exit("done");
    asm.finish().expect("assembles")
}

/// Bytes without a pattern, and long runs of 0xff, where carries are made.
fn bytes() -> Vec<u8> {
    let mut state = 1_u32;
    let noise = (0..MAX_LEN + 8).map(|at| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if at / 1000 % 3 == 0 { 0xff } else { (state >> 24) as u8 }
    });
    noise.collect()
}

/// The packet ends where memory ends: with each length and padding, its first byte is aligned otherwise.
fn all_lengths(paddings: [usize; 4]) {
    let thorough = std::env::var_os("XHOP_THOROUGH").is_some();
    let bytes = bytes();
    let machines = paddings.map(|padding| {
        let padding = i32::try_from(padding).expect("a few bytes");
        Vm::new(&summing(padding)).expect("runs")
    });
    for len in 0..=MAX_LEN {
        let expected = !Sum16BitWords::new().add_slice(&bytes[..len]).ones_complement();
        for (vm, padding) in machines.iter().zip(paddings) {
            let its_turn = len / 8 % 8 == padding;
            if !thorough && len > ALL_ALIGNMENTS && !its_turn {
                continue;
            }
            let outcome = vm.run(&bytes[..len + padding], 1).expect("runs");
            assert_eq!(outcome.verdict, u64::from(expected), "{len} bytes, {padding} of padding");
        }
    }
}

#[test]
fn every_length_at_even_alignments() {
    all_lengths([0, 2, 4, 6]);
}

#[test]
fn every_length_at_odd_alignments() {
    all_lengths([1, 3, 5, 7]);
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 1071, 3: the sum of these bytes is ddf2.
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    let outcome = Vm::new(&summing(0)).expect("runs").run(bytes, 1).expect("runs");
    assert_eq!(outcome.verdict as u16, u16::from_be(0xddf2));
}
