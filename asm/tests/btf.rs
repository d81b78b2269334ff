//! BTF: read back byte by byte, by Documentation/bpf/btf.rst, in both orders.

use xhop_asm::programs::Shipped;
use xhop_asm::{Assembler, ByteOrder, Program, ProgramBtf, R0, xdp};

fn u32s(bytes: &[u8], order: ByteOrder) -> Vec<u32> {
    let word = |word: &[u8]| {
        let word = word.try_into().expect("four bytes");
        match order {
            ByteOrder::Little => u32::from_le_bytes(word),
            ByteOrder::Big => u32::from_be_bytes(word),
        }
    };
    assert_eq!(bytes.len() % 4, 0);
    bytes.chunks(4).map(word).collect()
}

/// The string at an offset.
fn string(strings: &[u8], at: u32) -> &str {
    let rest = &strings[at as usize..];
    let end = rest.iter().position(|b| *b == 0).expect("its end");
    std::str::from_utf8(&rest[..end]).expect("UTF-8")
}

fn check(program: &Program, order: ByteOrder) {
    let ProgramBtf { blob, func_info, line_info } = program.btf(order);
    let magic = match order {
        ByteOrder::Little => [0x9f, 0xeb],
        ByteOrder::Big => [0xeb, 0x9f],
    };
    assert_eq!(blob[..4], [magic[0], magic[1], 1, 0]);
    let header = u32s(&blob[4..24], order);
    let [24, 0, type_len, str_off, str_len] = header[..] else { panic!("{header:?}") };
    assert_eq!((str_off, blob.len() as u32), (type_len, 24 + type_len + str_len));
    let (types, strings) = blob[24..].split_at(type_len as usize);
    assert_eq!((strings.first(), strings.last()), (Some(&0), Some(&0)));

    // INT: signed, 32 bits. FUNC_PROTO: gives it, takes nothing. FUNC: global.
    let types = u32s(types, order);
    let [int, 0x0100_0000, 4, 0x0100_0020, 0, 0x0d00_0000, 1, func, 0x0c00_0001, 2] = types[..]
    else {
        panic!("{types:x?}");
    };
    assert_eq!(string(strings, int), "int");
    assert_eq!(string(strings, func), program.symbol());
    assert_eq!(u32s(&func_info, order), [0, 3]);

    let records = u32s(&line_info, order);
    assert_eq!(records.len(), program.lines().len() * 4);
    let mut slot = 0;
    for (line, record) in program.lines().iter().zip(records.chunks(4)) {
        let [off, file, text, line_col] = record else { panic!("{record:?}") };
        assert_eq!(*off as usize, slot);
        assert_eq!(string(strings, *file), line.at.file());
        assert_eq!(string(strings, *text), line.comment);
        assert_eq!((line_col >> 10, line_col & 0x3ff), (line.at.line(), line.at.column()));
        slot += line.insn.slots();
    }
    assert_eq!(slot, program.slots());
}

#[test]
fn every_instruction_of_every_program() {
    for shipped in Shipped::ALL {
        let program = shipped.program().expect("assembles");
        check(&program, ByteOrder::Little);
        check(&program, ByteOrder::Big);
    }
}

#[test]
fn names_become_identifiers() {
    for (name, symbol) in [
        ("forward+complete+verify-source/v4v6", "xhop_forward_complete_verify_source_v4v6"),
        ("6to4", "xhop_6to4"),
        ("", "xhop_"),
        ("größe.1", "xhop_gr__e_1"),
    ] {
        assert_eq!(Assembler::new(name).finish().expect("assembles").symbol(), symbol);
    }
}

#[test]
fn a_comment_is_one_line() {
    let mut asm = Assembler::new("lines");
    asm.mov(R0, xdp::PASS, "two\nlines\0and a rest");
    asm.exit("");
    let ProgramBtf { blob, line_info, .. } =
        asm.finish().expect("assembles").btf(ByteOrder::Little);
    let strings = &blob[24 + 40..];
    let records = u32s(&line_info, ByteOrder::Little);
    assert_eq!(string(strings, records[2]), "two lines and a rest");
    assert_eq!(records[6], 0, "no text");
}
