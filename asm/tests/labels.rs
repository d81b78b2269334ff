//! Labels: every way to misuse one that types can't forbid is an error that names label and line.

use xhop_asm::{Assembler, Error, Insn, MapDecl, MapKind, R0, R1, xdp};

fn here(error: &Error) -> bool {
    error.to_string().contains("labels.rs:")
}

#[test]
fn forward_and_backward_jumps_count_slots() {
    let mut asm = Assembler::new("jumps");
    let top = asm.label("top");
    let out = asm.label("out");
    let top = asm.bind(top);
    asm.jump_if(R1.eq(0), &out, "forward");
    asm.load_imm64(R0, 7, "two slots");
    asm.jump(&top, "back");
    asm.bind(out);
    asm.exit("done");
    let program = asm.finish().expect("assembles");
    let offsets: Vec<i16> = program
        .lines()
        .iter()
        .filter_map(|line| match line.insn {
            Insn::Jump { off } | Insn::Branch { off, .. } => Some(off),
            _ => None,
        })
        .collect();
    assert_eq!(offsets, [3, -4]);
}

#[test]
fn unbound() {
    let mut asm = Assembler::new("unbound");
    let nowhere = asm.label("nowhere");
    asm.jump(&nowhere, "lost");
    let error = asm.finish().expect_err("a jump to nowhere");
    assert!(matches!(error, Error::UnboundLabel { label: "nowhere", .. }) && here(&error));
}

#[test]
fn unused() {
    let mut asm = Assembler::new("unused");
    let label = asm.label("lonely");
    asm.bind(label);
    asm.exit("done");
    let error = asm.finish().expect_err("nobody jumps there");
    assert!(matches!(error, Error::UnusedLabel { label: "lonely", .. }) && here(&error));
}

#[test]
fn duplicate() {
    let mut asm = Assembler::new("duplicate");
    let one = asm.label("same");
    let two = asm.label("same");
    asm.jump_if(R1.eq(0), &one, "");
    asm.jump_if(R1.eq(0), &two, "");
    asm.bind(one);
    asm.bind(two);
    let error = asm.finish().expect_err("two of one name");
    assert!(matches!(error, Error::DuplicateLabel { label: "same", .. }) && here(&error));
}

#[test]
fn out_of_range_both_ways() {
    for (filler, fits) in [(32767, true), (32768, false)] {
        let mut asm = Assembler::new("far");
        let far = asm.label("far");
        asm.jump(&far, "forward");
        (0..filler).for_each(|_| asm.mov(R0, 0, ""));
        asm.bind(far);
        asm.exit("done");
        let result = asm.finish();
        assert_eq!(result.is_ok(), fits, "forward over {filler}");
        if let Err(error) = result {
            assert!(matches!(error, Error::JumpOutOfRange { distance: 32768, .. }) && here(&error));
        }
    }
    for (filler, fits) in [(32767, true), (32768, false)] {
        let mut asm = Assembler::new("back");
        let top = asm.label("top");
        let top = asm.bind(top);
        (0..filler).for_each(|_| asm.mov(R0, 0, ""));
        asm.jump(&top, "back");
        assert_eq!(asm.finish().is_ok(), fits, "back over {filler}");
    }
}

#[test]
fn a_map_is_declared_once_or_alike() {
    let decl = |entries| MapDecl {
        name: "m",
        kind: MapKind::Hash,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        flags: 0,
    };
    let mut asm = Assembler::new("maps");
    let (first, again) = (asm.map(decl(1)), asm.map(decl(1)));
    assert_eq!(first, again);
    asm.map(decl(2));
    asm.mov(R0, xdp::PASS, "");
    asm.exit("");
    assert!(matches!(asm.finish(), Err(Error::MapConflict { map: "m", .. })));
}
