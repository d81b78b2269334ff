//! The bytes: known encodings, and the law that decoding loses nothing.

use proptest::prelude::*;
use xhop_asm::programs::{Checksum, Method, count, forward, measure, pass};
use xhop_asm::{Assembler, ByteOrder, DecodeError, Insn, Pointer, Program, R0, R1, R6, xdp};

fn ours() -> Vec<Program> {
    [
        pass(),
        forward(Checksum::Keep),
        forward(Checksum::Complete),
        count(),
        measure(Method::Empty),
        measure(Method::Complete),
        measure(Method::ReportLoop),
        measure(Method::CsumDiff),
        measure(Method::OneCall),
    ]
    .into_iter()
    .map(|program| program.expect("our programs assemble"))
    .collect()
}

/// Byte for byte what `llvm-mc -arch=bpf` and `-arch=bpfeb` give for the text in the comment.
#[test]
fn known_bytes() {
    let mut asm = Assembler::new("known");
    asm.load(R6, R1.u32(4), "r6 = *(u32 *)(r1 + 4)");
    asm.store(xhop_asm::FP.u16(-2), R0, "*(u16 *)(r10 - 2) = r0");
    asm.be16(R0, "r0 = be16 r0");
    asm.load_imm64(R1, 0x1_0000_0002, "r1 = 0x100000002 ll");
    asm.mov(R0, xdp::PASS, "r0 = 2");
    let program = asm.finish().expect("assembles");
    let little = "6116040000000000 6b0afeff00000000 dc00000010000000 \
                  1801000002000000 0000000001000000 b700000002000000";
    let big = "6161000400000000 6ba0fffe00000000 dc00000000000010 \
               1810000000000002 0000000000000001 b700000000000002";
    assert_eq!(hex(&program.bytes(ByteOrder::Little)), little.replace(' ', ""));
    assert_eq!(hex(&program.bytes(ByteOrder::Big)), big.replace(' ', ""));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn our_programs_decode_to_themselves() {
    for program in ours() {
        let decoded = Insn::decode_all(&program.bytes(ByteOrder::Little)).expect("decodes");
        let made: Vec<Insn> = program.lines().iter().map(|line| line.insn).collect();
        assert_eq!(decoded, made, "{}", program.name());
    }
}

#[test]
fn every_instruction_has_a_reason_and_a_source_line() {
    for program in ours() {
        for line in program.lines() {
            assert!(!line.comment.is_empty(), "{}: {}", program.name(), line.insn);
            let file = line.at.file();
            assert!(file.contains("blocks") || file.contains("programs"), "{file}");
        }
    }
}

#[test]
fn a_stream_that_ends_within_an_instruction() {
    assert_eq!(Insn::decode(&[0xb7; 7]), Err(DecodeError::Truncated));
    let lddw = [0x18, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(Insn::decode(&lddw), Err(DecodeError::Truncated));
}

proptest! {
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok((insn, rest)) = Insn::decode(&bytes) {
            let mut again = Vec::new();
            insn.encode(ByteOrder::Little, &mut again);
            prop_assert_eq!(&again[..], &bytes[..bytes.len() - rest.len()]);
        }
    }

    /// Random bytes seldom decode: start from real opcodes and change one byte.
    #[test]
    fn a_changed_byte_is_kept_or_refused(at in 0usize..8, value: u8, which in 0usize..500) {
        let bytes = forward(Checksum::Complete).expect("assembles").bytes(ByteOrder::Little);
        let start = which * 8;
        let mut bytes = bytes[start..start + 16].to_vec();
        bytes[at] = value;
        if let Ok((insn, rest)) = Insn::decode(&bytes) {
            let mut again = Vec::new();
            insn.encode(ByteOrder::Little, &mut again);
            prop_assert_eq!(&again[..], &bytes[..16 - rest.len()]);
        }
    }
}
