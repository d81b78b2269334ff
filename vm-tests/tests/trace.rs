//! Runs that tell each instruction: told right, the same as `rbpf`'s, counted once.

mod bridge;
mod common;

use bridge::{A_VETH, B_VETH, Bridge, JOINED};
use common::{STATS, lookup, map_args, peek, program};
use xhop_asm::insn::{ALU_OPS, CONDS};
use xhop_asm::programs::Shipped;
use xhop_asm::xdp::xdp_md;
use xhop_asm::{
    AluOp, Assembler, ByteOrder, FP, Helper, Insn, Operand, Pointer, Program, R0, R1, R2, R3, Test,
    Width,
};
use xhop_vm::joined::Container;
use xhop_vm::packet::{A, captured, catalogue, tcp};
use xhop_vm::wire::Mac;
use xhop_vm::{Error, Outcome, Vm};

/// What each step did, as `slot effect`, and the outcome.
fn traced(vm: &Vm, packet: &[u8]) -> (Vec<String>, Result<Outcome, Error>) {
    let mut steps = Vec::new();
    let outcome = vm.trace(packet, A_VETH, &mut |step| {
        steps.push(format!("{} {}", step.slot, step.effect));
    });
    (steps, outcome)
}

fn joined(shipped: Shipped) -> Vm {
    let vm = Vm::new(&shipped.program().expect("assembles")).expect("loads");
    for (host, ifindex) in JOINED {
        let addresses = vec![host.v4.into(), host.v6.into()];
        Container { ifindex, mac: Mac(host.mac), addresses }.join(&vm).expect("fits");
    }
    vm
}

/// `trace` itself fails where the engines differ; here it must also be what `run` alone gives.
#[test]
fn every_shipped_program_on_the_whole_catalogue() {
    for shipped in Shipped::ALL {
        let (traced, run) = (joined(shipped), joined(shipped));
        for case in catalogue() {
            let mut slots = Vec::new();
            let outcome = traced.trace(&case.frame, A_VETH, &mut |step| slots.push(step.slot));
            let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", case.name));
            assert_eq!(outcome, run.run(&case.frame, A_VETH).expect("runs"), "{}", case.name);
            assert_eq!(slots.first(), Some(&0), "{}", case.name);
        }
        for (one, other) in traced.maps().iter().zip(run.maps()) {
            assert_eq!(one.entries(), other.entries(), "{}: counted once", shipped.name());
        }
    }
}

#[test]
fn a_short_program_step_by_step() {
    let poke = program(|asm| {
        let end = asm.label("end");
        asm.load(R2, R1.u32(xdp_md::DATA), "packet");
        asm.load(R3, R1.u32(xdp_md::DATA_END), "its end");
        asm.mov(R0, R2, "packet");
        asm.add(R0, 4, "its first 4 bytes");
        asm.jump_if(R0.gt(R3), &end, "shorter");
        asm.store(FP.u64(-8), R2, "kept");
        asm.store(R2.u16(2), -2, "written");
        asm.load_imm64(R0, 7 << 32 | 5, "two slots");
        asm.bind(end);
    });
    let vm = Vm::unlinted(&poke).expect("loads");
    let (steps, outcome) = traced(&vm, &[0; 4]);
    let expected = [
        "0 r2 = pkt",
        "1 r3 = pkt+4",
        "2 r0 = pkt",
        "3 r0 = pkt+4",
        "4 pkt+4 > pkt+4: no",
        "5 fp-8 = pkt",
        "6 pkt+2 = 0xfffe",
        "7 r0 = 0x700000005",
        "9 r0 = 0x700000005",
    ];
    assert_eq!(steps, expected);
    let outcome = outcome.expect("runs");
    assert_eq!((outcome.verdict, outcome.packet), (5, vec![0, 0, 0xfe, 0xff]));
    let (steps, _) = traced(&vm, &[0; 3]);
    assert_eq!(steps[4..5], ["4 pkt+4 > pkt+3: goto end"]);
    let mut said = Vec::new();
    vm.trace([0; 3], 1, &mut |step| {
        said.push((step.labels, step.line.comment.to_string(), step.line.insn.to_string()));
    })
    .expect("runs");
    assert_eq!(said[0], (vec![], "packet".into(), "r2 = *(u32 *)(r1 + 0)".into()));
    assert_eq!(said[5], (vec!["end"], "done".into(), "exit".into()));
}

#[test]
fn the_captured_syn_is_mended_in_plain_sight() {
    let bridge = Bridge::complete();
    let syn = &captured()[0];
    let (steps, outcome) = traced(&bridge.vm, &syn.frame_partial);
    let packet = outcome.expect("runs").packet;
    assert_eq!(packet[50..52], syn.expected_check.to_be_bytes());
    let sum = u16::from_ne_bytes([packet[50], packet[51]]);
    for told in [
        format!("pkt+50 = {sum:#x}"),
        "r1 = map endpoints4".into(),
        "r0 = endpoints4[ac110003]".into(),
        "r0 = stats[00000000]".into(),
        "stats[00000000] = 0x1".into(),
        "stats[00000000]+8 = 0x4a".into(),
        format!("r2 = {B_VETH:#x}"),
    ] {
        let found = steps.iter().any(|step| step.split_once(' ').is_some_and(|s| s.1 == told));
        assert!(found, "{told} is not in {steps:#?}");
    }
    assert_eq!(bridge.counters()[0], (1, 74));
}

#[test]
fn a_map_keeps_its_values_addresses() {
    let vm = Vm::unlinted(&lookup(STATS, 1)).expect("loads");
    for n in 0..3 {
        let (_, outcome) = traced(&vm, &[0; 14]);
        assert_eq!(outcome.expect("runs").verdict, n + 1);
    }
}

/// `r0 = a op b`, kept whole in a map: a verdict has but 32 bits.
fn computes(op: AluOp, width: Width, a: u64, b: Operand) -> Program {
    program(|asm| {
        let map = asm.map(STATS);
        map_args(asm, map, 0);
        asm.call(Helper::MAP_LOOKUP_ELEM, "a place for 64 bits");
        asm.load_imm64(R1, a, "a");
        if let Operand::Imm(b) = b {
            asm.load_imm64(R2, b as u64 | 0x1_0000_0000, "b, and more above");
        }
        let src = if matches!(b, Operand::Imm(imm) if imm % 2 == 0) { b } else { R2.into() };
        asm.emit(Insn::Alu { width, op, dst: R1, src }, "the operation");
        asm.store(R0.u64(0), R1, "all of it");
        asm.mov(R0, 0, "verdict");
    })
}

const NUMBERS: [u64; 9] =
    [0, 1, 7, 63, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x8000_0000_0000_0001, u64::MAX];
const IMMEDIATES: [i32; 9] = [0, 1, 2, 31, 32, 63, i32::MAX, i32::MIN, -1];

/// But for what `rbpf` computes wrong.
#[test]
fn the_engines_compute_the_same() {
    let ops = |width| ALU_OPS.map(|(op, ..)| (width, op));
    for (width, op) in [Width::W32, Width::W64].into_iter().flat_map(ops) {
        let wrong = width == Width::W32 && matches!(op, AluOp::Add | AluOp::Sub | AluOp::Mul);
        if wrong || matches!(op, AluOp::Sdiv | AluOp::Smod) {
            continue;
        }
        for (a, b) in NUMBERS.into_iter().flat_map(|a| IMMEDIATES.map(|b| (a, b))) {
            if (width, op, b) == (Width::W32, AluOp::Mod, 0) {
                continue; // It leaves the upper half, which RFC 9669 makes zero.
            }
            let vm = Vm::unlinted(&computes(op, width, a, b.into())).expect("loads");
            let (steps, outcome) = traced(&vm, &[0; 14]);
            assert!(outcome.is_ok(), "{width:?} {op:?} {a:#x} {b:#x}: {outcome:?} {steps:?}");
        }
    }
}

#[test]
fn the_engines_ask_the_same() {
    for (width, (cond, _)) in
        [Width::W32, Width::W64].into_iter().flat_map(|w| CONDS.map(|c| (w, c)))
    {
        for (a, b) in NUMBERS.into_iter().flat_map(|a| IMMEDIATES.map(|b| (a, b))) {
            let asks = program(|asm| {
                asm.load_imm64(R1, a, "a");
                asm.mov(R0, 1, "yes");
                let test = Test { dst: R1.into(), cond, src: b.into() };
                asm.emit(Insn::Branch { width, test, off: 1 }, "the question");
                asm.mov(R0, 0, "no");
            });
            let vm = Vm::unlinted(&asks).expect("loads");
            let (_, outcome) = traced(&vm, &[0; 14]);
            assert!(outcome.is_ok(), "{width:?} {a:#x} {cond:?} {b:#x}: {outcome:?}");
        }
    }
}

#[test]
fn turning_and_negating() {
    let value: u64 = 0x0102_0304_8586_8788;
    for (insn, expected) in [
        (Insn::Endian { order: ByteOrder::Big, bits: 16, dst: R0 }, 0x8887),
        (Insn::Endian { order: ByteOrder::Big, bits: 32, dst: R0 }, 0x8887_8685),
        (Insn::Endian { order: ByteOrder::Big, bits: 64, dst: R0 }, 0x8887_8685_0403_0201),
        (Insn::Endian { order: ByteOrder::Little, bits: 16, dst: R0 }, 0x8788),
        (Insn::Endian { order: ByteOrder::Little, bits: 32, dst: R0 }, 0x8586_8788),
        (Insn::Endian { order: ByteOrder::Little, bits: 64, dst: R0 }, value),
        (Insn::Neg { width: Width::W64, dst: R0 }, value.wrapping_neg()),
        (Insn::Neg { width: Width::W32, dst: R0 }, 0x7a79_7878),
    ] {
        let turn = program(|asm| {
            asm.load_imm64(R0, value, "a number");
            asm.emit(insn, "turned");
        });
        let (steps, outcome) = traced(&Vm::unlinted(&turn).expect("loads"), &[0; 14]);
        outcome.expect("the engines agree");
        assert_eq!(steps[1], format!("2 r0 = {expected:#x}"), "{insn:?}");
    }
}

/// The fault's comment and text.
fn refused(program: &Program) -> (String, String) {
    let (_, outcome) = traced(&Vm::unlinted(program).expect("loads"), &[0; 10]);
    match outcome {
        Err(Error::Insn { place, what, .. }) => (place.map_or("".into(), |p| p.comment), what),
        other => panic!("no fault of an instruction: {other:?}"),
    }
}

#[test]
fn what_no_program_may_do() {
    let (comment, what) = refused(&peek(|r2| r2.u16(9)));
    assert_eq!((&*comment, &*what), ("the access", "bytes 9..11 of the packet, which has 10"));
    let (_, what) = refused(&peek(|r2| r2.u8(-1)));
    assert_eq!(what, "bytes -1..0 of the packet, which has 10");
    for deep in [FP.u8(-513), FP.u64(-7), FP.u8(0), R1.u32(22), R1.u8(-1)] {
        let (comment, what) = refused(&program(|asm| asm.load(R0, deep, "deep")));
        assert!(comment == "deep" && what.contains("are not in the context"), "{what}");
    }
    let over = program(|asm| {
        let map = asm.map(STATS);
        map_args(asm, map, 0);
        asm.call(Helper::MAP_LOOKUP_ELEM, "a value of 8 bytes");
        asm.store(R0.u32(6), 1, "over its end");
    });
    assert_eq!(refused(&over).0, "over its end");
    let (_, what) = refused(&program(|asm| asm.mov(R0, R3, "never written")));
    assert_eq!(what, "reads r3, which holds nothing");
    let void = program(|asm| {
        let map = asm.map(STATS);
        map_args(asm, map, 0);
        asm.call(Helper::MAP_LOOKUP_ELEM, "makes r1 void");
        asm.mov(R0, R1, "void");
    });
    assert_eq!(refused(&void), ("void".into(), "reads r1, which holds nothing".into()));
    let ctx = program(|asm| asm.store(R1.u32(0), 1, "to the context"));
    let (_, outcome) = traced(&Vm::unlinted(&ctx).expect("loads"), &[0; 10]);
    assert!(matches!(outcome, Err(Error::CtxWritten { .. })));
}

#[test]
fn a_loop_without_end_ends() {
    let mut asm = Assembler::new("endless");
    asm.mov(R0, 0, "nothing");
    asm.mov(R0, 0, "nothing");
    asm.emit(Insn::Jump { off: -2 }, "again");
    asm.exit("never");
    let (_, what) = refused(&asm.finish().expect("assembles"));
    assert!(what.contains("no exit"), "{what}");
}

/// A fault leaves the maps as they were, and the VM usable.
#[test]
fn what_fails_is_not_counted() {
    let counts = program(|asm| {
        let map = asm.map(STATS);
        asm.mov(xhop_asm::R6, R1, "context");
        map_args(asm, map, 0);
        asm.call(Helper::MAP_LOOKUP_ELEM, "a counter");
        asm.store(R0.u64(0), 1, "counted");
        asm.load(R2, xhop_asm::R6.u32(xdp_md::DATA), "packet");
        asm.load(R0, R2.u8(13), "may not be there");
    });
    let vm = Vm::unlinted(&counts).expect("loads");
    let counter = || vm.map("stats").expect("declared").get([0; 4]).expect("a key");
    assert!(traced(&vm, &[0; 13]).1.is_err());
    assert_eq!(counter(), Some(vec![0; 8]));
    assert!(traced(&vm, &[0; 14]).1.is_ok());
    assert_eq!(counter(), Some(1u64.to_ne_bytes().to_vec()));
}

/// A stack's address is not the same in both engines: what depends on it is told.
#[test]
fn a_difference_is_told() {
    let (_, outcome) = traced(
        &Vm::unlinted(&program(|asm| asm.mov(R0, FP, "an address"))).expect("loads"),
        &tcp().from(A).bytes(),
    );
    assert!(matches!(outcome, Err(Error::Differ { .. })), "{outcome:?}");
    let leak = program(|asm| {
        let map = asm.map(STATS);
        map_args(asm, map, 0);
        asm.call(Helper::MAP_LOOKUP_ELEM, "a value");
        asm.store(R0.u64(0), FP, "an address");
        asm.mov(R0, 2, "the same verdict");
    });
    let (_, outcome) = traced(&Vm::unlinted(&leak).expect("loads"), &[0; 14]);
    let Err(Error::Differ { what, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(what, "map `stats`");
}
