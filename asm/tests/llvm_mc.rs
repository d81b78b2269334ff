//! The text against an assembler that we did not write: what we print, LLVM reads as the same bytes.

mod forms;
mod tools;

use std::fmt::Write;

use tools::Folder;

use xhop_asm::{ByteOrder, Insn};

/// The instruction as LLVM spells it; `None` for what LLVM 19 has no text for.
fn respelled(insn: &Insn) -> Option<String> {
    // A 64-bit immediate by kind: LLVM has the bare number for it, and drops the second immediate.
    let kind = |dst, kind, low: u32, high: u32| {
        (high == 0).then(|| format!("ld_pseudo {dst}, {kind}, {low}"))
    };
    match *insn {
        // Known since LLVM 20.
        Insn::LoadAcquire { .. } | Insn::StoreRelease { .. } => None,
        // Only the kernel makes these.
        Insn::MovePercpu { .. } | Insn::Nospec => None,
        // In LLVM's text these need a symbol, and a relocation makes them.
        Insn::CallLocal { .. } | Insn::CallKfunc { .. } => None,
        // LLVM's operand has 16 bits.
        Insn::JumpLong { off } if i16::try_from(off).is_err() => None,
        // LLVM writes no immediate beside the register.
        Insn::LoadPacket { base: Some(_), off: 1.. | ..=-1, .. } => None,
        Insn::LoadPacket { base: Some(base), .. } => {
            Some(insn.to_string().replace(&format!("[{base} + 0]"), &format!("[{base}]")))
        }
        // It knows no helper's name.
        Insn::Call { helper } => Some(format!("call {}", helper.number())),
        Insn::LoadMapFd { dst, fd } => kind(dst, 1, fd as u32, 0),
        Insn::LoadMapFdValue { dst, fd, off } => kind(dst, 2, fd as u32, off),
        Insn::LoadBtf { dst, id, fd } => kind(dst, 3, id, fd as u32),
        Insn::LoadFunc { dst, off } => kind(dst, 4, off as u32, 0),
        Insn::LoadMap { dst, map } => kind(dst, 5, map.get(), 0),
        Insn::LoadMapValue { dst, map, off } => kind(dst, 6, map.get(), off),
        _ => Some(insn.to_string()),
    }
}

/// Every form is tried, in one source file.
fn assembles_to_the_same_bytes(triple: &str, order: ByteOrder) {
    if !tools::have(triple, "llvm-mc-19", "llvm-19") {
        return;
    }
    let folder = Folder::new(&format!("llvm-mc-{triple}"));
    let (mut source, mut lines) = (String::new(), Vec::new());
    for insn in forms::forms() {
        if let Some(text) = respelled(&insn) {
            writeln!(source, "{text}").expect("a string grows");
            lines.push(insn);
        }
    }
    assert!(lines.len() > 10_000, "{}", lines.len());
    let (input, object) = (folder.write("forms.s", source), folder.at("forms.o"));
    let to_object = ["-triple", triple, "--mcpu=v4", "--filetype=obj", "-o", &object, &input];
    tools::run(&[&["llvm-mc-19"], &to_object[..]].concat());
    let theirs = tools::section(&object, ".text");
    let mut rest = &theirs[..];
    for insn in lines {
        let mut ours = Vec::new();
        insn.encode(order, &mut ours);
        let (next, after) = rest.split_at_checked(ours.len()).expect("LLVM gave fewer bytes");
        assert_eq!(next, ours, "{insn}");
        rest = after;
    }
    assert!(rest.is_empty(), "LLVM gave {} bytes more", rest.len());
}

#[test]
fn little_endian() {
    assembles_to_the_same_bytes("bpfel", ByteOrder::Little);
}

#[test]
fn big_endian() {
    assembles_to_the_same_bytes("bpfeb", ByteOrder::Big);
}
